/**
 * Numbers of blocks of one segment: all below a mark, and some above it. Blocks are delivered and stored nearly in order,
 * so those above the mark are few.
 */
export class BlockSet {
  readonly #firstSeq: number
  readonly #above = new Set<number>()
  #below: number

  constructor(firstSeq: number) {
    this.#firstSeq = firstSeq
    this.#below = firstSeq
  }

  /** Every number from the first to before this one is in the set; this one is not. */
  get below(): number {
    return this.#below
  }

  get count(): number {
    return this.#below - this.#firstSeq + this.#above.size
  }

  has(seq: number): boolean {
    return seq < this.#below || this.#above.has(seq)
  }

  /** @returns false when it was there. */
  add(seq: number): boolean {
    if (this.has(seq)) return false
    this.#above.add(seq)
    while (this.#above.delete(this.#below)) this.#below++
    return true
  }

  /** All before `below`. */
  raise(below: number): void {
    if (below <= this.#below) return
    for (const seq of this.#above) if (seq < below) this.#above.delete(seq)
    this.#below = below
    while (this.#above.delete(this.#below)) this.#below++
  }

  /** @returns false when it was not there. */
  delete(seq: number): boolean {
    if (seq >= this.#below) return this.#above.delete(seq)
    for (let above = seq + 1; above < this.#below; above++) this.#above.add(above)
    this.#below = seq
    return true
  }
}
