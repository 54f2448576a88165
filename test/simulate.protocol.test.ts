import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SimulatorOptions } from '../engine/simulate/options.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import { eventually, openClient, streamUrl } from './support/venue-client.ts'

async function spot(options: Partial<SimulatorOptions> = {}) {
  const simulator = await startSimulator({ markets: ['spot'], rate: 1000, ...options })
  return { simulator, ws: simulator.urls.spot?.ws as string, rest: simulator.urls.spot?.rest as string }
}

test('simulate protocol: requests should be answered as the venue answers them', async () => {
  const { simulator, ws } = await spot({ limitsEnforced: false })
  const client = await openClient(`${ws}/stream`)
  assert.deepEqual(await client.ask({ method: 'SUBSCRIBE', params: ['btcusdt@trade', 'nosuch@trade'], id: 1 }), {
    result: null,
    id: 1,
  })
  await client.until(() => client.frames.length > 3)
  assert.deepEqual(await client.ask({ method: 'LIST_SUBSCRIPTIONS', id: 'two' }), {
    result: ['btcusdt@trade', 'nosuch@trade'],
    id: 'two',
  })
  assert.deepEqual(await client.ask({ method: 'UNSUBSCRIBE', params: ['btcusdt@trade'], id: 3 }), {
    result: null,
    id: 3,
  })
  const heard = client.frames.length
  await new Promise((next) => setTimeout(next, 100))
  assert.equal(client.frames.length, heard, 'nothing comes after the answer to UNSUBSCRIBE')
  assert.deepEqual(await client.ask({ method: 'GET_PROPERTY', params: ['combined'], id: 4 }), { result: true, id: 4 })
  assert.deepEqual(await client.ask({ method: 'SET_PROPERTY', params: ['combined', 1], id: 5 }), {
    error: { code: 1, msg: 'Invalid value type: expected Boolean' },
    id: 5,
  })
  assert.deepEqual(await client.ask({ method: 'SET_PROPERTY', params: ['colour', 1], id: 6 }), {
    error: { code: 0, msg: 'Unknown property' },
    id: 6,
  })
  for (const wrong of [
    '{"method":',
    { method: 'DANCE', id: 7 },
    { method: 'SUBSCRIBE', params: 'btcusdt@trade', id: 8 },
    { method: 'SUBSCRIBE', params: ['a@b'], id: {} },
  ]) {
    const answer = (await client.ask(wrong)) as { error?: { code: number } }
    assert.ok((answer.error?.code ?? 0) >= 2, JSON.stringify(answer))
  }
  await simulator.stop()
})

test('simulate protocol: a raw stream should come without the combined wrapper', async () => {
  const { simulator, ws } = await spot()
  const client = await openClient(`${ws}/ws/btcusdt@trade`)
  await client.until(() => client.others.length > 3)
  assert.equal(client.frames.length, 0)
  assert.equal(JSON.parse(client.others[0] as string).e, 'trade')
  await simulator.stop()
})

test('simulate protocol: USD-M streams should be silent on the wrong path, without an error', async () => {
  const simulator = await startSimulator({ markets: ['usdm'], rate: 4000, usdmTradePath: 'public' })
  const ws = simulator.urls.usdm?.ws as string
  const kinds = ['trade', 'aggTrade', 'bookTicker', 'depth@0ms']
  const heardOn = async (path: string): Promise<string[]> => {
    const client = await openClient(streamUrl(ws, path, ['BTCUSDT'], kinds))
    await client.until(() => client.frames.length > 200)
    assert.deepEqual(client.others, [])
    client.ws.close()
    return [...new Set(client.frames.map(({ stream }) => stream.split('@')[1] as string))].sort()
  }
  assert.deepEqual(await heardOn('/public'), ['bookTicker', 'depth', 'trade'])
  assert.deepEqual(await heardOn('/market'), ['aggTrade'])
  assert.deepEqual(await heardOn(''), ['bookTicker', 'depth', 'trade'], 'an unrouted URL hears /public alone')
  await simulator.stop()
})

test('simulate protocol: too many streams, messages or connections should end as at the venue', async () => {
  const { simulator, ws } = await spot()
  const names = Array.from({ length: 1025 }, (_, index) => `s${index}usdt@trade`)
  const greedy = await openClient(`${ws}/stream?streams=${names.join('/')}`)
  assert.equal((await greedy.closed).code, 1008)
  const chatty = await openClient(`${ws}/ws`)
  for (let message = 0; message < 6; message++)
    chatty.ws.send(JSON.stringify({ method: 'LIST_SUBSCRIPTIONS', id: message }))
  assert.equal((await chatty.closed).code, 1008)
  assert.equal(chatty.others.length, 5, 'five a second are answered')
  for (let connects = 2; connects < 300; connects++) (await openClient(`${ws}/ws`)).ws.terminate()
  await assert.rejects(openClient(`${ws}/ws`), /429/)
  await eventually(() => simulator.connections() === 0, 'all closed connections to be forgotten')
  await simulator.stop()
})

test('simulate protocol: pings should carry a payload, and a client without pongs be closed', async () => {
  const { simulator, ws } = await spot({ heartbeatScale: 0.005 }) // ping every 100 ms, pong within 300
  const good = await openClient(`${ws}/ws/btcusdt@trade`)
  const dumb = await openClient(`${ws}/ws/btcusdt@trade`, { autoPong: false })
  const payloads: string[] = []
  good.ws.on('ping', (bytes) => payloads.push(bytes.toString()))
  assert.equal((await dumb.closed).reason, 'Pong timeout')
  await good.until(() => payloads.length >= 4)
  assert.match(payloads[0] as string, /^\d{13}$/)
  assert.equal(simulator.connections(), 1)
  await simulator.stop()
})

test('simulate protocol: a connection should be closed at the end of its life', async () => {
  const { simulator, ws } = await spot({ connectionLifeMs: 80 })
  const client = await openClient(`${ws}/ws/btcusdt@trade`)
  assert.deepEqual(await client.closed, { code: 1001, reason: 'connection is 24 hours old' })
  await simulator.stop()
})

test('simulate REST: weights should be charged by limit, and used up end in 429, then 418', async () => {
  const { simulator, rest } = await spot({
    weightMax: 600,
    refusalsBeforeBan: 2,
    banMs: 5000,
    weightWindowMs: 86_400_000,
  })
  const get = async (query: string) => {
    const response = await fetch(`${rest}/api/v3/${query}`)
    const headers = {
      used: Number(response.headers.get('x-mbx-used-weight-1m')),
      retry: response.headers.get('retry-after'),
    }
    return { status: response.status, ...headers, body: await response.json() }
  }
  let used = (await get('ping')).used
  for (const [limit, weight] of [
    [100, 5],
    [500, 25],
    [1000, 50],
    [5000, 250],
  ]) {
    const answer = await get(`depth?symbol=BTCUSDT&limit=${limit}`)
    assert.equal(answer.used - used, weight)
    used = answer.used
  }
  assert.equal((await get('depth?symbol=BTCUSDT&limit=5000')).status, 200)
  const refused = await get('depth?symbol=BTCUSDT&limit=5000')
  assert.equal(refused.status, 429)
  assert.ok(Number(refused.retry) >= 1 && Number(refused.retry) <= 86_400)
  assert.equal((refused.body as { code: number }).code, -1003)
  assert.equal((await get('time')).status, 429)
  const banned = await get('time')
  assert.deepEqual([banned.status, banned.retry], [418, '5'])
  assert.equal((await get('ping')).status, 418, 'a ban refuses everything')
  await simulator.stop()
})

test('simulate REST: futures should refuse limits and symbols that do not exist', async () => {
  const simulator = await startSimulator({ markets: ['usdm', 'coinm'], rate: 1000 })
  const get = async (url: string) => {
    const response = await fetch(url)
    return [response.status, ((await response.json()) as { code?: number }).code]
  }
  assert.deepEqual(await get(`${simulator.urls.usdm?.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=7`), [400, -4021])
  assert.deepEqual(await get(`${simulator.urls.usdm?.rest}/fapi/v1/depth?symbol=NOSUCH`), [400, -1121])
  assert.deepEqual(await get(`${simulator.urls.coinm?.rest}/dapi/v1/depth`), [400, -1102])
  assert.deepEqual(await get(`${simulator.urls.coinm?.rest}/dapi/v1/depth?symbol=BTCUSD_PERP&limit=1000`), [
    200,
    undefined,
  ])
  await simulator.stop()
})

test('simulate REST: historicalTrades should give the trades from an id on', async () => {
  const { simulator, ws, rest } = await spot({ rate: 3000, seconds: 1, startAfterStreams: 1 })
  const client = await openClient(`${ws}/stream?streams=btcusdt@trade`)
  await simulator.over
  const fromId = client.frames[10]?.data.t as number
  const trades = (await (
    await fetch(`${rest}/api/v3/historicalTrades?symbol=BTCUSDT&fromId=${fromId}&limit=20`)
  ).json()) as {
    id: number
    price: string
    qty: string
    time: number
    isBuyerMaker: boolean
  }[]
  await client.until(() => client.frames.length >= 30)
  const heard = client.frames.slice(10, 30).map(({ data }) => [data.t, data.p, data.q, data.T, data.m])
  assert.deepEqual(
    trades.map(({ id, price, qty, time, isBuyerMaker }) => [id, price, qty, time, isBuyerMaker]),
    heard,
  )
  await simulator.stop()
})
