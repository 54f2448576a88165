/**
 * What only REST has, asked again and again: every poll rule of a market × every instrument that wants its channel.
 *
 *   rule open_interest, every 30 s      A     C  E    B     D      A     C …       ► time
 *                                       └──── one interval ───────┘
 *
 * Each instrument has its own place in the interval, so that hundreds of them never ask at once; places follow the golden
 * ratio, which spreads any number evenly and moves nobody when one is added. Jitter keeps two collectors of one address
 * apart. All of it has the lowest priority in the weight ledger: a hole in a book never waits for a statistic.
 *
 * Under overload (roles/pressure.ts) what is due waits, and is asked once when it is over, as soon as the first of all.
 *
 * Arithmetic: 500 instruments × 3 rules every 30 s are 50 requests a second of weight 1; the ledger lets fewer through
 * when the venue allows fewer, and then what is still under way when it is due again is skipped and counted.
 */
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import type { Instrument, PollRule, RestRequest } from '../exchanges/exchange.ts'
import type { FeedTime } from './timer.ts'

export interface PollOptions {
  /** of the interval, added to each poll at random */
  readonly jitterShare: number
  /** the first polls of all instruments come within this, so that nobody waits five minutes for a first row */
  readonly firstWithinMs: number
  /** after failures one after the other an instrument waits 2, 4, 8 … intervals, at most so many */
  readonly backoffIntervalsMax: number
}

export const POLL_DEFAULTS: PollOptions = { jitterShare: 0.05, firstWithinMs: 10_000, backoffIntervalsMax: 16 }

export interface PollSurroundings {
  /** asks the venue through the ledger, at the lowest priority */
  readonly fetch: (instrument: Instrument, request: RestRequest) => Promise<Buffer>
  readonly time: FeedTime
  readonly random: Random
  readonly onAnswer: (instrument: Instrument, name: string, body: Buffer) => void
  readonly onFailed: (instrument: Instrument, name: string, error: Error) => void
}

export interface PollStats {
  sent: number
  answered: number
  failed: number
  /** due while the one before was still under way, or while failures or an overload keep it back */
  skipped: number
}

interface Task {
  readonly instrument: Instrument
  readonly rule: PollRule
  readonly request: RestRequest
  /** 0 … 1 of the interval */
  readonly place: number
  isUnderWay: boolean
  isOver: boolean
  /** was due while everything was held */
  isOwed: boolean
  failureCount: number
  /** polls still to skip */
  waitCount: number
  cancel: () => void
}

const GOLDEN_RATIO = 0.618_033_988_749_895

export class Polls {
  readonly stats: PollStats = { sent: 0, answered: 0, failed: 0, skipped: 0 }
  readonly #options: PollOptions
  readonly #around: PollSurroundings
  readonly #tasks = new Map<string, Task[]>()
  /** tasks ever made, by rule: the next place in its interval */
  readonly #placeCounts = new Map<string, number>()
  #isHeld = false
  #isClosed = false

  constructor(options: PollOptions, around: PollSurroundings) {
    assert(
      options.jitterShare >= 0 && options.jitterShare < 0.5,
      `jitter of ${options.jitterShare} mixes up the places`,
    )
    this.#options = options
    this.#around = around
  }

  get taskCount(): number {
    let count = 0
    for (const tasks of this.#tasks.values()) count += tasks.length
    return count
  }

  /** Begins to ask for these of an instrument. */
  add(instrument: Instrument, rules: readonly PollRule[]): void {
    assert(!this.#tasks.has(instrument.id), `${instrument.id} is polled already`)
    if (this.#isClosed) return
    const tasks = rules.flatMap((rule) => {
      const request = rule.request(instrument)
      return request === undefined ? [] : [this.#newTask(instrument, rule, request)]
    })
    if (tasks.length === 0) return
    this.#tasks.set(instrument.id, tasks)
    for (const task of tasks) this.#first(task)
  }

  /** What is under way is not delivered any more. */
  remove(id: string): void {
    for (const task of this.#tasks.get(id) ?? []) {
      task.isOver = true
      task.cancel()
    }
    this.#tasks.delete(id)
  }

  /** While it is so nothing is asked. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld
    if (isHeld) return
    for (const task of [...this.#tasks.values()].flat()) {
      if (!task.isOwed) continue
      task.isOwed = false
      task.cancel()
      this.#first(task)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const id of [...this.#tasks.keys()]) this.remove(id)
  }

  #newTask(instrument: Instrument, rule: PollRule, request: RestRequest): Task {
    assert(rule.intervalMs > 0, `poll ${rule.name} has no interval`)
    const key = `${instrument.exchange}.${instrument.market}/${rule.name}`
    const count = this.#placeCounts.get(key) ?? 0
    this.#placeCounts.set(key, count + 1)
    return {
      instrument,
      rule,
      request,
      place: (count * GOLDEN_RATIO) % 1,
      isUnderWay: false,
      isOver: false,
      isOwed: false,
      failureCount: 0,
      waitCount: 0,
      cancel: () => {},
    }
  }

  #first(task: Task): void {
    const withinMs = Math.min(this.#options.firstWithinMs, task.rule.intervalMs)
    task.cancel = this.#around.time.after(task.place * withinMs, () => this.#due(task))
  }

  /** The next of the instrument's places that is at least half an interval away, and its jitter. */
  #next(task: Task): void {
    const { time, random } = this.#around
    const { intervalMs } = task.rule
    const nowMs = time.monotonicMs()
    const earliest = (nowMs + intervalMs / 2) / intervalMs
    const dueMs = (Math.ceil(earliest - task.place) + task.place) * intervalMs
    const jitterMs = random() * this.#options.jitterShare * intervalMs
    task.cancel = time.after(dueMs - nowMs + jitterMs, () => this.#due(task))
  }

  #due(task: Task): void {
    this.#next(task)
    if (task.isUnderWay || task.waitCount > 0 || this.#isHeld) {
      task.isOwed = this.#isHeld && !task.isUnderWay && task.waitCount === 0
      task.waitCount = Math.max(0, task.waitCount - 1)
      this.stats.skipped++
      return
    }
    task.isUnderWay = true
    void this.#poll(task)
  }

  async #poll(task: Task): Promise<void> {
    const { instrument, rule, request } = task
    this.stats.sent++
    try {
      const body = await this.#around.fetch(instrument, request)
      if (task.isOver) return
      this.stats.answered++
      task.failureCount = 0
      this.#around.onAnswer(instrument, rule.name, body)
    } catch (error) {
      if (task.isOver) return
      this.stats.failed++
      task.failureCount++
      task.waitCount = Math.min(this.#options.backoffIntervalsMax, 2 ** Math.min(task.failureCount, 10)) - 1
      this.#around.onFailed(instrument, rule.name, error as Error)
    } finally {
      task.isUnderWay = false
    }
  }
}
