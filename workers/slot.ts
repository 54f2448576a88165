/**
 * The place of one worker thread in the pool: the thread that holds it now, its heart, and how often it may be replaced.
 *
 *   IDLE ─start─► RUNNING ─exit, error, hung─► (restart budget left?) ─yes─► RUNNING again
 *                    │                                   └─no─► FAILED
 *                    └─ending() then exit─► ENDED
 */
import { type ResourceLimits, Worker } from 'node:worker_threads'
import { assert } from '../engine/base/assert.ts'
import type { Heartbeat } from '../engine/ring/heartbeat.ts'

export interface SlotBounds {
  /** a running loop whose heart stands still this long is hung */
  readonly hungMs: number
  /** a thread that has not beaten once after this long is hung, too: modules take their time to load */
  readonly startMs: number
  /** replaced this often … */
  readonly restartsMax: number
  /** … within this time, and once more is a fault */
  readonly restartWindowMs: number
}

export const SLOT_DEFAULT: SlotBounds = { hungMs: 2_000, startMs: 30_000, restartsMax: 3, restartWindowMs: 60_000 }

/** `replaced`: nothing was wrong with this one, but with a worker that it depends on. */
export type LostReason = 'crashed' | 'hung' | 'replaced'

export interface SlotEvents {
  /** The thread is gone for sure; the next is started with what this returns as `workerData`. */
  readonly onLost: (reason: LostReason, detail: string) => unknown
  /** The next thread has been started. */
  readonly onRestarted: () => void
  /** No restart left; nothing runs in this slot any more. */
  readonly onGiveUp: (restarts: number, reason: LostReason, detail: string) => void
  readonly onMessage: (message: unknown) => void
}

export interface SlotOptions {
  readonly name: string
  readonly url: URL
  readonly heartbeat: Heartbeat
  readonly bounds: SlotBounds
  readonly resourceLimits?: ResourceLimits | undefined
  readonly events: SlotEvents
  /** monotonic time, ms */
  readonly nowMs: () => number
}

export class WorkerSlot {
  readonly name: string
  readonly #options: SlotOptions
  readonly #restartTimes: number[] = []
  #worker: Worker | undefined
  #exited: Promise<void> = Promise.resolve()
  #isEnding = false
  #hungDetail: string | undefined
  #crashDetail: string | undefined
  #replacedDetail: string | undefined
  #lastBeats = 0
  #stillMs = 0
  #restarts = 0

  constructor(options: SlotOptions) {
    this.name = options.name
    this.#options = options
  }

  get restarts(): number {
    return this.#restarts
  }

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** ms since the heart was seen to beat. */
  get stillMs(): number {
    return this.#stillMs
  }

  start(workerData: unknown): void {
    assert(this.#worker === undefined, `${this.name} runs already`)
    const { url, name, heartbeat, resourceLimits, events } = this.#options
    heartbeat.reset()
    this.#lastBeats = 0
    this.#stillMs = 0
    this.#hungDetail = undefined
    this.#crashDetail = undefined
    this.#replacedDetail = undefined
    const worker = new Worker(url, { workerData, name, ...(resourceLimits === undefined ? {} : { resourceLimits }) })
    this.#worker = worker
    worker.on('message', events.onMessage)
    worker.on('error', (error: Error) => {
      this.#crashDetail = error.message
    })
    this.#exited = new Promise((resolve) => {
      worker.once('exit', (exitCode) => {
        this.#onExit(exitCode)
        resolve()
      })
    })
  }

  post(message: unknown): void {
    this.#worker?.postMessage(message)
  }

  /** Starts another thread in the place of a sound one; that does not count as a failure. */
  replace(detail: string): void {
    if (this.#worker === undefined) return
    this.#replacedDetail = detail
    void this.#worker.terminate()
  }

  /** From now on the end of the thread is wanted. */
  ending(): void {
    this.#isEnding = true
  }

  /** Waits for the thread to end by itself, and ends it by force after `graceMs`. @returns false if force was needed. */
  async ended(graceMs: number): Promise<boolean> {
    const isInTime = await this.#endedWithin(graceMs)
    if (!isInTime) await this.#worker?.terminate()
    return isInTime
  }

  /** The same without force: a thread that does not end goes with the process, which no longer waits for it. */
  async endedByItself(graceMs: number): Promise<boolean> {
    const isInTime = await this.#endedWithin(graceMs)
    if (!isInTime) this.#worker?.unref()
    return isInTime
  }

  async #endedWithin(graceMs: number): Promise<boolean> {
    if (this.#worker === undefined) return true
    let timer: NodeJS.Timeout | undefined
    const isLate = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), graceMs)
    })
    const isInTime = await Promise.race([this.#exited.then(() => true), isLate])
    clearTimeout(timer)
    return isInTime
  }

  /**
   * Called every `sinceLastMs`. A machine that slept makes a late call with an old heart, so one call counts for no more
   * than a quarter of the bound: only a heart that stands still over several looks is hung.
   */
  watch(sinceLastMs: number): void {
    if (this.#worker === undefined) return
    const beats = this.#options.heartbeat.count()
    if (beats !== this.#lastBeats) {
      this.#lastBeats = beats
      this.#stillMs = 0
      return
    }
    const { hungMs, startMs } = this.#options.bounds
    const boundMs = beats === 0 ? startMs : hungMs
    this.#stillMs += Math.min(sinceLastMs, boundMs / 4)
    if (this.#stillMs <= boundMs || this.#hungDetail !== undefined) return
    this.#hungDetail = `no heart beat for ${Math.round(this.#stillMs)} ms`
    void this.#worker.terminate() // ends loops that never return, too; the exit event follows
  }

  #onExit(exitCode: number): void {
    this.#worker = undefined
    if (this.#isEnding) return
    const { bounds, events, nowMs } = this.#options
    if (this.#replacedDetail !== undefined) {
      this.#next('replaced', this.#replacedDetail)
      return
    }
    const reason: LostReason = this.#hungDetail === undefined ? 'crashed' : 'hung'
    const detail = this.#hungDetail ?? this.#crashDetail ?? `left with exit code ${exitCode}`
    const now = nowMs()
    while ((this.#restartTimes[0] ?? now) < now - bounds.restartWindowMs) this.#restartTimes.shift()
    if (this.#restartTimes.length >= bounds.restartsMax) {
      events.onGiveUp(this.#restartTimes.length, reason, detail)
      return
    }
    this.#restartTimes.push(now)
    this.#next(reason, detail)
  }

  #next(reason: LostReason, detail: string): void {
    const { events } = this.#options
    this.#restarts++
    this.start(events.onLost(reason, detail))
    events.onRestarted()
  }
}
