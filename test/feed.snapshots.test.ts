import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../engine/base/fault.ts'
import { seededRandom } from '../engine/base/random.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'
import { SNAPSHOT_DEFAULTS, Snapshots } from '../engine/feed/snapshots.ts'
import type { Priority } from '../engine/feed/weight.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

const BTC: Instrument = {
  id: 'binance.spot.BTCUSDT',
  exchange: 'binance',
  market: 'spot',
  symbol: 'BTCUSDT',
  priceScale: 2,
  quantityScale: 5,
  status: 'TRADING',
}

/** Requests wait until the test answers them. */
function start() {
  const requests: { priority: Priority; send: () => void; answer: (body: string) => void; fail: () => void }[] = []
  const log: string[] = []
  const time = new TurnedTime(0)
  const snapshots = new Snapshots(SNAPSHOT_DEFAULTS, {
    fetch: (_instrument, priority, onSent) =>
      new Promise((resolve, reject) => {
        const answer = (body: string) => resolve(Buffer.from(body))
        requests.push({ priority, send: onSent, answer, fail: () => reject(new Fault('REST_STATUS', 'a 502')) })
      }),
    time,
    random: seededRandom(7),
    onSnapshot: (want, body) => log.push(`snapshot ${want.generation} ${body}`),
    onFailed: (want, reason) => log.push(`failed ${want.generation} ${reason}`),
  })
  const want = (generation: number) => snapshots.want({ instrument: BTC, connection: 1, generation })
  return { requests, log, time, snapshots, want }
}

test('snapshots should fetch once however often the same generation asks', async () => {
  const { requests, log, snapshots, want } = start()
  want(1)
  want(1)
  requests[0]?.send()
  want(1)
  requests[0]?.answer('a')
  await settle()
  assert.deepEqual(log, ['snapshot 1 a'])
  assert.equal(requests.length, 1)
  assert.deepEqual({ ...snapshots.stats }, { wanted: 3, joined: 2, delivered: 1, outdated: 0, retried: 0, failed: 0 })
  assert.equal(snapshots.pendingCount, 0)
})

test('snapshots should ask first to start, later to close a gap', async () => {
  const { requests, want } = start()
  want(1)
  requests[0]?.send()
  requests[0]?.answer('a')
  await settle()
  want(1)
  assert.deepEqual(
    requests.map((request) => request.priority),
    ['start', 'gap'],
  )
})

test('snapshots should give a newer generation the request that still waits, but not one that was sent before', async () => {
  const waiting = start()
  waiting.want(1)
  waiting.want(2)
  waiting.requests[0]?.send()
  waiting.requests[0]?.answer('a')
  await settle()
  assert.deepEqual(waiting.log, ['snapshot 2 a'])

  const sent = start()
  sent.want(1)
  sent.requests[0]?.send()
  sent.want(2)
  sent.requests[0]?.answer('old')
  await settle()
  assert.deepEqual(sent.log, [])
  sent.requests[1]?.send()
  sent.requests[1]?.answer('new')
  await settle()
  assert.deepEqual(sent.log, ['snapshot 2 new'])
  assert.equal(sent.snapshots.stats.outdated, 1)
})

test('snapshots should try again with growing pauses, then say why they gave up', async () => {
  const { requests, log, time, want } = start()
  want(1)
  for (let attempt = 0; attempt < SNAPSHOT_DEFAULTS.attemptsMax; attempt++) {
    assert.equal(requests.length, attempt + 1)
    requests[attempt]?.send()
    requests[attempt]?.fail()
    await settle()
    if (attempt + 1 < SNAPSHOT_DEFAULTS.attemptsMax) {
      assert.equal(requests.length, attempt + 1, 'not at once')
      await time.turn(SNAPSHOT_DEFAULTS.backoffCapMs)
    }
  }
  assert.deepEqual(log, ['failed 1 REST_STATUS a 502'])
  want(1)
  assert.equal(requests.length, SNAPSHOT_DEFAULTS.attemptsMax + 1, 'a new want starts a new errand')
})

test('snapshots should deliver nothing for a connection that is gone', async () => {
  const { requests, log, time, snapshots, want } = start()
  want(1)
  requests[0]?.send()
  snapshots.cancel(BTC)
  want(2)
  requests[0]?.answer('old')
  requests[1]?.send()
  requests[1]?.answer('new')
  await settle()
  assert.deepEqual(log, ['snapshot 2 new'])
  want(3)
  requests[2]?.fail()
  await settle()
  snapshots.close()
  await time.turn(60_000)
  assert.equal(requests.length, 3)
  assert.equal(time.timerCount, 0)
})
