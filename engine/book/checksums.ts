import { NO_CHECKSUM } from '../record/emit.ts'
import type { Book } from './book.ts'
import type { SyncRules } from './chain.ts'
import type { KeeperEvents } from './keeper-settings.ts'
import type { Scales } from './waiting.ts'

/** A book held against what the venue says that it sums to. */
export class Checksums {
  goodCount = 0
  badCount = 0
  readonly #scales: Scales
  readonly #events: KeeperEvents

  constructor(scales: Scales, events: KeeperEvents) {
    this.#scales = scales
    this.#events = events
  }

  /** @returns what is wrong, or ''. */
  check(rules: SyncRules, book: Book, checksum: number, instrument: number): string {
    if (checksum === NO_CHECKSUM || rules.checksumOf === undefined) return ''
    const { prices, quantities } = this.#scales
    const sum = rules.checksumOf(book, prices[instrument] as number, quantities[instrument] as number)
    this.#events.count(sum === checksum ? 'checksums_good' : 'checksums_bad', 1)
    if (sum === checksum) {
      this.goodCount++
      return ''
    }
    this.badCount++
    return `the book sums to ${sum}, the venue says ${checksum}`
  }
}
