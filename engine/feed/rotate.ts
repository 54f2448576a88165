import { backoffMs } from '../base/backoff.ts'
import type { Random } from '../base/random.ts'
import type { Link } from './link.ts'

/**
 * Make before break: a socket that will end is replaced while it still delivers.
 *
 *   old  ──delivers────────────────────────────────┤ ended
 *   new         open ─ subscribed ├── overlap ─────┤ lives ──►
 *
 * The new one lives when everything it asked for is acknowledged and the overlap has passed, in which it delivered if the
 * old one did. Which streams delivered is not known here (no byte of a frame is read on this thread); an overlap that is
 * long against the venue's slowest path serves the same end, and the shard, which sees both, drops what comes twice.
 * Should the old one end first, the new one takes its place; unless all it asked for is acknowledged, that is a loss and is
 * told as one.
 */
export interface RotationTiming {
  /** both sockets deliver for so long */
  readonly overlapMs: number
  readonly rotationFloorMs: number
  readonly rotationCapMs: number
}

export const ROTATION_TIMING: RotationTiming = { overlapMs: 5_000, rotationFloorMs: 1_000, rotationCapMs: 300_000 }

/** A planned end comes at a random point of this part of the venue's limit, so that sockets do not end together. */
const LIFE_SHARE_MIN = 0.9
const LIFE_SHARE_MAX = 0.97
/** A life shorter than the rotation itself takes (compressed, in a test) gives it this part. */
const LEAD_SHARE_MAX = 1 / 3
/** Twenty backoffs are an hour and more: what refuses for so long will not change its mind for this socket. */
const ATTEMPTS_MAX = 20
/** The new socket has this many overlaps to deliver something when the old one does. */
const SILENT_OVERLAPS_MAX = 3

/**
 * How old a socket gets before it is replaced.
 * @param lifeMsMax the venue closes it then; 0: never
 * @param leadMs what a rotation may take
 */
export function lifeMs(lifeMsMax: number, leadMs: number, random: Random): number {
  if (lifeMsMax === 0) return Number.POSITIVE_INFINITY
  const lastMs = Math.min(lifeMsMax * LIFE_SHARE_MAX, lifeMsMax - Math.min(leadMs, lifeMsMax * LEAD_SHARE_MAX))
  return lastMs - random() * (LIFE_SHARE_MAX - LIFE_SHARE_MIN) * lifeMsMax
}

/**
 * The sockets that one address has open at a venue, all markets together, and which connections are being replaced: copies
 * of one connection (legs) never at once, and never more sockets than the venue allows.
 */
export class VenueSockets {
  /** infinite where the venue does not count */
  readonly countMax: number
  openCount = 0
  readonly #rotating = new Set<string>()
  /** of these, whose new socket waits for its turn to connect */
  readonly #waiting = new Set<string>()

  constructor(countMax: number = Number.POSITIVE_INFINITY) {
    this.countMax = countMax
  }

  get rotatingCount(): number {
    return this.#rotating.size
  }

  /** @param group the same for all legs of one connection */
  tryRotate(group: string): boolean {
    if (this.#rotating.has(group) || this.openCount + this.#waiting.size >= this.countMax) return false
    this.#rotating.add(group)
    this.#waiting.add(group)
    return true
  }

  /** The new socket exists. */
  begun(group: string): void {
    this.#waiting.delete(group)
  }

  /** It has taken over, or it is gone. */
  rotated(group: string): void {
    this.#rotating.delete(group)
    this.#waiting.delete(group)
  }
}

export type RotationVerdict = 'WAIT' | 'LIVES' | 'SILENT'

/** Whether and when the socket of one connection is to be replaced, and whether the new one has proved itself. */
export class Rotation {
  readonly #timing: RotationTiming
  readonly #random: Random
  #reason: string | undefined
  #attempt = 0
  #notBeforeMs = 0
  /** frames of the old socket when the new one was subscribed */
  #oldFrameCount: number | undefined

  constructor(timing: RotationTiming, random: Random) {
    this.#timing = timing
    this.#random = random
  }

  get reason(): string | undefined {
    return this.#reason
  }

  want(reason: string): void {
    this.#reason ??= reason
  }

  isDue(nowMs: number): boolean {
    return this.#reason !== undefined && this.#attempt < ATTEMPTS_MAX && nowMs >= this.#notBeforeMs
  }

  /** @returns when it is tried again; undefined: never, the old socket lives as long as it may. */
  failed(nowMs: number): number | undefined {
    const { rotationFloorMs, rotationCapMs } = this.#timing
    const delayMs = backoffMs(this.#attempt, rotationFloorMs, rotationCapMs, this.#random)
    this.#attempt++
    this.#notBeforeMs = nowMs + delayMs
    this.#oldFrameCount = undefined
    return this.#attempt < ATTEMPTS_MAX ? delayMs : undefined
  }

  /** The old socket is gone, one way or the other. */
  over(): void {
    this.#reason = undefined
    this.#oldFrameCount = undefined
    this.#attempt = 0
    this.#notBeforeMs = 0
  }

  judge(nowMs: number, old: Link, fresh: Link): RotationVerdict {
    const { subscribedMs } = fresh
    if (subscribedMs === undefined) return 'WAIT'
    this.#oldFrameCount ??= old.frameCount
    const overlappedMs = nowMs - subscribedMs
    if (overlappedMs < this.#timing.overlapMs) return 'WAIT'
    if (fresh.frameCount > 0 || old.frameCount === this.#oldFrameCount) return 'LIVES'
    return overlappedMs < this.#timing.overlapMs * SILENT_OVERLAPS_MAX ? 'WAIT' : 'SILENT'
  }
}
