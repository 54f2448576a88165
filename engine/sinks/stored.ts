import type { ClickHouseClient } from '@clickhouse/client'
import { quotedName } from '../record/tables.ts'
import { TIME_SLACK_NS } from './native.ts'
import type { SealedBlock } from './sink.ts'

/**
 * Questions about blocks of one producer, boot and table: what ClickHouse shows of them. Only the parts whose receive times
 * touch the blocks' are read, so the question costs the same in a table of years.
 */

/** Those that have rows in their table. */
export async function shownBlocks(
  client: ClickHouseClient,
  blocks: readonly SealedBlock[],
): Promise<ReadonlySet<SealedBlock>> {
  const { table } = headOf(blocks)
  const slackNs = BigInt(2 * TIME_SLACK_NS)
  const firstNs = blocks.reduce(
    (least, { head }) => min(least, head.firstReceivedNs),
    blocks[0]?.head.firstReceivedNs ?? 0n,
  )
  const lastNs = blocks.reduce((most, { head }) => max(most, head.lastReceivedNs), 0n)
  const found = await read<{ seq: string }>(
    client,
    `SELECT toString(block_seq) AS seq FROM ${quotedName(table)}
      PREWHERE received_ns BETWEEN fromUnixTimestamp64Nano({first:Int64}) AND fromUnixTimestamp64Nano({last:Int64})
      WHERE ${THESE} GROUP BY block_seq`,
    { ...identities(blocks), first: String(firstNs - slackNs), last: String(lastNs + slackNs) },
  )
  const seqs = new Set(found.map(({ seq }) => seq))
  return new Set(blocks.filter(({ head }) => seqs.has(String(head.blockSeq))))
}

/** Those that have their mark: all is done for them. */
export async function markedBlocks(
  client: ClickHouseClient,
  blocks: readonly SealedBlock[],
): Promise<ReadonlySet<SealedBlock>> {
  const found = await read<{ seq: string; crc32: number }>(
    client,
    `SELECT DISTINCT toString(block_seq) AS seq, crc32 FROM blocks WHERE ${THESE}`,
    identities(blocks),
  )
  const names = new Set(found.map(({ seq, crc32 }) => `${seq}:${crc32}`))
  return new Set(blocks.filter(({ head, crc32 }) => names.has(`${head.blockSeq}:${crc32}`)))
}

const THESE = 'producer = {producer:String} AND epoch = {epoch:UInt64} AND block_seq IN {seqs:Array(UInt64)}'

function identities(blocks: readonly SealedBlock[]) {
  const { producer, epoch } = headOf(blocks)
  return { producer, epoch: String(epoch), seqs: blocks.map(({ head }) => head.blockSeq) }
}

function headOf(blocks: readonly SealedBlock[]) {
  return (blocks[0] as SealedBlock).head
}

async function read<Row>(client: ClickHouseClient, query: string, params: Record<string, unknown>): Promise<Row[]> {
  // two threads more would only take turns with the inserts
  const settings = { max_threads: 1 }
  const answer = await client.query({
    query,
    query_params: params,
    format: 'JSONEachRow',
    clickhouse_settings: settings,
  })
  return await answer.json<Row>()
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
