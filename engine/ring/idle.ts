/**
 * What a thread does when its rings are empty, and what a writer does when its ring is full.
 *
 *   spin    looks again and again: shortest latency, a whole core. Never on a machine with few cores.
 *   park    sleeps on the ring; the writer wakes it, which costs the writer 9-12 us a wake.
 *   sleep   looks every `sleepMs`: costs the writer nothing, latency up to `sleepMs`.
 *
 * Every wait ends after `beatMs` at the latest, so that the duty loop can beat its heart. Threads without an event loop
 * (book workers) use `BlockingIdle`, threads with one (main, sink worker) `EventIdle`.
 */
import type { RingReader, RingWriter } from './ring.ts'

export type IdlePolicy = 'spin' | 'park' | 'sleep'

export interface IdleOptions {
  readonly policy: IdlePolicy
  /** `park` looks this many times before it sleeps (0: at once). A look costs about 10 ns. */
  readonly spinLooks: number
  /** `sleep` looks this often, ms */
  readonly sleepMs: number
  /** no wait is longer, ms */
  readonly beatMs: number
}

export const IDLE_DEFAULT: IdleOptions = { policy: 'park', spinLooks: 0, sleepMs: 1, beatMs: 50 }

/** `spin` looks this many times between two heart beats. */
const SPIN_LOOKS_A_BEAT = 10_000

/** Nobody notifies this word: waiting on it is sleeping. */
const NEVER = new Int32Array(new SharedArrayBuffer(4))

/** Blocks the calling thread. Not for the main thread (the browser rule does not hold in Node, but its sockets would stand still). */
export function sleepBlocking(ms: number): void {
  Atomics.wait(NEVER, 0, 0, ms)
}

export class BlockingIdle {
  readonly #options: IdleOptions

  constructor(options: IdleOptions) {
    this.#options = options
  }

  /** Returns when the ring may have something, or after `beatMs`. */
  wait(inbox: RingReader): void {
    const { policy, spinLooks, sleepMs, beatMs } = this.#options
    if (policy === 'sleep') {
      sleepBlocking(Math.min(sleepMs, beatMs))
      return
    }
    const looks = policy === 'spin' ? SPIN_LOOKS_A_BEAT : spinLooks
    for (let look = 0; look < looks; look++) if (!inbox.isIdle()) return
    if (policy === 'park') inbox.park(beatMs)
  }
}

/**
 * Waits on several rings at once. A park that was armed stays armed until its ring wakes it: re-arming all rings at each
 * wait would leave a heap of forgotten promises behind. One interval timer keeps the event loop alive (a pending
 * `Atomics.waitAsync` does not) and ends each wait after `beatMs`.
 */
export class EventIdle {
  readonly #options: IdleOptions
  readonly #inboxes: readonly RingReader[]
  readonly #armed: boolean[]
  readonly #onWake: (() => void)[]
  readonly #timer: NodeJS.Timeout
  #resume: (() => void) | undefined

  constructor(options: IdleOptions, inboxes: readonly RingReader[]) {
    this.#options = options
    this.#inboxes = inboxes
    this.#armed = inboxes.map(() => false)
    this.#onWake = inboxes.map((_, index) => () => {
      this.#armed[index] = false
      this.wake()
    })
    this.#timer = setInterval(() => this.wake(), options.beatMs)
  }

  /** Resolves when a ring may have something, on `wake()`, or after `beatMs`. One waiter at a time. */
  async wait(): Promise<void> {
    const { policy, sleepMs } = this.#options
    if (policy === 'spin') return new Promise((resolve) => setImmediate(resolve))
    if (policy === 'sleep') return new Promise((resolve) => setTimeout(resolve, sleepMs))
    if (!this.#armAll()) return
    await new Promise<void>((resolve) => {
      this.#resume = resolve
    })
  }

  /** Ends the wait that is going on. */
  wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  /** Ends the wait and lets the event loop end. */
  close(): void {
    clearInterval(this.#timer)
    this.wake()
  }

  /** @returns false when a ring has something already. */
  #armAll(): boolean {
    for (let index = 0; index < this.#inboxes.length; index++) {
      const inbox = this.#inboxes[index] as RingReader
      if (this.#armed[index] === true) {
        if (inbox.hasRecords()) return false
        continue
      }
      if (inbox.isStopped() && !inbox.hasRecords()) continue // ended: nothing will come, the timer is enough
      const woken = inbox.parkAsync()
      if (woken === undefined) return false
      this.#armed[index] = true
      void woken.then(this.#onWake[index])
    }
    return true
  }
}

const ROOM_SLEEP_MS_MAX = 4

/**
 * What a writer does when `tryWrite` refused: publishes what it has (unpublished records can never be released), then
 * sleeps in short steps until a payload of `payloadBytes` has room. The heart goes on beating: waiting is not hanging.
 * @returns false when the ring was stopped instead; the caller drops what it holds.
 */
export function awaitRoom(writer: RingWriter, payloadBytes: number, beat: () => void): boolean {
  writer.publish()
  for (let sleepMs = 0.25; !writer.hasRoom(payloadBytes); sleepMs = Math.min(sleepMs * 2, ROOM_SLEEP_MS_MAX)) {
    if (writer.isStopped()) return false
    beat()
    sleepBlocking(sleepMs)
  }
  return true
}
