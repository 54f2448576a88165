import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { takeAnchorNs } from '../engine/base/clock.ts'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { Counters } from '../engine/ring/counters.ts'
import { BLOCK, DATA, DRAIN, DRAINED } from '../engine/ring/frame.ts'
import { createHeartbeats } from '../engine/ring/heartbeat.ts'
import { IDLE_DEFAULT } from '../engine/ring/idle.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'
import type { BookWorkerReport, BookWorkerSettings } from '../workers/book-worker.ts'
import type { BookSeat } from '../workers/loop.ts'
import { workerUrl } from '../workers/pool.ts'
import { SHARD_COUNTERS } from '../workers/shard-counters.ts'
import { SHARD_DEFAULTS } from '../workers/shard-settings.ts'

test('book worker should read its ring, write blocks, answer a drain and end when its ring is stopped', async () => {
  const [frames, batches, requests] = [createRing(1 << 16), createRing(1 << 21), createRing(1 << 12)]
  const counters = new Counters(SHARD_COUNTERS)
  const settings: BookWorkerSettings = {
    shard: { ...SHARD_DEFAULTS, market: 'usdm', instruments: [], learnUnknown: true, live: false },
    reportOnDrain: true,
  }
  const seat: BookSeat<BookWorkerSettings> = {
    role: 'book',
    workerIndex: 0,
    anchorNs: takeAnchorNs(),
    idle: IDLE_DEFAULT,
    heartbeats: createHeartbeats(1),
    frames,
    batches,
    requests,
    counters: counters.memory,
    settings,
  }
  const worker = new Worker(workerUrl('book-worker'), { workerData: seat })
  const writer = new RingWriter(frames)
  const text = new TextEncoder()
  for (let id = 1; id <= 500; id++) {
    const frame = text.encode(
      `{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":${id},"p":"1.50","q":"2","X":"MARKET","m":true}`,
    )
    while (!writer.tryWrite(DATA, 0, 1, 0, 400_000_000, id, frame))
      await new Promise((resolve) => setTimeout(resolve, 1))
    writer.publish()
  }
  writer.tryWrite(DRAIN, 0, 0, 0, 400_000_000, 501, text.encode(''))
  writer.publish()
  const [report] = (await once(worker, 'message')) as [BookWorkerReport]
  writer.stop()
  const [exitCode] = await once(worker, 'exit')
  assert.equal(exitCode, 0)
  assert.equal(report.summary.instruments['binance.usdm.BTCUSDT']?.trades.notional, '1500')
  const blocks: Uint8Array[] = []
  const kinds: number[] = []
  new RingReader(batches).drain((kind, bytes, offset, length) => {
    kinds.push(kind)
    if (kind === BLOCK) blocks.push(bytes.slice(offset, offset + length))
  }, 100)
  assert.equal(kinds.at(-1), DRAINED)
  assert.equal(blocks.flatMap((block) => [...rowsOf(decodeBlock(block))]).length, 500)
  assert.equal(counters.read('messages'), 500)
})
