import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'
import { type Disk, type DiskFile, isFull } from './disk.ts'
import { newSegment, type Segment } from './reader.ts'
import { encodeRecordHead, RECORD_HEAD_BYTES } from './segment.ts'

/**
 * When a record counts as durable.
 *
 *   group      after an fdatasync that starts at most `delayMsMax` after it came; all that came meanwhile share it
 *   every      after an fdatasync of its own
 *   interval   at once when it is written; an fdatasync every `intervalMs` (a power cut may cost that much)
 *   off        at once when it is written; never synced (a power cut may cost what the system has not written back)
 */
export type FsyncPolicy =
  | { readonly kind: 'group'; readonly delayMsMax: number }
  | { readonly kind: 'every' }
  | { readonly kind: 'interval'; readonly intervalMs: number }
  | { readonly kind: 'off' }

export interface WriterOptions {
  readonly fsync: FsyncPolicy
  readonly segmentBytesMax: number
  readonly segmentAgeMsMax: number
  /** how long to wait before a full disk is tried again */
  readonly fullRetryMs: number
}

export interface DurableRecord {
  readonly segment: Segment
  readonly offset: number
  readonly blockSeq: number
  readonly payload: Uint8Array
}

export interface WriterEvents {
  onSegment(segment: Segment): void
  onDurable(records: readonly DurableRecord[]): void
  onSync(tookMs: number): void
  onFault(fault: Fault): void
}

interface Pending {
  readonly blockSeq: number
  readonly payload: Uint8Array
}

/** One writev takes at most 1,024 pieces, two a record. */
const BATCH_RECORDS_MAX = 256
/** A batch this large is not held back for company. */
const BATCH_BYTES_ENOUGH = 1024 * 1024

/**
 * Group commit: one writer, one write or fdatasync in flight, in the thread pool; what comes meanwhile waits and becomes
 * the next batch. So the number of syncs adapts to the disk, and the event loop never stands still for it.
 */
export class SegmentWriter {
  readonly #disk: Disk
  readonly #epoch: number
  readonly #options: WriterOptions
  readonly #events: WriterEvents
  readonly #nowMs: () => number
  #pending: Pending[] = []
  #pendingBytes = 0
  #running: Promise<void> | undefined
  #file: DiskFile | undefined
  #segment: Segment | undefined
  #segmentSinceMs = 0
  #syncedBytes = 0
  #syncedAtMs = 0
  #stalled = false
  #closing = false
  #fault: Fault | undefined

  constructor(disk: Disk, epoch: number, options: WriterOptions, events: WriterEvents, nowMs: () => number) {
    this.#disk = disk
    this.#epoch = epoch
    this.#options = options
    this.#events = events
    this.#nowMs = nowMs
  }

  /** Bytes that wait in memory to be written. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** True while the disk is full. */
  get isStalled(): boolean {
    return this.#stalled
  }

  get fault(): Fault | undefined {
    return this.#fault
  }

  /** Takes the payload over: the caller must not change it any more. Sequences must rise by one. */
  append(blockSeq: number, payload: Uint8Array): void {
    if (this.#fault !== undefined) throw this.#fault
    assert(!this.#closing, 'append to a spool that is closing')
    this.#pending.push({ blockSeq, payload })
    this.#pendingBytes += RECORD_HEAD_BYTES + payload.length
    this.#running ??= this.#run()
  }

  /** Resolves when everything appended so far is on disk. */
  async flush(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#fault !== undefined) throw this.#fault
    await this.#sync()
  }

  /** For the policy `interval`, when nothing is appended any more. */
  async syncIfDue(): Promise<void> {
    const { fsync } = this.#options
    if (fsync.kind !== 'interval' || this.#running !== undefined || this.#fault !== undefined) return
    if (this.#nowMs() - this.#syncedAtMs < fsync.intervalMs) return
    this.#running = this.#sync()
      .catch((error) => this.#fail(error))
      .then(() => this.#run())
    await this.#running
  }

  /** Seals the active segment. What still waits for a full disk is given up; @returns how many blocks that are. */
  async close(): Promise<number> {
    this.#closing = true
    while (this.#running !== undefined) await this.#running
    if (this.#fault === undefined) await this.#seal()
    return this.#pending.length
  }

  async #run(): Promise<void> {
    try {
      while (this.#pending.length > 0 && !(this.#closing && this.#stalled)) {
        await this.#gather()
        await this.#commitBatch()
      }
    } catch (error) {
      this.#fail(error)
    }
    this.#running = undefined
  }

  async #gather(): Promise<void> {
    const { fsync } = this.#options
    if (fsync.kind === 'group' && fsync.delayMsMax > 0 && this.#pendingBytes < BATCH_BYTES_ENOUGH && !this.#closing)
      await sleep(fsync.delayMsMax)
  }

  async #commitBatch(): Promise<void> {
    const first = this.#pending[0] as Pending
    const segment = await this.#segmentFor(first)
    if (segment === undefined) return
    const batch = this.#takeBatch(segment)
    const chunks = batch.flatMap(({ blockSeq, payload }) => [
      encodeRecordHead(segment.base, blockSeq, payload),
      payload,
    ])
    try {
      await (this.#file as DiskFile).append(chunks)
    } catch (error) {
      return await this.#stall(error, batch, segment)
    }
    this.#stalled = false
    await this.#publish(segment, batch)
  }

  #takeBatch(segment: Segment): Pending[] {
    const countMax = this.#options.fsync.kind === 'every' ? 1 : BATCH_RECORDS_MAX
    let bytes = segment.bytes
    let count = 0
    while (count < Math.min(countMax, this.#pending.length)) {
      bytes += RECORD_HEAD_BYTES + (this.#pending[count] as Pending).payload.length
      if (count > 0 && bytes > this.#options.segmentBytesMax) break
      count++
    }
    return this.#pending.splice(0, count)
  }

  /** Durable, then visible: the order of these lines is the promise. */
  async #publish(segment: Segment, batch: readonly Pending[]): Promise<void> {
    const records = batch.map(({ blockSeq, payload }) => {
      const offset = segment.bytes
      segment.bytes += RECORD_HEAD_BYTES + payload.length
      segment.lastSeq = blockSeq
      segment.recordCount++
      return { segment, offset, blockSeq, payload }
    })
    const { fsync } = this.#options
    const due = fsync.kind === 'interval' && this.#nowMs() - this.#syncedAtMs >= fsync.intervalMs
    if (fsync.kind === 'group' || fsync.kind === 'every' || due) await this.#sync()
    segment.durableBytes = segment.bytes
    for (const { payload } of records) this.#pendingBytes -= RECORD_HEAD_BYTES + payload.length
    this.#events.onDurable(records)
  }

  async #segmentFor(first: Pending): Promise<Segment | undefined> {
    const segment = this.#segment
    if (segment !== undefined) {
      const full =
        segment.bytes + RECORD_HEAD_BYTES + first.payload.length > this.#options.segmentBytesMax &&
        segment.recordCount > 0
      const old = this.#nowMs() - this.#segmentSinceMs > this.#options.segmentAgeMsMax
      if (!full && !old) return segment
    }
    await this.#seal()
    return this.#begin(first.blockSeq)
  }

  /** Roll, first half: the old segment is whole on disk before the new one exists. */
  async #seal(): Promise<void> {
    if (this.#file === undefined) return
    await this.#sync()
    await this.#file.close()
    ;(this.#segment as Segment).sealed = true
    this.#file = undefined
    this.#segment = undefined
  }

  /** Roll, second half: the new name is on disk before its first record counts. */
  async #begin(firstSeq: number): Promise<Segment | undefined> {
    const segment = newSegment({ epoch: this.#epoch, firstSeq })
    try {
      this.#file = await this.#disk.create(segment.name)
    } catch (error) {
      await this.#stall(error, [], undefined)
      return undefined
    }
    if (this.#options.fsync.kind !== 'off') await this.#disk.syncDirectory()
    this.#segment = segment
    this.#segmentSinceMs = this.#nowMs()
    this.#syncedBytes = 0
    this.#events.onSegment(segment)
    return segment
  }

  async #sync(): Promise<void> {
    if (this.#file === undefined || this.#segment === undefined) return
    if (this.#options.fsync.kind === 'off' || this.#syncedBytes === this.#segment.bytes) return
    const startMs = this.#nowMs()
    const bytes = this.#segment.bytes
    await this.#file.sync()
    this.#syncedBytes = bytes
    this.#syncedAtMs = this.#nowMs()
    this.#events.onSync(this.#syncedAtMs - startMs)
  }

  /** A full disk: cut off what was half written and try again later. Any other error ends the spool. */
  async #stall(error: unknown, batch: readonly Pending[], segment: Segment | undefined): Promise<void> {
    if (!isFull(error)) throw error
    if (segment !== undefined) await (this.#file as DiskFile).truncate(segment.bytes)
    this.#pending = [...batch, ...this.#pending]
    this.#stalled = true
    if (!this.#closing) await sleep(this.#options.fullRetryMs)
  }

  #fail(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#fault = new Fault(
      'SPOOL_IO',
      `spool in ${this.#disk.directory} cannot be written (${reason}): check the disk; blocks that were accepted before are safe`,
      undefined,
      { cause: error },
    )
    this.#events.onFault(this.#fault)
  }
}
