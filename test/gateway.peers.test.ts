import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { Fault } from '../engine/base/fault.ts'
import { seededRandom } from '../engine/base/random.ts'
import type { EngineStatus, InstrumentChange } from '../engine/gateway/engine-link.ts'
import { Peers, PEERS_DEFAULT } from '../engine/gateway/peers.ts'
import { WholeEngine } from '../engine/gateway/whole-engine.ts'
import { Health } from '../engine/observe/health.ts'
import { Metrics } from '../engine/observe/metrics.ts'
import { startObserveServer } from '../engine/observe/server.ts'
import { NATS_DEFAULT, NatsLink } from '../engine/sinks/nats.ts'
import { Registry, type RoleEntry } from '../engine/sinks/registry.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startNats, until } from './support/embedded.ts'
import { ToldEngine } from './support/gateway.ts'

const KEY = 'a-secret-of-processes'

function statusOf(name: string, market: string, level = 0): EngineStatus {
  const [exchange = '', place = ''] = market.split('.')
  return {
    name,
    roles: ['collect'],
    version: '1',
    pid: 1,
    startedMs: 0,
    health: 'healthy',
    problems: {},
    collector: {
      producer: name,
      instruments: 1,
      pressure: { level, reasons: [] },
      connections: [{ exchange, market: place }],
    } as unknown as NonNullable<EngineStatus['collector']>,
  }
}

/** The pages of another process, over real HTTP. */
async function otherProcess(t: TestContext, name: string, market: string, { level = 0, controlKey = KEY } = {}) {
  const health = new Health({ service: 'test', version: '1', nowMs: () => 0 })
  const server = await startObserveServer({ host: '127.0.0.1', port: 0 }, new Metrics(), health)
  cleanUp(t, () => server.close())
  const changes: InstrumentChange[] = []
  server.offer({
    questions: {
      '/status': () => statusOf(name, market, level),
      '/collected': () => [{ producer: name, instruments: [] }],
      '/plan': () => [],
    },
    controlKey,
    change: async (body) => {
      const change = body as InstrumentChange
      changes.push(change)
      return { added: change.add, removed: change.remove, refused: [] }
    },
  })
  return { url: server.url, changes, close: () => server.close() }
}

function peersOf(t: TestContext, urls: readonly string[], options: Partial<typeof PEERS_DEFAULT> = {}): Peers {
  const peers = new Peers(
    { ...PEERS_DEFAULT, everyMs: 50, freshMs: 500, controlKey: KEY, ...options },
    new Clock(),
    SILENT,
  )
  cleanUp(t, () => peers.close())
  peers.set(urls)
  return peers
}

const names = (statuses: readonly EngineStatus[]): string[] => statuses.map(({ name }) => name).sort()
const BTC = { exchange: 'binance', market: 'spot', symbol: 'BTCUSDT' }

test('peers: other processes should be asked, and forgotten when they answer no more', async (t) => {
  const [a, b] = [await otherProcess(t, 'a', 'binance.spot'), await otherProcess(t, 'b', 'okx.swap', { level: 2 })]
  const peers = peersOf(t, [a.url, `${b.url}/`, 'http://127.0.0.1:9'])
  assert.deepEqual(names(await peers.statuses()), ['a', 'b'])
  assert.deepEqual((await peers.collected()).map(({ producer }) => producer).sort(), ['a', 'b'])
  assert.equal(peers.pressure(), 2)
  await b.close()
  await until(async () => names(await peers.statuses()).join() === 'a', 10_000, 'b is forgotten')
  assert.equal(peers.pressure(), 0)
  peers.set([])
  assert.deepEqual(await peers.statuses(), [])
})

test('peers: a process that does not answer should not hold back the others', async (t) => {
  const a = await otherProcess(t, 'a', 'binance.spot')
  const hanging = await startObserveServer(
    { host: '127.0.0.1', port: 0 },
    new Metrics(),
    new Health({ service: 'test', version: '1', nowMs: () => 0 }),
  )
  cleanUp(t, () => hanging.close())
  hanging.offer({ questions: {}, controlKey: '', change: async () => ({}) })
  const peers = peersOf(t, [a.url, hanging.url])
  assert.deepEqual(names(await peers.statuses()), ['a'])
})

test('peers: what is to come should go to the collectors of its market in turn, what is to go to all of them', async (t) => {
  const [a, b] = [await otherProcess(t, 'a', 'binance.spot'), await otherProcess(t, 'b', 'binance.spot')]
  const other = await otherProcess(t, 'c', 'okx.swap')
  const peers = peersOf(t, [a.url, b.url, other.url])
  await peers.statuses()
  for (let count = 0; count < 4; count++) await peers.change({ add: [BTC], remove: [] })
  assert.deepEqual([a.changes.length, b.changes.length, other.changes.length], [2, 2, 0])
  const removed = await peers.change({ add: [], remove: [BTC] })
  assert.deepEqual(removed.removed, [BTC, BTC])
  const nowhere = await peers.change({ add: [{ ...BTC, exchange: 'nowhere' }], remove: [] })
  assert.deepEqual(nowhere.refused, ['nowhere.spot.BTCUSDT: no collector of nowhere.spot is there'])
})

test('peers: a process should take orders from who knows its secret alone', async (t) => {
  const a = await otherProcess(t, 'a', 'binance.spot')
  const deaf = await otherProcess(t, 'b', 'okx.swap', { controlKey: '' })
  const order = async (controlKey: string, name = BTC): Promise<string> => {
    const peers = peersOf(t, [a.url, deaf.url], { controlKey })
    await peers.statuses()
    return peers.change({ add: [name], remove: [] }).then(
      () => 'taken',
      (error: Fault) => {
        assert.ok(error instanceof Fault)
        return error.message
      },
    )
  }
  assert.equal(await order(KEY), 'taken')
  assert.match(await order('another'), /was not changed: this is not the observe\.controlKey/)
  assert.match(await order(''), /set the same observe\.controlKey there and here/)
  assert.match(await order(KEY, { ...BTC, exchange: 'okx', market: 'swap' }), /takes no orders: set the same/)
  assert.equal(a.changes.length, 1)
  const post = (headers: Record<string, string>, body: string) =>
    fetch(`${a.url}/change`, { method: 'POST', headers, body }).then(({ status }) => status)
  const authorization = `Bearer ${KEY}`
  assert.equal(await post({ authorization, 'content-type': 'text/plain' }, '{}'), 415)
  assert.equal(await post({ authorization, 'content-type': 'application/json' }, 'x'.repeat(70_000)), 413)
  assert.equal(await post({ authorization, 'content-type': 'application/json' }, 'x'), 400)
})

test('whole engine: its own collector should take what is of its markets, others the rest', async (t) => {
  const okx = await otherProcess(t, 'okx', 'okx.swap')
  const peers = peersOf(t, [okx.url])
  const own = new ToldEngine()
  own.processes.splice(0, 1, statusOf('own', 'binance.spot'))
  const engine = new WholeEngine(own, peers, true, new Clock())
  assert.deepEqual(names(await engine.status()), ['okx', 'own'])
  const swap = { exchange: 'okx', market: 'swap', symbol: 'BTC-USDT-SWAP' }
  const { added } = await engine.change({ add: [BTC, swap], remove: [] })
  assert.deepEqual(added, [BTC, swap])
  assert.deepEqual(own.changes, [{ add: [BTC], remove: [] }])
  assert.deepEqual(okx.changes, [{ add: [swap], remove: [] }])
})

test('whole engine: many who ask at once should cost the process one answer', async (t) => {
  const own = new ToldEngine()
  let [nowMs, asked] = [0, 0]
  own.status = async () => {
    asked++
    if (asked === 2) throw new Fault('ENGINE', 'not now')
    return own.processes
  }
  const clock = Object.assign(new Clock(), { monotonicMs: () => nowMs })
  const engine = new WholeEngine(own, peersOf(t, []), true, clock)
  await Promise.all(Array.from({ length: 100 }, () => engine.status()))
  assert.equal(asked, 1)
  nowMs = 501
  await assert.rejects(engine.status(), /not now/)
  assert.equal((await engine.status()).length, 1, 'an answer that failed is no answer')
  assert.equal(asked, 3)
})

test('registry: processes should find each other in NATS, and forget who has died', async (t) => {
  const server = await startNats(t)
  if (server === null) return
  const seen = new Map<string, string[]>()
  const join = (name: string, roles: readonly string[]) => {
    const link = new NatsLink({ ...NATS_DEFAULT, url: server.url }, name, seededRandom(1), SILENT)
    const entry: RoleEntry = {
      name,
      roles,
      host: 'h',
      pid: name.length,
      version: '1',
      startedMs: 1,
      pages: `http://${name}:1`,
    }
    const registry = new Registry(link, entry, { ttlMs: 1_500, replicas: 1 }, (others) =>
      seen.set(
        name,
        others.map((other) => `${other.name} ${other.roles.join('+')} ${other.pages}`),
      ),
    )
    registry.start()
    link.start()
    return { registry, link }
  }
  const one = join('a', ['collect', 'store'])
  const two = join('bb', ['serve'])
  const three = join('ccc', ['serve'])
  cleanUp(t, () => Promise.all([one, two, three].map(({ link }) => link.close())))
  const all = ['a collect+store http://a:1', 'bb serve http://bb:1', 'ccc serve http://ccc:1']
  const sees = (name: string, lines: readonly string[]) => seen.get(name)?.join() === lines.join()
  await until(() => sees('a', all.slice(1)) && sees('bb', [all[0] as string, all[2] as string]), 10_000, 'all see all')
  await two.registry.close()
  await until(() => sees('a', [all[2] as string]), 10_000, 'who goes is gone at once')
  await three.link.close() // as one that is killed
  await until(() => sees('a', []), 20_000, 'who died is forgotten')
})

test('peers should not follow where another sends them (G10)', async (t) => {
  let calls = 0
  const canary = createServer((_, answer) => {
    calls++
    answer.end('{}')
  })
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => canary.close())
  const { port } = canary.address() as AddressInfo
  let asked = 0
  const sender = createServer((_, answer) => {
    asked++
    answer.writeHead(307, { location: `http://127.0.0.1:${port}/status` }).end()
  })
  await new Promise<void>((resolve) => sender.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => sender.close())
  peersOf(t, [`http://127.0.0.1:${(sender.address() as AddressInfo).port}`])
  await until(() => asked >= 2, 10_000, 'it is asked again')
  assert.equal(calls, 0)
})
