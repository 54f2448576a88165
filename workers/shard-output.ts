import type { OpenBlock } from '../engine/record/block.ts'
import { LiveRows } from '../engine/record/live.ts'
import type { InstrumentName, LiveOutput } from '../engine/record/live.ts'
import { BLOCK, DRAINED, LIVE } from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import type { ShardCounts } from './shard-counters.ts'

const NOTHING = new Uint8Array(0)

/**
 * The shard's side of the batch ring. Blocks must get through: with no room the worker waits, and the frame ring behind
 * it fills. Live messages may not hold anything up: with no room they are dropped and counted.
 */
export class ShardOutput implements LiveOutput {
  readonly #batches: RingWriter
  readonly #counts: ShardCounts
  readonly #awaitRoom: () => boolean
  readonly #nameOf: (instrument: number) => InstrumentName
  readonly #live = new Map<OpenBlock, LiveRows>()
  /** Blocks and messages are put together here, in unshared memory, and copied into the ring once, by words. */
  #scratch = new Uint8Array(1 << 16)

  constructor(
    batches: RingWriter,
    counts: ShardCounts,
    awaitRoom: () => boolean,
    nameOf: (instrument: number) => InstrumentName,
  ) {
    this.#batches = batches
    this.#counts = counts
    this.#awaitRoom = awaitRoom
    this.#nameOf = nameOf
  }

  /** From now on the rows of this block go out live too. */
  followLive(block: OpenBlock): void {
    if (block.table.liveType !== null) this.#live.set(block, new LiveRows(block, this.#nameOf, this))
  }

  /** A full block; its rows go out live first. */
  block(block: OpenBlock): void {
    this.#live.get(block)?.flush()
    this.#reserve(block.sealedBytesMax())
    const length = block.encodeInto(this.#scratch, 0)
    if (!this.#write(BLOCK, this.#scratch.subarray(0, length))) return
    this.#counts.add('blocks', 1)
    this.#counts.add('block_bytes', length)
    this.#counts.add('rows', block.rows)
  }

  send(
    subject: string,
    hi: number,
    lo: number,
    encode: (bytes: Uint8Array, offset: number) => number,
    bytesMax: number,
  ): boolean {
    const headBytes = 2 + subject.length
    this.#reserve(headBytes + bytesMax)
    const bytes = this.#scratch
    bytes[0] = subject.length & 0xff
    bytes[1] = subject.length >> 8
    for (let index = 0; index < subject.length; index++) bytes[2 + index] = subject.charCodeAt(index)
    const length = headBytes + encode(bytes, headBytes)
    const isSent =
      length <= this.#batches.payloadBytesMax && this.#batches.tryWrite(LIVE, 0, 0, 0, hi, lo, bytes, 0, length)
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
  #write(kind: number, payload: Uint8Array): boolean {
    while (!this.#batches.tryWrite(kind, 0, 0, 0, 0, 0, payload)) {
      this.#batches.publish()
      if (!this.#awaitRoom()) return false
    }
    return true
  }

  #reserve(bytes: number): void {
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(2 ** Math.ceil(Math.log2(bytes)))
  }
}
