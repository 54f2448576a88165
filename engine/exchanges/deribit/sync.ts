import { APPLY, GAP, STALE } from '../../book/chain.ts'
import type { Chain } from '../../book/book.ts'
import type { SyncRules, Verdict } from '../../book/chain.ts'

/**
 * docs.deribit.com, "book.(instrument_name).(interval)": the first message is the whole book; each following one names in
 * prev_change_id the change_id of the one before, and when that is not so, messages were missed.
 * The venue's words on the left, ours on the right: change_id = firstSeq = lastSeq, prev_change_id = prevSeq.
 *
 *  1. type `snapshot` replaces the book (isSnapshot; it needs no verdict).
 *  2. type `change` with prev_change_id = the book's change_id continues it.
 *  3. A change that is not newer than the book is in it already (two connections, or a repetition).
 *  4. Anything else is a gap: unsubscribe and subscribe this channel, which begins with a snapshot again.
 *
 * change_id is no counter: it rises with what happens elsewhere too, so only the chain tells.
 */
export function verdict(chain: Chain, _firstSeq: number, lastSeq: number, prevSeq: number): Verdict {
  if (prevSeq === chain.seq) return APPLY // 2
  return lastSeq <= chain.seq ? STALE : GAP // 3, 4
}

export const DERIBIT_SYNC: SyncRules = {
  anchor: 'stream',
  verdict,
  continues: (seq, _firstSeq, prevSeq) => prevSeq === seq,
}
