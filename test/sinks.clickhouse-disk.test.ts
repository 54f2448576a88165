import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { ClickHouseSink, CLICKHOUSE_DEFAULT, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { provisionTables } from '../engine/sinks/provision.ts'
import { ask, clientOf, SILENT, startClickHouse, temporaryDirectory, until } from './support/embedded.ts'
import { cleanUp } from './support/clean-up.ts'
import { STORAGE } from './support/settings.ts'
import { ROWS_A_BLOCK, tradeBlocks } from './support/trade-blocks.ts'

const DISK_BYTES = 96 * 1024 * 1024

test('clickhouse sink should wait while the disk of ClickHouse is full, and store every block once when there is room', async (t) => {
  const disk = temporaryDirectory(t)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]).status !== 0)
    return t.skip('no right to mount a small disk')
  cleanUp(t, () => spawnSync('umount', [disk]))
  const server = await startClickHouse(t, { dataDirectory: path.join(disk, 'clickhouse') })
  const options = { ...CLICKHOUSE_DEFAULT, url: server.url, markDelayMs: 5 }
  const provisioning = createClickHouseClient({ ...options, database: 'default' })
  await provisionTables(provisioning, { storage: STORAGE, mayChange: true })
  await provisioning.close()
  const breaker = { failuresMax: 5, restMsMin: 100, restMsMax: 500 }
  const merge = { ...CLICKHOUSE_DEFAULT.merge, delayMs: 0 }
  const sink = new ClickHouseSink({ ...options, breaker, merge }, () => 1_790_000_001_000_000_000n, SILENT)
  cleanUp(t, () => sink.close())
  const ballast = path.join(disk, 'ballast')
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(ballast, Buffer.alloc(bavail * bsize))
  const blocks = tradeBlocks('full', 12)
  let stored = 0
  const sending = Promise.all(
    blocks.map(async (block) => {
      while ((await sink.send(block)) !== 'acknowledged') await sleep(50)
      stored++
    }),
  )
  await until(() => sink.breaker.opened > 1, 20_000, 'refused again and again')
  assert.equal(stored, 0)
  assert.match(sink.trouble() ?? '', /has no room on its disk|No space left|does not take inserts/)
  rmSync(ballast)
  await sending
  assert.equal(server.restarts, 0, 'no crash loop')
  assert.equal(sink.trouble(), undefined)
  const client = clientOf(t, server.url)
  const counts = await ask(
    client,
    `SELECT count(), uniqExact(trade_id) FROM marketprism.trades WHERE producer = 'full'`,
  )
  assert.equal(counts, `${12 * ROWS_A_BLOCK}\t${12 * ROWS_A_BLOCK}`)
  assert.equal(await ask(client, `SELECT count() FROM marketprism.blocks FINAL WHERE producer = 'full'`), '12')
})
