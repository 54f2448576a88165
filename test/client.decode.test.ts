import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Packr } from 'msgpackr'
import { decodeBlock, decodeLive, type NamedRow, type TableName, type TradeRow } from '../engine/client/index.ts'
import { seededRandom } from '../engine/base/random.ts'
import { publicColumns } from '../engine/record/rows.ts'
import { blockColumns, TABLES } from '../engine/record/schema.ts'
import type { Column, Table } from '../engine/record/schema-columns.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, type CellValue, type Row } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT } from './support/embedded.ts'

const NOON_NS = 1_790_000_000_000_000_000n
const INSTRUMENTS = ['binance.usdm.BTCUSDT', 'binance.spot.A.B', 'binance.spot.币安人生USDT']
const ROWS = 40
const SEED = Number(process.env.TEST_SEED ?? 5)

const random = seededRandom(SEED)
const below = (bound: number): number => Math.floor(random() * bound)
const bits = (count: number): bigint =>
  Array.from({ length: count }, () => BigInt(below(2))).reduce((sum, bit) => 2n * sum + bit, 0n)
const signed = (value: bigint): bigint => (below(2) === 0 ? value : -value)

function anyCell(column: Column, row: number): CellValue {
  const { name, type, meaning, words } = column
  if (name === 'instrument') return row % INSTRUMENTS.length
  if (name === 'received_ns') return NOON_NS + BigInt(row)
  if (words !== undefined) return Object.values(words)[below(Object.keys(words).length)] as number
  if (meaning === 'time') return below(4) === 0 ? 0n : NOON_NS - bits(60)
  if (meaning === 'scale') return below(19)
  if (type === 'Array(Int64)') return Array.from({ length: below(4) }, () => bits(below(64)))
  if (type === 'Decimal') return below(3) === 0 ? null : signed(bits(below(250)))
  if (type === 'String') return ['', 'x', 'nicht "quoted"\n\\', '币安', '\u{1f600}'][below(5)] as string
  if (type === 'UInt64') return bits(below(54))
  return type === 'UInt32' ? below(2 ** 32) : bits(below(64))
}

/** Both lists of a side have the same length. */
function anyRow(table: Table, index: number): Row {
  const row: Record<string, CellValue> = {}
  for (const column of blockColumns(table)) row[column.name] = anyCell(column, index)
  for (const side of ['bid', 'ask']) {
    const prices = row[`${side}_price_mantissas`] as bigint[] | undefined
    if (prices !== undefined) row[`${side}_quantity_mantissas`] = prices.map(() => bits(below(60)))
  }
  return row
}

/** How ClickHouse is asked for what users see; no code of ours makes a value of it. */
function asked(table: Table): string {
  const expressions = publicColumns(table).map((column) => {
    const { name, form } = column
    switch (form) {
      case 'levels': {
        const side = name.slice(0, -1)
        return `arrayMap((p, q) -> [toString(p), toString(q)], ${side}_prices, ${side}_quantities)`
      }
      case 'time':
        return `toString(toUnixTimestamp64Nano(${name}))`
      case 'number':
        return `toUInt64(${name})`
      default:
        return `toString(${name})`
    }
  })
  return `SELECT exchange, market, symbol, ${expressions.join(', ')} FROM ${table.name} ORDER BY row_in_block`
}

test(`client: rows of a block of every table should be what ClickHouse shows of it (TEST_SEED=${SEED})`, async (t) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const sink = new ClickHouseSink(clickhouse.options, () => NOON_NS, SILENT)
  cleanUp(t, () => sink.close())
  await Promise.all(
    TABLES.map(async (table, index) => {
      const rows = Array.from({ length: ROWS }, (_, row) => anyRow(table, row))
      const bytes = buildBlock({ table: table.name, rows, instruments: INSTRUMENTS, blockSeq: BigInt(index + 1) })
      assert.equal(await sink.send(sealedBlock(bytes)), 'acknowledged')
      const answer = await clickhouse.client.query({
        query: asked(table),
        format: 'JSONCompactEachRow',
        clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
      })
      const names = ['exchange', 'market', 'symbol', ...publicColumns(table).map(({ name }) => name)]
      const wanted = (await answer.json<unknown[]>()).map((values) =>
        Object.fromEntries(names.map((name, at) => [name, values[at]])),
      )
      assert.deepEqual([...decodeBlock(bytes).rows()], wanted, table.name)
    }),
  )
})

test('client: columns of a block should be typed arrays with exact values, and doubles where they are wished', () => {
  const trades = [
    {
      instrument: 1,
      received_ns: NOON_NS,
      price_mantissa: 6_180_020n,
      price_scale: 2,
      quantity_mantissa: 9_007_199_254_740_993n,
      quantity_scale: 8,
      trade_id: 2 ** 53 - 1,
      side: 2,
      venue_trade_id: 'a',
    },
    {
      instrument: 0,
      received_ns: NOON_NS + 1n,
      price_mantissa: 1n,
      price_scale: 0,
      quantity_mantissa: -5n,
      quantity_scale: 1,
      trade_id: 0,
      side: 1,
      venue_trade_id: 'bc',
    },
  ]
  const bytes = buildBlock({
    table: 'trades',
    rows: trades,
    instruments: INSTRUMENTS,
    epoch: 7n,
    blockSeq: 9n,
    producer: 'p',
  })
  // a message may begin at any byte
  const moved = new Uint8Array(bytes.length + 3)
  moved.set(bytes, 3)
  const block = decodeBlock(moved.subarray(3))
  assert.deepEqual([block.producer, block.epoch, block.blockSeq, block.rowCount], ['p', 7n, 9n, 2])
  const column = (name: string) => block.columns.get(name)
  assert.deepEqual(column('received_ns')?.values, BigInt64Array.of(NOON_NS, NOON_NS + 1n))
  assert.deepEqual(column('quantity_mantissa')?.values, BigInt64Array.of(9_007_199_254_740_993n, -5n))
  assert.deepEqual(column('price_scale')?.values, Uint8Array.of(2, 0))
  assert.deepEqual(column('trade_id')?.values, BigUint64Array.of(2n ** 53n - 1n, 0n))
  assert.deepEqual([column('side')?.at(0), column('venue_trade_id')?.at(1)], ['sell', 'bc'])
  assert.deepEqual(column('venue_trade_id')?.offsets, Uint32Array.of(0, 1, 3))
  assert.deepEqual(block.doubles('price'), Float64Array.of(61800.2, 1))
  assert.deepEqual(block.doubles('trade_id'), Float64Array.of(2 ** 53 - 1, 0))
  assert.throws(() => block.doubles('prise'), /no column prise: it has instrument, received_ns/)
  assert.throws(() => block.doubles('venue_trade_id'), /no number a row/)
})

test('client: a number that a venue does not say should be null in rows and NaN among doubles', () => {
  const rows = [null, 15n * 10n ** 37n].map((volume, row) => ({
    instrument: 0,
    received_ns: NOON_NS + BigInt(row),
    interval: 2,
    volume,
  }))
  const block = decodeBlock(buildBlock({ table: 'klines', rows, instruments: INSTRUMENTS }))
  assert.deepEqual(
    [...block.rows()].map((row) => (row as NamedRow<'klines'>).volume),
    [null, '1.5'],
  )
  assert.deepEqual(block.doubles('volume'), Float64Array.of(Number.NaN, 1.5))
})

test('client: a block of a newer engine should still show what is known of it', () => {
  const block = new Packr({ useRecords: false }).pack({
    epoch: 1n,
    block_seq: 2n,
    format: 1,
    producer: 'p',
    table: 'auctions',
    version: 1,
    exchange: 'x',
    rows: 2,
    day: 20260921,
    first_received_ns: NOON_NS,
    last_received_ns: NOON_NS,
    instruments: ['x.y.z'],
    columns: { instrument: ['UInt16', Buffer.alloc(4)], lots: ['UInt32', Buffer.from(Uint32Array.of(5, 6).buffer)] },
  })
  const rows = [...decodeBlock(block).rows()]
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [5, 6].map((lots) => ({ exchange: 'x', market: 'y', symbol: 'z', lots })),
  )
})

test('client: live messages of books, heartbeats and the publisher should be read in one form', () => {
  const packr = new Packr({ useRecords: false })
  const name = { exchange: 'binance', market: 'usdm', symbol: 'BTCUSDT' }
  const state = {
    received_ns: NOON_NS,
    state: 'GAP',
    since_ns: NOON_NS,
    reason: 'sequence',
    book_epoch: 3,
    last_seq: 2n ** 52n,
  }
  assert.deepEqual(decodeLive(packr.pack({ type: 'book_state', ...name, run: 'r', number: 5, rows: [state] })), {
    type: 'book_state',
    ...name,
    run: 'r',
    number: 5,
    rows: [
      {
        received_ns: String(NOON_NS),
        state: 'GAP',
        since_ns: String(NOON_NS),
        reason: 'sequence',
        book_epoch: 3,
        last_seq: 2 ** 52,
      },
    ],
  })
  const books = [{ ...name, state: 'LIVE', since_ns: 5, reason: '', book_epoch: 1, last_seq: 2n ** 40n }]
  const beat = decodeLive(
    packr.pack({ type: 'heartbeat', producer: 'c', shard: 0, run: 'r', time_ns: NOON_NS, part: 1, parts: 1, books }),
  )
  assert.equal(beat.type, 'heartbeat')
  assert.deepEqual([beat.time_ns, beat.books[0]?.since_ns, beat.books[0]?.last_seq], [String(NOON_NS), '5', 2 ** 40])
  const book = {
    exchange_name: 'binance',
    symbol_name: 'BTCUSDT',
    bids: [{ price: '1.5', quantity: '2' }],
    asks: [],
    timestamp: 1_790_000_000_000,
    last_update_id: 7,
    collected_at: 1_790_000_000_001,
  }
  const wanted = { type: 'orderbook', ...book }
  assert.deepEqual(decodeLive(Buffer.from(JSON.stringify(book))), wanted)
  assert.deepEqual(
    decodeLive(packr.pack({ ...book, timestamp: BigInt(book.timestamp), collected_at: BigInt(book.collected_at) })),
    wanted,
  )
  for (const wrong of [packr.pack([1]), packr.pack({ type: 5 }), Buffer.from([0xc1]), packr.pack('text')])
    assert.throws(() => decodeLive(wrong), /no live message/)
})

/** Compiled or not: the types must have the names and forms that the rows have. */
test('client: types of rows should have the columns that rows have', () => {
  const names = <Name extends TableName>(table: Name, all: Record<keyof NamedRow<Name>, 1>): [Name, string[]] => [
    table,
    Object.keys(all),
  ]
  const place = { exchange: 1, market: 1, symbol: 1, received_ns: 1, event_ns: 1 } as const
  const levels = { bids: 1, asks: 1 } as const
  const typed = [
    names('trades', {
      ...place,
      trade_ns: 1,
      stream: 1,
      trade_id: 1,
      first_trade_id: 1,
      last_trade_id: 1,
      price: 1,
      quantity: 1,
      side: 1,
      seq: 1,
      venue_trade_id: 1,
      origin: 1,
      liquidation: 1,
    }),
    names('book_deltas', {
      ...place,
      transaction_ns: 1,
      first_seq: 1,
      last_seq: 1,
      prev_seq: 1,
      book_epoch: 1,
      state: 1,
      ...levels,
    }),
    names('book_tickers', {
      ...place,
      transaction_ns: 1,
      update_id: 1,
      bid_price: 1,
      bid_quantity: 1,
      ask_price: 1,
      ask_quantity: 1,
    }),
    names('funding_rates', {
      ...place,
      funding_rate: 1,
      funding_ns: 1,
      next_funding_rate: 1,
      next_funding_ns: 1,
      funding_rate_8h: 1,
      settled_rate: 1,
      interest_rate: 1,
      premium: 1,
      rate_min: 1,
      rate_max: 1,
      interval_hours: 1,
    }),
  ]
  for (const [name, columns] of typed) {
    const table = TABLES.find((candidate) => candidate.name === name) as Table
    const shown = publicColumns(table).map((column) => column.name)
    assert.deepEqual(columns, ['exchange', 'market', 'symbol', ...shown], name)
  }
  const trade: Pick<TradeRow, 'price' | 'trade_id' | 'side' | 'trade_ns'> = {
    price: '1',
    trade_id: 1,
    side: 'buy',
    trade_ns: '1',
  }
  // @ts-expect-error a side that no trade has
  const wrong: TradeRow['side'] = 'left'
  assert.notEqual(trade.side, wrong)
})
