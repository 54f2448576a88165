import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test, type TestContext } from 'node:test'
import { findNatsServer } from '../engine/embedded/nats-install.ts'
import { isAway } from '../engine/sinks/away.ts'
import { checkClickHouse, CLICKHOUSE_DEFAULT, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { CHECKED_TABLES, checkAgainstTruth } from '../engine/tools/demo/check.ts'
import { cleanUp } from './support/clean-up.ts'
import { type RunningCli, startCli } from './support/cli.ts'
import {
  ask,
  CACHE,
  clientOf,
  SILENT,
  startClickHouse,
  startNats,
  temporaryDirectory,
  until,
} from './support/embedded.ts'
import { rigVenue } from './support/rig.ts'

/** Servers that are away when a role starts: it starts all the same, and nothing that it accepts is lost or doubled. */

interface RoleProcess extends RunningCli {
  metric(name: string): Promise<number>
  page(name: string): Promise<Response>
}

async function startRole(t: TestContext, words: readonly string[]): Promise<RoleProcess> {
  const cli = startCli(words)
  cleanUp(t, async () => {
    cli.kill('SIGKILL')
    await cli.ended
  })
  const url = /http:\/\/[\d.:]+/.exec(await cli.line(/^marketprism: pages: /))?.[0]
  const page = (name: string) => fetch(`${url}/${name}`)
  const metric = async (name: string): Promise<number> => {
    const lines = (await (await page('metrics')).text()).split('\n')
    const values = lines.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    return values.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
  return { ...cli, page, metric }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Blocks as they are stored: how many, how many different ones, how many from the first to the last; by boot. */
const BLOCKS =
  'SELECT count(), uniqExact(block_seq), max(block_seq) - min(block_seq) + 1 FROM marketprism.blocks GROUP BY epoch ORDER BY epoch'

for (const { collecting, storing } of [
  { collecting: ['collect'], storing: ['store'] },
  { collecting: ['collect', 'store'], storing: [] },
]) {
  const isApart = storing.length > 0
  test(`engine should collect while its servers are away at the start, and lose nothing, ${isApart ? 'also when it is killed meanwhile' : 'with all roles in one process'}`, async (t) => {
    const [natsPort, clickHousePort] = [await freePort(), await freePort()]
    const venue = await rigVenue(t, { markets: ['spot'], instruments: 1, rate: 300 })
    const [data, stored] = [temporaryDirectory(t), temporaryDirectory(t)]
    const servers = [`nats.url=nats://127.0.0.1:${natsPort}`, `clickhouse.url=http://127.0.0.1:${clickHousePort}`]
    const flags = [...servers.flatMap((text) => ['--set', text]), ...venue.flags]
    const collect = async (): Promise<RoleProcess> => {
      const started = await startRole(t, [...collecting, '--data', data, ...flags])
      await until(async () => (await started.metric('marketprism_spool_blocks_total')) > 5, 20_000, 'it collects')
      return started
    }
    let collector = await collect()
    const { status, completeness } = (await (await collector.page('health')).json()) as {
      status: string
      completeness: { problems: { servers?: string } }
    }
    assert.equal(status, 'degraded')
    assert.match(completeness.problems.servers ?? '', /^NATS at .* cannot be reached \(CONNECTION_REFUSED\)/)
    assert.equal(await collector.metric('marketprism_delivery_up'), 0)
    const accepted: number[] = []
    if (isApart) {
      accepted.push(await collector.metric('marketprism_spool_blocks_total'))
      collector.kill('SIGKILL')
      const { stderr } = await collector.ended
      assert.equal(stderr.match(/NATS at .* it is asked again until it is there, rows wait in the spool/g)?.length, 1)
      collector = await collect()
      const idle = await startRole(t, [...storing, '--data', stored, ...flags])
      assert.equal((await idle.page('readyz')).status, 503)
      idle.kill('SIGTERM')
      assert.equal((await idle.ended).code, 0, 'it stops in order while it waits')
      await startRole(t, [...storing, '--data', stored, ...flags])
    }
    if ((await startNats(t, { port: natsPort })) === null) return
    const clickhouse = await startClickHouse(t, { port: clickHousePort })
    venue.finish()
    await venue.over
    let last = 0
    const isAllStored = async (): Promise<boolean> => {
      last = await collector.metric('marketprism_spool_blocks_total')
      if ((await collector.metric('marketprism_delivery_up')) === 0) return false
      return (await collector.metric('marketprism_spool_uncommitted_blocks')) === 0
    }
    await until(isAllStored, 20_000, 'all that was accepted is stored')
    accepted.push(last)
    assert.equal((await (await collector.page('health')).text()).includes('"servers"'), false)
    const client = clientOf(t, clickhouse.url)
    const found = (await ask(client, BLOCKS)).split('\n').map((line) => line.split('\t').map(Number))
    assert.equal(found.length, accepted.length)
    for (const [boot, [count = 0, different, span]] of found.entries()) {
      assert.ok(count >= (accepted[boot] as number), `${accepted} were accepted, ${JSON.stringify(found)} are stored`)
      assert.deepEqual([different, span], [count, count])
    }
    const check = await checkAgainstTruth(client, 'marketprism', venue.truthDirectory)
    for (const table of CHECKED_TABLES) {
      assert.deepEqual([check[table].doubled, check[table].wrong], [0, 0], JSON.stringify(check))
      assert.ok(check[table].rows > 0, table)
      const marked = `SELECT sum(rows) FROM marketprism.blocks WHERE table = '${table}'`
      assert.equal(await ask(client, marked), await ask(client, `SELECT count() FROM marketprism.${table}`), table)
    }
    collector.kill('SIGTERM')
    assert.equal((await collector.ended).code, 0)
  })
}

test('role should end at once where its NATS is there and cannot be used', async (t) => {
  const found = await findNatsServer({ cacheDirectory: CACHE, mayFetch: true, log: SILENT })
  if ('reason' in found) return t.skip(found.reason)
  const port = await freePort()
  const server = spawn(found.command, ['-a', '127.0.0.1', '-p', String(port)], { stdio: ['ignore', 'ignore', 'pipe'] })
  cleanUp(t, () => server.kill('SIGKILL'))
  for await (const text of server.stderr) if (String(text).includes('Server is ready')) break
  const cli = startCli(['collect', '--data', temporaryDirectory(t), '--set', `nats.url=nats://127.0.0.1:${port}`])
  cleanUp(t, () => cli.kill('SIGKILL'))
  const { code, stderr } = await cli.ended
  assert.equal(code, 70, stderr)
  assert.match(stderr, /^marketprism: NATS at .* gives no JetStream \(503\): start it with -js/m)
})

test('ClickHouse that takes a connection and never answers should count as away, one that answers something else not', async (t) => {
  for (const [answer, away] of [
    ['', true],
    ['HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', false],
  ] as const) {
    const server = createServer((socket) => socket.on('data', () => socket.write(answer)).on('error', () => undefined))
    server.listen(0, '127.0.0.1')
    cleanUp(t, () => server.close())
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const options = { ...CLICKHOUSE_DEFAULT, url: `http://127.0.0.1:${port}`, requestTimeoutMs: 300 }
    const client = createClickHouseClient(options)
    const error = await checkClickHouse(client, options).catch((reason: Error) => reason)
    await client.close()
    assert.equal(isAway(error), away, String(error))
  }
})
