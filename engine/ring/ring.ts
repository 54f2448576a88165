import { assert } from '../base/assert.ts'
import {
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  EXTRA_FIELD,
  GENERATION_FIELD,
  HEAD_OFFSET,
  KIND_FIELD,
  PADDING,
  PARKED_OFFSET,
  RECEIVED_HI_FIELD,
  RECEIVED_LO_FIELD,
  RECORDS_OFFSET,
  RECORD_ALIGN_BYTES,
  RECORD_HEAD_BYTES,
  SKEW_SHIFT,
  SOURCE_SHIFT,
  STOP_OFFSET,
  TAIL_OFFSET,
} from './layout.ts'

const TAIL = TAIL_OFFSET >> 2
const HEAD = HEAD_OFFSET >> 2
const PARKED = PARKED_OFFSET >> 2
const STOP = STOP_OFFSET >> 2
const ALIGN_MASK = RECORD_ALIGN_BYTES - 1

/** Memory for one ring. @param capacityBytes a power of two. */
export function createRing(capacityBytes: number): SharedArrayBuffer {
  assert((capacityBytes & (capacityBytes - 1)) === 0, `ring capacity ${capacityBytes} is not a power of two`)
  assert(
    capacityBytes >= CAPACITY_BYTES_MIN && capacityBytes <= CAPACITY_BYTES_MAX,
    `ring capacity ${capacityBytes} is out of bounds`,
  )
  return new SharedArrayBuffer(RECORDS_OFFSET + capacityBytes)
}

/** Bytes of the ring that a payload takes; 8 more where its skew does not fit into the rounding. */
export function recordBytes(payloadBytes: number): number {
  return (RECORD_HEAD_BYTES + payloadBytes + ALIGN_MASK) & ~ALIGN_MASK
}

/** State that both sides share: the words of the head and views on the records. */
class RingSide {
  readonly capacityBytes: number
  /** The records as bytes; payload offsets given to readers index this view. */
  readonly bytes: Uint8Array
  protected readonly words: Int32Array
  protected readonly control: Int32Array
  protected readonly mask: number

  constructor(memory: SharedArrayBuffer) {
    this.capacityBytes = memory.byteLength - RECORDS_OFFSET
    this.mask = this.capacityBytes - 1
    this.control = new Int32Array(memory, 0, RECORDS_OFFSET >> 2)
    this.words = new Int32Array(memory, RECORDS_OFFSET)
    this.bytes = new Uint8Array(memory, RECORDS_OFFSET)
  }

  /**
   * Bytes published and not yet released: the fill of the ring, for metrics and back-pressure. HEAD is read first: read
   * second it could have overtaken the TAIL of a moment ago, and the difference would wrap to 4 GiB.
   */
  fillBytes(): number {
    const head = Atomics.load(this.control, HEAD)
    return Math.min((Atomics.load(this.control, TAIL) - head) >>> 0, this.capacityBytes)
  }

  /** Asks the other side to end; a parked reader wakes. */
  stop(): void {
    Atomics.store(this.control, STOP, 1)
    this.wake()
  }

  /**
   * Wakes the reader if it is parked. The exchange makes one of several callers notify, and only for the very park that
   * it saw: a late one can not take the flag away from the reader's next park.
   */
  wake(): void {
    const ticket = Atomics.load(this.control, PARKED)
    if ((ticket & 1) === 0) return
    if (Atomics.compareExchange(this.control, PARKED, ticket, (ticket + 1) | 0) === ticket)
      Atomics.notify(this.control, PARKED)
  }

  isStopped(): boolean {
    return Atomics.load(this.control, STOP) !== 0
  }
}

/** The writing side; one thread only. Records become visible at `publish()`, not before. */
export class RingWriter extends RingSide {
  #tail: number
  #head: number
  #published: number

  constructor(memory: SharedArrayBuffer) {
    super(memory)
    this.#tail = Atomics.load(this.control, TAIL) >>> 0
    this.#published = this.#tail
    this.#head = Atomics.load(this.control, HEAD) >>> 0
  }

  /** Longest payload that this ring takes at all. */
  get payloadBytesMax(): number {
    return (this.capacityBytes >> 1) - RECORD_HEAD_BYTES
  }

  /**
   * Copies one record into the ring, unpublished.
   * @param receivedHi,receivedLo ns since the epoch as two words.
   * @returns false when there is no room now (nothing was written); the caller waits or counts a loss.
   */
  tryWrite(
    kind: number,
    source: number,
    generation: number,
    extra: number,
    receivedHi: number,
    receivedLo: number,
    payload: Uint8Array,
    offset = 0,
    length = payload.length,
  ): boolean {
    const skew = (payload.byteOffset + offset) & ALIGN_MASK
    let at = this.#reserve(kind, skew, source, generation, extra, receivedHi, receivedLo, length)
    // A slow copy is better than none.
    if (at < 0 && skew > 0) at = this.tryReserve(kind, source, generation, extra, receivedHi, receivedLo, length)
    if (at < 0) return false
    // `set` copies 274 bytes in 28 ns, a loop in 1,500; a view is only made when the payload is a part.
    this.bytes.set(offset === 0 && length === payload.length ? payload : payload.subarray(offset, offset + length), at)
    return true
  }

  /**
   * As `tryWrite`, but leaves the payload to the caller, who must fill `length` bytes of `this.bytes` from the returned
   * offset before `publish()`.
   * @returns offset of the payload, or −1 (`NO_ROOM`) when there is no room now.
   */
  tryReserve(
    kind: number,
    source: number,
    generation: number,
    extra: number,
    receivedHi: number,
    receivedLo: number,
    length: number,
  ): number {
    return this.#reserve(kind, 0, source, generation, extra, receivedHi, receivedLo, length)
  }

  #reserve(
    kind: number,
    skew: number,
    source: number,
    generation: number,
    extra: number,
    receivedHi: number,
    receivedLo: number,
    length: number,
  ): number {
    const need = (RECORD_HEAD_BYTES + skew + length + ALIGN_MASK) & ~ALIGN_MASK
    if (need > this.capacityBytes >> 1) return this.#refuseLong(skew, length)
    let at = this.#tail & this.mask
    const rest = this.capacityBytes - at
    const total = need <= rest ? need : rest + need
    if (total > this.capacityBytes - ((this.#tail - this.#head) >>> 0)) {
      this.#head = Atomics.load(this.control, HEAD) >>> 0
      if (total > this.capacityBytes - ((this.#tail - this.#head) >>> 0)) return NO_ROOM
    }
    if (need > rest) {
      this.words[at >> 2] = rest - RECORD_ALIGN_BYTES
      this.words[(at + KIND_FIELD) >> 2] = PADDING
      this.#tail = (this.#tail + rest) >>> 0
      at = 0
    }
    const word = at >> 2
    const words = this.words
    words[word] = length
    words[word + (KIND_FIELD >> 2)] = kind | (skew << SKEW_SHIFT) | (source << SOURCE_SHIFT)
    words[word + (RECEIVED_HI_FIELD >> 2)] = receivedHi
    words[word + (RECEIVED_LO_FIELD >> 2)] = receivedLo
    words[word + (GENERATION_FIELD >> 2)] = generation
    words[word + (EXTRA_FIELD >> 2)] = extra
    this.#tail = (this.#tail + need) >>> 0
    return at + RECORD_HEAD_BYTES + skew
  }

  /** The longest payloads have no room for a skew; longer ones are a mistake of the caller. */
  #refuseLong(skew: number, length: number): number {
    assert(skew > 0, `record of ${length} bytes is longer than half the ring (${this.capacityBytes})`)
    return NO_ROOM
  }

  /**
   * Makes everything written so far visible, and wakes the reader if it is parked. Call it once a burst.
   * @returns false when there was nothing new.
   */
  publish(): boolean {
    if (this.#tail === this.#published) return false
    this.#published = this.#tail
    Atomics.store(this.control, TAIL, this.#tail | 0)
    this.wake()
    return true
  }

  /** Written and not yet released by the reader, unpublished records included. */
  heldBytes(): number {
    this.#head = Atomics.load(this.control, HEAD) >>> 0
    return (this.#tail - this.#head) >>> 0
  }
}

/** `tryReserve` found no room. */
export const NO_ROOM = -1

/**
 * Called for each record. `bytes` is the ring's own memory: use it before you return, or copy. The fields of the record
 * head are read with the functions of frame.ts from the same `bytes` and `offset`.
 */
export type OnRecord = (kind: number, bytes: Uint8Array, offset: number, length: number) => void

/** The reading side; one thread only. */
export class RingReader extends RingSide {
  #head: number

  constructor(memory: SharedArrayBuffer) {
    super(memory)
    this.#head = Atomics.load(this.control, HEAD) >>> 0
  }

  /**
   * Gives up to `countMax` records to `onRecord`, then releases their space at once.
   * @returns how many records were given.
   */
  drain(onRecord: OnRecord, countMax: number): number {
    const tail = Atomics.load(this.control, TAIL) >>> 0
    let head = this.#head
    let count = 0
    const words = this.words
    const bytes = this.bytes
    try {
      while (head !== tail && count < countMax) {
        const at = head & this.mask
        const length = words[at >> 2] as number
        const kindWord = words[(at + KIND_FIELD) >> 2] as number
        const kind = kindWord & 0xff
        if (kind === PADDING) {
          head = (head + length + RECORD_ALIGN_BYTES) >>> 0
          continue
        }
        // The head moves first: a record whose reader throws is not read again.
        const payloadOffset = ((kindWord >> SKEW_SHIFT) & ALIGN_MASK) + RECORD_HEAD_BYTES
        head = (head + ((payloadOffset + length + ALIGN_MASK) & ~ALIGN_MASK)) >>> 0
        count++
        onRecord(kind, bytes, at + payloadOffset, length)
      }
    } finally {
      if (head !== this.#head) {
        this.#head = head
        Atomics.store(this.control, HEAD, head | 0)
      }
    }
    return count
  }

  /** True when something is published and not yet drained. */
  hasRecords(): boolean {
    return Atomics.load(this.control, TAIL) >>> 0 !== this.#head
  }

  /**
   * Blocks this thread until something is published, `stop()` or `wake()` is called or the time is over. Never on the
   * main thread. Not together with an armed `parkAsync`: the flag has one owner.
   */
  park(timeoutMs: number): void {
    const ticket = this.#raise()
    if (this.isIdle()) Atomics.wait(this.control, PARKED, ticket, timeoutMs)
    this.#lower(ticket)
  }

  /**
   * As `park`, for a thread with an event loop and without a time limit (each would leave a timer behind).
   * @returns undefined when there is something to do already, else a promise that resolves on the next wake. The promise
   * alone does not keep the process alive.
   */
  parkAsync(): Promise<void> | undefined {
    const ticket = this.#raise()
    const wait = this.isIdle() ? Atomics.waitAsync(this.control, PARKED, ticket) : undefined
    if (wait === undefined || !wait.async) {
      this.#lower(ticket)
      return undefined
    }
    return wait.value.then(() => this.#lower(ticket))
  }

  /** True when there is nothing to drain and nobody asked to stop. */
  isIdle(): boolean {
    return !this.hasRecords() && !this.isStopped()
  }

  /**
   * PARKED counts: odd while parked, and never the same number twice. The flag goes up before TAIL and STOP are looked
   * at, and the other side moves those before it looks at the flag, so one of the two always sees the other.
   */
  #raise(): number {
    const ticket = ((Atomics.load(this.control, PARKED) | 1) + 2) | 0
    Atomics.store(this.control, PARKED, ticket)
    return ticket
  }

  #lower(ticket: number): void {
    Atomics.store(this.control, PARKED, (ticket + 1) | 0)
  }
}
