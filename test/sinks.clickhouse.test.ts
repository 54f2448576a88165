import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, it } from 'node:test'
import { createLog } from '../engine/base/log.ts'
import {
  checkClickHouse,
  ClickHouseSink,
  CLICKHOUSE_DEFAULT,
  createClickHouseClient,
} from '../engine/sinks/clickhouse.ts'
import type { BlockColumn } from '../engine/record/decode.ts'
import { type Outcome, type Poison, sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, type Row, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'

const silent = createLog('silent', 'test')
const nowNs = () => 1_790_000_001_000_000_000n

function tradeBlock(blockSeq: number, rows: Row[], producer = 'test') {
  return sealedBlock(
    buildBlock({
      table: 'trades',
      rows,
      instruments: TRADE_INSTRUMENTS,
      epoch: 7n,
      blockSeq: BigInt(blockSeq),
      producer,
    }),
  )
}

describe('clickhouse sink', () => {
  let clickhouse: TestClickHouse
  let sink: ClickHouseSink

  before(async () => {
    clickhouse = await startTestClickHouse()
    sink = new ClickHouseSink(clickhouse.options, nowNs, silent)
  })

  after(async () => {
    await sink.close()
    await clickhouse.stop()
  })

  it('clickhouse sink should store every value of trades as it was, with market, symbol and identity', async () => {
    const rows = tradeRows(300, 1)
    assert.equal(await sink.send(tradeBlock(1, rows, 'values')), 'acknowledged')
    const stored = await clickhouse.query(
      `SELECT exchange, market, symbol, toUnixTimestamp64Nano(received_ns) AS received_ns, toUnixTimestamp64Nano(event_ns) AS event_ns,
        toUnixTimestamp64Nano(trade_ns) AS trade_ns, toInt8(trades.stream) AS \`stream\`, trade_id, first_trade_id, last_trade_id, price_mantissa,
        quantity_mantissa, price_scale, quantity_scale, toInt8(side) AS side, producer, epoch, block_seq, row_in_block
       FROM trades WHERE producer = 'values' ORDER BY row_in_block`,
    )
    const expected = rows.map((row, index) => {
      const [exchange, market, symbol] = (TRADE_INSTRUMENTS[row.instrument as number] as string).split('.')
      const { instrument: _, ...own } = row
      const texts = Object.fromEntries(Object.entries(own).map(([name, value]) => [name, String(value)]))
      return {
        exchange,
        market,
        symbol,
        ...texts,
        producer: 'values',
        epoch: '7',
        block_seq: '1',
        row_in_block: String(index),
      }
    })
    assert.deepEqual(
      stored.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)]))),
      expected,
    )
  })

  it('clickhouse sink should keep the arrays of book deltas and the texts of gaps', async () => {
    const at = 1_790_000_000_000_000_000n
    const base = {
      received_ns: at,
      event_ns: at,
      transaction_ns: at,
      first_seq: 1,
      prev_seq: 0,
      book_epoch: 1,
      state: 2,
      price_scale: 1,
      quantity_scale: 3,
    }
    const deltas = [
      {
        ...base,
        instrument: 0,
        last_seq: 1,
        bid_price_mantissas: [3n, 2n],
        bid_quantity_mantissas: [30n, 0n],
        ask_price_mantissas: [],
        ask_quantity_mantissas: [],
      },
      {
        ...base,
        instrument: 0,
        last_seq: 2,
        bid_price_mantissas: [],
        bid_quantity_mantissas: [],
        ask_price_mantissas: [4n],
        ask_quantity_mantissas: [9_223_372_036_854_775_807n],
      },
    ]
    const block = sealedBlock(
      buildBlock({ table: 'book_deltas', rows: deltas, instruments: ['binance.spot.A.B'], producer: 'arrays' }),
    )
    assert.equal(await sink.send(block), 'acknowledged')
    const stored = await clickhouse.query(
      `SELECT symbol, last_seq, bid_price_mantissas b, bid_quantity_mantissas bq, ask_price_mantissas a, ask_quantity_mantissas aq, state FROM book_deltas WHERE producer = 'arrays' ORDER BY last_seq`,
    )
    assert.deepEqual(stored, [
      { symbol: 'A.B', last_seq: '1', b: ['3', '2'], bq: ['30', '0'], a: [], aq: [], state: 'LIVE' },
      { symbol: 'A.B', last_seq: '2', b: [], bq: [], a: ['4'], aq: ['9223372036854775807'], state: 'LIVE' },
    ])
    const details = ['', 'a line\n\nwith "quotes"', 'ü'.repeat(200)]
    const gaps = details.map((detail, index) => ({
      instrument: 0,
      received_ns: at,
      channel: 1,
      cause: 2,
      status: 1,
      from_ns: at + BigInt(index),
      to_ns: 0n,
      from_seq: 5,
      to_seq: 0,
      lost_count: 0,
      detail,
    }))
    assert.equal(
      await sink.send(
        sealedBlock(buildBlock({ table: 'gaps', rows: gaps, instruments: ['binance.spot.AB'], producer: 'arrays' })),
      ),
      'acknowledged',
    )
    const texts = await clickhouse.query(`SELECT detail FROM gaps WHERE producer = 'arrays' ORDER BY from_ns`)
    assert.deepEqual(
      texts.map((row) => row.detail),
      details,
    )
  })

  it('clickhouse sink should store a block sent twice once, and mark it once', async () => {
    const block = tradeBlock(2, tradeRows(100, 1000), 'twice')
    assert.deepEqual(await Promise.all([sink.send(block), sink.send(block)]), ['acknowledged', 'acknowledged'])
    assert.equal(await sink.send(block), 'acknowledged')
    assert.deepEqual(await clickhouse.query(`SELECT count() c FROM trades WHERE producer = 'twice'`), [{ c: '100' }])
    const marks = await clickhouse.query(
      `SELECT epoch, block_seq, table, layout, exchange, rows, bytes, crc32, toUnixTimestamp64Nano(first_received_ns) f, toUnixTimestamp64Nano(last_received_ns) l FROM blocks FINAL WHERE producer = 'twice'`,
    )
    assert.deepEqual(marks, [
      {
        epoch: '7',
        block_seq: '2',
        table: 'trades',
        layout: 1,
        exchange: 'binance',
        rows: 100,
        bytes: block.payload.length,
        crc32: block.crc32,
        f: '1790000000000001000',
        l: '1790000000000001099',
      },
    ])
  })

  it('clickhouse sink should set a damaged block aside and go on', async () => {
    const good = tradeBlock(3, tradeRows(10, 5000), 'damaged')
    const bad = {
      ...good,
      columns: new Map(good.columns).set('trade_id', {
        type: 'UInt64' as const,
        ends: null,
        values: new Uint8Array(8),
      }),
    }
    const outcomes = []
    for (let attempt = 0; attempt < 5; attempt++) outcomes.push(await sink.send(bad))
    assert.deepEqual(outcomes.slice(0, 4), ['retry', 'retry', 'retry', 'retry'])
    assert.deepEqual(outcomes[4], {
      reason: 'a block for trades cannot be stored: column trade_id has 8 bytes for 10 rows',
      attempts: 5,
    })
    assert.equal(await sink.send(good), 'acknowledged')
    assert.equal(sink.trouble(), undefined)
  })

  it('clickhouse sink should set a block aside that says more than it knows, and store one that says less', async () => {
    const price = 'price_mantissa'
    const block = tradeBlock(4, tradeRows(10, 6000), 'newer')
    const newer = { ...block, columns: new Map([...block.columns, ['mood', block.columns.get(price) as BlockColumn]]) }
    let outcome: Outcome = 'retry'
    while (outcome === 'retry') outcome = await sink.send(newer)
    assert.match((outcome as Poison).reason, /has a column mood that this store does not know: upgrade the store, then/)
    const older = { ...block, columns: new Map([...block.columns].filter(([name]) => name !== 'seq')) }
    assert.equal(await sink.send(older), 'acknowledged')
    const rows = await clickhouse.query(
      `SELECT count() AS count, sum(seq) AS seqs FROM trades WHERE producer = 'newer'`,
    )
    assert.deepEqual(rows, [{ count: '10', seqs: '0' }])
  })

  it('clickhouse sink should be exact through kill -9 in the middle of inserts', async () => {
    const blocks = Array.from({ length: 60 }, (_, index) =>
      tradeBlock(100 + index, tradeRows(500, 100_000 + index * 500), 'killed'),
    )
    let next = 0
    let retries = 0
    const sender = async () => {
      for (let block = blocks[next++]; block !== undefined; block = blocks[next++]) {
        while ((await sink.send(block)) !== 'acknowledged') {
          retries++
          await sleep(50)
        }
      }
    }
    const senders = [sender(), sender(), sender()]
    for (let kill = 0; kill < 3; kill++) {
      await sleep(150)
      process.kill(clickhouse.server.pid, 'SIGKILL')
      await sleep(1500)
    }
    await Promise.all(senders)
    assert.ok(retries > 0, 'the kills were not noticed at all')
    const [counts] = await clickhouse.query(
      `SELECT count() c, uniqExact(trade_id) u, min(trade_id) a, max(trade_id) z FROM trades WHERE producer = 'killed'`,
    )
    assert.deepEqual(counts, { c: '30000', u: '30000', a: '100000', z: '129999' })
    assert.deepEqual(await clickhouse.query(`SELECT count() c FROM blocks FINAL WHERE producer = 'killed'`), [
      { c: '60' },
    ])
  })

  it('clickhouse sink should name server, user and table in one line when it cannot deliver', async () => {
    const block = tradeBlock(1, tradeRows(1, 1), 'never')
    const lineOf = async (options: Partial<typeof CLICKHOUSE_DEFAULT>) => {
      const other = new ClickHouseSink({ ...clickhouse.options, ...options }, nowNs, silent)
      assert.equal(await other.send(block), 'retry')
      const line = other.trouble() ?? ''
      await other.close()
      assert.ok(!line.includes('\n'))
      return line
    }
    assert.match(
      await lineOf({ url: 'http://127.0.0.1:1' }),
      /^ClickHouse at http:\/\/127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\): start it/,
    )
    assert.match(
      await lineOf({ database: 'nowhere' }),
      /no fitting table nowhere\.trades \(code 81.*: start the role store again .* makes and changes tables$/,
    )
    assert.match(
      await lineOf({ url: `${clickhouse.options.url}/?clickhouse_setting_readonly=1` }),
      /lets user default write nothing \(code 164.*: set readonly = 0 in its profile$/,
    )
    const client = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url: 'http://127.0.0.1:1' })
    await assert.rejects(checkClickHouse(client, { ...CLICKHOUSE_DEFAULT, url: 'http://127.0.0.1:1' }), {
      name: 'Fault',
      code: 'CLICKHOUSE',
    })
    await client.close()
  })
})
