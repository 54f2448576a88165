/** A gateway in a process of its own beside a collector, over NATS and ClickHouse, as services are deployed. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { type TestContext, test } from 'node:test'
import { cleanUp } from './support/clean-up.ts'
import { type RunningCli, startCli } from './support/cli.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'
import { rigEngine, rigVenue } from './support/rig.ts'

const WAIT_MS = 60_000
/** ours, and of what we start */
const NICE = os.getPriority()
/** On a machine that is busy with other tests a worker may be late without being hung. */
const CALM = ['--workers', '1', '--set', 'workers.hangMs=60000']

interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: each test knows its answer
  readonly body: any
}

async function startGateway(t: TestContext, words: readonly string[], roles: readonly string[] = ['serve']) {
  const cli: RunningCli = startCli([...roles, ...words])
  cleanUp(t, () => cli.kill('SIGKILL'))
  const line = await cli.line(/^marketprism: gateway: /)
  const url = line.slice('marketprism: gateway: '.length)
  const get = async (path: string): Promise<Answer> => {
    const answer = await fetch(`${url}${path}`)
    return { status: answer.status, body: await answer.json() }
  }
  const change = async (method: 'POST' | 'DELETE', path: string, body: object): Promise<Answer> => {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${url}${path}`, { method, headers, body: JSON.stringify(body) })
    return { status: answer.status, body: await answer.json() }
  }
  return { cli, get, change }
}

test('gateway alone should serve the books of a collector elsewhere, and none of one that died', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const venue = await rigVenue(t, { markets: ['usdm'], instruments: 2, rate: 500 })
  const data = temporaryDirectory(t)
  const engine = await rigEngine(t, data, [...venue.flags, ...CALM])
  await engine.booksLive(2, WAIT_MS)
  const beside = await startGateway(t, ['--data', data])
  assert.match(await beside.cli.line(/^marketprism: NATS: /), /nats:\/\/127.0.0.1:\d+ \(of the collector on .*nats\)$/)
  const nats = (/nats:\S+/.exec(await beside.cli.line(/^marketprism: NATS: /)) as RegExpExecArray)[0]
  const elsewhere = await startGateway(t, [
    ...['--data', temporaryDirectory(t), '--set', `nats.url=${nats}`],
    ...['--set', `clickhouse.url=${engine.clickHouseUrl}`],
  ])
  for (const { get } of [beside, elsewhere]) {
    await until(async () => (await get('/v1/books')).body.books.length === 2, WAIT_MS, 'heartbeats with both books')
    const { body } = await get('/v1/books')
    const path = `/v1/books/${body.books[0].instrument}`
    await until(async () => (await get(path)).status === 200, WAIT_MS, 'a whole book')
    const before = (await get(path)).body
    await until(async () => (await get(path)).body.last_seq > before.last_seq, WAIT_MS, 'a change of it')
    assert.ok(before.bids.length > 10 && before.asks.length > 10)
  }
  if (existsSync('/proc/self/task')) {
    const niceOf = (task: string): number => Number(readFileSync(`${task}/stat`, 'utf8').split(') ')[1]?.split(' ')[16])
    const threads = readdirSync(`/proc/${elsewhere.cli.pid}/task`)
    const nices = threads.map((thread) => niceOf(`/proc/${elsewhere.cli.pid}/task/${thread}`))
    assert.deepEqual(
      [niceOf(`/proc/${elsewhere.cli.pid}`), Math.max(...nices)],
      [NICE, NICE + 5],
      'its thread gives way',
    )
    const clickHouse = engine.child('clickhouse-server')
    assert.equal(niceOf(`/proc/${clickHouse}`), NICE + 10, 'the embedded ClickHouse gives way')
  }
  engine.kill('SIGKILL')
  for (const { get } of [beside, elsewhere]) {
    const states = async () => (await get('/v1/books')).body.books.map(({ state }: { state: string }) => state)
    await until(async () => (await states()).every((state: string) => state !== 'LIVE'), WAIT_MS, 'silence is noticed')
  }
  for (const { cli } of [beside, elsewhere]) cli.kill('SIGTERM')
  assert.deepEqual([(await beside.cli.ended).code, (await elsewhere.cli.ended).code], [0, 0])
})

test('instruments should come and go over the gateway of a collector, and stay so over a restart', async (t) => {
  const venue = await rigVenue(t, { markets: ['usdm'], instruments: 3, rate: 500 })
  const data = temporaryDirectory(t)
  const third = (await listedSymbols(venue.flags)).find((symbol) => !['BTCUSDT', 'ETHUSDT'].includes(symbol)) as string
  const wordsFor = (instruments: string) => {
    const flags = venue.flags.map((flag) => flag.replace('instruments=*', `instruments=${instruments}`))
    return ['--data', data, '--delivery', 'direct', '--set', 'serve.localAdmin=true', ...flags, ...CALM]
  }
  const live = (get: (path: string) => Promise<Answer>, ...symbols: string[]) =>
    until(
      async () => {
        const { body } = await get('/v1/books')
        const found = (body.books as { instrument: string; state: string }[]).filter(({ state }) => state === 'LIVE')
        return found.map(({ instrument }) => instrument).join() === symbols.map((each) => `binance.usdm.${each}`).join()
      },
      WAIT_MS,
      `${symbols.join()} LIVE`,
    )
  const first = await startGateway(t, wordsFor('*'), ['collect', 'serve'])
  await live(first.get, 'BTCUSDT', 'ETHUSDT', third)
  const status = async () => (await first.get('/v1/status')).body.processes[0].collector
  const isUnderWay = ({ shards, stored }: Answer['body']) => shards[0].frames > 100 && stored.rows > 100
  await until(async () => isUnderWay(await status()), WAIT_MS, 'rows are stored')
  const { shards, connections, spool } = await status()
  assert.deepEqual([shards.length, shards[0].books, connections.length > 0], [1, 3, true])
  assert.ok(spool.bytes > 0 && shards[0].rows > 0 && shards[0].latency.p99Ms > 0)
  const end = async (symbol: string) => first.change('DELETE', `/v1/subscriptions/binance.usdm.${symbol}`, {})
  for (const symbol of ['ETHUSDT', third])
    assert.deepEqual((await end(symbol)).body.removed, [{ exchange: 'binance', market: 'usdm', symbol }])
  await live(first.get, 'BTCUSDT')
  assert.equal((await end(third)).status, 422)
  const wanted = { instruments: [`binance.usdm.${third}`, 'binance.usdm.NOSUCHUSDT'] }
  const { body: added } = await first.change('POST', '/v1/subscriptions', wanted)
  assert.deepEqual(added.added, [{ exchange: 'binance', market: 'usdm', symbol: third }])
  assert.match(added.refused.join(), /^[^,]*NOSUCHUSDT/)
  await live(first.get, 'BTCUSDT', third)
  first.cli.kill('SIGTERM')
  assert.equal((await first.cli.ended).code, 0)
  const second = await startGateway(t, wordsFor('BTCUSDT,ETHUSDT'), ['collect', 'serve'])
  await live(second.get, 'BTCUSDT', third)
  second.cli.kill('SIGTERM')
  assert.equal((await second.cli.ended).code, 0)
})

async function listedSymbols(flags: readonly string[]): Promise<string[]> {
  const restUrl = flags.find((flag) => flag.includes('.usdm.restUrl='))?.split('=')[1]
  const answer = await fetch(`${restUrl}/fapi/v1/exchangeInfo`)
  const { symbols } = (await answer.json()) as { symbols: { symbol: string }[] }
  return symbols.map(({ symbol }) => symbol)
}

test('gateway alone should say in one line that there is nothing to serve', async (t) => {
  const { code, stderr } = await startCli(['serve', '--data', temporaryDirectory(t)]).ended
  assert.equal(code, 78)
  assert.match(stderr, /^marketprism: there is nothing to serve: nats.url and clickhouse.url are empty[^\n]*\n$/)
})
