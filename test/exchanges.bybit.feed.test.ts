import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BYBIT_FEED_DEFAULTS, BYBIT_READ, bybitFeed } from '../engine/exchanges/bybit/index.ts'
import { CHANNELS, type Channel, type Instrument } from '../engine/exchanges/exchange.ts'
import { feedRules, READ_RULES } from '../engine/exchanges/index.ts'

const rules = bybitFeed()
const bytes = (text: string) => new TextEncoder().encode(text)

function instrument(market: string, symbol: string, quote = 'USDT'): Instrument {
  return {
    id: `bybit.${market}.${symbol}`,
    exchange: 'bybit',
    market,
    symbol,
    priceScale: 2,
    quantityScale: 3,
    status: 'Trading',
    quote,
  }
}

function names(market: string, channel: Channel): string[] {
  return rules.streams(instrument(market, 'BTCUSDT'), channel).map(({ name }) => name)
}

test('registry should have both halves of Bybit, with the same markets', () => {
  assert.deepEqual(Object.keys(feedRules().get('bybit')?.markets ?? {}), ['spot', 'linear', 'inverse'])
  assert.equal(READ_RULES.get('bybit'), BYBIT_READ)
  assert.deepEqual(BYBIT_READ.markets, ['spot', 'linear', 'inverse'])
})

test('streams should be the topics of each market', () => {
  const topics = (market: string) => Object.fromEntries(CHANNELS.map((channel) => [channel, names(market, channel)]))
  const none: string[] = []
  const spot = {
    book: ['orderbook.200.BTCUSDT'],
    trades: ['publicTrade.BTCUSDT'],
    agg_trades: none,
    book_tickers: ['orderbook.1.BTCUSDT'],
    klines: ['kline.1.BTCUSDT'],
    tickers: ['tickers.BTCUSDT'],
    mark_prices: none,
    index_prices: none,
    funding_rates: none,
    open_interests: none,
    liquidations: none,
    long_short_ratios: none,
    volatility_indices: none,
  }
  assert.deepEqual(topics('spot'), spot)
  const tickers = ['tickers.BTCUSDT']
  const derivatives = {
    ...spot,
    mark_prices: tickers,
    index_prices: tickers,
    funding_rates: tickers,
    open_interests: tickers,
    liquidations: ['allLiquidation.BTCUSDT'],
  }
  for (const market of ['linear', 'inverse']) assert.deepEqual(topics(market), derivatives)
})

test('streams should follow the options', () => {
  const chosen = {
    ...BYBIT_FEED_DEFAULTS.linear,
    bookDepth: 1000,
    klineIntervals: ['1h', '1d'],
    ratioPeriod: '1h',
  } as const
  const feed = bybitFeed({ ...BYBIT_FEED_DEFAULTS, linear: chosen })
  const topics = (channel: Channel) => feed.streams(instrument('linear', 'X'), channel).map(({ name }) => name)
  assert.deepEqual(topics('book'), ['orderbook.1000.X'])
  assert.deepEqual(topics('klines'), ['kline.60.X', 'kline.D.X'])
  assert.deepEqual(
    feed.markets['linear']?.polls.map(({ name, intervalMs }) => [name, intervalMs]),
    [['account_ratio_1h', 3_600_000]],
  )
})

test('feed should refuse a book depth that has no chain of changes', () => {
  for (const bookDepth of [1, 25, 500])
    assert.throws(
      () => bybitFeed({ ...BYBIT_FEED_DEFAULTS, spot: { ...BYBIT_FEED_DEFAULTS.spot, bookDepth } }),
      /depth/,
    )
})

test('socketUrl should name the market in its path', () => {
  assert.equal(rules.socketUrl('linear', 'public', 'wss://h/'), 'wss://h/v5/public/linear')
  assert.throws(() => rules.socketUrl('linear', 'private', 'wss://h'))
})

test('subscribeFrames should ask for at most ten topics at once, each acknowledged by its id', () => {
  const topics = Array.from({ length: 23 }, (_, index) => `tickers.S${index}`)
  const frames = rules.subscribeFrames(topics, 5)
  assert.deepEqual(
    frames.map(({ id, tokens }) => [id, tokens]),
    [
      [5, ['5']],
      [6, ['6']],
      [7, ['7']],
    ],
  )
  const asked = frames.map(({ text }) => JSON.parse(text))
  assert.deepEqual(
    asked.map(({ op, req_id: id, args }) => [op, id, args.length]),
    [
      ['subscribe', '5', 10],
      ['subscribe', '6', 10],
      ['subscribe', '7', 3],
    ],
  )
  assert.deepEqual(
    asked.flatMap(({ args }) => args),
    topics,
  )
  assert.equal(JSON.parse(rules.unsubscribeFrames(topics, 1)[0]?.text ?? '').op, 'unsubscribe')
})

test('a full connection should stay below the 21,000 characters of topics', () => {
  const { streamsPerConnectionMax } = rules.markets['linear']?.limits ?? { streamsPerConnectionMax: 0 }
  const longest = 'allLiquidation.10000000AIDOGEUSDT' // the longest symbol that was ever listed there
  assert.ok(streamsPerConnectionMax * (longest.length + 3) < 21_000)
})

test('isControl should let every data frame pass and stop every answer', () => {
  assert.equal(rules.isControl(bytes('{"topic":"orderbook.1.BTCUSDT","type":"snapshot"}')), false)
  for (const text of ['{"success":true}', '{"req_id":"1","op":"pong"}', '{"op":"pong"}', '{ "topic":"x"}'])
    assert.equal(rules.isControl(bytes(text)), true, text)
})

test('readControl should know acknowledgement, refusal and the pongs of both kinds', () => {
  const read = (text: string) => rules.readControl(bytes(text))
  assert.deepEqual(read('{"success":true,"ret_msg":"","conn_id":"c","req_id":"7","op":"subscribe"}'), {
    kind: 'acknowledged',
    tokens: ['7'],
  })
  assert.deepEqual(
    read('{"success":false,"ret_msg":"error:handler not found,topic:x","conn_id":"c","req_id":"7","op":"subscribe"}'),
    {
      kind: 'refused',
      tokens: ['7'],
      reason: 'error:handler not found,topic:x',
    },
  )
  assert.deepEqual(read('{"success":false,"ret_msg":"Invalid topic: x","conn_id":"c","op":"subscribe"}'), {
    kind: 'refused',
    tokens: [],
    reason: 'Invalid topic: x',
  })
  assert.deepEqual(read('{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'), { kind: 'alive' })
  assert.deepEqual(read('{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}'), { kind: 'alive' })
  assert.deepEqual(read('{"req_id":"9","op":"pong","args":["1675418560633"],"conn_id":"c"}'), {
    kind: 'acknowledged',
    tokens: ['9'],
  })
  for (const text of ['{\n"topic":"tickers.X","success":true}', '{}', 'pong', '[1]', '{"op":7}', ''])
    assert.equal(read(text), undefined, text)
})

test('readInstruments should read perpetuals, futures and pairs', () => {
  const body = (list: object[], nextPageCursor = '') =>
    JSON.stringify({ retCode: 0, retMsg: 'OK', result: { category: 'x', list, nextPageCursor }, time: 1 })
  const linear = (extra: object) => ({
    symbol: 'BTCUSDT',
    contractType: 'LinearPerpetual',
    status: 'Trading',
    baseCoin: 'BTC',
    quoteCoin: 'USDT',
    settleCoin: 'USDT',
    deliveryTime: '0',
    priceScale: '2',
    priceFilter: { tickSize: '0.10' },
    lotSizeFilter: { qtyStep: '0.001' },
    ...extra,
  })
  const list = [
    linear({}),
    linear({ symbol: 'BTC-26DEC25', contractType: 'LinearFutures', deliveryTime: '1766736000000', settleCoin: 'USDC' }),
    linear({
      symbol: 'NEWUSDT',
      status: 'PreLaunch',
      priceFilter: { tickSize: '5' },
      lotSizeFilter: { qtyStep: '10' },
    }),
  ]
  const [perpetual, future, fresh] = rules.readInstruments('linear', body(list))
  assert.deepEqual(perpetual, {
    id: 'bybit.linear.BTCUSDT',
    exchange: 'bybit',
    market: 'linear',
    symbol: 'BTCUSDT',
    priceScale: 1,
    quantityScale: 3,
    status: 'Trading',
    isTrading: true,
    isPreOpen: false,
    kind: 'perpetual',
    base: 'BTC',
    quote: 'USDT',
    settle: 'USDT',
    tickSize: '0.10',
    lotSize: '0.001',
  })
  assert.deepEqual([future?.kind, future?.expiryMs], ['future', 1766736000000])
  assert.deepEqual([fresh?.isTrading, fresh?.isPreOpen, fresh?.priceScale, fresh?.quantityScale], [false, true, 0, 0])
  const [inverse] = rules.readInstruments(
    'inverse',
    body([
      linear({ symbol: 'BTCUSD', contractType: 'InversePerpetual', quoteCoin: 'USD', deliveryTime: '1702582000000' }),
    ]),
  )
  assert.deepEqual(
    [inverse?.kind, inverse?.expiryMs, inverse?.contractSize, inverse?.contractUnit],
    ['perpetual', undefined, '1', 'USD'],
  )
  const pair = {
    symbol: 'BTCUSDT',
    baseCoin: 'BTC',
    quoteCoin: 'USDT',
    status: 'Trading',
    lotSizeFilter: { basePrecision: '0.000001' },
    priceFilter: { tickSize: '0.01' },
  }
  const [spot] = rules.readInstruments('spot', body([pair]))
  assert.deepEqual([spot?.kind, spot?.priceScale, spot?.quantityScale, spot?.contractSize], ['spot', 2, 6, undefined])
  for (const wrong of [
    '',
    '[]',
    '{"retCode":10001,"retMsg":"x","result":{"list":[]}}',
    body([{}]),
    '{"retCode":0,"result":{}}',
  ])
    assert.throws(() => rules.readInstruments('linear', wrong), { code: 'BAD_ANSWER' }, wrong)
})

test('nextInstrumentsRequest should turn the page by the cursor as it came', () => {
  const body = (nextPageCursor: string | null) => JSON.stringify({ retCode: 0, result: { list: [], nextPageCursor } })
  const first = rules.instrumentsRequest('linear')
  assert.equal(first.path, '/v5/market/instruments-info?category=linear&limit=1000')
  assert.equal(
    rules.nextInstrumentsRequest?.('linear', body('first%3DA%26last%3DB'))?.path,
    `${first.path}&cursor=first%3DA%26last%3DB`,
  )
  for (const end of ['', null]) assert.equal(rules.nextInstrumentsRequest?.('linear', body(end)), undefined)
})

test('readVolumes should count quote currency, on inverse markets dollars', () => {
  const body = JSON.stringify({
    retCode: 0,
    result: { list: [{ symbol: 'A', turnover24h: '115.69', volume24h: '13713832' }, { symbol: 'B' }] },
  })
  assert.deepEqual(
    [...rules.readVolumes('linear', body)],
    [
      ['A', 115.69],
      ['B', 0],
    ],
  )
  assert.deepEqual(
    [...rules.readVolumes('inverse', body)],
    [
      ['A', 13713832],
      ['B', 0],
    ],
  )
})

test('readServerTime should not lose the nanoseconds of the answer to a double', () => {
  assert.equal(
    rules.readServerTime(
      '{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},"time":1}',
    ),
    1688639403423,
  )
  assert.throws(() => rules.readServerTime('{"retCode":0,"result":{}}'), { code: 'BAD_ANSWER' })
})

test('polls should ask for the ratios of what has them', () => {
  assert.deepEqual(rules.markets['spot']?.polls, [])
  const [linear] = rules.markets['linear']?.polls ?? []
  assert.deepEqual(
    [linear?.name, linear?.channel, linear?.intervalMs],
    ['account_ratio_5m', 'long_short_ratios', 300_000],
  )
  assert.deepEqual(linear?.request(instrument('linear', 'BTCUSDT')), {
    path: '/v5/market/account-ratio?category=linear&symbol=BTCUSDT&period=5min&limit=3',
    weight: 1,
  })
  assert.equal(linear?.request(instrument('linear', 'BTCPERP', 'USDC')), undefined)
  const [inverse] = rules.markets['inverse']?.polls ?? []
  assert.match(inverse?.request(instrument('inverse', 'BTCUSD', 'USD'))?.path ?? '', /category=inverse&symbol=BTCUSD&/)
})

test('trades should not be asked for by number: the venue has none', () => {
  assert.equal(rules.tradesRequest('linear', 'BTCUSDT', 'trades', 1, 2), undefined)
  assert.throws(() => rules.snapshotRequest('linear', 'BTCUSDT', 50), /start in the stream/)
})
