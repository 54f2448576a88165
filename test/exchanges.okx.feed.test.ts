import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHANNELS, type Channel, type Control, type Instrument } from '../engine/exchanges/exchange.ts'
import { OKX_FEED_DEFAULTS, OKX_READ, okxFeed } from '../engine/exchanges/okx/index.ts'
import { OkxRig } from './support/okx.ts'

const FEED = okxFeed()
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const read = (text: string): Control | undefined => FEED.readControl(bytesOf(text))

function instrument(market: string, symbol: string, more: Partial<Instrument> = {}): Instrument {
  return {
    id: `okx.${market}.${symbol}`,
    exchange: 'okx',
    market,
    symbol,
    priceScale: 1,
    quantityScale: 1,
    status: 'live',
    ...more,
  }
}
const SPOT = instrument('spot', 'BTC-USDT')
const SWAP = instrument('swap', 'BTC-USDT-SWAP')
const OPTION = instrument('option', 'BTC-USD-260327-92000-C', { underlying: 'BTC-USD' })
const INDEX = instrument('index', 'BTC-USDT')

function namesOf(one: Instrument, channel: Channel, feed = FEED): string[] {
  return feed.streams(one, channel).map(({ name, route }) => `${name} ${route}`)
}

test('okx feed should know the stream and the path of every channel', () => {
  const told = (one: Instrument) =>
    Object.fromEntries(CHANNELS.map((channel) => [channel, namesOf(one, channel)]).filter(([, names]) => names?.length))
  assert.deepEqual(told(SWAP), {
    book: ['books:BTC-USDT-SWAP public'],
    trades: ['trades:BTC-USDT-SWAP public'],
    book_tickers: ['bbo-tbt:BTC-USDT-SWAP public'],
    klines: ['candle1m:BTC-USDT-SWAP business'],
    tickers: ['tickers:BTC-USDT-SWAP public'],
    mark_prices: ['mark-price:BTC-USDT-SWAP public'],
    funding_rates: ['funding-rate:BTC-USDT-SWAP public'],
    open_interests: ['open-interest:BTC-USDT-SWAP public'],
    liquidations: ['liquidation-orders:SWAP public'],
  })
  assert.deepEqual(told(INDEX), { index_prices: ['index-tickers:BTC-USDT public'] })
  assert.deepEqual(namesOf(OPTION, 'tickers'), ['tickers:BTC-USD-260327-92000-C public', 'opt-summary:BTC-USD public'])
  assert.deepEqual(namesOf(SPOT, 'mark_prices'), [])
  const all = {
    ...OKX_FEED_DEFAULTS,
    spot: { ...OKX_FEED_DEFAULTS.spot, tradeStream: 'trades-all', klineIntervals: ['1s', '1d', '1M'] },
  } as const
  assert.deepEqual(namesOf(SPOT, 'trades', okxFeed(all)), ['trades-all:BTC-USDT business'])
  assert.deepEqual(namesOf(SPOT, 'klines', okxFeed(all)), [
    'candle1s:BTC-USDT business',
    'candle1Dutc:BTC-USDT business',
    'candle1Mutc:BTC-USDT business',
  ])
  assert.equal(FEED.socketUrl('spot', 'business', 'wss://ws.okx.com:8443/'), 'wss://ws.okx.com:8443/ws/v5/business')
  assert.throws(() => FEED.socketUrl('spot', 'private', 'wss://x'))
})

test('okx feed should turn stream names into args and expect one acknowledgement each', () => {
  const names = ['books:BTC-USDT', 'liquidation-orders:SWAP', 'opt-summary:BTC-USD']
  const [frame, ...none] = FEED.subscribeFrames(names, 7)
  assert.deepEqual(none, [])
  assert.deepEqual(JSON.parse(frame?.text ?? ''), {
    id: '7',
    op: 'subscribe',
    args: [
      { channel: 'books', instId: 'BTC-USDT' },
      { channel: 'liquidation-orders', instType: 'SWAP' },
      { channel: 'opt-summary', instFamily: 'BTC-USD' },
    ],
  })
  assert.deepEqual(frame?.tokens, names)
  // what the venue answers to each of them
  const answered = JSON.parse(frame?.text ?? '').args.map((arg: object) =>
    read(JSON.stringify({ id: '7', event: 'subscribe', arg, connId: 'a' })),
  )
  assert.deepEqual(
    answered,
    names.map((name) => ({ kind: 'acknowledged', tokens: [name] })),
  )
  assert.deepEqual(FEED.subscribeFrames([], 1), [])
})

test('okx feed should keep a request below 64 KB whatever is asked for', () => {
  const names = Array.from({ length: 3000 }, (_, index) => `books:LONG-SYMBOL-${index}-SWAP`)
  const frames = FEED.subscribeFrames(names, 1)
  assert.ok(frames.length > 1)
  for (const { text } of frames) assert.ok(text.length <= 64_000, String(text.length))
  assert.deepEqual(
    frames.flatMap(({ tokens }) => tokens),
    names,
  )
  assert.deepEqual(
    frames.map(({ id }) => id),
    frames.map((_, index) => index + 1),
  )
})

test('okx feed should not take the answer to an unsubscribe for one to a subscribe', () => {
  const [frame] = FEED.unsubscribeFrames(['books:BTC-USDT'], 3)
  assert.equal(JSON.parse(frame?.text ?? '').op, 'unsubscribe')
  const answer = read('{"id":"3","event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a"}')
  assert.deepEqual(answer, { kind: 'acknowledged', tokens: frame?.tokens })
  assert.notDeepEqual(frame?.tokens, FEED.subscribeFrames(['books:BTC-USDT'], 3)[0]?.tokens)
})

test('okx feed should understand refusals, notices and pongs', () => {
  const said: readonly (readonly [string, Control])[] = [
    ['pong', { kind: 'acknowledged', tokens: ['pong'] }],
    [
      '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"a"}',
      { kind: 'shutdown' },
    ],
    ['{"event":"notice","code":"1","msg":"x","connId":"a"}', { kind: 'alive' }],
    ['{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"a"}', { kind: 'alive' }],
    ['{"event":"login","code":"0","msg":"","connId":"a"}', { kind: 'acknowledged', tokens: ['login'] }],
    [
      '{"event":"error","msg":"Please log in","code":"60011","connId":"a"}',
      { kind: 'refused', tokens: [], reason: '60011 Please log in' },
    ],
    [
      '{"event":"error","arg":{"channel":"books-l2-tbt","instId":"BTC-USDT"},"code":"64003","msg":"tier","connId":"a"}',
      { kind: 'refused', tokens: ['books-l2-tbt:BTC-USDT'], reason: '64003 tier' },
    ],
  ]
  for (const [text, control] of said) assert.deepEqual(read(text), control, text)
  // as the venue words it, with and without a space
  for (const [text, name] of [
    ["Wrong URL or channel:tickers,instId:NOPE-USDT doesn't exist. Please use the correct URL.", 'tickers:NOPE-USDT'],
    ["Wrong URL or channel:index-tickers, instId:NEAR-USDT-SWAP doesn't exist.", 'index-tickers:NEAR-USDT-SWAP'],
  ] as const) {
    const control = read(JSON.stringify({ event: 'error', msg: text, code: '60018', connId: 'a' }))
    assert.deepEqual(control, { kind: 'refused', tokens: [name], reason: `60018 ${text}` })
  }
  assert.equal(read('{"arg":{"channel":"books","instId":"X"},"data":[]}'), undefined)
  assert.equal(read('nonsense'), undefined)
})

test('okx feed should tell control frames from data by a byte', () => {
  for (const text of ['pong', '{"event":"error"}', '{"id":"1","event":"subscribe"}', '', 'x'])
    assert.equal(FEED.isControl(bytesOf(text)), true, text)
  assert.equal(FEED.isControl(bytesOf('{"arg":{"channel":"books","instId":"X"},"data":[]}')), false)
  const probe = FEED.probeFrame(9)
  assert.deepEqual([probe?.text, probe?.tokens], ['ping', ['pong']])
})

test('okx feed should log in with the signature of the venue’s rule, and only where it has to', () => {
  assert.deepEqual(FEED.openingFrames(1, 1704876947000), [])
  const spot = { ...OKX_FEED_DEFAULTS.spot, bookStream: 'books-l2-tbt' } as const
  assert.throws(() => okxFeed({ ...OKX_FEED_DEFAULTS, spot }), { code: 'CREDENTIALS', exitCode: 78 })
  const credentials = { apiKey: 'key', secret: '22582BD0CFF14C41EDBF1AB98506286D', passphrase: 'phrase' }
  const feed = okxFeed({ ...OKX_FEED_DEFAULTS, spot, credentials })
  assert.deepEqual(namesOf(SPOT, 'book', feed), ['books-l2-tbt:BTC-USDT public'])
  const [frame] = feed.openingFrames(1, 1704876947999)
  assert.deepEqual(frame?.tokens, ['login'])
  // python3: base64(hmac_sha256(secret, '1704876947GET/users/self/verify'))
  assert.deepEqual(JSON.parse(frame?.text ?? ''), {
    op: 'login',
    args: [
      {
        apiKey: 'key',
        passphrase: 'phrase',
        timestamp: '1704876947',
        sign: '5/36BgGV6m/6pmdc20zdqk0mzF5ZalmzzPD2fo3wavU=',
      },
    ],
  })
})

const entry = (fields: object): string => JSON.stringify({ code: '0', msg: '', data: [fields] })

test('okx feed should read what an instrument is', () => {
  const option = entry({
    instType: 'OPTION',
    instId: 'BTC-USD-260327-92000-P',
    uly: 'BTC-USD',
    instFamily: 'BTC-USD',
    baseCcy: '',
    quoteCcy: '',
    settleCcy: 'BTC',
    ctVal: '1',
    ctMult: '0.01',
    ctValCcy: 'BTC',
    optType: 'P',
    stk: '92000',
    expTime: '1774598400000',
    tickSz: '0.0005',
    lotSz: '1',
    state: 'live',
  })
  assert.deepEqual(FEED.readInstruments('option', option), [
    {
      id: 'okx.option.BTC-USD-260327-92000-P',
      exchange: 'okx',
      market: 'option',
      symbol: 'BTC-USD-260327-92000-P',
      kind: 'option',
      priceScale: 4,
      quantityScale: 0,
      status: 'live',
      isTrading: true,
      isPreOpen: false,
      expiryMs: 1774598400000,
      optionType: 'put',
      base: 'BTC',
      quote: 'USD',
      settle: 'BTC',
      strike: '92000',
      contractSize: '0.01',
      contractUnit: 'BTC',
      tickSize: '0.0005',
      lotSize: '1',
      underlying: 'BTC-USD',
    },
  ])
  const spot = entry({
    instType: 'SPOT',
    instId: 'NEW-USDT',
    baseCcy: 'NEW',
    quoteCcy: 'USDT',
    uly: '',
    ctVal: '',
    ctMult: '',
    expTime: '',
    optType: '',
    tickSz: '0.00000100',
    lotSz: '0.01',
    state: 'preopen',
  })
  assert.deepEqual(FEED.readInstruments('spot', spot), [
    {
      id: 'okx.spot.NEW-USDT',
      exchange: 'okx',
      market: 'spot',
      symbol: 'NEW-USDT',
      kind: 'spot',
      priceScale: 6,
      quantityScale: 2,
      status: 'preopen',
      isTrading: false,
      isPreOpen: true,
      base: 'NEW',
      quote: 'USDT',
      tickSize: '0.00000100',
      lotSize: '0.01',
    },
  ])
  const [swap] = FEED.readInstruments(
    'swap',
    entry({
      instId: 'BTC-USD-SWAP',
      uly: 'BTC-USD',
      settleCcy: 'BTC',
      ctVal: '100',
      ctMult: '1',
      ctValCcy: 'USD',
      tickSz: '0.1',
      lotSz: '0.1',
      state: 'suspend',
    }),
  )
  assert.deepEqual(
    [swap?.kind, swap?.contractSize, swap?.contractUnit, swap?.isTrading, swap?.isPreOpen],
    ['perpetual', '100', 'USD', false, false],
  )
  assert.throws(() => FEED.readInstruments('spot', '{"code":"50011","msg":"Too Many Requests","data":[]}'), {
    code: 'BAD_ANSWER',
  })
  assert.throws(() => FEED.readInstruments('spot', 'oops'), { code: 'BAD_ANSWER' })
  assert.throws(() => FEED.readInstruments('spot', entry({})), { code: 'BAD_ANSWER' })
})

test('okx feed should ask for options by underlying and for indices by quote currency until there is none left', () => {
  const asked = (market: string, body: (path: string) => string): string[] => {
    const paths: string[] = []
    for (let request = FEED.instrumentsRequest(market); ; ) {
      paths.push(request.path)
      const next = FEED.nextInstrumentsRequest?.(market, body(request.path))
      if (next === undefined) return paths
      request = next
    }
  }
  const last = (path: string): string => path.slice(path.lastIndexOf('=') + 1)
  assert.deepEqual(
    asked('option', (path) => entry({ uly: last(path), instId: `${last(path)}-260327-1-C` })),
    [
      '/api/v5/public/instruments?instType=OPTION&uly=BTC-USD',
      '/api/v5/public/instruments?instType=OPTION&uly=ETH-USD',
    ],
  )
  assert.deepEqual(asked('index', (path) => entry({ instId: `ABC-${last(path)}` })).map(last), [
    'USDT',
    'USD',
    'USDC',
    'BTC',
  ])
  assert.deepEqual(
    asked('swap', () => entry({})),
    ['/api/v5/public/instruments?instType=SWAP'],
  )
})

test('okx feed should put the turnover of a market into one currency', () => {
  const tickers = (...rows: readonly (readonly [string, string, string])[]): string =>
    JSON.stringify({ code: '0', data: rows.map(([instId, last, volCcy24h]) => ({ instId, last, volCcy24h })) })
  const spot = tickers(
    ['BTC-USDT', '50000', '1000'],
    ['ETH-BTC', '0.05', '2'],
    ['USDT-TRY', '40', '400'],
    ['BTC-TRY', '2000000', '80'],
  )
  assert.deepEqual(Object.fromEntries(FEED.readVolumes('spot', spot)), {
    'BTC-USDT': 1000,
    'ETH-BTC': 100_000,
    'USDT-TRY': 10,
    'BTC-TRY': 2,
  })
  assert.deepEqual([...FEED.readVolumes('swap', tickers(['BTC-USD-SWAP', '50000', '3']))], [['BTC-USD-SWAP', 150_000]])
})

test('okx feed should ask for the oldest hundred of the trades that are missing', () => {
  const path = (first: number, last: number) => FEED.tradesRequest('swap', 'BTC-USDT-SWAP', 'trades', first, last)?.path
  assert.equal(path(11, 13), '/api/v5/market/history-trades?instId=BTC-USDT-SWAP&type=1&after=14&limit=3')
  assert.equal(path(11, 500), '/api/v5/market/history-trades?instId=BTC-USDT-SWAP&type=1&after=111&limit=100')
  assert.equal(FEED.tradesRequest('swap', 'X', 'agg_trades', 1, 2), undefined)
  assert.equal(FEED.tradesRequest('index', 'BTC-USDT', 'trades', 1, 2), undefined)
})

test('okx feed should poll three ratios of contracts, and each answer should be read once', () => {
  const polls = FEED.markets['swap']?.polls ?? []
  assert.deepEqual(
    polls.map(({ name }) => name),
    ['long_short_all_accounts_5m', 'long_short_top_accounts_5m', 'long_short_top_positions_5m'],
  )
  assert.equal(
    polls[2]?.request(SWAP)?.path,
    '/api/v5/rubik/stat/contracts/long-short-position-ratio-contract-top-trader?instId=BTC-USDT-SWAP&period=5m&limit=12',
  )
  assert.deepEqual(FEED.markets['spot']?.polls, [])
  const rig = new OkxRig()
  const answer = (...rows: string[][]) =>
    rig.poll('long_short_top_positions_5m', JSON.stringify({ code: '0', msg: '', data: rows }), 'BTC-USDT-SWAP')
  const ratios = ({ events }: ReturnType<typeof answer>) =>
    events.map((row) => [row['event_ns'], row['scope'], row['period'], row['ratio']])
  const [first, second, third] = [1790000000000, 1790000300000, 1790000600000].map(String) as [string, string, string]
  const row = (ms: string, ratio: string) => [BigInt(ms) * 1_000_000n, 'top_positions', '5m', ratio]
  assert.deepEqual(ratios(answer([second, '1.5'], [first, '1.25'])), [row(first, '1.25'), row(second, '1.5')])
  assert.deepEqual(
    ratios(answer([third, '2'], [second, '1.75'], [first, '1.25'])),
    [row(second, '1.75'), row(third, '2')],
    'a changed one again',
  )
  assert.deepEqual(answer([third, '2'], [second, '1.75']), { outcome: 'unchanged', events: [] })
  assert.equal(rig.poll('strange', '{"code":"0","data":[]}', 'BTC-USDT-SWAP').outcome, 'unknown_event')
  assert.equal(rig.poll('long_short_top_positions_5m', '{"code":"50011","data":[]}', 'BTC-USDT-SWAP').outcome, 'type')
})

test('okx should give the recent history of liquidations once, and only of instruments that it knows', () => {
  const rig = new OkxRig()
  rig.collector.instrumentOf('BTC-USDT-SWAP')
  rig.collector.isLearning = false
  const order = (ts: number) => ({ bkPx: '82655.7', posSide: 'long', side: 'sell', sz: '8.55', ts: String(ts) })
  const push = (...rows: (readonly [string, number[]])[]) =>
    rig.parse(
      JSON.stringify({
        arg: { channel: 'liquidation-orders', instType: 'SWAP' },
        data: rows.map(([instId, times]) => ({ instId, details: times.map(order) })),
      }),
    )
  const times = ({ events }: ReturnType<typeof push>) => events.map((row) => row['event_ns'])
  assert.deepEqual(times(push(['BTC-USDT-SWAP', [1, 2]], ['ABC-USDT-SWAP', [3]])), [1_000_000n, 2_000_000n])
  assert.deepEqual(push(['BTC-USDT-SWAP', [1, 2]]), { outcome: 'unchanged', events: [] })
  assert.deepEqual(times(push(['BTC-USDT-SWAP', [2, 4]])), [4_000_000n])
  assert.deepEqual(push(['ABC-USDT-SWAP', [5]]), { outcome: 'other_event', events: [] })
})

test('okx should keep closed bars alone, with the end of the bar', () => {
  const bar = (channel: string, open: number, confirm: string, symbol = 'BTC-USDT') =>
    new OkxRig().parse(
      JSON.stringify({
        arg: { channel, instId: symbol },
        data: [[String(open), '1', '2', '0.5', '1.5', '10', '20', '30', confirm]],
      }),
    )
  assert.equal(bar('candle1m', 1790000040000, '0').outcome, 'open_kline')
  assert.deepEqual(bar('candle1m', 1790000040000, '1', 'BTC-USDT-SWAP').events, [
    {
      table: 'klines',
      symbol: 'BTC-USDT-SWAP',
      interval: '1m',
      open_ns: 1790000040000000000n,
      close_ns: 1790000100000000000n,
      open: '1',
      high: '2',
      low: '0.5',
      close: '1.5',
      volume: '10',
      base_volume: '20',
      quote_volume: '30',
    },
  ])
  const ends = (channel: string, open: number) =>
    bar(channel, open, '1').events.map((row) => [row['interval'], Number((row['close_ns'] as bigint) / 1_000_000n)])
  assert.deepEqual(ends('candle4H', Date.UTC(2026, 0, 1, 4)), [['4h', Date.UTC(2026, 0, 1, 8)]])
  assert.deepEqual(ends('candle1Mutc', Date.UTC(2026, 1, 1)), [['1M', Date.UTC(2026, 2, 1)]])
  assert.deepEqual(ends('candle1M', Date.UTC(2026, 0, 31, 16)), [['1M', Date.UTC(2026, 1, 28, 16)]], 'a month of UTC+8')
  assert.equal(
    'base_volume' in (bar('candle1D', Date.UTC(2026, 0, 1), '1').events[0] ?? {}),
    false,
    'of spot it is the quote currency',
  )
})

test('okx symbols should tell their market', () => {
  const markets = ['BTC-USDT', 'BTC-USDT-SWAP', 'BTC-USD-260327', 'BTC-USD-260327-92000-P', 'BTC', 'BTC-USDT-X'].map(
    OKX_READ.marketOf,
  )
  assert.deepEqual(markets, ['spot', 'swap', 'futures', 'option', undefined, undefined])
})
