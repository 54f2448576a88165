import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import type { FaultSpec } from '../engine/simulate/faults.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import type { ExchangeName } from '../engine/simulate/venue.ts'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { cleanUp } from './support/clean-up.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { eachOf, judge, type Life, livesOf, type Received } from './support/past-books.ts'
import { rigEngine } from './support/rig.ts'
import { watchBooks } from './support/true-books.ts'

/** Books of the past against the truth of four simulated venues. */

/** `TEST_RUNS=1000` for the trial; each is some queries, and CI has little time. */
const TIMES = Number(process.env.TEST_RUNS ?? 48)
const RUN_SECONDS = 12
/** Blocks have to be stored and settled before a time is answered. */
const SETTLE_SECONDS = 6.5
const MARKETS: Readonly<Record<ExchangeName, readonly string[]>> = {
  binance: ['spot', 'usdm'],
  okx: ['spot', 'swap'],
  deribit: ['perpetual', 'option'],
  bybit: ['spot', 'linear'],
}
const BOOKS = Object.values(MARKETS).flat().length

/** Each breaks, repeats or renumbers the book of one market; seconds after the begin. */
function faultsOf(exchange: ExchangeName, random: Random): FaultSpec[] {
  const [first, second] = MARKETS[exchange] as [string, string]
  const at = (from: number): number => from + random()
  const book = { stream: 'book' }
  return [
    { kind: 'duplicate', at: at(0), market: first, ...book },
    { kind: 'gap', at: at(1), market: first, ...book },
    { kind: 'close', at: at(1), market: second, ...book },
    { kind: 'reset', at: at(2), market: first, ...book },
    { kind: 'reorder', at: at(3), market: first, ...book },
    { kind: 'silent', at: at(2.5), market: second, seconds: 1.5, ...book },
    { kind: 'truncated', at: at(4), market: first, ...book },
    { kind: 'gap', at: at(4.5), market: second, ...book, count: 5 },
  ]
}

async function startVenue(t: TestContext, exchange: ExchangeName, random: Random) {
  const markets = MARKETS[exchange]
  const simulator = await startSimulator({
    exchange,
    markets,
    instruments: 1,
    rate: 100,
    mix: { bookTicker: 0, trade: 0, depth: 1 },
    seed: Math.floor(random() * 1e6),
    startAfterStreams: markets.length,
    faults: faultsOf(exchange, random),
  })
  cleanUp(t, () => simulator.stop())
  const flags = markets.flatMap((market) => {
    const urls = simulator.urls[market]
    const set = ['enabled=true', 'instruments=*', 'channels=book', `wsUrl=${urls?.ws}`, `restUrl=${urls?.rest}`]
    return set.flatMap((text) => ['--set', `exchanges.${exchange}.${market}.${text}`])
  })
  return { simulator, flags, books: watchBooks(simulator) }
}

test('the book at any time should be the simulator’s own, or refused, at every venue', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? freshSeed())
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const names = Object.keys(MARKETS) as ExchangeName[]
  const venues = await Promise.all(names.map((exchange) => startVenue(t, exchange, random)))
  const flags = venues.flatMap((venue) => venue.flags)
  const engine = await rigEngine(t, temporaryDirectory(t), [
    ...[...flags, '--delivery', 'direct', '--workers', '2', '--set', 'exchanges.binance.coinm.enabled=false'],
    ...['--set', 'snapshots.checkpointSeconds=2'],
  ])
  await engine.booksLive(BOOKS, 15_000)
  const startMs = Date.now()
  await until(() => Date.now() - startMs > RUN_SECONDS * 1000, 60_000, 'some seconds of market')
  await engine.booksLive(BOOKS, 15_000)
  const endNs = BigInt(Math.floor(Date.now() - SETTLE_SECONDS * 1000)) * 1_000_000n
  const { get } = await served(t, { clickhouse: { ...CLICKHOUSE_DEFAULT, url: engine.clickHouseUrl } })
  const truths = venues.flatMap(({ books }) => books)
  const counts = { told: 0, refused: 0, deltas: 0, checkpoints: 0, anchors: 0, gaps: 0 }
  for (const [index, truth] of truths.entries()) {
    const lives = await livesOf((query) => engine.sql(query), truth)
    const times = timesOf(lives, endNs, Math.ceil(TIMES / truths.length), random)
    counts.gaps += lives.length - 1
    await eachOf(times, async (ns) => {
      const answer = await get(`/v1/books/${truth.id}/at?time=${ns}&depth=5000`)
      const where = `${truth.id} at ${ns}, seed ${seed}`
      judge(truth, lives, ns, answer, where)
      if (answer.status !== 200) counts.refused++
      else {
        counts.told++
        counts.deltas += answer.json.deltas
        counts[answer.json.start.kind === 'anchor' ? 'anchors' : 'checkpoints']++
      }
    })
    assert.ok(lives.length > 1, `${truth.id} of ${index}: no fault made a gap`)
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.told > TIMES / 2 && counts.refused >= BOOKS && counts.checkpoints > 0, JSON.stringify(counts))
})

/** Random ones, those of changes to the ns, and those around what the faults did. */
function timesOf(lives: readonly Life[], endNs: bigint, count: number, random: Random): bigint[] {
  const [first] = lives as [Life]
  const within = (from: bigint, to: bigint): bigint => from + BigInt(Math.floor(random() * Number(to - from)))
  const begin = first.anchor.ns
  const times = Array.from({ length: count }, () => within(begin, endNs))
  times.push(begin - 1n, within(begin - 1_000_000_000n, begin))
  const events = lives.flatMap((life) => life.events)
  for (let left = Math.ceil(count / 4); left > 0; left--) {
    const { ns } = events[Math.floor(random() * events.length)] as Received
    times.push(ns, ns - 1n)
  }
  const again = lives.slice(1).map(({ anchor }) => anchor)
  for (let left = Math.min(again.length, Math.ceil(count / 4)); left > 0; left--) {
    const [anchor] = again.splice(Math.floor(random() * again.length), 1) as unknown as [Received]
    times.push(anchor.ns, anchor.ns - 1n)
    times.push(within(anchor.ns - 200_000_000n, anchor.ns), within(anchor.ns, anchor.ns + 200_000_000n))
  }
  return times.filter((ns) => ns < endNs).sort((left, right) => (left < right ? -1 : 1))
}
