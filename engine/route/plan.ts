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

export interface PlanSettings {
  readonly shardCount: number
  /** by `exchange.market`; the channels of every instrument there */
  readonly channels: Readonly<Record<string, readonly Channel[]>>
  /** 0: what the venue allows */
  readonly streamsPerConnectionMax: number
  /** spread each market and URL class of a shard over at least so many sockets (never more than it has streams to give) */
  readonly connectionsPerShard: number
  /** parts of the venue's limits that are ours */
  readonly weightShare: number
  readonly connectShare: number
  readonly connectSpacingMs: number
  /** by `exchange.market`; absent: the venue's default */
  readonly snapshotDepths: Readonly<Record<string, number>>
  readonly frameRingBytes: number
  readonly batchRingBytes: number
  /** other hosts, by `exchange.market` */
  readonly hosts: Readonly<Record<string, { readonly ws?: string; readonly rest?: string }>>
}

export const PLAN_DEFAULTS: PlanSettings = {
  shardCount: 1,
  channels: {},
  streamsPerConnectionMax: 0,
  connectionsPerShard: 1,
  weightShare: 0.5,
  connectShare: 0.8,
  connectSpacingMs: 100,
  snapshotDepths: {},
  frameRingBytes: 16 * 1024 * 1024,
  batchRingBytes: 16 * 1024 * 1024,
  hosts: {},
}

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
  if (instruments.length === 0) throw refuse('no instruments are chosen', 'name some under instruments')
  const sorted = [...instruments].sort((a, b) => (a.id < b.id ? -1 : 1))
  const twice = sorted.find((instrument, index) => instrument.id === sorted[index + 1]?.id)
  if (twice !== undefined) throw refuse(`${twice.id} is listed twice`, 'name it once')
  const shards = intoShards(sorted, settings.shardCount)
  const connections: PlannedConnection[] = []
  const markets: PlannedMarket[] = []
  for (const key of [...new Set(sorted.map(marketKey))]) {
    const { exchange, market } = sorted.find((instrument) => marketKey(instrument) === key) as Instrument
    const feed = rules.get(exchange)
    const place = feed?.markets[market]
    if (feed === undefined || place === undefined)
      throw refuse(`${key} is not a market that is known`, 'see the list of exchanges')
    const first = connections.length
    shards.forEach((members, shard) => {
      const own = members.filter((instrument) => marketKey(instrument) === key)
      connections.push(...connectShard(feed, place, own, shard, settings, connections.length))
    })
    const made = connections.slice(first)
    checkConnects(key, place, made.length, settings)
    markets.push(
      planMarket(
        feed,
        place,
        sorted.filter((instrument) => marketKey(instrument) === key),
        made,
        settings,
      ),
    )
  }
  if (connections.length > CONNECTION_COUNT_MAX)
    throw refuse(`${connections.length} connections, a process can number ${CONNECTION_COUNT_MAX}`, 'use fewer')
  const { connectSpacingMs, frameRingBytes, batchRingBytes } = settings
  const cost = estimate(rules, {
    shards,
    connections,
    markets,
    connectSpacingMs,
    ringBytes: frameRingBytes + batchRingBytes,
  })
  return { shards, connections, markets, estimate: cost }
}

function intoShards(sorted: readonly Instrument[], shardCount: number): Instrument[][] {
  const bins = spread(
    sorted.map((instrument) => instrument.id),
    shardCount,
    sorted.length,
  )
  return Array.from({ length: shardCount }, (_, shard) => sorted.filter((_instrument, index) => bins[index] === shard))
}

/** What stays on one connection: an instrument with its streams of one URL class, or less where the limit is smaller. */
interface Unit {
  readonly name: string
  readonly instrument: Instrument
  readonly channels: readonly Channel[]
  readonly streams: readonly string[]
}

function connectShard(
  feed: FeedRules,
  place: FeedMarket,
  instruments: readonly Instrument[],
  shard: number,
  settings: PlanSettings,
  firstIndex: number,
): PlannedConnection[] {
  const key = `${feed.exchange}.${place.name}`
  const streamsMax = streamsPerConnection(key, place, settings)
  const connections: PlannedConnection[] = []
  for (const route of routesOf(feed, place, instruments, settings)) {
    const units = instruments.flatMap((instrument) => unitsOf(feed, place, instrument, route, streamsMax, settings))
    const unitStreamsMax = Math.max(1, ...units.map((unit) => unit.streams.length))
    const unitsMax = Math.floor(streamsMax / unitStreamsMax)
    const count = Math.max(Math.ceil(units.length / unitsMax), Math.min(settings.connectionsPerShard, units.length))
    const bins = spread(
      units.map((unit) => unit.name),
      count,
      unitsMax,
    )
    for (let bin = 0; bin < count; bin++) {
      const own = units.filter((_, index) => bins[index] === bin)
      if (own.length === 0) continue
      const index = firstIndex + connections.length
      connections.push({
        index,
        name: `${key}/${route}#${index}`,
        exchange: feed.exchange,
        market: place.name,
        route,
        shard,
        url: feed.socketUrl(place.name, route, settings.hosts[key]?.ws ?? place.wsBase),
        streams: own.flatMap((unit) => unit.streams),
        instruments: own.map(({ instrument, channels }) => ({ instrument, channels })),
      })
    }
  }
  return connections
}

function routesOf(
  feed: FeedRules,
  place: FeedMarket,
  instruments: readonly Instrument[],
  settings: PlanSettings,
): string[] {
  const routes = new Set<string>()
  for (const { symbol } of instruments) {
    for (const channel of channelsOf(`${feed.exchange}.${place.name}`, settings)) {
      const streams = feed.streams(place.name, symbol, channel)
      if (streams.length === 0)
        throw refuse(`${feed.exchange}.${place.name} has no channel ${channel}`, 'remove it from channels')
      for (const { route } of streams) routes.add(route)
    }
  }
  return [...routes].sort()
}

function unitsOf(
  feed: FeedRules,
  place: FeedMarket,
  instrument: Instrument,
  route: string,
  streamsMax: number,
  settings: PlanSettings,
): Unit[] {
  const parts = channelsOf(marketKey(instrument), settings).map((channel): Unit => {
    const streams = feed.streams(place.name, instrument.symbol, channel).filter((stream) => stream.route === route)
    return {
      name: `${instrument.id}/${channel}`,
      instrument,
      channels: [channel],
      streams: streams.map((stream) => stream.name),
    }
  })
  const own = parts.filter((part) => part.streams.length > 0)
  const streams = own.flatMap((part) => part.streams)
  if (streams.length > streamsMax) return own
  return own.length === 0
    ? []
    : [{ name: instrument.id, instrument, channels: own.flatMap((part) => part.channels), streams }]
}

function channelsOf(key: string, settings: PlanSettings): readonly Channel[] {
  const channels = settings.channels[key]
  if (channels === undefined || channels.length === 0)
    throw refuse(`${key} has instruments but no channels`, `set channels of ${key}`)
  return channels
}

function streamsPerConnection(key: string, place: FeedMarket, settings: PlanSettings): number {
  const allowed = place.limits.streamsPerConnectionMax
  const wanted = settings.streamsPerConnectionMax
  if (wanted > allowed) {
    throw refuse(
      `${wanted} streams a connection, ${key} allows ${allowed} (streamsPerConnectionMax)`,
      `set at most ${allowed}, or 0 for the venue's own`,
    )
  }
  return wanted === 0 ? allowed : wanted
}

/** All sockets may be cut at once and must be able to come back in one window. */
function checkConnects(key: string, place: FeedMarket, count: number, settings: PlanSettings): void {
  const { connectsMax, connectsWindowMs } = place.limits
  const ours = Math.floor(connectsMax * settings.connectShare)
  if (count <= ours) return
  throw refuse(
    `${count} connections to ${key}, it allows ${connectsMax} attempts in ${connectsWindowMs / 60_000} min (connectsMax), ours are ${ours}`,
    'raise streams a connection, lower the shards or connections a shard, or take fewer instruments',
  )
}

function planMarket(
  feed: FeedRules,
  place: FeedMarket,
  instruments: readonly Instrument[],
  connections: readonly PlannedConnection[],
  settings: PlanSettings,
): PlannedMarket {
  const key = `${feed.exchange}.${place.name}`
  const snapshotDepth = settings.snapshotDepths[key] ?? place.snapshotDepth
  const hasBooks = channelsOf(key, settings).includes('book')
  const snapshotWeight = hasBooks
    ? feed.snapshotRequest(place.name, (instruments[0] as Instrument).symbol, snapshotDepth).weight
    : 0
  const listWeight = feed.instrumentsRequest(place.name).weight
  const weightPerMinute = Math.floor(place.limits.weightPerMinuteMax * settings.weightShare)
  const heaviest = Math.max(snapshotWeight, listWeight)
  if (heaviest > weightPerMinute) {
    throw refuse(
      `one request of weight ${heaviest} exceeds ${weightPerMinute} a minute, our share of the ${place.limits.weightPerMinuteMax} of ${key} (weightPerMinuteMax)`,
      'raise the weight share or lower the snapshot depth',
    )
  }
  return {
    exchange: feed.exchange,
    market: place.name,
    restBase: settings.hosts[key]?.rest ?? place.restBase,
    instrumentCount: instruments.length,
    connectionCount: connections.length,
    streamCount: connections.reduce((sum, connection) => sum + connection.streams.length, 0),
    snapshotDepth,
    snapshotWeight,
    startWeight: listWeight + snapshotWeight * instruments.length,
    weightPerMinute,
  }
}

function marketKey(instrument: Instrument): string {
  return `${instrument.exchange}.${instrument.market}`
}

function refuse(what: string, remedy: string): Fault {
  return new Fault('PLAN_REFUSED', `plan refused: ${what}; ${remedy}`, EXIT_CONFIG)
}
