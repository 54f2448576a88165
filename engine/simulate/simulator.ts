/**
 * The simulated venue put together: servers, the seeded market or a recording, faults, truth, and the pump that makes
 * it run at its rate. A slow client makes the market late, never the memory grow: while a socket has more than
 * `unflushedBytesMax` under way nothing new is made.
 */
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
import type { Stream } from './streams.ts'
import type { InstrumentTruth, Totals, TruthBook } from './truth.ts'
import { Truth } from './truth.ts'
import type { MarketName } from './venue.ts'
import { VENUE_MARKETS } from './venue.ts'
import type { RestSource } from './rest.ts'

export interface SimulatorUrls {
  readonly ws: string
  readonly rest: string
}

export interface SimulatorReport {
  readonly sent: Totals
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
  readonly urls: Readonly<Partial<Record<MarketName, SimulatorUrls>>>
  /** resolves when the run is over and all of it has left for the clients */
  readonly over: Promise<void>
  truth(): Truth
  book(market: MarketName, symbol: string): TruthBook | null
  report(): SimulatorReport
  inject(fault: FaultSpec): boolean
  connections(market?: MarketName): number
  /** Ends the market: its last events leave, then `over` resolves; sockets stay open. */
  finish(): Promise<void>
  /** Ends the run: last events, truth files, sockets. */
  stop(): Promise<SimulatorReport>
}

/** Where events come from. */
interface Source {
  readonly streams: ReadonlyMap<string, Stream>
  stream(market: MarketName, name: string): Stream | null
  symbols(market: MarketName): string[]
  rest(market: MarketName, nowMs: () => number): RestSource
  settle(nowMs: number): void
}

const TICK_MS = 2
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
  #made = 0
  #stalledMs = 0
  #lateMsMax = 0
  #cpuAtStart: NodeJS.CpuUsage = process.cpuUsage()
  #stopped: Promise<SimulatorReport> | null = null

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.over = new Promise((done) => {
      this.#endRun = done
    })
    this.#truth = new Truth(options.truthDirectory)
    const streamsOptions = {
      onLoss: (loss: Parameters<Truth['loss']>[0]) => this.#truth.loss(loss),
      nowMs: () => this.#nowMs(),
    }
    const isRecorded = options.recordings.length > 0
    const shape = { bookLevels: options.bookLevels, levelsPerUpdate: options.levelsPerUpdate, tradesKept: 4096 }
    this.#player = isRecorded
      ? new Player({ ...streamsOptions, files: options.recordings, speed: options.speed, truth: this.#truth })
      : null
    this.#market = isRecorded ? null : new SeededMarket({ ...options, ...streamsOptions, shape, truth: this.#truth })
    this.#injector = new Injector({
      servers: this.#servers,
      streams: () => this.#source.streams.values(),
      symbols: ({ market }) => this.#source.symbols(market.name),
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
    for (const name of this.#player?.markets() ?? this.#options.markets) {
      const server = this.#server(name)
      this.#servers.push(server)
      this.urls[name] = await server.listen()
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

  connections(market?: MarketName): number {
    return this.#servers.reduce(
      (sum, server) => sum + (market === undefined || server.market.name === market ? server.connections.size : 0),
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

  #server(name: MarketName): VenueServer {
    const options = this.#options
    const market = VENUE_MARKETS[name]
    const nowMs = (): number => this.#nowMs()
    const rest = new RestVenue({
      market,
      source: this.#source.rest(name, nowMs),
      nowMs,
      weightWindowMs: options.weightWindowMs,
      weightMax: options.limitsEnforced ? (options.weightMax ?? market.weightPerMinuteMax) : Number.POSITIVE_INFINITY,
      refusalsBeforeBan: options.refusalsBeforeBan,
      banMs: options.banMs,
    })
    return new VenueServer({
      market,
      rest,
      nowMs,
      port: options.ports[name] ?? 0,
      host: options.host,
      stream: (stream) => this.#source.stream(name, stream),
      tradePath: options.usdmTradePath,
      heartbeatScale: options.heartbeatScale,
      lifeMs: options.connectionLifeMs,
      limitsEnforced: options.limitsEnforced,
      onChange: () => this.#startWhenHeard(),
      onClosed: (connection, code, by) => this.#noteClosed(name, connection, code, by),
    })
  }

  #noteClosed(market: MarketName, connection: Connection, code: number, by: string): void {
    const streams = [...connection.streams.values()].flatMap((stream) =>
      stream === null ? [] : [[stream.name, stream.lastSentId]],
    )
    const { index, unflushedBytes } = connection
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
