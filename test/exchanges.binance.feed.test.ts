import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BINANCE_FEED_DEFAULTS, binanceFeed } from '../engine/exchanges/binance/index.ts'
import { scaleOf } from '../engine/exchanges/binance/instruments.ts'
import { CHANNELS, type Channel, type FeedRules, type Instrument } from '../engine/exchanges/exchange.ts'

const feed = binanceFeed()
const recordings = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const instrument = (market: string, symbol: string, more: Partial<Instrument> = {}): Instrument => ({
  id: `binance.${market}.${symbol}`,
  exchange: 'binance',
  market,
  symbol,
  priceScale: 2,
  quantityScale: 3,
  status: 'TRADING',
  ...more,
})
const streams = (rules: FeedRules, market: string, symbol: string, channel: Channel) =>
  rules.streams(instrument(market, symbol), channel)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const control = (text: string) => (feed.isControl(bytes(text)) ? feed.readControl(bytes(text)) : undefined)

test('Binance streams should be lower case with the speed and the URL class of their market', () => {
  assert.deepEqual(streams(feed, 'spot', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@100ms', route: 'stream' }])
  assert.deepEqual(streams(feed, 'usdm', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@0ms', route: 'public' }])
  assert.deepEqual(streams(feed, 'usdm', 'BTCUSDT', 'agg_trades'), [{ name: 'btcusdt@aggTrade', route: 'market' }])
  assert.deepEqual(streams(feed, 'usdm', 'BTCUSDT', 'book_tickers'), [{ name: 'btcusdt@bookTicker', route: 'public' }])
  assert.deepEqual(streams(feed, 'usdm', 'BTCUSDT', 'trades'), [{ name: 'btcusdt@trade', route: 'public' }])
  assert.deepEqual(streams(feed, 'coinm', 'BTCUSD_PERP', 'agg_trades'), [
    { name: 'btcusd_perp@aggTrade', route: 'stream' },
  ])
  const other = binanceFeed({
    ...BINANCE_FEED_DEFAULTS,
    spot: { ...BINANCE_FEED_DEFAULTS.spot, depthSpeedMs: 1000, klineIntervals: ['1s', '1M'] },
    usdm: { ...BINANCE_FEED_DEFAULTS.usdm, depthSpeedMs: 100, tradePath: 'market', ratioPeriod: '1h' },
  })
  assert.deepEqual(
    streams(other, 'spot', 'BTCUSDT', 'book'),
    [{ name: 'btcusdt@depth', route: 'stream' }],
    '1000 ms has no suffix',
  )
  assert.deepEqual(streams(other, 'usdm', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@100ms', route: 'public' }])
  assert.deepEqual(streams(other, 'usdm', 'BTCUSDT', 'trades'), [{ name: 'btcusdt@trade', route: 'market' }])
  assert.deepEqual(streams(other, 'spot', 'BTCUSDT', 'klines'), [
    { name: 'btcusdt@kline_1s', route: 'stream' },
    { name: 'btcusdt@kline_1M', route: 'stream' },
  ])
})

test('Binance streams of the rare kinds should be on /market of USD-M, where they alone arrive', () => {
  const names = (market: string, symbol: string) =>
    CHANNELS.map((channel) => streams(feed, market, symbol, channel)[0])
      .filter((stream) => stream !== undefined)
      .map((stream) => `${stream.route} ${stream.name.split('@').slice(1).join('@')}`)
  assert.deepEqual(names('spot', 'BTCUSDT'), [
    'stream depth@100ms',
    'stream trade',
    'stream aggTrade',
    'stream bookTicker',
    'stream kline_1m',
    'stream ticker',
  ])
  const rare = ['kline_1m', 'ticker', 'markPrice@1s', 'markPrice@1s', 'markPrice@1s', 'forceOrder']
  assert.deepEqual(names('usdm', 'BTCUSDT'), [
    'public depth@0ms',
    'public trade',
    'market aggTrade',
    'public bookTicker',
    ...rare.map((name) => `market ${name}`),
  ])
  assert.deepEqual(names('coinm', 'BTCUSD_PERP'), [
    'stream depth@0ms',
    'stream trade',
    'stream aggTrade',
    'stream bookTicker',
    ...rare.map((name) => `stream ${name}`),
  ])
})

test('Binance polls should ask what the venue wants and cost what keeps its limits', () => {
  const asked = (rules: FeedRules, one: Instrument) =>
    (rules.markets[one.market]?.polls ?? []).map((rule) => [rule.name, rule.request(one)])
  assert.deepEqual(asked(feed, instrument('spot', 'BTCUSDT')), [])
  // 1,000 ratios in 5 minutes: 200 of weight 12 are the whole minute
  assert.equal((feed.markets['usdm']?.limits.weightPerMinuteMax ?? 0) / 12, 200)
  assert.deepEqual(asked(feed, instrument('usdm', 'BTCUSDT')), [
    ['open_interest', { path: '/fapi/v1/openInterest?symbol=BTCUSDT', weight: 1 }],
    ['top_positions_ratio', { path: ratioPath('topLongShortPositionRatio', 'symbol=BTCUSDT', '5m'), weight: 12 }],
    ['top_accounts_ratio', { path: ratioPath('topLongShortAccountRatio', 'symbol=BTCUSDT', '5m'), weight: 12 }],
    ['all_accounts_ratio', { path: ratioPath('globalLongShortAccountRatio', 'symbol=BTCUSDT', '5m'), weight: 12 }],
  ])
  const perpetual = instrument('coinm', 'BTCUSD_PERP', { kind: 'perpetual', underlying: 'BTCUSD' })
  assert.deepEqual(asked(feed, perpetual)[1], [
    'top_positions_ratio',
    { path: ratioPath('topLongShortPositionRatio', 'pair=BTCUSD', '5m'), weight: 1 },
  ])
  const dated = instrument('coinm', 'BTCUSD_261225', { kind: 'future', underlying: 'BTCUSD' })
  assert.deepEqual(
    asked(feed, dated).map(([, request]) => request !== undefined),
    [true, false, false, false],
    'one contract of a pair asks',
  )
  assert.deepEqual(
    asked(feed, instrument('usdm', 'OLDUSDT', { isTrading: false })).filter(([, request]) => request !== undefined),
    [],
  )
  const hourly = binanceFeed({
    ...BINANCE_FEED_DEFAULTS,
    usdm: { ...BINANCE_FEED_DEFAULTS.usdm, ratioPeriod: '1h' },
  })
  assert.deepEqual(asked(hourly, instrument('usdm', 'BTCUSDT'))[3], [
    'all_accounts_ratio_1h',
    { path: ratioPath('globalLongShortAccountRatio', 'symbol=BTCUSDT', '1h'), weight: 12 },
  ])
  for (const rules of [feed, hourly])
    for (const rule of rules.markets['usdm']?.polls ?? [])
      if (rule.channel === 'long_short_ratios')
        assert.ok(rule.intervalMs * 6 <= 12 * (rules === hourly ? 3_600_000 : 300_000), 'an answer spans six polls')
})

function ratioPath(name: string, whose: string, period: string): string {
  return `/futures/data/${name}?${whose}&period=${period}&limit=12`
}

test('Binance trades should be asked for by number where that needs no key', () => {
  assert.deepEqual(feed.tradesRequest('spot', 'BTCUSDT', 'trades', 100, 199), {
    path: '/api/v3/historicalTrades?symbol=BTCUSDT&fromId=100&limit=100',
    weight: 25,
  })
  assert.deepEqual(feed.tradesRequest('spot', 'BTCUSDT', 'agg_trades', 100, 5_000), {
    path: '/api/v3/aggTrades?symbol=BTCUSDT&fromId=100&limit=1000',
    weight: 4,
  })
  assert.deepEqual(feed.tradesRequest('coinm', 'BTCUSD_PERP', 'agg_trades', 7, 7), {
    path: '/dapi/v1/aggTrades?symbol=BTCUSD_PERP&fromId=7&limit=1',
    weight: 20,
  })
  assert.deepEqual(feed.tradesRequest('usdm', 'BTCUSDT', 'trades', 1, 2), {
    path: '/fapi/v1/trades?symbol=BTCUSDT&limit=1000',
    weight: 5,
  })
  assert.deepEqual(feed.tradesRequest('coinm', 'BTCUSD_PERP', 'trades', 1, 2), {
    path: '/dapi/v1/trades?symbol=BTCUSD_PERP&limit=1000',
    weight: 5,
  })
})

test('Binance instruments should say what they are, when they end and in what they count', () => {
  const of = (market: string, entry: object) =>
    feed.readInstruments(market, JSON.stringify({ symbols: [{ quoteAsset: 'USDT', ...entry }] }))[0] as Instrument
  const perpetual = of('usdm', {
    symbol: 'AUSDT',
    pair: 'AUSDT',
    contractType: 'PERPETUAL',
    deliveryDate: 4133404800000,
    status: 'TRADING',
    baseAsset: 'A',
    marginAsset: 'USDT',
  })
  assert.deepEqual(
    [perpetual.kind, perpetual.expiryMs, perpetual.base, perpetual.quote, perpetual.settle, perpetual.underlying],
    ['perpetual', undefined, 'A', 'USDT', 'USDT', 'AUSDT'],
  )
  assert.deepEqual([perpetual.contractSize, perpetual.contractUnit], [undefined, undefined])
  const kinds: [string, object, string, number | undefined][] = [
    [
      'coinm',
      { symbol: 'AUSD_261225', contractType: 'CURRENT_QUARTER', deliveryDate: 1798185600000 },
      'future',
      1798185600000,
    ],
    [
      'usdm',
      { symbol: 'AUSDT_261030', contractType: 'NEXT_MONTH', deliveryDate: 1793347200000 },
      'future',
      1793347200000,
    ],
    [
      'usdm',
      { symbol: 'BUSDT', contractType: 'PERPETUAL_DELIVERING', deliveryDate: 1793347200000 },
      'perpetual',
      1793347200000,
    ],
    [
      'usdm',
      { symbol: 'XAUUSDT', contractType: 'TRADIFI_PERPETUAL', deliveryDate: 4133404800000 },
      'perpetual',
      undefined,
    ],
    ['usdm', { symbol: 'CUSDT', contractType: '', deliveryDate: 4133404800000 }, 'perpetual', undefined],
    ['usdm', { symbol: 'DUSDT' }, 'other', undefined],
    ['spot', { symbol: 'AUSDT' }, 'spot', undefined],
  ]
  for (const [market, entry, kind, expiryMs] of kinds) {
    const one = of(market, entry)
    assert.deepEqual([one.kind, one.expiryMs], [kind, expiryMs], one.symbol)
  }
  const states: [string, boolean, boolean][] = [
    ['TRADING', true, false],
    ['PRE_SETTLE', true, false],
    ['PENDING_TRADING', false, true],
    ['SETTLING', false, false],
    ['CLOSE', false, false],
    ['BREAK', false, false],
  ]
  for (const [contractStatus, isTrading, isPreOpen] of states) {
    const one = of('coinm', { symbol: 'AUSD_PERP', contractStatus, contractSize: 10, quoteAsset: 'USD' })
    assert.deepEqual([one.isTrading, one.isPreOpen], [isTrading, isPreOpen], contractStatus)
    assert.deepEqual([one.contractSize, one.contractUnit], ['10', 'USD'])
  }
})

test('Binance socket URLs should carry the class on USD-M alone and keep another host', () => {
  assert.equal(feed.socketUrl('usdm', 'public', 'wss://fstream.binance.com'), 'wss://fstream.binance.com/public/stream')
  assert.equal(feed.socketUrl('usdm', 'market', 'ws://127.0.0.1:1/'), 'ws://127.0.0.1:1/market/stream')
  assert.equal(
    feed.socketUrl('spot', 'stream', 'wss://data-stream.binance.vision'),
    'wss://data-stream.binance.vision/stream',
  )
  assert.throws(() => feed.socketUrl('usdm', 'stream', 'wss://fstream.binance.com'), /no route/)
})

test('Binance subscribe frames should hold every stream once, at most 200 each, with ids that count up', () => {
  const names = Array.from({ length: 401 }, (_, index) => `s${index}usdt@depth@0ms`)
  const frames = feed.subscribeFrames(names, 5).map((frame) => ({ id: frame.id, body: JSON.parse(frame.text) }))
  assert.deepEqual(
    frames.map((frame) => [frame.id, frame.body.id, frame.body.method, frame.body.params.length]),
    [
      [5, 5, 'SUBSCRIBE', 200],
      [6, 6, 'SUBSCRIBE', 200],
      [7, 7, 'SUBSCRIBE', 1],
    ],
  )
  assert.deepEqual(
    frames.flatMap((frame) => frame.body.params),
    names,
  )
})

test('Binance controls should be told apart from data', () => {
  assert.deepEqual(control('{"result":null,"id":1}'), { kind: 'acknowledged', tokens: ['1'] })
  assert.deepEqual(control('{"result":["btcusdt@trade"],"id":7}'), { kind: 'acknowledged', tokens: ['7'] })
  assert.deepEqual(control('{"error":{"code":2,"msg":"Invalid request: x"},"id":3}'), {
    kind: 'refused',
    tokens: ['3'],
    reason: '2 Invalid request: x',
  })
  assert.deepEqual(control('{"code":3,"msg":"Invalid JSON"}'), {
    kind: 'refused',
    tokens: [],
    reason: '3 Invalid JSON',
  })
  assert.deepEqual(control('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'), {
    kind: 'shutdown',
  })
  assert.deepEqual(control('{"e":"serverShutdown","E":1770123456789}'), { kind: 'shutdown' })
  for (const data of [
    '',
    '{',
    '[]',
    'null',
    '{"stream":"btcusdt@depth","data":{}}',
    '{"stream":"!bookTicker","data":{}}',
    '{"e":"trade","id":1}',
    '{"id":1}',
    `{"result":"${'x'.repeat(70_000)}","id":1}`,
  ]) {
    assert.equal(control(data), undefined, data.slice(0, 40))
  }
})

test('Binance control test should survive any bytes', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const frame = bytes('{"error":{"code":2,"msg":"Invalid request"},"id":3}')
  for (let round = 0; round < 5_000; round++) {
    const broken = frame.slice(0, Math.floor(random() * (frame.length + 1)))
    for (let hit = 0; hit < 3 && broken.length > 0; hit++)
      broken[Math.floor(random() * broken.length)] = Math.floor(random() * 256)
    if (feed.isControl(broken)) feed.readControl(broken)
  }
})

test('Binance scales should be the digits that remain once trailing zeros are gone', () => {
  const cases: [string | undefined, number | undefined][] = [
    ['0.00000100', 6],
    ['0.01', 2],
    ['0.10', 1],
    ['1', 0],
    ['1.00000000', 0],
    ['10', 0],
    ['0.5', 1],
    ['0.00000001', 8],
    ['0.00000000', undefined],
    ['0', undefined],
    ['1e-7', undefined],
    ['', undefined],
    [undefined, undefined],
  ]
  for (const [size, scale] of cases) assert.equal(scaleOf(size), scale, String(size))
})

test('Binance snapshot requests should cost what the venue says', () => {
  const spot = [
    [5, 5],
    [100, 5],
    [101, 25],
    [500, 25],
    [1000, 50],
    [1001, 250],
    [5000, 250],
  ] as const
  for (const [depth, weight] of spot) assert.equal(feed.snapshotRequest('spot', 'BTCUSDT', depth).weight, weight)
  assert.deepEqual(feed.snapshotRequest('usdm', 'BTCUSDT', 1000), {
    path: '/fapi/v1/depth?symbol=BTCUSDT&limit=1000',
    weight: 20,
  })
  assert.deepEqual(feed.snapshotRequest('coinm', 'BTCUSD_PERP', 200), {
    path: '/dapi/v1/depth?symbol=BTCUSD_PERP&limit=500',
    weight: 10,
  })
  assert.deepEqual(feed.snapshotRequest('spot', 'BTCUSDT', 5000), {
    path: '/api/v3/depth?symbol=BTCUSDT&limit=5000',
    weight: 250,
  })
  assert.throws(() => feed.snapshotRequest('usdm', 'BTCUSDT', 1001), { code: 'SNAPSHOT_DEPTH' })
  assert.equal(feed.readServerTime('{"serverTime":1770123456789}'), 1770123456789)
})

test('Binance answers that are not what they should be should be named', () => {
  for (const body of ['', 'null', '[]', '{}', '{"symbols":[{}]}', '<html>']) {
    assert.throws(() => feed.readInstruments('spot', body), { code: 'BAD_ANSWER' }, body)
    assert.throws(() => feed.readServerTime(body), { code: 'BAD_ANSWER' }, body)
  }
})

const LISTS = [
  [
    'spot',
    'BINANCE',
    1695,
    'RAREUSDT',
    3,
    1,
    { kind: 'spot', base: 'RARE', quote: 'USDT' },
    '0.00100000',
    '0.10000000',
  ],
  [
    'usdm',
    'BINANCE_FUTURES',
    122,
    'TLMUSDT',
    4,
    0,
    { kind: 'perpetual', base: 'TLM', quote: 'USDT', settle: 'USDT', underlying: 'TLMUSDT' },
    '0.0001',
    '1',
  ],
  [
    'coinm',
    'BINANCE_DELIVERY',
    36,
    'BTCUSD_PERP',
    1,
    0,
    {
      kind: 'perpetual',
      base: 'BTC',
      quote: 'USD',
      settle: 'BTC',
      underlying: 'BTCUSD',
      contractSize: '100',
      contractUnit: 'USD',
    },
    '0.1',
    '1',
  ],
] as const

for (const [market, file, count, symbol, priceScale, quantityScale, more, tickSize, lotSize] of LISTS) {
  test(`Binance instrument list of ${market} should be read as recorded`, (t) => {
    const path = join(recordings, 'recordings/cryptofeed', `${file}.0.gz`)
    if (!existsSync(path)) return t.skip(`${path} is not there`)
    const line = gunzipSync(readFileSync(path))
      .toString()
      .split('\n')
      .find((each) => each.includes('exchangeInfo')) as string
    const body = line.slice(line.indexOf(': ') + 2)
    const instruments = feed.readInstruments(market, body)
    assert.equal(instruments.length, count)
    const dated = instruments.filter((each) => each.kind === 'future')
    assert.equal(dated.length, { spot: 0, usdm: 2, coinm: 18 }[market])
    assert.ok(dated.every((each) => (each.expiryMs ?? 0) > 1_600_000_000_000 && /_\d{6}$/.test(each.symbol)))
    const one = instruments.find((instrument) => instrument.symbol === symbol)
    assert.deepEqual(one, {
      id: `binance.${market}.${symbol}`,
      exchange: 'binance',
      market,
      symbol,
      priceScale,
      quantityScale,
      status: 'TRADING',
      isTrading: true,
      isPreOpen: false,
      ...more,
      tickSize,
      lotSize,
    })
    for (const { filters, symbol: each } of JSON.parse(body).symbols) {
      const found = instruments.find((instrument) => instrument.symbol === each)
      const size = filters.find((filter: { filterType: string }) => filter.filterType === 'PRICE_FILTER').tickSize
      // every multiple of the tick is an integer at this scale, and one digit less would not do
      const scale = found?.priceScale ?? -1
      assert.equal(Number(Number(size).toFixed(scale)), Number(size), each)
      if (scale > 0) assert.notEqual(Number(Number(size).toFixed(scale - 1)), Number(size), each)
    }
  })
}

test('Binance recorded instrument lists of 2025 should be read too', (t) => {
  const path = join(recordings, 'rest/binance_recorded_rest.json')
  if (!existsSync(path)) return t.skip(`${path} is not there`)
  const recorded = JSON.parse(readFileSync(path, 'utf8')) as { path: string; body: unknown }[]
  for (const [market, base] of [
    ['usdm', '/fapi/v1'],
    ['coinm', '/dapi/v1'],
  ] as const) {
    const answer = recorded.find((each) => each.path === `${base}/exchangeInfo`)
    const instruments = feed.readInstruments(market, JSON.stringify(answer?.body))
    assert.ok(instruments.length > 0)
    assert.equal(instruments[0]?.priceScale, 1)
  }
})

test('Binance control test should take no recorded data frame for a control', (t) => {
  for (const file of ['BINANCE_FUTURES.ws.1.0.gz', 'BINANCE_DELIVERY.ws.1.0.gz']) {
    const path = join(recordings, 'recordings/cryptofeed', file)
    if (!existsSync(path)) return t.skip(`${path} is not there`)
    const frames = gunzipSync(readFileSync(path))
      .toString()
      .split('\n')
      .filter((line) => /^[\d.]+: /.test(line))
    assert.ok(frames.length > 1_000)
    for (const line of frames)
      assert.equal(feed.isControl(bytes(line.slice(line.indexOf(': ') + 2))), false, line.slice(0, 80))
  }
})
