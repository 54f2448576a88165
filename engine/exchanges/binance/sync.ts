import { AGAIN, APPLY, GAP, STALE } from '../../book/chain.ts'
import type { Chain } from '../../book/book.ts'
import type { SyncRules, Verdict } from '../../book/chain.ts'

/**
 * How to keep a local order book, the venue's steps.
 * The venue's words on the left, ours on the right: U = firstSeq, u = lastSeq, pu = prevSeq, lastUpdateId = chain.seq.
 *
 * Spot: developers.binance.com, "How to manage a local order book correctly" (Web Socket Streams)
 * USD-M, COIN-M: the page of the same name under USDⓈ-M and COIN-M futures
 */

/** A new listing without a book answers with this lastUpdateId; whatever event comes first starts the book. */
const NO_UPDATE_YET = -1

// Spot
//  1. Open the stream and buffer.                        2. Get a snapshot.
//  3. If lastUpdateId < U of the first event, get another snapshot. (U = lastUpdateId + 1 continues it by step 5.)
//  4. Drop any event where u <= lastUpdateId.
//  5. The first event must have U <= lastUpdateId + 1 <= u.
//  6. After that each event has U = (u of the event before) + 1; U > u + 1 means events were missed.
export function spotVerdict(chain: Chain, firstSeq: number, lastSeq: number): Verdict {
  if (chain.seq === NO_UPDATE_YET) return APPLY
  if (lastSeq <= chain.seq) return STALE // 4
  if (firstSeq <= chain.seq + 1) return APPLY // 5, 6
  return chain.events === 0 ? AGAIN : GAP // 3, 6
}

// USD-M and COIN-M
//  1. Open the stream and buffer.                        2. Get a snapshot.
//  3. (as for spot: a snapshot older than the first event is of no use)
//  4. Drop any event where u < lastUpdateId.
//  5. The first event must have U <= lastUpdateId <= u. The stream may also continue directly: pu = lastUpdateId.
//  6. Each event has pu = u of the event before, else start again.
export function futuresVerdict(chain: Chain, firstSeq: number, lastSeq: number, prevSeq: number): Verdict {
  if (chain.seq === NO_UPDATE_YET) return APPLY
  if (chain.events === 0) {
    if (lastSeq < chain.seq) return STALE // 4
    return firstSeq <= chain.seq || prevSeq === chain.seq ? APPLY : AGAIN // 5, 3
  }
  if (prevSeq === chain.seq) return APPLY // 6
  return lastSeq <= chain.seq ? STALE : GAP
}

export const SPOT_SYNC: SyncRules = {
  anchor: 'rest',
  verdict: spotVerdict,
  continues: (seq, firstSeq) => firstSeq <= seq + 1,
}

export const FUTURES_SYNC: SyncRules = {
  anchor: 'rest',
  verdict: futuresVerdict,
  continues: (seq, _firstSeq, prevSeq) => prevSeq === seq,
}

/** @param market `spot`, `usdm` or `coinm`. */
export function binanceSync(market: string): SyncRules {
  return market === 'spot' ? SPOT_SYNC : FUTURES_SYNC
}
