/**
 * The simulated venue put together: servers, the seeded market or a recording, faults, truth, and the pump that makes
 * it run at its rate. A slow client makes the market late, never the memory grow: while a socket has more than
 * `unflushedBytesMax` under way nothing new is made.
 */
import { assert } from '../base/assert.ts'
import { Clock } from '../base/clock.ts'
import { seededRandom } from '../base/random.ts'
import type { Connection } from './connection.ts'
import type { FaultSpec } from './faults.ts'
import { Injector } from './injector.ts'
import { SeededMarket } from './market.ts'
import type { SimulatorOptions } from './options.ts'
import { SIMULATOR_DEFAULTS } from './options.ts'
import { Player } from './player.ts'
import { RestVenue } from './rest.ts'
import { VenueServer } from './server.ts'
import { cutStream, type Stream } from './streams.ts'
import type { InstrumentTruth, Totals, TruthBook } from './truth.ts'
import { Truth } from './truth.ts'
import type { Protocol } from './protocol.ts'
import { protocolOf } from './protocols.ts'
import type { RestSource } from './rest-source.ts'
import type { ExchangeName, MarketName, StreamPath } from './venue.ts'

export interface SimulatorUrls {
  readonly ws: string
  readonly rest: string
}

export interface SimulatorReport {
  readonly sent: Totals
  /** messages of streams that are fed by the clock, by channel */
  readonly kinds: Readonly<Record<string, number>>
  readonly events: number
  readonly losses: number
  readonly faults: number
  readonly connections: number
  readonly startedMs: number | null
  readonly runSeconds: number
  readonly eventsPerSecond: number
  /** time during which a slow client held the market up */
  readonly stalledMs: number
  /** most that the market was ever behind its rate, or the recording behind its time */
  readonly lateMsMax: number
  readonly cpuSeconds: number
  readonly instruments: InstrumentTruth[]
}

export interface SimulatorHandle {
  readonly exchange: ExchangeName
  readonly urls: Readonly<Partial<Record<MarketName, SimulatorUrls>>>
  /** resolves when the run is over and all of it has left for the clients */
  readonly over: Promise<void>
  truth(): Truth
  book(market: MarketName, symbol: string): TruthBook | null
  report(): SimulatorReport
  inject(fault: FaultSpec): boolean
  symbols(market: MarketName): string[]
  connections(market?: MarketName): number
  /** Ends the market: its last events leave, then `over` resolves; sockets stay open. */
  finish(): Promise<void>
  /** Ends the run: last events, truth files, sockets. */
  stop(): Promise<SimulatorReport>
}

/** Where events come from. */
interface Source {
  readonly streams: ReadonlyMap<string, Stream>
  stream(market: MarketName, name: string, path: StreamPath): Stream | null
  symbols(market: MarketName): string[]
  rest(market: MarketName, nowMs: () => number): RestSource | undefined
  settle(nowMs: number): void
}

const TICK_MS = 2
const BEAT_MS = 100
const TRADES_KEPT = 4096
const FLUSH_WAIT_MS = 30_000
const FLUSH_MS_PER_CONNECTION = 0.1
const FLUSH_MS_MAX = 20
/** one tick makes at most so much of the backlog, so that control traffic gets its turn */
const BURST_SECONDS_MAX = 0.02

export async function startSimulator(given: Partial<SimulatorOptions> = {}): Promise<SimulatorHandle> {
  const simulator = new Simulator({ ...SIMULATOR_DEFAULTS, ...given })
  await simulator.start()
  return simulator
}

class Simulator implements SimulatorHandle {
  urls: Partial<Record<MarketName, SimulatorUrls>> = {}
  readonly over: Promise<void>
  readonly exchange: ExchangeName
  readonly #protocol: Protocol
  readonly #options: SimulatorOptions
  readonly #clock = new Clock()
  readonly #truth: Truth
  readonly #servers: VenueServer[] = []
  readonly #market: SeededMarket | null
  readonly #player: Player | null
  readonly #injector: Injector
  #endRun: () => void = () => undefined
  #timer: NodeJS.Timeout | null = null
  #startedAtMs: number | null = null
  #startedWallMs = 0
  #endedAtMs: number | null = null
  #lastTickMs = 0
  #nextBeatMs = 0
  #made = 0
  #stalledMs = 0
  #lateMsMax = 0
  #cpuAtStart: NodeJS.CpuUsage = process.cpuUsage()
  #stopped: Promise<SimulatorReport> | null = null

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.#protocol = protocolOf(options.exchange)
    this.exchange = options.exchange
    this.over = new Promise((done) => {
      this.#endRun = done
    })
    this.#truth = new Truth(options.truthDirectory)
    const streamsOptions = {
      onLoss: (loss: Parameters<Truth['loss']>[0]) => this.#truth.loss(loss),
      nowMs: () => this.#nowMs(),
    }
    const isRecorded = options.recordings.length > 0
    const { bookLevelsMax } = this.#protocol
    const bookLevels = Math.min(options.bookLevels, bookLevelsMax / 3)
    const shape = { bookLevels, bookLevelsMax, levelsPerUpdate: options.levelsPerUpdate, tradesKept: TRADES_KEPT }
    this.#player = isRecorded
      ? new Player({ ...streamsOptions, files: options.recordings, speed: options.speed, truth: this.#truth })
      : null
    const protocol = this.#protocol
    const markets = options.markets ?? Object.keys(protocol.markets)
    this.#market = isRecorded
      ? null
      : new SeededMarket({ ...options, ...streamsOptions, markets, protocol, shape, truth: this.#truth })
    this.#injector = new Injector({
      servers: this.#servers,
      streams: () => this.#source.streams.values(),
      symbols: ({ marketNames }) => marketNames.flatMap((market) => this.#source.symbols(market)),
      market: this.#market,
      protocol,
      truth: this.#truth,
      random: seededRandom(options.seed ^ 0x5eed),
      nowMs: () => this.#nowMs(),
      script: options.faults,
      randomPerSecond: options.faultRate,
      randomKinds: options.faultKinds,
      closeEverySeconds: options.closeEverySeconds,
    })
  }

  async start(): Promise<void> {
    await this.#player?.prepare()
    const markets = this.#player?.markets() ?? this.#options.markets ?? Object.keys(this.#protocol.markets)
    const hosts = this.#protocol.sharesHost ? [markets] : markets.map((market) => [market])
    for (const names of hosts) {
      const server = this.#server(names)
      this.#servers.push(server)
      const urls = await server.listen()
      for (const name of names) this.urls[name] = urls
    }
  }

  truth(): Truth {
    return this.#truth
  }

  book(market: MarketName, symbol: string): TruthBook | null {
    return this.#truth.book(market, symbol)
  }

  inject(fault: FaultSpec): boolean {
    return this.#injector.inject(fault)
  }

  symbols(market: MarketName): string[] {
    return this.#source.symbols(market)
  }

  /** @param market of a host of its own, or all of a shared one. */
  connections(market?: MarketName): number {
    return this.#servers.reduce(
      (sum, server) =>
        sum + (market === undefined || server.marketNames.includes(market) ? server.connections.size : 0),
      0,
    )
  }

  report(): SimulatorReport {
    const sent = this.#truth.totals()
    const events = sent.trades + sent.agg_trades + sent.book_deltas + sent.book_tickers
    const endMs = this.#endedAtMs ?? this.#clock.monotonicMs()
    const runSeconds = this.#startedAtMs === null ? 0 : (endMs - this.#startedAtMs) / 1000
    const cpu = process.cpuUsage(this.#cpuAtStart)
    return {
      sent,
      kinds: { ...this.#truth.kinds },
      events,
      losses: this.#truth.lossCount,
      faults: this.#injector.injected,
      connections: this.#servers.reduce((sum, server) => sum + server.connectsTotal, 0),
      startedMs: this.#startedAtMs === null ? null : Math.floor(this.#startedWallMs),
      runSeconds,
      eventsPerSecond: runSeconds > 0 ? Math.round(events / runSeconds) : 0,
      stalledMs: Math.round(this.#stalledMs),
      lateMsMax: Math.round(this.#lateMsMax),
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      instruments: this.#truth.instruments(),
    }
  }

  finish(): Promise<void> {
    return this.#finish()
  }

  stop(): Promise<SimulatorReport> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<SimulatorReport> {
    await this.#finish()
    this.#injector.stop()
    for (const server of this.#servers) await server.close()
    this.#truth.close()
    return this.report()
  }

  get #source(): Source {
    return (this.#market ?? this.#player) as Source
  }

  #nowMs(): number {
    return this.#clock.nowMs()
  }

  #server(names: readonly MarketName[]): VenueServer {
    const options = this.#options
    const protocol = this.#protocol
    const markets = names.map((name) => protocol.markets[name]).filter((market) => market !== undefined)
    const first = markets[0]
    assert(first !== undefined && markets.length === names.length, `${protocol.exchange} has no market ${names.join()}`)
    const nowMs = (): number => this.#nowMs()
    const rest = new RestVenue({
      protocol,
      market: first.name,
      source: (market) => this.#source.rest(market, nowMs),
      nowMs,
      weightWindowMs: options.weightWindowMs,
      weightMax: options.limitsEnforced ? (options.weightMax ?? first.weightPerMinuteMax) : Number.POSITIVE_INFINITY,
      refusalsBeforeBan: options.refusalsBeforeBan,
      banMs: options.banMs,
    })
    return new VenueServer({
      protocol,
      markets,
      rest,
      nowMs,
      port: options.ports[first.name] ?? 0,
      host: options.host,
      stream: (stream, path) => this.#source.stream(first.name, stream, path),
      greeting: (stream) => this.#market?.greeting(stream, this.#nowMs()) ?? null,
      tradePath: options.usdmTradePath,
      heartbeatScale: options.heartbeatScale,
      lifeMs: options.connectionLifeMs,
      limitsEnforced: options.limitsEnforced,
      onChange: () => this.#startWhenHeard(),
      onClosed: (connection, code, by) => this.#noteClosed(connection, code, by),
    })
  }

  #noteClosed(connection: Connection, code: number, by: string): void {
    const carried = [...connection.streams.values()].filter((stream) => stream !== null)
    const streams = carried.map(cutStream)
    const { index, unflushedBytes } = connection
    const market = carried[0]?.market ?? ''
    this.#truth.note({ closed: index, market, code, by, timeMs: Math.floor(this.#nowMs()), unflushedBytes, streams })
  }

  #startWhenHeard(): void {
    if (this.#timer !== null || this.#endedAtMs !== null) return
    if (!this.#isHeardEnough()) return
    this.#startedAtMs = this.#player === null ? this.#clock.monotonicMs() : null
    this.#startedWallMs = this.#nowMs()
    this.#lastTickMs = this.#clock.monotonicMs()
    this.#cpuAtStart = process.cpuUsage()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  #isHeardEnough(): boolean {
    let heard = 0
    for (const stream of this.#source.streams.values()) if (stream.subscribers.length > 0) heard++
    return heard >= (this.#player === null ? this.#options.startAfterStreams : 1)
  }

  #tick(): void {
    const monotonicMs = this.#clock.monotonicMs()
    if (this.#player !== null) this.#playRecording(this.#player, monotonicMs)
    else this.#makeEvents(monotonicMs)
    if (this.#startedAtMs !== null) this.#injector.tick((monotonicMs - this.#startedAtMs) / 1000)
    this.#flushDue(monotonicMs)
    this.#lastTickMs = monotonicMs
  }

  #makeEvents(monotonicMs: number): void {
    const { rate, seconds } = this.#options
    const market = this.#market as SeededMarket
    const elapsed = (monotonicMs - (this.#startedAtMs as number)) / 1000
    const owed = rate * (seconds === null ? elapsed : Math.min(elapsed, seconds)) - this.#made
    this.#lateMsMax = Math.max(this.#lateMsMax, (owed / rate) * 1000)
    if (this.#isStalled(monotonicMs)) return
    const events = Math.min(Math.floor(owed), Math.ceil(rate * BURST_SECONDS_MAX))
    const made = events > 0 ? market.produce(events, Math.floor(this.#nowMs())) : 0
    this.#made += made
    if (monotonicMs >= this.#nextBeatMs) {
      this.#nextBeatMs = monotonicMs + BEAT_MS
      market.beat(Math.floor(this.#nowMs()))
    }
    const isCaughtUp = made < events || this.#made >= rate * (seconds ?? 0) - 1
    if (seconds !== null && elapsed >= seconds && isCaughtUp) void this.#finish()
  }

  #playRecording(player: Player, monotonicMs: number): void {
    if (!player.isReady(monotonicMs)) return
    this.#startedAtMs ??= monotonicMs
    if (this.#isStalled(monotonicMs)) return
    const lateMs = player.play(monotonicMs)
    this.#lateMsMax = Math.max(this.#lateMsMax, lateMs)
    if (player.isOver) void this.#finish()
  }

  /** A write costs some 5 µs whatever its size: with many sockets each waits a little longer for its turn. */
  #flushDue(monotonicMs: number): void {
    const count = this.connections()
    const everyMs = Math.min(FLUSH_MS_MAX, count * FLUSH_MS_PER_CONNECTION)
    for (const { connections } of this.#servers) {
      for (const connection of connections) {
        if (monotonicMs - connection.flushedAtMs < everyMs) continue
        connection.flush()
        connection.flushedAtMs = monotonicMs
      }
    }
  }

  /** Nothing new is made while a client has too much under way; one that takes nothing at all is cut. */
  #isStalled(monotonicMs: number): boolean {
    let isStalled = false
    for (const server of this.#servers) {
      for (const connection of server.connections) {
        if (connection.unflushedBytes <= this.#options.unflushedBytesMax) {
          connection.stalledSinceMs = null
          continue
        }
        isStalled = true
        connection.stalledSinceMs ??= monotonicMs
        if (monotonicMs - connection.stalledSinceMs > this.#options.stallMsMax) {
          this.#truth.note({ fault: 'slow_client', market: server.market.name, connection: connection.index })
          server.reset(connection, 'slow client')
        }
      }
    }
    if (isStalled) this.#stalledMs += monotonicMs - this.#lastTickMs
    return isStalled
  }

  /** The last events, then waits until everything has left. */
  async #finish(): Promise<void> {
    if (this.#endedAtMs !== null) return this.over
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#startedAtMs !== null) this.#source.settle(Math.floor(this.#nowMs()))
    for (const { connections } of this.#servers) for (const connection of connections) connection.flush()
    this.#endedAtMs = this.#clock.monotonicMs()
    const deadlineMs = this.#endedAtMs + FLUSH_WAIT_MS
    while (this.#unflushedBytes() > 0 && this.#clock.monotonicMs() < deadlineMs) {
      await new Promise((done) => setTimeout(done, TICK_MS))
    }
    this.#truth.flush()
    this.#endRun()
  }

  #unflushedBytes(): number {
    return this.#servers.reduce(
      (sum, { connections }) => sum + [...connections].reduce((bytes, { unflushedBytes }) => bytes + unflushedBytes, 0),
      0,
    )
  }
}
