/**
 * Events that the venues made and the store does not have, and whether rows of `gaps` tell of them.
 *
 *   hole    missing events of one stream between two stored ones, with the times at which those two were received
 *
 * Whatever was late or held back on its way, a hole has its place in the order in which the engine received the stream. So
 * no clock of the venue is asked: rows of `gaps` explain a hole when one holds its numbers, or when their intervals cover the
 * time between the two stored events.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { CHECKED_TABLES, type CheckedTable, COMPARISONS } from '../demo/check.ts'
import type { GapRow } from '../demo/notes.ts'
import type { InjectedLoss } from '../faults/judge.ts'

export interface Hole {
  readonly table: CheckedTable
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  readonly first: string
  readonly last: string
  readonly events: string
  /** when the stored event before was received, and the one after; null: there is none */
  readonly beforeMs: string | null
  readonly afterMs: string | null
}

/** A row ends when its channel delivers again; the stream of one instrument may have its first event later. */
const UNTOLD_MS_MAX = 1_000

const TABLE_OF: Readonly<Record<string, CheckedTable>> = {
  trades: 'trades',
  book: 'book_deltas',
  book_tickers: 'book_tickers',
}

/** What the numbers of a stream are, as stored and as sent, and what tells two streams of one instrument apart. */
const ORDER: Readonly<Record<CheckedTable, { stored: string; sent: string; stream: string }>> = {
  trades: { stored: 'trade_number', sent: 'trade_number', stream: 'toString(stream)' },
  book_deltas: { stored: 'last_seq', sent: 'last_seq', stream: "''" },
  book_tickers: {
    stored: "if(exchange = 'deribit', toUInt64(toUnixTimestamp64Milli(event_ns)), update_id)",
    sent: "if(exchange = 'deribit', toUInt64(event_ms), update_id)",
    stream: "''",
  },
}

/** Within `withTruth`. @param losses what the venues made and nobody heard */
export async function readHoles(
  client: ClickHouseClient,
  database: string,
  losses: readonly InjectedLoss[],
): Promise<Hole[]> {
  await client.command({
    query: `CREATE TABLE truth.lost (table String, exchange String, market String, symbol String, stream String, number UInt64, events UInt64)
      ENGINE = MergeTree ORDER BY tuple()`,
  })
  const values = losses.flatMap(endsOf)
  if (values.length > 0) await client.insert({ table: 'truth.lost', values, format: 'JSONEachRow' })
  const holes: Hole[] = []
  for (const table of CHECKED_TABLES) {
    const answer = await client.query({ query: holesQuery(database, table), format: 'JSONEachRow' })
    holes.push(...(await answer.json<Omit<Hole, 'table'>>()).map((hole) => ({ table, ...hole })))
  }
  return holes
}

/** Nothing of a loss is stored, so its ends lie in one hole. */
function endsOf({ exchange, market, symbol, stream, channel, count, ...loss }: StreamLoss) {
  const table = TABLE_OF[channel]
  if (table === undefined) return []
  // what ORDER takes for a number
  const isByTime = table === 'book_tickers' && exchange === 'deribit'
  const [first, last] = isByTime ? [loss.firstMs, loss.lastMs] : [loss.firstId, loss.lastId]
  const isAggregate = channel === 'trades' && /agg/i.test(stream ?? '')
  const place = {
    table,
    exchange,
    market,
    symbol,
    stream: table !== 'trades' ? '' : isAggregate ? 'agg_trade' : 'trade',
  }
  return [
    { ...place, number: first, events: count },
    { ...place, number: last, events: 0 },
  ]
}

type StreamLoss = InjectedLoss & { readonly stream?: string }

function holesQuery(database: string, table: CheckedTable): string {
  const { id, number = '0', sentNumber = '0', isRepaired = 'false' } = COMPARISONS[table]
  const { stored, sent, stream } = ORDER[table]
  const place = `exchange, market, symbol, ${stream} AS part`
  const rows = `SELECT exchange, market, symbol, part, number, received FROM (
    SELECT *, ${number}, ${place}, ${stored} AS number, toUnixTimestamp64Milli(received_ns) AS received FROM ${database}.${table} WHERE NOT (${isRepaired}))`
  const near = (name: string, order: string): string =>
    `ASOF LEFT JOIN (${rows}) AS ${name} ON m.exchange = ${name}.exchange AND m.market = ${name}.market AND m.symbol = ${name}.symbol AND m.part = ${name}.part AND m.number ${order} ${name}.number`
  const missing = `SELECT exchange, market, symbol, part, number, 1 AS events
      FROM (SELECT *, ${sentNumber}, ${place}, ${sent} AS number FROM truth.${table})
      WHERE sipHash128(${id}) NOT IN (SELECT sipHash128(${id}) FROM (SELECT *, ${number} FROM ${database}.${table}))
    UNION ALL
    SELECT exchange, market, symbol, stream AS part, number, events FROM truth.lost WHERE table = '${table}'`
  return `SELECT exchange, market, symbol, toString(min(number)) AS first, toString(max(number)) AS last, toString(sum(events)) AS events,
      toString(before_ms) AS beforeMs, toString(after_ms) AS afterMs
    FROM (
      SELECT m.*, a.received AS after_ms FROM (SELECT m.*, b.received AS before_ms FROM (${missing}) AS m ${near('b', '>')}) AS m
        ${near('a', '<')}
    ) GROUP BY exchange, market, symbol, part, before_ms, after_ms SETTINGS join_use_nulls = 1`
}

/** Those that no row tells of. */
export function unexplained(holes: readonly Hole[], gaps: readonly GapRow[]): Hole[] {
  const byPlace = new Map<string, GapRow[]>()
  for (const gap of gaps) {
    const key = [gap.exchange, gap.market, gap.symbol, TABLE_OF[gap.channel]].join()
    byPlace.set(key, [...(byPlace.get(key) ?? []), gap])
  }
  return holes.filter((hole) => {
    const rows = byPlace.get([hole.exchange, hole.market, hole.symbol, hole.table].join()) ?? []
    return !rows.some((gap) => holdsNumbers(gap, hole)) && untoldMs(hole, rows) > UNTOLD_MS_MAX
  })
}

function holdsNumbers({ from_seq, to_seq }: GapRow, { first, last }: Hole): boolean {
  return BigInt(from_seq) > 0n && BigInt(from_seq) < BigInt(first) && BigInt(last) < BigInt(to_seq)
}

/** The longest time between the two stored events that is in no row; without an event before or after: since or for ever. */
function untoldMs({ beforeMs, afterMs }: Hole, rows: readonly GapRow[]): number {
  const endMs = afterMs === null ? Number.POSITIVE_INFINITY : Number(afterMs)
  const intervals = rows
    .map(
      ({ from_ms, to_ms, status }) =>
        [Number(from_ms), status === 'open' ? Number.POSITIVE_INFINITY : Number(to_ms)] as const,
    )
    .filter(([fromMs, toMs]) => fromMs <= endMs && (beforeMs === null || toMs >= Number(beforeMs)))
    .sort(([left], [right]) => left - right)
  if (intervals.length === 0) return Number.POSITIVE_INFINITY
  let toldMs = beforeMs === null ? (intervals[0] as readonly [number, number])[0] : Number(beforeMs)
  let longestMs = 0
  for (const [fromMs, toMs] of intervals) {
    longestMs = Math.max(longestMs, fromMs - toldMs)
    toldMs = Math.max(toldMs, toMs)
  }
  return endMs === Number.POSITIVE_INFINITY ? longestMs : Math.max(longestMs, endMs - toldMs)
}
