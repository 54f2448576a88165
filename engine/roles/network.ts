/**
 * The network half of a collector: REST with one weight ledger a market, snapshots for the books that ask, and one
 * Connection for each line of the plan. It knows no rings: what sockets and REST bring is handed to `NetworkEvents`.
 */
import type { Agent } from 'node:http'
import { assert } from '../base/assert.ts'
import type { Config } from '../base/config.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { CONNECTION_TIMING, Connection, type FeedStats, feedStats } from '../feed/connection.ts'
import { ConnectBudget } from '../feed/connects.ts'
import { socketAgent } from '../feed/proxy.ts'
import { REST_DEFAULTS, RestClient } from '../feed/rest.ts'
import { SNAPSHOT_DEFAULTS, Snapshots, type SnapshotWant } from '../feed/snapshots.ts'
import type { FeedTime } from '../feed/timer.ts'
import { readUniverse } from '../feed/universe.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../feed/weight.ts'
import type { Plan, PlannedConnection } from '../route/plan.ts'
import { chosenMarkets, marketKeyOf, type MarketChoice, planSettings } from './settings.ts'

/** Of the silence that is allowed: so long nothing is asked, the rest is for the answer. */
const PROBE_SHARE = 2 / 3

export interface NetworkEvents {
  onOpen(connection: PlannedConnection, generation: number): void
  onFrame(connection: PlannedConnection, generation: number, bytes: Uint8Array): void
  onClose(connection: PlannedConnection, generation: number, reason: string): void
  onSnapshot(want: SnapshotWant, body: Buffer): void
  onSnapshotFailed(want: SnapshotWant, reason: string): void
}

/** What one market has of its own: its REST, its ledger, the queue of its connection attempts, its sums. */
export interface MarketNetwork {
  readonly choice: MarketChoice
  readonly ledger: WeightLedger
  readonly rest: RestClient
  readonly budget: ConnectBudget
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
  #isStopping = false

  constructor(config: Config, around: NetworkSurroundings, events: NetworkEvents) {
    this.#around = around
    this.#events = events
    const { connectShare, connectSpacingMs, startWeightShare } = planSettings(config)
    const choices = chosenMarkets(config)
    const ledgers = new Map(
      [...around.rules].map(([exchange, rules]) => [
        exchange,
        venueLedger(
          rules,
          choices.filter((choice) => choice.exchange === exchange),
          startWeightShare,
          around.time,
        ),
      ]),
    )
    this.markets = new Map(
      choices.map((choice) => {
        const ledger = ledgers.get(choice.exchange) as WeightLedger
        return [choice.key, marketNetwork(choice, ledger, connectShare, connectSpacingMs, around)]
      }),
    )
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

  /** Opens every connection of the plan. */
  connect(plan: Plan): void {
    assert(this.#connections.length === 0, 'the network is connected already')
    for (const planned of plan.connections) this.#connections.push(this.#connection(planned))
    for (const connection of this.#connections) connection.start()
  }

  /** One connection more, at run time. */
  add(planned: PlannedConnection): void {
    assert(
      planned.index === this.#connections.length,
      `connection ${planned.index} follows ${this.#connections.length}`,
    )
    const connection = this.#connection(planned)
    this.#connections.push(connection)
    connection.start()
  }

  connection(index: number): Connection {
    const connection = this.#connections[index]
    assert(connection !== undefined, `no connection ${index} of ${this.#connections.length}`)
    return connection
  }

  get connections(): readonly Connection[] {
    return this.#connections
  }

  /** Ends all sockets at once. Nothing is told to `onClose`: an orderly stop is no loss of a connection. */
  disconnect(): void {
    this.#isStopping = true
    this.snapshots.close()
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
    const { choice, budget, stats, agent } = this.#market(`${planned.exchange}.${planned.market}`)
    const rules = this.#rules(choice)
    const place = rules.markets[planned.market]
    assert(place !== undefined, `${planned.name} is planned for a market that ${planned.exchange} does not have`)
    const events = this.#events
    return new Connection(
      {
        name: planned.name,
        url: planned.url,
        streams: planned.streams,
        heartbeat: place.heartbeat,
        clientMessagesPerSecondMax: place.limits.clientMessagesPerSecondMax,
        connectionLifeMsMax: place.limits.connectionLifeMsMax,
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
        onFrame: (generation, bytes) => events.onFrame(planned, generation, bytes),
        onClose: (generation, reason) => {
          for (const { instrument } of planned.instruments) this.snapshots.cancel(instrument, generation)
          if (!this.#isStopping) events.onClose(planned, generation, reason)
        },
      },
      { time: this.#around.time, random: this.#around.random, log: this.#around.log, budget, stats },
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

/** One ledger a venue: a ban of one host is a ban of this address. */
function venueLedger(
  rules: FeedRules,
  choices: readonly MarketChoice[],
  startWeightShare: number,
  time: FeedTime,
): WeightLedger {
  const limits = choices.map(({ market }) => [market, rules.markets[market]?.limits.weightPerMinuteMax ?? 0] as const)
  return new WeightLedger(
    {
      ...WEIGHT_DEFAULTS,
      exchange: rules.exchange,
      gapReserveShare: 1 - startWeightShare,
      weightPerMinute: Object.fromEntries(limits),
      share: Object.fromEntries(choices.map(({ market, restWeightShare }) => [market, restWeightShare])),
    },
    time,
  )
}

function marketNetwork(
  choice: MarketChoice,
  ledger: WeightLedger,
  connectShare: number,
  spacingMs: number,
  around: NetworkSurroundings,
): MarketNetwork {
  const { exchange, market } = choice
  const rules = around.rules.get(exchange)
  const place = rules?.markets[market]
  assert(rules !== undefined && place !== undefined, `market ${choice.key} is not known`)
  const { time, random } = around
  const rest = new RestClient(
    {
      ...REST_DEFAULTS,
      proxy: choice.proxy,
      market,
      base: choice.restUrl === '' ? place.restBase : choice.restUrl,
      usedWeightHeader: rules.usedWeightHeader,
    },
    { ledger, time, random },
  )
  const budget = new ConnectBudget({
    connectsMax: Math.max(1, Math.floor(place.limits.connectsMax * connectShare)),
    windowMs: place.limits.connectsWindowMs,
    spacingMs,
  })
  const agent = choice.proxy === '' ? undefined : socketAgent(choice.proxy)
  return { choice, ledger, rest, budget, stats: feedStats(), agent }
}
