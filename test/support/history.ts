import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { LiveSource } from '../../engine/gateway/live-source.ts'
import { openBlock } from '../../engine/sinks/sink.ts'
import { ClickHouseSink } from '../../engine/sinks/clickhouse.ts'
import type { TableName } from '../../engine/record/schema-columns.ts'
import { Clock } from '../../engine/base/clock.ts'
import { type BlockOptions, buildBlock, type Row } from './blocks.ts'
import { cleanUp } from './clean-up.ts'
import { startTestClickHouse, type TestClickHouse } from './clickhouse.ts'
import { SILENT } from './embedded.ts'
import { served } from './gateway.ts'

/** A gateway on a real ClickHouse engine, and a hand that stores blocks as a collector does. */
export interface HistoryRig {
  readonly clickhouse: TestClickHouse
  readonly get: Awaited<ReturnType<typeof served>>['get']
  readonly url: string
  /** one block, through the sink of the product */
  put(
    table: TableName,
    instruments: readonly string[],
    rows: readonly Row[],
    more?: Partial<BlockOptions>,
  ): Promise<void>
}

export async function historyRig(
  t: TestContext,
  settings: Parameters<typeof served>[1] = {},
  live?: LiveSource,
): Promise<HistoryRig> {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const clock = new Clock()
  const sink = new ClickHouseSink({ ...clickhouse.options, markDelayMs: 1 }, () => clock.nowNs(), SILENT)
  cleanUp(t, () => sink.close())
  const { get, gateway } = await served(t, { clickhouse: clickhouse.options, ...settings }, SILENT, live)
  let blockSeq = 0n
  const put: HistoryRig['put'] = async (table, instruments, rows, more = {}) => {
    const block = openBlock(buildBlock({ table, instruments, rows, epoch: 1n, blockSeq: ++blockSeq, ...more }))
    assert.equal(await sink.send(block), 'acknowledged')
  }
  return { clickhouse, get, url: gateway.url, put }
}
