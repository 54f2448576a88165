/**
 * The duty loop of a worker thread: work, and when there is none, wait as the idle policy says. A worker ends by
 * returning: its inboxes are stopped and empty. A worker that throws ends its thread, and the pool starts another.
 */
import { type EventIdle, BlockingIdle, type IdleOptions } from '../engine/ring/idle.ts'
import type { Heartbeat } from '../engine/ring/heartbeat.ts'
import type { RingReader } from '../engine/ring/ring.ts'

/** Why a worker was started again: its frames begin at this time, all before is lost and belongs to a gap. */
export interface RestartNotice {
  readonly reason: 'crashed' | 'hung' | 'replaced'
  /** how many have died in this place */
  readonly lives: number
  /** time of the restart, ns since the epoch as two words (the anchor of engine/base/clock.ts) */
  readonly atHi: number
  readonly atLo: number
  /**
   * receive time of the oldest frame that was thrown away, else time of the last heart beat: where the dead worker stood.
   * Rows up to one batch age older may have been in its open blocks; the gap begins that much before.
   */
  readonly sinceHi: number
  readonly sinceLo: number
  /** DATA frames that stood in its ring and were thrown away */
  readonly framesLost: number
}

/** `workerData` of a book worker. */
export interface BookSeat<Settings = unknown> {
  readonly role: 'book'
  readonly workerIndex: number
  readonly anchorNs: bigint
  readonly idle: IdleOptions
  /** one line a worker; this worker's is `workerIndex` */
  readonly heartbeats: SharedArrayBuffer
  /** ring to read */
  readonly frames: SharedArrayBuffer
  /** rings to write */
  readonly batches: SharedArrayBuffer
  readonly requests: SharedArrayBuffer
  /** memory of this worker's Counters; it outlives a restart */
  readonly counters: SharedArrayBuffer
  readonly settings: Settings
  readonly restart?: RestartNotice
}

/** `workerData` of the sink worker; its heart is the line after those of the book workers. */
export interface SinkSeat<Settings = unknown> {
  readonly role: 'sink'
  readonly workerIndex: number
  readonly anchorNs: bigint
  readonly idle: IdleOptions
  readonly heartbeats: SharedArrayBuffer
  /** rings to read, one a book worker */
  readonly batches: readonly SharedArrayBuffer[]
  readonly counters: SharedArrayBuffer
  readonly settings: Settings
  readonly restart?: RestartNotice
}

/** `workerData` of the store worker, which reads no ring. */
export interface StoreSeat<Settings = unknown> {
  readonly role: 'store'
  readonly workerIndex: number
  readonly anchorNs: bigint
  readonly heartbeats: SharedArrayBuffer
  readonly counters: SharedArrayBuffer
  readonly settings: Settings
  readonly restart?: RestartNotice
}

/** Runs a worker that blocks its thread; returns when the inbox is stopped and empty. @param doWork does a bounded piece of work and returns how much it was. */
export function runLoop(inbox: RingReader, heartbeat: Heartbeat, idleOptions: IdleOptions, doWork: () => number): void {
  const idle = new BlockingIdle(idleOptions)
  for (;;) {
    heartbeat.beat()
    if (doWork() > 0) continue
    if (inbox.hasRecords()) continue
    if (inbox.isStopped()) return
    idle.wait(inbox)
  }
}

/**
 * As `runLoop` for a worker that lives in an event loop (sockets, promises): gives the event loop a turn after each piece
 * of work. Returns when all inboxes are stopped and empty; the caller then flushes and closes what it owns.
 */
export async function runEventLoop(
  inboxes: readonly RingReader[],
  heartbeat: Heartbeat,
  idle: EventIdle,
  doWork: () => number | Promise<number>,
): Promise<void> {
  for (;;) {
    heartbeat.beat()
    const count = await doWork()
    if (count > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      continue
    }
    if (inboxes.some((inbox) => inbox.hasRecords())) continue
    if (inboxes.every((inbox) => inbox.isStopped())) return
    await idle.wait()
  }
}
