/** Invariants 2 and 3: every block is there, whole, and once. */
import { tableNamed } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import { type AuditStore, askRows, type Finding, FINDINGS_MAX, within } from './store.ts'

/** Blocks of several workers are sealed out of order by seconds at most; so far back their neighbours are looked up. */
const NEIGHBOUR_SECONDS = 3600

/**
 * Numbers that are missing between the blocks of one boot. What is missing at its end cannot be told from the store: the
 * spool knows (`marketprism spool ls`).
 */
export async function missingBlocks(store: AuditStore): Promise<Finding[]> {
  const first = store.sinceNs === 0n ? '0' : 'block_seq - 1' // a boot begins with block 1
  return await askRows<Finding>(
    store,
    `SELECT producer, epoch, previous + 1 AS first_block, block_seq - 1 AS last_block, block_seq - previous - 1 AS blocks,
            toString(at) AS before
     FROM (
       SELECT producer, epoch, block_seq, first_received_ns AS at,
              lagInFrame(block_seq, 1, toUInt64(${first})) OVER (
                PARTITION BY producer, epoch ORDER BY block_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous
       FROM blocks FINAL
       WHERE first_received_ns >= fromUnixTimestamp64Nano({since:Int64}) - toIntervalSecond(if({since:Int64} = 0, 0, ${NEIGHBOUR_SECONDS}))
     )
     WHERE block_seq > previous + 1 AND ${within('at')}
     ORDER BY producer, epoch, block_seq LIMIT ${FINDINGS_MAX}`,
  )
}

/** Blocks that a collector found damaged on its disk, as its rows of `gaps` name them. */
const TOLD_BLOCKS = /\bblocks (\d+)\/(\d+) to (\d+)\b/

/** @returns the missing blocks of which no row of `gaps` speaks, and how many are told. */
export async function untoldBlocks(store: AuditStore, missing: readonly Finding[]) {
  if (missing.length === 0) return { untold: [], told: 0 }
  const rows = await askRows<{ producer: string; detail: string }>(
    store,
    `SELECT DISTINCT producer, detail FROM gaps FINAL WHERE match(detail, 'blocks \\\\d+/\\\\d+ to \\\\d+ are damaged')`,
  )
  const ranges = rows.flatMap(({ producer, detail }) => {
    const [, epoch, first, last] = TOLD_BLOCKS.exec(detail) ?? []
    return epoch === undefined ? [] : [{ boot: `${producer}/${epoch}`, first: Number(first), last: Number(last) }]
  })
  const isTold = ({ producer, epoch, first_block, last_block }: Finding): boolean => {
    let from = Number(first_block)
    const own = ranges.filter(({ boot }) => boot === `${producer}/${epoch}`).sort((a, b) => a.first - b.first)
    for (const { first, last } of own) if (first <= from && from <= last) from = last + 1
    return from > Number(last_block)
  }
  const told = missing.filter(isTold)
  return {
    untold: missing.filter((hole) => !told.includes(hole)),
    told: told.reduce((sum, hole) => sum + Number(hole.blocks), 0),
  }
}

export interface WrongCounts {
  readonly findings: Finding[]
  /** short blocks of which another collector may have replaced rows: nobody can tell any more */
  readonly shared: number
  /** blocks that were counted */
  readonly blocks: number
}

interface CountedBlock extends Finding {
  readonly exchange: string
  readonly wanted: string
  readonly found: string
}

/** Blocks of a table and day whose rows are not as many as their mark says, and rows of blocks that have no mark. */
export async function wrongCounts(store: AuditStore, table: TableName, day: number): Promise<WrongCounts> {
  const rows = await askRows<CountedBlock>(
    store,
    `SELECT '${table}' AS table, producer, epoch, block_seq, if(b.name != '', b.name, f.name) AS exchange, wanted, found
     FROM (
       SELECT producer, epoch, block_seq, any(exchange) AS name, any(rows) AS wanted
       FROM blocks FINAL WHERE table = {table:String} AND ${within('first_received_ns', day)}
       GROUP BY producer, epoch, block_seq
     ) AS b FULL OUTER JOIN (
       SELECT producer, epoch, block_seq, toString(any(exchange)) AS name, groupBitmap(row_in_block) AS found, min(received_ns) AS at
       FROM \`${table}\` WHERE toYYYYMMDD(received_ns) = ${day}
       GROUP BY producer, epoch, block_seq HAVING ${within('at')}
     ) AS f USING (producer, epoch, block_seq)
     WHERE wanted != found AND NOT (wanted = 0 AND (producer, epoch, block_seq) IN (
       SELECT producer, epoch, block_seq FROM blocks WHERE table = {table:String} AND toYYYYMMDD(first_received_ns) = ${day}))
     ORDER BY producer, epoch, block_seq LIMIT ${FINDINGS_MAX}`,
    { table },
  )
  const [counted] = await askRows<{ blocks: string }>(
    store,
    `SELECT count() AS blocks FROM blocks FINAL WHERE table = {table:String} AND ${within('first_received_ns', day)}`,
    { table },
  )
  const others = await sharedExchanges(store, table, day)
  const isShared = ({ exchange, found, wanted }: CountedBlock) => others.has(exchange) && Number(found) < Number(wanted)
  return {
    findings: rows.filter((row) => !isShared(row)),
    shared: rows.filter(isShared).length,
    blocks: Number(counted?.blocks ?? 0),
  }
}

/** Exchanges of which several collectors stored this table that day: rows of one key replace each other. */
async function sharedExchanges(store: AuditStore, table: TableName, day: number): Promise<ReadonlySet<string>> {
  const rows = await askRows<{ exchange: string }>(
    store,
    `SELECT exchange FROM blocks WHERE table = {table:String} AND toYYYYMMDD(first_received_ns) = ${day}
     GROUP BY exchange HAVING uniqExact(producer) > 1`,
    { table },
  )
  return new Set(rows.map((row) => row.exchange))
}

/**
 * Rows that one boot of one collector stored more than once. The key of `gaps` has its opening and its closing row, so
 * there the place in the block decides.
 */
export async function doubledRows(store: AuditStore, table: TableName, day: number): Promise<Finding[]> {
  const identity = ['producer', 'epoch', 'block_seq', 'row_in_block']
  const { orderBy } = tableNamed(table)
  const key =
    table === 'gaps' ? identity : [...orderBy, ...['producer', 'epoch'].filter((name) => !orderBy.includes(name))]
  const columns = ['exchange', 'market', 'symbol', ...key].map((name) => `t.${name}`).join(', ')
  return await askRows<Finding>(
    store,
    `SELECT '${table}' AS table, ${columns}, count() AS copies, min(t.block_seq) AS first_copy, max(t.block_seq) AS last_copy
     FROM \`${table}\` AS t WHERE ${within('t.received_ns', day)}
     GROUP BY ${columns} HAVING copies > 1 LIMIT ${FINDINGS_MAX}`,
  )
}

/** How many rows of `gaps` a later state of the same gap may have replaced, by collector and boot. */
export async function replacedGaps(store: AuditStore): Promise<ReadonlyMap<string, number>> {
  const rows = await askRows<{ producer: string; epoch: string; replaced: string }>(
    store,
    `SELECT producer, epoch, sum(most - there) AS replaced FROM (
       SELECT any(producer) AS producer, any(epoch) AS epoch, count() AS there,
              greatest(count(), multiIf(argMax(status, received_ns) = 'repaired', 3, argMax(status, received_ns) = 'closed', 2, 1)) AS most
       FROM gaps GROUP BY exchange, market, symbol, channel, cause, from_ns
     ) GROUP BY producer, epoch`,
  )
  return new Map(rows.map(({ producer, epoch, replaced }) => [`${producer}/${epoch}`, Number(replaced)]))
}
