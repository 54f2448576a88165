import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BINANCE_FEED_DEFAULTS, binanceFeed } from '../engine/exchanges/binance/index.ts'
import { scaleOf } from '../engine/exchanges/binance/poll.ts'

const feed = binanceFeed()
const recordings = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const control = (text: string) => (feed.isControl(bytes(text)) ? feed.readControl(bytes(text)) : undefined)

test('Binance streams should be lower case with the speed and the URL class of their market', () => {
  assert.deepEqual(feed.streams('spot', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@100ms', route: 'stream' }])
  assert.deepEqual(feed.streams('usdm', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@0ms', route: 'public' }])
  assert.deepEqual(feed.streams('usdm', 'BTCUSDT', 'agg_trades'), [{ name: 'btcusdt@aggTrade', route: 'market' }])
  assert.deepEqual(feed.streams('usdm', 'BTCUSDT', 'book_tickers'), [{ name: 'btcusdt@bookTicker', route: 'public' }])
  assert.deepEqual(feed.streams('usdm', 'BTCUSDT', 'trades'), [{ name: 'btcusdt@trade', route: 'public' }])
  assert.deepEqual(feed.streams('coinm', 'BTCUSD_PERP', 'agg_trades'), [
    { name: 'btcusd_perp@aggTrade', route: 'stream' },
  ])
  const other = binanceFeed({
    ...BINANCE_FEED_DEFAULTS,
    spot: { depthSpeedMs: 1000 },
    usdm: { depthSpeedMs: 100, tradePath: 'market' },
  })
  assert.deepEqual(
    other.streams('spot', 'BTCUSDT', 'book'),
    [{ name: 'btcusdt@depth', route: 'stream' }],
    '1000 ms has no suffix',
  )
  assert.deepEqual(other.streams('usdm', 'BTCUSDT', 'book'), [{ name: 'btcusdt@depth@100ms', route: 'public' }])
  assert.deepEqual(other.streams('usdm', 'BTCUSDT', 'trades'), [{ name: 'btcusdt@trade', route: 'market' }])
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
  assert.deepEqual(control('{"result":null,"id":1}'), { kind: 'acknowledged', id: 1 })
  assert.deepEqual(control('{"result":["btcusdt@trade"],"id":7}'), { kind: 'acknowledged', id: 7 })
  assert.deepEqual(control('{"error":{"code":2,"msg":"Invalid request: x"},"id":3}'), {
    kind: 'refused',
    id: 3,
    reason: '2 Invalid request: x',
  })
  assert.deepEqual(control('{"code":3,"msg":"Invalid JSON"}'), {
    kind: 'refused',
    id: undefined,
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
  ['spot', 'BINANCE', 1695, 'RAREUSDT', 3, 1],
  ['usdm', 'BINANCE_FUTURES', 122, 'TLMUSDT', 4, 0],
  ['coinm', 'BINANCE_DELIVERY', 36, 'BTCUSD_PERP', 1, 0],
] as const

for (const [market, file, count, symbol, priceScale, quantityScale] of LISTS) {
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
    const one = instruments.find((instrument) => instrument.symbol === symbol)
    assert.deepEqual(one, {
      id: `binance.${market}.${symbol}`,
      exchange: 'binance',
      market,
      symbol,
      priceScale,
      quantityScale,
      status: 'TRADING',
      ...(market === 'coinm' ? { contractSize: '100' } : {}),
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
