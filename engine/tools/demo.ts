/**
 * `marketprism demo`: simulated venues in a process of its own → the whole engine → ClickHouse, on this machine; then
 * every row against what the simulator says it sent.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { type EngineProcess, startProcess } from '../roles/process.ts'
import { surveyRecording } from '../simulate/survey.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { createClickHouseClient } from '../sinks/clickhouse.ts'
import { recordingFile } from './simulate.ts'
import { checkAgainstTruth } from './demo/check.ts'
import { printReport } from './demo/report.ts'
import { StatusLine } from './demo/status.ts'
import { demoConfig } from './demo/config.ts'
import { type MarketPlans, startVenue, type Venue } from './demo/venue.ts'

export interface DemoOptions {
  /** null: a recording to its end */
  readonly seconds: number | null
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly recordings: readonly string[]
  readonly speed: number
  readonly json: boolean
}

const DEMO_DIRECTORY = 'demo'
const MARKER = 'DEMO'
/** Nothing new from the sockets for so long after the venue said that all is sent: all has arrived. */
const QUIET_MS = 500
const ARRIVAL_MS_MAX = 60_000
const STORING_MS_MAX = 300_000

export async function runDemo(options: DemoOptions, run: Run): Promise<void> {
  const isOwnDirectory = run.effective.origins.get('data.directory')?.layer === 'flag'
  const directory = isOwnDirectory
    ? resolve(run.config.data.directory)
    : resolve(run.config.data.directory, DEMO_DIRECTORY)
  emptyDirectory(directory)
  const say = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const markets = await planMarkets(options)
  const truthDirectory = join(directory, 'truth')
  const venue = await startVenue({ ...options, markets, truthDirectory })
  try {
    const config = demoConfig(run, directory, venue.urls, markets)
    const engine = await startProcess({ ...run, config, roles: ['collect', 'store'] })
    try {
      for (const line of whereDataGoes(engine, venue, directory)) say(line)
      const status = await runMarket(engine, venue, run.stop)
      await engine.stopRoles()
      const sent = await venue.stop()
      const client = createClickHouseClient(engine.servers.clickhouse ?? fail())
      try {
        const { database } = config.clickhouse
        const check = await checkAgainstTruth(client, database, ...venue.truthDirectories)
        const isJson = options.json
        await printReport({ isJson, engine, client, database, check, sent, status, directory, say })
      } finally {
        await client.close()
      }
    } finally {
      for (const line of await engine.stop()) say(line)
    }
  } finally {
    await venue.kill()
    rmSync(truthDirectory, { recursive: true, force: true })
  }
}

/** What an earlier demo left goes; what is not a demo's stays. */
function emptyDirectory(directory: string): void {
  const marker = join(directory, MARKER)
  if (existsSync(directory) && readdirSync(directory).length > 0 && !existsSync(marker)) {
    throw new Fault(
      'NOT_A_DEMO',
      `${directory} holds something that is not of a demo, and a demo begins with an empty directory: name another with --data`,
      EXIT_USAGE,
    )
  }
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  writeFileSync(marker, 'Data of `marketprism demo`. The next demo empties this directory.\n')
}

function fail(): never {
  throw new Fault('NO_CLICKHOUSE', 'the demo needs ClickHouse and there is none')
}

const EVENTS = ['book', 'trades', 'book_tickers'] as const
const KINDS = [...EVENTS, 'klines', 'tickers'] as const
const CONTRACT_KINDS = [...KINDS, 'mark_prices', 'open_interests', 'liquidations'] as const

/** Markets of the demo and what it asks of each. Binance as ever; of the others all that they have. */
const MARKETS: Readonly<Record<ExchangeName, Readonly<Record<string, readonly string[]>>>> = {
  binance: {
    spot: EVENTS,
    usdm: ['book', 'agg_trades', 'book_tickers'],
    coinm: ['book', 'agg_trades', 'book_tickers'],
  },
  okx: { spot: KINDS, swap: [...CONTRACT_KINDS, 'funding_rates', 'long_short_ratios'] },
  deribit: { perpetual: [...CONTRACT_KINDS, 'index_prices', 'funding_rates'], option: CONTRACT_KINDS },
  bybit: { spot: KINDS, linear: [...CONTRACT_KINDS, 'index_prices', 'funding_rates', 'long_short_ratios'] },
}
/** Beside those, one instrument of each index market. */
const INDICES: Readonly<Record<string, readonly string[]>> = {
  'okx.index': ['index_prices'],
  'deribit.index': ['index_prices', 'volatility_indices'],
}
const CHANNEL_OF_STREAM: readonly (readonly [RegExp, string])[] = [
  [/@depth(@|$)/, 'book'],
  [/@trade$/, 'trades'],
  [/@aggTrade$/, 'agg_trades'],
  [/@bookTicker$/, 'book_tickers'],
]

/** As many instruments as asked for, spread over the markets of the venues; or what the recordings hold. */
async function planMarkets({ recordings, instruments: total, venues }: DemoOptions): Promise<MarketPlans> {
  if (recordings.length > 0) return recordedMarkets(recordings)
  const markets = venues.flatMap((venue) =>
    Object.entries(MARKETS[venue]).map(([market, channels]) => ({ key: `${venue}.${market}`, channels })),
  )
  const counted = markets.map(({ key, channels }, index) => {
    const count = Math.floor((total + markets.length - 1 - index) / markets.length)
    return [key, { count, channels }] as const
  })
  const indices = Object.entries(INDICES).filter(([key]) => venues.some((venue) => key.startsWith(`${venue}.`)))
  return Object.fromEntries([
    ...counted.filter(([, { count }]) => count > 0),
    ...indices.map(([key, channels]) => [key, { count: 1, channels }] as const),
  ])
}

async function recordedMarkets(recordings: readonly string[]): Promise<MarketPlans> {
  const plans: Record<string, { count: number; channels: readonly string[] }> = {}
  for (const text of recordings) {
    const { path, market: given } = recordingFile(text, null)
    const { market, listings, streams } = await surveyRecording(path, given)
    const key = `binance.${market}`
    const found = CHANNEL_OF_STREAM.filter(([pattern]) => streams.some((stream) => pattern.test(stream)))
    const known = plans[key] ?? { count: 0, channels: [] }
    const channels = [...new Set([...known.channels, ...found.map(([, channel]) => channel)])]
    plans[key] = { count: known.count + listings.length, channels }
  }
  return plans
}

function whereDataGoes(engine: EngineProcess, venue: Venue, directory: string): string[] {
  const { servers, collector, observe } = engine
  return [
    `simulated: ${Object.entries(venue.urls)
      .map(([market, { ws }]) => `${market} ${ws}`)
      .join(', ')}`,
    `collecting ${collector?.instrumentCount ?? 0} instruments over ${collector?.plan.connections.length ?? 0} sockets`,
    `delivery: ${servers.delivery}${servers.deliveryReason === '' ? '' : ` (${servers.deliveryReason})`}`,
    ...servers.lines,
    `data: ${directory}`,
    ...(observe === undefined ? [] : [`pages: ${observe.url}/metrics  ${observe.url}/health`]),
  ]
}

async function until(isDone: () => boolean, msMax: number): Promise<void> {
  const deadlineAt = performance.now() + msMax
  while (!isDone() && performance.now() < deadlineAt) await sleep(QUIET_MS)
}

/** True when nothing new has come since the last look. */
const allArrived = (() => {
  let seen = -1
  return ({ collector }: EngineProcess): boolean => {
    const before = seen
    seen = collector?.total('messages') ?? 0
    return seen === before
  }
})()

/** True when no block waits in the spool, and none in JetStream. */
function allStored({ collector }: EngineProcess): boolean {
  if (collector === undefined) return true
  const { sinkCounters: sink, storeCounters: store } = collector
  const isDelivered = sink.read('spoolUnacked') === 0
  return isDelivered && (store === undefined || (store.read('pending') === 0 && store.read('inFlight') === 0))
}

/** Until the venue has sent all, all of it has arrived and is stored; or the signal. */
async function runMarket(engine: EngineProcess, venue: Venue, stop: AbortSignal): Promise<StatusLine> {
  const status = new StatusLine(engine)
  const stopped = new Promise<void>((done) => {
    if (stop.aborted) done()
    stop.addEventListener('abort', () => done(), { once: true })
  })
  try {
    await Promise.race([venue.over, stopped, engine.failed])
    venue.finish()
    await venue.over
    await until(() => allArrived(engine), ARRIVAL_MS_MAX)
    await until(() => allStored(engine), STORING_MS_MAX)
  } finally {
    status.close()
  }
  return status
}
