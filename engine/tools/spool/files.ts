/**
 * The files of a spool, read without disturbing whoever owns it: no lock, no write, and a segment that is being written
 * is read as far as it is.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '../../base/fault.ts'
import { type Block, decodeBlock } from '../../record/decode.ts'
import {
  parseSegmentName,
  RECORD_HEAD_BYTES,
  type RecordPlace,
  type SegmentBase,
  type SegmentScan,
  scanSegment,
  segmentName,
  tryReadHead,
  tryReadPayload,
} from '../../spool/segment.ts'

export interface ReadSegment {
  readonly name: string
  readonly base: SegmentBase
  /** of the same epoch, if there is one */
  readonly next: SegmentBase | undefined
  readonly bytes: Buffer
  readonly scan: SegmentScan
}

/** Something in the spool that is not as it was written. */
export interface Damage {
  readonly file: string
  readonly offset: number
  readonly bytes: number
  readonly epoch: number
  /** blocks that are lost by it; none: last is first − 1 */
  readonly firstSeq: number
  readonly lastSeq: number
  readonly what: string
}

/** One segment after the other, oldest first; memory holds one. */
export async function* readSegments(directory: string): AsyncGenerator<ReadSegment> {
  const bases = (await fileNames(directory)).map(parseSegmentName).filter((base) => base !== undefined)
  bases.sort((a, b) => a.epoch - b.epoch || a.firstSeq - b.firstSeq)
  for (const [index, base] of bases.entries()) {
    const name = segmentName(base)
    const bytes = await readFile(join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined // its blocks are stored; the engine deleted it meanwhile
      throw unreadable(join(directory, name), error)
    })
    if (bytes === undefined) continue
    const follower = bases[index + 1]
    const next = follower?.epoch === base.epoch ? follower : undefined
    yield { name, base, next, bytes, scan: scanSegment(bytes, base) }
  }
}

async function fileNames(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unreadable(directory, error as NodeJS.ErrnoException)
    throw new Fault(
      'NO_SPOOL',
      `${directory} does not exist: name the data directory with --data, or the spool with --set spool.directory=…`,
    )
  }
}

function unreadable(path: string, { code, message }: NodeJS.ErrnoException): Fault {
  return new Fault('SPOOL_READ', `${path} cannot be read (${code ?? message}): check its owner and the disk`)
}

/** One block of a segment. */
export interface SpoolBlock {
  readonly epoch: number
  readonly blockSeq: number
  readonly offset: number
  readonly payload: Uint8Array
}

/** Every block of a segment whose checksums are right, in order. */
export function* blocksOf({ base, bytes, scan }: ReadSegment): Generator<SpoolBlock> {
  for (const place of scan.records) {
    const payload = tryReadPayload(bytes, place)
    if (payload !== undefined) yield { epoch: base.epoch, blockSeq: place.blockSeq, offset: place.offset, payload }
  }
}

/** What a block says of itself; undefined when its bytes are no block. */
export function tryDecode({ payload }: SpoolBlock): Block | undefined {
  try {
    return decodeBlock(payload)
  } catch {
    return undefined
  }
}

/** All that is wrong with a segment. What is at the end of the last one may just be on its way to the disk: see `tornBytes`. */
export function damagesOf(segment: ReadSegment): Damage[] {
  const { name, base, next, scan } = segment
  const found: Damage[] = scan.lost.map((range) => {
    const after = scan.records.find((record) => record.blockSeq === range.lastSeq + 1) as RecordPlace
    const { bytes, epoch, firstSeq, lastSeq } = range
    const what = bytes === 0 ? 'blocks are missing' : 'a record does not fit its checksum'
    return { file: name, offset: after.offset - bytes, bytes, epoch, firstSeq, lastSeq, what }
  })
  for (const block of blocksOf(segment)) {
    const head = tryDecode(block)?.head
    const { blockSeq, offset, payload } = block
    const place = { file: name, offset, bytes: RECORD_HEAD_BYTES + payload.length, epoch: base.epoch }
    const what =
      head === undefined
        ? 'its bytes are no block'
        : head.epoch === BigInt(base.epoch) && head.blockSeq === BigInt(blockSeq)
          ? ''
          : `the block inside is ${head.epoch}/${head.blockSeq}`
    if (what !== '') found.push({ ...place, firstSeq: blockSeq, lastSeq: blockSeq, what })
  }
  const firstSeq = (scan.records.at(-1)?.blockSeq ?? base.firstSeq - 1) + 1
  const tail = { file: name, offset: scan.goodBytes, bytes: scan.tailBytes, epoch: base.epoch, firstSeq }
  // A segment is synced whole before its follower is made: a shorter end is damage, not a torn write.
  if (next !== undefined && (scan.tailBytes > 0 || firstSeq < next.firstSeq))
    found.push({ ...tail, lastSeq: next.firstSeq - 1, what: 'its end is missing or damaged' })
  else if (scan.tailBytes > tornBytes(segment))
    found.push({ ...tail, lastSeq: firstSeq, what: 'its last record does not fit its checksum' })
  return found
}

/**
 * Bytes at the end of the last segment of an epoch that are a record cut short: it is being written, or the process died
 * while it was. The next start cuts them off; nothing that was accepted is in them.
 */
export function tornBytes({ base, next, bytes, scan }: ReadSegment): number {
  const { goodBytes, tailBytes } = scan
  if (next !== undefined || tailBytes === 0) return 0
  const isEmpty = bytes.subarray(goodBytes).every((byte) => byte === 0)
  const head = tryReadHead(bytes, goodBytes, base)
  const isCut =
    tailBytes < RECORD_HEAD_BYTES || (head !== undefined && tailBytes < RECORD_HEAD_BYTES + head.payloadBytes)
  return isEmpty || isCut ? tailBytes : 0
}

/** Numbers below which all blocks of a segment are delivered, and stored, as the spool last wrote them down. */
export interface Marks {
  acked(name: string): number
  committed(name: string): number
}

export async function readMarks(directory: string): Promise<Marks> {
  type Advice = Readonly<Record<'acked' | 'committed', Readonly<Record<string, number>> | undefined>>
  const text = await readFile(join(directory, 'ACKED'), 'utf8').catch(() => '{}')
  let advice: Partial<Advice> = {}
  try {
    advice = JSON.parse(text) as Partial<Advice>
  } catch {
    // it is advice: a damaged one is as none
  }
  return { acked: (name) => advice.acked?.[name] ?? 0, committed: (name) => advice.committed?.[name] ?? 0 }
}
