/**
 * How many workers a consumer should have, from the messages that wait for it. Two thresholds far apart, and a condition
 * must hold without a break for a while before it counts, at each step anew: what goes up and down faster than that, or
 * stays between the thresholds, changes nothing.
 */
export interface ScaleOptions {
  readonly workersMin: number
  readonly workersMax: number
  readonly startAbovePending: number
  readonly stopBelowPending: number
  readonly holdMs: number
}

export const SCALE_DEFAULT: ScaleOptions = {
  workersMin: 1,
  workersMax: 4,
  startAbovePending: 50_000,
  stopBelowPending: 1_000,
  holdMs: 30_000,
}

export class Scale {
  readonly #options: ScaleOptions
  #workers: number
  #aboveSinceMs: number | undefined
  #belowSinceMs: number | undefined

  constructor(options: ScaleOptions) {
    this.#options = options
    this.#workers = options.workersMin
  }

  /** @returns how many there should be from now on: one more or one less than before at most. */
  look(pending: number, nowMs: number): number {
    const { workersMin, workersMax, startAbovePending, stopBelowPending, holdMs } = this.#options
    this.#aboveSinceMs = pending > startAbovePending ? (this.#aboveSinceMs ?? nowMs) : undefined
    this.#belowSinceMs = pending < stopBelowPending ? (this.#belowSinceMs ?? nowMs) : undefined
    if (this.#aboveSinceMs !== undefined && nowMs - this.#aboveSinceMs >= holdMs && this.#workers < workersMax) {
      this.#workers++
      this.#aboveSinceMs = nowMs
    }
    if (this.#belowSinceMs !== undefined && nowMs - this.#belowSinceMs >= holdMs && this.#workers > workersMin) {
      this.#workers--
      this.#belowSinceMs = nowMs
    }
    return this.#workers
  }
}
