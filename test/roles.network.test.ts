import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../engine/base/config.ts'
import { createLog } from '../engine/base/log.ts'
import { ClockFile } from '../engine/feed/clock-file.ts'
import { Network } from '../engine/roles/network.ts'
import { exchangeRules } from '../engine/roles/settings.ts'
import type { Plan } from '../engine/route/plan.ts'
import { machineTime, until } from './support/feed-time.ts'

const LOG = createLog('silent', 'test')
const NOBODY: Plan = { shards: [[]], connections: [], markets: [], estimate: {} as Plan['estimate'] }

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'marketprism-network-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** REST of a venue on loopback, and the network of an engine that keeps its data in this directory. */
async function rig(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  let asked = 0
  const server = createServer((request, response) => {
    asked++
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const restUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const open = (directory: string): Network => {
    const at = 'MARKETPRISM_EXCHANGES_BINANCE'
    const urls = ['SPOT', 'USDM', 'COINM'].map((market) => [`${at}_${market}_REST_URL`, restUrl])
    const variables = { ...Object.fromEntries(urls), MARKETPRISM_DATA_DIRECTORY: directory }
    const { config } = loadConfig({ directory: 'config', variables })
    const nothing = () => {}
    return new Network(
      config,
      { rules: exchangeRules(config), time: machineTime, random: () => 0.5, log: LOG },
      {
        onOpen: nothing,
        onSubscribed: nothing,
        onFrame: nothing,
        onClose: nothing,
        onSnapshot: nothing,
        onSnapshotFailed: nothing,
      },
    )
  }
  return { open, askedCount: () => asked }
}

for (const [status, seconds] of [
  [418, 240],
  [403, 600],
] as const)
  test(`network should remember a ${status} over a restart, by its data directory`, async (t) => {
    const directory = directoryOf(t)
    const retryAfter = status === 418 ? { 'retry-after': String(seconds) } : {}
    const { open, askedCount } = await rig(t, (_, response) => response.writeHead(status, retryAfter).end('{}'))
    const first = open(directory)
    const startMs = Date.now()
    await assert.rejects(first.readInstruments(), { code: 'REST_LIMITED' })
    await first.close()
    assert.deepEqual(readdirSync(directory), ['rest-bans.json'])
    const before = askedCount()
    const second = open(directory)
    t.after(() => second.close())
    for (const { ledger } of second.markets.values()) {
      const leftMs = ledger.bannedUntilMs - startMs
      assert.ok(leftMs >= seconds * 1_000 && leftMs < seconds * 1_000 + 5_000, `${leftMs} ms`)
    }
    const answer = second.readInstruments().then(
      () => 'answered',
      () => 'refused',
    )
    assert.equal(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100, 'waits'))]), 'waits')
    assert.equal(askedCount(), before, 'the venue is left alone')
    const elsewhere = open(directoryOf(t))
    t.after(() => elsewhere.close())
    for (const { ledger } of elsewhere.markets.values()) assert.equal(ledger.bannedUntilMs, 0, 'another data directory')
  })

test('network should let both futures markets of Binance draw on one weight, and spot on its own', async (t) => {
  const { open } = await rig(t, (_, response) => response.end())
  const network = open(directoryOf(t))
  t.after(() => network.close())
  const market = (name: string) => {
    const found = network.markets.get(`binance.${name}`)
    assert.ok(found, name)
    return found
  }
  const grant = await market('usdm').ledger.acquire('usdm', 700, 'gap')
  await market('coinm').ledger.acquire('coinm', 300, 'gap')
  const used = (name: string) => market(name).ledger.stats(name).grantedWeight
  assert.deepEqual([used('usdm'), used('coinm'), used('spot')], [1_000, 1_000, 0])
  market('usdm').ledger.observe(grant, 2_000)
  const { venueUsed } = market('coinm').ledger.stats('coinm')
  assert.ok(venueUsed === 2_000 || venueUsed === 0, 'what the venue counts on one host is known on the other')
})

test('network should measure the clock of a venue and keep what it measured', async (t) => {
  const directory = directoryOf(t)
  const { open } = await rig(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ serverTime: Date.now() + 400 }))
  })
  const lives = [open(directory), open(directory)]
  for (const network of lives) {
    network.connect(NOBODY)
    await until('an offset', () => network.clockOffsets.has('binance'))
    const offset = network.clockOffsets.get('binance')
    assert.ok(Math.abs((offset?.offsetMs ?? 0) - 400) <= (offset?.rttMs ?? 0) / 2 + 1, JSON.stringify(offset))
    await network.close()
  }
  const lines = readFileSync(join(directory, 'clock-offsets.ndjson'), 'utf8').trim().split('\n')
  const told = lines.map((line) => JSON.parse(line) as Record<string, number | string>)
  assert.deepEqual(
    told.map(({ exchange, measuredMs, offsetMs, errorMs }) => [exchange, measuredMs, offsetMs, errorMs]),
    lives.map(({ clockOffsets }) => {
      const { measuredMs, offsetMs, rttMs } = clockOffsets.get('binance') ?? { rttMs: Number.NaN }
      return ['binance', measuredMs, offsetMs, rttMs / 2]
    }),
    'one line a measurement, the second life behind the first',
  )
})

test('clock file should keep one full file beside the one that grows, and let the feed go on without a disk', (t) => {
  const directory = directoryOf(t)
  const path = join(directory, 'deeper', 'clock-offsets.ndjson')
  const file = new ClockFile(path, LOG, 200)
  for (let at = 0; at < 7; at++) file.append('okx', { offsetMs: at, rttMs: 10, measuredMs: 1_793_280_000_000 + at })
  const offsets = (name: string) =>
    readFileSync(join(directory, 'deeper', name), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { offsetMs: number }).offsetMs)
  assert.deepEqual([offsets('clock-offsets.1.ndjson'), offsets('clock-offsets.ndjson')], [[3, 4, 5].slice(-2), [6]])
  new ClockFile(join(path, 'below-a-file.ndjson'), LOG).append('okx', { offsetMs: 0, rttMs: 0, measuredMs: 0 })
})
