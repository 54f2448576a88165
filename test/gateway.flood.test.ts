/** G1, a flood of requests: what everybody asks for is made once, and to refuse is the cheapest of all. */
import assert from 'node:assert/strict'
import { createServer, get as httpGet, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { Recent } from '../engine/gateway/recent.ts'
import { SharedAnswers } from '../engine/gateway/shared-answers.ts'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'

function turnedClock() {
  const time = { nowMs: 0 }
  return { time, clock: Object.assign(new Clock(), { monotonicMs: () => time.nowMs }) }
}

test('recent should ask once for all who come while it is under way, however long that takes, and a moment after', async () => {
  const { time, clock } = turnedClock()
  const recent = new Recent<number>(250, clock)
  let asked = 0
  let answer = (_: number): void => {}
  const ask = () => {
    asked++
    return new Promise<number>((resolve) => (answer = resolve))
  }
  const first = recent.get(ask)
  time.nowMs = 60_000
  const second = recent.get(ask)
  assert.equal(asked, 1)
  answer(7)
  assert.deepEqual(await Promise.all([first, second]), [7, 7])
  void recent.get(ask)
  assert.equal(asked, 2, 'what was asked a minute ago is not good any more')
  answer(8)
  await recent.get(ask)
  time.nowMs += 250
  assert.equal(await recent.get(ask), 8)
  time.nowMs += 1
  void recent.get(ask)
  assert.equal(asked, 3)
})

test('recent should not take a failure for an answer, nor let an old one end a new one', async () => {
  const { clock } = turnedClock()
  const recent = new Recent<number>(250, clock)
  let fail = (_: Error): void => {}
  const failing = recent.get(() => new Promise((_, reject) => (fail = reject)))
  recent.forget()
  const newer = recent.get(async () => 1)
  fail(new Error('too late'))
  await assert.rejects(failing, /too late/)
  assert.equal(await newer, 1)
  assert.equal(await recent.get(async () => 2), 1, 'the newer one stays')
  recent.forget()
  await assert.rejects(recent.get(async () => Promise.reject(new Error('no'))))
  assert.equal(await recent.get(async () => 3), 3)
})

test('shared answers should be made once for a moment, be bounded, and be forgotten when something was changed', async () => {
  const { time, clock } = turnedClock()
  const answers = new SharedAnswers(clock)
  let made = 0
  const make = async () => String(++made)
  assert.deepEqual(await Promise.all([answers.get('/a', 100, make), answers.get('/a', 100, make)]), ['1', '1'])
  assert.equal(await answers.get('/b', 100, make), '2')
  time.nowMs = 100
  assert.equal(await answers.get('/a', 100, make), '1')
  time.nowMs = 101
  assert.equal(await answers.get('/a', 100, make), '3')
  answers.forget()
  assert.equal(await answers.get('/a', 100, make), '4')
  for (let index = 0; index < 1_000; index++) await answers.get(`/${index}`, 100, make)
  assert.equal(answers.size, 32)
  time.nowMs = 1_000
  await answers.get('/a', 100, make)
  assert.equal(answers.size, 1, 'what is too old goes')
  await answers.get('/long', 100, async () => 'x'.repeat(2 ** 20 + 1))
  assert.equal(answers.size, 1, 'what is long is not kept')
})

test('gateway: a status that many ask for should be asked for once, and show a change to whoever asks after it', async (t) => {
  const { get, engine } = await served(t, { security: { localAdmin: true } })
  let asked = 0
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => (open = resolve))
  engine.status = async () => {
    asked++
    await gate
    return engine.processes.map((each) => ({ ...each, version: `after ${engine.changes.length} changes` }))
  }
  const all = Promise.all(Array.from({ length: 20 }, () => get('/v1/status')))
  await until(() => asked > 0, 5_000, 'somebody is asked')
  open()
  for (const { status, json } of await all)
    assert.deepEqual([status, json.processes[0].version], [200, 'after 0 changes'])
  assert.ok(asked < 20, `${asked} times for 20`)
  const body = JSON.stringify({ instruments: ['binance.usdm.ETHUSDT'] })
  const headers = { 'content-type': 'application/json' }
  assert.equal((await get('/v1/subscriptions', { method: 'POST', body, headers })).status, 200)
  assert.equal((await get('/v1/status')).json.processes[0].version, 'after 1 changes')
})

/** In the place of ClickHouse: says when it is asked, and answers when it is told to. */
async function askedStore(t: TestContext) {
  const waiting: ServerResponse[] = []
  let asked = 0
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => (text += chunk))
    request.on('end', () => {
      if (!text.includes('FROM instruments')) return response.end()
      asked++
      waiting.push(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const answer = (): void => {
    for (const response of waiting.splice(0)) response.end()
  }
  return { clickhouse: { ...CLICKHOUSE_DEFAULT, url }, answer, count: () => asked }
}

test('gateway: the same instruments should be asked of the store once, whoever of those that ask goes away', async (t) => {
  const store = await askedStore(t)
  const { get, gateway } = await served(t, { clickhouse: store.clickhouse })
  const first = httpGet(`${gateway.url}/v1/instruments`)
  first.on('error', () => {})
  await until(() => store.count() === 1, 5_000, 'the store is asked')
  const others = Array.from({ length: 10 }, () => get('/v1/instruments?format=json'))
  const same = Array.from({ length: 10 }, () => get('/v1/instruments'))
  await until(() => gateway.counts.inFlight === 21, 5_000, 'all are under way')
  first.destroy()
  await until(() => gateway.counts.inFlight === 20, 5_000, 'one has gone')
  await until(() => store.count() === 2, 5_000, 'another URL is another question')
  store.answer()
  for (const { status, json, headers } of await Promise.all([...same, ...others])) {
    assert.deepEqual([status, json], [200, { rows: [], next_cursor: null }])
    assert.equal(headers.get('content-type'), 'application/json; charset=utf-8')
  }
  assert.equal(store.count(), 2)
  assert.equal((await get('/v1/instruments?limit=0')).status, 400, 'what is wrong is nobody’s answer')
})

test('gateway: questions to a store that is slow should leave room for what is live', async (t) => {
  const store = await askedStore(t)
  const { get, gateway } = await served(t, { clickhouse: store.clickhouse, security: { inFlightMax: 4 } })
  const held = Array.from({ length: 2 }, () => get('/v1/instruments'))
  await until(() => gateway.counts.inFlight === 2 && store.count() === 1, 5_000, 'two wait for the store')
  const third = await get('/v1/instruments')
  assert.deepEqual([third.status, third.json.error.code, third.headers.get('retry-after')], [503, 'overloaded', '2'])
  assert.equal((await get('/v1/status')).status, 200)
  assert.equal(gateway.counts.refused.in_flight, 1)
  store.answer()
  for (const { status } of await Promise.all(held)) assert.equal(status, 200)
  await until(() => gateway.counts.inFlight === 0, 5_000, 'all are counted out')
  assert.equal((await get('/v1/instruments')).status, 200, 'and may come again')
})

test('gateway: what comes too often should be turned away before anything else is looked at', async (t) => {
  const origins = ['https://desk.example']
  const { gateway, get } = await served(t, { security: { requestsPerSecond: 1, origins } })
  const statusOf = (path: string, headers: Record<string, string>, method = 'GET') =>
    new Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }>((resolve, reject) => {
      const { port } = gateway
      httpGet({ host: '127.0.0.1', port, path, method, headers }, (response) => {
        response.resume()
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }))
      }).on('error', reject)
    })
  assert.equal((await statusOf('/v1/status', { host: 'evil.example' })).status, 421)
  for (const path of ['/v1/status', '/v1/nothing', '/%', '/', `/v1/${'x'.repeat(3_000)}`]) {
    const { status, headers } = await statusOf(path, { host: 'evil.example', origin: 'https://evil.example' })
    assert.deepEqual([status, headers['retry-after']], [429, '1'], path)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['access-control-allow-origin'], undefined)
  }
  const told = await statusOf('/v1/status', { origin: origins[0] as string })
  assert.deepEqual(
    [told.status, told.headers['access-control-allow-origin'], told.headers['access-control-expose-headers']],
    [429, origins[0], 'retry-after'],
  )
  const { status, json } = await get('/v1/subscriptions', { method: 'POST', body: '{"instruments":[]}' })
  assert.equal(status, 429)
  assert.match(json.error.message, /may ask 1 times a second/)
  assert.deepEqual([gateway.counts.refused.rate, gateway.counts.refused.host], [7, 1])
  assert.deepEqual(gateway.counts.requests.get('none'), [0, 0, 0, 0, 7, 0])
})

test('gateway: each answer should tell browsers what they may do with it, refusals of the door, too', async (t) => {
  const { get } = await served(t)
  for (const [path, wanted] of [
    ['/v1/status', 200],
    ['/v1/nothing', 404],
    ['/v1/config?key=x', 400],
  ] as const) {
    const { status, headers } = await get(path)
    assert.equal(status, wanted)
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none';.*frame-ancestors 'none'/)
    assert.deepEqual(
      ['x-content-type-options', 'x-frame-options', 'cross-origin-resource-policy', 'referrer-policy'].map((name) =>
        headers.get(name),
      ),
      ['nosniff', 'DENY', 'same-origin', 'no-referrer'],
    )
    assert.equal(headers.get('strict-transport-security'), null, 'without TLS')
  }
  const foreign = await get('/v1/status', { headers: { origin: 'https://evil.example' } })
  assert.deepEqual([foreign.status, foreign.headers.get('x-content-type-options')], [403, 'nosniff'])
})

interface FloodFigures {
  instruments: number
  requestsPerSecond: number
  answersPerSecond: Record<string, number>
  others: Record<string, number>
  failed: number
  withoutRetryAfter: number
  okMs: { count: number; p99: number }
  routes: Record<string, { count: number }>
  feedMs: { alone: { events: number }; flooded: { events: number } }
}

/** The trial, short. How fast it goes is no matter here. */
test('flood should be answered to the last request, most of it with when to come again', async (t) => {
  const data = temporaryDirectory(t)
  const words = ['--requests', '300', '--connections', '64', '--instruments', '8', '--rate', '1000', '--seconds', '3']
  const settings = ['--set', 'serve.requestsPerSecond=50', '--venues', 'bybit', '--delivery', 'direct']
  const ended = await runCli(['flood', '--json', '--data', data, ...words, ...settings])
  const figures = lastJson<FloodFigures>(ended)
  const { answersPerSecond, others, failed, withoutRetryAfter, routes, feedMs } = figures
  assert.deepEqual([figures.instruments, figures.requestsPerSecond], [8, 300], ended.stderr)
  assert.deepEqual([others, failed, withoutRetryAfter], [{}, 0, 0], ended.stderr)
  const [ok = 0, tooOften = 0, notNow = 0] = ['200', '429', '503'].map((status) => answersPerSecond[status])
  assert.ok(Math.abs(ok + tooOften + notNow - 300) < 1, JSON.stringify(answersPerSecond))
  assert.ok(tooOften >= 150 && ok > 0 && ok <= 120, JSON.stringify(answersPerSecond))
  for (const name of ['status', 'instruments', 'books', 'book', 'trades', 'ticker'])
    assert.ok((routes[name]?.count ?? 0) > 0, `${name}: ${JSON.stringify(routes)}`)
  assert.ok(feedMs.alone.events > 0 && feedMs.flooded.events > 0, JSON.stringify(feedMs))
  assert.ok(ended.code === 0 || ended.code === 1, ended.stderr) // a machine that does other things is slower than wanted
})
