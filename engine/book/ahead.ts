import type { SyncRules } from './chain.ts'
import type { HeldDepth } from './held-depth.ts'

/**
 * Events that one leg of a stream brought before their turn. Several connections carry the same book (A/B legs, or two
 * generations while one takes over from the other) and the slower one still has what lies between: so a jump is no gap
 * yet. What continues the book is taken out as soon as it does; what waits too long is a gap after all.
 */
const EVENTS_MAX = 256

export class AheadEvents {
  #held: HeldDepth[] = []

  get count(): number {
    return this.#held.length
  }

  /** The one that came first. */
  get oldest(): HeldDepth | undefined {
    return this.#held[0]
  }

  /** @returns false when there is no more room. */
  tryKeep(held: HeldDepth): boolean {
    if (this.#held.length >= EVENTS_MAX) return false
    this.#held.push(held)
    return true
  }

  /**
   * The next event that continues a book at `seq`; what the book has reached by now is thrown away.
   * @param onKnown hears of each that is thrown away
   */
  takeNext(rules: SyncRules, seq: number, onKnown: () => void): HeldDepth | undefined {
    const isNew = ({ event }: HeldDepth): boolean => event.lastSeq > seq
    const before = this.#held.length
    this.#held = this.#held.filter(isNew)
    for (let count = this.#held.length; count < before; count++) onKnown()
    const index = this.#held.findIndex(
      ({ event }) => !event.isSnapshot && rules.continues(seq, event.firstSeq, event.prevSeq),
    )
    return index < 0 ? undefined : this.#held.splice(index, 1)[0]
  }

  /** All of them, in order of arrival. */
  takeAll(): readonly HeldDepth[] {
    const held = this.#held
    this.#held = []
    return held
  }
}
