import { type DepthEvent, LEVELS_MAX } from '../record/emit.ts'
import type { BookRow, GapRow } from '../record/recorder.ts'
import { GAP_CAUSES, GAP_CHANNELS, GAP_STATUSES, SNAPSHOT_KINDS } from '../record/schema.ts'
import type { Book } from './book.ts'

/** A time as words, and where the venue's sequence stood then. */
export interface SeqTime {
  readonly hi: number
  readonly lo: number
  readonly seq: number
}

/** The snapshot that a book starts from, all levels. */
export function anchorRow(instrument: number, book: Book, snapshot: DepthEvent): BookRow {
  return {
    instrument,
    kind: SNAPSHOT_KINDS.anchor,
    eventMs: snapshot.eventMs,
    lastSeq: snapshot.lastSeq,
    epoch: book.epoch,
    bidLevels: book.bids.levelCount,
    askLevels: book.asks.levelCount,
    bidCount: Math.min(snapshot.bidCount, LEVELS_MAX),
    askCount: Math.min(snapshot.askCount, LEVELS_MAX),
    bidPrices: snapshot.bidPrices,
    bidQuantities: snapshot.bidQuantities,
    askPrices: snapshot.askPrices,
    askQuantities: snapshot.askQuantities,
  }
}

/** The venue sent the whole book anew without being asked: what lay between nobody was told. */
export function restartRow(instrument: number, from: SeqTime, to: SeqTime): GapRow {
  return {
    instrument,
    channel: GAP_CHANNELS.book,
    cause: GAP_CAUSES.reset,
    status: GAP_STATUSES.closed,
    fromHi: from.hi,
    fromLo: from.lo,
    toHi: to.hi,
    toLo: to.lo,
    fromSeq: from.seq,
    toSeq: to.seq,
    lostCount: 0,
    detail: 'the venue sent its book anew',
  }
}
