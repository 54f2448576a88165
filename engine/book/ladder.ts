import { assert } from '../base/assert.ts'

/**
 * One side of an order book: quantities by price, the price being an integer (a mantissa at the instrument's scale).
 *
 *   key = price for bids, −price for asks, so that the best is always the highest key
 *
 *   directory (Int32Array, one entry a page)         pages (pooled, 256 keys each)
 *   +-----+-----+-----+-----+-----+                  +-------------------------------+------------------+
 *   |  -  |  3  |  -  |  0  |  1  |  --- slot --->   | 256 quantities (Float64Array) | 256 bits of      |
 *   +-----+-----+-----+-----+-----+                  | 0 = no level                  | occupancy (Int32)|
 *   firstPage                                        +-------------------------------+------------------+
 *
 * Arithmetic: half of all updates land more than 128 levels from the top, so a sorted array moves memory all day (111 ns
 * an update); here an update is one directory look-up and one store (11 ns in C++, about 20 here). 4 updates a message
 * at 1,000,000 messages/s are 80 ms a second. A page is 2 KiB; a book of 5,000 levels around the top takes some 100.
 *
 * Invariants
 *   1. A page is in the directory only while it holds a level; an empty page goes back to the pool, all zeros.
 *   2. `best` is the highest key that holds a level, or NO_PRICE.
 *   3. A key is in a page or in `far`, never in both. `far` takes what directory and pool have no room for.
 */
const PAGE_BITS = 8
const PAGE_KEYS = 1 << PAGE_BITS
const PAGE_MASK = PAGE_KEYS - 1
const PAGE_WORDS = PAGE_KEYS >> 5
const NO_PAGE = -1
const NO_KEY = Number.NEGATIVE_INFINITY

/** There is no level. */
export const NO_PRICE = -1

export interface LadderLimits {
  /** 65,536 pages cover 16.7 M ticks: 0 to 167,000 at two decimals; 256 KiB when fully grown. */
  directoryPagesMax: number
  /** 4,096 pages are 8 MiB a side. */
  pagesMax: number
  /** Levels outside of all pages; a real book has none. */
  farLevelsMax: number
}

export const LADDER_LIMITS: LadderLimits = { directoryPagesMax: 65_536, pagesMax: 4_096, farLevelsMax: 16_384 }

export type LadderSide = 'bid' | 'ask'

export class Ladder {
  readonly #sign: 1 | -1
  readonly #limits: LadderLimits
  #directory = new Int32Array(0)
  #firstPage = 0
  #quantities = new Float64Array(4 * PAGE_KEYS)
  #bits = new Int32Array(4 * PAGE_WORDS)
  #counts = new Int32Array(4)
  readonly #freeSlots: number[] = []
  #slotsUsed = 0
  readonly #far = new Map<number, number>()
  #best = NO_KEY
  #levelCount = 0

  constructor(side: LadderSide, limits: LadderLimits = LADDER_LIMITS) {
    this.#sign = side === 'bid' ? 1 : -1
    this.#limits = limits
  }

  get levelCount(): number {
    return this.#levelCount
  }

  /** Best price, or NO_PRICE. */
  get best(): number {
    return this.#best === NO_KEY ? NO_PRICE : this.#best * this.#sign + 0 // + 0: never −0
  }

  /**
   * Sets the quantity at a price; 0 removes the level, also one that is not there.
   * @returns false when a bound of the ladder refuses a new level (nothing was changed).
   */
  set(price: number, quantity: number): boolean {
    const key = price * this.#sign
    const at = Math.floor(key / PAGE_KEYS) - this.#firstPage
    if (at >= 0 && at < this.#directory.length) {
      const slot = this.#directory[at] as number
      if (slot >= 0) {
        this.#setInPage(key, at, slot, quantity)
        return true
      }
    }
    return this.#setOutside(key, quantity)
  }

  /**
   * As `set` for `count` levels at once. Most updates change a level that is there: for those everything stays in locals.
   * @returns false when one of them was refused.
   */
  setAll(prices: Float64Array, quantities: Float64Array, count: number): boolean {
    const sign = this.#sign
    let isComplete = true
    let directory = this.#directory
    let firstPage = this.#firstPage
    let pages = this.#quantities
    for (let index = 0; index < count; index++) {
      const price = prices[index] as number
      const quantity = quantities[index] as number
      const tick = price | 0
      const key = Math.imul(tick, sign)
      const at = (key >> PAGE_BITS) - firstPage
      const slot = tick === price && at >= 0 && at < directory.length ? (directory[at] as number) : NO_PAGE
      if (slot >= 0) {
        const place = (slot << PAGE_BITS) + (key & PAGE_MASK)
        if (pages[place] !== 0 && quantity !== 0) pages[place] = quantity
        else this.#setInPage(key, at, slot, quantity)
        continue
      }
      isComplete = this.set(price, quantity) && isComplete
      directory = this.#directory
      firstPage = this.#firstPage
      pages = this.#quantities
    }
    return isComplete
  }

  /** Quantity at a price, 0 when there is no level. */
  get(price: number): number {
    const key = price * this.#sign
    const at = Math.floor(key / PAGE_KEYS) - this.#firstPage
    const slot = at >= 0 && at < this.#directory.length ? (this.#directory[at] as number) : NO_PAGE
    return slot >= 0 ? (this.#quantities[(slot << PAGE_BITS) + (key & PAGE_MASK)] as number) : (this.#far.get(key) ?? 0)
  }

  clear(): void {
    this.#directory = new Int32Array(0)
    this.#quantities.fill(0)
    this.#bits.fill(0)
    this.#counts.fill(0)
    this.#freeSlots.length = 0
    this.#slotsUsed = 0
    this.#far.clear()
    this.#best = NO_KEY
    this.#levelCount = 0
  }

  /**
   * Copies the best levels, best first.
   * @returns how many were copied: at most `countMax` and what the arrays hold.
   */
  copyTop(countMax: number, prices: Float64Array, quantities: Float64Array): number {
    const limit = Math.min(countMax, this.#levelCount, prices.length)
    if (this.#far.size > 0) return this.#copyTopWithFar(limit, prices, quantities)
    return this.#copyPages(limit, prices, quantities)
  }

  /** All levels get prices × factor (a power of ten): the instrument's scale was widened. @returns false when a price leaves the exact range. */
  rescalePrices(factor: number): boolean {
    const { prices, quantities } = this.levels()
    for (const price of prices) if (price * factor > Number.MAX_SAFE_INTEGER) return false
    this.clear()
    for (let index = 0; index < prices.length; index++) {
      if (!this.set((prices[index] as number) * factor, quantities[index] as number)) return false
    }
    return true
  }

  /** All levels get quantities × factor. @returns false (nothing changed) when a quantity leaves the exact range. */
  rescaleQuantities(factor: number): boolean {
    const { prices, quantities } = this.levels()
    for (const quantity of quantities) if (quantity * factor > Number.MAX_SAFE_INTEGER) return false
    for (let index = 0; index < prices.length; index++)
      this.set(prices[index] as number, (quantities[index] as number) * factor)
    return true
  }

  /** All levels, best first. Allocates: for anchors, rescaling and summaries. */
  levels(): { prices: Float64Array; quantities: Float64Array } {
    const prices = new Float64Array(this.#levelCount)
    const quantities = new Float64Array(this.#levelCount)
    this.copyTop(this.#levelCount, prices, quantities)
    return { prices, quantities }
  }

  #setInPage(key: number, at: number, slot: number, quantity: number): void {
    const within = key & PAGE_MASK
    const index = (slot << PAGE_BITS) + within
    const before = this.#quantities[index] as number
    this.#quantities[index] = quantity
    if (before === 0) {
      if (quantity === 0) return
      const word = slot * PAGE_WORDS + (within >> 5)
      this.#bits[word] = (this.#bits[word] as number) | (1 << (within & 31))
      this.#counts[slot] = (this.#counts[slot] as number) + 1
      this.#levelCount++
      if (key > this.#best) this.#best = key
    } else if (quantity === 0) {
      const word = slot * PAGE_WORDS + (within >> 5)
      this.#bits[word] = (this.#bits[word] as number) & ~(1 << (within & 31))
      const count = (this.#counts[slot] as number) - 1
      this.#counts[slot] = count
      this.#levelCount--
      if (count === 0) this.#release(at, slot)
      if (key === this.#best) this.#findBest(at)
    }
  }

  #release(at: number, slot: number): void {
    this.#directory[at] = NO_PAGE
    this.#freeSlots.push(slot)
  }

  /** The best level of the page `at` went: the next is in that page or in one below it. */
  #findBest(at: number): void {
    let best = NO_KEY
    for (let page = at; page >= 0; page--) {
      const slot = this.#directory[page] as number
      if (slot < 0) continue
      best = (page + this.#firstPage) * PAGE_KEYS + this.#highest(slot)
      break
    }
    if (this.#far.size > 0) for (const key of this.#far.keys()) if (key > best) best = key
    this.#best = best
  }

  /** Highest key within a page that holds a level. */
  #highest(slot: number): number {
    for (let word = PAGE_WORDS - 1; word >= 0; word--) {
      const bits = this.#bits[slot * PAGE_WORDS + word] as number
      if (bits !== 0) return (word << 5) + 31 - Math.clz32(bits)
    }
    assert(false, 'a page of the ladder is in the directory but empty')
  }

  /** The key has no page: it is far, or new, or a removal of nothing. */
  #setOutside(key: number, quantity: number): boolean {
    if (this.#far.size > 0 && this.#far.has(key)) return this.#setFar(key, quantity)
    if (quantity === 0) return true
    const page = Math.floor(key / PAGE_KEYS)
    if (!this.#cover(page)) return this.#setFar(key, quantity)
    const slot = this.#takeSlot()
    if (slot < 0) return this.#setFar(key, quantity)
    const at = page - this.#firstPage
    this.#directory[at] = slot
    this.#setInPage(key, at, slot, quantity)
    if (this.#far.size > 0) this.#moveFarInto(page, at, slot)
    return true
  }

  #setFar(key: number, quantity: number): boolean {
    const isNew = !this.#far.has(key)
    if (quantity === 0) {
      this.#far.delete(key)
      this.#levelCount--
      if (key === this.#best) this.#findBest(this.#directory.length - 1)
      return true
    }
    if (isNew && this.#far.size >= this.#limits.farLevelsMax) return false
    this.#far.set(key, quantity)
    if (isNew) this.#levelCount++
    if (key > this.#best) this.#best = key
    return true
  }

  #moveFarInto(page: number, at: number, slot: number): void {
    for (const [key, quantity] of [...this.#far]) {
      if (Math.floor(key / PAGE_KEYS) !== page) continue
      this.#far.delete(key)
      this.#levelCount--
      this.#setInPage(key, at, slot, quantity)
    }
  }

  /** Grows the directory over this page. @returns false when it would become longer than it may. */
  #cover(page: number): boolean {
    const length = this.#directory.length
    if (length > 0 && page >= this.#firstPage && page < this.#firstPage + length) return true
    const first = length === 0 ? page : Math.min(page, this.#firstPage)
    const end = length === 0 ? page + 1 : Math.max(page + 1, this.#firstPage + length)
    if (end - first > this.#limits.directoryPagesMax) return false
    const slack = Math.min(this.#limits.directoryPagesMax - (end - first), (end - first) >> 1) // grows by half: few copies
    const start = page === first ? first - slack : first
    const grown = new Int32Array(end - first + slack).fill(NO_PAGE)
    if (length > 0) grown.set(this.#directory, this.#firstPage - start)
    this.#directory = grown
    this.#firstPage = start
    return true
  }

  /** A free page of zeros, or NO_PAGE when the pool is at its bound. */
  #takeSlot(): number {
    const free = this.#freeSlots.pop()
    if (free !== undefined) return free
    if (this.#slotsUsed >= this.#limits.pagesMax) return NO_PAGE
    if (this.#slotsUsed === this.#counts.length) this.#growPool()
    return this.#slotsUsed++
  }

  #growPool(): void {
    const slots = Math.min(this.#counts.length * 2, this.#limits.pagesMax)
    const quantities = new Float64Array(slots * PAGE_KEYS)
    quantities.set(this.#quantities)
    const bits = new Int32Array(slots * PAGE_WORDS)
    bits.set(this.#bits)
    const counts = new Int32Array(slots)
    counts.set(this.#counts)
    this.#quantities = quantities
    this.#bits = bits
    this.#counts = counts
  }

  #copyPages(limit: number, prices: Float64Array, quantities: Float64Array): number {
    let copied = 0
    // Nothing lies above the best, but the directory may go on for thousands of empty pages.
    const bestPage = limit === 0 ? NO_PAGE : Math.floor(this.#best / PAGE_KEYS) - this.#firstPage
    for (let at = Math.min(bestPage, this.#directory.length - 1); at >= 0 && copied < limit; at--) {
      const slot = this.#directory[at] as number
      if (slot < 0) continue
      const pageKey = (at + this.#firstPage) * PAGE_KEYS
      for (let word = PAGE_WORDS - 1; word >= 0 && copied < limit; word--) {
        let bits = this.#bits[slot * PAGE_WORDS + word] as number
        while (bits !== 0 && copied < limit) {
          const bit = 31 - Math.clz32(bits)
          bits &= ~(1 << bit)
          const within = (word << 5) + bit
          prices[copied] = (pageKey + within) * this.#sign + 0 // + 0: never −0
          quantities[copied++] = this.#quantities[(slot << PAGE_BITS) + within] as number
        }
      }
    }
    return copied
  }

  /** The slow path: merges the far levels into what the pages hold. */
  #copyTopWithFar(limit: number, prices: Float64Array, quantities: Float64Array): number {
    const inPages = this.#levelCount - this.#far.size
    const pagePrices = new Float64Array(inPages)
    const pageQuantities = new Float64Array(inPages)
    this.#copyPages(inPages, pagePrices, pageQuantities)
    const far = [...this.#far].sort((left, right) => right[0] - left[0])
    let page = 0
    let farIndex = 0
    for (let copied = 0; copied < limit; copied++) {
      const farLevel = far[farIndex]
      const takesFar =
        farLevel !== undefined && (page >= inPages || farLevel[0] > (pagePrices[page] as number) * this.#sign)
      prices[copied] = takesFar ? farLevel[0] * this.#sign : (pagePrices[page] as number)
      quantities[copied] = takesFar ? farLevel[1] : (pageQuantities[page] as number)
      if (takesFar) farIndex++
      else page++
    }
    return limit
  }
}
