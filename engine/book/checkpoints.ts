import { LEVELS_MAX } from '../record/emit.ts'
import type { Recorder } from '../record/recorder.ts'
import { SNAPSHOT_KINDS } from '../record/schema.ts'
import type { Book } from './book.ts'
import { anchorRow } from './keeper-rows.ts'

/**
 * Rows of kind `checkpoint`: a LIVE book as far down as it is proven, every few minutes, so that the book of any moment
 * is a checkpoint and some minutes of deltas, not an anchor and a day of them.
 *
 * Books take turns within the interval, or 200 of them would become 30 MB of rows in one tick.
 *
 * Arithmetic: 5,000 levels a side are 160 kB in a block, some 50 kB on disk; 288 of them a day 15 MB, where the deltas of
 * such a book are 250 MB.
 */
interface CheckpointSource {
  readonly keeper: { readonly book: Book }
  readonly index: number
  readonly record: { readonly recorder: Recorder }
}

export class Checkpoints {
  readonly #intervalMs: number
  /** interval in which a book had its turn */
  readonly #slots = new WeakMap<CheckpointSource, number>()

  /** @param intervalMs 0: none */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  /** Time passes. @param nowMs frame time since the epoch. */
  tick(nowMs: number, sources: readonly CheckpointSource[]): void {
    if (this.#intervalMs === 0) return
    for (const source of sources) {
      const slot = Math.floor((nowMs + this.#turnMs(source.index)) / this.#intervalMs)
      const last = this.#slots.get(source)
      if (last === slot) continue
      this.#slots.set(source, slot)
      if (last !== undefined) this.#write(source)
    }
  }

  #turnMs(index: number): number {
    return (index * 7_919) % this.#intervalMs
  }

  /** Also of a book that did not change: that it was LIVE is worth knowing. */
  #write({ keeper: { book }, index, record }: CheckpointSource): void {
    if (!book.isLive) return
    const row = anchorRow(index, book, book.proven(LEVELS_MAX))
    record.recorder.book({ ...row, kind: SNAPSHOT_KINDS.checkpoint })
  }
}
