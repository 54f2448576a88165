import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createLog } from '../engine/base/log.ts'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import type { TableName } from '../engine/record/schema-columns.ts'
import { ClickHouseSink, CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { chainOf, MergeQueue, type Waiting } from '../engine/sinks/merge.ts'
import { type SealedBlock, sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, type Row } from './support/blocks.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { cleanUp } from './support/clean-up.ts'
import { ROWS_A_BLOCK, tradeBlocks } from './support/trade-blocks.ts'

const silent = createLog('silent', 'test')
const AT_NS = 1_790_000_000_000_000_000n
const nowNs = () => AT_NS + 1_000_000_000n

function waiting(block: SealedBlock, isAlone = false): Waiting {
  return { block, isAlone }
}

function blockAt(ns: bigint, blockSeq = 1n): SealedBlock {
  const row = { instrument: 0, received_ns: ns, trade_id: 1 }
  return sealedBlock(buildBlock({ table: 'trades', rows: [row], instruments: ['binance.spot.A'], blockSeq }))
}

describe('merging', () => {
  it('merging should find the chain of a block by its bytes alone, one a second and table', () => {
    const chains = [0n, 999_999_999n, 1_000_000_000n].map((ns) => chainOf(blockAt(AT_NS + ns)))
    assert.equal(chains[0], chains[1])
    assert.notEqual(chains[1], chains[2])
    assert.equal(chains[0], `test/0/trades.1/20260921/1790000000`)
    const { payload } = blockAt(AT_NS)
    assert.equal(chainOf(sealedBlock(payload, 'again')), `${chains[0]}#again`)
  })

  it('merging should wait for company, and no longer than it takes to fill an insert', () => {
    const queue = new MergeQueue({ delayMs: 100, rowsMax: 3, bytesMax: 1 << 20 })
    const [a, b, c, d] = [1n, 2n, 3n, 4n].map((seq) => waiting(blockAt(AT_NS, seq))) as [Waiting, ...Waiting[]]
    queue.add(a, 0)
    assert.equal(queue.take(99), undefined)
    assert.equal(queue.waitMs(40), 60)
    for (const one of [b, c, d] as Waiting[]) queue.add(one, 50)
    const first = queue.take(50)
    assert.deepEqual(first?.group, [a, b, c])
    assert.equal(queue.take(1000), undefined) // one insert of a chain at a time
    queue.done(first?.chain ?? '')
    assert.deepEqual(queue.take(100)?.group, [d])
  })

  it('merging should try alone what failed in company, and make inserts smaller when there is no memory', () => {
    const queue = new MergeQueue({ delayMs: 0, rowsMax: 4, bytesMax: 1 << 20 })
    const ones = [1n, 2n, 3n, 4n].map((seq) => waiting(blockAt(AT_NS, seq), seq === 2n))
    for (const one of ones) queue.add(one, 0)
    const groups: number[] = []
    for (let taken = queue.take(0); taken !== undefined; taken = queue.take(0)) {
      groups.push(taken.group.length)
      queue.done(taken.chain)
    }
    assert.deepEqual(groups, [1, 1, 2])
    assert.equal(queue.lower(ones), true)
    assert.equal(queue.rowsMax, 2)
    assert.equal(queue.lower(ones.slice(0, 1)), false)
    for (let time = 0; time < 9; time++) queue.raise()
    assert.equal(queue.rowsMax, 4)
  })
})

describe('merged inserts', () => {
  let clickhouse: TestClickHouse

  before(async () => {
    clickhouse = await startTestClickHouse()
  })
  after(() => clickhouse.stop())

  function newSink(more: Partial<typeof CLICKHOUSE_DEFAULT> = {}): ClickHouseSink {
    return new ClickHouseSink({ ...clickhouse.options, ...more }, nowNs, silent)
  }

  async function assertOnce(producer: string, blockCount: number): Promise<void> {
    const rows = blockCount * ROWS_A_BLOCK
    const counts = await clickhouse.query(
      `SELECT count() AS rows, uniqExact(trade_id) AS ids, min(trade_id) AS a, max(trade_id) AS z FROM trades WHERE producer = '${producer}'`,
    )
    assert.deepEqual(counts, [{ rows: String(rows), ids: String(rows), a: '0', z: String(rows - 1) }])
    const marks = await clickhouse.query(
      `SELECT count() AS blocks, sum(rows) AS rows FROM blocks FINAL WHERE producer = '${producer}'`,
    )
    assert.deepEqual(marks, [{ blocks: String(blockCount), rows: String(rows) }])
  }

  it('merged inserts should hold every value of their blocks as it was', async () => {
    const sink = newSink({ merge: { ...CLICKHOUSE_DEFAULT.merge, delayMs: 1_000 } })
    const send = async (table: TableName, lists: readonly (readonly Row[])[], instruments: readonly string[][]) => {
      const blocks = lists.map((rows, index) =>
        sealedBlock(
          buildBlock({
            table,
            rows,
            instruments: instruments[index] as string[],
            producer: 'mix',
            blockSeq: BigInt(index),
          }),
        ),
      )
      const before = sink.stats.inserts
      const outcomes = await Promise.all(blocks.map((block) => sink.send(block)))
      assert.deepEqual(new Set(outcomes), new Set(['acknowledged']))
      assert.equal(sink.stats.inserts - before, 1)
    }
    const delta = (seq: number, bids: bigint[], asks: bigint[]) => ({
      instrument: seq % 2,
      received_ns: AT_NS + BigInt(seq),
      last_seq: seq,
      bid_price_mantissas: bids,
      bid_quantity_mantissas: bids.map((bid) => bid * 10n),
      ask_price_mantissas: asks,
      ask_quantity_mantissas: asks.map((ask) => ask * 10n),
      state: 2,
    })
    await send(
      'book_deltas',
      [
        [delta(1, [3n, 2n], []), delta(2, [], [9n])],
        [delta(3, [], []), delta(4, [7n], [8n, 6n, 5n])],
        [delta(5, [1n], [1n])],
      ],
      [
        ['binance.spot.A', 'binance.usdm.B'],
        ['okx.swap.C-D', 'binance.spot.A'],
        ['okx.spot.x', 'okx.swap.C-D'],
      ],
    )
    assert.deepEqual(
      await clickhouse.query(
        `SELECT concat(exchange, '.', market, '.', symbol) AS id, last_seq AS s, bid_price_mantissas AS b, bid_quantity_mantissas AS bq, ask_price_mantissas AS a, ask_quantity_mantissas AS aq, block_seq AS n, row_in_block AS r FROM book_deltas WHERE producer = 'mix' ORDER BY last_seq`,
      ),
      [
        { id: 'binance.usdm.B', s: '1', b: ['3', '2'], bq: ['30', '20'], a: [], aq: [], n: '0', r: 0 },
        { id: 'binance.spot.A', s: '2', b: [], bq: [], a: ['9'], aq: ['90'], n: '0', r: 1 },
        { id: 'binance.spot.A', s: '3', b: [], bq: [], a: [], aq: [], n: '1', r: 0 },
        { id: 'okx.swap.C-D', s: '4', b: ['7'], bq: ['70'], a: ['8', '6', '5'], aq: ['80', '60', '50'], n: '1', r: 1 },
        { id: 'okx.swap.C-D', s: '5', b: ['1'], bq: ['10'], a: ['1'], aq: ['10'], n: '2', r: 0 },
      ],
    )
    const gap = (from: number, detail: string) => ({
      instrument: 0,
      received_ns: AT_NS,
      channel: 1,
      cause: 2,
      status: 1,
      from_ns: AT_NS + BigInt(from),
      detail,
    })
    const details = ['', 'a line\n\nwith "quotes"', 'ü'.repeat(200), 'last']
    await send(
      'gaps',
      [
        details.slice(0, 2).map((text, index) => gap(index, text)),
        details.slice(2).map((text, index) => gap(2 + index, text)),
      ],
      [['binance.spot.A'], ['binance.spot.A']],
    )
    const texts = await clickhouse.query(`SELECT detail FROM gaps WHERE producer = 'mix' ORDER BY from_ns`)
    assert.deepEqual(
      texts.map((row) => row.detail),
      details,
    )
    const kline = (open: number, volume: bigint | null) => ({
      instrument: 0,
      received_ns: AT_NS,
      interval: 1,
      open_ns: AT_NS + BigInt(open),
      open: 10n ** 38n * BigInt(open),
      volume,
    })
    await send(
      'klines',
      [[kline(1, null)], [kline(2, 5n * 10n ** 37n), kline(3, null)]],
      [['binance.spot.A'], ['binance.spot.B']],
    )
    assert.deepEqual(
      await clickhouse.query(
        `SELECT symbol, toString(open) AS open, toString(volume) AS volume FROM klines WHERE producer = 'mix' ORDER BY open_ns`,
      ),
      [
        { symbol: 'A', open: '1', volume: null },
        { symbol: 'B', open: '2', volume: '0.5' },
        { symbol: 'B', open: '3', volume: null },
      ],
    )
    await sink.close()
  })

  it('merged inserts should be few for many small blocks', async () => {
    const sink = newSink({ merge: { ...CLICKHOUSE_DEFAULT.merge, delayMs: 1_000 } })
    const blocks = tradeBlocks('few', 100)
    assert.deepEqual(new Set(await Promise.all(blocks.map((block) => sink.send(block)))), new Set(['acknowledged']))
    assert.equal(sink.stats.inserts, 1)
    await assertOnce('few', 100)
    await sink.close()
  })

  it('merged inserts should double nothing when their store is killed between rows and marks and the next one groups in another way', async (t) => {
    const entry = fileURLToPath(new URL(`./support/unmarked-sink${path.extname(import.meta.url)}`, import.meta.url))
    const child = spawn(process.execPath, [entry, clickhouse.options.url, 'killed', '10'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    cleanUp(t, () => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.deepEqual(await clickhouse.query(`SELECT count() AS c FROM blocks WHERE producer = 'killed'`), [{ c: '0' }])
    const blocks = tradeBlocks('killed', 14) // four that the dead one never had
    const sink = newSink()
    for (const group of [blocks.slice(3, 5), blocks.slice(8, 14), blocks.slice(0, 9)])
      assert.deepEqual(new Set(await Promise.all(group.map((block) => sink.send(block)))), new Set(['acknowledged']))
    await assertOnce('killed', 14)
    await sink.close()
  })

  it('merged inserts should be exact while several stores have the same blocks in other groups and ClickHouse is killed', async () => {
    const seed = freshSeed()
    const random = seededRandom(seed)
    const blocks = tradeBlocks('race', 40)
    const sinks = [1, 2, 3].map(() => newSink({ merge: { delayMs: 3, rowsMax: 400, bytesMax: 1 << 20 } }))
    const kill = sleep(150).then(() => process.kill(clickhouse.server.pid, 'SIGKILL'))
    await Promise.all(sinks.map((sink) => sendAll(sink, shuffled(blocks, random), random)))
    await kill
    const shared = sinks.some(({ stats }) => stats.inserts < 40)
    assert.ok(shared, `seed ${seed}: no insert was shared`)
    await assertOnce('race', 40).catch((error: unknown) => assert.fail(`seed ${seed}: ${String(error)}`))
    for (const sink of sinks) await sink.close()
  })

  it('merged inserts should not come back to blocks that are marked, when the server has long forgotten its tokens', async () => {
    const blocks = tradeBlocks('old', 5)
    const late = new ClickHouseSink(clickhouse.options, () => AT_NS + 3_600_000_000_000n, silent)
    const send = (sink: ClickHouseSink) => Promise.all(blocks.map((block) => sink.send(block)))
    const first = newSink()
    await send(first)
    await first.close()
    await send(late)
    assert.equal(late.stats.inserts, 0)
    assert.equal(late.stats.found, 5)
    await late.close()
    await assertOnce('old', 5)
  })
})

async function sendAll(sink: ClickHouseSink, blocks: readonly SealedBlock[], random: Random): Promise<void> {
  await Promise.all(
    blocks.map(async (block) => {
      await sleep(random() * 200)
      while ((await sink.send(block)) !== 'acknowledged') await sleep(20 + random() * 100)
    }),
  )
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((one) => [random(), one] as const)
    .sort(([a], [b]) => a - b)
    .map(([, one]) => one)
}
