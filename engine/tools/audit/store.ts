import type { ClickHouseClient } from '@clickhouse/client'
import type { TableName } from '../../record/schema-columns.ts'

/** What the checks of `marketprism audit` are asked of. */
export interface AuditStore {
  readonly client: ClickHouseClient
  readonly database: string
  /** rows received before are not looked at; 0n: from the first */
  readonly sinceNs: bigint
  /** rows received later may be on their way */
  readonly untilNs: bigint
}

/** One thing that is not as it must be. */
export type Finding = Readonly<Record<string, string | number>>

/** Findings are told up to here; a store that is worse is looked at again when these are mended. */
export const FINDINGS_MAX = 1000

/** Sorting and grouping of a day of a large store goes to disk rather than beyond the memory of the server. */
const SPILL_BYTES = 512 * 1024 * 1024

export async function askRows<Row>(
  { client, sinceNs, untilNs }: AuditStore,
  query: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Row[]> {
  const answer = await client.query({
    query,
    query_params: { ...more, since: sinceNs.toString(), until: untilNs.toString() },
    format: 'JSONEachRow',
    clickhouse_settings: {
      max_bytes_before_external_group_by: String(SPILL_BYTES),
      max_bytes_before_external_sort: String(SPILL_BYTES),
      optimize_aggregation_in_order: 1,
      output_format_json_quote_64bit_integers: 1,
      join_use_nulls: 0,
    },
  })
  return await answer.json<Row>()
}

/** The rows of a table that are looked at, of one day where one is given. A block never spans days, nor does a part. */
export function within(timeColumn: string, day?: number): string {
  const range = `${timeColumn} >= fromUnixTimestamp64Nano({since:Int64}) AND ${timeColumn} < fromUnixTimestamp64Nano({until:Int64})`
  return day === undefined ? range : `toYYYYMMDD(${timeColumn}) = ${day} AND ${range}`
}

/** The days of which a table has rows, or `blocks` says so, the oldest first. */
export async function daysOf(store: AuditStore, table: TableName): Promise<number[]> {
  const rows = await askRows<{ day: number }>(
    store,
    `SELECT DISTINCT toYYYYMMDD(first_received_ns) AS day FROM blocks WHERE table = {table:String} AND ${within('first_received_ns')}
     UNION DISTINCT SELECT DISTINCT toYYYYMMDD(received_ns) AS day FROM \`${table}\` WHERE ${within('received_ns')}`,
    { table },
  )
  return rows.map((row) => row.day).sort((a, b) => a - b)
}
