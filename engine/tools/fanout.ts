/**
 * `marketprism fanout`: many WebSocket clients at the gateway of an engine that collects, in processes of their own. How old
 * is what they get, do clients that never read cost more than their bound, and does the feed notice any of it?
 *
 *   books LIVE ─► alone ─► with clients ─► and some that never read ─► those are evicted
 *                 feed      feed, clients     feed, memory
 */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { takeAnchorNs } from '../base/clock.ts'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { GatewaySample } from '../gateway/counts.ts'
import { Histogram } from '../ring/histogram.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { type FeedFigures, feedOver, feedSince, isUnchanged, namesOfLive, rssMaxOver, until } from './demo/feed.ts'
import { halfAtBinance } from './demo/markets.ts'
import { onStage, type Stage, stageDirectory } from './demo/stage.ts'
import { hundredths, tellVerdict } from './demo/verdict.ts'
import { Crowd } from './fanout/crowd.ts'
import type { CrowdPlan } from './fanout/protocol.ts'

export interface FanoutOptions {
  readonly clients: number
  /** instruments of each client */
  readonly each: number
  /** clients that never read */
  readonly stalled: number
  readonly instruments: number
  readonly rate: number
  /** of each phase */
  readonly seconds: number
  /** processes that the clients are spread over */
  readonly processes: number
  readonly format: 'json' | 'msgpack'
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly json: boolean
}

/** What a client gets of each of its instruments. */
const TYPES = ['trade', 'book_ticker', 'book']
/** What clients get first is whole books, one for each instrument and client: another trial. */
const FIRST_BOOKS_MS = 10_000
const CONNECTED_MS_MAX = 180_000
const EVICTED_MS_MAX = 120_000
const SAMPLE_EVERY = 17

/** What is wanted. */
const P99_MS_MAX = 50
const STALLED_MIB_MAX = 30
const MIB = 2 ** 20

export async function runFanout(options: FanoutOptions, run: Run): Promise<void> {
  const seed = options.seed ?? freshSeed()
  const random = seededRandom(seed)
  const markets = halfAtBinance(options.instruments, options.venues)
  const directory = stageDirectory(run, 'fanout')
  const play = { ...options, seed, seconds: null, recordings: [], speed: 1, markets, directory, serves: true }
  await onStage(play, run, async (stage) => {
    stage.status.close()
    const names = await namesOfLive(stage, run.stop)
    const alone = await feedOver(stage, options.seconds)
    const crowd = new Crowd(crowdPlans(stage, options, namesOf(random, names, options)))
    try {
      await until(() => crowd.isConnected, CONNECTED_MS_MAX, 'all clients are connected')
      await sleep(FIRST_BOOKS_MS)
      const withClients = await withCrowd(stage, crowd, options.seconds)
      const stalled = await withStalled(stage, options)
      const figures = {
        instruments: names.length,
        rate: options.rate,
        clients: options.clients,
        instrumentsEach: options.each,
        format: options.format,
        ...withClients.figures,
        feedMs: { alone, withClients: withClients.feed, withStalled: stalled.feed },
        stalled: stalled.figures,
        lost: countsOf(stage)?.liveLost ?? 0,
        cores: availableParallelism(),
        seed,
      }
      tellVerdict(figures, missedOf(figures, options), options.json)
    } finally {
      crowd.close()
    }
  })
}

interface Figures {
  readonly connected: number
  readonly clientMs: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly feedMs: { readonly alone: FeedFigures; readonly withClients: FeedFigures; readonly withStalled: FeedFigures }
  readonly stalled: { readonly clients: number; readonly evicted: number; readonly rssMiB: number }
}

function missedOf({ connected, clientMs, feedMs, stalled }: Figures, options: FanoutOptions): string[] {
  return [
    ...(connected === options.clients ? [] : [`${connected} of ${options.clients} clients stayed`]),
    ...(clientMs.p99 < P99_MS_MAX ? [] : [`p99 engine → client ${clientMs.p99} ms`]),
    ...(isUnchanged(feedMs.alone, feedMs.withClients)
      ? []
      : [`p99 of the feed ${feedMs.alone.p99} → ${feedMs.withClients.p99} ms`]),
    ...(stalled.evicted === stalled.clients
      ? []
      : [`${stalled.evicted} of ${stalled.clients} stalled clients evicted`]),
    ...(stalled.rssMiB < STALLED_MIB_MAX ? [] : [`stalled clients cost ${stalled.rssMiB} MiB`]),
  ]
}

function countsOf({ engine }: Stage): GatewaySample | undefined {
  return engine.serving?.counts
}

/** Which instruments each client wants: another choice for each. */
function namesOf(random: Random, names: readonly string[], { clients, each }: FanoutOptions): string[][] {
  return Array.from({ length: clients }, () => {
    const left = [...names]
    return Array.from(
      { length: Math.min(each, names.length) },
      () => left.splice(Math.floor(random() * left.length), 1)[0] as string,
    )
  })
}

function crowdPlans(stage: Stage, options: FanoutOptions, chosen: readonly (readonly string[])[]): CrowdPlan[] {
  const { processes } = options
  const patterns = chosen.map((names) => names.flatMap((name) => TYPES.map((type) => `${type}.${name}`)))
  const plan = planOf(stage, options, false)
  return Array.from({ length: processes }, (_, index) => ({
    ...plan,
    patterns: patterns.filter((_patterns, client) => client % processes === index),
  }))
}

function planOf({ engine }: Stage, { format }: FanoutOptions, isStalled: boolean): Omit<CrowdPlan, 'patterns'> {
  const { hostname, port } = new URL(engine.serving?.url ?? '')
  return {
    host: hostname,
    port: Number(port),
    format,
    isStalled,
    sampleEvery: SAMPLE_EVERY,
    anchorNs: String(takeAnchorNs()),
  }
}

async function withCrowd(stage: Stage, crowd: Crowd, seconds: number) {
  const before = Histogram.sum(stage.collector.liveLatencies)
  const messagesBefore = stage.collector.total('messages')
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  crowd.reset()
  await sleep(seconds * 1_000)
  const report = await crowd.report()
  const { user, system } = process.cpuUsage(cpuBefore)
  const took = (performance.now() - startedMs) / 1_000
  return {
    feed: feedSince(stage.collector.liveLatencies, before),
    figures: {
      connected: report.clients,
      eventsPerSecond: Math.round((stage.collector.total('messages') - messagesBefore) / took),
      framesPerSecond: Math.round(report.frames / report.seconds),
      mibPerSecond: Math.round(report.bytes / report.seconds / MIB),
      clientMs: { p50: hundredths(report.p50Ms), p99: hundredths(report.p99Ms), max: hundredths(report.maxMs) },
      samples: report.samples,
      conflated: countsOf(stage)?.conflated ?? 0,
      cpuShare: {
        engine: hundredths((user + system) / 1e6 / took),
        clients: hundredths(report.cpuSeconds / report.seconds),
      },
    },
  }
}

/** Clients that subscribe to everything and never read. */
async function withStalled(stage: Stage, options: FanoutOptions) {
  const { stalled } = options
  const before = Histogram.sum(stage.collector.liveLatencies)
  const evictedBefore = countsOf(stage)?.evicted ?? 0
  const baseline = await rssMaxOver(options.seconds * 1_000, () => false)
  const patterns = Array.from({ length: stalled }, () => TYPES.map((type) => `${type}.>`))
  const crowd = new Crowd(stalled === 0 ? [] : [{ ...planOf(stage, options, true), patterns }])
  const evicted = (): number => (countsOf(stage)?.evicted ?? 0) - evictedBefore
  let queuedBytes = 0
  const isOver = (): boolean => {
    queuedBytes = Math.max(queuedBytes, countsOf(stage)?.queuedBytes ?? 0)
    return evicted() >= stalled
  }
  const startedMs = performance.now()
  try {
    const peak = await rssMaxOver(EVICTED_MS_MAX, isOver)
    return {
      feed: feedSince(stage.collector.liveLatencies, before),
      figures: {
        clients: stalled,
        evicted: evicted(),
        rssMiB: Math.max(0, Math.round((peak - baseline) / MIB)),
        queuedMiB: hundredths(queuedBytes / MIB),
        seconds: hundredths((performance.now() - startedMs) / 1_000),
      },
    }
  } finally {
    crowd.close()
  }
}
