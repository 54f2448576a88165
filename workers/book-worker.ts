import { parentPort, workerData } from 'node:worker_threads'
import { Clock, joinNs } from '../engine/base/clock.ts'
import { Counters } from '../engine/ring/counters.ts'
import { DRAIN, TICK } from '../engine/ring/frame.ts'
import { Heartbeat } from '../engine/ring/heartbeat.ts'
import { awaitRoom } from '../engine/ring/idle.ts'
import { RingReader, RingWriter } from '../engine/ring/ring.ts'
import { runLoop } from './loop.ts'
import type { BookSeat } from './loop.ts'
import type { RejectedFrame } from './rejected-frames.ts'
import { createShard } from './shard.ts'
import type { BookShardSettings } from './shard-settings.ts'
import { SHARD_COUNTERS } from './shard-counters.ts'
import { summarise } from './shard-summary.ts'
import type { ShardSummary } from './shard-summary.ts'

/** Thread entry of a book worker: frames of its ring through the shard. */
export interface BookWorkerSettings {
  shard: BookShardSettings
  /** Post a BookWorkerReport after each DRAIN (replay, tests). */
  reportOnDrain: boolean
  /** Post a RejectedReport now and then when there are frames that could not be read. */
  tellsRejected?: boolean
}

export interface BookWorkerReport {
  workerIndex: number
  summary: ShardSummary
}

export interface RejectedReport {
  rejected: readonly RejectedFrame[]
}

/** Bounds the time between two turns of the loop: 1,024 frames of 1 µs to 5 µs. */
const FRAMES_PER_CYCLE_MAX = 1024
/** A start is hundreds of whole books, a millisecond each and more: the heart also beats by what was read. */
const BYTES_PER_BEAT = 64 * 1024
/** A second: a venue gone mad makes 64 kept frames of it, whatever it sends. */
const TICKS_PER_REJECTED_REPORT = 20

const seat = workerData as BookSeat<BookWorkerSettings>
const inbox = new RingReader(seat.frames)
const batches = new RingWriter(seat.batches)
const requests = new RingWriter(seat.requests)
const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)

const shard = createShard(seat.settings.shard, batches, requests, new Counters(SHARD_COUNTERS, seat.counters), () =>
  awaitRoom(batches, () => heartbeat.beat()),
)
shard.useClock(new Clock(seat.anchorNs))
if (seat.restart !== undefined) {
  const { reason, sinceHi, sinceLo, framesLost, lives } = seat.restart
  // what the dead worker had read but not sealed is up to one batch age older than its last sign of life
  const sinceNs = joinNs(sinceHi, sinceLo) - BigInt(seat.settings.shard.batch.ageMsMax) * 1_000_000n
  const detail = `worker ${reason}, ${framesLost} frames thrown away`
  shard.restarted(Number(sinceNs >> 32n), Number(sinceNs & 0xffffffffn), detail, lives)
}

let ticks = 0

function tellRejected(): void {
  const rejected = shard.rejected.takeNew()
  if (rejected.length > 0) parentPort?.postMessage({ rejected } satisfies RejectedReport)
}

let bytesSinceBeat = 0

function onFrame(kind: number, bytes: Uint8Array, offset: number, length: number): void {
  shard.onFrame(kind, bytes, offset, length)
  bytesSinceBeat += length
  if (bytesSinceBeat > BYTES_PER_BEAT) {
    heartbeat.beat()
    bytesSinceBeat = 0
  }
  if (kind === TICK || kind === DRAIN) {
    if (seat.settings.tellsRejected === true && (kind === DRAIN || ++ticks % TICKS_PER_REJECTED_REPORT === 0))
      tellRejected()
  }
  if (kind === DRAIN && seat.settings.reportOnDrain) {
    const report: BookWorkerReport = { workerIndex: seat.workerIndex, summary: summarise(shard) }
    parentPort?.postMessage(report)
  }
}

runLoop(inbox, heartbeat, seat.idle, () => {
  const frames = inbox.drain(onFrame, FRAMES_PER_CYCLE_MAX)
  if (frames > 0) shard.endOfDrain()
  return frames
})
