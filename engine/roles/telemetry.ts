/** Where each metric and each health check reads from. Counters live with their owners; here they only get names. */
import type { Clock } from '../base/clock.ts'
import type { Run } from '../base/run.ts'
import type { ClockOffset } from '../feed/clock-offset.ts'
import { SHED_ORDER } from '../gateway/engine-link.ts'
import { Health } from '../observe/health.ts'
import { latencySample, Metrics, type Sample } from '../observe/metrics.ts'
import { observeRuntime } from '../observe/runtime.ts'
import { IGNORE_REASONS, REJECT_REASONS } from '../record/emit.ts'
import { BOOK_STATES, type BookState } from '../record/schema.ts'
import { PUBLISH_OUTCOMES } from '../book/publisher.ts'
import { BREAKER_STATES } from '../sinks/breaker.ts'
import { HOPS, type HopMemories } from '../sinks/hop-histograms.ts'
import { Histogram } from '../ring/histogram.ts'
import type { Counters } from '../ring/counters.ts'
import { RingReader } from '../ring/ring.ts'
import type { ShardCounter } from '../../workers/shard-counters.ts'
import type { StoreCounter } from '../../workers/store-worker.ts'
import type { PlannedConnection } from '../route/plan.ts'
import type { Collector } from './collector.ts'
import type { MarketNetwork } from './network.ts'
import type { Serving } from './serving.ts'
import type { Servers } from './servers.ts'

/** A delivery that lags by more is an incomplete store. */
const LAG_MS_MAX = 60_000

const BREAKERS = [
  ['clickhouse', 'breaker', 'breakerOpened'],
  ['deadLetters', 'letterBreaker', 'letterBreakerOpened'],
] as const

export class Telemetry {
  readonly metrics: Metrics
  readonly health: Health
  readonly #config: Run['config']
  readonly #closeRuntime: () => void
  #delivery: Servers['delivery'] = 'direct'
  #isStopping = false
  #isStarted = false

  constructor(run: Run, clock: Clock) {
    const { log, roles, version } = run
    this.#config = run.config
    this.metrics = new Metrics((metric, error) =>
      log.warn({ metric, error: String(error) }, 'a metric could not be read'),
    )
    this.health = new Health({ service: `marketprism-${roles.join('-')}`, version, nowMs: () => clock.nowMs() })
    this.#closeRuntime = observeRuntime(this.metrics, version, clock.nowMs())
    this.health.check('readiness', 'process', () => {
      if (this.#isStopping) return 'stopping'
      return this.#isStarted ? null : 'starting'
    })
  }

  stopping(): void {
    this.#isStopping = true
  }

  close(): void {
    this.#closeRuntime()
  }

  /** What waits for a server that was away at the start waits in the spool; a store alone has nothing to do without it. */
  watchServers(servers: Servers, roles: readonly string[]): void {
    this.#delivery = servers.delivery
    const aspect = roles.every((role) => role === 'store') ? 'readiness' : 'completeness'
    this.health.check(aspect, 'servers', () => servers.absences().join('; ') || null)
    this.metrics.source('marketprism_spool_limit_bytes', () => this.#config.spool.maxBytes)
    if (servers.nats === undefined)
      this.health.dependency('nats', () => ({ status: 'unused', detail: servers.deliveryReason }))
    if (servers.clickhouse === undefined) this.health.dependency('clickhouse', () => ({ status: 'unused' }))
  }

  watchServing(serving: Serving, collector: Collector | undefined): void {
    this.#isStarted = true
    const { metrics } = this
    metrics.source('marketprism_gateway_up', () => (serving.isUp ? 1 : 0))
    metrics.source('marketprism_gateway_restarts_total', () => serving.restarts)
    metrics.source('marketprism_gateway_ring_messages_total', () => [
      { labels: { outcome: 'given' }, value: collector?.sinkCounters.read('gatewayLive') ?? 0 },
      { labels: { outcome: 'dropped' }, value: collector?.sinkCounters.read('gatewayDropped') ?? 0 },
    ])
    this.health.check('completeness', 'gateway', () =>
      serving.isUp ? null : 'the thread of the gateway died and is started anew',
    )
  }

  watchStore(counters: Counters<StoreCounter>): void {
    this.#isStarted = true
    const { metrics } = this
    metrics.source('marketprism_clickhouse_inserts_total', () => counters.read('inserts'))
    metrics.source('marketprism_rows_committed_total', () => counters.read('storedRows'))
    metrics.source('marketprism_clickhouse_in_flight', () => counters.read('inFlight'))
    metrics.source('marketprism_nats_pending_messages', () => counters.read('pending'))
    metrics.source('marketprism_poison_total', () => counters.read('poisoned'))
    metrics.source('marketprism_workers', () => [{ labels: { kind: 'store' }, value: 1 }])
    metrics.source('marketprism_clickhouse_blocks_total', () => counters.read('blocks'))
    metrics.source('marketprism_clickhouse_blocks_found_total', () => counters.read('found'))
    metrics.source('marketprism_store_workers', () => counters.read('workers'))
    metrics.source('marketprism_store_worker_changes_total', () => [
      { labels: { change: 'started' }, value: counters.read('started') },
      { labels: { change: 'ended' }, value: counters.read('ended') },
    ])
    this.#watchBreakers((name) => counters.read(name))
    for (const name of ['clickhouse', 'nats'])
      this.health.dependency(name, () =>
        counters.read('up') === 1 ? { status: 'up' } : { status: 'down', detail: 'see the log' },
      )
  }

  #watchBreakers(read: (name: (typeof BREAKERS)[number][1 | 2]) => number): void {
    this.metrics.source('marketprism_breaker', () =>
      BREAKERS.flatMap(([of, name]) =>
        BREAKER_STATES.map((state, index) => ({ labels: { of, state }, value: read(name) === index ? 1 : 0 })),
      ),
    )
    this.metrics.source('marketprism_breaker_opened_total', () =>
      BREAKERS.map(([of, , name]) => ({ labels: { of }, value: read(name) })),
    )
  }

  watchHops(memories: HopMemories): void {
    const histograms = HOPS.map((hop) => ({ hop, histogram: new Histogram(memories[hop]) }))
    this.metrics.histogram('marketprism_hop_seconds', () =>
      histograms.map(({ hop, histogram }) => latencySample(histogram, { hop })),
    )
  }

  watchCollector(collector: Collector): void {
    this.watchHops(collector.hops)
    this.#isStarted = true
    this.#watchNetwork(collector)
    this.#watchRoster(collector)
    this.#watchShards(collector)
    this.#watchSink(collector)
    this.#watchPressure(collector)
    this.#checkCollector(collector)
    if (collector.storeCounters !== undefined) this.watchStore(collector.storeCounters)
    else this.#watchBreakers((name) => collector.sinkCounters.read(name))
  }

  #watchNetwork(collector: Collector): void {
    const { metrics } = this
    const byMarket = (read: (market: MarketNetwork, key: string) => number) => (): Sample[] =>
      [...collector.network.markets].map(([key, market]) => ({
        labels: marketLabels(market),
        value: read(market, key),
      }))
    const connections = (key: string) =>
      openConnections(collector)
        .filter(({ exchange, market }) => `${exchange}.${market}` === key)
        .map(({ index }) => index)
    metrics.source(
      'marketprism_sockets_planned',
      byMarket((_, key) => connections(key).length),
    )
    metrics.source(
      'marketprism_sockets_open',
      byMarket(({ stats }) => stats.openSockets),
    )
    metrics.source(
      'marketprism_sockets_paused',
      byMarket(
        (_, key) => connections(key).filter((index) => collector.network.connections[index]?.isPaused === true).length,
      ),
    )
    metrics.source(
      'marketprism_connects_total',
      byMarket(({ stats }) => stats.connects),
    )
    metrics.source(
      'marketprism_closes_total',
      byMarket(({ stats }) => stats.closes),
    )
    metrics.source(
      'marketprism_frames_received_total',
      byMarket((_, key) =>
        connections(key).reduce((sum, index) => sum + (collector.network.connections[index]?.frameCount ?? 0), 0),
      ),
    )
    metrics.source('marketprism_rest_requests_total', () =>
      [...collector.network.markets.values()].flatMap((market) => [
        { labels: { ...marketLabels(market), outcome: 'ok' }, value: market.rest.stats.answered },
        { labels: { ...marketLabels(market), outcome: 'failed' }, value: market.rest.stats.failed },
        { labels: { ...marketLabels(market), outcome: 'retried' }, value: market.rest.stats.retried },
      ]),
    )
    metrics.source(
      'marketprism_rest_weight_used',
      byMarket(({ ledger, choice }) => ledger.stats(choice.market).used),
    )
    metrics.source(
      'marketprism_rest_weight_limit',
      byMarket(({ ledger, choice }) => ledger.stats(choice.market).budget),
    )
    metrics.source(
      'marketprism_rest_banned_until_timestamp_seconds',
      byMarket(({ ledger }) => ledger.bannedUntilMs / 1000),
    )
    const byClock = (readMs: (offset: ClockOffset) => number) => (): Sample[] =>
      [...collector.network.clockOffsets].map(([exchange, offset]) => ({
        labels: { exchange },
        value: readMs(offset) / 1000,
      }))
    metrics.source(
      'marketprism_clock_offset_seconds',
      byClock(({ offsetMs }) => offsetMs),
    )
    metrics.source(
      'marketprism_clock_offset_error_seconds',
      byClock(({ rttMs }) => rttMs / 2),
    )
  }

  #watchRoster({ roster, placement, network, repair }: Collector): void {
    const { metrics } = this
    const byMarket = (read: (key: string) => number) => (): Sample[] =>
      [...network.markets].map(([key, market]) => ({ labels: marketLabels(market), value: read(key) }))
    metrics.source(
      'marketprism_instruments',
      byMarket((key) => placement.collected(key).length),
    )
    metrics.source('marketprism_instrument_changes_total', () =>
      [...network.markets].flatMap(([key, market]) => {
        const { added, removed, changed } = roster.stats(key)
        return Object.entries({ added, removed, changed }).map(([change, value]) => ({
          labels: { ...marketLabels(market), change },
          value,
        }))
      }),
    )
    metrics.source(
      'marketprism_universe_failures_total',
      byMarket((key) => roster.stats(key).refreshFailures),
    )
    metrics.source('marketprism_polls_total', () =>
      [...network.markets].flatMap(([key, market]) => {
        const { answered, failed, skipped } = roster.stats(key).polls
        return Object.entries({ ok: answered, failed, skipped }).map(([outcome, value]) => ({
          labels: { ...marketLabels(market), outcome },
          value,
        }))
      }),
    )
    metrics.source('marketprism_repairs_total', () => [
      { labels: { outcome: 'page' }, value: repair.stats.pages },
      { labels: { outcome: 'failed' }, value: repair.stats.failed },
    ])
  }

  #watchShards(collector: Collector): void {
    const { metrics } = this
    const { router, pool, shardCounters } = collector
    const byShard = (read: (shard: number) => number) => (): Sample[] =>
      shardCounters.map((_, shard) => ({ labels: { shard: String(shard) }, value: read(shard) }))
    const shardCounter = (name: ShardCounter) =>
      byShard((shard) => (shardCounters[shard] as Counters<ShardCounter>).read(name))
    metrics.source(
      'marketprism_shard_frames_total',
      byShard((shard) => router.stats[shard]?.frames ?? 0),
    )
    metrics.source(
      'marketprism_shard_bytes_total',
      byShard((shard) => router.stats[shard]?.bytes ?? 0),
    )
    metrics.source(
      'marketprism_frames_lost_total',
      byShard((shard) => router.stats[shard]?.losses ?? 0),
    )
    metrics.source(
      'marketprism_socket_pauses_total',
      byShard((shard) => router.stats[shard]?.pauses ?? 0),
    )
    const rings = { frames: pool.frameRings, batches: pool.batchRings, requests: pool.requestRings }
    const readers = Object.entries(rings).flatMap(([ring, memories]) =>
      memories.map((memory, shard) => ({ labels: { ring, shard: String(shard) }, reader: new RingReader(memory) })),
    )
    metrics.source('marketprism_ring_used_bytes', () =>
      readers.map(({ labels, reader }) => ({ labels, value: reader.fillBytes() })),
    )
    metrics.source('marketprism_ring_capacity_bytes', () =>
      readers.map(({ labels, reader }) => ({ labels, value: reader.capacityBytes })),
    )
    metrics.source('marketprism_workers', () =>
      (['book', 'sink'] as const).map((kind) => ({
        labels: { kind },
        value: collector.workers.filter(({ role, isRunning }) => role === kind && isRunning).length,
      })),
    )
    metrics.source('marketprism_worker_restarts_total', () =>
      (['book', 'sink', 'store'] as const).map((kind) => ({
        labels: { kind },
        value: collector.workers.filter(({ role }) => role === kind).reduce((sum, { restarts }) => sum + restarts, 0),
      })),
    )
    metrics.source('marketprism_books', () =>
      (Object.keys(BOOK_STATES) as BookState[]).map((state) => ({
        labels: { state },
        value: collector.total(`books_${state}`),
      })),
    )
    metrics.source('marketprism_messages_total', shardCounter('messages'))
    metrics.source('marketprism_trades_total', shardCounter('trades'))
    metrics.source('marketprism_updates_applied_total', shardCounter('applied'))
    metrics.source('marketprism_updates_stale_total', shardCounter('stale'))
    metrics.source('marketprism_duplicates_total', shardCounter('duplicates'))
    metrics.source('marketprism_gaps_total', shardCounter('gaps'))
    metrics.source('marketprism_resyncs_total', shardCounter('resyncs'))
    metrics.source('marketprism_snapshots_wanted_total', shardCounter('snapshots_wanted'))
    metrics.source('marketprism_rows_total', shardCounter('rows'))
    metrics.source('marketprism_blocks_total', shardCounter('blocks'))
    metrics.source('marketprism_rejected_total', () =>
      REJECT_REASONS.map((reason) => ({ labels: { reason }, value: collector.total(`rejected_${reason}`) })),
    )
    metrics.source('marketprism_ignored_total', () =>
      IGNORE_REASONS.map((reason) => ({ labels: { reason }, value: collector.total(`ignored_${reason}`) })),
    )
    metrics.source('marketprism_publications_total', () =>
      PUBLISH_OUTCOMES.map((outcome) => ({ labels: { outcome }, value: collector.total(`publish_${outcome}`) })),
    )
  }

  #watchSink(collector: Collector): void {
    const { metrics } = this
    const { sinkCounters: sink } = collector
    metrics.source('marketprism_spool_bytes', () => sink.read('spoolBytes'))
    metrics.source('marketprism_spool_segments', () => sink.read('spoolSegments'))
    metrics.source('marketprism_spool_blocks_total', () => sink.read('blocks'))
    metrics.source('marketprism_spool_fsyncs_total', () => sink.read('fsyncs'))
    metrics.source('marketprism_spool_full_total', () => sink.read('spoolFull'))
    metrics.source('marketprism_spool_blocks_lost_total', () => sink.read('spoolLost') + sink.read('spoolDropped'))
    metrics.source('marketprism_spool_undelivered_blocks', () => sink.read('spoolUnacked'))
    metrics.source('marketprism_spool_uncommitted_blocks', () => sink.read('spoolUncommitted'))
    metrics.source('marketprism_spool_forgotten_blocks_total', () => sink.read('spoolForgotten'))
    metrics.source('marketprism_oldest_uncommitted_seconds', () => sink.read('uncommittedMs') / 1000)
    metrics.source('marketprism_oldest_undelivered_seconds', () => sink.read('lagMs') / 1000)
    metrics.source('marketprism_resent_blocks_total', () => sink.read('resent'))
    metrics.source('marketprism_given_up_blocks_total', () => sink.read('givenUp'))
    metrics.source('marketprism_stream_rollbacks_total', () => sink.read('rollbacks'))
    metrics.histogram('marketprism_spool_fsync_seconds', () => [latencySample(collector.fsyncLatency)])
    metrics.source('marketprism_delivered_blocks_total', () => sink.read('delivered'))
    metrics.source('marketprism_delivery_retries_total', () => sink.read('retries'))
    metrics.source('marketprism_poison_total', () => sink.read('poisoned'))
    metrics.source('marketprism_nats_publish_acks_total', () => sink.read('acks'))
    metrics.source('marketprism_nats_publish_duplicates_total', () => sink.read('duplicateAcks'))
    metrics.source('marketprism_nats_publish_timeouts_total', () => sink.read('ackTimeouts'))
    metrics.source('marketprism_delivery_up', () => sink.read('up'))
    metrics.source('marketprism_delivery_in_flight', () => sink.read('inFlight'))
    metrics.source('marketprism_clickhouse_inserts_total', () => sink.read('inserts'))
    metrics.source('marketprism_rows_committed_total', () => sink.read('insertedRows'))
    metrics.source('marketprism_live_messages_total', () => sink.read('live'))
    metrics.source('marketprism_live_dropped_total', () => sink.read('liveDropped') + collector.total('live_dropped'))
    metrics.histogram('marketprism_live_latency_seconds', () =>
      collector.liveLatencies.map((latency, shard) => latencySample(latency, { shard: String(shard) })),
    )
  }

  #watchPressure({ pressure }: Collector): void {
    this.metrics.source('marketprism_pressure_level', () => pressure.level)
    this.metrics.source('marketprism_shed_total', () =>
      SHED_ORDER.map((what) => ({ labels: { what }, value: pressure.shed[what] })),
    )
    this.health.check('completeness', 'pressure', () => {
      const { level, reasons } = pressure.status()
      return level === 0 ? null : `given up: ${SHED_ORDER.slice(0, level).join(', ')}; ${reasons.join('; ')}`
    })
  }

  #checkCollector(collector: Collector): void {
    const { health } = this
    const { sinkCounters: sink } = collector
    health.check('liveness', 'workers', () => {
      const dead = collector.workers.filter(({ isRunning }) => !isRunning)
      return dead.length === 0 ? null : `${dead.length} worker threads do not run`
    })
    health.check('readiness', 'sockets', () => {
      const open = collector.network.connections.filter(({ state }) => state === 'open').length
      return open > 0 ? null : `none of ${openConnections(collector).length} sockets is open`
    })
    health.check('completeness', 'sockets', () => {
      const open = collector.network.connections.filter(({ state }) => state === 'open').length
      const planned = openConnections(collector).length
      return open === planned ? null : `${open} of ${planned} sockets are open`
    })
    health.check('completeness', 'books', () => {
      const live = collector.total('books_LIVE')
      const wanted = collector.bookCount
      return live >= wanted ? null : `${live} of ${wanted} books are LIVE`
    })
    health.check('completeness', 'delivery', () => {
      const lagMs = sink.read('lagMs')
      return lagMs <= LAG_MS_MAX ? null : `the oldest undelivered block is ${Math.round(lagMs / 1000)} s old`
    })
    health.dependency(this.#delivery === 'jetstream' ? 'nats' : 'clickhouse', () =>
      sink.read('up') === 1
        ? { status: 'up' }
        : { status: 'down', detail: `${sink.read('spoolUnacked')} blocks wait in the spool` },
    )
  }
}

/** Connections of now; one that carries nothing any more is closed for good. */
function openConnections({ placement }: Collector): readonly PlannedConnection[] {
  return placement.connections.filter(({ streams }) => streams.length > 0)
}

function marketLabels({ choice }: MarketNetwork): Record<string, string> {
  return { exchange: choice.exchange, market: choice.market }
}
