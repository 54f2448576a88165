/**
 * Every row of the store against what the simulator says it sent. The comparison is made by ClickHouse itself over the
 * truth files, so neither our encoder nor our decoder has a word in it.
 *
 *   missing   sent, and no row has its id
 *   doubled   rows beyond the first of an id
 *   wrong     a row whose id was never sent, or whose values differ from what was sent; rows that were fetched over REST
 *             after the venue did not send them are only looked at for doubles
 */
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClickHouseClient } from '@clickhouse/client'
import { SCALE_MAX } from '../../record/schema-columns.ts'

export const CHECKED_TABLES = ['trades', 'book_deltas', 'book_tickers'] as const
export type CheckedTable = (typeof CHECKED_TABLES)[number]

export interface TableCheck {
  readonly sent: number
  readonly rows: number
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
  /** the missing ones, the first of them */
  readonly missingRows: readonly MissingRow[]
}

export interface MissingRow {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  /** the venue's number of it; where it has none, nothing that is one */
  readonly number: string
  /** the venue's time, 0 where the truth has none */
  readonly ms: string
}

export type Check = Readonly<Record<CheckedTable, TableCheck>>

interface Comparison {
  readonly id: string
  /** a column that the id needs, of what is stored and of what was sent */
  readonly number?: string
  readonly sentNumber?: string
  /** of a stored row: it was not sent but fetched, so that it is compared with nothing */
  readonly isRepaired?: string
  /** the same facts, once as stored and once as sent */
  readonly stored: string
  readonly sent: string
  /** of what was sent: number and time, for those that are missing */
  readonly missing: string
}

/** Numbers whatever their scale: an instrument may get more digits while it runs. */
const price = (mantissa: string): string => `toInt128(${mantissa}) * toInt128(intExp10(${SCALE_MAX} - price_scale))`
const quantity = (mantissa: string): string =>
  `toInt128(${mantissa}) * toInt128(intExp10(${SCALE_MAX} - quantity_scale))`
const levels = (side: string): string =>
  `length(${side}_price_mantissas), ${price(`arraySum(${side}_price_mantissas)`)}, ${quantity(`arraySum(${side}_quantity_mantissas)`)}`
const levelSums = (side: string): string =>
  `toUInt64(${side}_levels), ${price(`${side}_price_sum`)}, ${quantity(`${side}_quantity_sum`)}`

const top = (ending: string): string =>
  `${price(`bid_price${ending}`)}, ${quantity(`bid_quantity${ending}`)}, ${price(`ask_price${ending}`)}, ${quantity(`ask_quantity${ending}`)}`
const TOP_STORED = top('_mantissa')
const TOP_SENT = top('')
const FILL = `${price('price_mantissa')}, ${quantity('quantity_mantissa')}`

/** Facts that identify and describe an event in each table. Levels are compared by count and exact sums. */
export const COMPARISONS: Readonly<Record<CheckedTable, Comparison>> = {
  trades: {
    // ids that are no numbers end in one here (Deribit, Bybit)
    id: 'exchange, market, symbol, toString(stream), trade_number',
    number: 'if(trade_id = 0, toUInt64OrZero(right(venue_trade_id, 9)), trade_id) AS trade_number',
    sentNumber: 'trade_id AS trade_number',
    isRepaired: "origin = 'repaired'",
    stored: `${FILL}, toString(side), toUnixTimestamp64Milli(trade_ns)`,
    sent: `${FILL}, toString(side), trade_ms`,
    missing: 'trade_id AS number, trade_ms AS ms',
  },
  book_deltas: {
    // only Binance says where a change begins
    id: "exchange, market, symbol, if(exchange = 'binance', first_seq, 0), last_seq",
    stored: `${levels('bid')}, ${levels('ask')}`,
    sent: `${levelSums('bid')}, ${levelSums('ask')}`,
    missing: 'last_seq AS number, 0 AS ms',
  },
  book_tickers: {
    id: 'exchange, market, symbol, ticker_number',
    // Deribit's quotes have no number: their time and content are what they are known by
    number: `if(exchange = 'deribit', sipHash64(toUnixTimestamp64Milli(event_ns), ${TOP_STORED}), update_id) AS ticker_number`,
    sentNumber: `if(exchange = 'deribit', sipHash64(event_ms, ${TOP_SENT}), update_id) AS ticker_number`,
    stored: TOP_STORED,
    sent: TOP_SENT,
    missing: 'update_id AS number, event_ms AS ms',
  },
}

/** Rows compared at once; each row costs some 100 bytes of hash table. */
const ROWS_PER_SLICE = 4_000_000
const MISSING_ROWS_MAX = 10_000

/** @param directories of the truth, one a venue */
export async function checkAgainstTruth(
  client: ClickHouseClient,
  database: string,
  ...directories: readonly string[]
): Promise<Check> {
  return withTruth(client, directories, () => compareTables(client, database))
}

/** @param act has what was sent as tables of the database `truth` */
export async function withTruth<T>(
  client: ClickHouseClient,
  directories: readonly string[],
  act: () => Promise<T>,
): Promise<T> {
  await client.command({ query: 'DROP DATABASE IF EXISTS truth' })
  await client.command({ query: 'CREATE DATABASE truth' })
  for (const table of CHECKED_TABLES) for (const directory of directories) await loadTruth(client, table, directory)
  const result = await act()
  await client.command({ query: 'DROP DATABASE truth' })
  return result
}

/** Inside `withTruth`. */
export async function compareTables(client: ClickHouseClient, database: string): Promise<Check> {
  const checks = {} as Record<CheckedTable, TableCheck>
  for (const table of CHECKED_TABLES) checks[table] = await compare(client, database, table)
  return checks
}

async function loadTruth(client: ClickHouseClient, table: CheckedTable, directory: string): Promise<void> {
  const { structure, file, format } = JSON.parse(readFileSync(join(directory, `${table}.json`), 'utf8')) as {
    structure: { name: string; type: string }[]
    file: string
    format: string
  }
  const columns = structure.map(({ name, type }) => `${name} ${type}`).join(', ')
  await client.command({
    query: `CREATE TABLE IF NOT EXISTS truth.${table} (${columns}) ENGINE = MergeTree ORDER BY tuple()`,
  })
  const answer = await client.exec({
    query: `INSERT INTO truth.${table} FORMAT ${format}`,
    values: createReadStream(join(directory, file)),
  })
  for await (const _ of answer.stream); // until the server has answered
}

async function compare(client: ClickHouseClient, database: string, table: CheckedTable): Promise<TableCheck> {
  const { id, stored, sent, number = '0', sentNumber = '0', isRepaired = 'false' } = COMPARISONS[table]
  const counts = await one(
    client,
    `SELECT (SELECT count() FROM truth.${table}) AS sent, (SELECT count() FROM ${database}.${table}) AS rows`,
  )
  const slices = Math.max(1, Math.ceil((Number(counts.sent) + Number(counts.rows)) / ROWS_PER_SLICE))
  const sums = { missing: 0, doubled: 0, wrong: 0 }
  for (let slice = 0; slice < slices; slice++) {
    const part = `cityHash64(${id}) % ${slices} = ${slice}`
    const found = await one(
      client,
      `SELECT sumIf(s - all_rows, s > all_rows) AS missing, sumIf(all_rows - greatest(s, 1), all_rows > greatest(s, 1)) AS doubled, countIf(r > 0 AND (s = 0 OR is_different)) AS wrong FROM (
         SELECT countIf(is_sent) AS s, countIf(NOT is_sent) AS all_rows, countIf(NOT is_sent AND NOT is_repaired) AS r, minIf(facts, NOT is_repaired) != maxIf(facts, NOT is_repaired) AS is_different FROM (
           SELECT ${sentNumber}, sipHash128(${id}) AS id, sipHash64(${sent}) AS facts, true AS is_sent, false AS is_repaired FROM truth.${table} WHERE ${part}
           UNION ALL
           SELECT ${number}, sipHash128(${id}) AS id, sipHash64(${stored}) AS facts, false AS is_sent, ${isRepaired} AS is_repaired FROM ${database}.${table} WHERE ${part}
         ) GROUP BY id)`,
    )
    for (const name of ['missing', 'doubled', 'wrong'] as const) sums[name] += Number(found[name])
  }
  const missingRows = sums.missing === 0 ? [] : await listMissing(client, database, table)
  return { sent: Number(counts.sent), rows: Number(counts.rows), ...sums, missingRows }
}

async function listMissing(client: ClickHouseClient, database: string, table: CheckedTable): Promise<MissingRow[]> {
  const { id, missing, number = '0', sentNumber = '0' } = COMPARISONS[table]
  const answer = await client.query({
    query: `SELECT exchange, market, symbol, ${missing} FROM (SELECT *, ${sentNumber} FROM truth.${table})
      WHERE sipHash128(${id}) NOT IN (SELECT sipHash128(${id}) FROM (SELECT *, ${number} FROM ${database}.${table}))
      LIMIT ${MISSING_ROWS_MAX}`,
    format: 'JSONEachRow',
  })
  return answer.json<MissingRow>()
}

async function one(client: ClickHouseClient, query: string): Promise<Record<string, string | number>> {
  const answer = await client.query({ query, format: 'JSONEachRow' })
  const [row] = await answer.json<Record<string, string | number>>()
  return row ?? {}
}
