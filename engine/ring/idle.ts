/**
 * What a thread does when its rings are empty, and what a writer does when its ring is full.
 *
 *   spin    looks again and again: shortest latency, a whole core. Never on a machine with few cores.
 *   park    sleeps on the ring; the writer wakes it, which costs the writer 9-12 us a wake.
 *   sleep   looks every `sleepMs`: costs the writer nothing, latency up to `sleepMs`.
 *
 * Measured on 2 shared cores, one record a millisecond: park wakes in p50 11 us, p99 0.2-0.3 ms, and publishing costs
 * 3.5 us; 1,000 looks before the park change nothing, 20,000 looks make it p50 20 us, p99 1.3 ms and cost a quarter of a
 * core; spin wakes in p50 7 us, but p99 15 ms, for the writer has no core left; sleep: p50 0.6 ms. So: park, no looks.
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

const ROOM_SLEEP_MS = 1

/**
 * One step of waiting for a full ring, to be called between two tries to write: publishes what is written (unpublished
 * records can never be released), beats the heart (waiting is not hanging) and sleeps a little. Waiting is what carries
 * back-pressure on: the worker stops reading, so the ring before it fills.
 * @returns false when the ring was stopped: nobody will make room; the caller drops what it holds.
 */
export function awaitRoom(writer: RingWriter, beat: () => void): boolean {
  writer.publish()
  beat()
  if (writer.isStopped()) return false
  sleepBlocking(ROOM_SLEEP_MS)
  return true
}
