/**
 * A tape is a file of ring frames in the order in which a book worker got them. A book worker is a pure function of its
 * ring, so the tape of a run is the run: played again it gives the same rows.
 *
 *   byte 0           8          12            16
 *        +-----------+----------+-------------+---------------------------------------------- - -
 *        | MAGIC     | FORMAT   | HEADER CRC  | frames
 *        | "MPTAPE\n\0" | u32 = 1 | of bytes 0-11 |
 *        +-----------+----------+-------------+---------------------------------------------- - -
 *
 *   one frame, not aligned, all numbers little-endian:
 *   +0        +4           +8     +10       +12       +16       +20          +24      +28
 *   +---------+------------+------+---------+---------+---------+------------+--------+-------------+
 *   | CRC u32 | LENGTH u32 | KIND | SOURCE  | RECV HI | RECV LO | GENERATION | EXTRA  | payload     |
 *   | of the  | of payload | u16  | u16     | u32     | u32     | u32        | u32    | LENGTH      |
 *   | rest    |            |      |         |         |         |            |        | bytes       |
 *   +---------+------------+------+---------+---------+---------+------------+--------+-------------+
 *   |<- CRC ->|<----------------------- what the CRC is taken of -------------------------------->|
 *
 * A process that dies leaves half a frame at the end. The reader gives every frame before the first that is cut or whose
 * CRC is wrong, and says where it stopped and why; behind a broken frame nothing can be trusted, lengths least.
 *
 * Arithmetic: 28 bytes on 300 of a frame. zlib's CRC runs at about 1 GB/s: 0.3 us a frame.
 */
import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'

const MAGIC = 'MPTAPE\n\0'
const FORMAT = 1
const FORMAT_OFFSET = MAGIC.length
const HEADER_CRC_OFFSET = FORMAT_OFFSET + 4
export const TAPE_HEADER_BYTES = HEADER_CRC_OFFSET + 4

const CRC_FIELD = 0
const LENGTH_FIELD = 4
const KIND_FIELD = 8
const SOURCE_FIELD = 10
const RECEIVED_HI_FIELD = 12
const RECEIVED_LO_FIELD = 16
const GENERATION_FIELD = 20
const EXTRA_FIELD = 24
export const TAPE_FRAME_HEAD_BYTES = 28

/** No frame is longer (ring of 128 MiB); a reader that finds a longer one has found rubbish and does not allocate it. */
const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
const WRITE_BYTES = 256 * 1024

/** Takes the next bytes of the file; returns when they may be overwritten. */
export type AppendBytes = (bytes: Uint8Array) => void

/** Bytes of a new tape's header. */
export function tapeHeader(): Buffer {
  const header = Buffer.alloc(TAPE_HEADER_BYTES)
  header.write(MAGIC, 'latin1')
  header.writeUInt32LE(FORMAT, FORMAT_OFFSET)
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_CRC_OFFSET)), HEADER_CRC_OFFSET)
  return header
}

/** Records frames; a ring reader's callback takes the fields out of the record's head (ring/frame.ts). */
export class TapeWriter {
  readonly #append: AppendBytes
  #buffer = Buffer.allocUnsafe(WRITE_BYTES)
  #filled = 0
  frames = 0
  bytes = TAPE_HEADER_BYTES

  constructor(append: AppendBytes) {
    this.#append = append
    append(tapeHeader())
  }

  record(
    kind: number,
    source: number,
    generation: number,
    extra: number,
    receivedHi: number,
    receivedLo: number,
    bytes: Uint8Array,
    offset = 0,
    length = bytes.length,
  ): void {
    assert(length <= PAYLOAD_BYTES_MAX, `frame of ${length} bytes is too long for a tape`)
    const need = TAPE_FRAME_HEAD_BYTES + length
    if (need > this.#buffer.length - this.#filled) this.#makeRoom(need)
    const target = this.#buffer
    const at = this.#filled
    target.writeUInt32LE(length, at + LENGTH_FIELD)
    target.writeUInt16LE(kind, at + KIND_FIELD)
    target.writeUInt16LE(source, at + SOURCE_FIELD)
    target.writeUInt32LE(receivedHi, at + RECEIVED_HI_FIELD)
    target.writeUInt32LE(receivedLo, at + RECEIVED_LO_FIELD)
    target.writeUInt32LE(generation, at + GENERATION_FIELD)
    target.writeUInt32LE(extra, at + EXTRA_FIELD)
    target.set(bytes.subarray(offset, offset + length), at + TAPE_FRAME_HEAD_BYTES)
    target.writeUInt32LE(crc32(target.subarray(at + LENGTH_FIELD, at + need)), at + CRC_FIELD)
    this.#filled += need
    this.frames++
    this.bytes += need
  }

  /** Hands over what is buffered. Call it before the file is synced or closed. */
  flush(): void {
    if (this.#filled === 0) return
    this.#append(this.#buffer.subarray(0, this.#filled))
    this.#filled = 0
  }

  #makeRoom(need: number): void {
    this.flush()
    if (need > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(need)
  }
}

/** One frame of a tape; `payload` is a view of the reader's buffer, valid until the next frame. */
export interface TapeFrame {
  readonly kind: number
  readonly source: number
  readonly receivedHi: number
  readonly receivedLo: number
  readonly generation: number
  readonly extra: number
  readonly payload: Uint8Array
}

/** Fills `target` from `position` of the file; returns how many bytes there were (0 at the end). */
export type ReadBytes = (target: Uint8Array, position: number) => number

export type TapeEnd = 'whole' | 'cut' | 'corrupt'

/**
 * Reads a tape frame by frame:
 * `for (const frame of tape.frames()) …`, then `tape.end` says whether it was read to its end.
 */
export class TapeReader {
  readonly #read: ReadBytes
  #buffer = Buffer.allocUnsafe(WRITE_BYTES)
  #first = 0
  #last = 0
  #readPosition = 0
  #end: TapeEnd = 'whole'
  #position = 0

  constructor(read: ReadBytes) {
    this.#read = read
  }

  /** How the tape ended; valid when `frames()` is over. */
  get end(): TapeEnd {
    return this.#end
  }

  /** Bytes up to the end of the last good frame: where a cut or corrupt tape can be cut off. */
  get goodBytes(): number {
    return this.#position
  }

  /** @throws Fault NOT_A_TAPE when the file is no tape of this format. */
  *frames(): Generator<TapeFrame> {
    this.#checkHeader()
    while (this.#has(TAPE_FRAME_HEAD_BYTES)) {
      const length = this.#buffer.readUInt32LE(this.#first + LENGTH_FIELD)
      if (length > PAYLOAD_BYTES_MAX) {
        this.#end = 'corrupt'
        return
      }
      const need = TAPE_FRAME_HEAD_BYTES + length
      if (!this.#has(need)) break
      const at = this.#first
      if (crc32(this.#buffer.subarray(at + LENGTH_FIELD, at + need)) !== this.#buffer.readUInt32LE(at + CRC_FIELD)) {
        this.#end = 'corrupt'
        return
      }
      this.#first += need
      this.#position += need
      yield this.#frameAt(at, length)
    }
    this.#end = this.#first === this.#last ? 'whole' : 'cut'
  }

  #frameAt(at: number, length: number): TapeFrame {
    const buffer = this.#buffer
    return {
      kind: buffer.readUInt16LE(at + KIND_FIELD),
      source: buffer.readUInt16LE(at + SOURCE_FIELD),
      receivedHi: buffer.readUInt32LE(at + RECEIVED_HI_FIELD),
      receivedLo: buffer.readUInt32LE(at + RECEIVED_LO_FIELD),
      generation: buffer.readUInt32LE(at + GENERATION_FIELD),
      extra: buffer.readUInt32LE(at + EXTRA_FIELD),
      payload: buffer.subarray(at + TAPE_FRAME_HEAD_BYTES, at + TAPE_FRAME_HEAD_BYTES + length),
    }
  }

  #checkHeader(): void {
    if (!this.#has(TAPE_HEADER_BYTES) || !this.#buffer.subarray(0, TAPE_HEADER_BYTES).equals(tapeHeader())) {
      throw new Fault(
        'NOT_A_TAPE',
        `the file does not begin as a tape of format ${FORMAT}; give a file that a tape writer made`,
      )
    }
    this.#first = TAPE_HEADER_BYTES
    this.#position = TAPE_HEADER_BYTES
  }

  /** Makes `count` bytes stand in the buffer; false when the file has no more. */
  #has(count: number): boolean {
    if (this.#last - this.#first >= count) return true
    if (count > this.#buffer.length || this.#first > 0) {
      const target = count > this.#buffer.length ? Buffer.allocUnsafe(count) : this.#buffer
      this.#buffer.copy(target, 0, this.#first, this.#last)
      this.#buffer = target
      this.#last -= this.#first
      this.#first = 0
    }
    while (this.#last < count) {
      const got = this.#read(this.#buffer.subarray(this.#last), this.#readPosition)
      if (got === 0) return false
      this.#last += got
      this.#readPosition += got
    }
    return true
  }
}

/** The writing side of a ring, as far as a tape needs it. */
export interface FrameTarget {
  tryWrite(
    kind: number,
    source: number,
    generation: number,
    extra: number,
    receivedHi: number,
    receivedLo: number,
    payload: Uint8Array,
  ): boolean
}

/** Writes a frame of a tape into a ring. @returns false when there is no room now. */
export function tryPlay(frame: TapeFrame, ring: FrameTarget): boolean {
  const { kind, source, generation, extra, receivedHi, receivedLo, payload } = frame
  return ring.tryWrite(kind, source, generation, extra, receivedHi, receivedLo, payload)
}
