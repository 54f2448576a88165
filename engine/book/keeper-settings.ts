import { LADDER_LIMITS } from './ladder.ts'
import type { LadderLimits } from './ladder.ts'

/** What a keeper is given, and what it tells. */
export interface KeeperLimits {
  /** Events that wait for a snapshot. */
  bufferedFramesMax: number
  /** Events after which a crossed book is believed to be wrong. */
  crossedEventsMax: number
  /** A REST snapshot with so many levels a side was cut: deeper levels are unknown. */
  snapshotLevels: number
  /** Whether there is somebody to give a LIVE book a second snapshot (not in a replay). */
  refreshes: boolean
  ladder: LadderLimits
}

export const KEEPER_LIMITS: KeeperLimits = {
  bufferedFramesMax: 2048,
  crossedEventsMax: 8,
  snapshotLevels: 1000,
  refreshes: true,
  ladder: LADDER_LIMITS,
}

/** What the keeper tells; the shard counts and sends. */
export interface KeeperEvents {
  /** A snapshot is wanted. @param attempt 0 for the first one since the book was lost. */
  wantSnapshot(instrument: number, attempt: number): void
  /** A snapshot is due to come by itself: the stream was just subscribed. */
  awaitSnapshot(instrument: number): void
  /** No snapshot is wanted any more: the book is anchored, or no connection carries it, or nobody wants it. */
  settled(instrument: number): void
  stateChanged(instrument: number, from: number, to: number): void
  /** The book was set from a snapshot (`anchor`), or built anew without leaving LIVE (`refresh`); it is LIVE. */
  anchored(instrument: number, reason: 'anchor' | 'refresh'): void
  count(
    what:
      | 'applied'
      | 'stale'
      | 'unchained'
      | 'duplicates'
      | 'resyncs'
      | 'anchors'
      | 'snapshots_old'
      | 'buffer_overflows'
      | 'keep_alives'
      | 'resets'
      | 'checksums_good'
      | 'checksums_bad',
    by: number,
  ): void
}
