/**
 * One book as the gateway holds it: set from a snapshot of the engine, then changed by its deltas.
 *
 * Arithmetic: a change of 4 levels costs four look-ups of a ladder (100 ns) beside its decoding (3 µs). 400 levels a side
 * as text are 100 µs; for its memory see books.ts.
 */
import { Ladder } from '../../book/ladder.ts'
import type { Level } from '../../record/rows.ts'
import { decimalText } from '../../scan/decimal.ts'
import type { BookRow } from './book-row.ts'

/** Levels of one side, best first. */
export interface SideLevels {
  prices: Float64Array
  quantities: Float64Array
  count: number
}

export const noLevels = (): SideLevels => ({ prices: new Float64Array(0), quantities: new Float64Array(0), count: 0 })

export const BOOK_SIDES = ['bid', 'ask'] as const
export type BookSide = (typeof BOOK_SIDES)[number]

const SCRATCH_LEVELS = 1_024

export class LiveBook {
  epoch = 0
  lastSeq = 0
  eventNs = '0'
  receivedNs = '0'
  priceScale = 0
  quantityScale = 0
  /** counts every change, so that what was made of a book can be told to be old */
  version = 0
  readonly #ladders = { bid: new Ladder('bid'), ask: new Ladder('ask') }
  #prices = new Float64Array(SCRATCH_LEVELS)
  #quantities = new Float64Array(SCRATCH_LEVELS)

  /** Sets it from a row of `book_snapshot`. @returns false when a bound of the ladders refuses a level. */
  anchor(row: BookRow): boolean {
    for (const side of BOOK_SIDES) this.#ladders[side].clear()
    this.priceScale = row.priceScale
    this.quantityScale = row.quantityScale
    return this.#take(row)
  }

  /** Applies a row of `book_delta` that continues it. @returns false when that is not possible: the book is worthless then. */
  apply(row: BookRow): boolean {
    if (!this.#fitScale(row.priceScale, row.quantityScale)) return false
    return this.#take(row)
  }

  #take(row: BookRow): boolean {
    this.version++
    this.epoch = row.epoch
    this.lastSeq = row.lastSeq
    this.eventNs = row.eventNs
    this.receivedNs = row.receivedNs
    const priceFactor = 10 ** (this.priceScale - row.priceScale)
    const quantityFactor = 10 ** (this.quantityScale - row.quantityScale)
    return BOOK_SIDES.every((side) => {
      const { prices, quantities } = row[side]
      this.#reserve(prices.length)
      for (let index = 0; index < prices.length; index++) {
        const price = (prices[index] as number) * priceFactor
        const quantity = (quantities[index] as number) * quantityFactor
        if (price > Number.MAX_SAFE_INTEGER || quantity > Number.MAX_SAFE_INTEGER) return false
        this.#prices[index] = price
        this.#quantities[index] = quantity
      }
      return this.#ladders[side].setAll(this.#prices, this.#quantities, prices.length)
    })
  }

  /** An instrument may get finer scales while it lives; the book takes the finer one, and what comes coarser is raised to it. */
  #fitScale(priceScale: number, quantityScale: number): boolean {
    const { bid, ask } = this.#ladders
    if (priceScale > this.priceScale) {
      const factor = 10 ** (priceScale - this.priceScale)
      if (!bid.rescalePrices(factor) || !ask.rescalePrices(factor)) return false
      this.priceScale = priceScale
    }
    if (quantityScale > this.quantityScale) {
      const factor = 10 ** (quantityScale - this.quantityScale)
      if (!bid.rescaleQuantities(factor) || !ask.rescaleQuantities(factor)) return false
      this.quantityScale = quantityScale
    }
    return true
  }

  #reserve(count: number): void {
    if (this.#prices.length >= count) return
    this.#prices = new Float64Array(count * 2)
    this.#quantities = new Float64Array(count * 2)
  }

  levelCount(side: BookSide): number {
    return this.#ladders[side].levelCount
  }

  /** Copies the best levels into memory that the caller keeps. @param depth 0 = all */
  copyTop(side: BookSide, depth: number, into: SideLevels): void {
    const ladder = this.#ladders[side]
    const count = depth === 0 ? ladder.levelCount : Math.min(depth, ladder.levelCount)
    if (into.prices.length < count) {
      into.prices = new Float64Array(count)
      into.quantities = new Float64Array(count)
    }
    into.count = ladder.copyTop(count, into.prices, into.quantities)
  }

  /** The best levels as text. @param depth 0 = all */
  levels(side: BookSide, depth: number): Level[] {
    const top: SideLevels = { prices: this.#prices, quantities: this.#quantities, count: 0 }
    this.#reserve(depth === 0 ? this.levelCount(side) : Math.min(depth, this.levelCount(side)))
    top.prices = this.#prices
    top.quantities = this.#quantities
    this.copyTop(side, depth, top)
    return this.texts(top)
  }

  texts({ prices, quantities, count }: SideLevels): Level[] {
    const levels: Level[] = new Array(count)
    for (let index = 0; index < count; index++)
      levels[index] = this.text(prices[index] as number, quantities[index] as number)
    return levels
  }

  text(price: number, quantity: number): Level {
    return [decimalText(price, this.priceScale), decimalText(quantity, this.quantityScale)]
  }
}
