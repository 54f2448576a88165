/**
 * Every row of the store against what the simulator says it sent. The comparison is made by ClickHouse itself over the
 * truth files, so neither our encoder nor our decoder has a word in it.
 *
 *   missing   sent, and no row has its id
 *   doubled   rows beyond the first of an id
 *   wrong     a row whose id was never sent, or whose values differ from what was sent
 */
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClickHouseClient } from '@clickhouse/client'

export const CHECKED_TABLES = ['trades', 'book_deltas', 'book_tickers'] as const
export type CheckedTable = (typeof CHECKED_TABLES)[number]

export interface TableCheck {
  readonly sent: number
  readonly rows: number
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
}

export type Check = Readonly<Record<CheckedTable, TableCheck>>

interface Comparison {
  readonly id: string
  /** the same facts, once as stored and once as sent */
  readonly stored: string
  readonly sent: string
}

const SCALES = 'price_scale, quantity_scale'
const levels = (side: string): string =>
  `length(${side}_price_mantissas), arraySum(${side}_price_mantissas), arraySum(${side}_quantity_mantissas)`
const levelSums = (side: string): string => `toUInt64(${side}_levels), ${side}_price_sum, ${side}_quantity_sum`

/** Facts that identify and describe an event in each table. Levels are compared by count and exact sums. */
const COMPARISONS: Readonly<Record<CheckedTable, Comparison>> = {
  trades: {
    id: 'market, symbol, toString(stream), trade_id',
    stored: `price_mantissa, quantity_mantissa, ${SCALES}, toString(side), toUnixTimestamp64Milli(trade_ns)`,
    sent: `price_mantissa, quantity_mantissa, ${SCALES}, toString(side), trade_ms`,
  },
  book_deltas: {
    id: 'market, symbol, first_seq, last_seq',
    stored: `${levels('bid')}, ${levels('ask')}, ${SCALES}`,
    sent: `${levelSums('bid')}, ${levelSums('ask')}, ${SCALES}`,
  },
  book_tickers: {
    id: 'market, symbol, update_id',
    stored: `bid_price_mantissa, bid_quantity_mantissa, ask_price_mantissa, ask_quantity_mantissa, ${SCALES}`,
    sent: `bid_price, bid_quantity, ask_price, ask_quantity, ${SCALES}`,
  },
}

/** Rows compared at once; each row costs some 100 bytes of hash table. */
const ROWS_PER_SLICE = 4_000_000

export async function checkAgainstTruth(client: ClickHouseClient, database: string, directory: string): Promise<Check> {
  const checks = {} as Record<CheckedTable, TableCheck>
  await client.command({ query: 'CREATE DATABASE IF NOT EXISTS truth' })
  for (const table of CHECKED_TABLES) {
    await loadTruth(client, table, directory)
    checks[table] = await compare(client, database, table)
  }
  await client.command({ query: 'DROP DATABASE truth' })
  return checks
}

async function loadTruth(client: ClickHouseClient, table: CheckedTable, directory: string): Promise<void> {
  const { structure, file, format } = JSON.parse(readFileSync(join(directory, `${table}.json`), 'utf8')) as {
    structure: { name: string; type: string }[]
    file: string
    format: string
  }
  const columns = structure.map(({ name, type }) => `${name} ${type}`).join(', ')
  await client.command({ query: `DROP TABLE IF EXISTS truth.${table}` })
  await client.command({ query: `CREATE TABLE truth.${table} (${columns}) ENGINE = MergeTree ORDER BY tuple()` })
  const answer = await client.exec({
    query: `INSERT INTO truth.${table} FORMAT ${format}`,
    values: createReadStream(join(directory, file)),
  })
  for await (const _ of answer.stream); // until the server has answered
}

async function compare(client: ClickHouseClient, database: string, table: CheckedTable): Promise<TableCheck> {
  const { id, stored, sent } = COMPARISONS[table]
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
      `SELECT countIf(s > 0 AND r = 0) AS missing, sumIf(r - 1, r > 1) AS doubled, countIf(r > 0 AND (s = 0 OR is_different)) AS wrong FROM (
         SELECT countIf(is_sent) AS s, countIf(NOT is_sent) AS r, min(facts) != max(facts) AS is_different FROM (
           SELECT sipHash128(${id}) AS id, sipHash64(${sent}) AS facts, true AS is_sent FROM truth.${table} WHERE ${part}
           UNION ALL
           SELECT sipHash128(${id}) AS id, sipHash64(${stored}) AS facts, false AS is_sent FROM ${database}.${table} WHERE ${part}
         ) GROUP BY id)`,
    )
    for (const name of ['missing', 'doubled', 'wrong'] as const) sums[name] += Number(found[name])
  }
  return { sent: Number(counts.sent), rows: Number(counts.rows), ...sums }
}

async function one(client: ClickHouseClient, query: string): Promise<Record<string, string | number>> {
  const answer = await client.query({ query, format: 'JSONEachRow' })
  const [row] = await answer.json<Record<string, string | number>>()
  return row ?? {}
}
