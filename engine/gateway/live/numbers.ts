/**
 * The numbers of one subject's messages: each run of a worker counts 1, 2, 3 …, so a hole is what was lost on the way to us.
 * Two collectors may have one instrument: each has its run.
 */
const RUNS_MAX = 4

export class Numbers {
  readonly #last = new Map<string, number>()

  /** @returns how many are missing before this one; 0 for the first of its run. */
  missedBefore(run: string, number: number): number {
    const last = this.#last.get(run)
    if (last === undefined && this.#last.size >= RUNS_MAX) this.#last.clear()
    this.#last.set(run, number)
    return last === undefined ? 0 : Math.max(0, number - last - 1)
  }

  /** Nobody listens from now on: what comes meanwhile is not lost. */
  forget(): void {
    this.#last.clear()
  }
}
