/** How often something is said that may happen thousands of times a second: at once, then again after a pause, with the number. */
export class Paced {
  readonly #pauseMs: number
  #saidMs = Number.NEGATIVE_INFINITY
  #times = 0

  constructor(pauseMs: number) {
    this.#pauseMs = pauseMs
  }

  /** It happened. @returns how often since it was said the last time, if it is to be said now. */
  happened(nowMs: number): number | undefined {
    this.#times++
    if (nowMs - this.#saidMs < this.#pauseMs) return undefined
    const times = this.#times
    this.#saidMs = nowMs
    this.#times = 0
    return times
  }
}
