import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { BinanceParser } from '../engine/exchanges/binance/parse.ts'
import { IGNORE_REASONS, REJECT_REASONS, type TradeChannel } from '../engine/record/emit.ts'
import { KindCollector } from './support/kind-collector.ts'

function rig(market: string, ...symbols: string[]) {
  const collector = new KindCollector()
  for (const symbol of symbols) collector.instrumentOf(symbol)
  const parser = new BinanceParser(collector, market)
  const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  return {
    collector,
    parse(value: unknown) {
      const frame = bytes(value)
      collector.rows.length = 0
      return parser.parse(frame, 0, frame.length)
    },
    poll(name: string, value: unknown, instrument = 0) {
      const body = bytes(value)
      collector.rows.length = 0
      return parser.parsePoll(name, body, 0, body.length, instrument)
    },
    trades(channel: TradeChannel, value: unknown, instrument = 0) {
      const body = bytes(value)
      collector.trades.length = 0
      return parser.parseTrades(channel, body, 0, body.length, instrument)
    },
    rows: () => collector.rows.map(({ table, symbol, row }) => [table, symbol, row]),
  }
}

const BAR = {
  t: 1700000040000,
  T: 1700000099999,
  s: 'AUSDT',
  i: '1m',
  f: 5,
  L: 14,
  o: '1.10',
  c: '1.20',
  h: '1.30',
  l: '1.00',
  v: '70.5',
  n: 10,
  x: true,
  q: '81.075',
  V: '30',
  Q: '34.5',
  B: '0',
}

test('Binance closed bar should be a row, an open one none', () => {
  const { parse, rows } = rig('usdm')
  const frame = { stream: 'ausdt@kline_1m', data: { e: 'kline', E: 1700000100003, s: 'AUSDT', k: BAR } }
  assert.equal(parse(frame), '')
  const row = {
    event_ns: 1700000100003000000n,
    interval: '1m',
    open_ns: 1700000040000000000n,
    close_ns: 1700000099999000000n,
    open: '1.10',
    high: '1.30',
    low: '1.00',
    close: '1.20',
    volume: '70.5',
    taker_buy_volume: '30',
    trade_count: '10',
  }
  assert.deepEqual(rows(), [['klines', 'AUSDT', { ...row, quote_volume: '81.075', taker_buy_quote_volume: '34.5' }]])
  assert.equal(parse({ ...frame, data: { ...frame.data, k: { ...BAR, x: false } } }), 'open_kline')
  assert.deepEqual(rows(), [])
  const coinm = rig('coinm')
  assert.equal(coinm.parse(frame), '')
  assert.deepEqual(
    coinm.rows(),
    [['klines', 'AUSDT', { ...row, base_volume: '81.075', taker_buy_base_volume: '34.5' }]],
    'COIN-M turns over base currency',
  )
  assert.equal(parse({ ...frame.data, k: { ...BAR, i: '7m' } }), 'type')
  assert.equal(parse({ ...frame.data, k: { ...BAR, o: '1.1.0' } }), 'number')
  assert.equal(parse({ ...frame.data, k: undefined }), 'missing_key')
})

const MARK = {
  e: 'markPriceUpdate',
  E: 1700000101000,
  s: 'AUSDT',
  p: '3.14159265',
  ap: '3.15',
  P: '3.16000000',
  i: '3.17',
  r: '-0.00001012',
  T: 1700006400000,
  st: 1,
}

test('Binance mark price should give mark, index and funding, each only where it is said', () => {
  const { parse, rows } = rig('usdm')
  assert.equal(parse({ stream: 'ausdt@markPrice@1s', data: MARK }), '')
  const event_ns = 1700000101000000000n
  assert.deepEqual(rows(), [
    ['mark_prices', 'AUSDT', { event_ns, mark_price: '3.14159265', settle_price: '3.16000000', average_price: '3.15' }],
    ['index_prices', 'AUSDT', { event_ns, index_price: '3.17' }],
    ['funding_rates', 'AUSDT', { event_ns, funding_rate: '-0.00001012', funding_ns: 1700006400000000000n }],
  ])
  const dated = { e: 'markPriceUpdate', E: 1700000101000, s: 'AUSD_261225', p: '3.1', P: '', r: '', T: 0 }
  assert.equal(parse(dated), '')
  assert.deepEqual(rows(), [
    ['mark_prices', 'AUSD_261225', { event_ns, mark_price: '3.1', settle_price: null, average_price: null }],
  ])
  assert.equal(parse({ ...MARK, r: '0' }), '')
  assert.equal(rows().length, 3, 'a rate of zero is a rate')
  assert.equal(parse({ ...MARK, r: 'x' }), 'number')
  assert.deepEqual(rows(), [], 'all of a message or nothing')
})

test('Binance index price should be read in its three spellings', () => {
  const { parse, rows } = rig('coinm')
  for (const frame of [
    { e: 'indexPriceUpdate', E: 1700000101000, i: 'AUSD', p: '3.17000000' },
    { e: 'indexPriceUpdate', E: 1700000101000, s: 'AUSD', p: '3.17000000' },
    { E: 1700000101000, s: 'AUSD', p: '3.17000000', e: 'IndexUpdate' },
  ]) {
    assert.equal(parse(frame), '')
    assert.deepEqual(rows(), [['index_prices', 'AUSD', { event_ns: 1700000101000000000n, index_price: '3.17000000' }]])
  }
})

const LIQUIDATION = {
  e: 'forceOrder',
  E: 1700000103055,
  o: {
    s: 'AUSDT',
    S: 'SELL',
    o: 'LIMIT',
    f: 'IOC',
    q: '0.190',
    p: '82.30',
    ap: '82.90',
    X: 'FILLED',
    l: '0.155',
    z: '0.190',
    T: 1700000102120,
    ps: 'AUSDT',
    st: 1,
  },
}

test('Binance liquidation should have the side of the order, what was asked and what was filled', () => {
  const { parse, rows } = rig('usdm')
  assert.equal(parse({ stream: '!forceOrder@arr', data: LIQUIDATION }), '')
  assert.deepEqual(rows(), [
    [
      'liquidations',
      'AUSDT',
      {
        event_ns: 1700000103055000000n,
        liquidation_ns: 1700000102120000000n,
        side: 'sell',
        price: '82.30',
        average_price: '82.90',
        quantity: '0.190',
        filled_quantity: '0.190',
        status: 'FILLED',
      },
    ],
  ])
  assert.equal(parse({ ...LIQUIDATION, o: { ...LIQUIDATION.o, S: 'HOLD' } }), 'type')
})

const STATISTICS = {
  e: '24hrTicker',
  E: 1700000104000,
  s: 'AUSDT',
  p: '-1.5',
  P: '-0.461',
  w: '3.07',
  c: '3.1',
  Q: '0.001',
  o: '4.6',
  h: '5',
  l: '3',
  v: '115619.606',
  q: '8875431314.20',
  O: 1699913704000,
  C: 1700000104000,
  F: 8003360342,
  L: 8006170931,
  n: 2798861,
}

test('Binance 24 h statistics should leave open what their market does not say', () => {
  const { parse, rows } = rig('spot')
  assert.equal(parse({ ...STATISTICS, x: '4.5', b: '3.09', B: '2', a: '3.11', A: '4' }), '')
  const [, , spot] = rows()[0] as [string, string, Record<string, unknown>]
  assert.deepEqual(
    [spot['bid_price'], spot['ask_quantity'], spot['quote_volume'], spot['price_change'], spot['trade_count']],
    ['3.09', '4', '8875431314.20', '-1.5', '2798861'],
  )
  const coinm = rig('coinm')
  assert.equal(coinm.parse(STATISTICS), '')
  const [, , inverse] = coinm.rows()[0] as [string, string, Record<string, unknown>]
  assert.deepEqual(
    [inverse['bid_price'], inverse['base_volume'], inverse['quote_volume']],
    [null, '8875431314.20', undefined],
  )
})

test('Binance open interest should be a row with the time of the venue, once', () => {
  const { poll, rows } = rig('usdm', 'AUSDT', 'BUSDT')
  const body = { openInterest: '10659.509', symbol: 'AUSDT', time: 1700000105011 }
  assert.equal(poll('open_interest', body), '')
  assert.deepEqual(rows(), [
    ['open_interests', 'AUSDT', { event_ns: 1700000105011000000n, open_interest: '10659.509' }],
  ])
  assert.equal(poll('open_interest', body), 'unchanged')
  assert.equal(poll('open_interest', { ...body, time: 1700000165011 }), '')
  assert.equal(poll('open_interest', body, 1), 'unknown_symbol', 'the answer speaks of another instrument')
  assert.equal(poll('open_interest', { code: -1121, msg: 'Invalid symbol.' }), 'missing_key')
  assert.equal(poll('open_interest', '{"openInterest"'), 'syntax')
  assert.equal(poll('nonsense', body), 'unknown_event')
})

test('Binance ratios should give each period once, and again when the venue corrects it', () => {
  const { poll, rows } = rig('coinm', 'AUSD_PERP')
  const period = (minute: number, ratio: string) => ({
    pair: 'AUSD',
    longShortRatio: ratio,
    longPosition: '0.6442',
    shortPosition: '0.3558',
    timestamp: minute % 2 === 0 ? 1700000000000 + minute * 60_000 : String(1700000000000 + minute * 60_000),
  })
  const row = (minute: number, ratio: string, word = '5m') => [
    'long_short_ratios',
    'AUSD_PERP',
    {
      event_ns: 1700000000000000000n + BigInt(minute) * 60_000_000_000n,
      scope: 'top_positions',
      period: word,
      ratio,
      long_share: '0.6442',
      short_share: '0.3558',
    },
  ]
  const name = 'top_positions_ratio'
  assert.equal(poll(name, [period(0, '1.1'), period(5, '1.2')]), '')
  assert.deepEqual(rows(), [row(0, '1.1'), row(5, '1.2')])
  assert.equal(poll(name, [period(0, '1.1'), period(5, '1.2')]), 'unchanged')
  assert.equal(poll(name, [period(5, '1.25'), period(10, '1.3')]), '')
  assert.deepEqual(rows(), [row(5, '1.25'), row(10, '1.3')])
  assert.equal(poll(name, []), 'unchanged')
  assert.equal(poll(name, [period(10, '1.3')]), 'unchanged')
  assert.equal(poll(`${name}_1h`, [period(10, '1.3')]), '', 'another period is another poll')
  assert.deepEqual(rows(), [row(10, '1.3', '1h')])
  assert.equal(poll(`${name}_7h`, []), 'unknown_event')
  assert.equal(poll(name, [{ ...period(15, '1'), longPosition: undefined }]), 'missing_key')
  assert.equal(poll(name, {}), 'type')
})

test('Binance missed trades should come exact, oldest first, all of an answer or none', () => {
  const { trades, collector } = rig('spot', 'AUSDT')
  const agg = (a: number, p: string) => ({
    a,
    p,
    q: '0.00100000',
    f: a * 10,
    l: a * 10 + 3,
    T: 1700000000000 + a,
    m: a % 2 === 0,
    M: true,
  })
  assert.equal(trades('agg_trades', [agg(8, '9195.10000000'), agg(7, '9195.00000001')]), '')
  const common = {
    stream: 2,
    eventMs: 0,
    venueTradeId: '',
    isFiltered: false,
    liquidation: 0,
    symbol: 'AUSDT',
    quantity: '0.001',
  }
  assert.deepEqual(collector.trades, [
    {
      ...common,
      tradeMs: 1700000000007,
      tradeId: 7,
      firstTradeId: 70,
      lastTradeId: 73,
      firstSeq: 7,
      lastSeq: 7,
      side: 1,
      price: '9195.00000001',
    },
    {
      ...common,
      tradeMs: 1700000000008,
      tradeId: 8,
      firstTradeId: 80,
      lastTradeId: 83,
      firstSeq: 8,
      lastSeq: 8,
      side: 2,
      price: '9195.1',
    },
  ])
  const single = {
    id: 28457,
    price: '4.00000100',
    qty: '12.00000000',
    quoteQty: '48',
    time: 1700000000590,
    isBuyerMaker: true,
    isBestMatch: true,
  }
  assert.equal(trades('trades', [single]), '')
  assert.deepEqual(collector.trades, [
    {
      ...common,
      stream: 1,
      tradeMs: 1700000000590,
      tradeId: 28457,
      firstTradeId: 28457,
      lastTradeId: 28457,
      firstSeq: 28457,
      lastSeq: 28457,
      side: 2,
      price: '4.000001',
      quantity: '12',
    },
  ])
  const refused: [unknown, string][] = [
    [[agg(1, '1'), { ...agg(2, '1'), m: undefined }], 'missing_key'],
    [[agg(1, '1'), agg(2, '1e5')], 'number'],
    [[agg(1, '1'), agg(2, '0.0000000000000001')], 'precision'],
    [[agg(1, '1'), agg(2, '99999999999999999')], 'overflow'],
    [JSON.stringify([agg(1, '1')]).replace('"a":1', '"a":9007199254740993'), 'overflow'],
    [[5], 'type'],
    [{ code: -1003, msg: 'Too many requests' }, 'type'],
    ['[{', 'syntax'],
  ]
  for (const [body, reason] of refused) {
    assert.equal(trades('agg_trades', body), reason, JSON.stringify(body))
    assert.deepEqual(collector.trades, [])
  }
  assert.equal(trades('agg_trades', []), '')
})

// ---- damage

const RATIO = {
  symbol: 'AUSDT',
  longShortRatio: '1.8105',
  longAccount: '0.6442',
  shortAccount: '0.3558',
  timestamp: 1700000000000,
}
const FRAMES: readonly object[] = [
  { stream: 'ausdt@kline_1m', data: { e: 'kline', E: 1700000100003, s: 'AUSDT', k: BAR } },
  { stream: 'ausdt@markPrice@1s', data: MARK },
  { stream: 'ausdt@ticker', data: STATISTICS },
  LIQUIDATION,
  { e: 'indexPriceUpdate', E: 1700000101000, s: 'AUSDT', p: '3.17000000' },
]
const POLLS: readonly [string, unknown][] = [
  ['open_interest', { openInterest: '10659.509', symbol: 'AUSDT', time: 1700000105011 }],
  ['top_positions_ratio', [RATIO, { ...RATIO, timestamp: '1700000300000' }]],
  ['all_accounts_ratio_1h', [RATIO]],
]
const TRADES = [{ a: 7, p: '9195.10', q: '0.001', f: 70, l: 73, T: 1700000000007, m: true }]

function damaged(value: unknown, random: Random): Buffer {
  const bytes = Buffer.from(JSON.stringify(value))
  const at = Math.floor(random() * bytes.length)
  switch (Math.floor(random() * 6)) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8))
      return bytes
    case 2:
      bytes[at] = '{}[]",:0-.e\\ '.charCodeAt(Math.floor(random() * 13))
      return bytes
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random() * 8))])
    case 4: {
      const from = Math.floor(random() * bytes.length)
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + 8), bytes.subarray(at)])
    }
    default:
      return Buffer.from(retyped(JSON.stringify(value), random))
  }
}

/** One value of the text becomes another type. */
function retyped(text: string, random: Random): string {
  const values = [...text.matchAll(/(?<=:)(?:"[^"]*"|[\d.]+|true|false)/g)]
  const chosen = values[Math.floor(random() * values.length)] as RegExpMatchArray
  const others = [
    'null',
    '""',
    '"x"',
    '[]',
    '{}',
    'true',
    '-1',
    '1e400',
    '1.5',
    '"9".',
    '99999999999999999999',
    '[[[]]]',
  ]
  const other = others[Math.floor(random() * others.length)] as string
  return text.slice(0, chosen.index) + other + text.slice((chosen.index ?? 0) + chosen[0].length)
}

const OUTCOMES = new Set<string>(['', ...IGNORE_REASONS, ...REJECT_REASONS])
/** What a decimal cell may hold: a number that a reader of decimals takes, or nothing. */
const CELL = /^[+-]?\d+(\.\d+)?([eE][+-]?\d{1,4})?$/

test('Binance rare kinds, polls and missed trades should have an outcome whatever is sent, and rows only when it is none', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  let rows = 0
  for (let round = 0; round < 30_000; round++) {
    const { collector, parse, poll, trades } = rig(['spot', 'usdm', 'coinm'][round % 3] as string, 'AUSDT')
    const pick = Math.floor(random() * (FRAMES.length + POLLS.length + 1))
    const [name, body] = POLLS[pick - FRAMES.length] ?? ['', TRADES]
    const bytes = damaged(pick < FRAMES.length ? FRAMES[pick] : body, random)
    const text = bytes.toString('latin1')
    const say = `${text} seed ${seed}`
    const send = () => {
      if (pick < FRAMES.length) return parse(text)
      return name === '' ? trades('agg_trades', text) : poll(name, text)
    }
    let outcome = 'threw'
    assert.doesNotThrow(() => (outcome = send()), say)
    assert.ok(OUTCOMES.has(outcome), say)
    if (outcome !== '') assert.deepEqual([collector.rows, collector.trades], [[], []], say)
    for (const { row } of collector.rows) {
      rows++
      for (const [column, cell] of Object.entries(row)) {
        if (
          cell === null ||
          typeof cell === 'bigint' ||
          ['interval', 'scope', 'period', 'side', 'status'].includes(column)
        )
          continue
        assert.match(String(cell), CELL, `${column}: ${say}`)
      }
    }
  }
  assert.ok(rows > 1_000, 'much damage leaves a readable message')
})
