/**
 * The plan as it lives: where every instrument is now, and what has to be done when one comes or goes.
 *
 * Indices never change: an instrument keeps its shard and its place in the shard's list for the life of the process, and a
 * connection its number, so that frames, rows and counters mean the same thing before and after. Nothing here moves an
 * instrument that is already placed; a newcomer takes room on a connection of its shard, or opens another.
 */
import { assert } from '../base/assert.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { checkConnects, copies, marketOf, type Plan, type PlannedConnection, type PlanSettings } from './plan.ts'
import {
  allowedConnections,
  contentOf,
  type Market,
  type PlannedInstrument,
  refuse,
  type Unit,
  unitsOf,
  unitsPerConnectionMax,
} from './units.ts'

export interface Place {
  readonly instrument: Instrument
  readonly shard: number
  /** in the shard's list */
  readonly index: number
  readonly isRemoved: boolean
}

/** What one open connection carries more, or less, than before. */
export interface ContentChange {
  readonly connection: number
  /** to subscribe or to unsubscribe; none when another instrument keeps or has the stream already */
  readonly streams: readonly string[]
  readonly instruments: readonly PlannedInstrument[]
}

export interface Arrival {
  readonly place: Place
  readonly joins: readonly ContentChange[]
  readonly opened: readonly PlannedConnection[]
}

export interface Departure {
  readonly place: Place
  readonly parts: readonly ContentChange[]
  /** connections that carry nothing any more */
  readonly closed: readonly number[]
}

export class Placement {
  readonly #rules: ReadonlyMap<string, FeedRules>
  readonly #settings: PlanSettings
  readonly #shards: Instrument[][]
  readonly #connections: PlannedConnection[]
  readonly #places = new Map<string, Place>()

  constructor(rules: ReadonlyMap<string, FeedRules>, settings: PlanSettings, plan: Plan) {
    this.#rules = rules
    this.#settings = settings
    this.#shards = plan.shards.map((members) => [...members])
    this.#connections = [...plan.connections]
    plan.shards.forEach((members, shard) => {
      members.forEach((instrument, index) => {
        this.#places.set(instrument.id, { instrument, shard, index, isRemoved: false })
      })
    })
  }

  /** All that ever were in a shard, by index; removed ones among them. */
  members(shard: number): readonly Instrument[] {
    return this.#shards[shard] ?? []
  }

  get connections(): readonly PlannedConnection[] {
    return this.#connections
  }

  connection(index: number): PlannedConnection {
    const connection = this.#connections[index]
    assert(connection !== undefined, `no connection ${index} of ${this.#connections.length}`)
    return connection
  }

  find(id: string): Place | undefined {
    return this.#places.get(id)
  }

  at(shard: number, index: number): Place | undefined {
    const instrument = this.#shards[shard]?.[index]
    return instrument === undefined ? undefined : this.#places.get(instrument.id)
  }

  /** All that is collected now. */
  collected(market?: string): Instrument[] {
    return [...this.#places.values()]
      .filter(({ instrument, isRemoved }) => !isRemoved && (market === undefined || marketKey(instrument) === market))
      .map(({ instrument }) => instrument)
  }

  /** The same instrument with something about it changed. */
  change(instrument: Instrument): Place {
    const before = this.#places.get(instrument.id)
    assert(before !== undefined, `${instrument.id} was never placed`)
    return this.#put({ ...before, instrument })
  }

  /** @throws Fault PLAN_REFUSED when the venue does not allow another connection; nothing is changed then. */
  add(instrument: Instrument): Arrival {
    const before = this.#places.get(instrument.id)
    assert(before === undefined || before.isRemoved, `${instrument.id} is collected already`)
    const market = marketOf(marketKey(instrument), this.#rules, this.#settings)
    const shard = before?.shard ?? this.#emptiestShard(market)
    const units = unitsOf(market, [instrument])
    const joins: ContentChange[] = []
    const alone: Unit[] = []
    for (const unit of units) {
      const rest = this.#joinShared(unit, shard, joins)
      if (rest === undefined) continue
      const host = this.#connections.find((each) => each.shard === shard && hasRoom(each, rest, market))
      if (host === undefined) alone.push(rest)
      else joins.push(...this.#legsOf(host).map(({ index }) => ({ connection: index, ...contentOf([rest]) })))
    }
    const opened = this.#open(alone, market, shard)
    const place = this.#put({
      instrument,
      shard,
      index: before?.index ?? (this.#shards[shard] as Instrument[]).length,
      isRemoved: false,
    })
    const merged = mergedJoins(instrument, joins)
    for (const join of merged) this.#join(join)
    this.#connections.push(...opened)
    return { place, joins: merged, opened }
  }

  remove(id: string): Departure {
    const before = this.#places.get(id)
    assert(before !== undefined && !before.isRemoved, `${id} is not collected`)
    const place = this.#put({ ...before, isRemoved: true })
    const parts: ContentChange[] = []
    const closed: number[] = []
    for (const connection of this.#connections) {
      const mine = connection.instruments.filter(({ instrument }) => instrument.id === id)
      if (mine.length === 0) continue
      const instruments = connection.instruments.filter(({ instrument }) => instrument.id !== id)
      const needed = this.#streamsOf(instruments)
      const streams = connection.streams.filter((stream) => needed.has(stream))
      const gone = connection.streams.filter((stream) => !needed.has(stream))
      this.#connections[connection.index] = { ...connection, streams, instruments }
      parts.push({ connection: connection.index, streams: gone, instruments: mine })
      if (instruments.length === 0) closed.push(connection.index)
    }
    return { place, parts, closed }
  }

  #put(place: Place): Place {
    this.#places.set(place.instrument.id, place)
    ;(this.#shards[place.shard] as Instrument[])[place.index] = place.instrument
    return place
  }

  /** Of the shards that the venue uses: what is in none of its sockets' shards would need sockets of its own. */
  #emptiestShard({ key, feed, place }: Market): number {
    const isBound = place.limits.connectionsMax !== undefined
    const used = this.#shards.map((members) => members.some(({ exchange }) => exchange === feed.exchange))
    const allowed = isBound && used.includes(true) ? used : this.#shards.map(() => true)
    const counts = this.#shards.map(
      (members) => members.filter((each) => marketKey(each) === key && this.find(each.id)?.isRemoved === false).length,
    )
    let best = allowed.indexOf(true)
    counts.forEach((count, shard) => {
      if (allowed[shard] === true && count < (counts[best] as number)) best = shard
    })
    return best
  }

  /** Parts whose stream this shard has already join it. @returns what is left of the unit. */
  #joinShared(unit: Unit, shard: number, joins: ContentChange[]): Unit | undefined {
    const left = unit.parts.filter((part) => {
      const host = this.#connections.find(
        (each) =>
          each.shard === shard && each.leg === 0 && isOf(each, part.instrument) && each.streams.includes(part.stream),
      )
      if (host === undefined) return true
      const instruments = [{ instrument: part.instrument, channels: [part.channel] }]
      joins.push(...this.#legsOf(host).map(({ index }) => ({ connection: index, streams: [], instruments })))
      return false
    })
    if (left.length === 0) return undefined
    return { ...unit, parts: left, streams: [...new Set(left.map(({ stream }) => stream))] }
  }

  #legsOf({ original }: PlannedConnection): PlannedConnection[] {
    return this.#connections.filter((each) => each.original === original)
  }

  #open(units: readonly Unit[], market: Market, shard: number): PlannedConnection[] {
    const { key, feed, place, set } = market
    const opened: PlannedConnection[] = []
    for (const unit of units) {
      if (unitsPerConnectionMax([unit], market) === 0) {
        throw refuse(
          `${unit.name} has ${unit.streams.length} streams, more than a connection`,
          'raise streamsPerConnection',
        )
      }
      const url = feed.socketUrl(place.name, unit.route, set.wsUrl === '' ? place.wsBase : set.wsUrl)
      const at = { exchange: feed.exchange, market: place.name, route: unit.route, shard, url }
      const original = this.#connections.length + opened.length
      opened.push(...copies({ ...at, original, ...contentOf([unit]) }, key, set.legs))
    }
    const open = [...this.#connections, ...opened].filter(
      ({ exchange, streams }) => exchange === feed.exchange && streams.length > 0,
    )
    const allowed = allowedConnections([market])
    if (opened.length > 0 && open.length > allowed)
      throw refuse(
        `${open.length} connections to ${feed.exchange}, one address may have ${allowed}`,
        'take fewer instruments',
      )
    if (opened.length > 0) checkConnects(market, open, this.#settings)
    return opened
  }

  #join({ connection, streams, instruments }: ContentChange): void {
    const before = this.connection(connection)
    const merged = new Map(before.instruments.map((each) => [each.instrument.id, each]))
    for (const { instrument, channels } of instruments) {
      const known = merged.get(instrument.id)?.channels ?? []
      merged.set(instrument.id, { instrument, channels: [...new Set([...known, ...channels])] })
    }
    this.#connections[connection] = {
      ...before,
      streams: [...before.streams, ...streams],
      instruments: [...merged.values()],
    }
  }

  #streamsOf(instruments: readonly PlannedInstrument[]): Set<string> {
    const streams = new Set<string>()
    for (const { instrument, channels } of instruments) {
      const feed = this.#rules.get(instrument.exchange)
      for (const channel of channels) for (const { name } of feed?.streams(instrument, channel) ?? []) streams.add(name)
    }
    return streams
  }
}

function hasRoom(host: PlannedConnection, unit: Unit, market: Market): boolean {
  const [part] = unit.parts
  if (host.leg !== 0 || host.route !== unit.route || part === undefined || !isOf(host, part.instrument)) return false
  if (host.streams.length === 0) return false // closed for good
  const books = host.instruments.filter(({ channels }) => channels.includes('book')).length
  const whole: Unit = {
    ...unit,
    streams: [...host.streams, ...unit.streams],
    parts: [...unit.parts, ...new Array<typeof part>(books).fill({ ...part, channel: 'book' })],
  }
  return unitsPerConnectionMax([whole], market) > 0
}

function isOf({ exchange, market }: PlannedConnection, instrument: Instrument): boolean {
  return exchange === instrument.exchange && market === instrument.market
}

function marketKey({ exchange, market }: Instrument): string {
  return `${exchange}.${market}`
}

/** One for each connection, each channel once: the instrument's own streams and a shared one may bring the same channel. */
function mergedJoins(instrument: Instrument, joins: readonly ContentChange[]): ContentChange[] {
  return [...new Set(joins.map(({ connection }) => connection))].map((connection) => {
    const own = joins.filter((join) => join.connection === connection)
    const channels = own.flatMap(({ instruments }) => instruments.flatMap((each) => each.channels))
    return {
      connection,
      streams: own.flatMap(({ streams }) => streams),
      instruments: [{ instrument, channels: [...new Set(channels)] }],
    }
  })
}
