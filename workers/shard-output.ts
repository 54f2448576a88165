import type { Stamp } from '../engine/base/clock.ts'
import type { OrderedOutput } from '../engine/book/live-books.ts'
import type { OpenBlock } from '../engine/record/block.ts'
import { LiveRows } from '../engine/record/live.ts'
import type { InstrumentName, LiveOutput } from '../engine/record/live.ts'
import type { FrameTime } from '../engine/record/recorder.ts'
import { BLOCK, DRAINED, LIVE, PUBLICATION } from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import type { ShardCounts } from './shard-counters.ts'
import type { BookShardSettings } from './shard-settings.ts'

const NOTHING = new Uint8Array(0)
/** The moment, by the machine's clock and by that of the frame in hand: how long it lay in the ring. */
export interface Moment {
  readonly hi: number
  readonly lo: number
  readonly waitedUs: number
}
const NO_MOMENT: Moment = { hi: 0, lo: 0, waitedUs: 0 }
const WAITED_US_MAX = 2 ** 32 - 1

/** @param frame when the frame in hand was received */
export function momentOf(now: Stamp, frame: FrameTime): Moment {
  const waitedNs = (now.hi - frame.hi) * 2 ** 32 + ((now.lo >>> 0) - (frame.lo >>> 0))
  return { hi: now.hi, lo: now.lo, waitedUs: Math.min(WAITED_US_MAX, Math.max(0, Math.round(waitedNs / 1_000))) }
}

/** The length of the subject. */
const SUBJECT_HEAD_BYTES = 2

/**
 * The shard's side of the batch ring. Blocks must get through: with no room the worker waits, and the frame ring behind
 * it fills. Live messages may not hold anything up: with no room they are dropped and counted.
 */
export class ShardOutput implements OrderedOutput {
  readonly messageBytesMax: number
  /** for whole books of the publisher */
  readonly publications: LiveOutput = { send: (...message) => this.#sendAs(PUBLICATION, ...message) }
  readonly #batches: RingWriter
  readonly #counts: ShardCounts
  readonly #awaitRoom: () => boolean
  readonly #nameOf: (instrument: number) => InstrumentName
  readonly #run: string
  #now: () => Moment = () => NO_MOMENT
  readonly #live = new Map<OpenBlock, LiveRows>()
  readonly #deltas: LiveRows[] = []
  /** Blocks and messages are put together here, in unshared memory, and copied into the ring once, by words. */
  #scratch = new Uint8Array(1 << 16)

  constructor(
    batches: RingWriter,
    counts: ShardCounts,
    awaitRoom: () => boolean,
    nameOf: (instrument: number) => InstrumentName,
    { run, liveBytesMax }: BookShardSettings,
  ) {
    this.#batches = batches
    this.#counts = counts
    this.#awaitRoom = awaitRoom
    this.#nameOf = nameOf
    this.#run = run
    this.messageBytesMax = Math.min(liveBytesMax, batches.payloadBytesMax - SUBJECT_HEAD_BYTES)
  }

  /** When a block is encoded, for the histograms of its way; a worker that is replayed has no clock. */
  useMoments(now: () => Moment): void {
    this.#now = now
  }

  /** From now on the rows of this block go out live too. */
  followLive(block: OpenBlock): void {
    const { liveType, name } = block.table
    if (liveType === null) return
    const rows = new LiveRows(block, this.#run, this.#nameOf, this)
    this.#live.set(block, rows)
    if (name === 'book_deltas') this.#deltas.push(rows)
  }

  /** A full block; its rows go out live first. */
  block(block: OpenBlock): void {
    this.#live.get(block)?.flush()
    this.#reserve(block.sealedBytesMax())
    const length = block.encodeInto(this.#scratch, 0)
    if (!this.#write(BLOCK, this.#scratch.subarray(0, length), this.#now())) return
    this.#counts.add('blocks', 1)
    this.#counts.add('block_bytes', length)
    this.#counts.add('rows', block.rows)
  }

  flushDeltas(): void {
    for (const rows of this.#deltas) rows.flush()
  }

  send(...message: Parameters<LiveOutput['send']>): boolean {
    return this.#sendAs(LIVE, ...message)
  }

  #sendAs(
    kind: typeof LIVE | typeof PUBLICATION,
    subject: Uint8Array,
    hi: number,
    lo: number,
    encode: (bytes: Uint8Array, offset: number) => number,
    bytesMax: number,
  ): boolean {
    const headBytes = SUBJECT_HEAD_BYTES + subject.length
    this.#reserve(headBytes + bytesMax)
    const bytes = this.#scratch
    bytes[0] = subject.length & 0xff
    bytes[1] = subject.length >> 8
    bytes.set(subject, SUBJECT_HEAD_BYTES)
    const length = headBytes + encode(bytes, headBytes)
    const isSent =
      length <= this.#batches.payloadBytesMax && this.#batches.tryWrite(kind, 0, 0, 0, hi, lo, bytes, 0, length)
    this.#counts.add(isSent ? 'live_sent' : 'live_dropped', 1)
    return isSent
  }

  endOfDrain(): void {
    for (const rows of this.#live.values()) rows.flush()
    this.#batches.publish()
  }

  drained(): void {
    this.endOfDrain()
    this.#write(DRAINED, NOTHING)
    this.#batches.publish()
  }

  /** Waits for room as long as the other side lives. */
  #write(kind: number, payload: Uint8Array, { hi, lo, waitedUs }: Moment = NO_MOMENT): boolean {
    while (!this.#batches.tryWrite(kind, 0, 0, waitedUs, hi, lo, payload)) {
      this.#batches.publish()
      if (!this.#awaitRoom()) return false
    }
    return true
  }

  #reserve(bytes: number): void {
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(2 ** Math.ceil(Math.log2(bytes)))
  }
}
