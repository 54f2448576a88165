import assert from 'node:assert/strict'
import { after, before, describe, it, test } from 'node:test'
import { createLog } from '../engine/base/log.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, type ConsumerShape, type StoreShards, storeConsumers } from '../engine/record/streams.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { Crew, type CrewOptions } from '../engine/sinks/crew.ts'
import { INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { NatsLink, subjectOf } from '../engine/sinks/nats.ts'
import { provisionStreams } from '../engine/sinks/provision-streams.ts'
import { Scale, SCALE_DEFAULT } from '../engine/sinks/scale.ts'
import { type SealedBlock, sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock } from './support/blocks.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { until } from './support/embedded.ts'
import { startTestNats, type TestNats } from './support/nats.ts'
import { STREAMS } from './support/settings.ts'
import { tradeBlocks } from './support/trade-blocks.ts'

const silent = createLog('silent', 'test')

/** What a scale says to a backlog looked at every 2 s. */
function scaled(backlog: readonly number[]): number[] {
  const scale = new Scale(SCALE_DEFAULT)
  return backlog.map((pending, look) => scale.look(pending, look * 2_000))
}

test('scale should start a worker above 50,000 waiting blocks and stop one below 1,000, each after 30 s of it', () => {
  const up = scaled(Array.from({ length: 80 }, () => 50_001))
  assert.deepEqual(
    [0, 14, 15, 29, 30, 44, 45, 79].map((look) => up[look]),
    [1, 1, 2, 2, 3, 3, 4, 4],
  )
  const curve = [...Array.from({ length: 31 }, () => 90_000), ...Array.from({ length: 40 }, () => 999)]
  const workers = scaled(curve)
  assert.deepEqual(
    [30, 31, 45, 46, 60, 61, 70].map((look) => workers[look]),
    [3, 3, 3, 2, 2, 1, 1],
  )
})

test('scale should never flap: not between the thresholds, not on a backlog that swings', () => {
  assert.ok(
    scaled(Array.from({ length: 500 }, (_, look) => (look % 2 === 0 ? 1_000 : 50_000))).every((count) => count === 1),
  )
  for (const looks of [1, 2, 5, 14]) {
    const swinging = Array.from({ length: 2_000 }, (_, look) => (Math.floor(look / looks) % 2 === 0 ? 200_000 : 0))
    const workers = scaled(swinging)
    assert.ok(
      workers.every((count) => count === 1),
      `a swing of ${looks} looks changed the workers`,
    )
  }
  const slow = scaled(Array.from({ length: 400 }, (_, look) => (Math.floor(look / 40) % 2 === 0 ? 200_000 : 0)))
  const changes = slow.filter((count, look) => look > 0 && count !== slow[look - 1]).length
  assert.ok(changes <= 20, `${changes} changes in 10 swings of 80 s each`)
})

describe('crew', () => {
  let nats: TestNats | undefined
  let reason = ''
  let clickhouse: TestClickHouse
  const random = seededRandom(freshSeed())

  before(async () => {
    const started = await startTestNats()
    if (typeof started === 'string') reason = started
    else nats = started
    clickhouse = await startTestClickHouse()
  })
  after(async () => {
    await clickhouse.stop()
    await nats?.stop()
  })

  async function provision(server: TestNats, shards: StoreShards): Promise<readonly ConsumerShape[]> {
    const shapes = storeConsumers(shards, ['binance', 'okx'], 64, 5)
    const streams = { ...STREAMS, bytesMax: 64 * 1024 * 1024, messageBytesMax: 1024 * 1024 }
    await provisionStreams(await server.connection.jetstreamManager(), streams, ...shapes)
    return shapes
  }

  function startCrew(server: TestNats, shapes: readonly ConsumerShape[], scale: Partial<CrewOptions['scale']> = {}) {
    const link = new NatsLink(server.options, 'crew', random, silent)
    const sink = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, silent)
    const options: CrewOptions = {
      consumers: shapes.map(({ durable_name }) => durable_name),
      intake: { ...INTAKE_DEFAULT, retryMsMin: 20, retryMsMax: 200 },
      scale: { ...SCALE_DEFAULT, ...scale },
      lookMs: 20,
      insertsAWorker: 2,
    }
    const crew = new Crew(link, sink, options, random, silent, { put: async () => assert.fail('poison') })
    link.start()
    crew.start()
    const stop = async () => {
      await crew.stop(5_000)
      await sink.close()
      await link.close()
    }
    return { crew, sink, stop }
  }

  async function publish({ connection }: TestNats, blocks: readonly SealedBlock[]): Promise<void> {
    const stream = connection.jetstream()
    for (const block of blocks) await stream.publish(subjectOf(block), block.payload, { msgID: block.messageId })
  }

  const marks = async (producer: string) =>
    (await clickhouse.query(`SELECT count() AS c FROM blocks FINAL WHERE producer = '${producer}'`))[0]?.c

  function otherBlocks(producer: string): SealedBlock[] {
    const row = { instrument: 0, received_ns: 1_790_000_000_000_000_000n }
    return [
      sealedBlock(
        buildBlock({
          table: 'trades',
          rows: [{ ...row, trade_id: 1 }],
          instruments: ['okx.spot.A'],
          producer,
          blockSeq: 100n,
        }),
      ),
      sealedBlock(
        buildBlock({
          table: 'gaps',
          rows: [{ ...row, detail: 'x' }],
          instruments: ['okx.spot.A'],
          producer,
          blockSeq: 101n,
        }),
      ),
    ]
  }

  it('crew should store every block once with one consumer, with one a table and with one an exchange, and when that changes', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const server = nats
    const manager = await server.connection.jetstreamManager()
    const schemes: readonly StoreShards[] = ['one', 'table', 'exchange', 'one']
    for (const [turn, shards] of schemes.entries()) {
      const producer = `shards-${turn}`
      const shapes = await provision(server, shards)
      const names: string[] = []
      for await (const { name } of manager.consumers.list(BLOCK_STREAM)) names.push(name)
      assert.deepEqual(names.sort(), shapes.map(({ durable_name }) => durable_name).sort())
      const blocks = [...tradeBlocks(producer, 20), ...otherBlocks(producer)]
      await publish(server, blocks)
      const { sink, stop } = startCrew(server, shapes)
      await until(async () => (await marks(producer)) === String(blocks.length), 30_000, `${shards}: all marked`)
      assert.equal(sink.stats.blocks, blocks.length, `${shards}: began at its place in the stream`)
      await stop()
      const [rows] = await clickhouse.query(
        `SELECT (SELECT count() FROM trades WHERE producer = '${producer}') AS t, (SELECT count() FROM gaps WHERE producer = '${producer}') AS g`,
      )
      assert.deepEqual(rows, { t: '1001', g: '1' })
    }
  })

  it('crew should start workers while blocks wait and end them when none do, losing none', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const shapes = await provision(nats, 'one')
    const blocks = tradeBlocks('scaled', 400)
    await publish(nats, blocks)
    const { crew, stop } = startCrew(nats, shapes, {
      workersMax: 3,
      startAbovePending: 20,
      stopBelowPending: 5,
      holdMs: 0,
    })
    await until(async () => (await marks('scaled')) === '400', 30_000, 'all marked')
    await until(() => crew.stats().workers === 1, 10_000, 'workers end')
    const { started, ended, storedRows } = crew.stats()
    assert.ok(started > 1, 'no worker was started')
    assert.equal(ended, started - 1)
    assert.ok(storedRows >= 20_000)
    await stop()
    assert.deepEqual(
      await clickhouse.query(`SELECT count() AS c, uniqExact(trade_id) AS u FROM trades WHERE producer = 'scaled'`),
      [{ c: '20000', u: '20000' }],
    )
  })
})
