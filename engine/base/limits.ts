/**
 * Bounds of everything that can be set. Nothing here is a target: each bound says where a value stops making sense.
 * The key table (keys.ts) takes its ranges from here; `assertLimits()` checks neighbours against each other.
 */
import { assert } from './assert.ts'

export interface Range {
  readonly min: number
  readonly max: number
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const TIB = 1024 * GIB

/** A shard is one thread with three rings; above 64 the rings alone take a gigabyte at their default sizes. */
export const WORKERS: Range = { min: 1, max: 64 }
/** Below 1 s a garbage collection looks like a hang; above 10 min nobody would notice one. */
export const WORKER_HANG_MS: Range = { min: 1_000, max: 600_000 }

/** Smaller than 64 KiB cannot hold one depth answer; offsets inside a ring are 32-bit, so it ends at 1 GiB. */
export const RING_BYTES: Range = { min: 64 * KIB, max: GIB }
/** Requests are records of 24 bytes and a reason; 4 KiB hold 100 of them. */
export const REQUEST_RING_BYTES: Range = { min: 4 * KIB, max: 16 * MIB }

/** One message of a socket. A futures burst of all levels is below 1 MiB; half a ring is the longest record it takes. */
export const FRAME_PAYLOAD_BYTES: Range = { min: 4 * KIB, max: 64 * MIB }
/** Binance refuses more than 1024 streams on one connection. */
export const STREAMS_A_CONNECTION: Range = { min: 1, max: 1024 }
/** 0 lets the plan decide. One process was planned for 150 sockets; 1000 leaves room below the usual 1024 open files. */
export const CONNECTIONS: Range = { min: 0, max: 1000 }
/** Copies of each connection. Two hide the loss of a socket, three the loss of one while another is rotated; more only cost. */
export const LEGS: Range = { min: 1, max: 3 }
/** 0 is the venue's own limit; tests compress a day into seconds; no venue keeps a socket longer than a day. */
export const CONNECTION_LIFE_S: Range = { min: 0, max: 86_400 }
/** 0 never asks again; a list that is a day old misses a whole day of a new listing. */
export const UNIVERSE_S: Range = { min: 0, max: 86_400 }
/** The venue's whole budget is 1; below 1 % a single snapshot of 250 weight never becomes affordable. */
export const REST_WEIGHT_SHARE: Range = { min: 0.01, max: 1 }
/** Binance spot pings every 20 s, futures every 3 min: a deadline below 1 s is noise, above 15 min the venue cuts first. */
export const SILENCE_MS: Range = { min: 1_000, max: 900_000 }

/** One row a block is legal (tests use it); a block is one message and one insert, so 1 M rows are the far end. */
export const BATCH_ROWS: Range = { min: 1, max: 1_000_000 }
/** 4 KiB is the smallest useful message; nats-server refuses payloads above 64 MiB whatever its settings. */
export const BATCH_BYTES: Range = { min: 4 * KIB, max: 64 * MIB }
/** Age is counted in frame time, which advances in ticks of 50 ms; a minute bounds what a crash can lose. */
export const BATCH_AGE_MS: Range = { min: 1, max: 60_000 }

/** Faster than 100 ms is what book_deltas are for; slower than an hour nobody calls a series of snapshots. */
export const SNAPSHOT_INTERVAL_MS: Range = { min: 100, max: 3_600_000 }
/** 0 writes none. A second is a row of 160 kB a book each second; after a day the deltas in between are too many to fold. */
export const CHECKPOINT_S: Range = { min: 0, max: 86_400 }
/** The venue's snapshot itself ends at 5000 levels a side. */
export const BOOK_DEPTH: Range = { min: 1, max: 5_000 }
export const PUBLISHER_INTERVAL_S: Range = { min: 0.1, max: 3_600 }
/** 0 publishes however few levels there are. */
export const PUBLISHER_LEVELS_MIN: Range = { min: 0, max: 5_000 }
export const PUBLISHER_AGE_S: Range = { min: 1, max: 86_400 }
/** A publication is tried again at the next ticks; after a hundred it is older than the next one. */
export const PUBLISHER_RETRIES: Range = { min: 0, max: 100 }

/** How long a group commit may wait for company: 0 is at once, a second would be most of the delivery time. */
export const FSYNC_DELAY_MS: Range = { min: 0, max: 1_000 }
/** With `interval` a power loss costs this much accepted data; a minute is the far end of sense. */
export const FSYNC_INTERVAL_MS: Range = { min: 10, max: 60_000 }
/** Tests roll segments at 4 KiB; a segment is deleted whole, so 4 GiB already makes freeing space coarse. */
export const SEGMENT_BYTES: Range = { min: 4 * KIB, max: 4 * GIB }
export const SPOOL_BYTES: Range = { min: 64 * KIB, max: 64 * TIB }
/** Kept after delivery, so that sinks that forget can be served again; a week is more than any dedupe window. */
export const SPOOL_RETAIN_S: Range = { min: 0, max: 604_800 }

/** 0 uses the disk to its end; a terabyte kept free is more than any filling takes to be noticed. */
export const FREE_BYTES: Range = { min: 0, max: TIB }

/** Publishes in flight; JetStream gains nothing above a few thousand and memory is window × block bytes. */
export const ACK_WINDOW: Range = { min: 1, max: 4_096 }
export const ACK_TIMEOUT_MS: Range = { min: 100, max: 120_000 }
/** An insert takes seconds; what a killed store held waits for it. */
export const ACK_WAIT_S: Range = { min: 2, max: 3_600 }
/** The server's memory holds every id of this window. It must outlast the longest retry. */
export const DUPLICATE_WINDOW_S: Range = { min: 1, max: 86_400 }
export const STREAM_AGE_HOURS: Range = { min: 1, max: 8_760 }
export const STREAM_BYTES: Range = { min: MIB, max: 64 * TIB }
/** What JetStream allows. */
export const STREAM_REPLICAS: Range = { min: 1, max: 5 }

/** One insert holds one block; more in flight than this only queue in the server. */
export const INSERTS_IN_FLIGHT: Range = { min: 1, max: 64 }
/** A consumer with no worker stores nothing; each worker holds 64 MiB of blocks. */
export const STORE_WORKERS: Range = { min: 1, max: 16 }
export const STORE_PENDING: Range = { min: 0, max: 1_000_000_000 }
/** A second is one look; an hour is no scaling at all. */
export const SCALE_HOLD_S: Range = { min: 1, max: 3_600 }
/** 0 inserts each block at once; a row that waits ten seconds is late for everybody who reads ClickHouse. */
export const MERGE_MS: Range = { min: 0, max: 10_000 }
/** The server remembers so many inserts; fewer than what can be sent again after a crash doubles rows. */
export const DEDUPE_INSERTS: Range = { min: 100, max: 10_000_000 }
/** 0 keeps rows for ever. */
export const TTL_DAYS: Range = { min: 0, max: 36_500 }
export const REQUEST_TIMEOUT_MS: Range = { min: 100, max: 600_000 }

/** 0 takes a free port. */
export const PORT: Range = { min: 0, max: 65_535 }

/** Below one a second the page itself could not start; a gateway answers a few thousand a second. */
export const REQUESTS_PER_SECOND: Range = { min: 1, max: 100_000 }
/** Each holds an answer in memory; ClickHouse is asked by few at once in any case. */
export const REQUESTS_IN_FLIGHT: Range = { min: 1, max: 10_000 }
/** A process has 1024 open files in many places, and more where it is told so. */
export const CLIENT_CONNECTIONS: Range = { min: 1, max: 100_000 }

/** A pattern costs some 200 bytes; with wildcards one says more than a million without. */
export const SUBSCRIPTIONS: Range = { min: 1, max: 100_000 }
/** A person types slower, a program that needs more sends several patterns at once. */
export const CLIENT_MESSAGES: Range = { min: 1, max: 10_000 }
/** Below 64 KiB a whole book does not fit; above 64 MiB a handful of clients that do not read take the memory. */
export const CLIENT_QUEUE_BYTES: Range = { min: 64 * KIB, max: 64 * MIB }
/** One second is a garbage collection of the client; after five minutes nobody calls it live. */
export const STALL_S: Range = { min: 1, max: 300 }
/** 0 keeps none; offsets inside are 32-bit. */
export const RESUME_BYTES: Range = { min: 0, max: 4 * GIB - 1 }

/** A record of a ring is at most half the ring, less its head of 24 bytes. */
export const RING_RECORD_BYTES_MAX = (ringBytes: number): number => ringBytes / 2 - 24

/** Relations between bounds that would make the ranges above contradict each other. */
export function assertLimits(): void {
  assert(
    FRAME_PAYLOAD_BYTES.min < RING_RECORD_BYTES_MAX(RING_BYTES.min),
    'the smallest ring holds the smallest frame bound',
  )
  assert(BATCH_BYTES.min < RING_RECORD_BYTES_MAX(RING_BYTES.min), 'the smallest ring holds the smallest block bound')
  assert(SEGMENT_BYTES.min < SPOOL_BYTES.min, 'the smallest spool holds more than one segment of the smallest size')
  assert(DUPLICATE_WINDOW_S.max * 1000 > ACK_TIMEOUT_MS.max, 'a duplicate window can outlast an ack timeout')
}
