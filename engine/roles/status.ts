/** What a process says of itself, read from the counters of its parts. Some kilobytes; costs a millisecond. */
import { hostname } from 'node:os'
import type { Clock } from '../base/clock.ts'
import type { Run } from '../base/run.ts'
import type {
  CollectorStatus,
  ConnectionStatus,
  EngineStatus,
  LatencyStatus,
  ShardStatus,
} from '../gateway/engine-link.ts'
import type { Health } from '../observe/health.ts'
import { BOOK_STATES, type BookState } from '../record/schema.ts'
import { Histogram } from '../ring/histogram.ts'
import { RingReader } from '../ring/ring.ts'
import type { Collector } from './collector.ts'
import type { Servers } from './servers.ts'

/** States of books that are subscribed for. */
const BOOKED = (Object.keys(BOOK_STATES) as BookState[]).filter((state) => state !== 'INIT' && state !== 'DELISTED')
/** Latencies are those of the last moments: at least so many ms, whoever asks how often. */
const WINDOW_MS = 1_000

export class StatusReading {
  readonly #run: Run
  readonly #servers: Servers
  readonly #collector: Collector | undefined
  readonly #health: Health
  readonly #windows: LatencyWindow[]
  readonly #rings: readonly RingReader[]

  constructor(run: Run, servers: Servers, collector: Collector | undefined, health: Health, clock: Clock) {
    this.#run = run
    this.#servers = servers
    this.#collector = collector
    this.#health = health
    this.#windows = (collector?.liveLatencies ?? []).map((histogram) => new LatencyWindow(histogram, clock))
    this.#rings = (collector?.pool.frameRings ?? []).map((memory) => new RingReader(memory))
  }

  read(): EngineStatus {
    const { roles, version, config } = this.#run
    const report = this.#health.report()
    const problems = { ...report.liveness.problems, ...report.readiness.problems, ...report.completeness.problems }
    const collector = this.#collector
    return {
      name: collector === undefined ? `${hostname()}-${process.pid}` : config.producer,
      roles,
      version,
      pid: process.pid,
      startedMs: Date.parse(report.timestamp) - report.uptimeSeconds * 1000,
      health: report.status,
      problems,
      ...(collector === undefined ? {} : { collector: this.#ofCollector(collector) }),
    }
  }

  #ofCollector(collector: Collector): CollectorStatus {
    const { sinkCounters: sink } = collector
    const stored = storedOf(collector, this.#servers)
    return {
      producer: this.#run.config.producer,
      delivery: this.#servers.delivery,
      instruments: collector.instrumentCount,
      shards: collector.shardCounters.map((_, shard) => this.#shard(collector, shard)),
      connections: connectionsOf(collector),
      spool: {
        bytes: sink.read('spoolBytes'),
        bytesMax: this.#run.config.spool.maxBytes,
        segments: sink.read('spoolSegments'),
        unacknowledged: sink.read('spoolUnacked'),
        uncommitted: sink.read('spoolUncommitted'),
        oldestMs: Math.round(sink.read('uncommittedMs')),
        blocks: sink.read('blocks'),
        blockBytes: sink.read('blockBytes'),
      },
      delivered: {
        blocks: sink.read('delivered'),
        bytes: sink.read('deliveredBytes'),
        inFlight: sink.read('inFlight'),
        retries: sink.read('retries'),
      },
      ...(stored === undefined ? {} : { stored }),
      pressure: collector.pressure.status(),
    }
  }

  #shard(collector: Collector, shard: number): ShardStatus {
    const ring = this.#rings[shard] as RingReader
    const counters = collector.shardCounters[shard] as Collector['shardCounters'][number]
    const latency = this.#windows[shard]?.read()
    return {
      shard,
      books: BOOKED.reduce((sum, state) => sum + counters.read(`books_${state}`), 0),
      frames: collector.router.stats[shard]?.frames ?? 0,
      rows: counters.read('rows'),
      fill: ring.fillBytes() / ring.capacityBytes,
      restarts: collector.workers[shard]?.restarts ?? 0,
      ...(latency === undefined ? {} : { latency }),
    }
  }
}

/** Sockets that carry something; one that carries nothing any more is closed for good. */
function connectionsOf({ placement, network }: Collector): ConnectionStatus[] {
  return placement.connections
    .filter(({ streams }) => streams.length > 0)
    .map(({ index, exchange, market, shard, instruments }) => {
      const connection = network.connections[index]
      return {
        index,
        exchange,
        market,
        shard,
        isOpen: connection?.state === 'open',
        isPaused: connection?.isPaused ?? false,
        instruments: instruments.length,
        frames: connection?.frameCount ?? 0,
        generation: connection?.generation ?? 0,
      }
    })
}

/** Where rows go into ClickHouse from this process: through its store, or straight from the spool. */
function storedOf({ storeCounters: store, sinkCounters: sink }: Collector, { delivery }: Servers) {
  if (store !== undefined)
    return {
      rows: store.read('storedRows'),
      blocks: store.read('stored'),
      inserts: store.read('inserts'),
      pending: store.read('pending'),
    }
  if (delivery !== 'direct') return undefined
  return {
    rows: sink.read('insertedRows'),
    blocks: sink.read('delivered'),
    inserts: sink.read('inserts'),
    pending: sink.read('spoolUnacked'),
  }
}

/** Percentiles of the last moments of a histogram that counts since the start. */
class LatencyWindow {
  readonly #histogram: Histogram
  readonly #clock: Clock
  #before = new Histogram()
  #beforeMs: number
  #last: LatencyStatus | undefined

  constructor(histogram: Histogram, clock: Clock) {
    this.#histogram = histogram
    this.#clock = clock
    this.#beforeMs = clock.monotonicMs()
  }

  /** undefined while nothing was measured. */
  read(): LatencyStatus | undefined {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#beforeMs < WINDOW_MS) return this.#last
    const now = Histogram.sum([this.#histogram])
    const recent = now.since(this.#before)
    const { count } = recent
    const ms = (share: number): number => recent.percentileNs(share) / 1e6
    this.#last = count === 0 ? undefined : { count, p50Ms: ms(0.5), p99Ms: ms(0.99) }
    this.#before = now
    this.#beforeMs = nowMs
    return this.#last
  }
}
