import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import type { Random } from '../engine/base/random.ts'
import { GeneralParser } from '../engine/exchanges/deribit/parse-general.ts'
import { IGNORE_REASONS, REJECT_REASONS } from '../engine/record/emit.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import { DeribitRig } from './support/deribit.ts'

const notification = (channel: string, data: string): string =>
  `{"jsonrpc":"2.0","method":"subscription","params":{"channel":"${channel}","data":${data}}}`

const PERP = 'ETH-PERPETUAL'
const SNAPSHOT = notification(
  `book.${PERP}.100ms`,
  `{"timestamp":1790000000123,"type":"snapshot","change_id":5000000001,"instrument_name":"${PERP}","bids":[["new",2500.05,1.5e3],["new",2500.0,7.0]],"asks":[]}`,
)
const CHANGE = notification(
  `book.${PERP}.100ms`,
  `{"timestamp":1790000000223,"type":"change","change_id":5000000009,"instrument_name":"${PERP}","bids":[["delete",2500.05,0.0],["change",2500.0,2.5e-1]],"asks":[["new",2501.0,1.0002e6]],"prev_change_id":5000000001}`,
)
const QUOTE = notification(
  `quote.${PERP}`,
  `{"timestamp":1790000000300,"instrument_name":"${PERP}","best_ask_price":2501.0,"best_bid_price":2500.0,"best_ask_amount":1.0002e6,"best_bid_amount":0.25}`,
)
const TRADES = notification(
  `trades.${PERP}.100ms`,
  `[{"timestamp":1790000000400,"price":2501.0,"amount":3.0e6,"direction":"buy","index_price":2500.11,"instrument_name":"${PERP}","trade_seq":77,"mark_price":2500.9,"tick_direction":0,"starbase_match_id":225046781992378368,"trade_id":"ETH-34066060","contracts":3.0e6,"starbase_timestamp":1790000000400718924},{"timestamp":1790000000401,"price":2501.5,"amount":1.0,"direction":"sell","index_price":2500.11,"instrument_name":"${PERP}","trade_seq":78,"mark_price":2500.9,"tick_direction":2,"iv":null,"trade_id":"123456","contracts":1.0}]`,
)
const HOT = [SNAPSHOT, CHANGE, QUOTE, TRADES]

const SNAPSHOT_EVENT = {
  table: 'book',
  symbol: PERP,
  eventMs: 1790000000123,
  transactionMs: 1790000000123,
  isSnapshot: true,
  firstSeq: 5000000001,
  lastSeq: 5000000001,
  prevSeq: 0,
  bids: [
    ['2500.05', '1500'],
    ['2500', '7'],
  ],
  asks: [],
}
const CHANGE_EVENT = {
  table: 'book',
  symbol: PERP,
  eventMs: 1790000000223,
  transactionMs: 1790000000223,
  isSnapshot: false,
  firstSeq: 5000000009,
  lastSeq: 5000000009,
  prevSeq: 5000000001,
  bids: [
    ['2500.05', '0'],
    ['2500', '0.25'],
  ],
  asks: [['2501', '1000200']],
}
const QUOTE_EVENT = {
  table: 'book_tickers',
  symbol: PERP,
  eventMs: 1790000000300,
  updateId: 0,
  bid: ['2500', '0.25'],
  ask: ['2501', '1000200'],
}
const TRADE_EVENTS = [
  {
    table: 'trades',
    symbol: PERP,
    eventMs: 1790000000400,
    tradeMs: 1790000000400,
    seq: [77, 77],
    tradeId: 0,
    venueTradeId: 'ETH-34066060',
    price: '2501',
    quantity: '3000000',
    side: 'buy',
    liquidation: 'none',
  },
  {
    table: 'trades',
    symbol: PERP,
    eventMs: 1790000000401,
    tradeMs: 1790000000401,
    seq: [78, 78],
    tradeId: 123456,
    venueTradeId: '',
    price: '2501.5',
    quantity: '1',
    side: 'sell',
    liquidation: 'none',
  },
]
const EVENTS = [[SNAPSHOT_EVENT], [CHANGE_EVENT], [QUOTE_EVENT], TRADE_EVENTS]

/** A rig whose scales hold the frames above, so that bytes are read and not text. */
function knownRig(): DeribitRig {
  const rig = new DeribitRig([PERP])
  rig.collector.priceScales[0] = 2
  rig.collector.quantityScales[0] = 2
  return rig
}

test('deribit parser should read books, quotes and trades, exponents and 64-bit ids included', () => {
  for (const padBehind of [256, 0]) {
    const rig = knownRig()
    for (const [index, frame] of HOT.entries())
      assert.deepEqual(rig.parse(frame, padBehind), { outcome: '', events: EVENTS[index] })
  }
})

/** As `JSON.stringify` and a reader of JSON may write it: other order, spaces. */
function reordered(frame: string, random: Random, spaces: boolean): string {
  const numbers: string[] = []
  const marked = frame.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    token.startsWith('"') ? token : `"#${numbers.push(token) - 1}"`,
  )
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled)
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([key, member]) => [key, shuffled(member)] as const)
    return Object.fromEntries(
      entries
        .map((entry) => [random(), entry] as const)
        .sort(([a], [b]) => a - b)
        .map(([, e]) => e),
    )
  }
  const text = JSON.stringify(shuffled(JSON.parse(marked)), null, spaces ? 1 : 0)
  return text.replace(/"#(\d+)"/g, (_, index) => numbers[Number(index)] as string)
}

test('deribit parser should read the same from any order of keys, with and without spaces', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (let round = 0; round < 200; round++) {
    const rig = knownRig()
    for (const [index, frame] of HOT.entries()) {
      const text = reordered(frame, random, round % 2 === 0)
      assert.deepEqual(rig.parse(text), { outcome: '', events: EVENTS[index] }, `seed ${seed}: ${text}`)
    }
  }
})

test('deribit parser should widen the scales of an instrument that it learns', () => {
  const rig = new DeribitRig()
  for (const [index, frame] of HOT.entries()) assert.deepEqual(rig.parse(frame), { outcome: '', events: EVENTS[index] })
  assert.deepEqual([rig.collector.priceScales[0], rig.collector.quantityScales[0]], [2, 2])
})

test('deribit parser should refuse more digits than a scale may have', () => {
  const rig = new DeribitRig([PERP])
  rig.collector.scaleMax = 1
  assert.deepEqual(rig.parse(SNAPSHOT), { outcome: 'precision', events: [] })
  assert.deepEqual({ ...rig.parser.blamed }, { instrument: 0, channel: GAP_CHANNELS.book })
})

test('deribit parser should take a snapshot whose prev_change_id is null, and two empty sides', () => {
  const data = `{"type":"snapshot","instrument_name":"${PERP}","timestamp":1790000000123,"change_id":9,"prev_change_id":null,"bids":[],"asks":[]}`
  const { outcome, events } = knownRig().parse(notification(`book.${PERP}.agg2`, data))
  assert.equal(outcome, '')
  assert.deepEqual([events[0]?.['bids'], events[0]?.['asks'], events[0]?.['isSnapshot']], [[], [], true])
})

test('deribit parser should take the empty side of a quote as price and quantity 0', () => {
  const data = `{"timestamp":1,"instrument_name":"${PERP}","best_ask_price":null,"best_bid_price":2500.0,"best_ask_amount":0.0,"best_bid_amount":1.0}`
  const { outcome, events } = knownRig().parse(notification(`quote.${PERP}`, data))
  assert.equal(outcome, '')
  assert.deepEqual(
    [events[0]?.['bid'], events[0]?.['ask']],
    [
      ['2500', '1'],
      ['0', '0'],
    ],
  )
})

const liquidated = (flag: string): string =>
  TRADES.replace('"contracts":1.0', `"liquidation":"${flag}","contracts":1.0`)

test('deribit parser should make liquidations of the flag: T the taker, M the maker, MT both', () => {
  const row = {
    table: 'liquidations',
    symbol: PERP,
    event_ns: 1790000000401000000n,
    liquidation_ns: 1790000000401000000n,
    price: '2501.5',
    average_price: '2501.5',
    quantity: '1.0',
    filled_quantity: '1.0',
    venue_id: '123456',
  }
  const sidesByFlag = { T: ['sell'], M: ['buy'], MT: ['sell', 'buy'] } as const
  const words = { T: 'taker', M: 'maker', MT: 'both' } as const
  for (const flag of ['T', 'M', 'MT'] as const) {
    const { outcome, events } = knownRig().parse(liquidated(flag))
    assert.equal(outcome, '')
    assert.deepEqual(events.slice(0, 2), [TRADE_EVENTS[0], { ...TRADE_EVENTS[1], liquidation: words[flag] }])
    assert.deepEqual(
      events.slice(2),
      sidesByFlag[flag].map((side) => ({ ...row, side, status: flag })),
    )
  }
  assert.deepEqual(knownRig().parse(liquidated('X')), { outcome: 'type', events: [] })
})

test('deribit parser should make a kline when the next bar begins, and only once', () => {
  const push = (tick: number, close: string, volume: string): string =>
    notification(
      'chart.trades.BTC-PERPETUAL.1',
      `{"tick":${tick},"open":100.0,"high":101.0,"low":99.5,"close":${close},"volume":${volume},"cost":1.5e3}`,
    )
  const rig = new DeribitRig()
  const first = 1790000040000
  assert.equal(rig.parse(push(first, '100.5', '1.0')).outcome, 'open_kline')
  assert.equal(rig.parse(push(first, '100.75', '1.4999')).outcome, 'open_kline')
  const { outcome, events } = rig.parse(push(first + 60_000, '100.0', '0.0'))
  assert.equal(outcome, '')
  const [ns, minute] = [BigInt(first) * 1_000_000n, 60_000_000_000n]
  assert.deepEqual(events, [
    {
      table: 'klines',
      symbol: 'BTC-PERPETUAL',
      interval: '1m',
      open_ns: ns,
      close_ns: ns + minute,
      open: '100.0',
      high: '101.0',
      low: '99.5',
      close: '100.75',
      volume: '1.5e3',
      base_volume: '1.4999',
      quote_volume: '1.5e3',
    },
  ])
  // the second of two connections is late
  assert.deepEqual(rig.parse(push(first, '100.75', '1.4999')), { outcome: 'unchanged', events: [] })
  assert.equal(rig.parse(push(first + 60_000, '100.0', '0.0')).outcome, 'open_kline')
})

test('deribit parser should make five rows of a perpetual’s ticker, numbers as they stand', () => {
  const data = `{"timestamp":1790000000500,"state":"open","stats":{"high":2.6e3,"low":2400.0,"price_change":null,"volume":12.5,"volume_usd":31250.0,"volume_notional":31250.0},"index_price":2500.11,"instrument_name":"${PERP}","last_price":2500.5,"settlement_price":2499.0,"min_price":2450.0,"max_price":2550.0,"open_interest":797578130,"mark_price":2500.9,"interest_value":-4.4e-5,"current_funding":-2.1714e-4,"estimated_delivery_price":2500.2,"funding_8h":-3.1e-6,"best_ask_price":2501.0,"best_bid_price":2500.0,"best_ask_amount":1.0,"best_bid_amount":0.0}`
  const { outcome, events } = knownRig().parse(notification(`ticker.${PERP}.100ms`, data))
  assert.equal(outcome, '')
  const head = { symbol: PERP, event_ns: 1790000000500000000n }
  assert.deepEqual(events, [
    {
      table: 'tickers',
      ...head,
      last_price: '2500.5',
      high_price: '2.6e3',
      low_price: '2400.0',
      volume: '31250.0',
      base_volume: '12.5',
      quote_volume: '31250.0',
      bid_price: '2500.0',
      bid_quantity: '0.0',
      ask_price: '2501.0',
      ask_quantity: '1.0',
      settlement_price: '2499.0',
      price_min: '2450.0',
      price_max: '2550.0',
      underlying: '',
    },
    { table: 'mark_prices', ...head, mark_price: '2500.9', settle_price: '2500.2' },
    { table: 'index_prices', ...head, index_price: '2500.11' },
    { table: 'open_interests', ...head, open_interest: '797578130', quote_open_interest: '797578130' },
    { table: 'funding_rates', ...head, funding_rate: '-2.1714e-4', funding_rate_8h: '-3.1e-6' },
  ])
})

test('deribit parser should make rows of index and volatility channels', () => {
  const rig = new DeribitRig()
  const ns = 1790000000600000000n
  assert.deepEqual(
    rig.parse(
      notification('deribit_price_index.btc_usd', '{"timestamp":1790000000600,"price":3.9e4,"index_name":"btc_usd"}'),
    ),
    { outcome: '', events: [{ table: 'index_prices', symbol: 'btc_usd', event_ns: ns, index_price: '3.9e4' }] },
  )
  assert.deepEqual(
    rig.parse(
      notification(
        'deribit_volatility_index.eth_usd',
        '{"timestamp":1790000000600,"volatility":61.25,"index_name":"eth_usd"}',
      ),
    ),
    { outcome: '', events: [{ table: 'volatility_indices', symbol: 'eth_usd', event_ns: ns, volatility: '61.25' }] },
  )
})

test('deribit parser should name what it does not take', () => {
  const refused: readonly (readonly [string, string])[] = [
    ['', 'empty'],
    ['{"jsonrpc":"2.0","id":1,"result":["book.X.100ms"]}', 'control'],
    ['{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}', 'control'],
    [notification(`book.${PERP}.none.10.100ms`, '{"bids":[[1,2]],"asks":[]}'), 'other_event'],
    [notification('platform_state', '{"locked":false}'), 'other_event'],
    [notification('strange.X', '{}'), 'unknown_event'],
    ['[]', 'type'],
    ['{}', 'unknown_event'],
    [SNAPSHOT.slice(0, -3), 'truncated'],
    [SNAPSHOT.replace('"change_id":5000000001', '"change_id":1.5'), 'type'],
    [SNAPSHOT.replace('"change_id":5000000001', '"change_id":9007199254740993'), 'overflow'],
    [SNAPSHOT.replace('"type":"snapshot"', '"type":"other"'), 'type'],
    [SNAPSHOT.replace('2500.05', '-2500.05'), 'number'],
    [SNAPSHOT.replace('2500.05', '1e300'), 'overflow'],
    [SNAPSHOT.replace('"new"', '"old"'), 'type'],
    [SNAPSHOT.replace(',"asks":[]', ''), 'missing_key'],
    [CHANGE.replace(',"prev_change_id":5000000001', ''), 'missing_key'],
    [TRADES.replace('"direction":"sell"', '"direction":"none"'), 'type'],
    [TRADES.replace(',"trade_seq":78', ''), 'missing_key'],
    [TRADES.replaceAll(PERP, 'BTC-FS-27DEC26_PERP'), 'unknown_symbol'],
  ]
  for (const [frame, outcome] of refused) {
    const rig = knownRig()
    rig.collector.names.length = 64 // no room to learn
    rig.collector.names[0] = PERP
    assert.deepEqual(rig.parse(frame), { outcome, events: [] }, frame)
  }
})

test('deribit parser should read trades of REST, oldest first', () => {
  const trade = (seq: number) =>
    `{"trade_seq":${seq},"trade_id":"${seq}","timestamp":1790000000${seq},"price":2500.0,"amount":1.0,"direction":"buy","instrument_name":"${PERP}"}`
  const rig = knownRig()
  const body = new TextEncoder().encode(
    `{"jsonrpc":"2.0","result":{"trades":[${trade(302)},${trade(300)},${trade(301)}],"has_more":false}}`,
  )
  assert.equal(rig.parser.parseTrades('trades', body, 0, body.length, 0), '')
  assert.deepEqual(
    rig.collector.events.map((event) => event['seq']),
    [
      [300, 300],
      [301, 301],
      [302, 302],
    ],
  )
  const error = new TextEncoder().encode('{"jsonrpc":"2.0","error":{"code":11050,"message":"bad_request"}}')
  assert.equal(rig.parser.parseTrades('trades', error, 0, error.length, 0), 'missing_key')
  assert.equal(rig.parser.parseTrades('trades', body, 0, body.length, 1), 'unknown_symbol')
})

// ---- bad input

const OUTCOMES = new Set<string>(['', ...IGNORE_REASONS, ...REJECT_REASONS])
const REPLACEMENTS = [
  '',
  '0',
  '9',
  '-',
  '.',
  'e',
  '"',
  ',',
  '[',
  ']',
  '{',
  '}',
  ':',
  ' ',
  '\\',
  'null',
  'true',
  '1e9',
  '{}',
  '[]',
  '\u0000',
  'é',
]
const TICKER = notification(
  `ticker.${PERP}.100ms`,
  `{"timestamp":1790000000500,"stats":{"volume":1.5},"instrument_name":"${PERP}","mark_price":2500.9,"greeks":{"delta":-1.0e-5}}`,
)

function mutated(frame: string, random: Random): string {
  const at = Math.floor(random() * frame.length)
  const kind = Math.floor(random() * 4)
  const piece = REPLACEMENTS[Math.floor(random() * REPLACEMENTS.length)] as string
  if (kind === 0) return frame.slice(0, at)
  if (kind === 1) return frame.slice(0, at) + piece + frame.slice(at + 1)
  if (kind === 2) return frame.slice(0, at) + piece + frame.slice(at)
  const until = at + Math.floor(random() * 40)
  return frame.slice(0, at) + frame.slice(until)
}

test('deribit parser should survive every mutation, and read by bytes only what the general way reads too', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (let round = 0; round < 30_000; round++) {
    const whole = [...HOT, TICKER][round % 5] as string
    let frame = whole
    for (let times = 1 + Math.floor(random() * 2); times > 0; times--) frame = mutated(frame, random)
    const rig = knownRig()
    if (round % 2 === 0) rig.parse(whole) // so that it knows the stream
    const { outcome, events } = rig.parse(frame, round % 3 === 0 ? 0 : 256)
    assert.ok(OUTCOMES.has(outcome), `seed ${seed}: ${frame}`)
    if (outcome !== '') continue
    assert.doesNotThrow(() => JSON.parse(frame), `seed ${seed}: no JSON: ${frame}`)
    const collector = knownRig().collector
    const bytes = new TextEncoder().encode(frame)
    assert.equal(new GeneralParser(collector).parse(bytes, 0, bytes.length), '', `seed ${seed}: ${frame}`)
    assert.deepEqual(events, collector.events, `seed ${seed}: ${frame}`)
  }
})

test('deribit parser should read each frame as it is, whatever frame of whatever stream came before it', () => {
  const others = HOT.map((frame) => frame.replaceAll(PERP, 'BTC_USDC-PERPETUAL'))
  // a channel that names one instrument, and members that name another
  const mixed = HOT.map((frame) => frame.replace(PERP, 'BTC_USDC-PERPETUAL'))
  const rigOf = () => {
    const rig = knownRig()
    const other = rig.collector.instrumentOf('BTC_USDC-PERPETUAL')
    rig.collector.priceScales[other] = 2
    rig.collector.quantityScales[other] = 2
    return rig
  }
  for (const before of [...HOT, ...others, ...mixed]) {
    for (const frame of [...HOT, ...others, ...mixed]) {
      const rig = rigOf()
      rig.parse(before)
      assert.deepEqual(rig.parse(frame), rigOf().parse(frame), before + frame)
    }
  }
})

test('deribit parser should survive flipped bits', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (let round = 0; round < 10_000; round++) {
    const bytes = new TextEncoder().encode([...HOT, TICKER][round % 5])
    for (let flips = 1 + Math.floor(random() * 3); flips > 0; flips--) {
      const at = Math.floor(random() * bytes.length)
      bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8))
    }
    assert.ok(OUTCOMES.has(knownRig().parse(bytes).outcome), `seed ${seed}, round ${round}`)
  }
})

test('deribit parser should read numbers by bytes as the general way does, whatever their spelling', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (let round = 0; round < 5000; round++) {
    const number = (): string => {
      const whole = String(Math.floor(random() ** 3 * 10 ** Math.floor(random() * 9)))
      const fraction = random() < 0.6 ? `.${Math.floor(random() * 1000)}` : ''
      const exponent = random() < 0.5 ? `e${Math.floor(random() * 9) - 4}` : ''
      return whole + fraction + exponent
    }
    const frame = CHANGE.replace('2500.05', number()).replace('2.5e-1', number()).replace('1.0002e6', number())
    const rigOf = (): DeribitRig => {
      const rig = new DeribitRig([PERP])
      rig.collector.priceScales[0] = 4
      rig.collector.quantityScales[0] = 4
      return rig
    }
    const fast = rigOf().parse(frame)
    const { collector } = rigOf()
    const bytes = new TextEncoder().encode(frame)
    const outcome = new GeneralParser(collector).parse(bytes, 0, bytes.length)
    assert.deepEqual(fast, { outcome, events: collector.events }, `seed ${seed}: ${frame}`)
  }
})
