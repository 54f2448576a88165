import { uncommittedIn } from './acks.ts'
import type { Segment } from './reader.ts'

/** Blocks of one boot, both ends included. */
export interface BlockRange {
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
}

export interface LedgerStats {
  acked: number
  unacked: number
  uncommitted: number
  resent: number
}

/** Which blocks of all segments are delivered, and which are stored. */
export class Ledger {
  readonly #segments: readonly Segment[]
  readonly #stats: LedgerStats

  /** @param segments the spool's own list, as it changes */
  constructor(segments: readonly Segment[], stats: LedgerStats) {
    this.#segments = segments
    this.#stats = stats
  }

  ack(segment: Segment, blockSeq: number): void {
    if (!segment.acked.add(blockSeq)) return
    this.#stats.acked++
    if (this.#segments.includes(segment)) this.#stats.unacked--
  }

  commit({ epoch, firstSeq, lastSeq }: BlockRange): void {
    for (const segment of this.#overlapping(epoch, firstSeq, lastSeq)) {
      const last = Math.min(lastSeq, segment.lastSeq)
      for (let blockSeq = Math.max(firstSeq, segment.committed.below); blockSeq <= last; blockSeq++) {
        this.ack(segment, blockSeq)
        if (segment.committed.add(blockSeq)) this.#stats.uncommitted--
      }
    }
  }

  uncommitted(spanMax: number, countMax: number): BlockRange[] {
    const spans: BlockRange[] = []
    for (const { base, lastSeq: end, acked, committed } of this.#segments) {
      for (let seq = committed.below; seq <= end; seq++) {
        if (committed.has(seq) || !acked.has(seq)) continue
        if (spans.length >= countMax) return spans
        const lastSeq = Math.min(end, seq + spanMax - 1)
        spans.push({ epoch: base.epoch, firstSeq: seq, lastSeq })
        seq = lastSeq
      }
    }
    return spans
  }

  delivered({ epoch, firstSeq, lastSeq }: BlockRange): number[] {
    const found: number[] = []
    for (const { base, lastSeq: end, acked, committed } of this.#overlapping(epoch, firstSeq, lastSeq)) {
      for (let seq = Math.max(firstSeq, base.firstSeq); seq <= Math.min(lastSeq, end); seq++)
        if (acked.has(seq) && !committed.has(seq)) found.push(seq)
    }
    return found
  }

  /** @param onEach of the blocks that are to be delivered again */
  again({ epoch, firstSeq, lastSeq }: BlockRange, onEach: (segment: Segment, seq: number) => void): number {
    let count = 0
    for (const segment of this.#overlapping(epoch, firstSeq, lastSeq)) {
      const end = Math.min(lastSeq, segment.lastSeq)
      for (let seq = Math.max(firstSeq, segment.base.firstSeq); seq <= end; seq++) {
        if (segment.committed.has(seq) || !segment.acked.delete(seq)) continue
        count++
        onEach(segment, seq)
      }
    }
    this.#stats.unacked += count
    this.#stats.resent += count
    return count
  }

  uncommittedSinceMs(): number | undefined {
    const oldest = this.#segments.find((segment) => uncommittedIn(segment) > 0)
    return oldest?.times.findLast(({ seq }) => seq <= oldest.committed.below)?.ms
  }

  #overlapping(epoch: number, firstSeq: number, lastSeq: number): Segment[] {
    return this.#segments.filter(
      ({ base, lastSeq: end }) => base.epoch === epoch && base.firstSeq <= lastSeq && firstSeq <= end,
    )
  }
}
