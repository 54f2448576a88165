import type { DepthEvent } from '../record/emit.ts'
import type { Book, Chain } from './book.ts'

/** What the sequence rules of a venue say about one event. */
export const APPLY = 0 // the event continues the book
export const STALE = 1 // everything in it is in the book already
export const GAP = 2 // something between the book and the event is missing
export const AGAIN = 3 // the snapshot is older than the events at hand: ask for another
export const IDLE = 4 // nothing changed: the venue shows that the stream lives
export type Verdict = typeof APPLY | typeof STALE | typeof GAP | typeof AGAIN | typeof IDLE

/** The sequence rules of one market, as its folder fills them in. */
export interface SyncRules {
  /** Where a book starts: from a REST snapshot that is asked for, or from a message of the stream (`isSnapshot`). */
  readonly anchor: 'rest' | 'stream'
  verdict(chain: Chain, firstSeq: number, lastSeq: number, prevSeq: number): Verdict
  /** Whether an event follows the event that ended at `seq`, in the stream itself, whatever the book. */
  continues(seq: number, firstSeq: number, prevSeq: number): boolean
  /** Whether a snapshot with this sequence means that the venue counts anew (Bybit: u = 1). */
  isRestart?(lastSeq: number): boolean
  /** What the venue's checksum of this book must be, int32; only where it sends one. */
  checksumOf?(book: Book, priceScale: number, quantityScale: number): number
}

/** Whether a snapshot cannot be continued by the first event that waits for it. */
export function isTooOld(rules: SyncRules, snapshotSeq: number, first: DepthEvent): boolean {
  return rules.verdict({ seq: snapshotSeq, events: 0 }, first.firstSeq, first.lastSeq, first.prevSeq) === AGAIN
}
