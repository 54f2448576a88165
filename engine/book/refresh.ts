import type { DepthEvent } from '../record/emit.ts'
import type { Chain } from './book.ts'
import { APPLY, STALE, type SyncRules } from './chain.ts'
import { copyOf } from './held-depth.ts'

/**
 * A second snapshot for a book that is LIVE.
 *
 * A snapshot is cut at so many levels a side; beyond them levels are unknown until they change. When the market has moved
 * close to that edge, the top of the book may lack levels although its chain is whole. So a new snapshot is asked for
 * while the book goes on: events are applied as ever, and copies of them wait here, because the snapshot will be older
 * than the book by the time it arrives. Nothing is missed, so there is no gap and the book does not leave LIVE.
 */
/** A book asks for a second snapshot at most this often; after each that was of no use it waits twice as long. */
const REFRESH_MS_MIN = 10_000
const REFRESH_DOUBLINGS_MAX = 6

export class Refresh {
  readonly #eventsMax: number
  /** Sequence of the book when the question went out; undefined when none is out. */
  #fromSeq: number | undefined
  #events: DepthEvent[] = []
  #againMs = 0
  #failures = 0

  constructor(eventsMax: number) {
    this.#eventsMax = eventsMax
  }

  get isOpen(): boolean {
    return this.#fromSeq !== undefined
  }

  /** @returns whether the question may go out now. */
  tryOpen(nowMs: number, seq: number): boolean {
    if (this.isOpen || nowMs < this.#againMs) return false
    this.#againMs = nowMs + REFRESH_MS_MIN * 2 ** this.#failures
    this.#fromSeq = seq
    return true
  }

  hold(event: DepthEvent): void {
    if (this.#events.length >= this.#eventsMax) this.abandon()
    else this.#events.push(copyOf(event))
  }

  /** What was asked is of no interest any more. */
  close(): void {
    this.#fromSeq = undefined
    this.#events = []
  }

  /** No answer, or one that is of no use. */
  abandon(): void {
    if (!this.isOpen) return
    this.close()
    this.#failures = Math.min(this.#failures + 1, REFRESH_DOUBLINGS_MAX)
  }

  /** @returns the events that continue the snapshot up to the book; undefined (and abandoned) when it is of no use. */
  take(rules: SyncRules, snapshotSeq: number, bookSeq: number): readonly DepthEvent[] | undefined {
    const events = this.#continuation(rules, snapshotSeq)
    if (events === undefined || (events.length === 0 && snapshotSeq !== bookSeq)) {
      this.abandon()
      return undefined
    }
    this.close()
    this.#failures = 0
    return events
  }

  #continuation(rules: SyncRules, snapshotSeq: number): readonly DepthEvent[] | undefined {
    if (this.#fromSeq === undefined || snapshotSeq < this.#fromSeq) return undefined
    const chain: Chain = { seq: snapshotSeq, events: 0 }
    const applied: DepthEvent[] = []
    for (const event of this.#events) {
      const verdict = rules.verdict(chain, event.firstSeq, event.lastSeq, event.prevSeq)
      if (verdict === APPLY) {
        chain.seq = event.lastSeq
        chain.events++
        applied.push(event)
      } else if (verdict !== STALE) return undefined
    }
    return applied
  }
}
