/**
 * Every metric of the product, once. Labels are bounded: a label either lists its words (all of them are there from the
 * first scrape, at 0, so that `increase()` sees the first event) or is open and then small by nature (exchange, market,
 * shard). Symbols are never labels: two thousand instruments would be two thousand series a metric; `gaps` and
 * `book_snapshots` have them as rows.
 */
import { BOOK_STATES, GAP_CAUSES, TABLES } from '../record/schema.ts'

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
const TABLE: Labels = { table: [...TABLES.map((table) => table.name), 'blocks'] }
const STATES = Object.keys(BOOK_STATES)
const CAUSES = Object.keys(GAP_CAUSES)

const counter = (help: string, labels: Labels = {}): Typed<'counter'> => ({ type: 'counter', help, labels })
const gauge = (help: string, labels: Labels = {}): Typed<'gauge'> => ({ type: 'gauge', help, labels })
const histogram = (help: string, labels: Labels = {}): Typed<'histogram'> => ({ type: 'histogram', help, labels })

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
  marketprism_sockets_open: gauge(
    'Sockets that exist; equal to planned when all is well, one more while one rotates',
    MARKET,
  ),
  marketprism_sockets_paused: gauge('Sockets not read because a ring is full', MARKET),
  marketprism_connects_total: counter('Connections opened', MARKET),
  marketprism_connect_failures_total: counter('Attempts to connect that failed', MARKET),
  marketprism_closes_total: counter('Connections that closed', MARKET),
  marketprism_frames_received_total: counter('Messages from sockets', MARKET),
  marketprism_received_bytes_total: counter('Payload bytes from sockets', MARKET),
  marketprism_frames_lost_total: counter('Messages that found no room; each loss is a gap row', MARKET),
  marketprism_last_frame_timestamp_seconds: gauge('When the last message came, s since the epoch', MARKET),
  marketprism_rest_requests_total: counter('REST requests', { ...MARKET, outcome: ['ok', 'refused', 'failed'] }),
  marketprism_rest_weight_used: gauge('REST weight used in this minute', MARKET),
  marketprism_rest_weight_limit: gauge('REST weight that we allow ourselves a minute', MARKET),
  marketprism_rest_banned_until_timestamp_seconds: gauge(
    'REST is not used before this time, s since the epoch; 0 = free',
    MARKET,
  ),

  marketprism_ring_used_bytes: gauge('Bytes waiting in a ring', { ring: ['frames', 'batches', 'requests'], ...SHARD }),
  marketprism_ring_capacity_bytes: gauge('Size of a ring', { ring: ['frames', 'batches', 'requests'], ...SHARD }),
  marketprism_workers: gauge('Worker threads that run', { kind: ['book', 'sink', 'store'] }),
  marketprism_worker_restarts_total: counter('Worker threads that were started anew', { cause: ['crashed', 'hung'] }),

  marketprism_books: gauge('Books by state', { state: STATES }),
  marketprism_updates_applied_total: counter('Book updates applied', SHARD),
  marketprism_updates_stale_total: counter('Book updates older than the book', SHARD),
  marketprism_gaps_total: counter('Gaps opened', { cause: CAUSES }),
  marketprism_gaps_open: gauge('Gaps that are not closed'),
  marketprism_snapshots_wanted_total: counter('REST snapshots that books asked for', SHARD),
  marketprism_rejected_total: counter('Frames that could not be read', { reason: null }),
  marketprism_rows_total: counter('Rows made', TABLE),
  marketprism_blocks_total: counter('Blocks sealed', TABLE),

  marketprism_spool_bytes: gauge('Bytes in the spool'),
  marketprism_spool_limit_bytes: gauge('Bytes that the spool may hold'),
  marketprism_spool_segments: gauge('Segment files in the spool'),
  marketprism_spool_blocks_total: counter('Blocks made durable'),
  marketprism_spool_fsyncs_total: counter('Syncs of the spool'),
  marketprism_spool_fsync_errors_total: counter('Syncs that failed; the process stops'),
  marketprism_spool_corrupt_ranges_total: counter('Ranges of the spool that could not be read back'),
  marketprism_oldest_uncommitted_seconds: gauge('Age of the oldest block that is durable here and not yet delivered'),
  marketprism_acceptance_seconds: histogram('Socket receive → durable in the spool'),

  marketprism_nats_connected: gauge('1 while connected to NATS'),
  marketprism_nats_publish_attempts_total: counter('Blocks sent to JetStream, repeats included'),
  marketprism_nats_publish_acks_total: counter('Blocks that JetStream acknowledged'),
  marketprism_nats_publish_duplicates_total: counter('Acknowledged blocks that JetStream had already'),
  marketprism_nats_publish_errors_total: counter('Blocks that JetStream refused or did not answer'),
  marketprism_nats_in_flight: gauge('Blocks that await an acknowledgement'),
  marketprism_nats_pending_messages: gauge('Messages in JetStream that the store has not acknowledged'),
  marketprism_live_messages_total: counter('Messages published on live subjects'),
  marketprism_live_dropped_total: counter('Live messages dropped because NATS could not take them'),
  marketprism_live_latency_seconds: histogram('Socket receive → live message handed to NATS'),

  marketprism_clickhouse_connected: gauge('1 while the last request to ClickHouse was answered'),
  marketprism_clickhouse_inserts_total: counter('Inserts acknowledged'),
  marketprism_clickhouse_insert_errors_total: counter('Inserts that failed', { code: null }),
  marketprism_clickhouse_in_flight: gauge('Inserts that run'),
  marketprism_rows_committed_total: counter('Rows acknowledged by ClickHouse', TABLE),
  marketprism_poison_total: counter('Blocks that can never be stored and were set aside'),

  marketprism_publications_total: counter('Periodic book publications', {
    outcome: ['published', 'unchanged', 'thin', 'old', 'retried', 'failed'],
  }),
  marketprism_publication_delay_seconds: histogram('How late a periodic publication was made'),
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof METRICS
