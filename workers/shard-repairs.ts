import { elapsedMs, type FrameTime, type GapRow } from '../engine/record/recorder.ts'
import type { TradeChannel } from '../engine/record/emit.ts'
import type { InstrumentSlot } from './shard-instruments.ts'

/**
 * Trades that are known to be missing, by their numbers. First another connection that carries the same trades may still
 * have them (A/B legs, a new generation beside the old one); then there is a gap, and REST is asked. What comes closes
 * the hole number by number; a hole that is whole again makes its gap `repaired`.
 */
export interface TradeHole {
  readonly slot: InstrumentSlot
  readonly channel: TradeChannel
  readonly firstSeq: number
  readonly lastSeq: number
  missingCount: number
  /** of the gap as it is or will be written */
  readonly gap: GapRow
  isWritten: boolean
  /** when it was seen */
  readonly hi: number
  readonly lo: number
}

/** How long another leg may take to bring what this one lacks. */
const LEG_WAIT_MS = 2_000
/** Holes beyond this are not repaired; their gaps stay. */
const HOLES_MAX = 256
/** REST answers within this or not at all. */
const REPAIR_MS_MAX = 600_000

export interface RepairEvents {
  /** The gap of this hole is a fact now. */
  writeGap(hole: TradeHole): void
  /** Everything that was missing is there. */
  repaired(hole: TradeHole): void
  wantTrades(hole: TradeHole): void
}

export class TradeRepairs {
  readonly #events: RepairEvents
  readonly #time: FrameTime
  #holes: TradeHole[] = []

  constructor(events: RepairEvents, time: FrameTime) {
    this.#events = events
    this.#time = time
  }

  get count(): number {
    return this.#holes.length
  }

  /** @param mayCome whether another connection may still bring it. */
  add(hole: TradeHole, mayCome: boolean): void {
    if (this.#holes.length >= HOLES_MAX) {
      if (!hole.isWritten) this.#events.writeGap(hole)
      return
    }
    this.#holes.push(hole)
    if (!mayCome) this.#tell(hole)
  }

  #tell(hole: TradeHole): void {
    if (!hole.isWritten) this.#events.writeGap(hole)
    hole.isWritten = true
    this.#events.wantTrades(hole)
  }

  /** Trades of these numbers are here after all. @returns whether a hole wanted them. */
  fill(slot: InstrumentSlot, channel: TradeChannel, firstSeq: number, lastSeq: number): boolean {
    const hole = this.#holes.find(
      (candidate) =>
        candidate.slot === slot &&
        candidate.channel === channel &&
        candidate.firstSeq <= firstSeq &&
        lastSeq <= candidate.lastSeq,
    )
    if (hole === undefined) return false
    hole.missingCount -= lastSeq - firstSeq + 1
    if (hole.missingCount > 0) return true
    this.#holes.splice(this.#holes.indexOf(hole), 1)
    if (hole.isWritten) this.#events.repaired(hole)
    return true
  }

  /** Nobody has them: the gaps of this instrument stay as they are. */
  giveUp(slot: InstrumentSlot): void {
    this.#holes = this.#holes.filter((hole) => hole.slot !== slot || !hole.isWritten)
  }

  /** Time passes. */
  tick(): void {
    if (this.#holes.length === 0) return
    const { hi, lo } = this.#time
    const isOver = (hole: TradeHole): boolean => elapsedMs(hole.hi, hole.lo, hi, lo) > REPAIR_MS_MAX
    for (const hole of this.#holes)
      if (!hole.isWritten && elapsedMs(hole.hi, hole.lo, hi, lo) >= LEG_WAIT_MS) this.#tell(hole)
    this.#holes = this.#holes.filter((hole) => !isOver(hole))
  }

  /** The process ends: what waited for another connection is a gap. */
  finish(): void {
    for (const hole of this.#holes) if (!hole.isWritten) this.#events.writeGap(hole)
    this.#holes = []
  }
}
