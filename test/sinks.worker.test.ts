import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { takeAnchorNs } from '../engine/base/clock.ts'
import { Counters } from '../engine/ring/counters.ts'
import { BLOCK, DRAINED, LIVE } from '../engine/ring/frame.ts'
import { createHeartbeats } from '../engine/ring/heartbeat.ts'
import { Histogram } from '../engine/ring/histogram.ts'
import { IDLE_DEFAULT } from '../engine/ring/idle.ts'
import { createRing, RingWriter } from '../engine/ring/ring.ts'
import { CLICKHOUSE_DEFAULT, type ClickHouseOptions } from '../engine/sinks/clickhouse.ts'
import { DELIVERY_DEFAULT } from '../engine/sinks/delivery.ts'
import type { NatsOptions } from '../engine/sinks/nats.ts'
import { SPOOL_DEFAULT, type SpoolOptions } from '../engine/spool/spool.ts'
import type { SinkSeat } from '../workers/loop.ts'
import { workerUrl } from '../workers/pool.ts'
import { SINK_COUNTERS, type SinkWorkerMessage, type SinkWorkerSettings } from '../workers/sink-worker.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { startTestNats } from './support/nats.ts'

/** A sink worker on its own thread, fed through `count` batch rings. */
function startSinkWorker(
  spoolDirectory: string,
  clickhouse: ClickHouseOptions,
  nats: NatsOptions | undefined,
  count: number,
  spool: Partial<SpoolOptions> = {},
) {
  const rings = Array.from({ length: count }, () => createRing(1024 * 1024))
  const liveLatency = new Histogram()
  const counters = new Counters(SINK_COUNTERS)
  const settings: SinkWorkerSettings = {
    producer: 'worker',
    batchAgeMs: 250,
    spoolDirectory,
    spool: { ...SPOOL_DEFAULT, ...spool },
    delivery: { ...DELIVERY_DEFAULT, retryMsMin: 20, retryMsMax: 100 },
    blocks: { to: 'clickhouse', clickhouse },
    live: {
      isPublished: true,
      latencies: Array(count).fill(liveLatency.memory),
      ...(nats === undefined ? {} : { nats }),
    },
    fsyncLatency: new Histogram().memory,
    stopMsMax: 1500,
    logLevel: 'silent',
    ...(nats === undefined ? {} : { nats }),
  }
  const seat: SinkSeat<SinkWorkerSettings> = {
    role: 'sink',
    workerIndex: 0,
    anchorNs: takeAnchorNs(),
    idle: IDLE_DEFAULT,
    heartbeats: createHeartbeats(1),
    batches: rings,
    counters: counters.memory,
    settings,
  }
  const worker = new Worker(workerUrl('sink-worker'), { workerData: seat })
  const messages: SinkWorkerMessage[] = []
  worker.on('message', (message) => messages.push(message))
  const ended = new Promise<number>((resolve, reject) => {
    worker.on('exit', resolve)
    worker.on('error', reject)
  })
  return { writers: rings.map((ring) => new RingWriter(ring)), counters, liveLatency, messages, ended }
}

async function write(writer: RingWriter, kind: number, payload: Uint8Array): Promise<void> {
  const nowNs = BigInt(Date.now()) * 1_000_000n
  while (!writer.tryWrite(kind, 0, 0, 0, Number(nowNs >> 32n), Number(nowNs & 0xffffffffn), payload)) {
    writer.publish()
    await sleep(1)
  }
  writer.publish()
}

function tradesOf(block: number, rowsPerBlock: number): Buffer {
  return buildBlock({
    table: 'trades',
    rows: tradeRows(rowsPerBlock, block * rowsPerBlock),
    instruments: TRADE_INSTRUMENTS,
    producer: 'worker',
  })
}

describe('sink worker', () => {
  it('sink worker should give blocks their identity, store them once, and end when its rings are stopped', async () => {
    const root = await mkdtemp(join(tmpdir(), 'marketprism-sink-worker-'))
    const clickhouse = await startTestClickHouse()
    try {
      const first = startSinkWorker(root, clickhouse.options, undefined, 2)
      for (let block = 0; block < 30; block++)
        await write(first.writers[block % 2] as RingWriter, BLOCK, tradesOf(block, 200))
      for (const writer of first.writers) {
        await write(writer, DRAINED, new Uint8Array(0))
        writer.stop()
      }
      assert.equal(await first.ended, 0)
      const { epoch } = first.messages[0] as Extract<SinkWorkerMessage, { type: 'ready' }>
      assert.deepEqual(first.messages.at(-1), { type: 'stopped', undelivered: 0, givenUp: 0 })
      assert.deepEqual(
        [first.counters.read('blocks'), first.counters.read('delivered'), first.counters.read('drained')],
        [30, 30, 2],
      )
      assert.deepEqual(
        await clickhouse.query(`SELECT count() c, uniqExact(trade_id) u, min(epoch) e, max(epoch) f FROM trades`),
        [{ c: '6000', u: '6000', e: String(epoch), f: String(epoch) }],
      )
      assert.deepEqual(
        await clickhouse.query(`SELECT count() c, min(block_seq) a, max(block_seq) z FROM blocks FINAL`),
        [{ c: '30', a: '1', z: '30' }],
      )
    } finally {
      await clickhouse.stop()
      await rm(root, { recursive: true, force: true })
    }
  })

  it('sink worker should keep blocks in the spool while clickhouse is away, and deliver them at the next start', async () => {
    const root = await mkdtemp(join(tmpdir(), 'marketprism-sink-worker-'))
    const clickhouse = await startTestClickHouse()
    try {
      const away = startSinkWorker(root, { ...clickhouse.options, url: 'http://127.0.0.1:1' }, undefined, 1)
      for (let block = 0; block < 5; block++) await write(away.writers[0] as RingWriter, BLOCK, tradesOf(block, 100))
      away.writers[0]?.stop()
      await away.ended
      assert.deepEqual(away.messages.at(-1), { type: 'stopped', undelivered: 5, givenUp: 0 })
      const back = startSinkWorker(root, clickhouse.options, undefined, 1)
      back.writers[0]?.stop()
      await back.ended
      assert.equal((back.messages[0] as { undelivered: number }).undelivered, 5)
      assert.deepEqual(back.messages.at(-1), { type: 'stopped', undelivered: 0, givenUp: 0 })
      const { epoch } = away.messages[0] as { epoch: number }
      assert.deepEqual(await clickhouse.query(`SELECT count() c, uniqExact(trade_id) u, any(epoch) e FROM trades`), [
        { c: '500', u: '500', e: String(epoch) },
      ])
    } finally {
      await clickhouse.stop()
      await rm(root, { recursive: true, force: true })
    }
  })

  it('sink worker should leave blocks in the ring while the disk is too full, and end all the same, counting them', async () => {
    const root = await mkdtemp(join(tmpdir(), 'marketprism-sink-worker-'))
    try {
      const away = { ...CLICKHOUSE_DEFAULT, url: 'http://127.0.0.1:1' }
      const full = startSinkWorker(root, away, undefined, 1, { freeBytesMin: Number.MAX_SAFE_INTEGER })
      const writer = full.writers[0] as RingWriter
      await sleep(700) // it has looked at the disk
      for (let block = 0; block < 3; block++) await write(writer, BLOCK, tradesOf(block, 100))
      await sleep(300)
      assert.ok(writer.fillBytes() > 0, 'the ring is where blocks wait')
      assert.equal(full.counters.read('blocks'), 0)
      writer.stop()
      assert.equal(await full.ended, 0)
      assert.deepEqual(full.messages.at(-1), { type: 'stopped', undelivered: 0, givenUp: 3 })
    } finally {
      await rm(root, { recursive: true, force: true })
    }
  })

  it('sink worker should publish live messages at once and measure it', async (t) => {
    const nats = await startTestNats()
    if (typeof nats === 'string') return t.skip(nats)
    const root = await mkdtemp(join(tmpdir(), 'marketprism-sink-worker-'))
    try {
      const received: string[] = []
      nats.connection.subscribe('trade.>', {
        callback: (_, message) => received.push(`${message.subject} ${Buffer.from(message.data).toString()}`),
      })
      await nats.connection.flush()
      const worker = startSinkWorker(root, { ...CLICKHOUSE_DEFAULT, url: 'http://127.0.0.1:1' }, nats.options, 1)
      const publish = async (text: string): Promise<void> => {
        const subject = 'trade.binance.spot.BTCUSDT'
        await write(
          worker.writers[0] as RingWriter,
          LIVE,
          Buffer.concat([Buffer.from([subject.length, 0]), Buffer.from(subject), Buffer.from(text)]),
        )
      }
      for (let tries = 0; received.length === 0 && tries < 500; tries++) {
        await publish('early') // dropped until NATS is connected
        await sleep(20)
      }
      for (let count = 0; count < 10; count++) await publish(`m${count}`)
      for (let tries = 0; received.at(-1)?.endsWith(' m9') !== true && tries < 500; tries++) await sleep(20)
      worker.writers[0]?.stop()
      await worker.ended
      assert.deepEqual(
        received.filter((text) => !text.endsWith(' early')),
        Array.from({ length: 10 }, (_, count) => `trade.binance.spot.BTCUSDT m${count}`),
      )
      assert.equal(worker.liveLatency.count, received.length)
      assert.ok(worker.liveLatency.maxNs < 20e9, 'a latency, not a time of day')
    } finally {
      await nats.stop()
      await rm(root, { recursive: true, force: true })
    }
  })
})
