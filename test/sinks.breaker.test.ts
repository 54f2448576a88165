import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { Breaker, BREAKER_DEFAULT, isRest } from '../engine/sinks/breaker.ts'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { GuardedLetters } from '../engine/sinks/guarded-letters.ts'
import { openBlockSink } from '../workers/block-sink.ts'

const silent = createLog('silent', 'test')
const QUICK = { failuresMax: 5, restMsMin: 40, restMsMax: 60_000 }

test('breaker should open after 5 failures in a row and rest for at most 60 s', () => {
  assert.deepEqual(BREAKER_DEFAULT, { failuresMax: 5, restMsMin: 1_000, restMsMax: 60_000 })
})

test('breaker should ask nothing while it is open, then one request, and close on its success', async () => {
  const breaker = new Breaker('a server', QUICK, () => true, silent)
  let asked = 0
  const fails = () => breaker.run(async () => assert.fail(`failure ${asked++}`)).catch((error: unknown) => error)
  for (let count = 0; count < 4; count++) await fails()
  await breaker.run(async () => asked++)
  for (let count = 0; count < 5; count++) await fails()
  assert.equal(breaker.state, 'open')
  assert.equal(asked, 10)
  assert.ok(isRest(await fails()))
  assert.equal(asked, 10, 'nothing was asked')
  await sleep(60)
  let release = (): void => {}
  const probe = breaker.run(() => new Promise<void>((resolve) => (release = resolve)))
  assert.equal(breaker.state, 'half-open')
  let followers = 0
  const waiting = [1, 2, 3].map(() => breaker.run(async () => followers++))
  await sleep(10)
  assert.equal(followers, 0, 'others wait for the luck of the first')
  release()
  await Promise.all([probe, ...waiting])
  assert.equal(breaker.state, 'closed')
  assert.equal(followers, 3)
  assert.equal(breaker.opened, 1)
})

test('breaker should rest twice as long when its one request fails', async () => {
  const breaker = new Breaker('a server', { failuresMax: 1, restMsMin: 300, restMsMax: 60_000 }, () => true, silent)
  const fails = () => breaker.run(async () => assert.fail('away')).catch((error: unknown) => error)
  await fails()
  await sleep(320)
  assert.ok(!isRest(await fails()), 'asked after the first rest')
  await sleep(320)
  assert.ok(isRest(await fails()), 'the second rest is longer')
  assert.equal(breaker.opened, 2)
})

test('breaker should not open for what is the fault of the request', async () => {
  const breaker = new Breaker('a server', QUICK, () => false, silent)
  for (let count = 0; count < 20; count++) await breaker.run(async () => assert.fail('bad')).catch(() => undefined)
  assert.equal(breaker.state, 'closed')
})

test('guarded letters should leave a stream alone that refuses them, and reject so that nothing is acknowledged', async () => {
  let asked = 0
  const refusing = {
    put: async () => {
      asked++
      throw new Error('refused')
    },
  }
  const letters = new GuardedLetters(refusing, 'letters', QUICK, silent)
  const put = () => letters.put(undefined, new Uint8Array(1), { reason: 'bad', attempts: 1, name: 'x' })
  for (let count = 0; count < 8; count++) await assert.rejects(put)
  assert.equal(asked, 5)
  assert.equal(letters.breaker.state, 'open')
})

test('block sink without NATS should leave a directory alone that takes no letters, too', async () => {
  const blocks = {
    to: 'clickhouse',
    clickhouse: { ...CLICKHOUSE_DEFAULT, breaker: { ...QUICK, restMsMin: 60_000 } },
  } as const
  const settings = { spoolDirectory: '/dev/null', blocks }
  const { sink, letters } = openBlockSink(settings, new Clock(), seededRandom(1), silent)
  const put = () => letters.put(undefined, new Uint8Array(1), { reason: 'bad', attempts: 1, name: 'x' })
  for (let count = 0; count < 5; count++) await assert.rejects(put, /cannot be written to .dev.null.poison/)
  await assert.rejects(put, /tried again later/)
  assert.equal(letters.breaker.state, 'open')
  await sink.close()
})
