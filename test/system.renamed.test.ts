import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'
import { afterRun, arrived, rigEngine, rigVenue } from './support/rig.ts'

/** What is in the spool belongs to the name under which it was accepted, whatever the collector is called today. */
test('engine that got another name should deliver what it accepted under the old one once, and not take it for lost', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 300 })
  const data = temporaryDirectory(t)
  const flags = ['--delivery', 'jetstream', '--set', 'nats.ackWaitSeconds=2', ...venue.flags]
  const first = await rigEngine(t, data, [...flags, '--set', 'producer=old'])
  const server = first.child('clickhouse-server')
  process.kill(server, 'SIGSTOP') // JetStream takes blocks, and nothing is stored
  await first.booksLive(1, 20_000)
  await sleep(2_000)
  first.kill('SIGKILL')
  process.kill(server, 'SIGKILL')
  await first.ended
  const spool = await runCli(['spool', 'ls', '--data', data, '--json'])
  const { segments } = lastJson<{ segments: readonly { blocks: number }[] }>(spool)
  const accepted = segments.reduce((sum, { blocks }) => sum + blocks, 0)
  assert.ok(accepted > 0, 'blocks are in the spool under the old name')
  const second = await rigEngine(t, data, [...flags, '--set', 'producer=new'])
  const marks = `SELECT uniqExact(block_seq) AS seqs, max(block_seq) AS last FROM blocks WHERE producer = 'old'`
  const isStored = async () => Number((await second.sql<{ seqs: string }>(marks))[0]?.seqs) >= accepted
  await until(isStored, 20_000, 'the blocks of the old name are stored')
  await sleep(3_000) // some questions for what is stored, and answers
  await arrived(second, venue)
  second.kill('SIGTERM')
  const { code, stderr } = await second.ended
  assert.equal(code, 0, stderr)
  assert.doesNotMatch(stderr, /has lost what it had acknowledged/)
  const result = await afterRun(t, data, venue)
  assert.deepEqual([result.doubled, result.wrong], [0, 0])
  const [old] = await result.sql<{ seqs: string; last: string }>(marks)
  assert.ok(Number(old?.seqs) > 0 && old?.seqs === old?.last, `no hole: ${JSON.stringify(old)}`)
})
