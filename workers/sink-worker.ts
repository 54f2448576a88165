/**
 * The sink worker: what book workers made leaves the process here.
 *
 *   batch rings ──► BLOCK ──► identity, spool, fdatasync ──► JetStream, or ClickHouse directly
 *              └──► LIVE  ──► gateway and NATS at once, before and independent of all that (sink-live.ts)
 *
 * When the spool has no room the rings are left alone: they fill, the book workers wait, the sockets are paused. At its
 * start it first delivers what the last run left in the spool, under the old identity.
 *
 * Arithmetic: 100,000 rows/s in blocks of 16 k rows and less are 10 to 40 blocks/s of 200 KB: one copy out of the ring
 * (0.05 ms), one checksum (0.1 ms), one write. Live messages, 10,000/s and more, cost about 5 µs each.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { Clock, joinNs } from '../engine/base/clock.ts'
import { Fault } from '../engine/base/fault.ts'
import { createLog, type Log, type LogLevel } from '../engine/base/log.ts'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { writeIdentity } from '../engine/record/block.ts'
import { Counters } from '../engine/ring/counters.ts'
import { BLOCK, DRAINED, LIVE, PUBLICATION, extra, receivedHi, receivedLo } from '../engine/ring/frame.ts'
import { Heartbeat } from '../engine/ring/heartbeat.ts'
import { Histogram } from '../engine/ring/histogram.ts'
import { EventIdle } from '../engine/ring/idle.ts'
import { RingReader } from '../engine/ring/ring.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { COMMIT_QUESTIONS_DEFAULT, CommitQuestions } from '../engine/sinks/commit-questions.ts'
import { Delivery, type DeliveryOptions } from '../engine/sinks/delivery.ts'
import { HopHistograms, type HopMemories, recordHops } from '../engine/sinks/hop-histograms.ts'
import { followBlocks, type HopBook } from '../engine/sinks/hops.ts'
import type { GuardedLetters } from '../engine/sinks/guarded-letters.ts'
import { NatsSink } from '../engine/sinks/nats.ts'
import type { Sink } from '../engine/sinks/sink.ts'
import { openSpool, type Spool, type SpoolOptions } from '../engine/spool/spool.ts'
import { type BlockSinkSettings, breakerCounts, openBlockSink } from './block-sink.ts'
import { downNotice, droppedRange, timesOf } from './down-notice.ts'
import { KeptTime } from './kept-time.ts'
import { holdProducer } from './one-producer.ts'
import { runEventLoop, type SinkSeat } from './loop.ts'
import { SinkLive, type SinkLiveSettings } from './sink-live.ts'
import { Shortage, whenThereIsRoom } from './shortage.ts'
import type { DownNotice } from './shard-connections.ts'

export interface SinkWorkerSettings extends BlockSinkSettings {
  /** whose blocks these are */
  readonly producer: string
  /** age at which book workers seal a batch */
  readonly batchAgeMs: number
  readonly spool: SpoolOptions
  readonly delivery: DeliveryOptions
  readonly live: SinkLiveSettings
  /** memory of the histograms of each hop, for direct delivery */
  readonly hops?: HopMemories
  /** memory of the histogram of fdatasync */
  readonly fsyncLatency: SharedArrayBuffer
  /** time for delivering what is in the spool when the process stops; the rest stays there */
  readonly stopMsMax: number
  readonly logLevel: LogLevel
}

export const SINK_COUNTERS = [
  'blocks',
  'blockBytes',
  'delivered',
  'deliveredBytes',
  'retries',
  'poisoned',
  'inFlight',
  'inFlightBytes',
  'spoolBytes',
  'spoolSegments',
  'spoolHeldBytes',
  'spoolShort',
  'spoolUnacked',
  'spoolFull',
  'spoolDropped',
  'spoolUncommitted',
  'spoolForgotten',
  'resent',
  'givenUp',
  'rollbacks',
  'spoolLost',
  'spoolTornBytes',
  'spoolReadBack',
  'fsyncs',
  'lagMs',
  'uncommittedMs',
  'live',
  'liveBytes',
  'liveDropped',
  'gatewayLive',
  'gatewayDropped',
  'acks',
  'duplicateAcks',
  'ackTimeouts',
  'inserts',
  'insertedRows',
  'marks',
  'breaker',
  'breakerOpened',
  'letterBreaker',
  'letterBreakerOpened',
  'drained',
  'up',
] as const
export type SinkCounter = (typeof SINK_COUNTERS)[number]

/** What the sink worker tells main. */
export type SinkWorkerMessage =
  /** the spool is open; `epoch` is this boot's, `undelivered` blocks of earlier boots go out first */
  | {
      readonly type: 'ready'
      readonly epoch: number
      readonly undelivered: number
      readonly tornBytes: number
      readonly lostBlocks: number
      /** what the runs before this one missed or lost */
      readonly down: DownNotice
    }
  /** readers of live messages want these whole books, `{exchange}.{market}.{symbol}` */
  | { readonly type: 'wanted'; readonly books: readonly string[] }
  /** the spool is full and deletes accepted blocks, as spool.onFull says */
  | { readonly type: 'dropped'; readonly range: DownNotice['lost'][number] }
  /** the disk failed: stop the process; nothing more is accepted */
  | { readonly type: 'fault'; readonly code: string; readonly message: string }
  /** the last word: blocks that stay in the spool for the next start, and blocks that a full or broken disk did not take */
  | { readonly type: 'stopped'; readonly undelivered: number; readonly givenUp: number }

const RECORDS_PER_DRAIN_MAX = 512
const NS_PER_US = 1_000
/** A spool that is smaller than the rings must not wait for ever: half of it may be a segment that is being written. */
const ROOM_SHARE_MAX = 0.25
const FULL_LOOK_MS = 20
const TEND_MS = 100
/** A book worker is this much behind at most, or it is replaced and tells so. */
const WORKER_BEHIND_MS = 2_000

export class SinkWorker {
  readonly spool: Spool
  readonly counters: Counters<SinkCounter>
  readonly #clock: Clock
  readonly readers: readonly RingReader[]
  readonly #delivery: Delivery
  readonly #hops: HopBook
  readonly #histograms: HopHistograms | undefined
  readonly #sink: Sink
  readonly #letters: GuardedLetters
  /** through JetStream only: who asks ClickHouse itself has its answer */
  readonly #questions: CommitQuestions | undefined
  readonly #live: SinkLive
  readonly #epoch: bigint
  readonly #stopMsMax: number
  /** of the spool, before the rings are drained: all that they may hold */
  readonly #roomBytes: number
  #stoppedAtMs: number | undefined
  readonly #shortage: Shortage
  readonly #keptTime: KeptTime
  #drained = 0
  #givenUp = 0

  /** @param producers by boot, whose blocks the spool has of earlier ones */
  constructor(
    seat: SinkSeat<SinkWorkerSettings>,
    spool: Spool,
    producers: ReadonlyMap<number, string>,
    clock: Clock,
    random: Random,
    log: Log,
    onFault: (fault: Fault) => void,
    onWanted: (books: readonly string[]) => void,
  ) {
    const { settings } = seat
    this.spool = spool
    this.counters = new Counters(SINK_COUNTERS, seat.counters)
    this.#clock = clock
    this.#stopMsMax = settings.stopMsMax
    const ringsBytes = seat.batches.reduce((sum, { byteLength }) => sum + byteLength, 0)
    this.#roomBytes = Math.min(ringsBytes, Math.floor(settings.spool.bytesMax * ROOM_SHARE_MAX))
    this.#shortage = new Shortage(settings.spoolDirectory, () => clock.monotonicMs(), log)
    this.#epoch = BigInt(spool.epoch)
    this.#keptTime = new KeptTime(settings.batchAgeMs + WORKER_BEHIND_MS, TEND_MS)
    this.readers = seat.batches.map((memory) => new RingReader(memory))
    const fsyncLatency = new Histogram(settings.fsyncLatency)
    spool.onSync = (tookMs) => fsyncLatency.record(tookMs * 1e6)
    spool.onFault = onFault
    spool.kept.anchorNs = clock.anchorNs
    const dropsBefore = this.counters.read('gatewayDropped')
    const shared = { clock, random, log, recordsMax: RECORDS_PER_DRAIN_MAX, dropsBefore, onWanted }
    this.#live = new SinkLive(settings.live, shared)
    const { sink, letters, link } = openBlockSink(settings, clock, random, log)
    this.#sink = sink
    this.#letters = letters
    this.#delivery = new Delivery(spool, sink, settings.delivery, random, log, letters)
    this.#delivery.start()
    this.#hops = followBlocks(spool, this.#delivery, () => clock.nowNs())
    this.#histograms = settings.hops === undefined ? undefined : new HopHistograms(settings.hops)
    if (sink instanceof ClickHouseSink && settings.hops !== undefined) recordHops(sink, settings.hops)
    if (sink instanceof NatsSink && link !== undefined) {
      const producerOf = (epoch: number): string => producers.get(epoch) ?? settings.producer
      const questions = { ...COMMIT_QUESTIONS_DEFAULT, producerOf }
      this.#questions = new CommitQuestions(link, sink, spool, questions, () => clock.monotonicMs(), log)
      this.#questions.start()
    }
  }

  /** Drains every ring a piece; waits a moment when the spool has no room. */
  doWork(): number | Promise<number> {
    if (this.spool.writerFault !== undefined || this.#reasonToWait() !== '')
      return this.#mustGiveUp() ? this.#giveUp() : sleep(FULL_LOOK_MS, 1)
    let count = 0
    for (let shard = 0; shard < this.readers.length; shard++) {
      count += (this.readers[shard] as RingReader).drain(
        (kind, bytes, offset, length) => this.#take(kind, bytes, offset, length),
        RECORDS_PER_DRAIN_MAX,
      )
      this.#live.endOfDrain(shard)
    }
    if (count === 0) this.#keptTime.empty(this.spool.nextSeq)
    return count
  }

  #reasonToWait(): string {
    return this.spool.shortage(this.#roomBytes)
  }

  /** At the end of the process a spool without room cannot be waited for endlessly, a broken one not at all. */
  #mustGiveUp(): boolean {
    if (!this.readers.every((reader) => reader.isStopped())) return false
    this.#stoppedAtMs ??= this.#clock.monotonicMs()
    return this.spool.writerFault !== undefined || this.#clock.monotonicMs() - this.#stoppedAtMs > this.#stopMsMax
  }

  /** Empties the rings without keeping anything, and counts the blocks. */
  #giveUp(): number {
    let count = 0
    for (const reader of this.readers) {
      count += reader.drain((kind) => {
        if (kind === BLOCK) this.#givenUp++
      }, RECORDS_PER_DRAIN_MAX)
    }
    return count
  }

  #take(kind: number, bytes: Uint8Array, offset: number, length: number): void {
    if (kind === LIVE || kind === PUBLICATION) this.#live.take(kind, bytes, offset, length)
    else if (kind === BLOCK) this.#accept(bytes, offset, length)
    else if (kind === DRAINED) this.#drained++
  }

  #accept(bytes: Uint8Array, offset: number, length: number): void {
    const block = bytes.slice(offset, offset + length)
    this.#hops.sealed(this.spool.nextSeq, joinNs(receivedHi(bytes, offset), receivedLo(bytes, offset)))
    this.#histograms?.ring(extra(bytes, offset) * NS_PER_US)
    writeIdentity(block, this.#epoch, BigInt(this.spool.nextSeq))
    this.spool.append(block)
  }

  /** Housekeeping of the spool, and the counters. */
  async tend(): Promise<void> {
    this.#keptTime.look(this.#clock.nowNs())
    if (this.readers.every((reader) => reader.fillBytes() === 0)) this.#keptTime.empty(this.spool.nextSeq)
    const keptNs = this.#givenUp === 0 ? this.#keptTime.tryTake(this.spool.durableSeq) : undefined
    if (keptNs !== undefined) this.spool.kept.untilNs = keptNs
    if (this.spool.writerFault === undefined) await this.spool.tend(this.#roomBytes)
    this.#shortage.look(this.#reasonToWait(), this.spool.stats.forgottenBlocks)
    this.writeCounters()
  }

  writeCounters(): void {
    const { counters } = this
    const { stats: spool } = this.spool
    const { stats: delivery } = this.#delivery
    const values: Partial<Record<SinkCounter, number>> = {
      blocks: spool.appended,
      blockBytes: spool.appendedBytes,
      delivered: delivery.delivered,
      deliveredBytes: delivery.deliveredBytes,
      retries: delivery.retries,
      poisoned: delivery.poisoned,
      inFlight: delivery.inFlight,
      inFlightBytes: delivery.inFlightBytes,
      spoolBytes: spool.bytes,
      spoolSegments: spool.segments,
      spoolHeldBytes: spool.heldBytes,
      spoolShort: this.#shortage.isThere ? 1 : 0,
      spoolUnacked: spool.unacked,
      spoolFull: spool.fullEvents,
      spoolDropped: spool.droppedBlocks,
      spoolUncommitted: spool.uncommitted,
      spoolForgotten: spool.forgottenBlocks,
      resent: spool.resent,
      uncommittedMs: this.#uncommittedMs(),
      spoolLost: spool.lostBlocks,
      spoolTornBytes: spool.tornBytes,
      spoolReadBack: spool.readBack,
      fsyncs: spool.syncs,
      lagMs: this.#lagMs(),
      drained: this.#drained,
      up: this.#sink.trouble() === undefined ? 1 : 0,
    }
    Object.assign(values, this.#live.values())
    if (this.#sink instanceof NatsSink) {
      const { acks, duplicates, timeouts } = this.#sink.stats
      Object.assign(values, { acks, duplicateAcks: duplicates, ackTimeouts: timeouts })
    }
    if (this.#questions !== undefined) {
      const { givenUp, rollbacks } = this.#questions.stats
      Object.assign(values, { givenUp, rollbacks })
    }
    if (this.#sink instanceof ClickHouseSink) {
      const { inserts, rows, marks } = this.#sink.stats
      Object.assign(values, { inserts, insertedRows: rows, marks })
      Object.assign(values, breakerCounts(this.#sink, this.#letters))
    }
    for (const [name, value] of Object.entries(values)) counters.set(name as SinkCounter, value)
  }

  /** Everything accepted is synced, then delivered as far as time allows; a server that hangs does not hold us beyond it. */
  async stop(msMax: number): Promise<{ undelivered: number; givenUp: number }> {
    const endMs = this.#clock.monotonicMs() + msMax
    const left = () => Math.max(0, endMs - this.#clock.monotonicMs())
    const inTime = (work: Promise<unknown> | undefined) =>
      Promise.race([work, sleep(left(), undefined, { ref: false })])
    await inTime(this.spool.flush().catch(() => undefined))
    await this.#delivery.stop(left())
    await inTime(this.#questions?.stop())
    await inTime(Promise.all([this.#sink.close(), this.#live.close()]).catch(() => undefined))
    this.writeCounters()
    const undelivered = this.spool.stats.unacked
    const unwritten = await this.spool.close()
    return { undelivered: undelivered - unwritten, givenUp: unwritten + this.#givenUp }
  }

  #uncommittedMs(): number {
    const sinceMs = this.spool.uncommittedSinceMs()
    return sinceMs === undefined ? 0 : Math.max(0, this.#clock.nowMs() - sinceMs)
  }

  #lagMs(): number {
    const oldestNs = this.#delivery.oldestReceivedNs()
    return oldestNs === undefined ? 0 : Math.max(0, Number((this.#clock.nowNs() - oldestNs) / 1_000_000n))
  }
}

async function main(seat: SinkSeat<SinkWorkerSettings>): Promise<void> {
  const { settings } = seat
  const port = parentPort as NonNullable<typeof parentPort>
  const tell = (message: SinkWorkerMessage) => port.postMessage(message)
  const log = createLog(settings.logLevel, 'sink')
  const clock = new Clock(seat.anchorNs)
  const random = seededRandom(freshSeed())
  const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)
  let beating = setInterval(() => heartbeat.beat(), seat.idle.beatMs) // a long recovery is no hang
  const taken = (fault: Fault) => tell({ type: 'fault', code: fault.code, message: fault.message })
  const producer = await holdProducer(settings.producer, settings, clock, random, taken)
  const producers = new Map<number, string>()
  const times = (payload: Uint8Array) => timesOf(payload, producers)
  const open = () => openSpool(settings.spoolDirectory, settings.spool, () => clock.nowMs(), times)
  const spool = await whenThereIsRoom(open, settings.spoolDirectory, log).finally(() => clearInterval(beating))
  for (const { firstNs: _from, lastNs: _to, ...lost } of spool.recovery.lost)
    log.error(lost, 'blocks of the spool are damaged and lost')
  const wanted = (books: readonly string[]) => tell({ type: 'wanted', books })
  spool.onDropped = (blocks, fromMs, toMs) => {
    const range = droppedRange(blocks, fromMs - settings.batchAgeMs - WORKER_BEHIND_MS, toMs)
    log.error(`the spool in ${settings.spoolDirectory} is full, so ${range.detail}`)
    tell({ type: 'dropped', range })
  }
  const worker = new SinkWorker(seat, spool, producers, clock, random, log, taken, wanted)
  await worker.tend() // it has looked at the disk before it accepts anything
  tell({
    type: 'ready',
    epoch: spool.epoch,
    undelivered: spool.stats.unacked,
    tornBytes: spool.stats.tornBytes,
    lostBlocks: spool.stats.lostBlocks,
    down: downNotice(spool, settings.batchAgeMs + WORKER_BEHIND_MS, clock),
  })
  const tending = setInterval(() => void worker.tend(), TEND_MS)
  const idle = new EventIdle(seat.idle, worker.readers)
  await runEventLoop(worker.readers, heartbeat, idle, () => worker.doWork())
  beating = setInterval(() => heartbeat.beat(), seat.idle.beatMs) // nor is the last delivery
  tell({ type: 'stopped', ...(await worker.stop(settings.stopMsMax)) })
  await producer.release()
  clearInterval(tending)
  clearInterval(beating)
  idle.close()
  process.exit() // requests to a server that hangs would keep this thread
}

/** What a person must mend (a locked or damaged directory): said once, then this thread waits to be ended. A restart would not help. */
async function tellAndWait(seat: SinkSeat, error: unknown): Promise<void> {
  if (!(error instanceof Fault)) throw error
  parentPort?.postMessage({ type: 'fault', code: error.code, message: error.message } satisfies SinkWorkerMessage)
  const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)
  const readers = seat.batches.map((memory) => new RingReader(memory))
  while (!readers.every((reader) => reader.isStopped())) {
    heartbeat.beat()
    await sleep(seat.idle.beatMs)
  }
}

if (!isMainThread && (workerData as SinkSeat | null)?.role === 'sink') {
  const seat = workerData as SinkSeat<SinkWorkerSettings>
  await main(seat).catch((error: unknown) => tellAndWait(seat, error))
}
