/**
 * `marketprism demo`: simulated venues in a process of its own → the whole engine → ClickHouse, on this machine; then
 * every row against what the simulator says it sent.
 */
import type { Run } from '../base/run.ts'
import type { EngineProcess } from '../roles/process.ts'
import { surveyRecording } from '../simulate/survey.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { recordingFile } from './simulate.ts'
import { printReport } from './demo/report.ts'
import { compareWithTruth, onStage, playToEnd, stageDirectory } from './demo/stage.ts'
import type { MarketPlans, Venue } from './demo/venue.ts'

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

export async function runDemo(options: DemoOptions, run: Run): Promise<void> {
  const directory = stageDirectory(run, DEMO_DIRECTORY)
  const say = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const markets = await planMarkets(options)
  await onStage({ ...options, markets, directory }, run, async (stage) => {
    const { engine, venue, client, status, config } = stage
    for (const line of whereDataGoes(engine, venue, directory)) say(line)
    await playToEnd(stage, run.stop)
    const { check, sent } = await compareWithTruth(stage)
    const { database } = config.clickhouse
    await printReport({ isJson: options.json, engine, client, database, check, sent, status, directory, say })
  })
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
