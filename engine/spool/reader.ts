import { type Disk, osCode } from './disk.ts'
import {
  type LostRange,
  parseSegmentName,
  RECORD_HEAD_BYTES,
  type SegmentBase,
  scanSegment,
  segmentName,
  tryReadHead,
  tryReadPayload,
} from './segment.ts'

/** One segment as the running spool knows it. Its records are found again from the file, not from memory. */
export interface Segment {
  readonly base: SegmentBase
  readonly name: string
  /** bytes of whole records */
  bytes: number
  /** bytes that are proven to be on disk; nothing behind them is given out */
  durableBytes: number
  recordCount: number
  lastSeq: number
  /** true when nothing more will be appended */
  sealed: boolean
  /** every block below is delivered */
  ackedBelow: number
  /** delivered (or damaged, so never to be delivered) blocks at or above `ackedBelow` */
  readonly acked: Set<number>
  /** when the last block was delivered, ms; undefined until then */
  completeAtMs: number | undefined
}

export function newSegment(base: SegmentBase): Segment {
  return {
    base,
    name: segmentName(base),
    bytes: 0,
    durableBytes: 0,
    recordCount: 0,
    lastSeq: base.firstSeq - 1,
    sealed: false,
    ackedBelow: base.firstSeq,
    acked: new Set(),
    completeAtMs: undefined,
  }
}

/** What was found when the spool was opened. */
export interface Recovery {
  readonly segments: Segment[]
  readonly blocks: number
  readonly bytes: number
  readonly tornBytes: number
  readonly lost: readonly LostRange[]
  /** segments that could not be read and were set aside under another name */
  readonly quarantined: readonly string[]
}

/**
 * Reads all segments, cuts torn tails, syncs everything that was found.
 * @param syncRecovered false only in the test that proves that it is needed.
 */
export async function recover(disk: Disk, syncRecovered = true): Promise<Recovery> {
  const bases = (await disk.list()).map(parseSegmentName).filter((base) => base !== undefined)
  bases.sort((a, b) => a.epoch - b.epoch || a.firstSeq - b.firstSeq)
  const segments: Segment[] = []
  const lost: LostRange[] = []
  const quarantined: string[] = []
  let tornBytes = 0
  for (const [index, base] of bases.entries()) {
    const follower = bases[index + 1]
    const next = follower !== undefined && follower.epoch === base.epoch ? follower : undefined
    const segment = newSegment(base)
    const scan = await scanOrQuarantine(disk, segment.name)
    if (scan === undefined) {
      quarantined.push(segment.name)
      if (next !== undefined)
        lost.push({
          epoch: base.epoch,
          firstSeq: base.firstSeq,
          lastSeq: next.firstSeq - 1,
          segment: segment.name,
          bytes: 0,
        })
      continue
    }
    lost.push(...scan.lost)
    for (const range of scan.lost) for (let seq = range.firstSeq; seq <= range.lastSeq; seq++) segment.acked.add(seq)
    segment.bytes = segment.durableBytes = scan.goodBytes
    segment.recordCount = scan.records.length
    segment.lastSeq = scan.records.at(-1)?.blockSeq ?? base.firstSeq - 1
    segment.sealed = true
    const file = await disk.open(segment.name)
    if (next === undefined && scan.tailBytes > 0) {
      await file.truncate(scan.goodBytes)
      tornBytes += scan.tailBytes
    }
    if (syncRecovered) await file.sync()
    await file.close()
    // The segment was synced whole before its follower was made: a shorter end is damage, not a torn write.
    if (next !== undefined && segment.lastSeq + 1 < next.firstSeq) {
      lost.push({
        epoch: base.epoch,
        firstSeq: segment.lastSeq + 1,
        lastSeq: next.firstSeq - 1,
        segment: segment.name,
        bytes: scan.tailBytes,
      })
    }
    segments.push(segment)
  }
  if (syncRecovered) await disk.syncDirectory()
  const blocks = segments.reduce((sum, segment) => sum + segment.recordCount, 0)
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  return { segments, blocks, bytes, tornBytes, lost, quarantined }
}

/** A segment that the disk cannot read is set aside: a bad spool must never keep the process from starting. */
async function scanOrQuarantine(disk: Disk, name: string) {
  const base = parseSegmentName(name) as SegmentBase
  try {
    return scanSegment(await disk.read(name, 0, await disk.bytesOf(name)), base)
  } catch (error) {
    if (osCode(error) !== 'EIO') throw error
    await disk.rename(name, `${name}.unreadable`)
    return undefined
  }
}

export interface StoredRecord {
  readonly blockSeq: number
  readonly payload: Uint8Array
  /** of the record that follows */
  readonly nextOffset: number
}

const AHEAD_BYTES = 1024 * 1024

/** Reads records in order, checksums verified once more, a megabyte of the disk at a time. */
export class SegmentCursor {
  readonly #disk: Disk
  #segment: Segment | undefined
  #start = 0
  #ahead: Buffer = Buffer.alloc(0)

  constructor(disk: Disk) {
    this.#disk = disk
  }

  /**
   * The first valid record at or after `offset` in the durable part of the segment; undefined at its end. Damaged ranges,
   * reported when the spool was opened, are stepped over.
   */
  async read(segment: Segment, offset: number): Promise<StoredRecord | undefined> {
    if (offset >= segment.durableBytes) return undefined
    const record = this.#tryRead(segment, offset)
    if (record !== undefined) return record
    await this.#fill(segment, offset, AHEAD_BYTES)
    const place = tryReadHead(this.#ahead, 0, segment.base)
    const recordBytes = RECORD_HEAD_BYTES + (place?.payloadBytes ?? 0)
    if (recordBytes > this.#ahead.length) await this.#fill(segment, offset, recordBytes)
    return this.#tryRead(segment, offset) ?? this.#readBeyondDamage(segment, offset)
  }

  async #fill(segment: Segment, offset: number, length: number): Promise<void> {
    this.#ahead = await this.#disk.read(segment.name, offset, Math.min(length, segment.durableBytes - offset))
    this.#segment = segment
    this.#start = offset
  }

  #tryRead(segment: Segment, offset: number): StoredRecord | undefined {
    if (this.#segment !== segment || offset < this.#start) return undefined
    const place = tryReadHead(this.#ahead, offset - this.#start, segment.base)
    const payload = place === undefined ? undefined : tryReadPayload(this.#ahead, place)
    if (place === undefined || payload === undefined) return undefined
    // A copy, so that one block in flight does not keep a megabyte alive.
    return {
      blockSeq: place.blockSeq,
      payload: new Uint8Array(payload),
      nextOffset: offset + RECORD_HEAD_BYTES + payload.length,
    }
  }

  async #readBeyondDamage(segment: Segment, offset: number): Promise<StoredRecord | undefined> {
    const bytes = await this.#disk.read(segment.name, 0, segment.durableBytes)
    const place = scanSegment(bytes, segment.base).records.find((record) => record.offset >= offset)
    const payload = place === undefined ? undefined : tryReadPayload(bytes, place)
    if (place === undefined || payload === undefined) return undefined
    return {
      blockSeq: place.blockSeq,
      payload: new Uint8Array(payload),
      nextOffset: place.offset + RECORD_HEAD_BYTES + payload.length,
    }
  }
}
