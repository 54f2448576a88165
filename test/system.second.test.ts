import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { takeDirectory } from '../engine/tools/demo/directory.ts'
import { cleanUp } from './support/clean-up.ts'
import { runCli, startCli } from './support/cli.ts'
import { startClickHouse, startNats, temporaryDirectory } from './support/embedded.ts'
import { rigEngine, rigVenue } from './support/rig.ts'

/** Two collectors of one name that deliver to the same servers would give different blocks one identity. */

for (const way of ['direct', 'jetstream'] as const) {
  test(`engine should refuse to start beside another of its name that delivers to the same place (${way})`, async (t) => {
    const nats = way === 'direct' ? undefined : await startNats(t)
    if (nats === null) return
    const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 100 })
    const clickhouse = await startClickHouse(t)
    const servers = [`clickhouse.url=${clickhouse.url}`, ...(nats === undefined ? [] : [`nats.url=${nats.url}`])]
    const flags = ['--delivery', way, ...servers.flatMap((text) => ['--set', text]), ...venue.flags]
    const first = await rigEngine(t, temporaryDirectory(t), [...flags, '--set', 'producer=alone'])
    await first.booksLive(1, 20_000)
    const second = startCli(
      ['collect', 'store', '--data', temporaryDirectory(t), ...flags, '--set', 'producer=alone'],
      {},
    )
    cleanUp(t, () => second.kill('SIGKILL'))
    const { code, stderr } = await second.ended
    assert.notEqual(code, 0)
    assert.match(
      stderr,
      /producer alone is in use by process \d+ .*: stop it, or give this collector a producer name of its own/,
    )
    await rigEngine(t, temporaryDirectory(t), [...flags, '--set', 'producer=another'])
    first.kill('SIGTERM')
    assert.equal((await first.ended).code, 0)
  })
}

test('demo should leave alone a directory that an engine or another demo works in, and empty it when that has ended', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 100 })
  const data = temporaryDirectory(t)
  writeFileSync(path.join(data, 'DEMO'), 'what a demo left, which an engine goes on with')
  const engine = await rigEngine(t, data, ['--delivery', 'direct', ...venue.flags])
  await engine.booksLive(1, 20_000)
  const refused = await runCli(['demo', '--seconds', '1', '--data', data])
  assert.equal(refused.code, 70, refused.stderr)
  assert.match(refused.stderr, /in use by process \d+ .*: stop it, or name another directory with --data/)
  assert.ok(existsSync(path.join(data, 'clickhouse', 'owner.json')), 'nothing was deleted')
  engine.kill('SIGTERM')
  assert.equal((await engine.ended).code, 0)

  const demo = await takeDirectory(data)
  assert.ok(!existsSync(path.join(data, 'clickhouse')), 'it is emptied for who comes next')
  await assert.rejects(takeDirectory(data), /in use by process \d+/)
  await demo.release()
  await (await takeDirectory(data)).release()
})
