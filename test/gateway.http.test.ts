import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { cleanUp } from './support/clean-up.ts'
import { until } from './support/embedded.ts'
import { served } from './support/gateway.ts'

test('gateway: what is not here should be refused in the form of all errors', async (t) => {
  const { get } = await served(t)
  const { status, json } = await get('/v1/nothing?x=1')
  assert.equal(status, 404)
  assert.equal(json.error.code, 'not_found')
  assert.match(json.error.message, /^GET \/v1\/nothing is not here/)
})

test('gateway: a parameter that no schema names should be refused, with the name that was meant', async (t) => {
  const { get } = await served(t)
  const { status, json } = await get('/v1/status?limti=1')
  assert.equal(status, 400)
  assert.equal(json.error.code, 'unknown_parameter')
  assert.equal(json.error.parameter, 'limti')
})

test('gateway: what the engine says should be a refusal with its line, what breaks a 500 without', async (t) => {
  const { get, engine } = await served(t)
  engine.fail = 'fault'
  const away = await get('/v1/status')
  assert.equal(away.status, 503)
  assert.equal(away.headers.get('retry-after'), '5')
  assert.equal(away.json.error.message, 'no collector answers: start one')
  engine.fail = 'bug'
  const broken = await get('/v1/status')
  assert.equal(broken.status, 500)
  assert.ok(!broken.text.includes('secret inside'), broken.text)
})

test('probes: those that come together should cost ClickHouse one ping, and be told soon that it went and came back', async (t) => {
  let isWell = true
  let pings = 0
  const server = createServer((_, response) => {
    pings++
    response.writeHead(isWell ? 200 : 500).end('Ok.\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { get } = await served(t, { clickhouse: { ...CLICKHOUSE_DEFAULT, url } })
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) => get(index % 2 === 0 ? '/readyz' : '/health')),
  )
  assert.ok(answers.every(({ status }) => status === 200))
  assert.ok(pings < 10, `${pings} pings for 30 probes`) // one, on a machine that answers all within half a second
  for (const state of [false, true]) {
    isWell = state
    await until(async () => (await get('/readyz')).status === (state ? 200 : 503), 10_000, `it is told: ${state}`)
  }
})
