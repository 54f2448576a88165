import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Channel, FeedMarket, FeedRules, Instrument } from '../exchanges/exchange.ts'
import { spread } from './spread.ts'

/**
 * What must stay together on one connection, and how such units fill connections.
 *
 * A unit is what one instrument has on one URL class. Where that is too wide for a connection, or more connections are
 * wanted than there are units, it is split, but never inside a channel, and never between channels that one stream
 * carries (a ticker with mark price, funding and open interest). A stream that serves several instruments (all
 * liquidations of a market) is a unit of its own: it is subscribed once a shard, not once an instrument.
 */

/** What is set for one market; the names are those of the configuration. */
export interface MarketSettings {
  readonly channels: readonly Channel[]
  /** another host; empty: the venue's own */
  readonly wsUrl: string
  readonly restUrl: string
  /** at most so many streams on one connection; 0: what the venue allows */
  readonly streamsPerConnection: number
  /** at least so many connections, legs not counted; 0: as few as the limits allow */
  readonly connections: number
  /** copies of each connection */
  readonly legs: number
  /** part of the venue's REST weight that is ours */
  readonly restWeightShare: number
  /** levels of a depth snapshot; 0: the venue's usual */
  readonly snapshotLimit: number
}

/** A market with all that is said about it. */
export interface Market {
  /** `okx.swap` */
  readonly key: string
  readonly feed: FeedRules
  readonly place: FeedMarket
  readonly set: MarketSettings
}

export interface PlannedInstrument {
  readonly instrument: Instrument
  readonly channels: readonly Channel[]
}

/** One channel of one instrument on one stream. */
interface Part {
  readonly instrument: Instrument
  readonly channel: Channel
  readonly stream: string
  readonly route: string
}

export interface Unit {
  readonly name: string
  readonly route: string
  readonly parts: readonly Part[]
  /** each once */
  readonly streams: readonly string[]
}

/** Units of the instruments of one shard. */
export function unitsOf(market: Market, instruments: readonly Instrument[]): Unit[] {
  const parts = instruments.flatMap((instrument) => partsOf(market, instrument))
  const users = groupBy(parts, ({ stream }) => stream)
  const isShared = ({ stream, instrument }: Part): boolean =>
    (users.get(stream) as Part[]).some((other) => other.instrument !== instrument)
  const groups = groupBy(parts, (part) => `${part.route}|${isShared(part) ? part.stream : part.instrument.id}`)
  return [...groups.values()].map((own) => {
    const [first] = own as [Part]
    return newUnit(isShared(first) ? first.stream : first.instrument.id, own)
  })
}

/** The smallest units: channels that share a stream stay together. */
export function split(unit: Unit): Unit[] {
  const groups: Part[][] = []
  for (const part of unit.parts) {
    const touching = groups.filter((group) =>
      group.some(({ stream, channel }) => stream === part.stream || channel === part.channel),
    )
    for (const group of touching) groups.splice(groups.indexOf(group), 1)
    groups.push([...touching.flat(), part])
  }
  return groups.map((parts) => newUnit(`${unit.name}/${(parts[0] as Part).channel}`, parts))
}

/** What a connection with these units says of itself. */
export function contentOf(units: readonly Unit[]): {
  readonly streams: readonly string[]
  readonly instruments: readonly PlannedInstrument[]
} {
  const byInstrument = groupBy(
    units.flatMap(({ parts }) => parts),
    ({ instrument }) => instrument.id,
  )
  return {
    streams: units.flatMap(({ streams }) => streams),
    instruments: [...byInstrument.values()].map((parts) => ({
      instrument: (parts[0] as Part).instrument,
      channels: [...new Set(parts.map(({ channel }) => channel))],
    })),
  }
}

/** @param wanted connections at least, where there are units enough */
export function intoConnections(units: readonly Unit[], market: Market, wanted: number): Unit[][] {
  if (units.length === 0) return []
  const unitsMax = unitsPerConnectionMax(units, market)
  const count = Math.max(1, wanted, Math.ceil(units.length / unitsMax))
  const bins = spread(
    units.map((unit) => unit.name),
    count,
    unitsMax,
  )
  const groups = Array.from({ length: count }, (_, bin) => units.filter((_unit, index) => bins[index] === bin))
  return groups.filter((group) => group.length > 0)
}

/** How many units as wide as the widest one connection takes, by streams and by books; 0: not even one. */
export function unitsPerConnectionMax(units: readonly Unit[], market: Market): number {
  const { booksPerConnectionMax } = market.place.limits
  const streamsWidest = Math.max(...units.map((unit) => unit.streams.length))
  const booksWidest = Math.max(...units.map(bookCount))
  const byStreams = Math.floor(streamsMax(market) / streamsWidest)
  if (booksPerConnectionMax === undefined || booksWidest === 0) return byStreams
  return Math.min(byStreams, Math.floor(booksPerConnectionMax / booksWidest))
}

export function streamsMax({ place, set }: Market): number {
  return set.streamsPerConnection === 0 ? place.limits.streamsPerConnectionMax : set.streamsPerConnection
}

function bookCount({ parts }: Unit): number {
  return parts.filter(({ channel }) => channel === 'book').length
}

function partsOf({ feed, set }: Market, instrument: Instrument): Part[] {
  return set.channels.flatMap((channel) =>
    feed.streams(instrument, channel).map(({ name, route }) => ({ instrument, channel, stream: name, route })),
  )
}

function newUnit(name: string, parts: readonly Part[]): Unit {
  return { name, route: (parts[0] as Part).route, parts, streams: [...new Set(parts.map(({ stream }) => stream))] }
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

/** Two sockets that rotate at once and a request by hand. */
export const SPARE_CONNECTIONS = 3

/** Sockets that this address may have at one venue, all its markets together. */
export function allowedConnections(markets: readonly Market[]): number {
  const limits = markets.map(({ place }) => place.limits.connectionsMax ?? Number.POSITIVE_INFINITY)
  return Math.min(...limits) - SPARE_CONNECTIONS
}

/** A channel that neither a stream nor a poll of any of these instruments brings is a mistake of who asked for it. */
export function checkChannels(market: Market, instruments: readonly Instrument[]): void {
  const { key, feed, place, set } = market
  for (const channel of set.channels) {
    const isThere =
      place.polls.some((rule) => rule.channel === channel) ||
      instruments.some((instrument) => feed.streams(instrument, channel).length > 0)
    if (!isThere) throw refuse(`${key} has no channel ${channel}`, `remove it from channels of ${key}`)
  }
}

export function refuse(what: string, remedy: string): Fault {
  return new Fault('PLAN_REFUSED', `plan refused: ${what}; ${remedy}`, EXIT_CONFIG)
}
