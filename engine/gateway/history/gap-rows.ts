/**
 * Rows of `gaps`, over all instruments. The table is small (a row an interruption), so it is read whole with FINAL and
 * then narrowed: a status is that of the newest row of its gap.
 *
 * Who dies while a gap is open closes it never. But who comes after it opens one of his own for every channel that he
 * carries, from the last moment of which all is known (collector_down, worker_restart): there the older one ends.
 */
import { type GapCause, tableNamed } from '../../record/schema.ts'
import type { Params, Store } from '../store.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import type { FactPage, Order } from './facts.ts'
import { selectList } from './select.ts'
import type { TimeRange } from './time.ts'

export interface GapQuestion {
  /** column → word; columns are ours, never the user's */
  readonly equal: Readonly<Record<string, string>>
  readonly range: TimeRange
  readonly order: Order
  readonly limit: number
  readonly cursor: string | undefined
  readonly signal?: AbortSignal
}

/** The key after from_ns: several gaps may begin at one moment. */
const ORDER: readonly { readonly sql: string; readonly type: string }[] = [
  { sql: 'toUnixTimestamp64Nano(fact.from_ns)', type: 'Int64' },
  { sql: 'fact.exchange', type: 'String' },
  { sql: 'fact.market', type: 'String' },
  { sql: 'fact.symbol', type: 'String' },
  { sql: 'toInt8(fact.channel)', type: 'Int8' },
  { sql: 'toInt8(fact.cause)', type: 'Int8' },
  { sql: 'fact.from_seq', type: 'UInt64' },
]

/** Of a successor: nothing is known from its begin on, until it ends. */
const SUCCESSIONS: readonly GapCause[] = ['collector_down', 'worker_restart']
const IS_SUCCESSION = `cause IN (${SUCCESSIONS.map((cause) => `'${cause}'`).join(', ')})`

/** The table as it would be if the dead had closed what they left open. @param where narrows it to instruments */
function gapsClosed(where: string): string {
  const isLeft = `status = 'open' AND toUnixTimestamp64Nano(ended_) > 0`
  return `(
    SELECT * REPLACE (if(${isLeft}, 'closed', toString(status)) AS status, if(${isLeft}, greatest(from_ns, ended_), to_ns) AS to_ns) FROM (
      SELECT *, minIf(from_ns, ${IS_SUCCESSION}) OVER (
        PARTITION BY exchange, market, symbol, channel, producer ORDER BY epoch, received_ns
        ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
      ) AS ended_
      FROM gaps FINAL ${where}
    )
  )`
}

/** Gaps whose interval and [from, to) have a moment in common; an open one goes on for ever. */
export async function gapPage(store: Store, question: GapQuestion): Promise<FactPage> {
  const { equal, range, order, limit, cursor, signal } = question
  const params: Record<string, Params[string]> = { limit: limit + 1 }
  const where: string[] = []
  for (const [column, value] of Object.entries(equal)) {
    params[`is_${column}`] = value
    where.push(`fact.${column} = {is_${column}:String}`)
  }
  if (range.fromNs !== undefined) {
    params.low = range.fromNs
    where.push(`(fact.status = 'open' OR fact.to_ns > fromUnixTimestamp64Nano({low:Int64}))`)
  }
  if (range.toNs !== undefined) {
    params.high = range.toNs
    where.push('fact.from_ns < fromUnixTimestamp64Nano({high:Int64})')
  }
  const identity = JSON.stringify([
    'gaps',
    order,
    Object.entries(equal).sort(),
    String(range.fromNs),
    String(range.toNs),
  ])
  if (cursor !== undefined) {
    const values = decodeCursor(identity, cursor, ORDER.length)
    for (const [index, value] of values.entries()) params[`after${index}`] = value
    const left = ORDER.map(({ sql }) => sql).join(', ')
    const right = ORDER.map(({ type }, index) => `{after${index}:${type}}`).join(', ')
    where.push(`(${left}) ${order === 'asc' ? '>' : '<'} (${right})`)
  }
  const found = await store.rows<Record<string, unknown> & { cursor_: string[] }>(
    `SELECT fact.exchange AS exchange, fact.market AS market, fact.symbol AS symbol, ${selectList(tableNamed('gaps'))},
       [${ORDER.map(({ sql }) => `toString(${sql})`).join(', ')}] AS cursor_
     FROM ${gapsClosed('')} AS fact
     ${where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`}
     ORDER BY ${ORDER.map(({ sql }) => `${sql} ${order === 'asc' ? 'ASC' : 'DESC'}`).join(', ')}
     LIMIT {limit:UInt32}`,
    params,
    { signal },
  )
  const rows = found.slice(0, limit).map(({ cursor_: _, ...row }) => row)
  const last = found.length > limit ? found[limit - 1] : undefined
  return { rows, nextCursor: last === undefined ? null : encodeCursor(identity, last.cursor_) }
}

export interface GapSpan {
  readonly channel: string
  readonly cause: string
  readonly status: 'open' | 'closed' | 'repaired'
  readonly fromNs: bigint
  /** of an open one beyond every time */
  readonly toNs: bigint
}

export const FOR_EVER_NS = 2n ** 63n - 1n

/** Gaps of one instrument that overlap [from, to), oldest first. @param channel undefined: of all channels */
export async function gapsOver(
  store: Store,
  instrument: { readonly exchange: string; readonly market: string; readonly symbol: string },
  channel: string | undefined,
  fromNs: bigint,
  toNs: bigint,
  signal?: AbortSignal,
): Promise<readonly GapSpan[]> {
  const { exchange, market, symbol } = instrument
  const rows = await store.rows<{
    channel: string
    cause: string
    status: GapSpan['status']
    from: string
    to: string
  }>(
    `SELECT toString(fact.channel) AS channel, toString(fact.cause) AS cause, toString(fact.status) AS status,
       toString(toUnixTimestamp64Nano(fact.from_ns)) AS from, toString(toUnixTimestamp64Nano(fact.to_ns)) AS to
     FROM ${gapsClosed(`WHERE exchange = {exchange:String} AND market = {market:String} AND symbol = {symbol:String}
       ${channel === undefined ? '' : 'AND channel = {channel:String}'}`)} AS fact
     WHERE (fact.status = 'open' OR fact.to_ns > fromUnixTimestamp64Nano({from:Int64}))
       AND fact.from_ns < fromUnixTimestamp64Nano({to:Int64})
     ORDER BY fact.from_ns`,
    { exchange, market, symbol, from: fromNs, to: toNs, ...(channel === undefined ? {} : { channel }) },
    { signal },
  )
  return rows.map((row) => ({
    channel: row.channel,
    cause: row.cause,
    status: row.status,
    fromNs: BigInt(row.from),
    toNs: row.status === 'open' ? FOR_EVER_NS : BigInt(row.to),
  }))
}
