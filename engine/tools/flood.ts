/**
 * `marketprism flood`: one client with one key asks the gateway of an engine that collects for more than anybody may, at a
 * rate of its own. Is every request answered, at once, with what was asked for or with when to come again; and does the
 * feed notice any of it?
 *
 *   books LIVE ─► alone ─► warm ─► flood
 *                 feed             feed, answers, memory
 */
import { availableParallelism } from 'node:os'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { type FeedFigures, feedOver, isUnchanged, namesOfLive, rssMaxOver } from './demo/feed.ts'
import { halfAtBinance, withFigures } from './demo/markets.ts'
import { onStage, type Stage, stageDirectory } from './demo/stage.ts'
import { hundredths, tellVerdict } from './demo/verdict.ts'
import type { Visit, VisitReport, VisitTimes } from './flood/protocol.ts'
import { Visitors } from './flood/visitors.ts'
import { newKey } from './keys.ts'

export interface FloodOptions {
  /** requests a second */
  readonly requests: number
  readonly connections: number
  readonly instruments: number
  readonly rate: number
  /** of each phase */
  readonly seconds: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly json: boolean
}

/** What everybody asks for, as often the one as the other, each time of another instrument. */
const ROUTES: Readonly<Record<string, (instrument: string) => string>> = {
  status: () => '/v1/status',
  instruments: () => '/v1/instruments',
  books: () => '/v1/books',
  book: (instrument) => `/v1/books/${instrument}`,
  trades: (instrument) => `/v1/trades/${instrument}?limit=100`,
  ticker: (instrument) => `/v1/tickers/${instrument}?limit=1`,
}
const VISITS = 1_200
const WARM_SECONDS = 3
const MIB = 2 ** 20

/** What is wanted. */
/** 128 requests under way with 200 KiB each, 256 connections with 64 KiB, and the young generation of a thread. */
const GROWTH_MIB_MAX = 96
/** These ask no store, so one that has too much to do is no excuse; of what a client may ask for they get so much at least. */
const LIVE_ROUTES = ['status', 'books', 'book']
const LIVE_SHARE_MIN = 0.8

export async function runFlood(options: FloodOptions, asked: Run): Promise<void> {
  const seed = options.seed ?? freshSeed()
  const random = seededRandom(seed)
  const run = withKey(asked)
  const { key, requestsPerSecond } = run.config.serve
  const markets = withFigures(halfAtBinance(options.instruments, options.venues)) // each has a last ticker
  const directory = stageDirectory(run, 'flood')
  const play = { ...options, seed, seconds: null, recordings: [], speed: 1, markets, directory, serves: true }
  await onStage(play, run, async (stage) => {
    stage.status.close()
    const names = await namesOfLive(stage, run.stop, key)
    const alone = await measured(stage, options.seconds, () => feedOver(stage, options.seconds))
    const visitors = new Visitors({
      origin: stage.engine.serving?.url ?? '',
      key,
      connections: options.connections,
      routes: Object.keys(ROUTES),
      visits: visitsOf(random, names),
      rate: options.requests,
    })
    try {
      await visitors.flood(Math.min(WARM_SECONDS, options.seconds))
      let report: VisitReport | undefined
      const flooded = await measured(stage, options.seconds, async () => {
        const [feed, told] = await Promise.all([feedOver(stage, options.seconds), visitors.flood(options.seconds)])
        report = told
        return feed
      })
      const figures = figuresOf(names.length, options, alone, flooded, report as VisitReport)
      const wanted = { ...figures, mayAsk: requestsPerSecond, seed }
      tellVerdict(wanted, missedOf(figures, options, requestsPerSecond), options.json)
    } finally {
      visitors.close()
    }
  })
}

function visitsOf(random: Random, names: readonly string[]): Visit[] {
  const paths = Object.values(ROUTES)
  const below = (count: number): number => Math.floor(random() * count)
  return Array.from({ length: VISITS }, () => {
    const routeIndex = below(paths.length)
    return { routeIndex, path: paths[routeIndex]?.(names[below(names.length)] ?? '') ?? '' }
  })
}

/** One key, as a gateway of others would have: what it costs to look it up is a part of each request. */
function withKey(run: Run): Run {
  const { serve } = run.config
  return serve.key !== '' ? run : { ...run, config: { ...run.config, serve: { ...serve, key: newKey('flood') } } }
}

interface Phase {
  readonly feed: FeedFigures
  readonly eventsPerSecond: number
  /** of the whole engine's process */
  readonly cpuShare: number
  readonly rssMiB: number
}

async function measured({ collector }: Stage, seconds: number, act: () => Promise<FeedFigures>): Promise<Phase> {
  const messagesBefore = collector.total('messages')
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  const [feed, rss] = await Promise.all([act(), rssMaxOver(seconds * 1_000, () => false)])
  const took = (performance.now() - startedMs) / 1_000
  const { user, system } = process.cpuUsage(cpuBefore)
  return {
    feed,
    eventsPerSecond: Math.round((collector.total('messages') - messagesBefore) / took),
    cpuShare: hundredths((user + system) / 1e6 / took),
    rssMiB: Math.round(rss / MIB),
  }
}

const OK = '200'
const TOO_OFTEN = '429'
const NOT_NOW = '503'

function figuresOf(instruments: number, options: FloodOptions, alone: Phase, flooded: Phase, report: VisitReport) {
  const { sent, seconds, answers, failed, withoutRetryAfter } = report
  const aSecond = (count = 0): number => hundredths(count / seconds)
  const { [OK]: ok = 0, [TOO_OFTEN]: tooOften = 0, [NOT_NOW]: notNow = 0, ...others } = answers
  return {
    instruments,
    rate: options.rate,
    eventsPerSecond: { alone: alone.eventsPerSecond, flooded: flooded.eventsPerSecond },
    requestsPerSecond: aSecond(sent),
    connections: options.connections,
    answersPerSecond: { 200: aSecond(ok), 429: aSecond(tooOften), 503: aSecond(notNow) },
    livePerSecond: aSecond(LIVE_ROUTES.reduce((sum, name) => sum + (report.routes[name]?.count ?? 0), 0)),
    others,
    failed,
    withoutRetryAfter,
    okMs: rounded(report.okMs),
    refusedMs: rounded(report.refusedMs),
    routes: Object.fromEntries(Object.entries(report.routes).map(([name, times]) => [name, rounded(times)])),
    feedMs: { alone: alone.feed, flooded: flooded.feed },
    rssMiB: { alone: alone.rssMiB, flooded: flooded.rssMiB },
    cpuShare: { alone: alone.cpuShare, flooded: flooded.cpuShare, clients: hundredths(report.cpuSeconds / seconds) },
    // simulator, engine, NATS, ClickHouse and clients share these
    cores: availableParallelism(),
  }
}

const rounded = ({ count, p50, p99, max }: VisitTimes): VisitTimes => ({
  count,
  p50: hundredths(p50),
  p99: hundredths(p99),
  max: hundredths(max),
})

function missedOf(figures: ReturnType<typeof figuresOf>, options: FloodOptions, mayAsk: number): string[] {
  const { others, failed, withoutRetryAfter, feedMs, rssMiB, livePerSecond } = figures
  const liveShare = (LIVE_ROUTES.length / Object.keys(ROUTES).length) * LIVE_SHARE_MIN
  const liveWanted = Math.min(options.requests, mayAsk) * liveShare
  return [
    ...(isUnchanged(feedMs.alone, feedMs.flooded)
      ? []
      : [`p99 of the feed ${feedMs.alone.p99} → ${feedMs.flooded.p99} ms`]),
    ...(failed === 0 ? [] : [`${failed} requests without an answer`]),
    ...Object.entries(others).map(([status, count]) => `${count} answers ${status}`),
    ...(withoutRetryAfter === 0 ? [] : [`${withoutRetryAfter} refusals do not say when to come again`]),
    ...(livePerSecond >= liveWanted ? [] : [`${livePerSecond} answers of what is live a second, of ${liveWanted}`]),
    ...(rssMiB.flooded - rssMiB.alone < GROWTH_MIB_MAX
      ? []
      : [`the process grew by ${rssMiB.flooded - rssMiB.alone} MiB`]),
  ]
}
