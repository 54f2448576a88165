import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Channel, FeedMarket, FeedRules, Instrument } from '../exchanges/exchange.ts'
import { type Estimate, estimate } from './estimate.ts'
import { spread } from './spread.ts'

/**
 * Instruments + channels + shards + what the venues allow → connections. Pure: the same input gives the same plan, on
 * every machine and after every restart, and an instrument added moves hardly any other.
 *
 * An instrument belongs to one shard (its book is there), and a connection holds instruments of one shard, one market
 * and one URL class only, so that a frame finds its ring without being read. The price is paid knowingly: connections
 * multiply by shards.
 */

/** What is set for one market; the names are those of the configuration. */
export interface MarketSettings {
  readonly channels: readonly Channel[]
  /** another host; empty: the venue's own */
  readonly wsUrl: string
  readonly restUrl: string
  /** at most so many streams on one connection; 0: what the venue allows */
  readonly streamsPerConnection: number
  /** at least so many connections; 0: as few as the limits allow */
  readonly connections: number
  /** part of the venue's REST weight that is ours */
  readonly restWeightShare: number
  /** levels of a depth snapshot; 0: the venue's usual */
  readonly snapshotLimit: number
}

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
}

/**
 * connectShare: the rest is for a second process or a person on the same address. connectSpacingMs: 200 sockets come up in
 * 4 s, and a cut of all of them does not come back as one blow. startWeightShare: what is kept back anchors 40 spot books
 * (or 38 of futures) of 1,000 levels again in the very minute of the start.
 */
export const PLAN_DEFAULTS = { connectShare: 0.9, connectSpacingMs: 20, startWeightShare: 0.6 } as const

export interface PlannedInstrument {
  readonly instrument: Instrument
  readonly channels: readonly Channel[]
}

export interface PlannedConnection {
  /** index in the plan; the SOURCE word of its frames */
  readonly index: number
  /** `binance.usdm/public#7` */
  readonly name: string
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
  const shards = intoShards(sorted, settings.shardCount)
  const connections: PlannedConnection[] = []
  const markets: PlannedMarket[] = []
  for (const key of new Set(sorted.map(marketKey))) {
    const market = marketOf(key, rules, settings)
    const members = shards.map((shard) => shard.filter((instrument) => marketKey(instrument) === key))
    const made = connectMarket(market, members, connections.length)
    checkConnects(market, made.length, settings)
    connections.push(...made)
    markets.push(planMarket(market, members.flat(), made, settings.startWeightShare))
  }
  if (connections.length > CONNECTION_COUNT_MAX) {
    throw refuse(`${connections.length} connections, one process numbers ${CONNECTION_COUNT_MAX}`, 'take fewer')
  }
  const { connectSpacingMs, ringBytes } = settings
  return {
    shards,
    connections,
    markets,
    estimate: estimate(rules, { shards, connections, markets, connectSpacingMs, ringBytes }),
  }
}

/** A market with all that is said about it. */
interface Market {
  readonly key: string
  readonly feed: FeedRules
  readonly place: FeedMarket
  readonly set: MarketSettings
}

function marketOf(key: string, rules: ReadonlyMap<string, FeedRules>, settings: PlanSettings): Market {
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

/** Market by market, because instruments of one market are about equally busy and those of two are not. */
function intoShards(sorted: readonly Instrument[], shardCount: number): Instrument[][] {
  const shards: Instrument[][] = Array.from({ length: shardCount }, () => [])
  for (const key of new Set(sorted.map(marketKey))) {
    const members = sorted.filter((instrument) => marketKey(instrument) === key)
    const ids = members.map((instrument) => instrument.id)
    const bins = spread(ids, shardCount, members.length)
    members.forEach((instrument, index) => {
      shards[bins[index] as number]?.push(instrument)
    })
  }
  return shards
}

/** What stays on one connection: the streams that an instrument has on one URL class, or one channel of them. */
interface Unit {
  readonly name: string
  readonly instrument: Instrument
  readonly channels: readonly Channel[]
  readonly streams: readonly string[]
  readonly route: string
}

function connectMarket(
  market: Market,
  shards: readonly (readonly Instrument[])[],
  firstIndex: number,
): PlannedConnection[] {
  const { key, feed, place, set } = market
  const streamsMax = set.streamsPerConnection === 0 ? place.limits.streamsPerConnectionMax : set.streamsPerConnection
  const units = shards.map((instruments) => instruments.flatMap((instrument) => unitsOf(market, instrument)))
  const unitCount = units.flat().length
  const streamsWidest = Math.max(...units.flat().map((unit) => unit.streams.length))
  if (streamsWidest > streamsMax || set.connections > unitCount) {
    units.forEach((own, shard) => {
      units[shard] = own.flatMap((unit) => channelUnits(market, unit))
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
      for (const group of intoConnections(members, streamsMax, wanted)) {
        const index = firstIndex + connections.length
        connections.push({
          index,
          name: `${key}/${route}#${index}`,
          exchange: feed.exchange,
          market: place.name,
          route,
          shard,
          url: feed.socketUrl(place.name, route, set.wsUrl === '' ? place.wsBase : set.wsUrl),
          streams: group.flatMap((unit) => unit.streams),
          instruments: group.map(({ instrument, channels }) => ({ instrument, channels })),
        })
      }
    }
  })
  return connections
}

function intoConnections(units: readonly Unit[], streamsMax: number, wanted: number): Unit[][] {
  if (units.length === 0) return []
  const unitsMax = Math.floor(streamsMax / Math.max(...units.map((unit) => unit.streams.length)))
  const count = Math.max(1, wanted, Math.ceil(units.length / unitsMax))
  const bins = spread(
    units.map((unit) => unit.name),
    count,
    unitsMax,
  )
  const groups = Array.from({ length: count }, (_, bin) => units.filter((_unit, index) => bins[index] === bin))
  return groups.filter((group) => group.length > 0)
}

/** One unit for each URL class that the instrument's channels use. */
function unitsOf(market: Market, instrument: Instrument): Unit[] {
  const parts = market.set.channels.flatMap((channel) => {
    const streams = market.feed.streams(instrument, channel)
    if (streams.length === 0)
      throw refuse(`${market.key} has no channel ${channel}`, `remove it from channels of ${market.key}`)
    return streams.map(({ name, route }) => ({ name, route, channel }))
  })
  return [...new Set(parts.map((part) => part.route))].map((route) => {
    const own = parts.filter((part) => part.route === route)
    const channels = [...new Set(own.map((part) => part.channel))]
    return { name: instrument.id, instrument, route, channels, streams: own.map((part) => part.name) }
  })
}

function channelUnits(market: Market, unit: Unit): Unit[] {
  return unit.channels.map((channel) => {
    const streams = market.feed.streams(unit.instrument, channel)
    return {
      ...unit,
      name: `${unit.name}/${channel}`,
      channels: [channel],
      streams: streams.map((stream) => stream.name),
    }
  })
}

/** All sockets may be cut at once and must be able to come back in one window. */
function checkConnects({ key, place }: Market, count: number, settings: PlanSettings): void {
  const { connectsMax, connectsWindowMs } = place.limits
  const ours = Math.floor(connectsMax * settings.connectShare)
  if (count <= ours) return
  throw refuse(
    `${count} connections to ${key}, it allows ${connectsMax} attempts in ${connectsWindowMs / 60_000} min (connectsMax), of which ${ours} are ours`,
    'raise streamsPerConnection, lower connections or workers, or take fewer instruments',
  )
}

function planMarket(
  market: Market,
  instruments: readonly Instrument[],
  connections: readonly PlannedConnection[],
  startWeightShare: number,
): PlannedMarket {
  const { key, feed, place, set } = market
  const snapshotDepth = set.snapshotLimit === 0 ? place.snapshotDepth : set.snapshotLimit
  const hasBooks = set.channels.includes('book')
  const { symbol } = instruments[0] as Instrument
  const snapshotWeight = hasBooks ? feed.snapshotRequest(place.name, symbol, snapshotDepth).weight : 0
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
    snapshotDepth,
    snapshotWeight,
    startWeight: listWeight + snapshotWeight * instruments.length,
    weightPerMinute: Math.floor(weightPerMinute * startWeightShare),
  }
}

function marketKey(instrument: Instrument): string {
  return `${instrument.exchange}.${instrument.market}`
}

function refuse(what: string, remedy: string): Fault {
  return new Fault('PLAN_REFUSED', `plan refused: ${what}; ${remedy}`, EXIT_CONFIG)
}
