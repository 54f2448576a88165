/**
 * When what waits for clients is written. Each has its own turn, `periodMs` after something began to wait for it:
 *
 *   client a   ──x──────────W─x───────────W──
 *   client b   ────x──────────W──x───────────W─        x  something waits,  W  it is written
 *   ticks      |  |  |  |  |  |  |  |  |  |  |
 *
 * All in one go would be 15 ms for 500 clients in which nothing else is done, and the last of them gets its frames 15 ms later
 * than the first.
 *
 * Arithmetic: 500 clients × 40 turns a second × 13 µs are a quarter of the thread's time: more they do not get, the period
 * grows with what writing costs.
 */
import { Slabs } from '../../base/slabs.ts'
import type { Outbox } from './outbox.ts'

const PERIOD_MS_MIN = 4
const PERIOD_MS_MAX = 25
/** Writing takes this share of the thread's time at most, as long as the period may grow. */
const SHARE_MAX = 1 / 4
/** Turns within so much are taken together: a timer costs as much as a write. */
const TICK_MS = 2
/** What is made for all is made this often at most: what changed of a book meanwhile is one change. */
const MAKE_MS_MAX = 8
/** Whole books that are written in one period: when hundreds of clients come at once, what is live goes first. */
const OWED_BYTES_A_PERIOD = 2 * 1024 * 1024

export class WriteTurns {
  readonly #nowMs: () => number
  readonly #make: () => boolean
  readonly #slabs = new Slabs()
  /** who waits, in the order of their turns, and when those are */
  #waiting: Outbox[] = []
  #dueMs: number[] = []
  #periodMs = PERIOD_MS_MIN
  /** of this period */
  #sinceMs = Number.NEGATIVE_INFINITY
  #costMs = 0
  readonly #budget = { owedBytes: 0 }
  /** when something is to be made, if anything is */
  #makeMs = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  /** when it comes, if it does */
  #wakeMs = Number.POSITIVE_INFINITY

  /** @param make makes what is made some moments after it was wanted, for all clients; returns whether more is to come. */
  constructor(nowMs: () => number, make: () => boolean) {
    this.#nowMs = nowMs
    this.#make = make
  }

  /** It has something to write. */
  readonly add = (outbox: Outbox): void => {
    const dueMs = this.#nowMs() + this.#periodMs
    this.#waiting.push(outbox)
    this.#dueMs.push(dueMs)
    this.#wakeAt(dueMs)
  }

  /** There is something to make. */
  wantMade(): void {
    if (this.#makeMs !== Number.POSITIVE_INFINITY) return
    this.#makeMs = this.#nowMs() + Math.min(this.#periodMs, MAKE_MS_MAX)
    this.#wakeAt(this.#makeMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  /** A timer that comes not much later does, too. */
  #wakeAt(ms: number): void {
    if (this.#wakeMs <= ms + TICK_MS) return
    clearTimeout(this.#timer)
    this.#wakeMs = ms
    this.#timer = setTimeout(this.#tick, ms - this.#nowMs())
  }

  readonly #tick = (): void => {
    this.#wakeMs = Number.POSITIVE_INFINITY
    const startMs = this.#nowMs()
    if (startMs - this.#sinceMs >= this.#periodMs) this.#nextPeriod(startMs)
    if (this.#makeMs <= startMs) {
      this.#makeMs = Number.POSITIVE_INFINITY
      if (this.#make()) this.wantMade()
    }
    this.#write(startMs)
    const nowMs = this.#nowMs()
    this.#costMs += nowMs - startMs
    const nextMs = Math.min(this.#makeMs, this.#dueMs[0] ?? Number.POSITIVE_INFINITY)
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wakeAt(Math.max(nowMs + TICK_MS, nextMs))
  }

  #nextPeriod(nowMs: number): void {
    const share = this.#costMs / (nowMs - this.#sinceMs)
    this.#periodMs = Math.min(PERIOD_MS_MAX, Math.max(PERIOD_MS_MIN, (this.#periodMs * share) / SHARE_MAX))
    this.#sinceMs = nowMs
    this.#costMs = 0
    this.#budget.owedBytes = OWED_BYTES_A_PERIOD
  }

  #write(nowMs: number): void {
    let turns = 0
    while (turns < this.#waiting.length && (this.#dueMs[turns] as number) <= nowMs) turns++
    if (turns === 0) return
    const due = this.#waiting.slice(0, turns)
    this.#waiting = this.#waiting.slice(turns)
    this.#dueMs = this.#dueMs.slice(turns)
    for (const outbox of due) outbox.flush(this.#slabs, nowMs, this.#budget)
  }
}
