import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { BybitParser } from '../engine/exchanges/bybit/parse.ts'
import {
  DepthEvent,
  type Emit,
  IGNORE_REASONS,
  NO_CHECKSUM,
  NO_SEQ,
  type Outcome,
  REJECT_REASONS,
  TickerEvent,
  TradeEvent,
} from '../engine/record/emit.ts'
import { GAP_CHANNELS, SIDES, TRADE_STREAMS } from '../engine/record/schema.ts'
import { SymbolTable } from '../engine/scan/symbols.ts'

const SYMBOLS = ['BTCUSDT', 'XRPUSDT']
const PRICE_SCALE = 2
const QUANTITY_SCALE = 3

/** Collects what a parser emits as plain objects. */
class Collector implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(8).fill(PRICE_SCALE)
  readonly quantityScales = new Uint8Array(8).fill(QUANTITY_SCALE)
  readonly events: Record<string, unknown>[] = []
  readonly widened: [string, number][] = []
  readonly #table = new SymbolTable()

  constructor() {
    for (const [index, symbol] of SYMBOLS.entries()) this.#table.add(symbol, index)
  }

  get symbols(): object {
    return this.#table
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.#table.find(bytes, offset, end)
  }

  learn(): number {
    return -1
  }

  /** How often the general way was taken: only it asks. */
  asked = 0

  instrumentOf(symbol: string): number {
    this.asked++
    return SYMBOLS.indexOf(symbol)
  }

  row(table: string, instrument: number, row: object): '' {
    this.events.push({ kind: table, instrument, ...row })
    return ''
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    if (scale > 15) return false
    this.widened.push([kind, scale])
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    scales[instrument] = scale
    return true
  }

  onDepth(): void {
    const { depth } = this
    const { instrument, isSnapshot, checksum, eventMs, transactionMs, firstSeq, lastSeq, prevSeq } = depth
    const side = (prices: Float64Array, quantities: Float64Array, count: number) =>
      Array.from({ length: count }, (_, index) => [prices[index], quantities[index]])
    this.events.push({
      kind: 'depth',
      instrument,
      isSnapshot,
      checksum,
      eventMs,
      transactionMs,
      firstSeq,
      lastSeq,
      prevSeq,
      bids: side(depth.bidPrices, depth.bidQuantities, depth.bidCount),
      asks: side(depth.askPrices, depth.askQuantities, depth.askCount),
    })
  }

  onTrade(): void {
    this.events.push({ kind: 'trade', ...this.trade, venueTradeId: this.trade.venueTradeId })
  }

  onTicker(): void {
    this.events.push({ kind: 'ticker', ...this.ticker })
  }
}

interface Parsed {
  readonly outcome: Outcome
  readonly events: Record<string, unknown>[]
  readonly collector: Collector
  readonly parser: BybitParser
}

/**
 * @param around bytes of other records before and behind the frame; digits are the worst neighbours for a number
 * @param before a frame that the parser has read before, so that it knows the stream
 */
function parse(text: string | Uint8Array, market = 'linear', around = '7'.repeat(256), before = ''): Parsed {
  const frame = typeof text === 'string' ? new TextEncoder().encode(text) : text
  const edge = new TextEncoder().encode(around)
  const bytes = new Uint8Array(new SharedArrayBuffer(frame.length + 2 * edge.length))
  bytes.set(edge, 0)
  bytes.set(frame, edge.length)
  bytes.set(edge, edge.length + frame.length)
  const collector = new Collector()
  const parser = new BybitParser(collector, market)
  if (before !== '') {
    parser.parse(new TextEncoder().encode(before.padEnd(before.length + 256)), 0, before.length)
    collector.events.length = 0
    collector.asked = 0
  }
  const outcome = parser.parse(bytes, edge.length, frame.length)
  return { outcome, events: collector.events, collector, parser }
}

const DELTA =
  '{"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1700000000123,"data":{"s":"BTCUSDT","b":[["27450.10","0.4"],["27449.00","0"]],"a":[["27451.00","12.125"]],"u":123456790,"seq":987654322},"cts":1700000000120}'
const SPOT_SNAPSHOT =
  '{"topic":"orderbook.50.BTCUSDT","ts":1700000000345,"type":"snapshot","data":{"s":"BTCUSDT","b":[["75848.62","0.014"]],"a":[],"u":2876701,"seq":47474967823},"cts":1700000000342}'
const OLD_DELTA =
  '{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1700000000123,"data":{"s":"BTCUSDT","b":[],"a":[["27451","1"]],"u":5,"seq":6}}'
const TOP =
  '{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1700000000500,"data":{"s":"BTCUSDT","b":[["27450.00","0.500"]],"a":[["27451.00","0.750"]],"u":123456789,"seq":987654321},"cts":1700000000499}'
const TRADES =
  '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1700000000868,"data":[{"T":1700000000865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617},{"T":1700000000866,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578.4","L":"ZeroMinusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023b0","BT":true,"RPI":true}]}'
const SPOT_TRADES =
  '{"topic":"publicTrade.BTCUSDT","ts":1700000000724,"type":"snapshot","data":[{"i":"2100000000188691524","T":1700000000688,"p":"77140.5","v":"0.003","S":"Sell","seq":2189232173,"s":"BTCUSDT","BT":false,"RPI":false},{"i":"9007199254740991","T":1700000000689,"p":"77140.6","v":"1","S":"Buy","s":"BTCUSDT","BT":false}]}'
const HOT = { DELTA, SPOT_SNAPSHOT, OLD_DELTA, TOP, TRADES, SPOT_TRADES }

const KLINE =
  '{"topic":"kline.60.BTCUSDT","data":[{"start":1700000000000,"end":1700003599999,"interval":"60","open":"16649.5","close":"16677","high":"16678","low":"16608","volume":"2.081","turnover":"34666.40050000001","confirm":true,"timestamp":1700003599998}],"ts":1700003600012,"type":"snapshot"}'
const TICKER =
  '{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"PlusTick","price24hPcnt":"-0.017103","lastPrice":"17216.00","prevPrice24h":"16926.50","highPrice24h":"17281.50","lowPrice24h":"16915.00","prevPrice1h":"17238.00","markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761","openInterestValue":"1183601235.91","turnover24h":"1570383121.943499123456789","volume24h":"91705.276","nextFundingTime":"1673280000000","fundingRate":"-0.000212","bid1Price":"17215.50","bid1Size":"84.489","ask1Price":"17216.00","ask1Size":"83.020","fundingIntervalHour":"8","fundingCap":"0.005","predictedDeliveryPrice":""},"cs":24987956059,"ts":1673272861686}'
const LIQUIDATION =
  '{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1700000001482,"data":[{"T":1700000000992,"s":"BTCUSDT","S":"Buy","v":"0.006","p":"82396.90"},{"T":1700000001058,"s":"XRPUSDT","S":"Sell","v":"38","p":"2.5"}]}'
const RARE = { KLINE, TICKER, LIQUIDATION }

test('parser should read a delta: engine time, one number, levels as mantissas', () => {
  const { outcome, events } = parse(DELTA)
  assert.equal(outcome, '')
  assert.deepEqual(events, [
    {
      kind: 'depth',
      instrument: 0,
      isSnapshot: false,
      checksum: NO_CHECKSUM,
      eventMs: 1700000000123,
      transactionMs: 1700000000120,
      firstSeq: 123456790,
      lastSeq: 123456790,
      prevSeq: 0,
      bids: [
        [2745010, 400],
        [2744900, 0],
      ],
      asks: [[2745100, 12125]],
    },
  ])
})

test('parser should read a snapshot of spot, whose keys come in another order, and a side without levels', () => {
  const [event] = parse(SPOT_SNAPSHOT, 'spot').events
  assert.deepEqual([event?.['isSnapshot'], event?.['bids'], event?.['asks']], [true, [[7584862, 14]], []])
})

test('parser should take the time of sending where the engine sends none', () => {
  const [event] = parse(OLD_DELTA).events
  assert.deepEqual([event?.['eventMs'], event?.['transactionMs']], [1700000000123, 1700000000123])
})

test('parser should take a delta with u = 1 for a snapshot', () => {
  assert.equal(parse(OLD_DELTA.replace('"u":5', '"u":1')).events[0]?.['isSnapshot'], true)
})

test('parser should read the top of book, and refuse a change of it', () => {
  assert.deepEqual(parse(TOP).events, [
    {
      kind: 'ticker',
      instrument: 0,
      eventMs: 1700000000500,
      transactionMs: 1700000000499,
      updateId: 123456789,
      bidPrice: 2745000,
      bidQuantity: 500,
      askPrice: 2745100,
      askQuantity: 750,
    },
  ])
  const { outcome, events, parser } = parse(TOP.replace('snapshot', 'delta'))
  assert.deepEqual([outcome, events], ['unknown_event', []])
  assert.deepEqual(parser.blamed, { instrument: 0, channel: GAP_CHANNELS.book_tickers })
})

test('parser should read trades of derivatives and of spot, ids beyond 2^53 as text', () => {
  const base = {
    kind: 'trade',
    instrument: 0,
    stream: TRADE_STREAMS.trade,
    firstSeq: NO_SEQ,
    lastSeq: NO_SEQ,
    isFiltered: false,
    liquidation: 0,
  }
  const text = (venueTradeId: string) => ({ tradeId: 0, firstTradeId: 0, lastTradeId: 0, venueTradeId })
  const id = 2 ** 53 - 1
  assert.deepEqual(parse(TRADES).events, [
    {
      ...base,
      eventMs: 1700000000868,
      tradeMs: 1700000000865,
      price: 1657850,
      quantity: 1,
      side: SIDES.buy,
      ...text('20f43950-d8dd-5b31-9112-a178eb6023af'),
    },
    {
      ...base,
      eventMs: 1700000000868,
      tradeMs: 1700000000866,
      price: 1657840,
      quantity: 2000,
      side: SIDES.sell,
      ...text('20f43950-d8dd-5b31-9112-a178eb6023b0'),
    },
  ])
  assert.deepEqual(parse(SPOT_TRADES, 'spot').events, [
    {
      ...base,
      eventMs: 1700000000724,
      tradeMs: 1700000000688,
      price: 7714050,
      quantity: 3,
      side: SIDES.sell,
      ...text('2100000000188691524'),
    },
    {
      ...base,
      eventMs: 1700000000724,
      tradeMs: 1700000000689,
      price: 7714060,
      quantity: 1000,
      side: SIDES.buy,
      tradeId: id,
      firstTradeId: id,
      lastTradeId: id,
      venueTradeId: '',
    },
  ])
})

test('parser should read a frame of 1,024 trades, and emit none of one whose last is broken', () => {
  const one =
    '{"T":1700000000865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"ID","BT":false}'
  const frame = (last: string) =>
    `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[${[...Array.from({ length: 1023 }, (_, index) => one.replace('ID', `a-${index}`)), last].join(',')}]}`
  const { outcome, events } = parse(frame(one))
  assert.deepEqual([outcome, events.length, events[1022]?.['venueTradeId']], ['', 1024, 'a-1022'])
  const broken = parse(frame(one.replace('16578.50', '1657x')))
  assert.deepEqual([broken.outcome, broken.events.length], ['number', 0])
})

test('parser should widen an instrument whose numbers have more digits, and read on', () => {
  const { outcome, events, collector } = parse(DELTA.replace('27450.10', '27450.1234').replace('12.125', '12.12505'))
  assert.equal(outcome, '')
  assert.deepEqual(collector.widened, [
    ['price', 4],
    ['quantity', 5],
  ])
  assert.deepEqual(events[0]?.['bids'], [
    [274501234, 40000],
    [274490000, 0],
  ])
})

test('parser should read exponents, and refuse what is beyond 2^53 or negative', () => {
  assert.deepEqual(parse(DELTA.replace('27450.10', '2.74501e4')).events[0]?.['bids'], [
    [2745010, 400],
    [2744900, 0],
  ])
  assert.equal(parse(DELTA.replace('27450.10', '90071992547409.93')).outcome, 'overflow')
  assert.equal(parse(DELTA.replace('27450.10', '-1')).outcome, 'number')
})

test('parser should give a bar a row when it is closed', () => {
  assert.deepEqual(parse(KLINE).events, [
    {
      kind: 'klines',
      instrument: 0,
      event_ns: 1700003600012000000n,
      interval: '1h',
      open_ns: 1700000000000000000n,
      close_ns: 1700003599999000000n,
      open: '16649.5',
      high: '16678',
      low: '16608',
      close: '16677',
      volume: '2.081',
      quote_volume: '34666.40050000001',
    },
  ])
  assert.equal(parse(KLINE.replace('true', 'false')).outcome, 'open_kline')
  const [inverse] = parse(KLINE, 'inverse').events
  assert.deepEqual([inverse?.['base_volume'], inverse?.['quote_volume']], ['34666.40050000001', undefined])
})

test('parser should give a ticker a row in every table it speaks of, numbers as the venue wrote them', () => {
  const event_ns = 1673272861686000000n
  assert.deepEqual(parse(TICKER).events, [
    {
      kind: 'tickers',
      instrument: 0,
      event_ns,
      last_price: '17216.00',
      open_price: '16926.50',
      high_price: '17281.50',
      low_price: '16915.00',
      volume: '91705.276',
      bid_price: '17215.50',
      bid_quantity: '84.489',
      ask_price: '17216.00',
      ask_quantity: '83.020',
      price_change_percent: '-0.017103e2',
      quote_volume: '1570383121.943499123456789',
    },
    { kind: 'mark_prices', instrument: 0, event_ns, mark_price: '17217.33', settle_price: null },
    { kind: 'index_prices', instrument: 0, event_ns, index_price: '17227.36' },
    {
      kind: 'funding_rates',
      instrument: 0,
      event_ns,
      funding_ns: 1673280000000000000n,
      funding_rate: '-0.000212',
      interval_hours: '8',
      rate_max: '0.005',
    },
    {
      kind: 'open_interests',
      instrument: 0,
      event_ns,
      open_interest: '68744.761',
      quote_open_interest: '1183601235.91',
    },
  ])
})

test('parser should take a key that a delta of a ticker does not have for unchanged', () => {
  const delta = (data: object) =>
    JSON.stringify({
      topic: 'tickers.BTCUSDT',
      type: 'delta',
      data: { symbol: 'BTCUSDT', ...data },
      cs: 1,
      ts: 1700000000000,
    })
  assert.deepEqual(
    parse(delta({ markPrice: '17217.34' })).events.map((row) => row['kind']),
    ['mark_prices'],
  )
  const [top] = parse(delta({ bid1Price: '1.5', bid1Size: '2' })).events
  assert.deepEqual([top?.['bid_price'], top?.['ask_price'], top?.['last_price']], ['1.5', null, null])
  assert.deepEqual(
    parse(delta({ nextFundingTime: '1700006400000' })).events.map((row) => row['funding_ns']),
    [1700006400000000000n],
  )
  assert.equal(parse(delta({ tickDirection: 'PlusTick' })).outcome, 'unchanged')
  const value = parse(delta({ openInterest: '240113967', openInterestValue: '2089.79' }), 'inverse').events
  assert.deepEqual(
    value.map((row) => row['base_open_interest']),
    ['2089.79'],
  )
})

test('parser should turn the side of a liquidated position into the side of the closing order', () => {
  assert.deepEqual(parse(LIQUIDATION).events, [
    {
      kind: 'liquidations',
      instrument: 0,
      event_ns: 1700000001482000000n,
      liquidation_ns: 1700000000992000000n,
      side: 'sell',
      price: '82396.90',
      quantity: '0.006',
    },
    {
      kind: 'liquidations',
      instrument: 1,
      event_ns: 1700000001482000000n,
      liquidation_ns: 1700000001058000000n,
      side: 'buy',
      price: '2.5',
      quantity: '38',
    },
  ])
})

test('parser should read a ratio poll oldest first, and only what was not in an answer before', () => {
  const collector = new Collector()
  const parser = new BybitParser(collector, 'linear')
  const poll = (name: string, times: number[]) => {
    const list = times.map((time) => ({
      symbol: 'BTCUSDT',
      buyRatio: '0.49',
      sellRatio: '0.51',
      timestamp: String(time),
    }))
    const body = new TextEncoder().encode(
      JSON.stringify({ retCode: 0, retMsg: 'OK', result: { list, nextPageCursor: '' }, time: 1 }),
    )
    return parser.parsePoll(name, body, 0, body.length, 1)
  }
  assert.equal(poll('account_ratio_5m', [1700000300000, 1700000000000]), '')
  assert.equal(poll('account_ratio_5m', [1700000300000, 1700000000000]), 'unchanged')
  assert.equal(poll('account_ratio_5m', [1700000600000, 1700000300000]), '')
  assert.deepEqual(collector.events[0], {
    kind: 'long_short_ratios',
    instrument: 1,
    event_ns: 1700000000000000000n,
    scope: 'all_accounts',
    period: '5m',
    long_share: '0.49',
    short_share: '0.51',
  })
  assert.deepEqual(
    collector.events.map((row) => row['event_ns']),
    [1700000000000000000n, 1700000300000000000n, 1700000600000000000n],
  )
  assert.equal(poll('account_ratio_7m', [1]), 'unknown_event')
  const refused = new TextEncoder().encode('{"retCode":10001,"retMsg":"params error","result":{}}')
  assert.equal(parser.parsePoll('account_ratio_5m', refused, 0, refused.length, 1), 'unknown_event')
})

test('parser should blame the instrument and channel of the topic', () => {
  const blamed = (text: string) => parse(text).parser.blamed
  assert.deepEqual(blamed(DELTA.slice(0, 90)), { instrument: 0, channel: GAP_CHANNELS.book })
  assert.deepEqual(blamed(TRADES.replace('"Buy"', '"Buys"')), { instrument: 0, channel: GAP_CHANNELS.trades })
  assert.deepEqual(blamed(TICKER.slice(0, 200)), { instrument: 0, channel: GAP_CHANNELS.tickers })
  assert.deepEqual(blamed(KLINE.slice(0, 100)), { instrument: 0, channel: GAP_CHANNELS.klines })
  assert.deepEqual(blamed(LIQUIDATION.slice(0, 100)), { instrument: 0, channel: GAP_CHANNELS.liquidations })
  assert.deepEqual(blamed(DELTA.replaceAll('BTCUSDT', 'ABCUSDT')), { instrument: -1, channel: GAP_CHANNELS.book })
})

test('parser should name the reason of a refusal', () => {
  const reasons: [string, Outcome][] = [
    ['', 'empty'],
    [DELTA.slice(0, -1), 'truncated'],
    [DELTA.replace('"u":', '"v":'), 'missing_key'],
    [DELTA.replace('"u":123456790', '"u":1.5'), 'type'],
    [DELTA.replace('"u":123456790', '"u":9007199254740993'), 'overflow'],
    [DELTA.replace('"type":"delta"', '"type":"other"'), 'type'],
    [DELTA.replace('[["27450.10","0.4"],', '[7,'), 'type'],
    [DELTA.replaceAll('BTCUSDT', 'ABCUSDT'), 'unknown_symbol'],
    [TRADES.replace('"s":"BTCUSDT","S":"Sell"', '"s":"XRPUSDT","S":"Sell"'), 'unknown_symbol'],
    [DELTA.replace('orderbook', 'liquidation'), 'unknown_event'],
    [DELTA.replace('}', '}}'), 'syntax'],
    ['{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}', 'control'],
    ['[]', 'type'],
    ['[', 'truncated'],
    ['{]}', 'syntax'],
    ['{}', 'unknown_event'],
    ['{"topic":null}', 'type'],
  ]
  for (const [text, reason] of reasons) assert.equal(parse(text).outcome, reason, text)
})

function below(random: Random, bound: number): number {
  return Math.floor(random() * bound)
}

/** The same JSON with its keys in another order and blanks between. */
function shuffled(text: string, random: Random): string {
  const shuffle = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffle)
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([key, inner]) => [key, shuffle(inner)] as const)
    return Object.fromEntries(
      entries
        .map((entry) => [random(), entry] as const)
        .sort(([a], [b]) => a - b)
        .map(([, entry]) => entry),
    )
  }
  return JSON.stringify(shuffle(JSON.parse(text)), undefined, 1)
}

test('parser should give the same events whatever the order of keys', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (const [name, text] of Object.entries({ ...HOT, ...RARE })) {
    const expected = parse(text)
    assert.equal(expected.outcome, '', name)
    for (let round = 0; round < 20; round++) {
      const other = shuffled(text, random)
      assert.deepEqual(parse(other).events, expected.events, `${name}, seed ${seed}: ${other}`)
    }
  }
})

test('parser should read each hot frame the fast way, and one with a blank the general way', () => {
  for (const [name, text] of Object.entries(HOT)) {
    assert.equal(parse(text).collector.asked, 0, name)
    assert.ok(parse(`${text}\r`).collector.asked > 0, name)
  }
})

test('parser should read the same frame at the very end of its memory', () => {
  for (const text of Object.values(HOT)) assert.deepEqual(parse(text, 'linear', '').events, parse(text).events)
})

/** One change of a frame. */
function mutated(text: string, random: Random): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  const at = below(random, bytes.length)
  switch (below(random, 6)) {
    case 0:
      return bytes.slice(0, at)
    case 1:
      bytes[at] = (bytes[at] as number) ^ (1 << below(random, 8))
      return bytes
    case 2:
      bytes[at] = '{}[]",:0-9eE.'.charCodeAt(below(random, 13))
      return bytes
    case 3: // a piece is missing
      return Uint8Array.from([
        ...bytes.slice(0, at),
        ...bytes.slice(Math.min(bytes.length, at + 1 + below(random, 40))),
      ])
    case 4: // a piece comes twice
      return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(Math.max(0, at - below(random, 40)))])
    default: {
      const types = ['null', '7', '"x"', '[]', '{}', 'true', '-1', '1e400', '""']
      const values = [...text.matchAll(/:("[^"]*"|\d+|true|false)/g)]
      const value = values[below(random, values.length)] as RegExpMatchArray
      const start = (value.index as number) + 1
      const length = (value[1] as string).length
      return new TextEncoder().encode(
        text.slice(0, start) + types[below(random, types.length)] + text.slice(start + length),
      )
    }
  }
}

test('parser should answer every mutation with an outcome, and emit nothing hot from what it refuses', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  const words = new Set<string>(['', ...IGNORE_REASONS, ...REJECT_REASONS])
  const frames = Object.values({ ...HOT, ...RARE })
  let refused = 0
  for (let round = 0; round < 20_000; round++) {
    const text = frames[round % frames.length] as string
    const frame = mutated(text, random)
    // what is left of a frame before may stand behind it: here the rest of the very same frame, the worst of all
    const around = round % 3 === 0 ? text.slice(Math.max(0, frame.length - 1)).padEnd(8, '}') : '7'.repeat(64)
    const { outcome, events } = parse(frame, 'linear', around, round % 2 === 0 ? text : '')
    const hint = `seed ${seed}, round ${round}: ${Buffer.from(frame).toString()}`
    assert.ok(words.has(outcome), hint)
    if (outcome === '') {
      for (const event of events)
        for (const value of Object.values(event))
          if (typeof value === 'number') assert.ok(Number.isSafeInteger(value), hint)
      continue
    }
    refused++
    assert.ok(!events.some(({ kind }) => kind === 'depth' || kind === 'trade' || kind === 'ticker'), hint)
  }
  assert.ok(refused > 5_000, `seed ${seed}: only ${refused} of 20,000 mutations were refused`)
})

test('parser should never accept a cut frame', () => {
  for (const text of Object.values(HOT)) {
    for (let length = 0; length < text.length; length++) {
      for (const before of ['', text]) {
        // behind the cut stands the rest, as in a ring that held the whole frame before
        const { outcome, events } = parse(text.slice(0, length), 'linear', text.slice(length).padEnd(256, ' '), before)
        assert.notEqual(outcome, '', text.slice(0, length))
        assert.deepEqual(events, [])
      }
    }
  }
})

test('parser should read each frame as it is, whatever frame of whatever stream came before it', () => {
  const other = Object.values(HOT).map((text) => text.replaceAll('BTCUSDT', 'ETHUSDT'))
  const changed = Object.values(HOT).map((text) => text.replace('"type":"delta"', '"type":"snapshot"'))
  for (const before of [...Object.values(HOT), ...other, ...changed]) {
    for (const text of [...Object.values(HOT), ...changed]) {
      const { outcome, events, collector } = parse(text, 'linear', '7'.repeat(256), before)
      const alone = parse(text)
      assert.deepEqual([outcome, events, collector.asked], ['', alone.events, alone.collector.asked], before + text)
    }
    // a head that names one symbol, and a body that names another
    const mixed = before.replace('BTCUSDT', 'ETHUSDT')
    const { outcome, events } = parse(mixed, 'linear', '7'.repeat(256), before)
    assert.deepEqual([outcome, events], [parse(mixed).outcome, parse(mixed).events])
  }
})
