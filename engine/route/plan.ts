import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { type Estimate, estimate } from './estimate.ts'
import { hash32, spread } from './spread.ts'
import {
  allowedConnections,
  checkChannels,
  contentOf,
  intoConnections,
  type Market,
  type MarketSettings,
  type PlannedInstrument,
  refuse,
  SPARE_CONNECTIONS,
  split,
  unitsOf,
  unitsPerConnectionMax,
} from './units.ts'

export type { MarketSettings, PlannedInstrument }

/**
 * Instruments + channels + shards + what the venues allow → connections. Pure: the same input gives the same plan, on
 * every machine and after every restart, and an instrument added moves hardly any other.
 *
 * An instrument belongs to one shard (its book is there), and a connection holds instruments of one shard, one market
 * and one URL class only, so that a frame finds its ring without being read. The price is paid knowingly: connections
 * multiply by shards.
 */

export interface PlanSettings {
  readonly shardCount: number
  /** by `exchange.market` */
  readonly markets: Readonly<Record<string, MarketSettings>>
  /** part of the venue's connection attempts that is ours */
  readonly connectShare: number
  readonly connectSpacingMs: number
  /** part of our REST weight that the first snapshots may use; the rest is for gaps */
  readonly startWeightShare: number
  /** the rings of one shard together */
  readonly ringBytes: number
  /** when the start begins, ms since the epoch; only for the estimate */
  readonly startMs: number
}

/**
 * connectShare: the rest is for a second process or a person on the same address. connectSpacingMs: 200 sockets come up in
 * 4 s, and a cut of all of them does not come back as one blow. startWeightShare: what is kept back anchors 40 spot books
 * (or 38 of futures) of 1,000 levels again in the very minute of the start.
 */
export const PLAN_DEFAULTS = { connectShare: 0.9, connectSpacingMs: 20, startWeightShare: 0.6 } as const

export interface PlannedConnection {
  /** index in the plan; the SOURCE word of its frames */
  readonly index: number
  /** `binance.usdm/public#7`, and of a copy `binance.usdm/public#8/B` */
  readonly name: string
  /** 0 the original, 1 and 2 its copies: same streams, another socket */
  readonly leg: number
  /** index of leg 0 */
  readonly original: number
  readonly exchange: string
  readonly market: string
  readonly route: string
  readonly shard: number
  readonly url: string
  readonly streams: readonly string[]
  readonly instruments: readonly PlannedInstrument[]
}

/** Everything of one market that is not a connection. */
export interface PlannedMarket {
  readonly exchange: string
  readonly market: string
  readonly restBase: string
  readonly instrumentCount: number
  readonly connectionCount: number
  readonly streamCount: number
  /** weight that polls would like in a minute; what the ledger does not give is skipped */
  readonly pollWeightPerMinute: number
  /** 0 where books start in the stream */
  readonly snapshotDepth: number
  readonly snapshotWeight: number
  /** instrument list and one snapshot a book */
  readonly startWeight: number
  readonly weightPerMinute: number
}

export interface Plan {
  /** sorted by id; the instruments of a shard, in this order, are its list */
  readonly shards: readonly (readonly Instrument[])[]
  readonly connections: readonly PlannedConnection[]
  readonly markets: readonly PlannedMarket[]
  readonly estimate: Estimate
}

/** The SOURCE word of a frame has 16 bits. */
const CONNECTION_COUNT_MAX = 65_535

export function plan(
  rules: ReadonlyMap<string, FeedRules>,
  instruments: readonly Instrument[],
  settings: PlanSettings,
): Plan {
  const sorted = [...instruments].sort((a, b) => (a.id < b.id ? -1 : 1))
  if (sorted.length === 0) throw refuse('no instruments are chosen', 'name some under instruments')
  const twice = sorted.find((instrument, index) => instrument.id === sorted[index + 1]?.id)
  if (twice !== undefined) throw refuse(`${twice.id} is listed twice`, 'name it once')
  const shards: Instrument[][] = Array.from({ length: settings.shardCount }, () => [])
  const connections: PlannedConnection[] = []
  const markets: PlannedMarket[] = []
  for (const exchange of new Set(sorted.map((instrument) => instrument.exchange))) {
    const own = sorted.filter((instrument) => instrument.exchange === exchange)
    const keys = [...new Set(own.map(marketKey))]
    const venue = planVenue(
      keys.map((key) => marketOf(key, rules, settings)),
      own,
      settings,
      connections.length,
    )
    venue.shards.forEach((members, shard) => {
      shards[shard]?.push(...members)
    })
    connections.push(...venue.connections)
    markets.push(...venue.markets)
  }
  if (connections.length > CONNECTION_COUNT_MAX) {
    throw refuse(`${connections.length} connections, one process numbers ${CONNECTION_COUNT_MAX}`, 'take fewer')
  }
  const { connectSpacingMs, connectShare, ringBytes, startMs } = settings
  return {
    shards,
    connections,
    markets,
    estimate: estimate(rules, {
      shards,
      connections,
      markets,
      connectSpacingMs,
      connectShare,
      ringBytes,
      startMs,
    }),
  }
}

interface VenuePlan {
  readonly shards: readonly (readonly Instrument[])[]
  readonly connections: readonly PlannedConnection[]
  readonly markets: readonly PlannedMarket[]
}

/**
 * Connections multiply by shards. A venue that takes few sockets from one address gets as many shards as keep it below
 * that, and the last resort is one.
 */
function planVenue(
  markets: readonly Market[],
  instruments: readonly Instrument[],
  settings: PlanSettings,
  firstIndex: number,
): VenuePlan {
  for (const market of markets) checkChannels(market, membersOf(market, instruments))
  const allowed = allowedConnections(markets)
  for (let width = settings.shardCount; ; width--) {
    const shards = intoShards(instruments, settings.shardCount, width)
    const connections: PlannedConnection[] = []
    const planned: PlannedMarket[] = []
    for (const market of markets) {
      const members = shards.map((shard) => membersOf(market, shard))
      const made = connectMarket(market, members, firstIndex + connections.length)
      connections.push(...made)
      planned.push(planMarket(market, members.flat(), made, settings.startWeightShare))
    }
    if (connections.length <= allowed) {
      for (const market of markets) checkConnects(market, connections, settings)
      return { shards, connections, markets: planned }
    }
    if (width === 1) throw tooManyConnections(markets, connections.length, allowed)
  }
}

function tooManyConnections([market]: readonly Market[], count: number, allowed: number): Error {
  return refuse(
    `${count} connections to ${market?.feed.exchange}, one address may have ${allowed + SPARE_CONNECTIONS} (connectionsMax), of which ${SPARE_CONNECTIONS} are spare`,
    'raise streamsPerConnection, lower connections or legs, or take fewer instruments or markets',
  )
}

export function marketOf(
  key: string,
  rules: ReadonlyMap<string, FeedRules>,
  settings: Pick<PlanSettings, 'markets'>,
): Market {
  const [exchange = '', name = ''] = key.split('.')
  const feed = rules.get(exchange)
  const place = feed?.markets[name]
  const set = settings.markets[key]
  if (feed === undefined || place === undefined)
    throw refuse(`${key} is not a known market`, 'see the list of exchanges')
  if (set === undefined || set.channels.length === 0)
    throw refuse(`${key} has instruments but no channels`, `set channels of ${key}`)
  const allowed = place.limits.streamsPerConnectionMax
  if (set.streamsPerConnection > allowed) {
    throw refuse(
      `${set.streamsPerConnection} streams a connection, ${key} allows ${allowed} (streamsPerConnectionMax)`,
      `set streamsPerConnection to at most ${allowed}`,
    )
  }
  return { key, feed, place, set }
}

/**
 * Market by market, because instruments of one market are about equally busy and those of two are not.
 * @param width shards to use; a venue that may not use all begins at a place of its own
 */
function intoShards(sorted: readonly Instrument[], shardCount: number, width: number): Instrument[][] {
  const shards: Instrument[][] = Array.from({ length: shardCount }, () => [])
  const first = width === shardCount ? 0 : hash32((sorted[0] as Instrument).exchange) % shardCount
  for (const key of new Set(sorted.map(marketKey))) {
    const members = sorted.filter((instrument) => marketKey(instrument) === key)
    const ids = members.map((instrument) => instrument.id)
    const bins = spread(ids, width, members.length)
    members.forEach((instrument, index) => {
      shards[(first + (bins[index] as number)) % shardCount]?.push(instrument)
    })
  }
  return shards
}

function connectMarket(
  market: Market,
  shards: readonly (readonly Instrument[])[],
  firstIndex: number,
): PlannedConnection[] {
  const { key, feed, place, set } = market
  const units = shards.map((instruments) => unitsOf(market, instruments))
  const whole = units.flat()
  if (whole.length === 0) return []
  if (unitsPerConnectionMax(whole, market) === 0 || set.connections > whole.length) {
    units.forEach((own, shard) => {
      units[shard] = own.flatMap(split)
    })
  }
  const smallest = units.flat()
  if (set.connections > smallest.length) {
    throw refuse(
      `${set.connections} connections to ${key}, there are only ${smallest.length} streams`,
      'lower connections',
    )
  }
  const routes = [...new Set(smallest.map((unit) => unit.route))].sort()
  const connections: PlannedConnection[] = []
  units.forEach((own, shard) => {
    for (const route of routes) {
      const members = own.filter((unit) => unit.route === route)
      const wanted = Math.ceil((set.connections * members.length) / smallest.length)
      const url = feed.socketUrl(place.name, route, set.wsUrl === '' ? place.wsBase : set.wsUrl)
      for (const group of intoConnections(members, market, wanted)) {
        const original = firstIndex + connections.length
        const at = { exchange: feed.exchange, market: place.name, route, shard, url, original }
        connections.push(...copies({ ...at, ...contentOf(group) }, key, set.legs))
      }
    }
  })
  return connections
}

/** A connection and its copies, one behind the other. */
export function copies(
  connection: Omit<PlannedConnection, 'index' | 'name' | 'leg'>,
  key: string,
  legs: number,
): PlannedConnection[] {
  return Array.from({ length: legs }, (_, leg) => {
    const index = connection.original + leg
    return {
      index,
      name: `${key}/${connection.route}#${index}${leg === 0 ? '' : `/${LEG_LETTERS[leg]}`}`,
      leg,
      ...connection,
    }
  })
}

const LEG_LETTERS = 'ABC'

/** Attempts are counted by address: all markets behind one host together. */
export function checkConnects(
  { key, feed, place }: Market,
  connections: readonly PlannedConnection[],
  settings: Pick<PlanSettings, 'connectShare'>,
): void {
  const isBehind = ({ market }: PlannedConnection): boolean => feed.markets[market]?.wsBase === place.wsBase
  const count = connections.filter(isBehind).length
  const { connectsMax, connectsWindowMs } = place.limits
  const ours = Math.floor(connectsMax * settings.connectShare)
  if (count <= ours * Math.max(1, RECOVERY_MS_MAX / connectsWindowMs)) return
  throw refuse(
    `${count} connections to ${key}, it allows ${connectsMax} attempts in ${span(connectsWindowMs)} (connectsMax), of which ${ours} are ours`,
    'raise streamsPerConnection, lower connections or workers, or take fewer instruments',
  )
}

/** All sockets may be cut at once and must be able to come back within this. */
const RECOVERY_MS_MAX = 300_000

function span(ms: number): string {
  return ms >= 60_000 ? `${ms / 60_000} min` : `${ms / 1000} s`
}

function planMarket(
  market: Market,
  instruments: readonly Instrument[],
  connections: readonly PlannedConnection[],
  startWeightShare: number,
): PlannedMarket {
  const { key, feed, place, set } = market
  const snapshotDepth = set.snapshotLimit === 0 ? place.snapshotDepth : set.snapshotLimit
  const hasSnapshots = set.channels.includes('book') && place.snapshotDepth > 0
  const { symbol } = instruments[0] as Instrument
  const snapshotWeight = hasSnapshots ? feed.snapshotRequest(place.name, symbol, snapshotDepth).weight : 0
  const listWeight = feed.instrumentsRequest(place.name).weight
  const weightPerMinute = Math.floor(place.limits.weightPerMinuteMax * set.restWeightShare)
  const heaviest = Math.max(snapshotWeight, listWeight)
  if (heaviest > weightPerMinute) {
    throw refuse(
      `one request of weight ${heaviest}, our share of the ${place.limits.weightPerMinuteMax} a minute of ${key} (weightPerMinuteMax) is ${weightPerMinute}`,
      'raise restWeightShare or lower snapshotLimit',
    )
  }
  return {
    exchange: feed.exchange,
    market: place.name,
    restBase: set.restUrl === '' ? place.restBase : set.restUrl,
    instrumentCount: instruments.length,
    connectionCount: connections.length,
    streamCount: connections.reduce((sum, connection) => sum + connection.streams.length, 0),
    pollWeightPerMinute: pollWeightPerMinute(market, instruments),
    snapshotDepth,
    snapshotWeight,
    startWeight: listWeight + snapshotWeight * instruments.length,
    weightPerMinute: Math.floor(weightPerMinute * startWeightShare),
  }
}

function pollWeightPerMinute({ place, set }: Market, instruments: readonly Instrument[]): number {
  const rules = place.polls.filter(({ channel }) => set.channels.includes(channel))
  const weights = rules.flatMap((rule) =>
    instruments.map((instrument) => ((rule.request(instrument)?.weight ?? 0) * MINUTE_MS) / rule.intervalMs),
  )
  return Math.ceil(weights.reduce((sum, weight) => sum + weight, 0))
}

const MINUTE_MS = 60_000

function membersOf({ key }: Market, instruments: readonly Instrument[]): Instrument[] {
  return instruments.filter((instrument) => marketKey(instrument) === key)
}

function marketKey(instrument: Instrument): string {
  return `${instrument.exchange}.${instrument.market}`
}
