import Table from 'cli-table3'
import { Clock } from '../base/clock.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { REST_DEFAULTS, RestClient } from '../feed/rest.ts'
import { type FeedTime, realTime } from '../feed/timer.ts'
import { readUniverse } from '../feed/universe.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../feed/weight.ts'
import { chosenMarkets, exchangeRules, planSettings } from '../roles/settings.ts'
import { type MarketSettings, type Plan, plan, type PlanSettings } from '../route/plan.ts'

/** `marketprism plan`: what the engine would connect to, and what that costs, before it does. */
export async function runPlan(options: { readonly json: boolean }, run: Run): Promise<void> {
  const { config } = run
  const time = realTime(new Clock())
  const rules = exchangeRules(config)
  const markets = Object.fromEntries(chosenMarkets(config).map((market) => [market.key, market]))
  const settings = planSettings(config, time.nowMs())
  const made = await computePlan({ rules, markets, settings, time, random: seededRandom(freshSeed()) })
  process.stdout.write(options.json ? `${JSON.stringify(made, null, 2)}\n` : `${formatPlan(made)}\n`)
}

/** One market of the configuration. */
export interface MarketRequest extends MarketSettings {
  /** symbols and globs */
  readonly instruments: readonly string[]
  /** empty: straight out */
  readonly proxy: string
}

export interface PlanRequest {
  readonly rules: ReadonlyMap<string, FeedRules>
  /** by `exchange.market` */
  readonly markets: Readonly<Record<string, MarketRequest>>
  readonly settings: PlanSettings
  readonly time: FeedTime
  readonly random: Random
}

/** Asks each venue for its instrument list (the only requests it makes) and plans. */
export async function computePlan(request: PlanRequest): Promise<Plan> {
  const lists = await Promise.all(Object.entries(request.markets).map(([key, market]) => listed(request, key, market)))
  return plan(request.rules, lists.flat(), request.settings)
}

async function listed(request: PlanRequest, key: string, set: MarketRequest): Promise<readonly Instrument[]> {
  const { time, random } = request
  const [exchange = '', market = ''] = key.split('.')
  const rules = request.rules.get(exchange)
  const place = rules?.markets[market]
  if (rules === undefined || place === undefined)
    throw new Fault('UNKNOWN_MARKET', `${key} is not a known market`, EXIT_CONFIG)
  const weightPerMinute = { [market]: place.limits.weightPerMinuteMax }
  const ledger = new WeightLedger({ ...WEIGHT_DEFAULTS, exchange, weightPerMinute, share: set.restWeightShare }, time)
  const base = set.restUrl === '' ? place.restBase : set.restUrl
  const { usedWeightHeader } = rules
  const rest = new RestClient(
    { ...REST_DEFAULTS, market, base, proxy: set.proxy, usedWeightHeader },
    { ledger, time, random },
  )
  try {
    return (await readUniverse(rules, market, set.instruments, rest)).instruments
  } finally {
    ledger.close()
    await rest.close()
  }
}

/** For people. `--json` prints the plan itself. */
export function formatPlan(plan: Plan): string {
  const connections = newTable(['connection', 'shard', 'streams', 'instruments', 'url'])
  for (const { name, shard, streams, instruments, url } of plan.connections) {
    connections.push([
      name,
      shard,
      streams.length,
      instrumentNames(instruments.map(({ instrument }) => instrument)),
      url,
    ])
  }
  const markets = newTable([
    'market',
    'instruments',
    'sockets',
    'streams',
    'snapshot',
    'weight at start',
    'polls a minute',
    'weight a minute',
    'rest',
  ])
  for (const market of plan.markets) {
    markets.push([
      `${market.exchange}.${market.market}`,
      market.instrumentCount,
      market.connectionCount,
      market.streamCount,
      market.snapshotWeight === 0 ? 'in the stream' : `${market.snapshotDepth} levels, weight ${market.snapshotWeight}`,
      market.startWeight,
      market.pollWeightPerMinute,
      market.weightPerMinute,
      market.restBase,
    ])
  }
  const shards = newTable(['shard', 'instruments', 'messages/s'])
  plan.shards.forEach((members, shard) => {
    shards.push([shard, instrumentNames(members), Math.round(plan.estimate.shardMessagesPerSecond[shard] ?? 0)])
  })
  return [connections, markets, shards].map(String).concat(formatEstimate(plan)).join('\n')
}

function formatEstimate({ estimate, connections }: Plan): string {
  return [
    `${connections.length} sockets; all books live about ${seconds(estimate.startupMs)} after the start (sockets ${seconds(estimate.connectMs)}, subscribing ${seconds(estimate.subscribeMs)}, snapshots ${seconds(estimate.snapshotMs)})`,
    `${Math.round(estimate.messagesPerSecond)} messages/s, ${gigabytes(estimate.wireBytesPerSecond * 86_400)} a day on the wire, ${gigabytes(estimate.diskBytesPerDay)} a day on disk, ${Math.round(estimate.memoryBytes / 1024 / 1024)} MiB of memory`,
    ...estimate.assumptions.map((assumption) => `assumes: ${assumption}`),
  ].join('\n')
}

function newTable(head: string[]): Table.Table {
  return new Table({ head, style: { head: [], border: [] } })
}

const NAMES_SHOWN_MAX = 4

function instrumentNames(instruments: readonly Instrument[]): string {
  const names = instruments.slice(0, NAMES_SHOWN_MAX).map((instrument) => instrument.symbol)
  const more = instruments.length - names.length
  return `${instruments.length}: ${names.join(' ')}${more > 0 ? ` +${more}` : ''}`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`
}
