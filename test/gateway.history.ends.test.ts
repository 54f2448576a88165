import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import type { ExchangeName } from '../engine/simulate/venue.ts'
import { CLICKHOUSE_DEFAULT } from '../engine/sinks/clickhouse.ts'
import { FaultLink } from '../engine/tools/conservation/fault-link.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startClickHouse, temporaryDirectory, until } from './support/embedded.ts'
import { type Ask, served } from './support/gateway.ts'
import { eachOf, endOf, judge, type Life, livesOf } from './support/past-books.ts'
import { type RigEngine, rigEngine } from './support/rig.ts'
import { type TrueBooks, watchBooks } from './support/true-books.ts'

/** What is told of the past after an engine was killed twice, once while a venue was away, and stopped once. */

const TIMES = Number(process.env.TEST_RUNS ?? 14)
const MARKETS = { binance: 'usdm', deribit: 'perpetual' } as const
const BOOKS = Object.keys(MARKETS).length
/** How long after an event was made it may be received. */
const LATE_NS = 2_000_000_000n

/** So late that who stored nothing for a minute has ended. */
class LateClock extends Clock {
  override nowNs(): bigint {
    return super.nowNs() + 120_000_000_000n
  }
}

async function startVenue(t: TestContext, exchange: ExchangeName & keyof typeof MARKETS, random: Random) {
  const market = MARKETS[exchange]
  const mix = { bookTicker: 0, trade: 0.2, depth: 0.8 }
  const seed = Math.floor(random() * 1e6)
  const simulator = await startSimulator({ exchange, markets: [market], instruments: 1, rate: 50, mix, seed })
  cleanUp(t, () => simulator.stop())
  const link = new FaultLink(exchange)
  cleanUp(t, () => link.close())
  const { ws = '', rest = '' } = simulator.urls[market] ?? {}
  const urls = [`wsUrl=${await link.through(ws)}`, `restUrl=${await link.through(rest)}`]
  const set = ['enabled=true', 'instruments=*', 'channels=book,trades', ...urls]
  const flags = set.flatMap((text) => ['--set', `exchanges.${exchange}.${market}.${text}`])
  return { link, flags, books: watchBooks(simulator) }
}

/** @returns all books, and the gateway over what is stored of them. */
async function livedThrough(t: TestContext, random: Random) {
  const [binance, deribit] = [await startVenue(t, 'binance', random), await startVenue(t, 'deribit', random)]
  const { url } = await startClickHouse(t)
  const directory = temporaryDirectory(t)
  const off = ['binance.spot', 'binance.coinm'].flatMap((market) => ['--set', `exchanges.${market}.enabled=false`])
  const flags = [...binance.flags, ...deribit.flags, ...off, '--delivery', 'direct', '--workers', '1']
  flags.push('--set', `clickhouse.url=${url}`, '--set', 'snapshots.checkpointSeconds=1')
  const live = async (act: (engine: RigEngine) => Promise<void>): Promise<RigEngine> => {
    const engine = await rigEngine(t, directory, flags)
    await engine.booksLive(BOOKS, 20_000)
    await sleep(3_300 + random() * 500)
    await act(engine)
    await engine.ended
    return engine
  }
  await live(async (engine) => engine.kill('SIGKILL'))
  await sleep(300)
  await live(async (engine) => {
    deribit.link.strike({ kind: 'limit', bytes: 0 })
    deribit.link.reset()
    const open = `SELECT count() AS count FROM gaps FINAL WHERE exchange = 'deribit' AND channel = 'book' AND status = 'open'`
    await until(async () => (await engine.sql(open))[0]?.['count'] === '1', 10_000, 'the gap is stored')
    engine.kill('SIGKILL')
  })
  deribit.link.heal()
  const { sql } = await live(async (engine) => engine.kill('SIGTERM'))
  const clickhouse = { ...CLICKHOUSE_DEFAULT, url }
  const { get } = await served(t, { clickhouse }, SILENT, undefined, new LateClock())
  return { truths: [...binance.books, ...deribit.books], sql, get }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('what is told of the past should be true around every end and start of an engine, and whole again behind them', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? freshSeed())
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const { truths, sql, get } = await livedThrough(t, random)
  const counts = { told: 0, refused: 0 }
  for (const truth of truths) {
    const lives = await livesOf((query) => sql(query), truth)
    assert.ok(new Set(lives.map(({ boot }) => boot)).size === 3, `${truth.id}: an engine without a book`)
    await eachOf(timesOf(lives, random), async (ns) => {
      const answer = await get(`/v1/books/${truth.id}/at?time=${ns}&depth=5000`)
      judge(truth, lives, ns, answer, `${truth.id} at ${ns}, seed ${seed}`, true)
      counts[answer.status === 200 ? 'told' : 'refused']++
    })
    await assertCovered(get, truth, lives)
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.told >= TIMES / 2 && counts.refused >= truths.length * 6, JSON.stringify(counts))
  const open = (await get('/v1/gaps?status=open')).json.rows
  assert.deepEqual(open, [], 'what a dead engine left open is over')
})

/** Random ones, and those around each end. */
function timesOf(lives: readonly Life[], random: Random): bigint[] {
  const [first, last] = [lives[0] as Life, lives.at(-1) as Life]
  const within = (from: bigint, to: bigint): bigint => from + BigInt(Math.floor(random() * Number(to - from)))
  const begin = first.anchor.ns
  const times = Array.from({ length: TIMES }, () => within(begin, endOf(last).ns))
  for (const [index, life] of lives.entries()) {
    const end = endOf(life).ns
    const next = lives[index + 1]?.anchor.ns ?? end + 1_000_000_000n
    times.push(end, end + 1n, within(end - 300_000_000n, end), within(end, end + 100_000_000n), within(end, next))
    times.push(next - 1n, next, within(next, next + 100_000_000n))
  }
  return times.filter((ns) => ns > begin).sort((left, right) => (left < right ? -1 : 1))
}

/** What an engine did in its last seconds before it was killed is called missing, stored or not: it had not noted it as kept. */
const KEPT_LAG_NS = 5_000_000_000n

/** Of every change of the venue that is not stored coverage has to say so, and of what is stored that it is there. */
async function assertCovered(get: Ask, truth: TrueBooks, lives: readonly Life[]): Promise<void> {
  const [from, to] = [(lives[0] as Life).anchor.ns, endOf(lives.at(-1) as Life).ns]
  const { status, json, text } = await get(`/v1/coverage/${truth.id}?from=${from}&to=${to}`)
  assert.equal(status, 200, text)
  const [book, trades] = json.channels
  const spans = (book.intervals as { from_ns: string; to_ns: string; state: string }[]).map((one) => ({
    fromNs: BigInt(one.from_ns),
    toNs: BigInt(one.to_ns),
    state: one.state,
  }))
  const stored = new Set(
    lives.flatMap(({ anchor, events }) => [anchor.version, ...events.map(({ version }) => version)]),
  )
  const missing = spans.filter(({ state }) => state === 'missing')
  for (const [index, { ms }] of truth.versions.entries()) {
    const ns = BigInt(ms) * 1_000_000n
    const isOld = lives.some(
      ({ anchor }) => anchor.ns >= ns - LATE_NS && anchor.ns <= ns + LATE_NS && anchor.version >= index,
    )
    if (ns < from || ns > to - LATE_NS || stored.has(index) || isOld) continue
    const isTold = missing.some(({ fromNs, toNs }) => fromNs <= ns + LATE_NS && toNs >= ns)
    assert.ok(isTold, `${truth.id}: change ${index} of ${ns} is nowhere, and coverage says ${text}`)
  }
  for (const life of lives) {
    const early = life.anchor.ns + 100_000_000n
    const isStopped = life === lives.at(-1)
    if (!isStopped && endOf(life).ns - early < KEPT_LAG_NS) continue // killed young, as on a busy machine
    const { state } = spans.find(({ fromNs, toNs }) => fromNs <= early && early < toNs) ?? {}
    assert.equal(state, 'complete', `${truth.id} early in a life, at ${early}: ${text}`)
  }
  assert.ok(Number(trades.seconds.complete) > 1 && Number(trades.seconds.missing) > 0.3, text)
}
