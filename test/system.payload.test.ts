import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runCli } from './support/cli.ts'
import { startNats, temporaryDirectory } from './support/embedded.ts'
import { afterRun, arrived, rigEngine, rigVenue } from './support/rig.ts'

/** A nats-server whose messages are shorter than our blocks would be. */

test('engine should seal blocks that fit into the messages of its nats-server', async (t) => {
  const payloadBytesMax = 300_000
  const nats = await startNats(t, { payloadBytesMax })
  if (nats === null) return
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 8_000 })
  const data = temporaryDirectory(t)
  const wishes = [`nats.url=${nats.url}`, 'batch.ageMs=30000', 'batch.bytesMax=1048576', 'batch.rowsMax=1000000']
  const flags = ['--delivery', 'jetstream', ...wishes.flatMap((text) => ['--set', text]), ...venue.flags]
  const engine = await rigEngine(t, data, flags)
  await engine.booksLive(1, 20_000)
  await sleep(5_000)
  await arrived(engine, venue)
  engine.kill('SIGTERM')
  const { code, stderr } = await engine.ended
  assert.equal(code, 0, stderr)
  assert.doesNotMatch(stderr, /raise max_payload/)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.missing, result.doubled, result.wrong], [0, 0, 0], JSON.stringify(result.check))
  const [largest] = await result.sql<{ bytes: string }>('SELECT max(bytes) AS bytes FROM blocks')
  assert.ok(Number(largest?.bytes) > payloadBytesMax / 2, `${largest?.bytes}: the bound was never reached`)
  assert.ok(Number(largest?.bytes) < payloadBytesMax, `${largest?.bytes}`)
})

test('engine should not start with a nats-server that cannot take the row of a whole book', async (t) => {
  const nats = await startNats(t, { payloadBytesMax: 100_000 })
  if (nats === null) return
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 100 })
  const { code, stderr } = await runCli([
    ...['collect', 'store', '--data', temporaryDirectory(t), '--delivery', 'jetstream'],
    ...['--set', `nats.url=${nats.url}`, ...venue.flags],
  ])
  assert.notEqual(code, 0)
  assert.match(stderr, /takes messages of 100000 bytes, the row of a whole book may need 262144: raise max_payload/)
})
