import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unpack } from 'msgpackr'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_SEQ_OFFSET, EPOCH_OFFSET, type OpenBlock, dayOf, writeIdentity } from '../engine/record/block.ts'
import { ColumnBuffer } from '../engine/record/columns.ts'
import { blockHead, blockIdentity, decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DepthEvent, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import { Recorder } from '../engine/record/recorder.ts'
import { SIDES, TRADE_STREAMS, blockColumns, tableNamed } from '../engine/record/schema.ts'

const IDS = ['binance.usdm.BTCUSDT', 'binance.usdm.ETHUSDT', 'binance.spot.BTCUSDT']
const SECOND_NS = 1_000_000_000n
const NOON_NS = 1_723_118_400_000_000_000n // 2024-08-08 12:00 UTC

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function rig(limits: { rowsMax: number; bytesMax: number } = { rowsMax: 100, bytesMax: 1 << 19 }) {
  const sealed: Uint8Array[] = []
  const prices = new Uint8Array(8).fill(2)
  const quantities = new Uint8Array(8).fill(3)
  const recorder = new Recorder(
    { producer: 'collector-1', exchange: 'binance', ...limits },
    (index) => IDS[index] as string,
    prices,
    quantities,
    (block: OpenBlock) => {
      const bytes = new Uint8Array(block.sealedBytesMax())
      sealed.push(bytes.slice(0, block.encodeInto(bytes, 0)))
    },
  )
  return { recorder, sealed }
}

function at(recorder: Recorder, ns: bigint): void {
  recorder.time.hi = Number(ns >> 32n) | 0
  recorder.time.lo = Number(ns & 0xffffffffn) | 0
}

function trade(fields: Partial<TradeEvent>): TradeEvent {
  return Object.assign(new TradeEvent(), { stream: TRADE_STREAMS.trade, side: SIDES.buy }, fields)
}

test('block should be one msgpack map that plain msgpackr reads, keys in the agreed order', () => {
  const { recorder, sealed } = rig()
  at(recorder, NOON_NS)
  recorder.trade(
    trade({
      instrument: 2,
      eventMs: 1_723_118_400_123,
      tradeMs: 1_723_118_400_122,
      tradeId: 2 ** 52 + 1,
      price: 6_180_020,
      quantity: 1,
    }),
  )
  recorder.sealAll()
  const [bytes] = sealed as [Uint8Array]
  const block = unpack(bytes)
  assert.deepEqual(Object.keys(block), [
    'epoch',
    'block_seq',
    'format',
    'producer',
    'table',
    'version',
    'exchange',
    'rows',
    'day',
    'first_received_ns',
    'last_received_ns',
    'instruments',
    'columns',
  ])
  assert.equal(bytes[EPOCH_OFFSET - 1], 0xcf)
  assert.equal(bytes[BLOCK_SEQ_OFFSET - 1], 0xcf)
  assert.equal(block.day, 20240808)
  assert.equal(block.first_received_ns, NOON_NS)
  assert.deepEqual(block.instruments, [IDS[2]])
  assert.deepEqual(
    Object.keys(block.columns),
    blockColumns(tableNamed('trades')).map((column) => column.name),
  )
  const [type, bin] = block.columns.event_ns
  assert.equal(type, 'Int64')
  assert.equal(viewOf(bin).getBigInt64(0, true), 1_723_118_400_123_000_000n)
  assert.equal(viewOf(block.columns.trade_id[1]).getBigUint64(0, true), 2n ** 52n + 1n)
})

test('block should take its identity at the fixed places', () => {
  const { recorder, sealed } = rig()
  at(recorder, NOON_NS)
  recorder.trade(trade({ price: 1, quantity: 2 }))
  recorder.sealAll()
  const [bytes] = sealed as [Uint8Array]
  writeIdentity(bytes, 2n ** 63n + 5n, 77n)
  assert.equal(unpack(bytes).epoch, 2n ** 63n + 5n)
  assert.equal(unpack(bytes).block_seq, 77n)
  assert.equal(blockIdentity(blockHead(bytes)), `collector-1/${2n ** 63n + 5n}/77`)
  assert.throws(() => writeIdentity(new Uint8Array(64), 1n, 1n), /no block/)
})

test('block should hold arrays as cumulative ends and flat values', () => {
  const { recorder, sealed } = rig()
  at(recorder, NOON_NS)
  const event = new DepthEvent()
  const levels = [
    [3, 1],
    [0, 0],
    [1, 2],
  ] as const
  for (const [bids, asks] of levels) {
    event.bidCount = bids
    event.askCount = asks
    event.bidPrices.set([2 ** 40, 101, 102])
    event.bidQuantities.set([5, 0, 7])
    event.askPrices.set([200, 201])
    event.askQuantities.set([2 ** 33, 9])
    recorder.delta(event, 2, 1, recorder.hi, recorder.lo)
  }
  recorder.sealAll()
  const [type, ends, values] = unpack(sealed[0] as Uint8Array).columns.bid_price_mantissas
  assert.equal(type, 'Array(Int64)')
  assert.deepEqual(
    [0, 8, 16].map((offset) => viewOf(ends).getBigUint64(offset, true)),
    [3n, 3n, 4n],
  )
  assert.deepEqual(
    [0, 8, 16, 24].map((offset) => viewOf(values).getBigInt64(offset, true)),
    [2n ** 40n, 101n, 102n, 2n ** 40n],
  )
})

test('rows should come back as they went in, exact, with decimals beside mantissas', () => {
  const { recorder, sealed } = rig()
  at(recorder, NOON_NS + 5n)
  recorder.trade(
    trade({
      instrument: 1,
      eventMs: 1,
      tradeMs: 0,
      tradeId: 9,
      firstTradeId: 8,
      lastTradeId: 9,
      price: 6_180_020,
      quantity: 1_500,
      side: SIDES.sell,
      stream: TRADE_STREAMS.agg_trade,
    }),
  )
  recorder.gap({
    instrument: 0,
    channel: 1,
    cause: 2,
    status: 1,
    fromHi: 0,
    fromLo: 7,
    toHi: 0,
    toLo: 0,
    fromSeq: 3,
    toSeq: 0,
    lostCount: 0,
    detail: 'ü: 3 then 9',
  })
  recorder.sealAll()
  const [trades, gaps] = sealed.map((bytes) => [...rowsOf(decodeBlock(bytes))])
  assert.deepEqual(trades, [
    {
      table: 'trades',
      instrument: IDS[1],
      received_ns: String(NOON_NS + 5n),
      event_ns: '1000000',
      trade_ns: '0',
      stream: 'agg_trade',
      trade_id: '9',
      first_trade_id: '8',
      last_trade_id: '9',
      price_mantissa: '6180020',
      quantity_mantissa: '1500',
      price_scale: 2,
      quantity_scale: 3,
      side: 'sell',
      seq: '0',
      venue_trade_id: '',
      origin: 'stream',
      liquidation: 'none',
      price: '61800.2',
      quantity: '1.5',
    },
  ])
  assert.equal(gaps?.[0]?.['detail'], 'ü: 3 then 9')
  assert.equal(gaps?.[0]?.['cause'], 'sequence')
  assert.equal(gaps?.[0]?.['from_ns'], '7')
})

test('kinds should come back exact: numbers of any size, absent ones as null, words, times', () => {
  const { recorder, sealed } = rig()
  at(recorder, NOON_NS)
  const rows = [
    { open_interest: '2874486.99000000925', quote_open_interest: '2385812703.752047677463', event_ns: 7n },
    { open_interest: '-4.467407940520975e-5', base_open_interest: '1.0002e6' },
  ]
  for (const row of rows) assert.equal(recorder.row('open_interests', 1, row), '')
  const side = { side: 'sell', price: '0', venue_id: 'é' } as const
  assert.equal(recorder.row('liquidations', 0, side), '')
  assert.equal(recorder.row('open_interests', 1, { open_interest: 'NaN' }), 'number')
  assert.equal(recorder.row('open_interests', 1, { open_interest: '1e-39' }), 'precision')
  assert.equal(recorder.row('open_interests', 1, { open_interest: '1e40' }), 'overflow')
  assert.equal(recorder.row('liquidations', 0, { price: '1' }), 'missing_key')
  recorder.sealAll()
  const [interests, liquidations] = sealed.map((bytes) => [...rowsOf(decodeBlock(bytes))])
  const plain = (row: (typeof rows)[number]) => ({
    table: 'open_interests',
    instrument: IDS[1],
    received_ns: String(NOON_NS),
    event_ns: String(row.event_ns ?? 0n),
    open_interest: row.open_interest,
    base_open_interest: row.base_open_interest ?? null,
    quote_open_interest: row.quote_open_interest ?? null,
  })
  assert.deepEqual(interests, [
    plain(rows[0] as (typeof rows)[number]),
    {
      ...plain(rows[1] as (typeof rows)[number]),
      open_interest: '-0.00004467407940520975',
      base_open_interest: '1000200',
    },
  ])
  assert.equal(liquidations?.[0]?.['price'], '0')
  assert.equal(liquidations?.[0]?.['quantity'], null)
  assert.equal(liquidations?.[0]?.['venue_id'], 'é')
})

test('block should never span days, and list each instrument once', () => {
  const { recorder, sealed } = rig()
  const midnight = NOON_NS + 43_200n * SECOND_NS
  for (const [ns, instrument] of [
    [midnight - 1n, 0],
    [midnight - 1n, 1],
    [midnight, 0],
    [midnight + 1n, 0],
  ] as const) {
    at(recorder, ns)
    recorder.trade(trade({ instrument }))
  }
  recorder.sealAll()
  const heads = sealed.map((bytes) => blockHead(bytes))
  assert.deepEqual(
    heads.map(({ day, rows, instruments }) => [day, rows, instruments.length]),
    [
      [20240808, 2, 2],
      [20240809, 2, 1],
    ],
  )
  assert.equal(dayOf(midnight), 20240809)
})

test('block should be sealed before the row that would make it too long, and a long row alone is still a block', () => {
  const bytesMax = 4096
  const { recorder, sealed } = rig({ rowsMax: 1000, bytesMax })
  at(recorder, NOON_NS)
  const event = new DepthEvent()
  for (let index = 0; index < 40; index++) {
    event.bidCount = index === 20 ? 250 : 10
    recorder.delta(event, 2, 1, recorder.hi, recorder.lo)
  }
  recorder.sealAll()
  const heads = sealed.map((bytes) => blockHead(bytes))
  assert.equal(
    heads.reduce((sum, head) => sum + head.rows, 0),
    40,
  )
  assert.ok(sealed.length > 3)
  for (const [index, bytes] of sealed.entries())
    assert.ok(bytes.length <= bytesMax + 1500 || heads[index]?.rows === 1, `${bytes.length} bytes`)
})

test('block should be sealed by rows and by age of frame time', () => {
  const { recorder, sealed } = rig({ rowsMax: 3, bytesMax: 1 << 19 })
  at(recorder, NOON_NS)
  for (let index = 0; index < 7; index++) recorder.ticker(new TickerEvent())
  assert.deepEqual(
    sealed.map((bytes) => blockHead(bytes).rows),
    [3, 3],
  )
  const later = NOON_NS + 250_000_000n
  recorder.sealOlderThan(Number((later - 1_000_000n) >> 32n) | 0, Number((later - 1_000_000n) & 0xffffffffn) | 0, 250)
  assert.equal(sealed.length, 2)
  recorder.sealOlderThan(Number(later >> 32n) | 0, Number(later & 0xffffffffn) | 0, 250)
  assert.equal(sealed.length, 3)
})

test('columns should store milliseconds as exact nanoseconds and doubles as exact words', () => {
  const seed = 20240808
  const random = seededRandom(seed)
  const column = new ColumnBuffer({ name: 'x', type: 'Int64', meaning: 'plain', codec: '', comment: '' }, 1)
  const stored = () => new DataView(column.bytes.buffer).getBigInt64(0, true)
  for (let round = 0; round < 20_000; round++) {
    const ms = Math.floor(random() * 9e12)
    column.putMs(0, ms)
    assert.equal(stored(), BigInt(ms) * 1_000_000n, `seed ${seed}`)
    const value = Math.floor(random() * 2 ** (1 + Math.floor(random() * 53)))
    column.putNumber(0, value)
    assert.equal(stored(), BigInt(value), `seed ${seed}`)
  }
})

test('recorder should fill the columns that the schema has at those places', () => {
  const names = (table: 'trades' | 'book_deltas' | 'book_snapshots' | 'book_tickers' | 'gaps') =>
    blockColumns(tableNamed(table)).map((column) => column.name)
  assert.deepEqual(names('trades').slice(2), [
    'event_ns',
    'trade_ns',
    'stream',
    'trade_id',
    'first_trade_id',
    'last_trade_id',
    'price_mantissa',
    'quantity_mantissa',
    'price_scale',
    'quantity_scale',
    'side',
    'seq',
    'venue_trade_id',
    'origin',
    'liquidation',
  ])
  assert.deepEqual(names('book_deltas').slice(2), [
    'event_ns',
    'transaction_ns',
    'first_seq',
    'last_seq',
    'prev_seq',
    'book_epoch',
    'state',
    'bid_price_mantissas',
    'bid_quantity_mantissas',
    'ask_price_mantissas',
    'ask_quantity_mantissas',
    'price_scale',
    'quantity_scale',
  ])
  assert.deepEqual(names('book_snapshots').slice(2), [
    'event_ns',
    'kind',
    'last_seq',
    'book_epoch',
    'bid_levels',
    'ask_levels',
    'bid_price_mantissas',
    'bid_quantity_mantissas',
    'ask_price_mantissas',
    'ask_quantity_mantissas',
    'price_scale',
    'quantity_scale',
  ])
  assert.deepEqual(names('book_tickers').slice(2), [
    'event_ns',
    'transaction_ns',
    'update_id',
    'bid_price_mantissa',
    'bid_quantity_mantissa',
    'ask_price_mantissa',
    'ask_quantity_mantissa',
    'price_scale',
    'quantity_scale',
  ])
  assert.deepEqual(names('gaps').slice(2), [
    'channel',
    'cause',
    'status',
    'from_ns',
    'to_ns',
    'from_seq',
    'to_seq',
    'lost_count',
    'detail',
  ])
})
