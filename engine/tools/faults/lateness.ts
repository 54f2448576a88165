/** How much later than it happened the engine received something, as the trades of the run itself tell. */
import type { ClickHouseClient } from '@clickhouse/client'
import type { GapRow } from '../demo/notes.ts'
import type { JudgedRow } from './judge.ts'

/** Clocks are one and the same; timers of both sides are not exact. */
const LATENESS_MS_MIN = 500
/** What stood before a gap may have been received with the delay of some seconds around it. */
const AROUND_SECONDS = 5

export async function withLateness(
  client: ClickHouseClient,
  database: string,
  rows: readonly GapRow[],
): Promise<JudgedRow[]> {
  const answer = await client.query({
    query: `SELECT toUnixTimestamp(received_ns) AS second, max(toUnixTimestamp64Milli(received_ns) - toUnixTimestamp64Milli(trade_ns)) AS ms
      FROM ${database}.trades WHERE origin = 'stream' GROUP BY second`,
    format: 'JSONEachRow',
  })
  const measured = new Map<number, number>()
  for (const { second, ms } of await answer.json<{ second: number; ms: string }>()) measured.set(second, Number(ms))
  return rows.map((row) => ({ ...row, lateMs: LATENESS_MS_MIN + lateness(measured, Number(row.from_ms)) }))
}

function lateness(measured: ReadonlyMap<number, number>, ms: number): number {
  const second = Math.floor(ms / 1_000)
  let most = 0
  for (let at = second - AROUND_SECONDS; at <= second + AROUND_SECONDS; at++)
    most = Math.max(most, measured.get(at) ?? 0)
  return most
}
