import { BlockSet } from './block-set.ts'
import { type Disk, osCode } from './disk.ts'
import {
  type LostRange,
  parseSegmentName,
  RECORD_HEAD_BYTES,
  type SegmentBase,
  type SegmentScan,
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
  /** blocks that those behind the spool have taken (or that are damaged, so never to be delivered) */
  readonly acked: BlockSet
  /** blocks that are stored for good; each of them is acknowledged, too */
  readonly committed: BlockSet
  /** when the last block was stored, ms; undefined until then */
  completeAtMs: number | undefined
  /** from which block on which time was it, ms since the epoch; one entry a second at most */
  readonly times: { readonly seq: number; readonly ms: number }[]
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
    acked: new BlockSet(base.firstSeq),
    committed: new BlockSet(base.firstSeq),
    completeAtMs: undefined,
    times: [],
  }
}

/** When what a block holds was received, ns since the epoch. */
export interface BlockTimes {
  readonly firstNs: bigint
  readonly lastNs: bigint
}

/** Reads them from a payload; undefined for bytes that say nothing. The spool itself knows no block. */
export type TimesOf = (payload: Uint8Array) => BlockTimes | undefined

/** Blocks that are gone, and the time in which they were received; 0 where that is not known. */
export interface LostBlocks extends LostRange, BlockTimes {}

/** What was found when the spool was opened. */
export interface Recovery {
  readonly segments: Segment[]
  readonly blocks: number
  readonly bytes: number
  readonly tornBytes: number
  readonly lost: readonly LostBlocks[]
  /** segments that could not be read and were set aside under another name */
  readonly quarantined: readonly string[]
  /** of the newest block, 0 when there is none */
  readonly newestNs: bigint
}

/** Where in the order of all blocks which time was it. */
interface TimeMark extends BlockTimes {
  readonly epoch: number
  readonly seq: number
}

/**
 * Reads all segments, cuts torn tails, syncs everything that was found.
 * @param syncRecovered false only in the test that proves that it is needed.
 */
export async function recover(disk: Disk, timesOf: TimesOf, syncRecovered = true): Promise<Recovery> {
  const bases = (await disk.list()).map(parseSegmentName).filter((base) => base !== undefined)
  bases.sort((a, b) => a.epoch - b.epoch || a.firstSeq - b.firstSeq)
  const segments: Segment[] = []
  const lost: LostRange[] = []
  const marks: TimeMark[] = []
  const quarantined: string[] = []
  let tornBytes = 0
  for (const [index, base] of bases.entries()) {
    const follower = bases[index + 1]
    const next = follower !== undefined && follower.epoch === base.epoch ? follower : undefined
    const segment = newSegment(base)
    const { epoch } = base
    const found = await scanOrQuarantine(disk, segment.name)
    if (found === undefined) {
      quarantined.push(segment.name)
      if (next !== undefined)
        lost.push({ epoch, firstSeq: base.firstSeq, lastSeq: next.firstSeq - 1, segment: segment.name, bytes: 0 })
      continue
    }
    const { scan } = found
    lost.push(...scan.lost)
    marks.push(...timeMarks(found, base, timesOf))
    for (const range of scan.lost) {
      for (let seq = range.firstSeq; seq <= range.lastSeq; seq++) {
        segment.acked.add(seq)
        segment.committed.add(seq)
      }
    }
    segment.bytes = segment.durableBytes = scan.goodBytes
    segment.recordCount = scan.records.length
    segment.lastSeq = scan.records.at(-1)?.blockSeq ?? base.firstSeq - 1
    segment.sealed = true
    const since = marks.find((mark) => mark.epoch === epoch && mark.seq >= base.firstSeq)
    if (since !== undefined) segment.times.push({ seq: base.firstSeq, ms: Number(since.firstNs / 1_000_000n) })
    const file = await disk.open(segment.name)
    if (next === undefined && scan.tailBytes > 0) {
      await file.truncate(scan.goodBytes)
      tornBytes += scan.tailBytes
    }
    if (syncRecovered) await file.sync()
    await file.close()
    // The segment was synced whole before its follower was made: a shorter end is damage, not a torn write.
    if (next !== undefined && segment.lastSeq + 1 < next.firstSeq) {
      const [firstSeq, lastSeq] = [segment.lastSeq + 1, next.firstSeq - 1]
      lost.push({ epoch, firstSeq, lastSeq, segment: segment.name, bytes: scan.tailBytes })
    }
    segments.push(segment)
  }
  if (syncRecovered) await disk.syncDirectory()
  const blocks = segments.reduce((sum, segment) => sum + segment.recordCount, 0)
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  const newestNs = marks.at(-1)?.lastNs ?? 0n
  return { segments, blocks, bytes, tornBytes, lost: lost.map((range) => timed(range, marks)), quarantined, newestNs }
}

interface FoundSegment {
  readonly bytes: Buffer
  readonly scan: SegmentScan
}

/** The times of the first and the last record, and of those beside a hole. */
function timeMarks({ bytes, scan }: FoundSegment, { epoch }: SegmentBase, timesOf: TimesOf): TimeMark[] {
  const { records, lost } = scan
  const beside = new Set(lost.flatMap(({ firstSeq, lastSeq }) => [firstSeq - 1, lastSeq + 1]))
  const telling = records.filter(
    ({ blockSeq }, index) => index === 0 || index === records.length - 1 || beside.has(blockSeq),
  )
  return telling.flatMap((place) => {
    const times = timesOf(tryReadPayload(bytes, place) as Buffer)
    return times === undefined ? [] : [{ epoch, seq: place.blockSeq, ...times }]
  })
}

/** From what came before to what came after, generously: blocks of several tables overlap in time. */
function timed(range: LostRange, marks: readonly TimeMark[]): LostBlocks {
  const isBefore = ({ epoch, seq }: TimeMark) => epoch < range.epoch || (epoch === range.epoch && seq < range.firstSeq)
  const after = marks.find((mark) => !isBefore(mark))
  return { ...range, firstNs: marks.filter(isBefore).at(-1)?.firstNs ?? 0n, lastNs: after?.lastNs ?? 0n }
}

/** A segment that the disk cannot read is set aside: a bad spool must never keep the process from starting. */
async function scanOrQuarantine(disk: Disk, name: string): Promise<FoundSegment | undefined> {
  const base = parseSegmentName(name) as SegmentBase
  try {
    const bytes = await disk.read(name, 0, await disk.bytesOf(name))
    return { bytes, scan: scanSegment(bytes, base) }
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

/**
 * Reads records in order, checksums verified once more, a megabyte of the disk at a time. That megabyte is used again and
 * again: one made anew for each reading is found by the garbage collector late, and given back to the system never.
 */
export class SegmentCursor {
  readonly #disk: Disk
  #segment: Segment | undefined
  #start = 0
  #ahead: Buffer = Buffer.alloc(0)
  #memory: Buffer | undefined

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
    this.#memory ??= Buffer.allocUnsafeSlow(AHEAD_BYTES)
    this.#segment = undefined // while it is being overwritten
    const wanted = Math.min(length, segment.durableBytes - offset)
    this.#ahead = await this.#disk.read(segment.name, offset, wanted, this.#memory)
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
