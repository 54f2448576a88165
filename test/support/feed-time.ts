import type { FeedTime } from '../../engine/feed/timer.ts'
import { realTime } from '../../engine/feed/timer.ts'

/** The machine's time, for tests with real sockets. */
export const machineTime: FeedTime = realTime({ monotonicMs: () => performance.now(), nowMs: () => Date.now() })

/** A clock that moves only when told; what is due runs in order of its time. */
export class TurnedTime implements FeedTime {
  #nowMs: number
  #order = 0
  #due: { atMs: number; order: number; run: () => void }[] = []

  constructor(startMs: number) {
    this.#nowMs = startMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  get timerCount(): number {
    return this.#due.length
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, order: this.#order++, run }
    this.#due.push(timer)
    return () => {
      this.#due = this.#due.filter((other) => other !== timer)
    }
  }

  /** Turns the clock on, stopping at every timer; promises settle in between. */
  async turn(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs
    for (;;) {
      const next = this.#due
        .filter((timer) => timer.atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0]
      if (next === undefined) break
      this.#due = this.#due.filter((timer) => timer !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settle()
    }
    this.#nowMs = endMs
    await settle()
  }
}

/** Lets everything that is already resolved run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) await Promise.resolve()
}

/** Waits for something real, at most `timeoutMs`. */
export async function until(what: string, holds: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
