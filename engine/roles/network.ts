/**
 * The network half of a collector: REST with one weight ledger a market, snapshots for the books that ask, and one
 * Connection for each line of the plan. It knows no rings: what sockets and REST bring is handed to `NetworkEvents`.
 */
import type { Agent } from 'node:http'
import { assert } from '../base/assert.ts'
import type { Config } from '../base/config.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { type FeedMarket, type FeedRules, type Instrument, weightPoolOf } from '../exchanges/exchange.ts'
import { BanFile } from '../feed/ban-file.ts'
import { ClockFile } from '../feed/clock-file.ts'
import { CLOCK_OFFSET_DEFAULTS, type ClockOffset, ClockWatch } from '../feed/clock-offset.ts'
import { CONNECTION_TIMING, Connection, type FeedStats, feedStats } from '../feed/connection.ts'
import { ConnectBudget } from '../feed/connects.ts'
import { socketAgent } from '../feed/proxy.ts'
import { VenueSockets } from '../feed/rotate.ts'
import { REST_DEFAULTS, RestClient } from '../feed/rest.ts'
import { SNAPSHOT_DEFAULTS, Snapshots, type SnapshotWant } from '../feed/snapshots.ts'
import type { FeedTime } from '../feed/timer.ts'
import { readUniverse } from '../feed/universe.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../feed/weight.ts'
import type { Plan, PlannedConnection, PlanSettings } from '../route/plan.ts'
import { chosenMarkets, dataDirectory, marketKeyOf, type MarketChoice, planSettings } from './settings.ts'

/** Of the silence that is allowed: so long nothing is asked, the rest is for the answer. */
const PROBE_SHARE = 2 / 3
const MS_PER_SECOND = 1_000
/** Copies of a connection come up one after the other: what cuts one at its start should not cut them all. */
const LEG_DELAY_MS = 1_000
/** Below the data directory. */
export const BAN_FILE_NAME = 'rest-bans.json'
export const CLOCK_FILE_NAME = 'clock-offsets.ndjson'

export interface NetworkEvents {
  onOpen(connection: PlannedConnection, generation: number): void
  onSubscribed(connection: PlannedConnection, generation: number): void
  onFrame(connection: PlannedConnection, generation: number, bytes: Uint8Array): void
  onClose(connection: PlannedConnection, generation: number, reason: string): void
  onSnapshot(want: SnapshotWant, body: Buffer): void
  onSnapshotFailed(want: SnapshotWant, reason: string): void
}

/** What one market has: its REST and its sums; the queue of attempts of its host, ledger and sockets of its venue. */
export interface MarketNetwork {
  readonly choice: MarketChoice
  readonly ledger: WeightLedger
  readonly rest: RestClient
  readonly budget: ConnectBudget
  readonly sockets: VenueSockets
  readonly stats: FeedStats
  readonly agent: Agent | undefined
}

export interface NetworkSurroundings {
  readonly rules: ReadonlyMap<string, FeedRules>
  readonly time: FeedTime
  readonly random: Random
  readonly log: Log
}

export class Network {
  readonly markets: ReadonlyMap<string, MarketNetwork>
  readonly snapshots: Snapshots
  readonly #around: NetworkSurroundings
  readonly #events: NetworkEvents
  readonly #connections: Connection[] = []
  readonly #clocks = new Map<string, ClockWatch>()
  #isStopping = false

  constructor(config: Config, around: NetworkSurroundings, events: NetworkEvents) {
    this.#around = around
    this.#events = events
    this.markets = venueMarkets(config, around)
    const clockFile = new ClockFile(dataDirectory(config, CLOCK_FILE_NAME), around.log)
    for (const [exchange, rules] of around.rules) {
      const watch = this.#clockWatch(exchange, rules, clockFile)
      if (watch !== undefined) this.#clocks.set(exchange, watch)
    }
    this.snapshots = new Snapshots(SNAPSHOT_DEFAULTS, {
      fetch: (instrument, priority, onSent) => {
        const { choice, rest } = this.#market(marketKeyOf(instrument))
        const request = this.#rules(choice).snapshotRequest(choice.market, instrument.symbol, choice.snapshotLimit)
        return rest.get(request, priority, onSent)
      },
      time: around.time,
      random: around.random,
      onSnapshot: (want, body) => events.onSnapshot(want, body),
      onFailed: (want, reason) => events.onSnapshotFailed(want, reason),
    })
  }

  /** Asks every market what it lists, and chooses. */
  async readInstruments(): Promise<Instrument[]> {
    const universes = await Promise.all(
      [...this.markets.values()].map(({ choice, rest }) =>
        readUniverse(this.#rules(choice), choice.market, choice.instruments, rest),
      ),
    )
    for (const instrument of universes.flatMap((universe) => universe.idle))
      this.#around.log.warn({ instrument: instrument.id, status: instrument.status }, 'instrument does not trade now')
    return universes.flatMap((universe) => universe.instruments)
  }

  /** Opens every connection of the plan, the copies a little later, and begins to compare clocks. */
  connect(plan: Plan): void {
    assert(this.#connections.length === 0, 'the network is connected already')
    for (const planned of plan.connections) this.#connections.push(this.#connection(planned))
    for (const { index, leg } of plan.connections) this.connection(index).start(leg * LEG_DELAY_MS)
    for (const clock of this.#clocks.values()) clock.start()
  }

  /** One connection more, at run time. */
  add(planned: PlannedConnection): void {
    assert(
      planned.index === this.#connections.length,
      `connection ${planned.index} follows ${this.#connections.length}`,
    )
    const connection = this.#connection(planned)
    this.#connections.push(connection)
    connection.start(planned.leg * LEG_DELAY_MS)
  }

  connection(index: number): Connection {
    const connection = this.#connections[index]
    assert(connection !== undefined, `no connection ${index} of ${this.#connections.length}`)
    return connection
  }

  get connections(): readonly Connection[] {
    return this.#connections
  }

  /** How far the clocks of the venues are from ours, by exchange, as far as they have answered. */
  get clockOffsets(): ReadonlyMap<string, ClockOffset> {
    const offsets = new Map<string, ClockOffset>()
    for (const [exchange, { latest }] of this.#clocks) if (latest !== undefined) offsets.set(exchange, latest)
    return offsets
  }

  /** Ends all sockets at once. Nothing is told to `onClose`: an orderly stop is no loss of a connection. */
  disconnect(): void {
    this.#isStopping = true
    this.snapshots.close()
    for (const clock of this.#clocks.values()) clock.close()
    for (const connection of this.#connections) connection.stop()
  }

  async close(): Promise<void> {
    this.disconnect()
    for (const { ledger, rest } of this.markets.values()) {
      ledger.close()
      await rest.close()
    }
  }

  #connection(planned: PlannedConnection): Connection {
    const { choice, budget, sockets, stats, agent } = this.#market(`${planned.exchange}.${planned.market}`)
    const rules = this.#rules(choice)
    const place = placeOf(rules, planned.market)
    const { time, random, log } = this.#around
    const events = this.#events
    return new Connection(
      {
        name: planned.name,
        group: `${planned.exchange}#${planned.original}`,
        url: planned.url,
        streams: planned.streams,
        heartbeat: place.heartbeat,
        clientMessagesPerSecondMax: place.limits.clientMessagesPerSecondMax,
        subscribesPerHourMax: place.limits.subscribesPerHourMax,
        connectionLifeMsMax: lifeMsMax(place.limits.connectionLifeMsMax, choice.lifeSeconds * MS_PER_SECOND),
        frameBytesMax: choice.maxPayloadBytes,
        timing: {
          ...CONNECTION_TIMING,
          probeAfterMs: choice.silenceMs * PROBE_SHARE,
          probeTimeoutMs: choice.silenceMs * (1 - PROBE_SHARE),
        },
        ...(agent === undefined ? {} : { agent }),
      },
      rules,
      {
        onOpen: (generation) => events.onOpen(planned, generation),
        onSubscribed: (generation) => events.onSubscribed(planned, generation),
        onFrame: (generation, bytes) => events.onFrame(planned, generation, bytes),
        onClose: (generation, reason) => {
          if (!this.#isStopping) events.onClose(planned, generation, reason)
        },
      },
      { time, random, log, budget, sockets, stats },
    )
  }

  /** One host of a venue speaks for all of them. */
  #clockWatch(exchange: string, rules: FeedRules, file: ClockFile): ClockWatch | undefined {
    const market = [...this.markets.values()].find(({ choice }) => choice.exchange === exchange)
    if (market === undefined) return undefined
    const { rest, choice } = market
    const { time, random, log } = this.#around
    return new ClockWatch(
      { ...CLOCK_OFFSET_DEFAULTS, exchange },
      {
        ask: async (onSent) =>
          rules.readServerTime(
            (await rest.get(rules.serverTimeRequest(choice.market), 'audit', onSent)).toString('utf8'),
          ),
        time,
        random,
        log,
        onMeasured: (offset) => file.append(exchange, offset),
      },
    )
  }

  #market(key: string): MarketNetwork {
    const market = this.markets.get(key)
    assert(market !== undefined, `market ${key} is not configured`)
    return market
  }

  #rules(choice: MarketChoice): FeedRules {
    const rules = this.#around.rules.get(choice.exchange)
    assert(rules !== undefined, `no rules of ${choice.exchange}`)
    return rules
  }
}

/** 0 is no limit, of the venue or of the configuration. */
function lifeMsMax(venueMs: number, configuredMs: number): number {
  return venueMs === 0 || configuredMs === 0 ? Math.max(venueMs, configuredMs) : Math.min(venueMs, configuredMs)
}

function placeOf(rules: FeedRules, market: string): FeedMarket {
  const place = rules.markets[market]
  assert(place !== undefined, `${rules.exchange} has no market ${market}`)
  return place
}

function venueMarkets(config: Config, around: NetworkSurroundings): ReadonlyMap<string, MarketNetwork> {
  const bans = new BanFile(dataDirectory(config, BAN_FILE_NAME), around.log)
  const markets = new Map<string, MarketNetwork>()
  for (const rules of around.rules.values()) {
    const choices = chosenMarkets(config).filter(({ exchange }) => exchange === rules.exchange)
    const places = choices.map(({ market }) => placeOf(rules, market))
    const ledger = venueLedger(rules, choices, planSettings(config), around, bans)
    const sockets = new VenueSockets(Math.min(...places.map(({ limits }) => limits.connectionsMax ?? Infinity)))
    const budgets = hostBudgets(places, planSettings(config))
    for (const choice of choices) {
      const { wsBase } = placeOf(rules, choice.market)
      const budget = budgets.get(wsBase)
      assert(budget !== undefined, `no connection budget for ${wsBase}`)
      markets.set(choice.key, marketNetwork(choice, rules, { ledger, sockets, budget }, around))
    }
  }
  return markets
}

/** One ledger a venue, because a ban of one host is a ban of this address; markets of one pool share an account of it. */
function venueLedger(
  rules: FeedRules,
  choices: readonly MarketChoice[],
  { startWeightShare }: PlanSettings,
  { time, log }: NetworkSurroundings,
  bans: BanFile,
): WeightLedger {
  const { exchange } = rules
  const bannedUntilMs = bans.untilMs(exchange, time.nowMs())
  if (bannedUntilMs > 0) {
    const seconds = Math.ceil((bannedUntilMs - time.nowMs()) / MS_PER_SECOND)
    log.warn(
      { exchange, until: new Date(bannedUntilMs).toISOString() },
      `no REST for ${seconds} s: banned in an earlier run`,
    )
  }
  const byMarket = <T>(read: (choice: MarketChoice, place: FeedMarket) => T): Record<string, T> =>
    Object.fromEntries(choices.map((choice) => [choice.market, read(choice, placeOf(rules, choice.market))]))
  return new WeightLedger(
    {
      ...WEIGHT_DEFAULTS,
      exchange,
      bannedUntilMs,
      gapReserveShare: 1 - startWeightShare,
      weightPerMinute: byMarket((_, { limits }) => limits.weightPerMinuteMax),
      windowMs: byMarket((_, { limits }) => limits.weightWindowMs ?? 0),
      pools: byMarket((_, place) => weightPoolOf(place)),
      share: byMarket(({ restWeightShare }) => restWeightShare),
    },
    time,
    (untilMs) => bans.remember(exchange, untilMs, time.nowMs()),
  )
}

/** Venues count attempts by host; where its markets say different things, the strictest counts. */
function hostBudgets(places: readonly FeedMarket[], plan: PlanSettings): ReadonlyMap<string, ConnectBudget> {
  const budgets = new Map<string, ConnectBudget>()
  for (const { wsBase } of places) {
    const limits = places.filter((place) => place.wsBase === wsBase).map((place) => place.limits)
    const connectsMax = Math.min(...limits.map((limit) => limit.connectsMax))
    budgets.set(
      wsBase,
      new ConnectBudget({
        connectsMax: Math.max(1, Math.floor(connectsMax * plan.connectShare)),
        windowMs: Math.max(...limits.map((limit) => limit.connectsWindowMs)),
        spacingMs: plan.connectSpacingMs,
      }),
    )
  }
  return budgets
}

function marketNetwork(
  choice: MarketChoice,
  rules: FeedRules,
  shared: Pick<MarketNetwork, 'ledger' | 'sockets' | 'budget'>,
  { time, random }: NetworkSurroundings,
): MarketNetwork {
  const rest = new RestClient(
    {
      ...REST_DEFAULTS,
      proxy: choice.proxy,
      market: choice.market,
      base: choice.restUrl === '' ? placeOf(rules, choice.market).restBase : choice.restUrl,
      usedWeightHeader: rules.usedWeightHeader,
    },
    { ledger: shared.ledger, time, random },
  )
  const agent = choice.proxy === '' ? undefined : socketAgent(choice.proxy)
  return { choice, rest, ...shared, stats: feedStats(), agent }
}
