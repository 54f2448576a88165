import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { restDispatcher, socketAgent } from '../engine/feed/proxy.ts'
import { REST_DEFAULTS, RestClient, type RestOptions } from '../engine/feed/rest.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../engine/feed/weight.ts'
import { machineTime, until } from './support/feed-time.ts'
import { startConnectProxy, startSocksProxy } from './support/proxies.ts'

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void

async function startRest(answer: Answer, options: Partial<RestOptions> = {}) {
  let requestCount = 0
  const server = createServer((request, response) => answer(request, response, ++requestCount))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const ledger = new WeightLedger(
    { ...WEIGHT_DEFAULTS, exchange: 'binance', weightPerMinute: { spot: 6000 }, share: 0.5 },
    machineTime,
  )
  const rest = new RestClient(
    {
      ...REST_DEFAULTS,
      market: 'spot',
      base,
      proxy: '',
      usedWeightHeader: 'x-mbx-used-weight-1m',
      backoffFloorMs: 1,
      backoffCapMs: 5,
      ...options,
    },
    { ledger, time: machineTime, random: seededRandom(1) },
  )
  return {
    rest,
    ledger,
    base,
    requestCount: () => requestCount,
    async [Symbol.asyncDispose]() {
      ledger.close()
      await rest.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function json(response: ServerResponse, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json;charset=UTF-8', ...headers }).end(JSON.stringify(body))
}

const DEPTH = { path: '/api/v3/depth?symbol=BTCUSDT&limit=1000', weight: 50 }

test('REST client should return the bytes and book the weight that the venue reports', async () => {
  await using venue = await startRest((request, response) =>
    json(response, { url: request.url }, { 'x-mbx-used-weight-1m': '1234' }),
  )
  assert.deepEqual(JSON.parse(await venue.rest.text(DEPTH, 'gap')), { url: DEPTH.path })
  const { used, venueUsed } = venue.ledger.stats('spot')
  // on the turn of a minute the venue's figure is not taken, for it may be the old minute's
  assert.ok(venueUsed === 1234 || venueUsed === 0)
  assert.ok(used === 50 || used === 0)
})

test('REST client should stop the venue for as long as Retry-After says', async () => {
  for (const [status, seconds] of [
    [429, 7],
    [418, 120],
  ] as const) {
    await using venue = await startRest((_request, response) =>
      response.writeHead(status, { 'retry-after': String(seconds) }).end('{"code":-1003}'),
    )
    const beforeMs = Date.now()
    await assert.rejects(
      new RestClient(
        { ...venue.rest.options, totalTimeoutMs: 1_000 },
        { ledger: venue.ledger, time: machineTime, random: seededRandom(1) },
      ).get(DEPTH, 'gap'),
      { code: 'REST_LIMITED', message: new RegExp(`${status}, no request to this venue before 20`) },
    )
    const bannedMs = venue.ledger.bannedUntilMs - beforeMs
    assert.ok(bannedMs >= seconds * 1_000 && bannedMs < seconds * 1_000 + 2_000, `${bannedMs} ms`)
    let isGranted = false
    venue.ledger.acquire('spot', 1, 'gap').then(
      () => (isGranted = true),
      () => {},
    )
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(isGranted, false)
    assert.equal(venue.requestCount(), 1)
  }
})

test('REST client should stop for as long as the venue bans when it does not say how long', async () => {
  for (const [status, seconds] of [
    [429, 60],
    [418, 120], // Binance: from 2 minutes on
    [403, 600], // Bybit: 10 minutes
  ] as const) {
    await using venue = await startRest((_request, response) => response.writeHead(status).end('{}'))
    const beforeMs = Date.now()
    await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_LIMITED' })
    const bannedMs = venue.ledger.bannedUntilMs - beforeMs
    assert.ok(bannedMs >= seconds * 1_000 && bannedMs < seconds * 1_000 + 2_000, `${status}: ${bannedMs} ms`)
  }
})

test('REST client should go on by itself once a short ban is over', async () => {
  await using venue = await startRest((_request, response, count) =>
    count === 1 ? response.writeHead(429, { 'retry-after': '1' }).end() : json(response, { ok: true }),
  )
  const startMs = performance.now()
  await venue.rest.get(DEPTH, 'gap')
  assert.ok(performance.now() - startMs >= 990)
  assert.equal(venue.requestCount(), 2)
})

test('REST client should refuse HTML in place of JSON', async () => {
  await using venue = await startRest((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Are you human?'),
  )
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_NOT_JSON', message: /text\/html/ })
  assert.equal(venue.requestCount(), 1, 'another try would be no better')
})

test('REST client should follow no redirect, on the host or off it', async () => {
  let elsewhereCount = 0
  await using elsewhere = await startRest((_request, response) => {
    elsewhereCount++
    json(response, {})
  })
  await using venue = await startRest((_request, response) =>
    response.writeHead(302, { location: `${elsewhere.base}/api/v3/depth` }).end(),
  )
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_REDIRECT', message: new RegExp(elsewhere.base) })
  assert.equal(elsewhereCount, 0)
})

test('REST client should stop reading a body that exceeds its bound', async () => {
  let isCut = false
  await using venue = await startRest(
    (request, response) => {
      request.socket.on('close', () => (isCut = true))
      response.writeHead(200, { 'content-type': 'application/json' })
      const more = () => {
        if (!isCut) response.write('x'.repeat(10_000), () => setImmediate(more))
      }
      more()
    },
    { bodyBytesMax: 100_000 },
  )
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_BODY_TOO_LONG', message: /100000 bytes/ })
  await until('the connection to end', () => isCut)
})

test('REST client should try a broken server again, and name the last reason', async () => {
  await using venue = await startRest((_request, response) => response.writeHead(502).end('bad gateway'))
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_STATUS', message: /502 bad gateway/ })
  assert.equal(venue.requestCount(), REST_DEFAULTS.triesMax)
  await using healing = await startRest((_request, response, count) =>
    count < 3 ? response.destroy() : json(response, { count }),
  )
  assert.equal(await healing.rest.text(DEPTH, 'gap'), '{"count":3}')
  assert.equal(healing.rest.stats.retried, 2)
  assert.equal(healing.ledger.stats('spot').grantedWeight, 150, 'every try is paid for')
})

test('REST client should not repeat what the venue calls wrong', async () => {
  await using venue = await startRest((_request, response) =>
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"code":-1121,"msg":"Invalid symbol."}'),
  )
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_STATUS', message: /400 .*Invalid symbol/ })
  assert.equal(venue.requestCount(), 1)
})

test('REST client should keep its deadlines, with a silent server and with one that drips', async () => {
  const drip: Answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const timer = setInterval(() => response.write(' '), 10)
    response.on('close', () => clearInterval(timer))
  }
  for (const answer of [(() => {}) as Answer, drip]) {
    await using venue = await startRest(answer, { tryTimeoutMs: 120, totalTimeoutMs: 200 })
    const startMs = performance.now()
    await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_TIMEOUT' })
    assert.ok(performance.now() - startMs < 5_000)
    assert.ok(venue.requestCount() <= 2)
  }
})

for (const [name, start] of [
  ['SOCKS5', startSocksProxy],
  ['HTTP CONNECT', startConnectProxy],
] as const) {
  test(`REST client should go through a ${name} proxy`, async () => {
    const proxy = await start()
    await using venue = await startRest((_request, response) => json(response, { ok: true }), { proxy: proxy.url })
    assert.equal(await venue.rest.text(DEPTH, 'gap'), '{"ok":true}')
    assert.deepEqual(proxy.targets, [new URL(venue.base).host])
    await venue.rest.close()
    await proxy.close()
  })
}

test('REST client should report a proxy that refuses', async () => {
  const proxy = await startConnectProxy(true)
  await using venue = await startRest((_request, response) => json(response, {}), { proxy: proxy.url })
  await assert.rejects(venue.rest.get(DEPTH, 'gap'), { code: 'REST_UNREACHABLE', message: /403/ })
  assert.equal(venue.requestCount(), 0)
  await venue.rest.close()
  await proxy.close()
})

test('proxy should name a URL it cannot use, without its password', () => {
  for (const make of [
    () => socketAgent('ftp://me:secret@proxy:21'),
    () => restDispatcher('ftp://me:secret@proxy:21', {}),
  ]) {
    assert.throws(make, { code: 'PROXY_URL', exitCode: 78, message: /^proxy ftp:\/\/…@proxy:21: expected/ })
  }
})
