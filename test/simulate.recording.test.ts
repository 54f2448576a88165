import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { recordedMarkets } from '../engine/tools/demo/markets.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import { followBook, mantissas, openClient, streamUrl } from './support/venue-client.ts'

const RECORDINGS = process.env.MARKETPRISM_RECORDINGS ?? '../shared/data'
const hftbacktest = (name: string): string => join(RECORDINGS, 'recordings/hftbacktest', `${name}.gz`)

async function recordingOf(
  t: { after(done: () => Promise<void>): void },
  name: string,
  lines: string[],
  gz = false,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'marketprism-recording-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const text = `${lines.join('\n')}\n`
  await writeFile(join(directory, name), gz ? gzipSync(text) : text)
  return join(directory, name)
}

const START = 1_723_161_254_000
const trade = (ms: number, id: number): string =>
  `${START + ms}000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":${START + ms},"s":"BTCUSDT","t":${id},"p":"61800.50000000","q":"0.00100000","T":${START + ms},"m":true,"M":true}}`
const depth = (ms: number, first: number, last: number): string =>
  `${START + ms}000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":${START + ms},"s":"BTCUSDT","U":${first},"u":${last},"b":[["61800.50000000","1.50000000"]],"a":[]}}`
const snapshot = (ms: number, id: number): string =>
  `${START + ms}000000 {"lastUpdateId":${id},"bids":[["61800.40000000","2.00000000"]],"asks":[["61800.60000000","2.00000000"]]}`

test('simulate recording: a snapshot should not be answered before its place, and not be missed at full speed', async (t) => {
  const path = await recordingOf(t, 'spot.txt', [
    depth(0, 1, 2),
    trade(10, 1),
    depth(100, 3, 4),
    snapshot(150, 4),
    'a broken line',
    depth(200, 5, 6),
    trade(210, 2),
  ])
  const simulator = await startSimulator({ recordings: [{ path, market: null }], speed: null })
  assert.deepEqual(Object.keys(simulator.urls), ['spot'], 'the market is told from the file')
  const base = simulator.urls.spot
  const client = await openClient(
    streamUrl(base?.ws as string, '', ['BTCUSDT'], ['trade', 'depth@100ms', 'bookTicker']),
  )
  await client.until(() => client.frames.length === 3)
  await new Promise((next) => setTimeout(next, 100))
  assert.equal(client.frames.length, 3, 'the recording waits at the snapshot for somebody to ask')
  const answer = await fetch(`${base?.rest}/api/v3/depth?symbol=BTCUSDT&limit=1000`)
  assert.equal(`${START + 150}000000 ${await answer.text()}`, snapshot(150, 4))
  await simulator.over
  const { sent } = await simulator.stop()
  await client.closed
  assert.deepEqual(sent, { trades: 2, agg_trades: 0, book_deltas: 3, book_tickers: 0 })
  assert.deepEqual(
    client.frames.map(({ data }) => data.t ?? data.u),
    [2, 1, 4, 6, 2],
  )
})

test('simulate recording: an early request should be held, pacing be kept, instruments be listed', async (t) => {
  const lines = [depth(0, 1, 2), trade(4000, 1), snapshot(6000, 2), depth(10_000, 3, 4)]
  const path = await recordingOf(t, 'spot.gz', lines, true)
  const simulator = await startSimulator({ recordings: [{ path, market: 'spot' }], speed: 10 })
  const base = simulator.urls.spot
  const info = (await (await fetch(`${base?.rest}/api/v3/exchangeInfo`)).json()) as {
    symbols: { symbol: string; filters: Record<string, string>[] }[]
  }
  assert.deepEqual(
    info.symbols.map(({ symbol, filters }) => [symbol, filters[0]?.tickSize, filters[1]?.stepSize]),
    [['BTCUSDT', '0.10000000', '0.00100000']],
  )
  await openClient(streamUrl(base?.ws as string, '', ['BTCUSDT'], ['trade', 'depth@100ms']))
  const startMs = performance.now()
  await (await fetch(`${base?.rest}/api/v3/depth?symbol=BTCUSDT`)).text()
  const heldMs = performance.now() - startMs
  assert.ok(heldMs > 550 && heldMs < 4000, `6 s at ten times the speed: held for ${heldMs} ms`)
  await simulator.over
  assert.ok(performance.now() - startMs > 950)
  await simulator.stop()
})

test('simulate recording: files should be merged by time, a bare list and a market word be understood', async (t) => {
  const first = await recordingOf(t, 'one.txt', [trade(0, 1), trade(20, 2), trade(40, 3)])
  const second = await recordingOf(
    t,
    'two.txt',
    [10, 30, 50].map((ms) => trade(ms, ms).replaceAll('BTC', 'ETH').replaceAll('btc', 'eth')),
  )
  const simulator = await startSimulator({
    recordings: [
      { path: first, market: null },
      { path: second, market: null },
    ],
    speed: null,
  })
  const client = await openClient(streamUrl(simulator.urls.spot?.ws as string, '', ['BTCUSDT', 'ETHUSDT'], ['trade']))
  await simulator.over
  await simulator.stop()
  await client.closed
  assert.deepEqual(
    client.frames.map(({ data }) => data.t),
    [1, 10, 2, 30, 3, 50],
  )
})

const captured = (line: string): string => line.replace(/^(\d{10})(\d{3})\d{6} /, '$1.$2: ')
const uncounted = (line: string): string => line.replace(/^\d+ /, '')

test('simulate recording: raw frames, and captures of sockets with their answers apart, should be played', async (t) => {
  const lines = [depth(0, 1, 2), trade(20, 1), depth(30, 3, 4), trade(40, 2)]
  const capture = [
    'wss://stream.binance.com:9443/stream?streams=btcusdt@trade <-> 1723161253.5',
    ...lines.map(captured),
  ]
  const question = 'https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000'
  const answers = [
    `https://api.binance.com/api/v3/exchangeInfo -> 1723161253.9: {"symbols":[]}`,
    `${question} -> ${captured(snapshot(10, 2))}`,
  ]
  const recordings: Readonly<Record<string, readonly string[]>> = {
    raw: [await recordingOf(t, 'frames.jsonl', [depth(0, 1, 2), snapshot(10, 2), ...lines.slice(1)].map(uncounted))],
    // answers first: which file has the stream of a snapshot is not known before all were looked at
    cryptofeed: [await recordingOf(t, 'B.http.0.0', answers), await recordingOf(t, 'B.ws.1.0', capture)],
  }
  for (const [format, paths] of Object.entries(recordings)) {
    assert.deepEqual(
      await recordedMarkets(paths),
      { 'binance.spot': { count: 1, channels: ['book', 'trades'], depthSpeedMs: 100 } },
      format,
    )
    const simulator = await startSimulator({
      recordings: paths.map((path) => ({ path, market: null })),
      speed: null,
    })
    const base = simulator.urls.spot
    const client = await openClient(streamUrl(base?.ws as string, '', ['BTCUSDT'], ['trade', 'depth@100ms']))
    const body = await (await fetch(`${base?.rest}/api/v3/depth?symbol=BTCUSDT`)).text()
    assert.equal(body, uncounted(snapshot(10, 2)), format)
    await simulator.over
    await simulator.stop()
    await client.closed
    assert.deepEqual(
      client.frames.map(({ data }) => data.t ?? data.u),
      [2, 1, 4, 2],
      format,
    )
  }
})

test('simulate recording: another venue should be refused with what is played', async (t) => {
  const frame = '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","ts":"1790000000300"}]}'
  const path = await recordingOf(t, 'okx.jsonl', [frame])
  for (const market of [null, 'spot'])
    await assert.rejects(startSimulator({ recordings: [{ path, market }] }), /combined streams of Binance/)
})

test('simulate recording: a missing or empty file should be named', async (t) => {
  await assert.rejects(
    startSimulator({ recordings: [{ path: '/nowhere.gz', market: null }] }),
    /recording \/nowhere\.gz is not there/,
  )
  const path = await recordingOf(t, 'empty.txt', ['no recording'])
  await assert.rejects(
    startSimulator({ recordings: [{ path, market: null }] }),
    /first lines of .* are of no known format/,
  )
})

const REAL = [
  ['spot_ethusdt_20240808', 'spot', 'ETHUSDT', ['depth@100ms', 'bookTicker', 'trade'], '/api/v3'],
  ['usdm_btcusdt_20240808', 'usdm', 'BTCUSDT', ['depth@0ms', 'bookTicker', 'trade'], '/fapi/v1'],
  ['cm_btcusd_perp_20240808', 'coinm', 'BTCUSD_PERP', ['depth@0ms', 'bookTicker', 'trade'], '/dapi/v1'],
] as const

for (const [name, market, symbol, kinds, restPath] of REAL) {
  test(`simulate recording: ${name} should arrive byte for byte and give the recorded book`, async (t) => {
    const path = hftbacktest(name)
    if (!existsSync(path)) return t.skip(`no recording ${path} here (MARKETPRISM_RECORDINGS says where they are)`)
    const simulator = await startSimulator({ recordings: [{ path, market: null }], speed: null })
    const base = simulator.urls[market]
    const client = await openClient(streamUrl(base?.ws as string, market === 'usdm' ? '/public' : '', [symbol], kinds))
    const texts: string[] = []
    client.ws.on('message', (bytes) => texts.push(bytes.toString()))
    const body = await (await fetch(`${base?.rest}${restPath}/depth?symbol=${symbol}&limit=1000`)).text()
    await simulator.over
    const { sent, instruments } = await simulator.stop()
    await client.closed
    const recorded = gunzipSync(readFileSync(path))
      .toString('latin1')
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(line.indexOf(' ') + 1))
    const isBody = (text: string): boolean => text.startsWith('{"lastUpdateId"')
    assert.deepEqual(
      texts,
      recorded.filter((text) => !isBody(text)),
    )
    assert.deepEqual(body, recorded.find(isBody))
    assert.equal(sent.trades + sent.book_deltas + sent.book_tickers, texts.length)
    const events = client.frames.filter(({ stream }) => stream.includes('@depth')).map(({ data }) => data)
    const book = followBook(market, JSON.parse(body), events)
    const truth = simulator.book(market, symbol)
    const { priceScale, quantityScale } = instruments[0] as (typeof instruments)[0]
    assert.equal(truth?.lastSeq, book?.lastSeq)
    assert.deepEqual(truth?.bids, mantissas(book?.bids as Map<string, string>, [priceScale, quantityScale], true))
    assert.deepEqual(truth?.asks, mantissas(book?.asks as Map<string, string>, [priceScale, quantityScale], false))
  })
}
