/**
 * The collector, put together: sockets (network.ts) → router → rings → worker pool, and back: what books ask for.
 *
 *   Network ──onFrame──► Router ──rings──► book workers ──rings──► sink worker
 *      ▲                                        │
 *      └──────────── WANT_SNAPSHOT ─────────────┘
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import type { FeedRules } from '../exchanges/exchange.ts'
import { isTrading } from '../feed/universe.ts'
import { type FeedTime, realTime } from '../feed/timer.ts'
import type { Repair } from '../feed/repair.ts'
import { RejectedFile } from '../observe/rejected-file.ts'
import { Counters } from '../ring/counters.ts'
import { createHopMemories, type HopMemories } from '../sinks/hop-histograms.ts'
import { Histogram } from '../ring/histogram.ts'
import { createRing } from '../ring/ring.ts'
import { type Plan, plan as planConnections } from '../route/plan.ts'
import { Placement } from '../route/placement.ts'
import { Router } from '../route/router.ts'
import type { BookWorkerSettings, RejectedReport } from '../../workers/book-worker.ts'
import { type WorkerState, WorkerPool, workerUrl } from '../../workers/pool.ts'
import { SHARD_COUNTERS, type ShardCounter } from '../../workers/shard-counters.ts'
import {
  SINK_COUNTERS,
  type SinkCounter,
  type SinkWorkerMessage,
  type SinkWorkerSettings,
} from '../../workers/sink-worker.ts'
import type { DownNotice } from '../../workers/shard-connections.ts'
import { SLOT_DEFAULT } from '../../workers/slot.ts'
import { STORE_COUNTERS, type StoreCounter, type StoreWorkerSettings } from '../../workers/store-worker.ts'
import { BY_HAND_FILE_NAME, ByHand } from './by-hand.ts'
import { Network } from './network.ts'
import { Pressure, PRESSURE_DEFAULT, pressureSigns } from './pressure.ts'
import { Roster } from './roster.ts'
import type { Servers } from './servers.ts'
import {
  clickHouseOptions,
  chosenMarkets,
  crewOptions,
  dataDirectory,
  deliveryOptions,
  exchangeRules,
  idleOptions,
  planSettings,
  shardSettings,
  spoolOptions,
} from './settings.ts'
import { Traffic } from './traffic.ts'

/** Time passes for the workers in steps of this. */
const TICK_MS = 50
/** Of the 10 s in which a stop must be over, whatever hangs: the workers, of these delivery of what the spool holds; then the servers. */
const STOP_GRACE_MS = 6_000
const DELIVERY_STOP_MS = 5_000
const QUEUE_GRACE_MS = 2_000
const COUNTER_BYTES = 8

export interface CollectorEvents {
  /** the collector cannot go on: stop the process in order and leave with this */
  onFault(fault: Fault): void
}

/** What the parts of a collector share. */
interface CollectorSurroundings {
  readonly rules: ReadonlyMap<string, FeedRules>
  readonly time: FeedTime
  readonly random: Random
  readonly clock: Clock
  readonly log: Log
}

export class Collector {
  /** as of the start; `placement` is what it has become */
  readonly plan: Plan
  readonly placement: Placement
  readonly roster: Roster
  readonly byHand: ByHand
  readonly network: Network
  readonly router: Router
  readonly pool: WorkerPool
  readonly shardCounters: readonly Counters<ShardCounter>[]
  readonly sinkCounters: Counters<SinkCounter>
  readonly storeCounters: Counters<StoreCounter> | undefined
  readonly hops = createHopMemories()
  /** receive → live message handed on, by shard */
  readonly liveLatencies: readonly Histogram[]
  /** what the gateway of this process reads; undefined where it has none */
  readonly liveRing: SharedArrayBuffer | undefined
  readonly fsyncLatency = new Histogram()
  readonly pressure: Pressure
  readonly #config: Config
  readonly #startedMs: number
  readonly #log: Log
  readonly #events: CollectorEvents
  readonly #rejected: RejectedFile
  readonly #traffic: Traffic
  #ready: PromiseWithResolvers<DownNotice> = promiseWithResolvers()
  #stopped: SinkWorkerMessage & { type: 'stopped' } = { type: 'stopped', undelivered: 0, givenUp: 0 }
  #ticking: NodeJS.Timeout | undefined
  #workersStarted = 0

  /** Asks the venues what they list and plans; nothing is connected yet. */
  static async create(
    config: Config,
    servers: Servers,
    roles: readonly string[],
    clock: Clock,
    log: Log,
    events: CollectorEvents,
  ): Promise<Collector> {
    const time = realTime(clock)
    const rules = exchangeRules(config)
    const random = seededRandom(freshSeed())
    let collector: Collector | undefined
    const self = (): Collector => {
      assert(collector !== undefined, 'the network spoke before it was connected')
      return collector
    }
    const network = new Network(
      config,
      { rules, time, random, log },
      {
        onOpen: (connection, generation) => self().#traffic.onOpen(connection, generation),
        onSubscribed: (connection, generation) => self().#traffic.onSubscribed(connection, generation),
        onFrame: (connection, generation, bytes) => self().router.onFrame(connection.index, generation, bytes),
        onClose: (connection, generation, reason) => self().#traffic.onClose(connection, generation, reason),
        onSnapshot: (want, body) => self().#traffic.onSnapshot(want, body),
        onSnapshotFailed: (want, reason) => self().#traffic.onSnapshotFailed(want, reason),
      },
    )
    try {
      const plan = planConnections(rules, await network.readInstruments(), planSettings(config, clock.nowMs()))
      collector = new Collector(config, servers, roles, { rules, time, random, clock, log }, events, network, plan)
      return collector
    } catch (error) {
      await network.close()
      throw error
    }
  }

  private constructor(
    config: Config,
    servers: Servers,
    roles: readonly string[],
    around: CollectorSurroundings,
    events: CollectorEvents,
    network: Network,
    plan: Plan,
  ) {
    const { clock, log } = around
    this.#config = config
    this.#startedMs = Math.floor(clock.nowMs())
    this.#log = log
    this.#events = events
    this.#rejected = new RejectedFile(dataDirectory(config, ''), () => clock.monotonicMs(), log)
    this.network = network
    this.plan = plan
    this.placement = new Placement(around.rules, planSettings(config), plan)
    const idle = idleOptions(config)
    this.liveLatencies = Array.from({ length: config.workers.count }, () => new Histogram())
    if (roles.includes('serve')) this.liveRing = createRing(config.rings.liveBytes)
    const hasStore = roles.includes('store') && servers.delivery === 'jetstream'
    this.pool = new WorkerPool(
      {
        clock,
        log,
        bounds: { ...SLOT_DEFAULT, hungMs: config.workers.hangMs },
        bookIdle: idle.book,
        eventIdle: idle.event,
        book: {
          url: workerUrl('book-worker'),
          counterBytes: SHARD_COUNTERS.length * COUNTER_BYTES,
          count: config.workers.count,
          frameRingBytes: config.rings.framesBytes,
          batchRingBytes: config.rings.batchesBytes,
          requestRingBytes: config.rings.requestsBytes,
          settings: (workerIndex) => this.#bookSettings(workerIndex, servers),
        },
        sink: {
          url: workerUrl('sink-worker'),
          counterBytes: SINK_COUNTERS.length * COUNTER_BYTES,
          settings: this.#sinkSettings(servers),
        },
        ...(hasStore
          ? {
              store: {
                url: workerUrl('store-worker'),
                counterBytes: STORE_COUNTERS.length * COUNTER_BYTES,
                settings: storeSettings(config, servers, this.hops),
              },
            }
          : {}),
      },
      {
        onRequest: (workerIndex, kind, bytes, offset, length) =>
          this.#traffic.onRequest(workerIndex, kind, bytes, offset, length),
        clearFrames: (workerIndex) => this.router.clearShard(workerIndex),
        onWorkerRestarted: (role, workerIndex) => {
          if (role === 'book') this.#traffic.onShardRestarted(workerIndex)
        },
        onFault: (fault) => {
          this.#ready.reject(fault) // who waits for the spool must not wait for ever
          events.onFault(fault)
        },
        onMessage: (role, _, message) => {
          if (role === 'sink') this.#onSinkMessage(message as SinkWorkerMessage)
          else if (role === 'book') this.#onRejected(message as RejectedReport)
        },
      },
    )
    this.router = new Router(this.pool.frameRings, clock, log)
    this.#traffic = new Traffic({ ...around, placement: this.placement, network, router: this.router })
    this.roster = this.#newRoster(around)
    this.byHand = new ByHand(join(dataDirectory(config, ''), BY_HAND_FILE_NAME), this.roster, log)
    const { counters } = this.pool
    const { count } = config.workers
    this.shardCounters = counters.slice(0, count).map((memory) => new Counters(SHARD_COUNTERS, memory))
    this.sinkCounters = new Counters(SINK_COUNTERS, counters[count] as SharedArrayBuffer)
    this.storeCounters = hasStore ? new Counters(STORE_COUNTERS, counters[count + 1] as SharedArrayBuffer) : undefined
    this.pressure = this.#newPressure(clock)
  }

  /** Starts the workers, waits until the spool is open, then connects. */
  async start(): Promise<void> {
    this.pool.start()
    const down = await this.#ready.promise
    if (down.sinceNs !== undefined || down.lost.length > 0) this.#traffic.down(down)
    for (const connection of this.plan.connections) this.#traffic.route(connection)
    this.network.connect(this.plan)
    this.roster.start()
    void this.byHand.restore()
    this.pressure.start()
    this.#ticking = setInterval(() => this.router.tick(), TICK_MS)
  }

  /** Orderly: sockets end, what was received is sealed, synced and delivered as far as time allows. */
  async stop(): Promise<{ undelivered: number; givenUp: number; forced: string[] }> {
    this.pressure.stop()
    this.roster.close()
    this.#traffic.repair.close()
    this.network.disconnect()
    clearInterval(this.#ticking)
    this.router.tick()
    this.router.drain()
    this.router.endOfBurst()
    const deadlineMs = performance.now() + QUEUE_GRACE_MS
    while (this.router.isOverflowing && performance.now() < deadlineMs) await sleep(TICK_MS) // DRAIN is the last in the queue
    const forced = await this.pool.stop(STOP_GRACE_MS)
    await this.network.close()
    await this.#rejected.close()
    const { undelivered, givenUp } = this.#stopped
    return { undelivered, givenUp, forced }
  }

  /** Sum of a counter over the shards. */
  total(name: ShardCounter): number {
    return this.shardCounters.reduce((sum, counters) => sum + counters.read(name), 0)
  }

  get workers(): readonly WorkerState[] {
    return this.pool.states()
  }

  get instrumentCount(): number {
    return this.placement.collected().length
  }

  /** Books that should be LIVE, each once, however many legs carry it; what does not trade has none. */
  get bookCount(): number {
    const books = new Set<string>()
    for (const { instruments } of this.placement.connections)
      for (const { instrument, channels } of instruments)
        if (channels.includes('book') && isTrading(this.placement.find(instrument.id)?.instrument ?? instrument))
          books.add(instrument.id)
    return books.size
  }

  get repair(): Repair {
    return this.#traffic.repair
  }

  /** Sends a whole book, or its state, on the live path; nothing where it is not collected. */
  wantBook(id: string): void {
    const place = this.placement.find(id)
    if (place !== undefined) this.router.wantBook(place.shard, place.index)
  }

  /** The configuration as it is now: its instruments count from now on. */
  async reload(config: Config): Promise<void> {
    await this.roster.reload(chosenMarkets(config))
  }

  #newPressure(clock: Clock): Pressure {
    const { pool, sinkCounters: sink, network, roster } = this
    const signs = pressureSigns({
      frameRings: pool.frameRings,
      batchRings: pool.batchRings,
      spoolBytesMax: this.#config.spool.maxBytes,
      spoolHeldBytes: () => sink.read('spoolHeldBytes'),
      isSpoolShort: () => sink.read('spoolShort') === 1,
      pausedSockets: () => network.connections.filter(({ isPaused }) => isPaused).length,
    })
    const onLevel = (level: number): void => {
      if (level > 0) this.repair.hold()
      else this.repair.release()
      roster.holdPolls(level > 0)
    }
    return new Pressure(PRESSURE_DEFAULT, signs, onLevel, () => clock.monotonicMs(), this.#log)
  }

  #bookSettings(workerIndex: number, { nats, payloadBytesMax }: Servers): BookWorkerSettings {
    const members = this.placement.members(workerIndex)
    const run = `${this.#startedMs}-${workerIndex}-${++this.#workersStarted}`
    const readers = { run, hasNats: nats !== undefined, hasGateway: this.liveRing !== undefined, payloadBytesMax }
    const shard = shardSettings(this.#config, workerIndex, members, readers)
    return { shard, reportOnDrain: false, tellsRejected: true }
  }

  #sinkSettings(servers: Servers): SinkWorkerSettings {
    const { delivery, nats, clickhouse, gates } = servers
    const isDirect = delivery === 'direct'
    assert(!isDirect || clickhouse !== undefined, 'direct delivery needs ClickHouse')
    return {
      producer: this.#config.producer,
      batchAgeMs: this.#config.batch.ageMs,
      spoolDirectory: dataDirectory(this.#config, 'spool', this.#config.spool.directory),
      spool: spoolOptions(this.#config),
      delivery: deliveryOptions(this.#config, delivery),
      blocks: isDirect
        ? { to: 'clickhouse', clickhouse: clickhouse ?? clickHouseOptions(this.#config, '') }
        : { to: 'jetstream' },
      gates: isDirect ? gates.clickhouse : gates.nats,
      ...(nats === undefined ? {} : { nats }),
      live: {
        ...(nats === undefined ? {} : { nats }),
        ...(this.liveRing === undefined ? {} : { gateway: this.liveRing }),
        isPublished: this.#config.live.enabled,
        latencies: this.liveLatencies.map(({ memory }) => memory),
      },
      hops: this.hops,
      fsyncLatency: this.fsyncLatency.memory,
      stopMsMax: DELIVERY_STOP_MS,
      logLevel: this.#config.log.level,
    }
  }

  #newRoster({ rules, time, random, log }: CollectorSurroundings): Roster {
    const { placement } = this
    const { markets } = this.network
    return new Roster(
      { rules, markets, placement, time, random, log },
      {
        onInstrument: ({ shard, index, instrument }) => this.router.instrument(shard, index, instrument),
        onJoin: (change) => this.#traffic.onJoin(change),
        onOpened: (connection) => {
          this.#traffic.route(connection)
          this.network.add(connection)
        },
        onPart: (change) => this.#traffic.onPart(change),
        onClosed: (connection) => this.network.connection(connection).stop(),
        onRemoved: ({ shard, index }, reason) => this.router.remove(shard, index, reason),
        onPoll: ({ shard, index }, name, body) => this.router.poll(shard, index, name, body),
      },
    )
  }

  #onRejected({ rejected }: RejectedReport): void {
    const rows = rejected.map(({ source: connection, ...frame }) => {
      const { exchange, market } = this.placement.connection(connection)
      return { market: `${exchange}.${market}`, connection, ...frame }
    })
    this.#rejected.write(rows)
  }

  #onSinkMessage(message: SinkWorkerMessage): void {
    switch (message.type) {
      case 'ready':
        if (message.undelivered > 0)
          this.#log.warn(message, 'blocks of an earlier run are in the spool and go out first')
        this.#ready.resolve(message.down)
        return
      case 'wanted':
        for (const book of message.books) this.wantBook(book)
        return
      case 'dropped':
        return this.#traffic.dropped(message.range)
      case 'fault': {
        const fault = new Fault(message.code, message.message)
        this.#ready.reject(fault)
        this.#events.onFault(fault)
        return
      }
      case 'stopped':
        this.#stopped = message
    }
  }
}

export function storeSettings(config: Config, servers: Servers, hops: HopMemories): StoreWorkerSettings {
  assert(servers.nats !== undefined && servers.clickhouse !== undefined, 'the store needs NATS and ClickHouse')
  return {
    nats: servers.nats,
    clickhouse: servers.clickhouse,
    crew: crewOptions(config),
    gates: [...servers.gates.nats, ...servers.gates.clickhouse],
    hops,
    stopMsMax: DELIVERY_STOP_MS,
    logLevel: config.log.level,
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(reason: unknown): void
}

/** Node 20 has no Promise.withResolvers. */
function promiseWithResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {}
  let reject: (reason: unknown) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
