/** Rows of the accepted blocks against rows of the store, by their place: producer, epoch, block, row in the block. */
import type { ClickHouseClient } from '@clickhouse/client'
import { TABLES } from '../../record/schema.ts'
import type { AcceptedBlock } from './accepted.ts'

export interface LedgerCount {
  readonly accepted: number
  readonly rows: number
  readonly missing: number
  readonly doubled: number
  /** rows of blocks that were never accepted, and marks that do not fit their block */
  readonly wrong: number
}

const ACCEPTED = 'conservation.accepted'

/** Merges would make one row of two with the same key, and nobody could say any more that it was stored twice. */
export async function stopMerges(client: ClickHouseClient, database: string): Promise<void> {
  for (const { name } of TABLES)
    await client.command({
      query: `ALTER TABLE ${database}.${name} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1`,
    })
}

/** Negative control: the server forgets at once which inserts it has seen. */
export async function forgetInserts(client: ClickHouseClient, database: string): Promise<void> {
  for (const { name } of TABLES)
    await client.command({
      query: `ALTER TABLE ${database}.${name} MODIFY SETTING non_replicated_deduplication_window = 0`,
    })
}

/** How many of the accepted blocks have their mark in the store. */
export async function countMarked(client: ClickHouseClient, database: string): Promise<number> {
  const answer = await client.query({
    query: `SELECT uniqExact(producer, epoch, block_seq) AS blocks FROM ${database}.blocks`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ blocks: string }>()
  return Number(row?.blocks ?? 0)
}

/** Rows of the blocks that have their mark. */
export async function countMarkedRows(client: ClickHouseClient, database: string): Promise<number> {
  const answer = await client.query({
    query: `SELECT sum(rows) AS rows FROM (SELECT any(rows) AS rows FROM ${database}.blocks GROUP BY producer, epoch, block_seq)`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ rows: string }>()
  return Number(row?.rows ?? 0)
}

/** Rows of an event table that were made by a later start of the engine than this one. */
export async function countOfLaterEpochs(client: ClickHouseClient, database: string, epoch: number): Promise<number> {
  const answer = await client.query({
    query: `SELECT count() AS rows FROM ${database}.book_tickers WHERE epoch > ${epoch}`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ rows: string }>()
  return Number(row?.rows ?? 0)
}

export async function lastEpoch(client: ClickHouseClient, database: string): Promise<number> {
  const answer = await client.query({
    query: `SELECT max(epoch) AS epoch FROM ${database}.blocks`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ epoch: string }>()
  return Number(row?.epoch ?? 0)
}

export async function countRows(
  client: ClickHouseClient,
  database: string,
  accepted: readonly AcceptedBlock[],
): Promise<LedgerCount> {
  await client.command({ query: 'DROP DATABASE IF EXISTS conservation' })
  await client.command({ query: 'CREATE DATABASE conservation' })
  await client.command({
    query: `CREATE TABLE ${ACCEPTED} (producer String, epoch UInt64, blockSeq UInt64, table String, rows UInt32, crc32 UInt32)
      ENGINE = MergeTree ORDER BY tuple()`,
  })
  if (accepted.length > 0) await client.insert({ table: ACCEPTED, values: accepted, format: 'JSONEachRow' })
  const stored = TABLES.map(
    ({ name }) =>
      `SELECT producer, epoch, block_seq, '${name}' AS table, count() AS rows, uniqExact(row_in_block) AS places, max(row_in_block) AS last FROM ${database}.${name} GROUP BY producer, epoch, block_seq`,
  ).join(' UNION ALL ')
  const answer = await client.query({
    query: `SELECT sum(a.rows) AS accepted, sum(s.rows) AS rows,
        sumIf(a.rows - least(s.places, a.rows), a.rows > 0) AS missing, sum(s.rows - s.places) AS doubled,
        sumIf(s.rows, a.rows = 0 OR s.last >= a.rows) + sumIf(a.rows, m.blocks > 0 AND (m.rows != a.rows OR m.crc32 != a.crc32)) AS wrong
      FROM ${ACCEPTED} AS a
      FULL JOIN (${stored}) AS s ON a.producer = s.producer AND a.epoch = s.epoch AND a.blockSeq = s.block_seq AND a.table = s.table
      LEFT JOIN (SELECT producer, epoch, block_seq, any(rows) AS rows, any(crc32) AS crc32, count() AS blocks FROM ${database}.blocks GROUP BY producer, epoch, block_seq) AS m
        ON a.producer = m.producer AND a.epoch = m.epoch AND a.blockSeq = m.block_seq`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<Record<keyof LedgerCount, string>>()
  await client.command({ query: 'DROP DATABASE conservation' })
  const number = (name: keyof LedgerCount): number => Number(row?.[name] ?? 0)
  return {
    accepted: number('accepted'),
    rows: number('rows'),
    missing: number('missing'),
    doubled: number('doubled'),
    wrong: number('wrong'),
  }
}
