/**
 * Up to which receive time everything is durable, so that the next run knows from where on it has to declare a gap.
 *
 *   row received ──(book worker: at most the age of a batch)──► batch ring ──► spool ──► durable
 *
 * A look that finds all batch rings empty says: what was received a batch age before, and a margin, is in the spool. Time is
 * counted in looks, not by the clock: a process that was stopped for a minute has not worked in it. Books whose worker hangs
 * for longer than the margin are of no concern here: its replacement writes their gap.
 */
export class KeptTime {
  readonly #looks: bigint[] = []
  readonly #looksMax: number
  #candidate: { readonly blockSeq: number; readonly ns: bigint } | undefined

  /**
   * @param marginMs age of a batch and a margin
   * @param lookMs time between two looks
   */
  constructor(marginMs: number, lookMs: number) {
    this.#looksMax = Math.ceil(marginMs / lookMs) + 1
  }

  /** Once every `lookMs`. */
  look(nowNs: bigint): void {
    this.#looks.push(nowNs)
    if (this.#looks.length > this.#looksMax) this.#looks.shift()
  }

  /** All rings are empty and the spool has taken everything before `nextSeq`. */
  empty(nextSeq: number): void {
    const ns = this.#looks.length < this.#looksMax ? undefined : this.#looks[0]
    if (ns !== undefined && this.#candidate === undefined) this.#candidate = { blockSeq: nextSeq - 1, ns }
  }

  /** @returns the time, when one is proven by what is durable now. */
  tryTake(durableSeq: number): bigint | undefined {
    const candidate = this.#candidate
    if (candidate === undefined || durableSeq < candidate.blockSeq) return undefined
    this.#candidate = undefined
    return candidate.ns
  }
}
