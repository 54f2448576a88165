import { DepthEvent } from '../record/emit.ts'
import { BOOK_STATES } from '../record/schema.ts'
import { LADDER_LIMITS, Ladder, NO_PRICE } from './ladder.ts'
import type { LadderLimits } from './ladder.ts'

/** Where a book stands in the venue's sequence. */
export interface Chain {
  /** The book is the fold of everything up to here: the anchor's id, then the last sequence of each applied event. */
  seq: number
  /** Events applied since the anchor; the first one has its own rule. */
  events: number
}

/** One order book: two ladders, a state, and how far into the book it can be trusted. */
export class Book {
  readonly bids: Ladder
  readonly asks: Ladder
  readonly chain: Chain = { seq: 0, events: 0 }
  /** A value of BOOK_STATES. */
  state: number = BOOK_STATES.INIT
  /** Since when it is that, as words (0: since the worker began), and why: a cause of gaps, or a few words. */
  sinceHi = 0
  sinceLo = 0
  reason = ''
  /** What its anchor ended with. */
  anchorSeq = 0
  /** Raised at every anchor. */
  epoch = 0
  /** The venue's time of the last event in the book, ms; 0 when it sent none. */
  eventMs = 0
  /** Worst prices that the anchor proved, or NO_PRICE when the snapshot was not cut: beyond them levels are unknown until they change. */
  trustedBid = NO_PRICE
  trustedAsk = NO_PRICE
  /** Events in a row after which best bid >= best ask. */
  crossedEvents = 0

  constructor(limits: LadderLimits = LADDER_LIMITS) {
    this.bids = new Ladder('bid', limits)
    this.asks = new Ladder('ask', limits)
  }

  get isLive(): boolean {
    return this.state === BOOK_STATES.LIVE
  }

  get isCrossed(): boolean {
    const bid = this.bids.best
    const ask = this.asks.best
    return bid !== NO_PRICE && ask !== NO_PRICE && bid >= ask
  }

  enter(state: number, reason: string, hi: number, lo: number): void {
    this.state = state
    this.reason = reason
    this.sinceHi = hi
    this.sinceLo = lo
  }

  /** Starts an empty book at the anchor's sequence. */
  reset(seq: number): void {
    this.bids.clear()
    this.asks.clear()
    this.chain.seq = seq
    this.chain.events = 0
    this.anchorSeq = seq
    this.epoch++
    this.eventMs = 0
    this.trustedBid = NO_PRICE
    this.trustedAsk = NO_PRICE
    this.crossedEvents = 0
  }

  /**
   * Whether the venue started its book anew after this one. Its times are whole milliseconds: at the same one it is a copy
   * only if this book began with it.
   */
  isBefore({ eventMs, lastSeq }: DepthEvent): boolean {
    return eventMs > this.eventMs || (eventMs === this.eventMs && lastSeq !== this.anchorSeq)
  }

  /** Sets all levels of an event or a snapshot. @returns false when one of them found no room. */
  set(event: DepthEvent): boolean {
    const hasAllBids = this.bids.setAll(event.bidPrices, event.bidQuantities, event.bidCount)
    const hasAllAsks = this.asks.setAll(event.askPrices, event.askQuantities, event.askCount)
    return hasAllBids && hasAllAsks
  }

  /** A snapshot with `levelsMax` levels on a side was cut there: deeper levels are unknown. */
  trust(snapshot: DepthEvent, levelsMax: number): void {
    if (snapshot.bidCount >= levelsMax) this.trustedBid = snapshot.bidPrices[snapshot.bidCount - 1] as number
    if (snapshot.askCount >= levelsMax) this.trustedAsk = snapshot.askPrices[snapshot.askCount - 1] as number
  }

  /** The levels that the anchor proved, best first, as a snapshot of this moment; fewer than the book has where that was cut. */
  proven(levelsMax: number): DepthEvent {
    const proven = new DepthEvent()
    const [bids, asks] = [this.bids.levels(), this.asks.levels()]
    proven.eventMs = this.eventMs
    proven.lastSeq = this.chain.seq
    proven.bidPrices = bids.prices.slice()
    proven.bidQuantities = bids.quantities.slice()
    proven.askPrices = asks.prices.slice()
    proven.askQuantities = asks.quantities.slice()
    proven.bidCount = Math.min(levelsMax, this.trustedCount('bid', proven.bidPrices, this.bids.levelCount))
    proven.askCount = Math.min(levelsMax, this.trustedCount('ask', proven.askPrices, this.asks.levelCount))
    return proven
  }

  /** How many of these levels (best first) lie within the trusted depth. */
  trustedCount(side: 'bid' | 'ask', prices: Float64Array, count: number): number {
    const bound = side === 'bid' ? this.trustedBid : this.trustedAsk
    if (bound === NO_PRICE) return count
    let trusted = 0
    while (
      trusted < count &&
      (side === 'bid' ? (prices[trusted] as number) >= bound : (prices[trusted] as number) <= bound)
    )
      trusted++
    return trusted
  }

  /** The instrument's scales were widened by these powers of ten. @returns false when a number leaves the exact range. */
  rescale(priceFactor: number, quantityFactor: number): boolean {
    if (
      quantityFactor !== 1 &&
      !(this.bids.rescaleQuantities(quantityFactor) && this.asks.rescaleQuantities(quantityFactor))
    )
      return false
    if (priceFactor === 1) return true
    if (this.trustedBid !== NO_PRICE) this.trustedBid *= priceFactor
    if (this.trustedAsk !== NO_PRICE) this.trustedAsk *= priceFactor
    return this.bids.rescalePrices(priceFactor) && this.asks.rescalePrices(priceFactor)
  }
}
