/**
 * The spool: the one place where a block becomes accepted. A block is appended and synced here before anything outside
 * sees it; every outage behind it is waited out here.
 *
 * The spool is a directory of segments. A segment is written once, front to back, by one boot of one process, and
 * deleted whole when all its blocks are delivered and a trailing time is over. Nothing is ever changed in place, there is
 * no index and no ledger that would have to agree with the data: positions are derived from the segments.
 *
 *   spool/
 *     EPOCH                          number of this boot; raised and synced before the first append
 *     LOCK                           who works here
 *     ACKED                          advice: what was delivered. Without it blocks are only delivered again.
 *     1795253359-0000000001.seg      epoch, then the sequence of the first block
 *     1795253359-0000000641.seg
 *
 *   one record, back to back with the next:
 *   +0          +4         +8            +16              +24           +28           +32
 *   +-----------+----------+-------------+----------------+-------------+-------------+-----------------+
 *   | MAGIC u32 | LEN u32  | BLOCK_SEQ   | SEGMENT_BASE   | BODY_CRC    | HEAD_CRC    | payload         |
 *   | "MPSR"    | payload  | u64         | u64            | u32         | u32         | (one block)     |
 *   +-----------+----------+-------------+----------------+-------------+-------------+-----------------+
 *   all little-endian. SEGMENT_BASE = epoch << 32 | first block seq, the name of the file.
 *   BODY_CRC = crc32 of bytes 0..24 and the payload. HEAD_CRC = crc32 of bytes 0..28.
 *
 * Why two checksums: HEAD_CRC lets the scanner trust LEN, so that it can step over a broken payload and tell which block
 * is lost. Why SEGMENT_BASE: a record left behind in a reused disk sector, or in a copied file, must not validate.
 *
 * Rules
 *   1. Durable before visible: `next()` gives only records whose fdatasync returned.
 *   2. After a start no old segment is appended to: a new one begins. Old segments and the directory are synced before
 *      anything recovered counts as durable, for what survived a process crash may still be only in the page cache.
 *   3. A torn tail (no valid record after it, last segment of its epoch) is cut off. Anything else that does not
 *      validate is stepped over and reported as lost, with the sequences it held.
 *   4. A failed fsync ends the process: after it nobody knows what the disk holds. A full disk does not: the tail is cut
 *      to the last whole record and the spool says that it has no room.
 *
 * Arithmetic: 100,000 rows/s of 60 bytes are 6 MB/s, 10 to 40 records a second: a segment of 64 MiB lasts 10 s, a spool
 * of 16 GiB holds 45 minutes of that, or a day of a usual load.
 */
import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'

export const MAGIC = 0x5253504d // "MPSR"
export const MAGIC_OFFSET = 0
export const LEN_OFFSET = MAGIC_OFFSET + 4
export const BLOCK_SEQ_OFFSET = LEN_OFFSET + 4
export const SEGMENT_BASE_OFFSET = BLOCK_SEQ_OFFSET + 8
export const BODY_CRC_OFFSET = SEGMENT_BASE_OFFSET + 8
export const HEAD_CRC_OFFSET = BODY_CRC_OFFSET + 4
export const RECORD_HEAD_BYTES = HEAD_CRC_OFFSET + 4

/** A longer payload is no record of ours; checked before memory is taken for it. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
const U32 = 2 ** 32
const MAGIC_BYTES = Buffer.from('MPSR', 'latin1')

/** Epoch and sequence of the first block: the identity and the name of a segment. Both fit 32 bits. */
export interface SegmentBase {
  readonly epoch: number
  readonly firstSeq: number
}

export interface RecordPlace {
  readonly blockSeq: number
  /** of the record's head in the segment */
  readonly offset: number
  readonly payloadBytes: number
}

/** Blocks that a segment should hold and does not. */
export interface LostRange {
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly segment: string
  readonly bytes: number
}

export interface SegmentScan {
  readonly records: readonly RecordPlace[]
  /** end of the last valid record */
  readonly goodBytes: number
  /** bytes after the last valid record: a torn write, or a broken last record */
  readonly tailBytes: number
  readonly lost: readonly LostRange[]
}

const NAME = /^(\d{10})-(\d{10})\.seg$/

export function segmentName(base: SegmentBase): string {
  assert(
    base.epoch > 0 && base.epoch < U32 && base.firstSeq > 0 && base.firstSeq < U32,
    `segment ${base.epoch}-${base.firstSeq} is out of bounds`,
  )
  return `${String(base.epoch).padStart(10, '0')}-${String(base.firstSeq).padStart(10, '0')}.seg`
}

/** @returns undefined for any file that is not a segment; those are left alone. */
export function parseSegmentName(name: string): SegmentBase | undefined {
  const match = NAME.exec(name)
  if (match === null) return undefined
  const base = { epoch: Number(match[1]), firstSeq: Number(match[2]) }
  return base.epoch > 0 && base.epoch < U32 && base.firstSeq > 0 && base.firstSeq < U32 ? base : undefined
}

export function encodeRecordHead(base: SegmentBase, blockSeq: number, payload: Uint8Array): Buffer {
  assert(payload.length <= PAYLOAD_BYTES_MAX, `block of ${payload.length} bytes is longer than ${PAYLOAD_BYTES_MAX}`)
  assert(
    blockSeq >= base.firstSeq && blockSeq < U32,
    `block ${blockSeq} does not belong to segment ${segmentName(base)}`,
  )
  const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES)
  head.writeUInt32LE(MAGIC, MAGIC_OFFSET)
  head.writeUInt32LE(payload.length, LEN_OFFSET)
  head.writeUInt32LE(blockSeq, BLOCK_SEQ_OFFSET)
  head.writeUInt32LE(0, BLOCK_SEQ_OFFSET + 4)
  head.writeUInt32LE(base.firstSeq, SEGMENT_BASE_OFFSET)
  head.writeUInt32LE(base.epoch, SEGMENT_BASE_OFFSET + 4)
  head.writeUInt32LE(crc32(payload, crc32(head.subarray(0, BODY_CRC_OFFSET))), BODY_CRC_OFFSET)
  head.writeUInt32LE(crc32(head.subarray(0, HEAD_CRC_OFFSET)), HEAD_CRC_OFFSET)
  return head
}

/** Reads the head at `offset`; undefined when it is not a head of this segment. The payload is not looked at. */
export function tryReadHead(bytes: Buffer, offset: number, base: SegmentBase): RecordPlace | undefined {
  if (offset + RECORD_HEAD_BYTES > bytes.length) return undefined
  if (bytes.readUInt32LE(offset) !== MAGIC) return undefined
  const payloadBytes = bytes.readUInt32LE(offset + LEN_OFFSET)
  const blockSeq = bytes.readUInt32LE(offset + BLOCK_SEQ_OFFSET)
  if (payloadBytes > PAYLOAD_BYTES_MAX || blockSeq < base.firstSeq) return undefined
  if (bytes.readUInt32LE(offset + SEGMENT_BASE_OFFSET) !== base.firstSeq) return undefined
  if (bytes.readUInt32LE(offset + SEGMENT_BASE_OFFSET + 4) !== base.epoch) return undefined
  if (crc32(bytes.subarray(offset, offset + HEAD_CRC_OFFSET)) !== bytes.readUInt32LE(offset + HEAD_CRC_OFFSET))
    return undefined
  return { blockSeq, offset, payloadBytes }
}

/** The payload of the record at `place`; undefined when it is cut short or its checksum does not fit. */
export function tryReadPayload(bytes: Buffer, place: RecordPlace): Buffer | undefined {
  const start = place.offset + RECORD_HEAD_BYTES
  const end = start + place.payloadBytes
  if (end > bytes.length) return undefined
  const payload = bytes.subarray(start, end)
  const crc = crc32(payload, crc32(bytes.subarray(place.offset, place.offset + BODY_CRC_OFFSET)))
  return crc === bytes.readUInt32LE(place.offset + BODY_CRC_OFFSET) ? payload : undefined
}

/** Finds every valid record of a segment and names what is missing between them. */
export function scanSegment(bytes: Buffer, base: SegmentBase): SegmentScan {
  const segment = segmentName(base)
  const records: RecordPlace[] = []
  const lost: LostRange[] = []
  let nextSeq = base.firstSeq
  let goodBytes = 0
  for (let at = 0; at < bytes.length; ) {
    const place = tryReadHead(bytes, at, base)
    if (place === undefined || place.blockSeq < nextSeq || tryReadPayload(bytes, place) === undefined) {
      at = nextCandidate(bytes, at)
      continue
    }
    if (place.blockSeq > nextSeq || place.offset > goodBytes) {
      lost.push({
        epoch: base.epoch,
        firstSeq: nextSeq,
        lastSeq: place.blockSeq - 1,
        segment,
        bytes: place.offset - goodBytes,
      })
    }
    records.push(place)
    nextSeq = place.blockSeq + 1
    goodBytes = at = place.offset + RECORD_HEAD_BYTES + place.payloadBytes
  }
  return { records, goodBytes, tailBytes: bytes.length - goodBytes, lost }
}

/** Where to look on after something that is no record: at the next magic word, wherever it is. */
function nextCandidate(bytes: Buffer, at: number): number {
  const found = bytes.indexOf(MAGIC_BYTES, at + 1)
  return found < 0 ? bytes.length : found
}
