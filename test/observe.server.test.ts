import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { EXIT_CONFIG, Fault } from '../engine/base/fault.ts'
import { Health } from '../engine/observe/health.ts'
import { Metrics } from '../engine/observe/metrics.ts'
import { startObserveServer } from '../engine/observe/server.ts'

async function served(t: TestContext, headersTimeoutMs = 5_000) {
  let nowMs = Date.UTC(2026, 0, 2, 3, 4, 5)
  const health = new Health({ service: 'marketprism-test', version: '1.2.3', nowMs: () => nowMs })
  const metrics = new Metrics()
  const server = await startObserveServer({ host: '127.0.0.1', port: 0, headersTimeoutMs }, metrics, health)
  t.after(() => server.close())
  const get = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${server.url}${path}`, init)
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
  }
  return { server, health, metrics, get, later: (ms: number) => (nowMs += ms) }
}

test('health should tell service, status, version, time and dependencies', async (t) => {
  const { health, get, later } = await served(t)
  health.dependency('nats', () => ({ status: 'up' }))
  health.dependency('clickhouse', () => ({ status: 'unused' }))
  later(9_000)
  const { status, body } = await get('/health')
  assert.equal(status, 200)
  const good = { ok: true, problems: {} }
  assert.deepEqual(JSON.parse(body), {
    service: 'marketprism-test',
    status: 'healthy',
    version: '1.2.3',
    timestamp: '2026-01-02T03:04:14.000Z',
    uptimeSeconds: 9,
    liveness: good,
    readiness: good,
    completeness: good,
    dependencies: { nats: { status: 'up' }, clickhouse: { status: 'unused' } },
  })
})

test('health should keep liveness, readiness and completeness apart', async (t) => {
  const { health, get } = await served(t)
  const wrong = {
    liveness: null as string | null,
    readiness: null as string | null,
    completeness: null as string | null,
  }
  for (const aspect of ['liveness', 'readiness', 'completeness'] as const)
    health.check(aspect, 'it', () => wrong[aspect])
  const pages = async () => [
    (await get('/livez')).status,
    (await get('/readyz')).status,
    (await get('/health')).status,
    JSON.parse((await get('/health')).body).status,
  ]
  assert.deepEqual(await pages(), [200, 200, 200, 'healthy'])
  wrong.completeness = '3 books not LIVE'
  assert.deepEqual(await pages(), [200, 200, 200, 'degraded'])
  wrong.readiness = 'spool full'
  assert.deepEqual(await pages(), [200, 503, 503, 'unhealthy'])
  assert.deepEqual(JSON.parse((await get('/readyz')).body), { ok: false, problems: { it: 'spool full' } })
  wrong.readiness = null
  wrong.liveness = 'worker 0 hangs'
  assert.deepEqual(await pages(), [503, 200, 503, 'unhealthy'])
})

test('health should be degraded, alive and ready while NATS is down', async (t) => {
  const { health, get } = await served(t)
  health.dependency('nats', () => ({ status: 'down', detail: 'refused' }))
  health.dependency('odd', () => {
    throw new Error('no answer')
  })
  const report = JSON.parse((await get('/health')).body)
  assert.equal(report.status, 'degraded')
  assert.deepEqual(report.dependencies, {
    nats: { status: 'down', detail: 'refused' },
    odd: { status: 'down', detail: 'check failed: no answer' },
  })
  assert.equal((await get('/livez')).status, 200)
})

test('server should answer scrapes, unknown pages and other methods', async (t) => {
  const { metrics, get } = await served(t)
  metrics.source('marketprism_spool_bytes', () => 42)
  const scrape = await get('/metrics')
  assert.equal(scrape.status, 200)
  assert.match(scrape.type ?? '', /^text\/plain; version=0\.0\.4/)
  assert.match(scrape.body, /^marketprism_spool_bytes 42$/m)
  assert.equal((await get('/metrics?x=1')).status, 200)
  assert.equal((await get('/')).status, 404)
  assert.equal((await get('/metrics', { method: 'POST', body: 'x' })).status, 405)
  assert.deepEqual(await get('/metrics', { method: 'HEAD' }), { status: 200, type: scrape.type, body: '' })
})

test('server should name the port in use and the remedy', async (t) => {
  const { server, metrics, health } = await served(t)
  await assert.rejects(startObserveServer({ host: '127.0.0.1', port: server.port }, metrics, health), (error) => {
    assert.ok(error instanceof Fault)
    assert.deepEqual([error.code, error.exitCode], ['PORT_IN_USE', EXIT_CONFIG])
    assert.match(
      error.message,
      new RegExp(`port ${server.port} on 127\\.0\\.0\\.1 is in use .*MARKETPRISM_OBSERVE_PORT`),
    )
    return true
  })
})

test('server should cut a client that does not finish its headers', async (t) => {
  const { server } = await served(t, 300)
  const started = performance.now()
  const answer = await new Promise<string>((resolve) => {
    let text = ''
    const socket = connect(server.port, '127.0.0.1', () => socket.write('GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: '))
    socket.on('data', (bytes) => (text += bytes))
    socket.on('close', () => resolve(text))
  })
  assert.match(answer, /^HTTP\/1\.1 408 /)
  assert.ok(performance.now() - started < 5_000)
})

test('server should refuse headers beyond 8 KiB', async (t) => {
  const { get } = await served(t)
  assert.equal((await get('/livez', { headers: { 'x-long': 'x'.repeat(9_000) } })).status, 431)
})
