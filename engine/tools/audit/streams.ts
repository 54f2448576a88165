/** Invariants 6 and 10, and holes in what venues number: the rows of one stream, in their order. */
import { type AuditStore, askRows, type Finding, FINDINGS_MAX, within } from './store.ts'

/** So far back the trade before the first of a day is looked for. */
const PREDECESSOR_SECONDS = 600

/** Changes of a book that claim to be part of a proven chain (LIVE) and do not continue the one before. */
export async function brokenChains(store: AuditStore, day: number): Promise<Finding[]> {
  return await askRows<Finding>(
    store,
    `SELECT exchange, market, symbol, book_epoch, producer, epoch, block_seq, row_in_block, previous, first_seq, last_seq, prev_seq
     FROM (
       SELECT exchange, market, symbol, book_epoch, producer, epoch, block_seq, row_in_block, first_seq, last_seq, prev_seq,
              row_number() OVER w AS place, lagInFrame(last_seq) OVER w AS previous
       FROM book_deltas WHERE state = 'LIVE' AND ${within('received_ns', day)}
       WINDOW w AS (PARTITION BY exchange, market, symbol, producer, epoch, book_epoch ORDER BY block_seq, row_in_block
                    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
     )
     WHERE place > 1 AND if(prev_seq > 0, prev_seq != previous, first_seq > previous + 1 OR last_seq <= previous)
     ORDER BY exchange, market, symbol, block_seq, row_in_block LIMIT ${FINDINGS_MAX}`,
  )
}

interface Hole {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  readonly stream: string
  /** numbers of the trades on both sides */
  readonly before: string
  readonly after: string
  /** when those were received, ns */
  readonly before_ns: string
  readonly after_ns: string
}

interface Gap {
  readonly from_ns: string
  readonly to_ns: string
  readonly from_seq: string
  readonly to_seq: string
}

/**
 * Trades that are missing by the venue's own unbroken numbering (column seq) and of which no row of `gaps` speaks. A row
 * that is a run of matches has the number of its last one.
 */
export async function unexplainedHoles(store: AuditStore, day: number): Promise<Finding[]> {
  const holes = await askRows<Hole>(
    store,
    `SELECT exchange, market, symbol, stream, previous AS before, first AS after,
            toUnixTimestamp64Nano(previous_at) AS before_ns, toUnixTimestamp64Nano(at) AS after_ns
     FROM (
       SELECT exchange, market, symbol, stream, received_ns AS at, row_number() OVER w AS place,
              seq - if(stream = 'trade', last_trade_id - first_trade_id, 0) AS first,
              lagInFrame(seq) OVER w AS previous, lagInFrame(received_ns) OVER w AS previous_at
       FROM trades
       WHERE seq > 0 AND ${within('received_ns')}
         AND received_ns >= toDateTime64('${isoDay(day)} 00:00:00', 9, 'UTC') - toIntervalSecond(${PREDECESSOR_SECONDS})
         AND toYYYYMMDD(received_ns) <= ${day}
       WINDOW w AS (PARTITION BY exchange, market, symbol, stream ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
     )
     WHERE place > 1 AND first > previous + 1 AND toYYYYMMDD(at) = ${day}
     ORDER BY exchange, market, symbol, stream, after LIMIT ${FINDINGS_MAX}`,
  )
  if (holes.length === 0) return []
  const gaps = await tradeGaps(store)
  return holes
    .filter((hole) => !gaps(hole).some((gap) => explains(gap, hole)))
    .map(({ exchange, market, symbol, stream, before, after }) => ({
      exchange,
      market,
      symbol,
      stream,
      first_missing: String(BigInt(before) + 1n),
      last_missing: String(BigInt(after) - 1n),
    }))
}

async function tradeGaps(store: AuditStore): Promise<(of: Hole) => readonly Gap[]> {
  const rows = await askRows<Gap & { exchange: string; market: string; symbol: string }>(
    store,
    `SELECT exchange, market, symbol, toUnixTimestamp64Nano(from_ns) AS from_ns, toUnixTimestamp64Nano(to_ns) AS to_ns, from_seq, to_seq
     FROM gaps FINAL WHERE channel = 'trades'`,
  )
  const byInstrument = new Map<string, Gap[]>()
  const name = (of: { exchange: string; market: string; symbol: string }) => `${of.exchange}.${of.market}.${of.symbol}`
  for (const row of rows) byInstrument.set(name(row), [...(byInstrument.get(name(row)) ?? []), row])
  return (of) => byInstrument.get(name(of)) ?? []
}

/** By its numbers where it has both, else by its time: an open gap has no end. */
function explains(gap: Gap, hole: Hole): boolean {
  const [fromSeq, toSeq, fromNs, toNs] = [gap.from_seq, gap.to_seq, gap.from_ns, gap.to_ns].map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ]
  if (fromSeq > 0n && toSeq > 0n) return fromSeq <= BigInt(hole.before) && BigInt(hole.after) <= toSeq
  return fromNs <= BigInt(hole.after_ns) && (toNs === 0n || toNs >= BigInt(hole.before_ns))
}

/**
 * Closed bars of a minute whose volume is not that of the trades in it: only where the venue numbers its trades, there is
 * one before and one after, and neither a gap nor a hole between. Venues give the volume in the unit of the quantity or
 * in base currency; either will do.
 */
export async function wrongBars(store: AuditStore, day: number): Promise<Finding[]> {
  return await askRows<Finding>(
    store,
    `SELECT k.exchange AS exchange, k.market AS market, k.symbol AS symbol, toString(k.open_ns) AS open, t.stream AS stream,
            toString(k.said) AS bar_volume, toString(t.traded) AS traded, t.trades AS trades
     FROM (SELECT exchange, market, symbol, open_ns, argMax(volume, received_ns) AS said, argMax(base_volume, received_ns) AS said_in_base
           FROM klines WHERE interval = '1m' AND volume IS NOT NULL AND ${within('received_ns', day)}
           GROUP BY exchange, market, symbol, open_ns) AS k
     INNER JOIN (
       SELECT exchange, market, symbol, stream, toStartOfMinute(trade_ns) AS minute, sum(quantity) AS traded, count() AS trades,
              min(seq - if(stream = 'trade', last_trade_id - first_trade_id, 0)) AS first, max(seq) AS last,
              sum(1 + if(stream = 'trade', last_trade_id - first_trade_id, 0)) AS numbers
       FROM trades FINAL WHERE seq > 0 AND toYYYYMMDD(received_ns) = ${day}
       GROUP BY exchange, market, symbol, stream, minute
     ) AS t ON k.exchange = t.exchange AND k.market = t.market AND k.symbol = t.symbol AND toDateTime(k.open_ns) = t.minute
     INNER JOIN (
       SELECT exchange, market, symbol, stream, min(trade_ns) AS first_ns, max(trade_ns) AS last_ns
       FROM trades WHERE seq > 0 AND ${within('received_ns', day)} GROUP BY exchange, market, symbol, stream
     ) AS s ON k.exchange = s.exchange AND k.market = s.market AND k.symbol = s.symbol AND t.stream = s.stream
     WHERE s.first_ns < k.open_ns AND s.last_ns >= k.open_ns + toIntervalMinute(1) AND t.last - t.first + 1 = t.numbers
       AND toDecimal256(t.traded, 18) != toDecimal256(assumeNotNull(k.said), 18)
       AND (k.said_in_base IS NULL OR toDecimal256(t.traded, 18) != toDecimal256(assumeNotNull(k.said_in_base), 18))
       AND (k.exchange, k.market, k.symbol) NOT IN (
         SELECT exchange, market, symbol FROM gaps FINAL WHERE channel IN ('trades', 'klines'))
     ORDER BY exchange, market, symbol, open LIMIT ${FINDINGS_MAX}`,
  )
}

/** Gaps that are still open: nothing wrong with the store, but something is missing now. */
export async function openGaps(store: AuditStore): Promise<number> {
  const [row] = await askRows<{ count: string }>(
    store,
    `SELECT count() AS count FROM gaps FINAL WHERE status = 'open' AND ${within('received_ns')}`,
  )
  return Number(row?.count ?? 0)
}

function isoDay(day: number): string {
  const text = String(day)
  return `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}`
}
