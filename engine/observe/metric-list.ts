/**
 * Every metric of the product, once. Labels are bounded: a label either lists its words (all of them are there from the
 * first scrape, at 0, so that `increase()` sees the first event) or is open and then small by nature (exchange, market,
 * shard). Symbols are never labels: two thousand instruments would be two thousand series a metric; `gaps` and
 * `book_snapshots` have them as rows.
 */
import { PUBLISH_OUTCOMES } from '../book/publisher.ts'
import { IGNORE_REASONS, REJECT_REASONS } from '../record/emit.ts'
import { BOOK_STATES } from '../record/schema.ts'

export type MetricType = 'counter' | 'gauge' | 'histogram'

/** Words of a label, or null when it is open. */
export type Labels = Readonly<Record<string, readonly string[] | null>>

export interface MetricSpec {
  readonly type: MetricType
  readonly help: string
  readonly labels: Labels
}

type Typed<Type extends MetricType> = MetricSpec & { readonly type: Type }

const MARKET: Labels = { exchange: null, market: null }
const SHARD: Labels = { shard: null }
const WORKER: Labels = { kind: ['book', 'sink', 'store'] }
const STATES = Object.keys(BOOK_STATES)
const BREAKERS = ['clickhouse', 'deadLetters']

const counter = (help: string, labels: Labels = {}): Typed<'counter'> => ({ type: 'counter', help, labels })
const gauge = (help: string, labels: Labels = {}): Typed<'gauge'> => ({ type: 'gauge', help, labels })
const histogram = (help: string, labels: Labels = {}): Typed<'histogram'> => ({ type: 'histogram', help, labels })

/** Why the gateway turns a request away at its door. */
export const GATEWAY_REFUSALS = [
  'url',
  'headers',
  'host',
  'origin',
  'rate',
  'in_flight',
  'overload',
  'key',
  'scope',
  'connections',
  'malformed',
] as const

export const METRICS = {
  marketprism_build_info: gauge('Always 1; the version is the label', { version: null }),
  marketprism_start_time_seconds: gauge('When the process started, s since the epoch'),
  marketprism_cpu_seconds_total: counter('CPU time of all threads', { mode: ['user', 'system'] }),
  marketprism_resident_memory_bytes: gauge('RSS of the process'),
  marketprism_heap_used_bytes: gauge('JavaScript heap in use on the main thread'),
  marketprism_external_memory_bytes: gauge('Memory of buffers outside the heap'),
  marketprism_open_fds: gauge('Open file descriptors; absent where the system does not tell'),
  marketprism_eventloop_delay_seconds: gauge('Delay of the main event loop since the last scrape', {
    quantile: ['0.5', '0.99', '1'],
  }),
  marketprism_metric_source_errors_total: counter('Reads of a metric source that failed'),

  marketprism_sockets_planned: gauge('Connections that the plan asks for', MARKET),
  marketprism_sockets_open: gauge('Sockets that exist; never more than planned', MARKET),
  marketprism_sockets_paused: gauge('Sockets not read because a ring is full', MARKET),
  marketprism_connects_total: counter('Connection attempts', MARKET),
  marketprism_closes_total: counter('Connections that closed, or never opened', MARKET),
  marketprism_frames_received_total: counter('Messages of data from sockets', MARKET),
  marketprism_rest_requests_total: counter('REST requests', { ...MARKET, outcome: ['ok', 'failed', 'retried'] }),
  marketprism_rest_weight_used: gauge('REST weight used in this minute', MARKET),
  marketprism_rest_weight_limit: gauge('REST weight that we allow ourselves a minute', MARKET),
  marketprism_rest_banned_until_timestamp_seconds: gauge(
    'REST is not used before this time, s since the epoch; 0 = free',
    MARKET,
  ),

  marketprism_clock_offset_seconds: gauge("The venue's clock minus ours, when last asked", { exchange: null }),
  marketprism_clock_offset_error_seconds: gauge('The offset is wrong by at most this', { exchange: null }),

  marketprism_instruments: gauge('Instruments that are collected', MARKET),
  marketprism_instrument_changes_total: counter('Instruments that came, went or changed while running', {
    ...MARKET,
    change: ['added', 'removed', 'changed'],
  }),
  marketprism_universe_failures_total: counter('Times the instruments of a market could not be chosen again', MARKET),
  marketprism_polls_total: counter('Polls of what only REST has; skipped: the one before was still under way', {
    ...MARKET,
    outcome: ['ok', 'failed', 'skipped'],
  }),
  marketprism_pressure_level: gauge('Overload: 1 backfill waits, 2 the gateway serves less, too, 3 no candles either'),
  marketprism_shed_total: counter('Times that something was given up for want of strength', {
    what: ['backfill', 'gateway', 'candles'],
  }),
  marketprism_repairs_total: counter('Missing trades asked for by number', { outcome: ['page', 'failed'] }),

  marketprism_shard_frames_total: counter('Messages put into the frame ring', SHARD),
  marketprism_shard_bytes_total: counter('Bytes of messages put into the frame ring', SHARD),
  marketprism_frames_lost_total: counter('Messages that found no room; each loss is a gap row', SHARD),
  marketprism_socket_pauses_total: counter('Times a socket was paused because the ring was full', SHARD),
  marketprism_ring_used_bytes: gauge('Bytes waiting in a ring', { ring: ['frames', 'batches', 'requests'], ...SHARD }),
  marketprism_ring_capacity_bytes: gauge('Size of a ring', { ring: ['frames', 'batches', 'requests'], ...SHARD }),
  marketprism_workers: gauge('Worker threads that run', WORKER),
  marketprism_worker_restarts_total: counter('Worker threads that were started anew', WORKER),

  marketprism_books: gauge('Books by state', { state: STATES }),
  marketprism_messages_total: counter('Messages that book workers read', SHARD),
  marketprism_trades_total: counter('Trades', SHARD),
  marketprism_updates_applied_total: counter('Book updates applied', SHARD),
  marketprism_updates_stale_total: counter('Book updates older than the snapshot that anchored the book', SHARD),
  marketprism_duplicates_total: counter('Messages that had come already; dropped', SHARD),
  marketprism_gaps_total: counter('Gaps opened; each is a row of gaps', SHARD),
  marketprism_resyncs_total: counter('Books that had to be anchored again', SHARD),
  marketprism_snapshots_wanted_total: counter('REST snapshots that books asked for', SHARD),
  marketprism_rejected_total: counter('Messages that could not be read', { reason: [...REJECT_REASONS] }),
  marketprism_ignored_total: counter('Messages that are understood and not wanted', { reason: [...IGNORE_REASONS] }),
  marketprism_rows_total: counter('Rows made', SHARD),
  marketprism_blocks_total: counter('Blocks sealed', SHARD),

  marketprism_spool_bytes: gauge('Bytes in the spool'),
  marketprism_spool_limit_bytes: gauge('Bytes that the spool may hold'),
  marketprism_spool_segments: gauge('Segment files in the spool'),
  marketprism_spool_blocks_total: counter('Blocks appended to the spool'),
  marketprism_spool_undelivered_blocks: gauge('Blocks in the spool that are not delivered'),
  marketprism_spool_fsyncs_total: counter('Syncs of the spool'),
  marketprism_spool_fsync_seconds: histogram('Time of one sync of the spool'),
  marketprism_spool_full_total: counter('Times the spool was full'),
  marketprism_spool_blocks_lost_total: counter('Blocks lost: damaged on disk, or dropped because the spool was full'),
  marketprism_spool_uncommitted_blocks: gauge('Blocks in the spool that are not known to be stored'),
  marketprism_spool_forgotten_blocks_total: counter(
    'Delivered blocks that had to be deleted for room before anybody said that they are stored',
  ),
  marketprism_oldest_uncommitted_seconds: gauge(
    'Age of the oldest block that is durable here and not known to be stored',
  ),
  marketprism_oldest_undelivered_seconds: gauge('Age of the oldest row that is on its way out of the spool'),
  marketprism_resent_blocks_total: counter('Blocks sent again because JetStream lost what it had acknowledged'),
  marketprism_given_up_blocks_total: counter(
    'Blocks that were not stored however often they were sent; see dead letters',
  ),
  marketprism_stream_rollbacks_total: counter('Times the block stream ended before what it had acknowledged'),

  marketprism_delivered_blocks_total: counter('Blocks that JetStream, or ClickHouse directly, has taken'),
  marketprism_delivery_retries_total: counter('Blocks sent again'),
  marketprism_delivery_up: gauge(
    '1 while those behind the spool take blocks; 0 also when they are connected and do not acknowledge',
  ),
  marketprism_delivery_in_flight: gauge('Blocks that await an acknowledgement'),
  marketprism_nats_publish_acks_total: counter('Blocks that JetStream acknowledged'),
  marketprism_nats_publish_duplicates_total: counter('Acknowledged blocks that JetStream had already'),
  marketprism_nats_publish_timeouts_total: counter('Blocks that JetStream did not answer in time'),
  marketprism_nats_pending_messages: gauge('Blocks in JetStream that the store has not fetched'),
  marketprism_live_messages_total: counter('Messages published on live subjects'),
  marketprism_live_dropped_total: counter('Live messages dropped: no room, or NATS away'),
  marketprism_live_latency_seconds: histogram('Socket receive → live message handed to NATS or the gateway', {
    shard: null,
  }),

  marketprism_hop_seconds: histogram(
    'Way of blocks: exchange → socket, → sealed, → on disk, → published, → store, → row',
    {
      hop: ['exchange', 'ring', 'encode', 'handover', 'spool', 'publish', 'broker', 'store', 'total'],
    },
  ),
  marketprism_clickhouse_inserts_total: counter('Inserts acknowledged'),
  marketprism_clickhouse_blocks_total: counter('Blocks stored; several share an insert'),
  marketprism_clickhouse_blocks_found_total: counter('Blocks that came again and were there'),
  marketprism_breaker: gauge('1 for the state of the circuit breaker in front of this server', {
    of: BREAKERS,
    state: ['closed', 'half-open', 'open'],
  }),
  marketprism_breaker_opened_total: counter('Times that it was left alone after failures in a row', { of: BREAKERS }),
  marketprism_store_workers: gauge('Workers of the consumers of the block stream'),
  marketprism_store_worker_changes_total: counter('Workers of consumers that came and went with the backlog', {
    change: ['started', 'ended'],
  }),
  marketprism_clickhouse_in_flight: gauge('Blocks on their way into ClickHouse'),
  marketprism_rows_committed_total: counter('Rows acknowledged by ClickHouse'),
  marketprism_poison_total: counter('Blocks that can never be stored and were set aside'),

  marketprism_publications_total: counter('What became of each book at each interval of the periodic publisher', {
    outcome: [...PUBLISH_OUTCOMES],
  }),

  marketprism_gateway_requests_total: counter('Requests answered, by route and kind of status', {
    route: null,
    status: ['2xx', '3xx', '4xx', '5xx'],
  }),
  marketprism_gateway_request_seconds: histogram('Request → whole answer', { kind: ['history', 'other'] }),
  marketprism_gateway_up: gauge('1 while the gateway of this process listens'),
  marketprism_gateway_restarts_total: counter('Threads of the gateway that were started in the place of dead ones'),
  marketprism_gateway_ring_messages_total: counter(
    'Live messages for the gateway of this process: given to it, or dropped because it is too slow',
    { outcome: ['given', 'dropped'] },
  ),
  marketprism_gateway_in_flight: gauge('Requests under way'),
  marketprism_gateway_refused_total: counter('Requests turned away at the door', { reason: GATEWAY_REFUSALS }),
  marketprism_gateway_questions_total: counter('Questions to ClickHouse', { outcome: ['ok', 'failed'] }),
  marketprism_gateway_questions_in_flight: gauge('Questions to ClickHouse under way'),
  marketprism_gateway_clients: gauge('WebSocket clients'),
  marketprism_gateway_queued_bytes: gauge('Bytes that wait for WebSocket clients'),
  marketprism_gateway_frames_sent_total: counter('Frames sent to WebSocket clients'),
  marketprism_gateway_conflated_total: counter('Updates folded into newer ones for slow clients'),
  marketprism_gateway_evicted_total: counter('WebSocket clients closed because they did not read'),
  marketprism_gateway_live_messages_total: counter('Live messages that reached the gateway'),
  marketprism_gateway_live_lost_total: counter('Live messages that the gateway knows it did not get'),
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof METRICS
