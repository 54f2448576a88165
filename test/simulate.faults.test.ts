import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFaults } from '../engine/simulate/faults.ts'
import type { SimulatorOptions } from '../engine/simulate/options.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import { cleanUpAtEnd } from './support/clean-up.ts'
import { eventually, followBook, openClient } from './support/venue-client.ts'

const KINDS = 'btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms'

async function spot(options: Partial<SimulatorOptions> = {}) {
  const simulator = await startSimulator({ markets: ['spot'], instruments: 1, rate: 2000, ...options })
  cleanUpAtEnd(() => simulator.stop())
  const ws = simulator.urls.spot?.ws as string
  const client = await openClient(`${ws}/stream?streams=${KINDS}`)
  const ids = (kind: string, key: string): number[] =>
    client.frames.filter(({ stream }) => stream.split('@')[1] === kind).map(({ data }) => data[key])
  await client.until(() => client.frames.length > 50)
  return { simulator, client, ws, rest: simulator.urls.spot?.rest as string, ids }
}

test('simulate faults: a gap should leave out so many events and note their ids as a loss', async () => {
  const { simulator, client, ids } = await spot()
  assert.ok(simulator.inject({ kind: 'gap', stream: 'trade', count: 3 }))
  const before = ids('trade', 't').length
  await client.until(() => ids('trade', 't').length > before + 20)
  const report = await simulator.stop()
  await client.closed
  const heard = ids('trade', 't')
  const hole = heard.findIndex((id, index) => index > 0 && id !== (heard[index - 1] as number) + 1)
  const [last, next] = [heard[hole - 1] as number, heard[hole] as number]
  assert.equal(next - last, 4)
  const [loss] = simulator.truth().losses
  assert.ok(loss !== undefined && loss.firstMs <= loss.lastMs && Math.abs(loss.lastMs - Date.now()) < 10_000)
  const { firstMs, lastMs, ...rest } = loss
  assert.deepEqual(
    [simulator.truth().losses.length, rest],
    [
      1,
      {
        market: 'spot',
        symbol: 'BTCUSDT',
        stream: 'btcusdt@trade',
        channel: 'trades',
        cause: 'gap',
        firstId: last + 1,
        lastId: next - 1,
        count: 3,
      },
    ],
  )
  assert.equal(report.sent.trades, heard.length, 'what was left out does not count as sent')
})

test('simulate faults: a gap in depth should break the chain of a client', async () => {
  const { simulator, client, rest, ids } = await spot()
  const snapshot = (await (await fetch(`${rest}/api/v3/depth?symbol=BTCUSDT&limit=1000`)).json()) as Parameters<
    typeof followBook
  >[1]
  await client.until(() => ids('depth', 'u').some((last) => last > snapshot.lastUpdateId)) // a gap before it shows nothing
  simulator.inject({ kind: 'gap', stream: 'depth' })
  await client.until(() => simulator.truth().losses.length > 0)
  await new Promise((next) => setTimeout(next, 50))
  await simulator.stop()
  await client.closed
  const events = client.frames.filter(({ stream }) => stream.includes('@depth')).map(({ data }) => data)
  assert.throws(() => followBook('spot', snapshot, events), /does not follow/)
})

test('simulate faults: a duplicate should come twice and count once', async () => {
  const { simulator, client, ids } = await spot()
  simulator.inject({ kind: 'duplicate', stream: 'bookTicker', count: 2 })
  const before = client.frames.length
  await client.until(() => client.frames.length > before + 100)
  const { sent } = await simulator.stop()
  await client.closed
  const heard = ids('bookTicker', 'u')
  assert.equal(heard.length - new Set(heard).size, 2)
  assert.equal(sent.book_tickers, new Set(heard).size)
})

test('simulate faults: reorder should let two events swap places', async () => {
  const { simulator, client, ids } = await spot()
  simulator.inject({ kind: 'reorder', stream: 'trade', count: 2 })
  const before = client.frames.length
  await client.until(() => client.frames.length > before + 100)
  const { sent } = await simulator.stop()
  await client.closed
  const heard = ids('trade', 't')
  const swapped = heard.filter((id, index) => index > 0 && id < (heard[index - 1] as number))
  assert.equal(swapped.length, 2)
  assert.equal(sent.trades, heard.length)
  assert.deepEqual(
    [...heard].sort((a, b) => a - b),
    heard.map((_, index) => Math.min(...heard) + index),
  )
})

test('simulate faults: a silent stream should stop while the others go on, then come back', async () => {
  const { simulator, client, ids } = await spot()
  simulator.inject({ kind: 'silent', stream: 'trade', seconds: 0.3 })
  const before = ids('bookTicker', 'u').length
  await client.until(() => simulator.truth().losses.length > 0)
  await client.until(() => (ids('trade', 't').at(-1) ?? 0) > (simulator.truth().losses[0]?.lastId ?? Infinity))
  await simulator.stop()
  await client.closed
  const [loss] = simulator.truth().losses
  assert.equal(loss?.cause, 'silent')
  const { firstId, lastId, count } = loss
  assert.ok(count > 20)
  assert.deepEqual(
    ids('trade', 't').filter((id) => id >= firstId && id <= lastId),
    [],
    'silent all the while',
  )
  assert.ok(ids('trade', 't').includes(firstId - 1) && ids('trade', 't').includes(lastId + 1))
  assert.ok(ids('bookTicker', 'u').length > before + 50)
})

test('simulate faults: truncated, malformed, nested, unknown and huge frames should reach the client as such', async () => {
  const { simulator, client } = await spot()
  simulator.inject({ kind: 'truncated', stream: 'depth' })
  await client.until(() => client.others.some((text) => text.startsWith('{"stream":"btcusdt@depth@100ms"')))
  assert.throws(() => JSON.parse(client.others[0] as string))
  const expected = [
    ['malformed', /^\{"e":"depthUpdate".*,,/],
    ['nested', /^\[{100000}$/],
    ['unknown', /neverHeardOf/],
    ['huge', /^\{"e":"x{200000}/],
  ] as const
  for (const [kind, pattern] of expected) {
    simulator.inject({ kind, bytes: 200_000 })
    await client.until(() => client.others.some((text) => pattern.test(text)), kind)
  }
  assert.equal(simulator.connections(), 1)
  simulator.inject({ kind: 'broken_frame' })
  assert.equal((await client.closed).code, 1006, 'a client may not go on after a frame against the protocol')
  await simulator.stop()
  assert.ok(simulator.truth().losses.some(({ cause, stream }) => cause === 'truncated' && stream.includes('@depth')))
})

test('simulate faults: close should say its code, rst should not, and what nobody heard should be noted', async () => {
  const { simulator, client, ws } = await spot()
  simulator.inject({ kind: 'close', code: 1012 })
  assert.deepEqual(await client.closed, { code: 1012, reason: 'fault' })
  const lastHeard = client.frames.filter(({ stream }) => stream.endsWith('@trade')).at(-1)?.data.t as number
  await new Promise((next) => setTimeout(next, 100))
  const second = await openClient(`${ws}/stream?streams=${KINDS}`)
  await second.until(() => second.frames.filter(({ stream }) => stream.endsWith('@trade')).length > 3)
  const firstHeard = second.frames.find(({ stream }) => stream.endsWith('@trade'))?.data.t as number
  const loss = simulator.truth().losses.find(({ stream }) => stream === 'btcusdt@trade')
  assert.deepEqual([loss?.cause, loss?.firstId, loss?.lastId], ['unheard', lastHeard + 1, firstHeard - 1])
  simulator.inject({ kind: 'close', rst: true })
  assert.equal((await second.closed).code, 1006)
  await simulator.stop()
})

test('simulate faults: without pings none should come, without pongs the server should close', async () => {
  const { simulator, client } = await spot({ heartbeatScale: 0.005 })
  let pings = 0
  client.ws.on('ping', () => pings++)
  await client.until(() => pings > 1)
  simulator.inject({ kind: 'no_pings', seconds: 0.5 })
  await new Promise((next) => setTimeout(next, 50))
  const before = pings
  await new Promise((next) => setTimeout(next, 300))
  assert.equal(pings, before)
  simulator.inject({ kind: 'no_pongs', seconds: 5 })
  assert.equal((await client.closed).reason, 'Pong timeout')
  await simulator.stop()
})

test('simulate faults: REST should refuse, be slow or give an old book when told to', async () => {
  const { simulator, ws, rest } = await spot()
  const depth = async () => {
    const response = await fetch(`${rest}/api/v3/depth?symbol=BTCUSDT&limit=100`)
    return {
      status: response.status,
      retry: response.headers.get('retry-after'),
      body: (await response.json()) as { lastUpdateId: number },
    }
  }
  simulator.inject({ kind: 'rest_429', seconds: 0.2 })
  assert.deepEqual([(await depth()).status, (await depth()).retry], [429, '1'])
  await new Promise((next) => setTimeout(next, 250))
  simulator.inject({ kind: 'rest_418', seconds: 0.2 })
  assert.equal((await depth()).status, 418)
  await new Promise((next) => setTimeout(next, 250))
  simulator.inject({ kind: 'rest_slow', ms: 300, seconds: 1 })
  const startMs = performance.now()
  assert.equal((await depth()).status, 200)
  assert.ok(performance.now() - startMs >= 290)
  simulator.inject({ kind: 'stale_snapshot' })
  await new Promise((next) => setTimeout(next, 1000))
  const late = await openClient(`${ws}/stream?streams=btcusdt@depth@100ms`)
  await late.until(() => late.frames.length > 2)
  const [stale, fresh] = [await depth(), await depth()]
  assert.ok(stale.body.lastUpdateId + 1 < late.frames[0]?.data.U, 'older than all that the client has buffered')
  assert.ok(fresh.body.lastUpdateId >= late.frames[0]?.data.U, 'the second answer is of its moment again')
  await simulator.stop()
})

test('simulate faults: serverShutdown should be announced before the connections close', async () => {
  const { simulator, client } = await spot()
  simulator.inject({ kind: 'server_shutdown', seconds: 0.2 })
  await client.until(() => client.frames.some(({ stream }) => stream === '!serverShutdown'))
  assert.equal(client.frames.find(({ stream }) => stream === '!serverShutdown')?.data.e, 'serverShutdown')
  assert.equal((await client.closed).code, 1001)
  await simulator.stop()
})

test('simulate faults: a script should strike at its times, chance by its seed, and closes go round', async () => {
  const simulator = await startSimulator({
    markets: ['spot'],
    rate: 2000,
    seconds: 1.5,
    seed: 5,
    startAfterStreams: 6,
    faults: parseFaults('[{"at":0.4,"kind":"unknown"},{"at":0.1,"kind":"gap","stream":"trade"}]'),
    faultRate: 20,
    faultKinds: ['duplicate'],
    closeEverySeconds: 0.5,
  })
  const ws = simulator.urls.spot?.ws as string
  const clients = await Promise.all(
    [0, 1].map(() => openClient(`${ws}/stream?streams=${KINDS}/ethusdt@trade/ethusdt@bookTicker/ethusdt@depth`)),
  )
  await simulator.over
  const faults = simulator.truth().notes.filter((note) => 'fault' in note && note.armed !== true)
  const kinds = faults.map((note) => note.fault)
  assert.ok(kinds.indexOf('gap') >= 0 && kinds.indexOf('unknown') > 0)
  assert.ok(kinds.filter((kind) => kind === 'duplicate').length > 5)
  assert.equal(kinds.filter((kind) => kind === 'close').length, 2)
  await eventually(() => simulator.connections() === 0, 'both connections to be closed in turn')
  await simulator.stop()
  await Promise.all(clients.map(({ closed }) => closed))
})

test('simulate faults: a wrong script should be refused with what is allowed', () => {
  assert.throws(() => parseFaults('nonsense'), /not JSON/)
  assert.throws(() => parseFaults('{"kind":"gap"}'), /not an array/)
  assert.throws(() => parseFaults('[{"kind":"gup"}]'), /kind "gup"; known: gap, /)
  assert.throws(() => parseFaults('[{"kind":"gap","howmany":3}]'), /unknown key "howmany"/)
  assert.throws(() => parseFaults('[{"kind":"gap","count":-1}]'), /count is "-1"/)
  assert.throws(() => parseFaults('[{"kind":"gap","market":"margin"}]'), /market "margin"; known: spot/)
})
