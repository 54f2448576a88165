import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import type { Random } from '../engine/base/random.ts'
import { BinanceParser } from '../engine/exchanges/binance/parse.ts'
import { DepthEvent, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import type { Emit, Outcome } from '../engine/record/emit.ts'
import { GAP_CHANNELS, SIDES, TRADE_STREAMS } from '../engine/record/schema.ts'
import { DEPTH_MAX } from '../engine/scan/json.ts'
import { SymbolTable } from '../engine/scan/symbols.ts'

const PRICE_SCALE = 2
const QUANTITY_SCALE = 3
const SYMBOLS = ['BTCUSDT', 'ETHUSDT', 'BTCUSD_PERP']

/** Collects what a parser emits as plain objects. */
class Collector implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(8).fill(PRICE_SCALE)
  readonly quantityScales = new Uint8Array(8).fill(QUANTITY_SCALE)
  readonly events: object[] = []
  widened: [string, number][] = []
  widenTo = 15
  finds = 0
  readonly #table = new SymbolTable()

  constructor() {
    for (const [index, symbol] of SYMBOLS.entries()) this.#table.add(symbol, index)
  }

  get symbols(): object {
    return this.#table
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    this.finds++
    return this.#table.find(bytes, offset, end)
  }

  learn(): number {
    return -1
  }

  instrumentOf(symbol: string): number {
    return SYMBOLS.indexOf(symbol)
  }

  row(): '' {
    throw new Error('no rare kind here')
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    if (scale > this.widenTo) return false
    this.widened.push([kind, scale])
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    scales[instrument] = scale
    return true
  }

  onDepth(): void {
    const { depth } = this
    const side = (prices: Float64Array, quantities: Float64Array, count: number) =>
      Array.from({ length: count }, (_, index) => [prices[index], quantities[index]])
    const { instrument, eventMs, transactionMs, firstSeq, lastSeq, prevSeq } = depth
    this.events.push({
      kind: 'depth',
      instrument,
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

class Rig {
  readonly collector = new Collector()
  readonly parser = new BinanceParser(this.collector, 'usdm')

  /** As new, but the parser has seen the streams before. */
  again(): this {
    this.collector.events.length = 0
    this.collector.widened.length = 0
    this.collector.priceScales.fill(PRICE_SCALE)
    this.collector.quantityScales.fill(QUANTITY_SCALE)
    return this
  }
}

function parse(
  text: string | Uint8Array,
  padBefore = 0,
  { collector, parser } = new Rig(),
  padBehind = 64,
): { outcome: Outcome; events: object[]; collector: Collector; parser: BinanceParser } {
  const frame = typeof text === 'string' ? new TextEncoder().encode(text) : text
  // A ring: other records before and behind the frame, here all of them digits, the worst neighbours for a number.
  const bytes = new Uint8Array(padBefore + frame.length + padBehind).fill(57)
  bytes.set(frame, padBefore)
  const outcome = parser.parse(bytes, padBefore, frame.length)
  return { outcome, events: collector.events, collector, parser }
}

// ---- the oracle: JSON.parse and BigInt

const PUBLIC_MATCHES = new Set(['MARKET', 'RPI'])

function scaled(text: unknown, scale: number): number | null {
  const match = typeof text === 'string' ? /^(\d+)(?:\.(\d+))?$/.exec(text) : null
  if (match === null) return null
  const fraction = (match[2] ?? '').replace(/0+$/, '')
  if (fraction.length > scale) return null
  const value = BigInt(match[1] + fraction.padEnd(scale, '0'))
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null
}

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** What JSON.parse makes of a frame: its event, or null when there is none to be made. */
function oracle(text: string): object | null {
  let frame: Record<string, unknown>
  try {
    frame = JSON.parse(text)
  } catch {
    return null
  }
  const data = ((frame !== null && typeof frame === 'object' && 'data' in frame ? frame['data'] : frame) ??
    {}) as Record<string, unknown>
  if (typeof data !== 'object') return null
  const instrument = SYMBOLS.indexOf(data['s'] as string)
  if (instrument < 0) return null
  const price = (key: string) => scaled(data[key], PRICE_SCALE)
  const quantity = (key: string) => scaled(data[key], QUANTITY_SCALE)
  const kind = data['e'] ?? 'bookTicker'
  const whole = (object: Record<string, unknown>) =>
    Object.values(object).some((value) => value === null || value === undefined) ? null : object
  const id = (key: string, fallback?: number) =>
    key in data ? (isId(data[key]) ? (data[key] as number) : null) : (fallback ?? null)
  if (kind === 'depthUpdate') {
    const levels = (key: string) => {
      const list = data[key]
      if (!Array.isArray(list)) return null
      const pairs = list.map((level) =>
        Array.isArray(level) ? [scaled(level[0], PRICE_SCALE), scaled(level[1], QUANTITY_SCALE)] : [null, null],
      )
      return pairs.flat().includes(null) ? null : pairs
    }
    return whole({
      kind: 'depth',
      instrument,
      eventMs: id('E'),
      transactionMs: id('T', data['E'] as number),
      firstSeq: id('U'),
      lastSeq: id('u'),
      prevSeq: id('pu', 0),
      bids: levels('b'),
      asks: levels('a'),
    })
  }
  if (kind === 'bookTicker')
    return whole({
      kind: 'ticker',
      instrument,
      eventMs: id('E', 0),
      transactionMs: id('T', 0),
      updateId: id('u'),
      bidPrice: price('b'),
      bidQuantity: quantity('B'),
      askPrice: price('a'),
      askQuantity: quantity('A'),
    })
  if (kind !== 'trade' && kind !== 'aggTrade') return null
  const isAggregate = kind === 'aggTrade'
  const tradeId = id(isAggregate ? 'a' : 't')
  return whole({
    kind: 'trade',
    instrument,
    stream: isAggregate ? TRADE_STREAMS.agg_trade : TRADE_STREAMS.trade,
    eventMs: id('E'),
    tradeMs: id('T'),
    tradeId,
    firstTradeId: isAggregate ? id('f') : tradeId,
    lastTradeId: isAggregate ? id('l') : tradeId,
    price: price('p'),
    quantity: quantity('q'),
    firstSeq: tradeId,
    lastSeq: tradeId,
    venueTradeId: '',
    liquidation: 0,
    side: typeof data['m'] === 'boolean' ? (data['m'] ? SIDES.sell : SIDES.buy) : null,
    isFiltered: 'X' in data ? (typeof data['X'] === 'string' ? !PUBLIC_MATCHES.has(data['X']) : null) : false,
  })
}

// ---- frames as the venue sends them

function frameOf(random: Random): { text: string; object: Record<string, unknown> } {
  const ms = 1_723_161_256_000 + Math.floor(random() * 1e6)
  const id = Math.floor(random() * 6e12)
  const price = () => (random() * 10 ** Math.floor(random() * 7)).toFixed(2) + (random() < 0.3 ? '000000' : '')
  const quantity = () => (random() < 0.3 ? '0.000' : (random() * 1000).toFixed(3))
  const levels = () => Array.from({ length: Math.floor(random() * 8) }, () => [price(), quantity()])
  const symbol = SYMBOLS[Math.floor(random() * SYMBOLS.length)] as string
  const market = Math.floor(random() * 3)
  // Since 2026-06-30 both futures markets name the pair and end with the type of the symbol.
  const isRecent = market > 0 && random() < 0.5
  const pair = market === 2 ? { ps: 'BTCUSD' } : isRecent ? { ps: 'BTCUSDT' } : {}
  const type = isRecent ? { st: market } : {}
  const shapes: (() => Record<string, unknown>)[] = [
    () =>
      market === 0
        ? { e: 'depthUpdate', E: ms, s: symbol, U: id, u: id + 5, b: levels(), a: levels() }
        : {
            e: 'depthUpdate',
            E: ms + 1,
            T: ms,
            s: symbol,
            ...pair,
            U: id,
            u: id + 9,
            pu: id - 1,
            b: levels(),
            a: levels(),
            ...type,
          },
    () =>
      market === 0
        ? { u: id, s: symbol, b: price(), B: quantity(), a: price(), A: quantity() }
        : market === 1 || isRecent
          ? {
              e: 'bookTicker',
              u: id,
              s: symbol,
              ...pair,
              b: price(),
              B: quantity(),
              a: price(),
              A: quantity(),
              T: ms,
              E: ms + 1,
              ...type,
            }
          : {
              u: id,
              e: 'bookTicker',
              s: symbol,
              ...pair,
              b: price(),
              B: quantity(),
              a: price(),
              A: quantity(),
              T: ms,
              E: ms,
            },
    () =>
      market === 0
        ? {
            e: 'trade',
            E: ms,
            s: symbol,
            t: id,
            p: price(),
            q: quantity(),
            ...(random() < 0.5 ? { b: 1, a: 2 } : {}),
            T: ms,
            m: random() < 0.5,
            M: true,
          }
        : {
            e: 'trade',
            E: ms,
            T: ms,
            s: symbol,
            t: id,
            p: price(),
            q: quantity(),
            X: random() < 0.7 ? 'MARKET' : 'RPI',
            m: random() < 0.5,
            ...type,
          },
    () =>
      market === 0
        ? {
            e: 'aggTrade',
            E: ms,
            s: symbol,
            a: id,
            p: price(),
            q: quantity(),
            f: id,
            l: id + 1,
            T: ms,
            m: true,
            M: true,
          }
        : {
            e: 'aggTrade',
            E: ms,
            a: id,
            s: symbol,
            p: price(),
            q: quantity(),
            ...(random() < 0.5 ? { nq: '1' } : {}),
            f: id,
            l: id,
            T: ms,
            m: false,
            ...type,
          },
  ]
  const data = (shapes[Math.floor(random() * shapes.length)] as () => Record<string, unknown>)()
  const object = random() < 0.7 ? { stream: `${symbol.toLowerCase()}@x`, data } : data
  return { text: JSON.stringify(object), object }
}

/** The same object with its keys in another order, with whitespace and with keys that nobody knows. */
function disguise(value: unknown, random: Random): string {
  const space = () => (random() < 0.2 ? [' ', '\n', '\t', '  '][Math.floor(random() * 4)] : '')
  if (Array.isArray(value)) return `[${value.map((member) => space() + disguise(member, random) + space()).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const entries = Object.entries(value).map(
    ([key, member]) => `${space()}${JSON.stringify(key)}${space()}:${space()}${disguise(member, random)}${space()}`,
  )
  for (let index = entries.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[entries[index], entries[other]] = [entries[other] as string, entries[index] as string]
  }
  if (random() < 0.5)
    entries.splice(Math.floor(random() * entries.length), 0, '"unknown":{"x":[1,2.5e-3,"\\u00e9\\n",null,{"y":[]}]}')
  return `{${entries.join(',')}}`
}

test('parser should give what JSON.parse gives, on frames as the venue sends them', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const known = new Rig()
  for (let round = 0; round < 20_000; round++) {
    const { text } = frameOf(random)
    const rig = random() < 0.02 ? new Rig() : known.again() // at the end of its memory a frame is read from a copy
    const { outcome, events } = parse(
      text,
      Math.floor(random() * 9),
      rig,
      random() < 0.5 ? 256 : Math.floor(random() * 120),
    )
    assert.equal(outcome, '', `${text} seed ${seed}`)
    assert.deepEqual(events, [oracle(text)], `${text} seed ${seed}`)
  }
})

test('parser should give the same for any key order, whitespace and unknown keys', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const known = new Rig()
  for (let round = 0; round < 10_000; round++) {
    const { object } = frameOf(random)
    const text = disguise(object, random)
    const { outcome, events } = parse(text, 3, known.again(), 256)
    assert.equal(outcome, '', `${text} seed ${seed}`)
    assert.deepEqual(events, [oracle(text)], `${text} seed ${seed}`)
  }
})

test('parser should never throw and never be wrong on damaged frames', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const known = new Rig()
  let emitted = 0
  for (let round = 0; round < 60_000; round++) {
    const bytes = damaged(new TextEncoder().encode(frameOf(random).text), random)
    const padBehind = random() < 0.5 ? 256 : Math.floor(random() * 120)
    const { outcome, events, collector } = parse(bytes, Math.floor(random() * 9), known.again(), padBehind)
    if (outcome !== '' && outcome !== 'filtered') {
      assert.deepEqual(events, [], `${Buffer.from(bytes)} seed ${seed}`)
      continue
    }
    if (collector.widened.length > 0) continue // the oracle keeps its scales
    emitted++
    const text = Buffer.from(bytes).toString('utf8')
    assert.deepEqual(events, [oracle(text)], `${text} seed ${seed}`)
  }
  assert.ok(emitted > 1000, 'damage within numbers leaves a readable frame now and then')
})

function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const at = Math.floor(random() * bytes.length)
  switch (Math.floor(random() * 5)) {
    case 0:
      return bytes.slice(0, at) // truncated
    case 1: {
      const copy = bytes.slice()
      copy[at] = (copy[at] as number) ^ (1 << Math.floor(random() * 8)) // a flipped bit
      return copy
    }
    case 2: {
      const copy = bytes.slice()
      copy[at] = '{}[]",:0-.e\\ '.charCodeAt(Math.floor(random() * 13))
      return copy
    }
    case 3:
      return Uint8Array.from([
        ...bytes.slice(0, at),
        ...bytes.slice(Math.min(bytes.length, at + 1 + Math.floor(random() * 6))),
      ]) // a hole
    default: {
      const from = Math.floor(random() * bytes.length)
      return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(from, from + 8), ...bytes.slice(at)]) // an insertion
    }
  }
}

test('parser should name why a frame is refused', () => {
  const trade = '{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":5,"p":"1.00","q":"1","X":"MARKET","m":true}'
  const swap = (from: string, to: string) => trade.replace(from, to)
  const cases: [string, Outcome][] = [
    ['', 'empty'],
    ['   ', 'empty'],
    ['{', 'truncated'],
    [trade.slice(0, -9), 'truncated'],
    ['[1,2]', 'syntax'],
    ['hello', 'syntax'],
    [`${trade}x`, 'syntax'],
    [`${trade}{}`, 'syntax'],
    [`{"a":${'['.repeat(DEPTH_MAX + 2)}${']'.repeat(DEPTH_MAX + 2)}}`, 'depth'],
    [`{"a":${'{"b":'.repeat(100_000)}`, 'depth'],
    [swap('"s"', '"\\u0073"'), 'escape'],
    [swap('"t":5', '"t":"5"'), 'type'],
    [swap('"t":5', '"t":5.5'), 'type'],
    [swap('"t":5', '"t":-5'), 'type'],
    [swap('"p":"1.00"', '"p":1.00'), 'type'],
    [swap('"m":true', '"m":1'), 'type'],
    [swap('"p":"1.00",', ''), 'missing_key'],
    [swap('"T":1,', ''), 'missing_key'],
    [swap('"s":"BTCUSDT",', ''), 'missing_key'],
    [swap('"T":1', '"E":1'), 'duplicate_key'],
    [swap('"trade"', '"nonsense"'), 'unknown_event'],
    ['{}', 'unknown_event'],
    ['{"stream":"x","data":5}', 'type'],
    [swap('BTCUSDT', 'DOGEUSDT'), 'unknown_symbol'],
    [swap('"1.00"', '"1.0e3"'), 'number'],
    [swap('"1.00"', '"-1.00"'), 'number'],
    [swap('"1.00"', '""'), 'number'],
    [swap('"1.00"', '"99999999999999999.9"'), 'overflow'],
    [swap('"t":5', '"t":9007199254740993'), 'overflow'],
    [swap('"1.00"', '"0.00000000000000000001"'), 'precision'],
    ['{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}', 'type'],
    ['{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[{}],"a":[]}', 'type'],
    ['{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":{},"a":[]}', 'type'],
    [
      `{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[${'["1","1"],'.repeat(9000)}["1","1"]],"a":[]}`,
      'levels',
    ],
  ]
  for (const [text, reason] of cases) {
    const { outcome, events } = parse(text)
    assert.equal(outcome, reason, text.slice(0, 200))
    assert.deepEqual(events, [], text.slice(0, 200))
  }
})

test('parser should ignore what it knows and nobody asked for, each under its word', () => {
  const cases: [string, Outcome][] = [
    ['{"e":"continuous_kline","E":1,"ps":"BTCUSDT","ct":"PERPETUAL","k":{"t":1}}', 'kline'],
    ['{"e":"24hrMiniTicker","E":1,"s":"BTCUSDT"}', 'rolling_ticker'],
    ['{"e":"compositeIndex","E":1,"s":"DEFIUSDT"}', 'other_event'],
    ['{"result":null,"id":1}', 'control'],
    ['{"error":{"code":2,"msg":"Invalid request"},"id":1}', 'control'],
    ['{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', 'control'],
  ]
  for (const [text, word] of cases) assert.equal(parse(text).outcome, word, text)
})

test('parser should read what the venue sends today without the general way', () => {
  const tail = '"st":1}}'
  const frames = [
    `{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1790373637622,"T":1790373637613,"s":"BTCUSDT","ps":"BTCUSDT","U":5,"u":9,"pu":4,"b":[["83000.10","1.5"]],"a":[],${tail}`,
    `{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":7,"s":"BTCUSDT","ps":"BTCUSDT","b":"83000.10","B":"1","a":"83000.20","A":"2","T":1790373637613,"E":1790373637622,${tail}`,
    `{"stream":"btcusdt@trade","data":{"e":"trade","E":1790373637622,"T":1790373637613,"s":"BTCUSDT","t":8,"p":"83000.10","q":"1","X":"RPI","m":true,${tail}`,
    `{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1790373637622,"a":9,"s":"BTCUSDT","p":"83000.10","q":"1","nq":"1","f":1,"l":2,"T":1790373637613,"m":false,${tail}`,
  ]
  for (const frame of frames) {
    const rig = new Rig()
    parse(frame, 3, rig, 256)
    rig.collector.events.length = 0
    rig.collector.finds = 0
    const { outcome, events } = parse(frame, 3, rig, 256)
    assert.equal(outcome, '', frame)
    assert.deepEqual(events, [oracle(frame)], frame)
    assert.equal(rig.collector.finds, 0, `the general way asks for every symbol: ${frame}`)
  }
})

test('parser should hand over the id of a fill that is no public match, marked as filtered', () => {
  for (const origin of ['INSURANCE_FUND', 'ADL', 'NA']) {
    const { outcome, events } = parse(
      `{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":5,"p":"1.00","q":"1","X":"${origin}","m":true}`,
    )
    assert.equal(outcome, 'filtered')
    assert.equal((events as TradeEvent[])[0]?.isFiltered, true)
    assert.equal((events as TradeEvent[])[0]?.tradeId, 5)
  }
})

test('parser should widen an instrument when a number needs more digits, and read the frame again', () => {
  const { outcome, events, collector } = parse(
    '{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":5,"p":"1.2345","q":"0.00001","X":"MARKET","m":true}',
  )
  assert.equal(outcome, '')
  assert.deepEqual(collector.widened, [
    ['price', 4],
    ['quantity', 5],
  ])
  assert.deepEqual([(events as TradeEvent[])[0]?.price, (events as TradeEvent[])[0]?.quantity], [12345, 1])
})

test('parser should read REST depth bodies of all markets, also with spaces, also of an empty listing', () => {
  const collector = new Collector()
  const parser = new BinanceParser(collector, 'usdm')
  const read = (text: string) => {
    const into = new DepthEvent()
    const bytes = new TextEncoder().encode(text)
    const outcome = parser.parseSnapshot(bytes, 0, bytes.length, 0, into)
    return {
      outcome,
      seq: into.lastSeq,
      ms: into.eventMs,
      bids: [...into.bidPrices.slice(0, into.bidCount)],
      asks: [...into.askQuantities.slice(0, into.askCount)],
    }
  }
  assert.deepEqual(
    read(
      '{"lastUpdateId": 2710246765483, "E": 1680652700590, "T": 1, "bids": [["28145.10", "3.818"], ["28145.00", "0.413"]], "asks": [["28145.20", "6.9"]]}',
    ),
    { outcome: '', seq: 2710246765483, ms: 1680652700590, bids: [2814510, 2814500], asks: [6900] },
  )
  assert.deepEqual(read('{"lastUpdateId":7,"bids":[],"asks":[["1","2"]]}'), {
    outcome: '',
    seq: 7,
    ms: 0,
    bids: [],
    asks: [2000],
  })
  assert.deepEqual(read('{"lastUpdateId":-1,"bids":[],"asks":[]}'), { outcome: '', seq: -1, ms: 0, bids: [], asks: [] })
  assert.equal(read('{"code":-1003,"msg":"Too many requests"}').outcome, 'missing_key')
  assert.equal(read('{"lastUpdateId":7,"bids":[["1","2"]').outcome, 'truncated')
  assert.equal(
    parser.snapshotSymbol(
      new TextEncoder().encode('{"lastUpdateId":7,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":[],"asks":[]}'),
      0,
      77,
    ),
    'BTCUSD_PERP',
  )
})

test('parser should blame the instrument and the channel that a broken frame was meant for', () => {
  const cases: [string, number, keyof typeof GAP_CHANNELS | ''][] = [
    [
      '{"stream":"ethusdt@depth@0ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"ETHUSDT","U":1,"u":2,"b":[["1.0',
      1,
      'book',
    ],
    ['{"stream":"btcusdt@depth@0ms","data":{"e":"dept', 0, 'book'],
    ['{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"x"}}', 0, 'book_tickers'],
    ['{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"', 0, 'trades'],
    ['{"e":"aggTrade","E":1,"s":"BTCUSDT","a":"5"}', 0, 'trades'],
    ['{"stream":"ethusdt@kline_1m","data":{"e":"kline","E":1,"s":"ETHUSDT","k":5}}', 1, 'klines'],
    ['{"stream":"ethusdt@ticker","data":{"e":"24hrTicker","E":1,"s":"ETHUSDT"}}', 1, 'tickers'],
    ['{"stream":"ethusdt@markPrice@1s","data":{"e":"markPri', 1, 'mark_prices'],
    ['{"stream":"ethusdt@forceOrder","data":{"e":"forceOrder","E":1,"o":{"s":"ETHUSDT"}}}', 1, 'liquidations'],
    ['xxxx', -1, ''],
  ]
  for (const [frame, instrument, channel] of cases) {
    const { parser } = parse(frame)
    assert.deepEqual(parser.blamed, { instrument, channel: channel === '' ? 0 : GAP_CHANNELS[channel] }, frame)
  }
})
