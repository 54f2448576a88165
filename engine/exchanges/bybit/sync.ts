import type { Chain } from '../../book/book.ts'
import { APPLY, GAP, STALE, type SyncRules, type Verdict } from '../../book/chain.ts'

/**
 * How to keep a local order book: bybit-exchange.github.io/docs/v5/websocket/public/orderbook, "Process snapshot/delta"
 * and the comments on `u`. The venue's words on the left, ours on the right: u = firstSeq = lastSeq.
 *
 *  1. After subscribing comes a snapshot, then a delta whenever the book changes.
 *  2. A new snapshot replaces the book, whenever it comes.
 *  3. u = 1 is a snapshot: the service was restarted.       (1 to 3: the parser says `isSnapshot`)
 *  4. u rises by 1 with every message of the topic.
 */

export const RESTART_SEQ = 1

/**
 * A smaller u is repeated by a connection that lags. A restart is never met as a smaller delta: its snapshot comes first,
 * and where that was lost the connection was, too, which starts the book anew.
 */
export function bybitVerdict(chain: Chain, lastSeq: number): Verdict {
  if (lastSeq === chain.seq + 1) return APPLY // 4
  return lastSeq <= chain.seq ? STALE : GAP
}

/** The same on all markets. */
export const BYBIT_SYNC: SyncRules = {
  anchor: 'stream',
  verdict: (chain, _firstSeq, lastSeq) => bybitVerdict(chain, lastSeq),
  continues: (seq, firstSeq) => firstSeq === seq + 1,
  isRestart: (lastSeq) => lastSeq === RESTART_SEQ, // 3
}
