import assert from 'node:assert/strict'
import { test } from 'node:test'
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
