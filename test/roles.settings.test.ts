import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deliveryOptions, intakeOptions, shardSettings, spoolOptions } from '../engine/roles/settings.ts'
import { clickHouseOptions, natsOptions } from '../engine/roles/settings.ts'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { NATS_DEFAULT } from '../engine/sinks/nats.ts'
import { SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { SHARD_DEFAULTS } from '../workers/shard-settings.ts'
import { SLOT_DEFAULT } from '../workers/slot.ts'
import { CONFIG } from './support/settings.ts'

// Parts that run alone (benches, tests) have defaults of their own: they must be those of the keys.

test('settings: a spool should have the same defaults alone and configured', () => {
  assert.deepEqual(spoolOptions(CONFIG), SPOOL_DEFAULT)
})

test('settings: sinks should have the same defaults alone and configured', () => {
  assert.deepEqual(natsOptions(CONFIG, NATS_DEFAULT.url), NATS_DEFAULT)
  assert.deepEqual(clickHouseOptions(CONFIG, CLICKHOUSE_DEFAULT.url), CLICKHOUSE_DEFAULT)
  assert.deepEqual(intakeOptions(CONFIG), INTAKE_DEFAULT)
})

test('settings: a store should pull whole numbers of blocks, the fewer the longer they may be, and never none', () => {
  const pulled = [4_096, 524_289, 3_000_000, 67_108_864].map(
    (bytesMax) => intakeOptions({ ...CONFIG, batch: { ...CONFIG.batch, bytesMax } }).pulledCountMax,
  )
  assert.deepEqual(pulled, [64, 63, 11, 4])
})

test('settings: a book worker should have the same defaults alone and configured, and the snapshot depth of each market', () => {
  const readers = { run: '', hasNats: true, hasGateway: false, payloadBytesMax: SHARD_DEFAULTS.liveBytesMax }
  const { instruments, market, ...settings } = shardSettings(CONFIG, 0, [], readers)
  const { spot, usdm, coinm } = CONFIG.exchanges.binance
  assert.deepEqual(settings, {
    ...SHARD_DEFAULTS,
    producer: CONFIG.producer,
    // a shard alone (replay) writes none: its rows are those of the recording
    snapshots: { ...SHARD_DEFAULTS.snapshots, checkpointSeconds: CONFIG.snapshots.checkpointSeconds },
    snapshotLevels: {
      'binance.spot': spot.snapshotLimit,
      'binance.usdm': usdm.snapshotLimit,
      'binance.coinm': coinm.snapshotLimit,
    },
  })
})

test('settings: a book worker should know the markets whose books are not collected', () => {
  const readers = { run: '', hasNats: true, hasGateway: false, payloadBytesMax: SHARD_DEFAULTS.liveBytesMax }
  const { okx, binance } = CONFIG.exchanges
  const all = { enabled: true, instruments: ['*'] }
  const exchanges = {
    ...CONFIG.exchanges,
    okx: { ...okx, index: { ...okx.index, ...all }, swap: { ...okx.swap, ...all } },
    binance: { ...binance, usdm: { ...binance.usdm, channels: ['trades' as const] } },
  }
  assert.deepEqual(shardSettings({ ...CONFIG, exchanges }, 0, [], readers).bookless, ['binance.usdm', 'okx.index'])
})

test('settings: a worker should be hung after the same time alone and configured', () => {
  assert.equal(CONFIG.workers.hangMs, SLOT_DEFAULT.hungMs)
})

test('settings: delivery should have more publishes than inserts under way, for an insert costs the server more', () => {
  assert.ok(deliveryOptions(CONFIG, 'jetstream').inFlightCountMax > deliveryOptions(CONFIG, 'direct').inFlightCountMax)
})
