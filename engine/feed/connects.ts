import { assert } from '../base/assert.ts'

export interface ConnectBudgetOptions {
  /** attempts allowed in any window, our share of what the venue allows one IP */
  readonly connectsMax: number
  readonly windowMs: number
  /** two attempts are never closer than this, so that a boot or a storm comes out as a queue */
  readonly spacingMs: number
}

/**
 * When the next connection attempt of one venue and IP may go out.
 *
 * Exact: whatever the moment, no window of `windowMs` holds more than `connectsMax` attempts. It remembers the last
 * `connectsMax` granted times in a ring; the attempt to come must lie one window after the oldest of them.
 */
export class ConnectBudget {
  readonly options: ConnectBudgetOptions
  readonly #grantedMs: Float64Array
  #count = 0

  constructor(options: ConnectBudgetOptions) {
    assert(options.connectsMax >= 1 && Number.isInteger(options.connectsMax), `connectsMax ${options.connectsMax}`)
    assert(options.windowMs >= 0 && options.spacingMs >= 0, 'connect window and spacing are not negative')
    this.options = options
    this.#grantedMs = new Float64Array(options.connectsMax)
  }

  /** Takes the next place in the queue. @returns ms to wait before the attempt. */
  reserveMs(nowMs: number): number {
    const { connectsMax, windowMs, spacingMs } = this.options
    let atMs = nowMs
    if (this.#count > 0) atMs = Math.max(atMs, this.#granted(this.#count - 1) + spacingMs)
    if (this.#count >= connectsMax) atMs = Math.max(atMs, this.#granted(this.#count - connectsMax) + windowMs)
    this.#grantedMs[this.#count % connectsMax] = atMs
    this.#count++
    return atMs - nowMs
  }

  #granted(index: number): number {
    return this.#grantedMs[index % this.options.connectsMax] as number
  }
}
