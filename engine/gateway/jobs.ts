import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'

/** What the gateway does by itself, again and again. */
export interface JobOptions {
  readonly name: string
  /** one line for people */
  readonly about: string
  readonly everyMs: number
}

export interface JobStatus extends JobOptions {
  readonly isRunning: boolean
  readonly runs: number
  readonly failures: number
  /** ms since the epoch; undefined before the first run */
  readonly lastStartedMs?: number
  readonly lastDurationMs?: number
  /** what the last run said, or why it failed */
  readonly lastOutcome?: string
}

interface Job {
  readonly options: JobOptions
  readonly work: (signal: AbortSignal) => Promise<string>
  timer: NodeJS.Timeout | undefined
  isRunning: boolean
  runs: number
  failures: number
  lastStartedMs: number | undefined
  lastDurationMs: number | undefined
  lastOutcome: string | undefined
}

/** Jobs run one after the other each, never beside themselves: the pause begins when a run has ended. */
export class Jobs {
  readonly #clock: Clock
  readonly #log: Log
  readonly #jobs: Job[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** The first run is at once. @param work says in a few words what it did; aborted when the gateway ends */
  add(options: JobOptions, work: (signal: AbortSignal) => Promise<string>): void {
    const job: Job = {
      options,
      work,
      timer: undefined,
      isRunning: false,
      runs: 0,
      failures: 0,
      lastStartedMs: undefined,
      lastDurationMs: undefined,
      lastOutcome: undefined,
    }
    this.#jobs.push(job)
    this.#after(0, job)
  }

  status(): JobStatus[] {
    return this.#jobs.map(({ options, isRunning, runs, failures, lastStartedMs, lastDurationMs, lastOutcome }) => ({
      ...options,
      isRunning,
      runs,
      failures,
      ...(lastStartedMs === undefined ? {} : { lastStartedMs }),
      ...(lastDurationMs === undefined ? {} : { lastDurationMs }),
      ...(lastOutcome === undefined ? {} : { lastOutcome }),
    }))
  }

  async close(): Promise<void> {
    this.#stop.abort()
    for (const { timer } of this.#jobs) clearTimeout(timer)
    await Promise.all(this.#running)
  }

  #after(ms: number, job: Job): void {
    if (this.#stop.signal.aborted) return
    job.timer = setTimeout(() => {
      const run = this.#run(job).finally(() => this.#running.delete(run))
      this.#running.add(run)
    }, ms)
  }

  async #run(job: Job): Promise<void> {
    const beganMs = this.#clock.monotonicMs()
    job.isRunning = true
    job.lastStartedMs = Math.round(this.#clock.nowMs())
    try {
      job.lastOutcome = await job.work(this.#stop.signal)
    } catch (error) {
      job.failures++
      job.lastOutcome = (error as Error).message
      if (!this.#stop.signal.aborted)
        this.#log.warn({ job: job.options.name, reason: job.lastOutcome }, 'a job of the gateway failed')
    }
    job.isRunning = false
    job.runs++
    job.lastDurationMs = Math.round(this.#clock.monotonicMs() - beganMs)
    this.#after(job.options.everyMs, job)
  }
}
