import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Unpackr } from 'msgpackr'
import { LIVE_COLUMNS, publicColumns, publicRow, type LiveRow, type PublicColumn } from '../engine/record/rows.ts'
import type { OpenBlock } from '../engine/record/block.ts'
import { DepthEvent, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import { LiveRows } from '../engine/record/live.ts'
import { Recorder } from '../engine/record/recorder.ts'
import { BOOK_STATES, SIDES, TABLES, TRADE_STREAMS, tableNamed } from '../engine/record/schema.ts'

const NOON_NS = 1_723_118_400_123_456_789n

interface LiveMessage {
  readonly type: string
  readonly rows: readonly LiveRow[]
}

/** Rows through the engine's own encoder, read back by plain msgpackr. */
function liveMessages(fill: (recorder: Recorder) => void, int64AsType: 'string' | 'bigint' | 'number'): LiveMessage[] {
  const messages: LiveMessage[] = []
  const unpackr = new Unpackr({ useRecords: false, int64AsType })
  const lives: LiveRows[] = []
  const output = {
    send: (
      _subject: Uint8Array,
      _hi: number,
      _lo: number,
      encode: (bytes: Uint8Array, at: number) => number,
      max: number,
    ) => {
      const bytes = new Uint8Array(max)
      messages.push(unpackr.unpack(bytes.subarray(0, encode(bytes, 0))) as LiveMessage)
      return true
    },
  }
  const nameOf = () => ({ exchange: 'binance', market: 'usdm', symbol: 'BTCUSDT' })
  const recorder = new Recorder(
    { producer: 'collector-1', exchange: 'binance', rowsMax: 100, bytesMax: 1 << 19 },
    () => 'binance.usdm.BTCUSDT',
    new Uint8Array(1).fill(8),
    new Uint8Array(1).fill(3),
    () => {},
    undefined,
    (block: OpenBlock) => {
      if (block.table.liveType !== null) lives.push(new LiveRows(block, 'run', nameOf, output))
    },
  )
  recorder.time.hi = Number(NOON_NS >> 32n) | 0
  recorder.time.lo = Number(NOON_NS & 0xffffffffn) | 0
  fill(recorder)
  for (const live of lives) live.flush()
  return messages
}

function shown(message: LiveMessage | undefined) {
  const columns = LIVE_COLUMNS.get(message?.type as string) as readonly PublicColumn[]
  return message?.rows.map((row) => publicRow(columns, row))
}

for (const int64AsType of ['string', 'bigint', 'number'] as const) {
  const digits = int64AsType === 'number' // what a double cannot hold is lost before rows.ts sees it
  test(`rows should be exact text of what the engine sent, integers read as ${int64AsType}`, () => {
    const trade = Object.assign(new TradeEvent(), {
      stream: TRADE_STREAMS.agg_trade,
      eventMs: 1_723_118_400_122,
      tradeMs: 1_723_118_400_121,
      tradeId: 2 ** 52 + 1,
      firstTradeId: 7,
      lastTradeId: 9,
      price: 6_180_020_000_000,
      quantity: 1_500,
      side: SIDES.sell,
      lastSeq: 44,
    })
    const [message] = liveMessages((recorder) => recorder.trade(trade), int64AsType)
    assert.deepEqual(shown(message), [
      {
        received_ns: digits ? String(Number(NOON_NS)) : String(NOON_NS),
        event_ns: '1723118400122000000',
        trade_ns: '1723118400121000000',
        stream: 'agg_trade',
        trade_id: 4_503_599_627_370_497,
        first_trade_id: 7,
        last_trade_id: 9,
        price: '61800.2',
        quantity: '1.5',
        side: 'sell',
        seq: 44,
        venue_trade_id: '',
        origin: 'stream',
        liquidation: 'none',
      },
    ])
  })
}

test('rows of books should have levels as pairs of text, in the order of the message', () => {
  const depth = new DepthEvent()
  Object.assign(depth, { firstSeq: 5, lastSeq: 6, prevSeq: 4, bidCount: 2, askCount: 1 })
  depth.bidPrices.set([1, 100_000_000])
  depth.bidQuantities.set([0, 12_345])
  depth.askPrices.set([9_007_199_254_740_991])
  depth.askQuantities.set([1])
  const [message] = liveMessages(
    (recorder) => recorder.delta(depth, BOOK_STATES.LIVE, 3, recorder.hi, recorder.lo),
    'string',
  )
  const [row] = shown(message) ?? []
  assert.deepEqual(
    [row?.['bids'], row?.['asks']],
    [
      [
        ['0.00000001', '0'],
        ['1', '12.345'],
      ],
      [['90071992.54740991', '0.001']],
    ],
  )
  assert.deepEqual([row?.['state'], row?.['book_epoch'], row?.['first_seq'], row?.['last_seq']], ['LIVE', 3, 5, 6])
})

test('rows of quotes and of kind tables should be exact, and NULL where the venue says nothing', () => {
  const ticker = Object.assign(new TickerEvent(), { updateId: 3, bidPrice: 10, askPrice: 20, askQuantity: 1_000 })
  const messages = liveMessages((recorder) => {
    recorder.ticker(ticker)
    recorder.row('funding_rates', 0, { event_ns: 5n, funding_rate: '-1.5e-5', interval_hours: '8' })
    recorder.row('klines', 0, { interval: '1m', open_ns: NOON_NS, open: '123456789012345678901234.5' })
  }, 'string')
  const [quote] = shown(messages[0]) ?? []
  assert.deepEqual(
    [
      quote?.['bid_price'],
      quote?.['bid_quantity'],
      quote?.['ask_price'],
      quote?.['ask_quantity'],
      quote?.['update_id'],
    ],
    ['0.0000001', '0', '0.0000002', '1', 3],
  )
  const [funding] = shown(messages[1]) ?? []
  assert.deepEqual(
    [funding?.['event_ns'], funding?.['funding_rate'], funding?.['premium'], funding?.['interval_hours']],
    ['5', '-0.000015', null, '8'],
  )
  const [kline] = shown(messages[2]) ?? []
  assert.deepEqual(
    [kline?.['interval'], kline?.['open_ns'], kline?.['open'], kline?.['close']],
    ['1m', String(NOON_NS), '123456789012345678901234.5', null],
  )
})

test('public columns should hold every stored column of every table, and no mantissa or scale', () => {
  for (const table of TABLES) {
    const names = publicColumns(table).map(({ name }) => name)
    assert.equal(new Set(names).size, names.length, table.name)
    assert.ok(!names.some((name) => /mantissa|scale|^(instrument|exchange|market|symbol)$/.test(name)), table.name)
    const kept = table.columns.filter(({ name }) => !/mantissa|_scale$/.test(name)).map(({ name }) => name)
    assert.deepEqual(
      names.filter((name) => kept.includes(name)),
      kept,
      `${table.name} in the order of the schema`,
    )
  }
  assert.deepEqual(
    publicColumns(tableNamed('book_tickers')).map(({ name }) => name),
    [
      'received_ns',
      'event_ns',
      'transaction_ns',
      'update_id',
      'bid_price',
      'bid_quantity',
      'ask_price',
      'ask_quantity',
    ],
  )
})
