/**
 * One instrument of the seeded market: its true book and its numbers. Everything that happens here is decided by the
 * instrument's own generator, so one seed gives one history, whoever listens.
 *
 * Invariants
 *   1. The best bid and the best ask exist; no bid lies above bestBid, no ask below bestAsk;
 *      bestBid < bestAsk.
 *   2. Every change of a level takes a new update id. A depth event covers all changes since the last one (U = id of
 *      the first, u = id of the last on futures; U = last u + 1 on spot) and says each changed level's present quantity.
 *   3. Trade ids are contiguous.
 */
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import type { Fields, Levels, NumberFormat } from './messages.ts'
import type { Kept, Session, Span } from './spans.ts'
import { countFill, keep, newSession, newSpan } from './spans.ts'
import type { MarketName } from './venue.ts'

/**
 * How the venue numbers the changes of a book: each change by one (`each`), each by some more (`jumping`), or each message
 * by one (`message`).
 */
export type Numbering = 'each' | 'jumping' | 'message'

export interface Listing extends NumberFormat {
  readonly market: MarketName
  /** absent: told by the market's name, as Binance has it */
  readonly numbering?: Numbering
  readonly kind?: 'spot' | 'perpetual' | 'future' | 'option' | 'index'
  readonly settle?: string
  /** decimal text: what quantity 1 is worth */
  readonly contractSize?: string
  readonly expiryMs?: number
  readonly strike?: number
  /** the venue's spelling, e.g. `BTCUSDT`, `BTCUSD_PERP` */
  readonly symbol: string
  readonly pair: string
  readonly base: string
  readonly quote: string
  /** one tick, as a mantissa of priceScale; likewise the quantity step */
  readonly tickMantissa: number
  readonly stepMantissa: number
}

export interface MarketShape {
  /** levels a side when the market opens; it stays below twice as many, so up to 500 a snapshot of 1000 is the book */
  readonly bookLevels: number
  /** and below this */
  readonly bookLevelsMax: number
  /** levels changed by a depth update, on average */
  readonly levelsPerUpdate: number
  /** trades kept for REST, a power of two */
  readonly tradesKept: number
}

export interface InstrumentStart {
  readonly middleTick: number
  readonly updateId: number
  readonly tradeId: number
  readonly quantityTypical: number
}

const FAR_TICKS = 4000 // levels live up to this far from the top
const NEAR_TICKS = 20
const WANDER_TICKS = 3000 // so far from where it opened the price only comes back
const STEP_TICKS_MAX = 40
const FULL_MARGIN = 100 // below the most there may be; moves of the top may still add levels
const BAR_MS = 60_000
const RESET_ID = 1_000 // a numbering that starts anew starts about here
const WINDOW_TICKS = 16_384 // both sides of the middle: WANDER_TICKS + FAR_TICKS + some steps
const QUANTITY_MAX = 1e9 // of a level, as a mantissa: sides are of 32 bits
const PENDING_MAX = 2048 // changes waiting for the next depth event; beyond that an event is due

export class Instrument {
  readonly listing: Listing
  /** since the market opened */
  readonly session: Session
  /** the running minute and the one before */
  bar: Span
  closedBar: Span | null = null
  /** the book as it is now: quantity mantissa of each tick, counted from #lowestTick; 0: no such level */
  readonly #bids = new Int32Array(WINDOW_TICKS)
  readonly #asks = new Int32Array(WINDOW_TICKS)
  readonly #lowestTick: number
  #bidCount = 0
  #askCount = 0
  bestBid: number
  bestAsk: number
  updateId: number
  tradeId: number
  aggTradeId: number
  /** the last REST-visible trades, by id modulo `tradesKept` */
  readonly trades: Kept
  /** likewise the last taker orders, by aggregate id, and which fills each has */
  readonly orders: Kept & { firstTradeId: Float64Array; lastTradeId: Float64Array }
  readonly #shape: MarketShape
  readonly #start: InstrumentStart
  readonly #random: Random
  readonly #pendingBids = new Int32Array(PENDING_MAX)
  readonly #pendingAsks = new Int32Array(PENDING_MAX)
  #pendingBidCount = 0
  #pendingAskCount = 0
  readonly #toldTop = new Float64Array(4)
  #firstPendingId = 0
  readonly #numbering: Numbering
  readonly #levelsFull: number
  readonly #quantityTypical: number
  /** the numbering starts anew with the next depth event, at this id; 0: it goes on */
  #resetTo = 0
  #resetCount = 0
  /** id of the last depth event */
  lastDepthId: number
  /** of the matching engine: rises with every change, whatever the numbering */
  seq: number

  constructor(listing: Listing, shape: MarketShape, start: InstrumentStart, random: Random) {
    this.listing = listing
    this.#shape = shape
    this.#start = start
    this.#random = random
    this.#lowestTick = start.middleTick - WINDOW_TICKS / 2
    this.updateId = start.updateId
    this.lastDepthId = start.updateId
    this.seq = start.updateId
    this.#numbering = listing.numbering ?? (listing.market === 'spot' ? 'each' : 'jumping')
    const most = Number.isFinite(shape.bookLevelsMax) ? shape.bookLevelsMax : shape.bookLevels * 2
    this.#levelsFull = most - FULL_MARGIN
    this.#quantityTypical = Math.min(start.quantityTypical, QUANTITY_MAX / listing.stepMantissa)
    this.tradeId = start.tradeId
    this.aggTradeId = Math.floor(start.tradeId / 2)
    this.bestBid = start.middleTick
    this.bestAsk = start.middleTick + 1
    const price = start.middleTick * listing.tickMantissa
    this.session = newSession(price, listing.stepMantissa)
    this.bar = newSpan(0, price)
    const kept = shape.tradesKept
    this.trades = keep(kept)
    this.orders = { ...keep(kept), firstTradeId: new Float64Array(kept), lastTradeId: new Float64Array(kept) }
    this.#open()
  }

  get firstTradeId(): number {
    return this.#start.tradeId + 1
  }

  get firstAggTradeId(): number {
    return Math.floor(this.#start.tradeId / 2) + 1
  }

  get tradesKept(): number {
    return this.#shape.tradesKept
  }

  get changesPending(): boolean {
    return this.#pendingBidCount + this.#pendingAskCount > 0
  }

  /** Levels waiting for a depth event leave room for one more event's worth of changes. */
  get depthDue(): boolean {
    return Math.max(this.#pendingBidCount, this.#pendingAskCount) > PENDING_MAX / 2
  }

  /** Present levels of one side as [tick, quantity mantissa], best first. */
  levels(isBid: boolean): [number, number][] {
    const side = isBid ? this.#bids : this.#asks
    const found: [number, number][] = []
    for (let index = 0; index < WINDOW_TICKS; index++) {
      const quantity = side[index] as number
      if (quantity > 0) found.push([index + this.#lowestTick, quantity])
    }
    return isBid ? found.reverse() : found
  }

  topQuantity(isBid: boolean): number {
    return this.#quantityAt(isBid, isBid ? this.bestBid : this.bestAsk)
  }

  /** The numbering of the book starts anew: its next event has a small id and still names the one before it. */
  resetNumbering(): void {
    this.#resetTo = this.#numbering === 'message' ? 1 : RESET_ID * ++this.#resetCount
  }

  /** The book is told anew as a whole, under a numbering that starts at 1. */
  restartNumbering(): void {
    this.updateId = 1
    this.lastDepthId = 1
    this.#pendingBidCount = 0
    this.#pendingAskCount = 0
  }

  /** Begins the bar of this minute, if the running one is of another. */
  rollBar(nowMs: number): void {
    const openMs = nowMs - (nowMs % BAR_MS)
    if (this.bar.openMs === openMs) return
    if (this.bar.openMs > 0) this.closedBar = this.bar
    this.bar = newSpan(openMs, this.session.last)
  }

  /** The price goes its way without anybody being told: an index. */
  wander(): void {
    this.#move()
    this.#pendingBidCount = 0
    this.#pendingAskCount = 0
  }

  /** The top of the book moves or its quantity changes; `fields` says the new top. */
  nextTicker(fields: Fields): void {
    const chance = this.#random()
    if (chance < 0.36) this.#change(true, this.bestBid, this.#otherQuantity(true, this.bestBid))
    else if (chance < 0.72) this.#change(false, this.bestAsk, this.#otherQuantity(false, this.bestAsk))
    else this.#move()
    if (this.#isTopTold())
      this.#change(true, this.bestBid, this.#quantityAt(true, this.bestBid) + this.listing.stepMantissa)
    this.#toldTop.set(this.#top())
    fields.lastSeq = this.#numbering === 'message' ? this.seq : this.updateId
    fields.seq = this.seq
    fields.bidPrice = this.bestBid * this.listing.tickMantissa
    fields.bidQuantity = this.#quantityAt(true, this.bestBid)
    fields.askPrice = this.bestAsk * this.listing.tickMantissa
    fields.askQuantity = this.#quantityAt(false, this.bestAsk)
  }

  #top(): readonly [number, number, number, number] {
    return [this.bestBid, this.topQuantity(true), this.bestAsk, this.topQuantity(false)]
  }

  /** Trades and changes may have brought the top back to what was told last: a venue does not tell it twice. */
  #isTopTold(): boolean {
    return this.#top().every((value, index) => value === this.#toldTop[index])
  }

  /** How many fills the next taker order has: mostly one. Call `nextFill` that often, then `endOrder`. */
  nextOrder(fields: Fields): number {
    fields.buyerIsMaker = this.#random() < 0.5
    fields.firstTradeId = this.tradeId + 1
    const tick = fields.buyerIsMaker ? this.bestBid : this.bestAsk
    fields.price = tick * this.listing.tickMantissa
    const chance = this.#random()
    return chance < 0.85 ? 1 : chance < 0.95 ? 2 : 4
  }

  /** One fill of the order begun by `nextOrder`, against the same level. */
  nextFill(fields: Fields): void {
    this.tradeId++
    fields.id = this.tradeId
    const { stepMantissa } = this.listing
    fields.quantity = stepMantissa * (1 + Math.floor((this.#quantity() / stepMantissa) * 0.2))
    fields.seq = this.seq
    this.rollBar(fields.tradeMs)
    countFill(this.session, this.bar, fields.price, fields.quantity)
    const slot = this.tradeId & (this.#shape.tradesKept - 1)
    this.trades.price[slot] = fields.price
    this.trades.quantity[slot] = fields.quantity
    this.trades.timeMs[slot] = fields.tradeMs
    this.trades.buyerIsMaker[slot] = fields.buyerIsMaker ? 1 : 0
  }

  /** Takes the order's whole quantity from the level it hit and fills `fields` for the aggregate trade. */
  endOrder(fields: Fields, quantity: number): void {
    const tick = fields.buyerIsMaker ? this.bestBid : this.bestAsk
    const left = this.#quantityAt(fields.buyerIsMaker, tick) - quantity
    if (left > 0) this.#change(fields.buyerIsMaker, tick, left)
    else if (fields.buyerIsMaker) this.#lowerBid(1 + this.#below(3))
    else this.#raiseAsk(1 + this.#below(3))
    fields.id = ++this.aggTradeId
    fields.quantity = quantity
    fields.lastTradeId = this.tradeId
    const { orders } = this
    const slot = this.aggTradeId & (this.#shape.tradesKept - 1)
    orders.price[slot] = fields.price
    orders.quantity[slot] = quantity
    orders.timeMs[slot] = fields.tradeMs
    orders.buyerIsMaker[slot] = fields.buyerIsMaker ? 1 : 0
    orders.firstTradeId[slot] = fields.firstTradeId
    orders.lastTradeId[slot] = fields.lastTradeId
  }

  /** Some levels change, near and far, some of them deleted though unknown. */
  churn(): void {
    const count = 1 + this.#below(2 * this.#shape.levelsPerUpdate - 1)
    for (let done = 0; done < count; done++) {
      const isBid = this.#random() < 0.5
      const distance = this.#random() < 0.5 ? this.#below(NEAR_TICKS) : Math.floor(FAR_TICKS ** this.#random())
      const tick = isBid ? this.bestBid - distance : this.bestAsk + distance
      if (tick < 1) continue
      const isFull = this.#levelCount(isBid) >= this.#levelsFull
      const isDelete = distance > 0 && (this.#random() < 0.35 || (isFull && this.#quantityAt(isBid, tick) === 0))
      this.#change(isBid, tick, isDelete ? 0 : this.#quantity())
    }
    if (!this.changesPending) this.#change(true, this.bestBid, this.#quantity())
  }

  /** Puts everything that changed since the last depth event into `fields` and forgets it. */
  takeDepth(fields: Fields): void {
    assert(this.changesPending, 'a depth event without a change')
    if (this.#numbering === 'message') this.updateId++
    if (this.#resetTo > 0) {
      this.updateId = this.#resetTo
      this.#firstPendingId = this.#resetTo
      this.#resetTo = 0
    }
    fields.firstSeq = this.#numbering === 'jumping' ? this.#firstPendingId : this.lastDepthId + 1
    fields.seq = this.seq
    fields.lastSeq = this.updateId
    fields.prevSeq = this.lastDepthId
    this.#take(this.#pendingBids.subarray(0, this.#pendingBidCount), true, fields.bids)
    this.#take(this.#pendingAsks.subarray(0, this.#pendingAskCount), false, fields.asks)
    this.#pendingBidCount = 0
    this.#pendingAskCount = 0
    this.lastDepthId = this.updateId
  }

  #take(ticks: Int32Array, isBid: boolean, levels: Levels): void {
    ticks.sort()
    levels.count = 0
    let last = -1
    for (const tick of ticks) {
      if (tick === last) continue
      last = tick
      levels.prices[levels.count] = tick * this.listing.tickMantissa
      levels.quantities[levels.count] = this.#quantityAt(isBid, tick)
      levels.count++
    }
  }

  #open(): void {
    const near = Math.min(NEAR_TICKS, this.#shape.bookLevels)
    for (let distance = 0; distance < near; distance++) this.#openLevel(distance)
    for (let level = near; level < this.#shape.bookLevels; level++) this.#openLevel(this.#below(FAR_TICKS))
    this.#bidCount = this.levels(true).length
    this.#askCount = this.levels(false).length
  }

  #openLevel(distance: number): void {
    if (this.bestBid > distance) this.#bids[this.bestBid - distance - this.#lowestTick] = this.#quantity()
    this.#asks[this.bestAsk + distance - this.#lowestTick] = this.#quantity()
  }

  #change(isBid: boolean, tick: number, quantity: number): void {
    if (this.#numbering !== 'message') this.updateId += this.#numbering === 'each' ? 1 : 1 + this.#below(300)
    this.seq++
    if (!this.changesPending) this.#firstPendingId = this.updateId
    if (isBid) this.#pendingBids[this.#pendingBidCount++] = tick
    else this.#pendingAsks[this.#pendingAskCount++] = tick
    const index = tick - this.#lowestTick
    assert(index >= 0 && index < WINDOW_TICKS, 'a price beyond the window of the book')
    const side = isBid ? this.#bids : this.#asks
    const grows = (quantity > 0 ? 1 : 0) - ((side[index] as number) > 0 ? 1 : 0)
    if (isBid) this.#bidCount += grows
    else this.#askCount += grows
    side[index] = quantity
  }

  /** The price wanders, and is drawn back when it went far. */
  #move(): void {
    const away = (this.bestBid - this.#start.middleTick) / WANDER_TICKS
    const up = this.#random() * 2 - 1 > away
    const ticks = 1 + this.#below(this.#random() < 0.02 ? STEP_TICKS_MAX : 4)
    if (up) {
      this.#raiseAsk(ticks)
      this.#raiseBid()
    } else {
      this.#lowerBid(ticks)
      this.#lowerAsk()
    }
  }

  #raiseAsk(ticks: number): void {
    const target = this.bestAsk + ticks
    for (let tick = this.bestAsk; tick < target; tick++)
      if (this.#quantityAt(false, tick) > 0) this.#change(false, tick, 0)
    this.bestAsk = target
    if (this.#quantityAt(false, target) === 0) this.#change(false, target, this.#quantity())
  }

  #lowerBid(ticks: number): void {
    const target = Math.max(1, this.bestBid - ticks)
    for (let tick = this.bestBid; tick > target; tick--)
      if (this.#quantityAt(true, tick) > 0) this.#change(true, tick, 0)
    this.bestBid = target
    if (this.#quantityAt(true, target) === 0) this.#change(true, target, this.#quantity())
  }

  #raiseBid(): void {
    this.bestBid = this.bestAsk - 1 - this.#below(Math.min(2, this.bestAsk - this.bestBid))
    this.#change(true, this.bestBid, this.#quantity())
  }

  #lowerAsk(): void {
    this.bestAsk = this.bestBid + 1 + this.#below(Math.min(2, this.bestAsk - this.bestBid))
    this.#change(false, this.bestAsk, this.#quantity())
  }

  #levelCount(isBid: boolean): number {
    return isBid ? this.#bidCount : this.#askCount
  }

  #quantityAt(isBid: boolean, tick: number): number {
    return (isBid ? this.#bids : this.#asks)[tick - this.#lowestTick] as number
  }

  /** Not what there is: a venue does not tell of a top that is as it was. */
  #otherQuantity(isBid: boolean, tick: number): number {
    const quantity = this.#quantity()
    return quantity === this.#quantityAt(isBid, tick) ? quantity + this.listing.stepMantissa : quantity
  }

  #quantity(): number {
    const share = this.#random()
    return this.listing.stepMantissa * (1 + Math.floor(this.#quantityTypical * share * share * share))
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound)
  }
}
