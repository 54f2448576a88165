import type { DepthEvent } from '../record/emit.ts'
import { APPLY, type Chain, STALE, type SyncRules } from './chain.ts'

/**
 * A second snapshot for a book that is LIVE.
 *
 * A snapshot is cut at so many levels a side; beyond them levels are unknown until they change. When the market has moved
 * close to that edge, the top of the book may lack levels although its chain is whole. So a new snapshot is asked for
 * while the book goes on: events are applied as ever, and copies of them wait here, because the snapshot will be older
 * than the book by the time it arrives. Nothing is missed, so there is no gap and the book does not leave LIVE.
 */
export class Refresh {
  /** Sequence of the book when the question went out. */
  readonly fromSeq: number
  readonly #events: DepthEvent[] = []

  constructor(fromSeq: number) {
    this.fromSeq = fromSeq
  }

  get eventCount(): number {
    return this.#events.length
  }

  hold(copy: DepthEvent): void {
    this.#events.push(copy)
  }

  /** @returns the events that continue the snapshot, or undefined when it is too old to be continued. */
  continuation(rules: SyncRules, snapshotSeq: number): readonly DepthEvent[] | undefined {
    if (snapshotSeq < this.fromSeq) return undefined
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
