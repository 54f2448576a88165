/**
 * Who is collected, while the collector runs: the rules of the configuration are followed again by schedule, and people
 * may add and remove instruments by hand. Each change concerns one instrument:
 *
 *   comes     INSTRUMENT ─► JOIN ─► subscribe on an open socket with room, or another socket ─► polls
 *   goes      PART ─► REMOVE ─► unsubscribe; a socket that carries nothing any more is closed
 *   changes   INSTRUMENT (state, tick size, lot size …)
 *
 * A shard hears of an instrument before its first message can come, because all of this goes through one ring in order.
 */
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { POLL_DEFAULTS, Polls } from '../feed/polls.ts'
import type { FeedTime } from '../feed/timer.ts'
import { compareUniverse, isTrading, readUniverse, type UniverseChange } from '../feed/universe.ts'
import type { Arrival, ContentChange, Departure, Place, Placement } from '../route/placement.ts'
import type { PlannedConnection } from '../route/plan.ts'
import type { MarketNetwork } from './network.ts'
import { type MarketChoice, marketKeyOf } from './settings.ts'

/** What the collector does for the roster: rings and sockets. */
export interface RosterEvents {
  /** new, or changed */
  onInstrument(place: Place): void
  onJoin(change: ContentChange): void
  onOpened(connection: PlannedConnection): void
  onPart(change: ContentChange): void
  onClosed(connection: number): void
  onRemoved(place: Place, reason: 'DELISTED' | 'REMOVED'): void
  onPoll(place: Place, name: string, body: Buffer): void
}

export interface RosterSurroundings {
  readonly rules: ReadonlyMap<string, FeedRules>
  readonly markets: ReadonlyMap<string, MarketNetwork>
  readonly placement: Placement
  readonly time: FeedTime
  readonly random: Random
  readonly log: Log
}

export interface RosterStats {
  added: number
  removed: number
  changed: number
  refreshes: number
  refreshFailures: number
}

interface MarketRoster {
  readonly network: MarketNetwork
  readonly rules: FeedRules
  readonly polls: Polls
  readonly stats: RosterStats
  /** the entries of the configuration, and after them what was added and removed by hand */
  entries: readonly string[]
  byHand: readonly string[]
  /** the last reading of the list; the next waits for it */
  reading: Promise<unknown>
  cancel: () => void
}

/** Two processes that were started together do not ask together for ever. */
const SCHEDULE_JITTER = 0.1
const MS_PER_SECOND = 1_000
const NOTHING: UniverseChange = { added: [], removed: [], changed: [] }

export class Roster {
  readonly #around: RosterSurroundings
  readonly #events: RosterEvents
  readonly #markets = new Map<string, MarketRoster>()
  #isClosed = false

  constructor(around: RosterSurroundings, events: RosterEvents) {
    this.#around = around
    this.#events = events
    for (const [key, network] of around.markets) this.#markets.set(key, this.#newMarket(network))
  }

  /** Begins to poll, and to follow the rules by schedule. */
  start(): void {
    for (const instrument of this.#around.placement.collected()) this.#poll(instrument)
    for (const key of this.#markets.keys()) this.#schedule(key)
  }

  close(): void {
    this.#isClosed = true
    for (const { polls, cancel } of this.#markets.values()) {
      cancel()
      polls.close()
    }
  }

  /** What was added and removed by hand, by market. */
  get byHand(): Readonly<Record<string, readonly string[]>> {
    return Object.fromEntries(
      [...this.#markets].flatMap(([key, { byHand }]) => (byHand.length === 0 ? [] : [[key, byHand]])),
    )
  }

  /** What was added and removed by hand in an earlier run; markets that are not enabled any more are left out. */
  async restore(entries: Readonly<Record<string, readonly string[]>>): Promise<void> {
    const known = Object.entries(entries).filter(([key]) => this.#markets.has(key))
    for (const [key, byHand] of known) this.#market(key).byHand = byHand
    await Promise.all(known.map(([key]) => this.#refreshOrWarn(key)))
  }

  isCollected(id: string): boolean {
    return this.#around.placement.find(id)?.isRemoved === false
  }

  stats(market: string): RosterStats & { readonly polls: Polls['stats'] } {
    const { stats, polls } = this.#market(market)
    return { ...stats, polls: polls.stats }
  }

  /** `binance.spot.BTCUSDT`, or a rule behind the market: `okx.swap.top:20`. Resolves when they are subscribed for. */
  async addInstruments(ids: readonly string[]): Promise<UniverseChange[]> {
    return this.#byHand(ids, (entry) => entry)
  }

  async removeInstruments(ids: readonly string[]): Promise<UniverseChange[]> {
    return this.#byHand(ids, (entry) => `!${entry}`)
  }

  /** The configuration was read again: its instruments count from now on, for the markets that are enabled already. */
  async reload(choices: readonly MarketChoice[]): Promise<void> {
    for (const { key, instruments } of choices) {
      const market = this.#markets.get(key)
      if (market === undefined) this.#around.log.warn({ market: key }, 'a market is enabled by a restart only')
      else market.entries = instruments
    }
    await Promise.all([...this.#markets.keys()].map((key) => this.#refreshOrWarn(key)))
  }

  /** Under overload nothing is polled; instruments come and go all the same, for fewer of them may be the remedy. */
  holdPolls(isHeld: boolean): void {
    for (const { polls } of this.#markets.values()) polls.hold(isHeld)
  }

  /** Follows the rules of a market once more. Readings of one market come one after the other. */
  refresh(key: string, checked: readonly string[] = []): Promise<UniverseChange> {
    const market = this.#market(key)
    const reading = market.reading.then(() => this.#read(key, market, checked))
    market.reading = reading.catch(() => {}) // whoever asked hears it
    return reading
  }

  #newMarket(network: MarketNetwork): MarketRoster {
    const { rules, time, random, log, placement } = this.#around
    const { choice, rest } = network
    const polls = new Polls(POLL_DEFAULTS, {
      time,
      random,
      fetch: (_, request) => rest.get(request, 'audit'),
      onAnswer: ({ id }, name, body) => {
        const place = placement.find(id)
        if (place !== undefined) this.#events.onPoll(place, name, body)
      },
      onFailed: ({ id }, name, error) => log.info({ instrument: id, poll: name, reason: error.message }, 'poll failed'),
    })
    return {
      network,
      rules: rules.get(choice.exchange) as FeedRules,
      polls,
      stats: { added: 0, removed: 0, changed: 0, refreshes: 0, refreshFailures: 0 },
      entries: choice.instruments,
      byHand: [],
      reading: Promise.resolve(),
      cancel: () => {},
    }
  }

  #schedule(key: string): void {
    const market = this.#market(key)
    const { universeSeconds } = market.network.choice
    if (universeSeconds === 0 || this.#isClosed) return
    const jitter = 1 + SCHEDULE_JITTER * this.#around.random()
    market.cancel = this.#around.time.after(universeSeconds * MS_PER_SECOND * jitter, () => {
      void this.#refreshOrWarn(key).then(() => this.#schedule(key))
    })
  }

  async #refreshOrWarn(key: string): Promise<void> {
    try {
      await this.refresh(key)
    } catch (error) {
      if (!this.#isClosed)
        this.#around.log.warn({ market: key, reason: (error as Error).message }, 'instruments not read')
    }
  }

  async #byHand(ids: readonly string[], entryOf: (entry: string) => string): Promise<UniverseChange[]> {
    const byMarket = new Map<string, string[]>()
    for (const id of ids) {
      const [exchange = '', name = '', ...rest] = id.split('.')
      const key = `${exchange}.${name}`
      if (rest.length === 0 || !this.#markets.has(key)) throw notCollected(id, [...this.#markets.keys()])
      byMarket.set(key, [...(byMarket.get(key) ?? []), entryOf(rest.join('.'))])
    }
    return Promise.all([...byMarket].map(([key, entries]) => this.#enter(key, entries)))
  }

  /** What was said last counts: an entry replaces its opposite. */
  async #enter(key: string, entries: readonly string[]): Promise<UniverseChange> {
    const market = this.#market(key)
    const before = market.byHand
    const bare = (entry: string): string => entry.replace(/^!/, '').toUpperCase()
    const said = new Set(entries.map(bare))
    market.byHand = [...before.filter((entry) => !said.has(bare(entry))), ...entries]
    try {
      return await this.refresh(
        key,
        entries.filter((entry) => !entry.startsWith('!')),
      )
    } catch (error) {
      market.byHand = before
      throw error
    }
  }

  async #read(key: string, market: MarketRoster, checked: readonly string[]): Promise<UniverseChange> {
    const { placement } = this.#around
    const { rules, network, stats } = market
    const collected = new Set(placement.collected(key).map(({ id }) => id))
    try {
      const entries = [...market.entries, ...market.byHand]
      const universe = await readUniverse(rules, network.choice.market, entries, network.rest, { collected, checked })
      stats.refreshes++
      if (this.#isClosed) return NOTHING
      const change = compareUniverse(placement.collected(key), universe)
      this.#apply(change, market)
      return change
    } catch (error) {
      stats.refreshFailures++
      throw error
    }
  }

  #apply({ added, removed, changed }: UniverseChange, { stats }: MarketRoster): void {
    const { log } = this.#around
    for (const { instrument, isDelisted } of removed) {
      this.#remove(instrument, isDelisted ? 'DELISTED' : 'REMOVED')
      stats.removed++
      log.warn({ instrument: instrument.id, isDelisted }, 'instrument is not collected any more')
    }
    for (const instrument of changed) {
      this.#events.onInstrument(this.#around.placement.change(instrument))
      stats.changed++
      log.info(
        { instrument: instrument.id, status: instrument.status, isTrading: isTrading(instrument) },
        'instrument changed',
      )
    }
    let refusal: unknown
    for (const instrument of added) {
      try {
        this.#add(instrument)
        stats.added++
        log.info({ instrument: instrument.id }, 'instrument is collected from now on')
      } catch (error) {
        refusal = error // one that the venue has no room for must not keep others out
      }
    }
    if (refusal !== undefined) throw refusal
  }

  #add(instrument: Instrument): void {
    const { place, joins, opened }: Arrival = this.#around.placement.add(instrument)
    this.#events.onInstrument(place)
    for (const join of joins) this.#events.onJoin(join)
    for (const connection of opened) this.#events.onOpened(connection)
    this.#poll(instrument)
  }

  #remove({ id }: Instrument, reason: 'DELISTED' | 'REMOVED'): void {
    const market = this.#around.placement.find(id)?.instrument
    if (market !== undefined) this.#market(marketKeyOf(market)).polls.remove(id)
    const { place, parts, closed }: Departure = this.#around.placement.remove(id)
    for (const part of parts) this.#events.onPart(part)
    this.#events.onRemoved(place, reason)
    for (const connection of closed) this.#events.onClosed(connection)
  }

  #poll(instrument: Instrument): void {
    const { polls, rules, network } = this.#market(marketKeyOf(instrument))
    const place = rules.markets[instrument.market]
    const wanted = place?.polls.filter(({ channel }) => network.choice.channels.includes(channel)) ?? []
    if (wanted.length > 0) polls.add(instrument, wanted)
  }

  #market(key: string): MarketRoster {
    const market = this.#markets.get(key)
    if (market === undefined) throw notCollected(key, [...this.#markets.keys()])
    return market
  }
}

function notCollected(id: string, markets: readonly string[]): Fault {
  return new Fault(
    'UNKNOWN_MARKET',
    `${id} is of no market that is collected: name it {exchange}.{market}.{symbol}; enabled are ${markets.join(', ')}`,
    EXIT_CONFIG,
  )
}
