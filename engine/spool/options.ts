import type { FsyncPolicy } from './writer.ts'

export interface SpoolOptions {
  readonly fsync: FsyncPolicy
  readonly segmentBytesMax: number
  readonly segmentAgeMsMax: number
  /** all segments together */
  readonly bytesMax: number
  /** the spool leaves at least this much of the file system free */
  readonly freeBytesMin: number
  /** `wait`: take no more, so that back-pressure reaches the socket. `dropOldest`: delete undelivered blocks, counted. */
  readonly onFull: 'wait' | 'dropOldest'
  /** stored segments are kept this long, in case the store loses what it acknowledged */
  readonly retainAckedMs: number
  /** payloads that wait in memory until they are written; beyond that nothing more is accepted */
  readonly pendingBytesMax: number
  /** payloads kept in memory until they are delivered; beyond that they are read back from the disk */
  readonly residentBytesMax: number
  readonly fullRetryMs: number
}

export const SPOOL_DEFAULT: SpoolOptions = {
  fsync: { kind: 'group', delayMsMax: 5 },
  segmentBytesMax: 64 * 1024 * 1024,
  segmentAgeMsMax: 10 * 60_000,
  bytesMax: 10 * 1024 ** 3,
  freeBytesMin: 1024 ** 3,
  onFull: 'wait',
  retainAckedMs: 15 * 60_000,
  pendingBytesMax: 32 * 1024 * 1024, // a second of a disk that stumbles
  residentBytesMax: 8 * 1024 * 1024, // half a second of delivery that stumbles
  fullRetryMs: 1000,
}

export interface SpoolStats {
  appended: number
  appendedBytes: number
  acked: number
  /** blocks in the spool that are not delivered */
  unacked: number
  /** blocks in the spool of which nobody has said that they are stored; those that are not delivered count */
  uncommitted: number
  /** blocks that went out again because who had taken them lost them */
  resent: number
  /** bytes of all segments */
  bytes: number
  /** bytes that no want of room can free: those of segments with blocks that are not delivered */
  heldBytes: number
  segments: number
  syncs: number
  syncMsMax: number
  fullEvents: number
  droppedBlocks: number
  /** delivered, not known to be stored, and deleted for want of room */
  forgottenBlocks: number
  lostBlocks: number
  tornBytes: number
  readBack: number
}
