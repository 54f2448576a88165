/**
 * `marketprism demo`: a simulated Binance in a process of its own → the whole engine → ClickHouse, on this machine; then
 * every row against what the simulator says it sent.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../base/config.ts'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { type EngineProcess, startProcess } from '../roles/process.ts'
import { surveyRecording } from '../simulate/survey.ts'
import { MARKET_NAMES, type MarketName } from '../simulate/venue.ts'
import { createClickHouseClient } from '../sinks/clickhouse.ts'
import { recordingFile } from './simulate.ts'
import { checkAgainstTruth } from './demo/check.ts'
import { printReport } from './demo/report.ts'
import { StatusLine } from './demo/status.ts'
import { startVenue, type Venue } from './demo/venue.ts'

export interface DemoOptions {
  /** null: a recording to its end */
  readonly seconds: number | null
  readonly rate: number
  readonly instruments: number
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
  const venuePlan = await planVenue(options)
  const truthDirectory = join(directory, 'truth')
  const venue = await startVenue({ ...options, ...venuePlan, truthDirectory })
  try {
    const config = demoConfig(run, directory, venue, venuePlan)
    const engine = await startProcess({ ...run, config, roles: ['collect', 'store'] })
    try {
      for (const line of whereDataGoes(engine, venue, directory)) say(line)
      const status = await runMarket(engine, venue, run.stop)
      await engine.stopRoles()
      const sent = await venue.stop()
      const client = createClickHouseClient(engine.servers.clickhouse ?? fail())
      try {
        const { database } = config.clickhouse
        const check = await checkAgainstTruth(client, database, truthDirectory)
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

/** What the venue serves and what the engine asks it for. */
export interface VenuePlan {
  /** instruments of each market */
  readonly instruments: Readonly<Partial<Record<MarketName, number>>>
  readonly channels: Readonly<Partial<Record<MarketName, readonly string[]>>>
}

const OWN_CHANNELS: Readonly<Record<MarketName, readonly string[]>> = {
  spot: ['book', 'trades', 'book_tickers'],
  usdm: ['book', 'agg_trades', 'book_tickers'],
  coinm: ['book', 'agg_trades', 'book_tickers'],
}
const CHANNEL_OF_STREAM: readonly (readonly [RegExp, string])[] = [
  [/@depth(@|$)/, 'book'],
  [/@trade$/, 'trades'],
  [/@aggTrade$/, 'agg_trades'],
  [/@bookTicker$/, 'book_tickers'],
]

async function planVenue({ recordings, instruments: total }: DemoOptions): Promise<VenuePlan> {
  const instruments: Partial<Record<MarketName, number>> = {}
  const channels: Partial<Record<MarketName, readonly string[]>> = {}
  if (recordings.length === 0) {
    MARKET_NAMES.forEach((market, index) => {
      const count = Math.floor((total + MARKET_NAMES.length - 1 - index) / MARKET_NAMES.length)
      if (count === 0) return
      instruments[market] = count
      channels[market] = OWN_CHANNELS[market]
    })
    return { instruments, channels }
  }
  for (const text of recordings) {
    const { path, market: given } = recordingFile(text, null)
    const { market, listings, streams } = await surveyRecording(path, given)
    const found = CHANNEL_OF_STREAM.filter(([pattern]) => streams.some((stream) => pattern.test(stream)))
    instruments[market] = (instruments[market] ?? 0) + listings.length
    channels[market] = [...new Set([...(channels[market] ?? []), ...found.map(([, channel]) => channel)])]
  }
  return { instruments, channels }
}

/** The configuration with the venue, the directory and the markets of this demo in it. */
function demoConfig(run: Run, directory: string, venue: Venue, { channels }: VenuePlan): Config {
  const { config, effective } = run
  const markets = Object.entries(config.exchanges.binance).map(([name, market]) => {
    const urls = venue.urls[name as MarketName]
    if (urls === undefined) return [name, { ...market, enabled: false }]
    const wanted = channels[name as MarketName] ?? []
    return [
      name,
      { ...market, enabled: true, instruments: ['*'], channels: wanted, wsUrl: urls.ws, restUrl: urls.rest, proxy: '' },
    ]
  })
  const isPortChosen = effective.origins.get('observe.port')?.layer !== 'default'
  return {
    ...config,
    data: { directory },
    spool: { ...config.spool, directory: '' },
    observe: { ...config.observe, port: isPortChosen ? config.observe.port : 0 },
    exchanges: { binance: Object.fromEntries(markets) },
  } as Config
}

function whereDataGoes(engine: EngineProcess, venue: Venue, directory: string): string[] {
  const { servers, collector, observe } = engine
  return [
    `simulated Binance: ${Object.entries(venue.urls)
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
