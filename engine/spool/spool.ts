import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'
import { committedBelow, heldBytesIn, restoreAcked, unackedIn, uncommittedIn, writeAcked } from './acks.ts'
import { AgainQueue, recordOf, type SpoolRecord } from './again.ts'
import { type Disk, openNodeDisk, osCode, readJson, replaceFile } from './disk.ts'
import { type Kept, KeptNote, NOTHING_KEPT, readKept } from './kept.ts'
import { type BlockRange, Ledger } from './ledger.ts'
import { type DirectoryLock, lockDirectory } from './lock.ts'
import type { SpoolOptions, SpoolStats } from './options.ts'
import {
  type LostBlocks,
  type Recovery,
  recover,
  type Segment,
  SegmentCursor,
  type StoredRecord,
  type TimesOf,
} from './reader.ts'
import { RECORD_HEAD_BYTES } from './segment.ts'
import { type DurableRecord, SegmentWriter } from './writer.ts'

export type { SpoolRecord } from './again.ts'
export type { BlockRange } from './ledger.ts'
export { SPOOL_DEFAULT, type SpoolOptions } from './options.ts'
export type { FsyncPolicy } from './writer.ts'

type EpochFile = Readonly<{ epoch: number; bootId: string }>

const EPOCH_FILE = 'EPOCH'
const EPOCH_MAX = 2 ** 32 - 1
const FREE_LOOK_MS = 1000
const ACKED_WRITE_MS = 5000
const TIMES_MS = 1000
const TELLS_NO_TIME: TimesOf = () => undefined

/** Opens the spool in a directory of the real file system and keeps others out of it. */
export async function openSpool(
  directory: string,
  options: SpoolOptions,
  nowMs: () => number,
  timesOf = TELLS_NO_TIME,
): Promise<Spool> {
  const disk = await openNodeDisk(directory)
  const lock = await lockDirectory(directory, new Date(nowMs()).toISOString())
  try {
    return await Spool.open(disk, options, nowMs, lock, timesOf)
  } catch (error) {
    await lock.release()
    throw error
  }
}

/**
 * Append, sync, give out in order, forget when stored. See segment.ts for the design.
 *
 * A block is *acknowledged* when those behind the spool took it, and *committed* when its rows are in the store. Between the
 * two it may still get lost there (a broker that syncs late, a disk that flips a bit), so the spool keeps it and gives it out
 * again when it is told so.
 *
 * One user: `append` and `next` are called from one thread, `next` by one consumer.
 */
export class Spool {
  readonly epoch: number
  readonly recovery: Recovery
  /** blocks that are damaged and were not stored before */
  readonly lost: readonly LostBlocks[]
  /** what the last run told; the anchor as long as the machine has not started since */
  readonly keptBefore: Kept
  /** what this run tells the next one */
  readonly kept: KeptNote
  /** the last block of this run that is durable */
  durableSeq = 0
  readonly stats: SpoolStats
  /** Called when `next()` may have something again. */
  onDurable: () => void = () => {}
  onSync: (tookMs: number) => void = () => {}
  /** Accepted blocks were deleted undelivered, as `onFull` says; from when to when they were made durable. */
  onDropped: (range: BlockRange, fromMs: number, toMs: number) => void = () => {}
  /** The disk failed: nothing more is accepted; the process should end. */
  onFault: (fault: Fault) => void = (fault) => {
    throw fault
  }
  readonly #disk: Disk
  readonly #options: SpoolOptions
  readonly #nowMs: () => number
  readonly #lock: DirectoryLock | undefined
  readonly #writer: SegmentWriter
  readonly #segments: Segment[]
  readonly #cursor: SegmentCursor
  #nextSeq = 1
  #resident: DurableRecord[] = []
  #residentBytes = 0
  #readSegment = 0
  #readOffset = 0
  /** the last block of that segment that was given out or stepped over */
  #readSeq = 0
  readonly #bootedMs: number // 0 unless the machine has started since the last run: others may have lost what they had
  readonly #ledger: Ledger
  readonly #again: AgainQueue
  #freeLow = false
  #wasShort = false
  #freeLookedAtMs = Number.NEGATIVE_INFINITY
  #ackedWrittenAtMs = 0
  #tending: Promise<void> | undefined

  static async open(
    disk: Disk,
    options: SpoolOptions,
    nowMs: () => number,
    lock?: DirectoryLock,
    timesOf = TELLS_NO_TIME,
    syncRecovered = true,
  ): Promise<Spool> {
    assert(
      options.bytesMax >= 2 * options.segmentBytesMax,
      `spool of ${options.bytesMax} bytes must hold two segments of ${options.segmentBytesMax}`,
    )
    const recovery = await recover(disk, timesOf, syncRecovered)
    const before = await readJson<EpochFile>(disk, EPOCH_FILE)
    const lastEpoch = Math.max(before?.epoch ?? 0, recovery.segments.at(-1)?.base.epoch ?? 0)
    // Seconds since 1970, so that a spool that was deleted does not give its old numbers again.
    const epoch = Math.max(lastEpoch + 1, Math.floor(nowMs() / 1000))
    assert(epoch <= EPOCH_MAX, `epoch ${epoch} does not fit 32 bits`)
    await replaceFile(disk, EPOCH_FILE, JSON.stringify({ epoch, bootId: disk.bootId() } satisfies EpochFile))
    // After a start of the operating system nobody knows what the others had on disk: everything is delivered again.
    const isSameBoot = before?.bootId === disk.bootId()
    const stored = isSameBoot ? await committedBelow(disk) : {}
    const lost = recovery.lost.filter(({ segment, lastSeq }) => lastSeq >= (stored[segment] ?? 0))
    // after a power cut the file may be younger than what the disk holds, unless each block was synced
    const isKept = isSameBoot || options.fsync.kind === 'group' || options.fsync.kind === 'every'
    const kept = isKept ? await readKept(disk) : NOTHING_KEPT
    const keptBefore = isSameBoot && disk.bootId() !== '' ? kept : { ...kept, anchorNs: 0n }
    if (isSameBoot) await restoreAcked(disk, recovery.segments)
    for (const name of await disk.list()) if (name.endsWith('.tmp')) await disk.remove(name)
    return new Spool(disk, options, nowMs, lock, { recovery, lost, keptBefore, isSameBoot }, epoch)
  }

  private constructor(
    disk: Disk,
    options: SpoolOptions,
    nowMs: () => number,
    lock: DirectoryLock | undefined,
    found: Pick<Spool, 'recovery' | 'lost' | 'keptBefore'> & { readonly isSameBoot: boolean },
    epoch: number,
  ) {
    this.#disk = disk
    this.#options = options
    this.#nowMs = nowMs
    this.#lock = lock
    const { recovery } = found
    this.recovery = recovery
    ;({ lost: this.lost, keptBefore: this.keptBefore } = found)
    this.epoch = epoch
    this.#bootedMs = found.isSameBoot ? 0 : nowMs()
    this.#segments = [...recovery.segments]
    this.#cursor = new SegmentCursor(disk)
    this.kept = new KeptNote(disk)
    this.stats = {
      appended: 0,
      appendedBytes: 0,
      acked: 0,
      unacked: this.#segments.reduce((sum, segment) => sum + unackedIn(segment), 0),
      uncommitted: this.#segments.reduce((sum, segment) => sum + uncommittedIn(segment), 0),
      resent: 0,
      bytes: recovery.bytes,
      heldBytes: 0,
      segments: this.#segments.length,
      syncs: 0,
      syncMsMax: 0,
      fullEvents: 0,
      droppedBlocks: 0,
      forgottenBlocks: 0,
      lostBlocks: recovery.lost.reduce((sum, range) => sum + range.lastSeq - range.firstSeq + 1, 0),
      tornBytes: recovery.tornBytes,
      readBack: 0,
    }
    for (const segment of this.#segments) this.#markIfComplete(segment)
    this.#ledger = new Ledger(this.#segments, this.stats)
    const cursor = new SegmentCursor(disk)
    this.#again = new AgainQueue((segment, offset) => this.#readBack(cursor, segment, offset))
    this.#writer = new SegmentWriter(
      disk,
      epoch,
      options,
      {
        onSegment: (segment) => {
          this.#segments.push(segment)
          this.stats.segments = this.#segments.length
        },
        onDurable: (records) => this.#takeDurable(records),
        onSync: (tookMs) => {
          this.stats.syncs++
          this.stats.syncMsMax = Math.max(this.stats.syncMsMax, tookMs)
          this.onSync(tookMs)
        },
        onFault: (fault) => this.onFault(fault),
      },
      nowMs,
    )
  }

  /** Sequence that the next appended block must carry. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /** Why nothing more is accepted, once the disk failed. */
  get writerFault(): Fault | undefined {
    return this.#writer.fault
  }

  /** False when the spool is full or the disk is; ask before each append, ask again after `tend()`. */
  hasRoom(payloadBytes: number): boolean {
    return this.shortage(payloadBytes) === ''
  }

  /** Why there is no room, for people; '' when there is. */
  shortage(payloadBytes: number): string {
    const { pendingBytesMax, bytesMax, freeBytesMin } = this.#options
    if (this.#writer.isStalled) return 'the disk is full: free some space'
    if (this.#freeLow) return `the disk has less than ${freeBytesMin} bytes free (spool.freeBytesMin): free some space`
    if (this.#writer.pendingBytes > pendingBytesMax) return 'the disk is slower than the data'
    if (this.stats.bytes + this.#writer.pendingBytes + RECORD_HEAD_BYTES + payloadBytes <= bytesMax) return ''
    return `it holds ${bytesMax} bytes (spool.maxBytes) that are not stored yet`
  }

  /** Accepts a block that carries `epoch` and `nextSeq`. It must not be changed afterwards. Durable after `flush()`. */
  append(payload: Uint8Array): void {
    this.#writer.append(this.#nextSeq, payload)
    this.#nextSeq++
    this.stats.appended++
    this.stats.appendedBytes += payload.length
    this.stats.unacked++
    this.stats.uncommitted++
  }

  /** Resolves when everything appended so far is on disk; rejects when the disk failed. */
  flush(): Promise<void> {
    return this.#writer.flush()
  }

  /** The next durable block: first those that have to go out again, then oldest first; undefined when there is none now (`onDurable` will tell). */
  async next(): Promise<SpoolRecord | undefined> {
    const again = await this.#again.next()
    if (again !== undefined) return again
    for (;;) {
      const segment = this.#segments[this.#readSegment]
      if (segment === undefined) return undefined
      const wasSealed = segment.sealed
      const stored = this.#takeResident(segment) ?? (await this.#readBack(this.#cursor, segment, this.#readOffset))
      if (segment !== this.#segments[this.#readSegment]) continue // deleted while we read
      if (stored !== undefined) {
        this.#readOffset = stored.nextOffset
        this.#readSeq = stored.blockSeq
        if (segment.acked.has(stored.blockSeq)) continue
        return recordOf(segment, stored, segment.base.epoch === this.epoch ? 0 : this.#bootedMs)
      }
      if (!wasSealed) return undefined
      this.#readSegment++
      this.#readOffset = this.#readSeq = 0
    }
  }

  /** Those behind the spool have the block: it need not be given out again unless they lose it. */
  ack(record: Pick<SpoolRecord, 'segment' | 'blockSeq'>): void {
    this.#ledger.ack(record.segment, record.blockSeq)
  }

  /** These blocks are stored. */
  commit(range: BlockRange): void {
    this.#ledger.commit(range)
  }

  /**
   * Delivered blocks of which nobody has said that they are stored, oldest first, in spans of at most `spanMax` blocks (some
   * of them may not be delivered), at most `countMax` spans.
   */
  uncommitted(spanMax: number, countMax: number): BlockRange[] {
    return this.#ledger.uncommitted(spanMax, countMax)
  }

  /** Of these blocks, those that were delivered and are not known to be stored. */
  delivered(range: BlockRange): number[] {
    return this.#ledger.delivered(range)
  }

  /** Those go out again. @returns how many that are. */
  again(range: BlockRange): number {
    const count = this.#ledger.again(range, (segment, seq) => {
      if (this.#isBehind(segment, seq)) this.#again.add(segment, seq, this.#nowMs())
    })
    if (count > 0) this.onDurable()
    return count
  }

  /** Whether `next` in its usual order will not come to this block any more. */
  #isBehind(segment: Segment, seq: number): boolean {
    const index = this.#segments.indexOf(segment)
    return index < this.#readSegment || (index === this.#readSegment && seq <= this.#readSeq)
  }

  /** Since when the oldest block that is durable here is not known to be stored, ms since the epoch (to a second); undefined when all are. */
  uncommittedSinceMs(): number | undefined {
    return this.#ledger.uncommittedSinceMs()
  }

  /** Deletes what may go until there is `roomBytes`, looks at the free space, writes the advice. Every 100 ms or so. */
  tend(roomBytes = 0): Promise<void> {
    this.#tending ??= this.#tend(roomBytes).finally(() => {
      this.#tending = undefined
    })
    return this.#tending
  }

  /** Blocks that wait for a full disk are given up; @returns how many. */
  async close(): Promise<number> {
    const given = await this.#writer.close()
    if (this.#writer.fault === undefined) {
      await this.#writeAcked()
      await this.kept.write()
    }
    await this.#lock?.release()
    return given
  }

  #takeDurable(records: readonly DurableRecord[]): void {
    const now = this.#nowMs()
    this.durableSeq = records.at(-1)?.blockSeq ?? this.durableSeq
    for (const record of records) {
      const { times } = record.segment
      if (now - (times.at(-1)?.ms ?? 0) >= TIMES_MS) times.push({ seq: record.blockSeq, ms: now })
      this.stats.bytes += RECORD_HEAD_BYTES + record.payload.length
      if (this.#residentBytes + record.payload.length > this.#options.residentBytesMax) continue
      this.#resident.push(record)
      this.#residentBytes += record.payload.length
    }
    this.onDurable()
  }

  /** The record at the reading position, if memory still has it. Records behind that position are let go. */
  #takeResident(segment: Segment) {
    for (;;) {
      const head = this.#resident[0]
      if (head === undefined) return undefined
      if (head.segment === segment && head.offset > this.#readOffset) return undefined
      if (head.segment !== segment && this.#segments.indexOf(head.segment) > this.#readSegment) return undefined
      this.#resident.shift()
      this.#residentBytes -= head.payload.length
      if (head.segment === segment && head.offset === this.#readOffset) {
        return {
          blockSeq: head.blockSeq,
          payload: head.payload,
          nextOffset: head.offset + RECORD_HEAD_BYTES + head.payload.length,
        }
      }
    }
  }

  async #readBack(cursor: SegmentCursor, segment: Segment, offset: number): Promise<StoredRecord | undefined> {
    try {
      const stored = await cursor.read(segment, offset)
      if (stored !== undefined) this.stats.readBack++
      return stored
    } catch (error) {
      if (!this.#segments.includes(segment)) return undefined // dropped while we read
      throw new Fault(
        'SPOOL_READ',
        `spool segment ${segment.name} in ${this.#disk.directory} cannot be read (${osCode(error)}): check the disk`,
        undefined,
        { cause: error },
      )
    }
  }

  #markIfComplete(segment: Segment): void {
    if (segment.completeAtMs === undefined && segment.sealed && uncommittedIn(segment) <= 0)
      segment.completeAtMs = this.#nowMs()
  }

  async #tend(roomBytes: number): Promise<void> {
    const now = this.#nowMs()
    await this.#writer.syncIfDue()
    for (const segment of this.#segments) this.#markIfComplete(segment)
    if (now - this.#freeLookedAtMs >= FREE_LOOK_MS) await this.#lookAtFree(now)
    const isShort = () => !this.hasRoom(Math.max(roomBytes, this.#options.segmentBytesMax >> 1))
    let short = isShort()
    if (short && !this.#wasShort) this.stats.fullEvents++
    this.#wasShort = short
    this.stats.heldBytes = this.#writer.pendingBytes + heldBytesIn(this.#segments)
    for (;;) {
      const oldest = this.#segments[0]
      if (oldest === undefined || !this.#mayDelete(oldest, short, now)) break
      await this.#deleteOldest(oldest)
      if (!short) continue
      await this.#lookAtFree(now)
      if (this.#writer.isStalled) break // whether it helped is known when the writer tries again
      short = isShort()
    }
    if (now - this.#ackedWrittenAtMs >= ACKED_WRITE_MS) await this.#writeAcked()
    await this.kept.writeIfDue(now)
  }

  #mayDelete(segment: Segment, short: boolean, now: number): boolean {
    if (segment.completeAtMs !== undefined) return short || now - segment.completeAtMs >= this.#options.retainAckedMs
    if (!short || !segment.sealed) return false
    // Others have these; without a store that says what it has, the spool must not fill for ever.
    return unackedIn(segment) <= 0 || this.#options.onFull === 'dropOldest'
  }

  async #lookAtFree(now: number): Promise<void> {
    this.#freeLookedAtMs = now
    this.#freeLow = (await this.#disk.freeBytes()) < this.#options.freeBytesMin
  }

  /** Only ever the oldest: so a missing number in the middle is always damage, never housekeeping. */
  async #deleteOldest(segment: Segment): Promise<void> {
    this.#segments.shift()
    if (this.#readSegment > 0) this.#readSegment--
    else this.#readOffset = this.#readSeq = 0
    const [dropped, uncommitted] = [unackedIn(segment), uncommittedIn(segment)]
    this.stats.droppedBlocks += dropped
    this.stats.unacked -= dropped
    this.stats.forgottenBlocks += uncommitted - dropped
    this.stats.uncommitted -= uncommitted
    this.stats.bytes -= segment.bytes
    this.stats.segments = this.#segments.length
    const { base, lastSeq, times } = segment
    const toMs = this.#segments[0]?.times[0]?.ms ?? this.#nowMs()
    if (dropped > 0) this.onDropped({ ...base, lastSeq }, times[0]?.ms ?? toMs, toMs)
    await this.#disk.remove(segment.name)
  }

  async #writeAcked(): Promise<void> {
    this.#ackedWrittenAtMs = this.#nowMs()
    await writeAcked(this.#disk, this.#segments)
  }
}
