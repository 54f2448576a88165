import { LEVELS_MAX, NO_CHECKSUM } from '../../record/emit.ts'
import type { DepthEvent, Emit, FrameParser, Outcome, TradeChannel } from '../../record/emit.ts'
import { SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { HEAD_BYTES_MAX } from '../../scan/known-heads.ts'
import { WORD_SLACK_BYTES, WordScanner } from '../../scan/words.ts'
import {
  AFTER_LEVELS,
  BETWEEN_LEVELS,
  BETWEEN_NUMBERS,
  BIDS,
  BRACKET_QUOTE,
  BUY,
  CHECKSUM,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COUNT,
  DEPRECATED,
  END,
  END_BYTES,
  FRAME_BYTES_MIN,
  MINUS,
  PREV_NONE,
  PREV_SEQ,
  PRICE,
  QUOTE,
  SELL,
  SEQ,
  SIZE,
  SOURCE,
  THREE_BYTES,
  TIME,
} from './frame-text.ts'
import { FrameHead, TOP, TRADE, WHOLE } from './frame-head.ts'
import { GeneralParser } from './parse-general.ts'
import { UnnumberedBooks } from './unnumbered.ts'

/**
 * OKX frames → events. Books, trades and best levels are read first in the venue's own key order, every key verified; a
 * frame that differs in anything, and every other channel, goes to the general parser. Fast and never wrong.
 *
 * Measured (as bench `scanOkx` does, a cloud core with others at work, best and median): an update of `books` with 37 levels,
 * 1,130 bytes, 1.6 and 1.7 µs, or 44 and 45 ns a level of two numbers and a count. A trade of 217 bytes 190 and 350 ns, a
 * best level of 178 bytes 170 and 180 ns.
 *
 * A frame whose last bytes are `}]}` is not overrun: no loop over digits passes a brace, loops over strings watch the end,
 * and fixed text that holds a brace is compared only where the frame still goes on. Words may reach a little beyond a
 * frame: one that ends so close to the end of its memory is read from a copy.
 */
/** The steps of the fast path return the offset behind what they read, or this. */
const OTHER = -1

export class OkxParser implements FrameParser {
  readonly #emit: Emit
  readonly #unnumbered = new UnnumberedBooks()
  readonly #general: GeneralParser
  readonly #scan = new WordScanner()
  readonly #head: FrameHead
  #copy = new Uint8Array(4096)
  #levelCount = 0
  #price = 0
  #quantity = 0

  constructor(emit: Emit) {
    this.#emit = emit
    this.#general = new GeneralParser(emit, this.#unnumbered)
    this.#head = new FrameHead(emit)
  }

  get blamed(): { instrument: number; channel: number } {
    return this.#general.blamed
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    if (length >= FRAME_BYTES_MIN && bytes[offset + length - 1] === CLOSE_BRACE) {
      if (offset + length + HEAD_BYTES_MAX + WORD_SLACK_BYTES <= bytes.length) {
        this.#scan.begin(bytes)
        if (this.#fast(offset, offset + length)) return ''
      } else if (this.#fastFromCopy(bytes, offset, length)) return ''
    }
    return this.#general.parse(bytes, offset, length)
  }

  /** Books start in the stream: nobody asks for one. */
  parseSnapshot(): Outcome {
    return 'unknown_event'
  }

  snapshotSymbol(): string {
    return ''
  }

  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    return this.#general.parsePoll(name, bytes, offset, length, instrument)
  }

  parseTrades(_channel: TradeChannel, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    return this.#general.parseTrades(bytes, offset, length, instrument)
  }

  #fastFromCopy(bytes: Uint8Array, offset: number, length: number): boolean {
    const room = length + HEAD_BYTES_MAX + WORD_SLACK_BYTES
    if (this.#copy.length < room) this.#copy = new Uint8Array(2 * room)
    this.#copy.set(bytes.subarray(offset, offset + length))
    this.#scan.begin(this.#copy)
    return this.#fast(0, length)
  }

  /** @returns false when the frame is not exactly as expected; nothing was emitted then. */
  #fast(offset: number, end: number): boolean {
    const scan = this.#scan
    const close = end - END_BYTES
    if ((scan.view.getInt32(close, true) & THREE_BYTES) !== END) return false
    const at = this.#head.read(scan, offset, close)
    if (at < 0 || at >= close) return false
    switch (this.#head.kind) {
      case TOP:
        return this.#best(at, close)
      case TRADE:
        return this.#trade(at, close)
      default:
        return this.#depth(at, close)
    }
  }

  /** A decimal; the closing quote is left. */
  #decimal(at: number, scale: number): number {
    return at < 0 ? OTHER : this.#scan.decimal(at, scale)
  }

  /** `,"ts":"1652459225381"` */
  #time(at: number): number {
    const scan = this.#scan
    if (at < 0 || !TIME.isAt(scan.view, at)) return OTHER
    const behind = scan.integer(at + TIME.length)
    return behind >= 0 && scan.bytes[behind] === QUOTE ? behind + 1 : OTHER
  }

  /** `start` is at the list of asks. */
  #depth(start: number, close: number): boolean {
    const { view } = this.#scan
    const { kind, instrument } = this.#head
    const event = this.#emit.depth
    event.isSnapshot = kind === WHOLE
    event.instrument = instrument
    let at = this.#levels(start, event, instrument, false)
    event.askCount = this.#levelCount
    if (at < 0 || !BIDS.isAt(view, at)) return false
    at = this.#levels(at + BIDS.length, event, instrument, true)
    event.bidCount = this.#levelCount
    at = this.#time(at)
    event.eventMs = this.#scan.value
    event.transactionMs = event.eventMs
    if (at < 0 || this.#chain(at, event) !== close) return false
    this.#emit.onDepth()
    return true
  }

  /** `,"checksum":-1234,"seqId":15,"prevSeqId":10`; what is absent is so in old captures. */
  #chain(start: number, event: DepthEvent): number {
    const scan = this.#scan
    let at = start
    event.checksum = NO_CHECKSUM
    if (CHECKSUM.isAt(scan.view, at)) {
      at += CHECKSUM.length
      const isNegative = scan.bytes[at] === MINUS
      at = scan.integer(isNegative ? at + 1 : at)
      if (at < 0) return OTHER
      if (scan.value !== 0) event.checksum = isNegative ? -scan.value : scan.value
    }
    if (!SEQ.isAt(scan.view, at)) {
      if (event.checksum === NO_CHECKSUM) return OTHER
      this.#unnumbered.number(event)
      return at
    }
    at = scan.integer(at + SEQ.length)
    if (at < 0) return OTHER
    event.firstSeq = scan.value
    event.lastSeq = scan.value
    event.prevSeq = 0
    if (event.isSnapshot) return PREV_NONE.isAt(scan.view, at) ? at + PREV_NONE.length : OTHER
    if (!PREV_SEQ.isAt(scan.view, at)) return OTHER
    at = scan.integer(at + PREV_SEQ.length)
    event.prevSeq = scan.value
    return at
  }

  /** `["price","quantity","0","orders"],…]`; their count is in `#levelCount`. */
  #levels(start: number, event: DepthEvent, instrument: number, isBid: boolean): number {
    const scan = this.#scan
    const { bytes, view } = scan
    this.#levelCount = 0
    if (bytes[start] === CLOSE_BRACKET) return start + 1
    if (view.getUint16(start, true) !== BRACKET_QUOTE) return OTHER
    const priceScale = this.#emit.priceScales[instrument] as number
    const quantityScale = this.#emit.quantityScales[instrument] as number
    let prices = isBid ? event.bidPrices : event.askPrices
    let quantities = isBid ? event.bidQuantities : event.askQuantities
    let at = start + 2
    for (let count = 0; ; ) {
      at = scan.decimal(at, priceScale)
      if (at < 0 || (view.getInt32(at, true) & THREE_BYTES) !== BETWEEN_NUMBERS) return OTHER
      if (count === prices.length) {
        if (count >= LEVELS_MAX) return OTHER
        isBid ? event.growBids() : event.growAsks()
        prices = isBid ? event.bidPrices : event.askPrices
        quantities = isBid ? event.bidQuantities : event.askQuantities
      }
      prices[count] = scan.value
      at = scan.decimal(at + 3, quantityScale)
      if (at < 0) return OTHER
      quantities[count++] = scan.value
      at = this.#orders(at)
      if (at < 0) return OTHER
      const next = view.getInt32(at, true)
      if (next === BETWEEN_LEVELS && bytes[at + 4] === QUOTE) at += 5
      else {
        this.#levelCount = count
        return (next & THREE_BYTES) === AFTER_LEVELS ? at + 3 : OTHER
      }
    }
  }

  /** `["price","quantity","0","orders"]]`, or none: `#price` and `#quantity`. */
  #level(start: number, instrument: number): number {
    const scan = this.#scan
    const { bytes, view } = scan
    this.#price = 0
    this.#quantity = 0
    if (bytes[start] === CLOSE_BRACKET) return start + 1
    if (view.getUint16(start, true) !== BRACKET_QUOTE) return OTHER
    let at = scan.decimal(start + 2, this.#emit.priceScales[instrument] as number)
    if (at < 0 || (view.getInt32(at, true) & THREE_BYTES) !== BETWEEN_NUMBERS) return OTHER
    this.#price = scan.value
    at = scan.decimal(at + 3, this.#emit.quantityScales[instrument] as number)
    this.#quantity = scan.value
    at = at < 0 ? OTHER : this.#orders(at)
    return at >= 0 && (view.getInt32(at, true) & THREE_BYTES) === AFTER_LEVELS ? at + 3 : OTHER
  }

  /** `","0","12`: a number that means nothing any more, and the count of orders. */
  #orders(start: number): number {
    const { bytes, view } = this.#scan
    const isZero = view.getInt32(start, true) === DEPRECATED && bytes[start + 4] === QUOTE
    const deprecatedEnd = isZero ? start + 4 : this.#number(start)
    return deprecatedEnd < 0 ? OTHER : this.#number(deprecatedEnd)
  }

  /** `","12` */
  #number(start: number): number {
    const { bytes, view } = this.#scan
    if ((view.getInt32(start, true) & THREE_BYTES) !== BETWEEN_NUMBERS) return OTHER
    let at = start + 3
    while (((bytes[at] as number) - 48) >>> 0 < 10) at++
    return at === start + 3 ? OTHER : at
  }

  /** One level a side, asks first; an empty side has quantity 0. */
  #best(start: number, close: number): boolean {
    const { view } = this.#scan
    const event = this.#emit.ticker
    const { instrument } = this.#head
    event.instrument = instrument
    let at = this.#level(start, instrument)
    event.askPrice = this.#price
    event.askQuantity = this.#quantity
    if (at < 0 || !BIDS.isAt(view, at)) return false
    at = this.#level(at + BIDS.length, instrument)
    event.bidPrice = this.#price
    event.bidQuantity = this.#quantity
    at = this.#time(at)
    event.eventMs = this.#scan.value
    event.transactionMs = event.eventMs
    if (at < 0 || !SEQ.isAt(view, at) || this.#scan.integer(at + SEQ.length) !== close) return false
    event.updateId = this.#scan.value
    this.#emit.onTicker()
    return true
  }

  /** One trade; `start` is at the digits of its id. */
  #trade(start: number, close: number): boolean {
    const scan = this.#scan
    const { view } = scan
    const event = this.#emit.trade
    const { instrument } = this.#head
    event.instrument = instrument
    let at = scan.integer(start)
    if (at < 0 || !PRICE.isAt(view, at)) return false
    event.tradeId = scan.value
    at = this.#decimal(at + PRICE.length, this.#emit.priceScales[instrument] as number)
    if (at < 0 || !SIZE.isAt(view, at)) return false
    event.price = scan.value
    at = this.#decimal(at + SIZE.length, this.#emit.quantityScales[instrument] as number)
    if (at < 0) return false
    event.quantity = scan.value
    const isBuy = BUY.isAt(view, at)
    if (!isBuy && !SELL.isAt(view, at)) return false
    event.side = isBuy ? SIDES.buy : SIDES.sell
    at = scan.integer(at + (isBuy ? BUY.length : SELL.length))
    event.eventMs = scan.value
    event.tradeMs = scan.value
    return at >= 0 && this.#tradeEnd(at) === close && this.#emitTrade()
  }

  /** `","count":"1","source":"0","seqId":5`, each of which may be absent; the count is left in `lastTradeId`. */
  #tradeEnd(start: number): number {
    const scan = this.#scan
    const { view } = scan
    const event = this.#emit.trade
    let at = start
    event.lastTradeId = 1
    if (COUNT.isAt(view, at)) {
      at = scan.integer(at + COUNT.length)
      if (at < 0) return OTHER
      event.lastTradeId = scan.value
    }
    if (SOURCE.isAt(view, at)) at = scan.integer(at + SOURCE.length)
    if (at < 0 || scan.bytes[at] !== QUOTE) return OTHER
    return SEQ.isAt(view, at + 1) ? scan.integer(at + 1 + SEQ.length) : at + 1
  }

  #emitTrade(): boolean {
    const event = this.#emit.trade
    const matches = event.lastTradeId
    if (matches < 1 || matches > event.tradeId) return false
    event.stream = TRADE_STREAMS.trade
    event.venueTradeId = ''
    event.lastTradeId = event.tradeId
    event.firstTradeId = event.tradeId - matches + 1
    event.firstSeq = event.firstTradeId
    event.lastSeq = event.tradeId
    this.#emit.onTrade()
    return true
  }
}
