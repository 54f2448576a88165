import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { createLog } from '../engine/base/log.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { Histogram } from '../engine/ring/histogram.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { Delivery, DELIVERY_DEFAULT } from '../engine/sinks/delivery.ts'
import { createHopMemories, HOPS, recordHops } from '../engine/sinks/hop-histograms.ts'
import { DURABLE_HEADER, followBlocks, hopHeaders, readHops } from '../engine/sinks/hops.ts'
import { Intake, INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { NatsLink, NatsSink } from '../engine/sinks/nats.ts'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { startTestNats } from './support/nats.ts'

const silent = createLog('silent', 'test')

test('hops should travel as headers, and be unknown where these are missing or no numbers', () => {
  const hops = { encodedNs: 5n, sealedNs: 1_790_000_000_000_000_001n, durableNs: 2n, publishedNs: 3n, takenNs: 0n }
  const headers = hopHeaders(hops)
  assert.deepEqual(
    readHops((name) => headers[name]?.[0] ?? ''),
    hops,
  )
  const damaged = readHops((name) => (name === DURABLE_HEADER ? 'yesterday' : ''))
  assert.deepEqual(damaged, { encodedNs: 0n, sealedNs: 0n, durableNs: 0n, publishedNs: 0n, takenNs: 0n })
})

test('hops of a block should be in its mark, each station after the one before, and in the histograms', async (t) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  cleanUp(t, () => nats.stop())
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const clock = new Clock()
  const random = seededRandom(freshSeed())
  const letters = { put: async () => assert.fail('poison') }
  const spool = await openSpool(join(temporaryDirectory(t), 'spool'), SPOOL_DEFAULT, () => Date.now())
  cleanUp(t, () => spool.close())
  const link = new NatsLink(nats.options, 'blocks', random, silent)
  const storeLink = new NatsLink(nats.options, 'store', random, silent)
  const sink = new ClickHouseSink(clickhouse.options, () => clock.nowNs(), silent)
  const memories = createHopMemories()
  recordHops(sink, memories)
  const delivery = new Delivery(spool, new NatsSink(link, silent), DELIVERY_DEFAULT, random, silent, letters)
  const intake = new Intake(storeLink, sink, INTAKE_DEFAULT, random, silent, letters)
  for (const one of [link, storeLink, delivery, intake]) one.start()
  const book = followBlocks(spool, delivery, () => clock.nowNs())
  const firstNs = clock.nowNs()
  for (let count = 0; count < 5; count++) {
    book.sealed(spool.nextSeq, clock.nowNs())
    const identity = { epoch: BigInt(spool.epoch), blockSeq: BigInt(spool.nextSeq), producer: 'hops' }
    const rows = tradeRows(10, count * 10, firstNs)
    spool.append(buildBlock({ table: 'trades', rows, instruments: TRADE_INSTRUMENTS, ...identity }))
  }
  await until(() => sink.stats.marks === 5, 20_000, 'all marked')
  const names = ['last_received_ns', 'encoded_ns', 'sealed_ns', 'durable_ns', 'published_ns', 'taken_ns', 'stored_ns']
  const marks = await clickhouse.query(
    `SELECT ${names.map((name) => `toUnixTimestamp64Nano(${name}) AS ${name}`).join(', ')} FROM blocks FINAL WHERE producer = 'hops'`,
  )
  assert.equal(marks.length, 5)
  for (const mark of marks) {
    const times = names.map((name) => BigInt(mark[name] as string))
    assert.ok(
      times.every((time, index) => time >= firstNs && (index === 0 || time >= (times[index - 1] as bigint))),
      JSON.stringify(mark),
    )
  }
  for (const hop of HOPS) {
    const { count } = new Histogram(memories[hop]).buckets([])
    assert.equal(count, hop === 'ring' ? 0 : 5, `${hop}: that of the ring is its collector's to tell`)
  }
  await delivery.stop(2_000)
  await intake.stop(2_000)
  for (const one of [sink, link, storeLink]) await one.close()
})
