/**
 * One frame ring as the main thread sees it, and the short queue before it.
 *
 *   sockets ─► [ overflow: what found no room, oldest first ] ─► ring ─► book worker
 *
 * The queue is normally empty. It fills when the ring refuses: a paused socket still delivers what it had read already.
 *
 * Invariants
 *   1. One order: while the queue holds anything, everything goes through it.
 *   2. DATA in the queue is bounded in frames and bytes. What is beyond is lost, counted, and stands in the queue as one
 *      LOSS entry a connection and generation. While that entry waits, all further DATA of the connection joins it: one
 *      hole with clear edges instead of many.
 *   3. Control frames are never lost. There are few: a handful a connection, snapshots as many as the REST weight allows,
 *      and TICKs that find a TICK at the end of the queue only move its time.
 */
import type { Stamp } from '../base/clock.ts'
import { assert } from '../base/assert.ts'
import { type DiscardedFrames, discardFrames } from '../ring/discard.ts'
import { CLOSE, DATA, LOSS, POLL, SNAPSHOT, SNAPSHOT_FAILED, TICK, TRADES, TRADES_FAILED } from '../ring/frame.ts'
import { RingWriter } from '../ring/ring.ts'

export interface OverflowBounds {
  readonly framesMax: number
  readonly bytesMax: number
}

/** Frames and bytes are those handed to the lane; lost ones included. */
export interface LaneStats {
  frames: number
  bytes: number
  /** DATA frames lost, all reasons */
  losses: number
  /** … of these, longer than half the ring */
  oversized: number
  /** LOSS frames written */
  lossFrames: number
  /** frames that had to wait in the queue */
  overflowed: number
  pauses: number
  publishes: number
  /** highest fill of the ring seen at the end of a burst */
  fillBytesMax: number
  /** times the ring was cleared because its worker died, and frames that went with it */
  restarts: number
  restartLosses: number
}

interface Waiting {
  readonly kind: number
  readonly source: number
  readonly generation: number
  extra: number
  hi: number
  lo: number
  readonly payload: Uint8Array
}

const NO_PAYLOAD = new Uint8Array(0)
const SOURCES_MAX = 65_536 // SOURCE is a u16
const CUT_FRAMES_MIN = 1024
const TOO_LONG = new TextEncoder().encode('answer is longer than half the ring')

/** Not `slice()`: on a Buffer that is a view. */
function copyOf(payload: Uint8Array): Uint8Array {
  return new Uint8Array(payload)
}

function lossKey(source: number, generation: number): number {
  return generation * SOURCES_MAX + source
}

export class Lane {
  readonly index: number
  readonly capacityBytes: number
  readonly stats: LaneStats
  readonly #memory: SharedArrayBuffer
  readonly #ring: RingWriter
  readonly #bounds: OverflowBounds
  /** a longer frame is a loss */
  readonly payloadBytesMax: number
  readonly #losses = new Map<number, Waiting>()
  #queue: Waiting[] = []
  #queueHead = 0
  #queuedDataCount = 0
  #queuedDataBytes = 0

  constructor(index: number, memory: SharedArrayBuffer, bounds: OverflowBounds) {
    this.index = index
    this.#memory = memory
    this.#ring = new RingWriter(memory)
    this.#bounds = bounds
    this.payloadBytesMax = this.#ring.payloadBytesMax
    this.capacityBytes = this.#ring.capacityBytes
    this.stats = {
      frames: 0,
      bytes: 0,
      losses: 0,
      oversized: 0,
      lossFrames: 0,
      overflowed: 0,
      pauses: 0,
      publishes: 0,
      fillBytesMax: 0,
      restarts: 0,
      restartLosses: 0,
    }
  }

  get isOverflowing(): boolean {
    return this.#queueHead < this.#queue.length
  }

  /** The hot path: one message of a socket. @returns false when it had to wait or was lost. */
  tryData(source: number, generation: number, at: Stamp, payload: Uint8Array): boolean {
    this.stats.frames++
    this.stats.bytes += payload.length
    if (
      this.#queue.length === 0 &&
      payload.length <= this.payloadBytesMax &&
      this.#ring.tryWrite(DATA, source, generation, 0, at.hi, at.lo, payload)
    ) {
      return true
    }
    return this.#deferData(source, generation, at, payload)
  }

  /** OPEN, CLOSE, SNAPSHOT, TICK …: in order with the data, never lost. */
  control(
    kind: number,
    source: number,
    generation: number,
    extra: number,
    at: Stamp,
    payload: Uint8Array = NO_PAYLOAD,
  ): void {
    if (payload.length > this.payloadBytesMax) {
      if (kind === SNAPSHOT) {
        this.control(SNAPSHOT_FAILED, source, generation, extra, at, TOO_LONG)
        return
      }
      if (kind === TRADES) {
        this.control(TRADES_FAILED, source, generation, extra, at, TOO_LONG)
        return
      }
      if (kind === POLL) {
        this.stats.oversized++ // the next poll brings the newer value
        return
      }
      assert(
        kind === CLOSE || kind === SNAPSHOT_FAILED || kind === TRADES_FAILED,
        `frame of kind ${kind} is longer than half the ring`,
      )
      payload = payload.subarray(0, this.payloadBytesMax) // a reason: its beginning is enough
    }
    if (this.#queue.length === 0 && this.#ring.tryWrite(kind, source, generation, extra, at.hi, at.lo, payload)) {
      return
    }
    const last = this.#queue[this.#queue.length - 1]
    if (kind === TICK && last?.kind === TICK) {
      last.hi = at.hi
      last.lo = at.lo
      return
    }
    this.#push(kind, source, generation, extra, at, copyOf(payload))
  }

  /** Moves what waits into the ring as far as it has room, and publishes. @returns bytes that the ring holds. */
  flush(): number {
    if (this.#queue.length > 0) this.#moveQueue()
    if (this.#ring.publish()) this.stats.publishes++
    const held = this.#ring.heldBytes()
    if (held > this.stats.fillBytesMax) this.stats.fillBytesMax = held
    return held
  }

  /**
   * The worker is dead and the next not yet born: this thread owns both ends of the ring. Throws away what stands in the
   * ring and waits in the queue, because the next worker begins with empty books.
   */
  clear(): DiscardedFrames {
    this.#ring.publish()
    const discarded = discardFrames(this.#memory)
    discarded.dataCount += this.#queuedDataCount
    for (const loss of this.#losses.values()) discarded.dataCount += loss.extra
    this.stats.restarts++
    this.stats.restartLosses += discarded.dataCount
    this.#queue = []
    this.#queueHead = 0
    this.#queuedDataCount = 0
    this.#queuedDataBytes = 0
    this.#losses.clear()
    return discarded
  }

  #deferData(source: number, generation: number, at: Stamp, payload: Uint8Array): boolean {
    const isTooLong = payload.length > this.payloadBytesMax
    if (isTooLong) this.stats.oversized++
    if (
      isTooLong ||
      this.#losses.has(lossKey(source, generation)) ||
      this.#queuedDataCount >= this.#bounds.framesMax ||
      this.#queuedDataBytes + payload.length > this.#bounds.bytesMax
    ) {
      this.#lose(source, generation, at)
      return false
    }
    this.#queuedDataCount++
    this.#queuedDataBytes += payload.length
    this.#push(DATA, source, generation, 0, at, copyOf(payload))
    return false
  }

  #lose(source: number, generation: number, at: Stamp): void {
    this.stats.losses++
    const key = lossKey(source, generation)
    const open = this.#losses.get(key)
    if (open !== undefined) {
      open.extra++
      return
    }
    if (this.#queue.length === 0 && this.#ring.tryWrite(LOSS, source, generation, 1, at.hi, at.lo, NO_PAYLOAD)) {
      this.stats.lossFrames++
      return
    }
    this.#losses.set(key, this.#push(LOSS, source, generation, 1, at, NO_PAYLOAD))
  }

  #push(kind: number, source: number, generation: number, extra: number, at: Stamp, payload: Uint8Array): Waiting {
    const waiting: Waiting = { kind, source, generation, extra, hi: at.hi, lo: at.lo, payload }
    this.#queue.push(waiting)
    this.stats.overflowed++
    return waiting
  }

  #moveQueue(): void {
    const queue = this.#queue
    let head = this.#queueHead
    for (; head < queue.length; head++) {
      const { kind, source, generation, extra, hi, lo, payload } = queue[head] as Waiting
      if (!this.#ring.tryWrite(kind, source, generation, extra, hi, lo, payload)) break
      if (kind === DATA) {
        this.#queuedDataCount--
        this.#queuedDataBytes -= payload.length
      } else if (kind === LOSS) {
        this.#losses.delete(lossKey(source, generation))
        this.stats.lossFrames++
      }
    }
    // What has gone is cut off now and then, so that a queue that is never quite empty does not grow.
    const isWorthCutting = head === queue.length || head >= CUT_FRAMES_MIN
    this.#queue = isWorthCutting ? queue.slice(head) : queue
    this.#queueHead = isWorthCutting ? 0 : head
  }
}
