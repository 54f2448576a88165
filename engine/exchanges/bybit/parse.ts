import {
  type DepthEvent,
  type Emit,
  type FrameParser,
  LEVELS_MAX,
  NO_CHECKSUM,
  NO_SEQ,
  type Outcome,
  type TradeChannel,
} from '../../record/emit.ts'
import { SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { HEAD_BYTES_MAX } from '../../scan/known-heads.ts'
import { WORD_SLACK_BYTES, WordScanner } from '../../scan/words.ts'
import * as text from './frame-text.ts'
import { FrameHead, TOP, TRADES, WHOLE } from './frame-head.ts'
import { GeneralParser } from './parse-general.ts'
import { RESTART_SEQ } from './sync.ts'
import { TradeBatch } from './trade-batch.ts'

/**
 * Bybit frames → events. First the venue's own key order, every key verified; a frame that differs in anything goes to
 * the general parser, which takes any order. Spot and derivatives differ in the order of keys:
 *
 *   {"topic":"orderbook.200.BTCUSDT","type":"delta","ts":…,"data":{"s":…,"b":[…],"a":[…],"u":…,"seq":…},"cts":…}
 *   {"topic":"orderbook.200.BTCUSDT","ts":…,"type":"delta","data":{…},"cts":…}                                     spot
 *   {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":…,"data":[{"T":…,"s":…,"S":…,"v":…,"p":…,"L":…,"i":…,"BT":…,…
 *   {"topic":"publicTrade.BTCUSDT","ts":…,"type":"snapshot","data":[{"i":…,"T":…,"p":…,"v":…,"S":…,"seq":…,"s":…,…   spot
 *
 * Measured (as bench `scanBybit` does, a cloud core with others at work, best and median): a delta of 14 levels, 464 bytes, 520 and
 * 620 ns, or 37 and 44 ns a level, so one of depth 500 (65 levels, 1,270 bytes) is some 2.4 to 2.9 µs. A trade of 250
 * bytes 330 and 520 ns, the copy of its id among them; a top of 195 bytes 190 and 200 ns.
 *
 * The last byte of a frame is `}`, which no loop over digits passes and no fixed text holds but `},"cts":` and the end of
 * a trade: there the offset is looked at. Words may reach a little beyond a frame: one that ends so close to the end of
 * its memory is read from a copy.
 */
const ROOM_BYTES = HEAD_BYTES_MAX + WORD_SLACK_BYTES
/** The steps of the fast path return the offset behind what they read, or this. */
const OTHER = -1

export class BybitParser implements FrameParser {
  readonly #emit: Emit
  readonly #general: GeneralParser
  readonly #scan = new WordScanner()
  readonly #trades = new TradeBatch()
  #copy = new Uint8Array(4096)
  readonly #head: FrameHead
  #engineMs = 0
  #levelCount = 0

  /** @param market decides what turnover is counted in; '' for recordings that do not say it */
  constructor(emit: Emit, market: string) {
    this.#emit = emit
    this.#general = new GeneralParser(emit, market)
    this.#head = new FrameHead(emit)
  }

  get blamed(): { instrument: number; channel: number } {
    return this.#general.blamed
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    if (length >= text.FRAME_BYTES_MIN && bytes[offset + length - 1] === text.CLOSE_BRACE) {
      const isRoomy = offset + length + ROOM_BYTES <= bytes.length
      if (isRoomy) this.#scan.begin(bytes)
      else this.#beginCopy(bytes, offset, length)
      const outcome = this.#fast(isRoomy ? offset : 0, (isRoomy ? offset : 0) + length)
      if (outcome !== undefined) return outcome
    }
    return this.#general.parse(bytes, offset, length)
  }

  /** Books start in the stream. */
  parseSnapshot(): Outcome {
    return 'unknown_event'
  }

  snapshotSymbol(): string {
    return ''
  }

  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    return this.#general.parsePoll(name, bytes, offset, length, instrument)
  }

  /** REST has no trades by number. */
  parseTrades(_channel: TradeChannel): Outcome {
    return 'unknown_event'
  }

  #beginCopy(bytes: Uint8Array, offset: number, length: number): void {
    const room = length + ROOM_BYTES
    if (this.#copy.length < room) this.#copy = new Uint8Array(2 * room)
    this.#copy.fill(0, length, room)
    this.#copy.set(bytes.subarray(offset, offset + length))
    this.#scan.begin(this.#copy)
  }

  /** @returns undefined when the frame is not exactly as expected; nothing was emitted then. */
  #fast(offset: number, end: number): Outcome | undefined {
    const last = end - 1
    const at = this.#head.read(this.#scan, offset, last)
    if (at < 0) return undefined
    return this.#head.kind === TRADES ? this.#tradeList(at, last) : this.#book(at, last)
  }

  /** The symbol of the topic once more; @returns offset of the quote behind it. */
  #symbol(at: number): number {
    const { symbolAt, symbolBytes } = this.#head
    return text.isSameText(this.#scan.bytes, at, symbolAt, symbolBytes) ? at + symbolBytes : OTHER
  }

  /** `start` is at the list of bids. */
  #book(start: number, last: number): Outcome | undefined {
    const scan = this.#scan
    const { view } = scan
    const { kind, instrument } = this.#head
    const event = this.#emit.depth
    event.instrument = instrument
    let at = this.#levels(start, event, true)
    event.bidCount = this.#levelCount
    if (at < 0 || !text.ASKS.isAt(view, at)) return undefined
    at = this.#levels(at + text.ASKS.length, event, false)
    event.askCount = this.#levelCount
    if (at < 0 || !text.UPDATE.isAt(view, at)) return undefined
    at = scan.integer(at + text.UPDATE.length)
    if (at < 0) return undefined
    event.lastSeq = scan.value
    if (text.SEQUENCE.isAt(view, at)) at = scan.integer(at + text.SEQUENCE.length)
    if (!this.#isEnd(at, last)) return undefined
    event.eventMs = this.#head.eventMs
    event.transactionMs = this.#engineMs
    if (kind === TOP) return this.#general.emitTop(event)
    event.firstSeq = event.lastSeq
    event.prevSeq = 0
    event.checksum = NO_CHECKSUM
    event.isSnapshot = kind === WHOLE || event.lastSeq === RESTART_SEQ
    if (this.#engineMs === 0) event.transactionMs = event.eventMs
    this.#emit.onDepth()
    return ''
  }

  /** `},"cts":…}` or, before 2023, `}}`, to the end of the frame: `#engineMs`, 0 without. */
  #isEnd(start: number, last: number): boolean {
    const scan = this.#scan
    this.#engineMs = 0
    if (start < 0 || start >= last) return false
    if (start + 1 === last) return scan.bytes[start] === text.CLOSE_BRACE
    if (!text.ENGINE_TIME.isAt(scan.view, start)) return false
    const end = scan.integer(start + text.ENGINE_TIME.length)
    this.#engineMs = scan.value
    return end === last
  }

  /** `["price","quantity"],…]`; their count is in `#levelCount`. */
  #levels(start: number, event: DepthEvent, isBid: boolean): number {
    const scan = this.#scan
    const { bytes, view } = scan
    this.#levelCount = 0
    if (bytes[start] === text.CLOSE_BRACKET) return start + 1
    if (view.getUint16(start, true) !== text.BRACKET_QUOTE) return OTHER
    const priceScale = this.#emit.priceScales[event.instrument] as number
    const quantityScale = this.#emit.quantityScales[event.instrument] as number
    let prices = isBid ? event.bidPrices : event.askPrices
    let quantities = isBid ? event.bidQuantities : event.askQuantities
    let at = start + 2
    for (let count = 0; ; ) {
      at = scan.decimal(at, priceScale)
      if (at < 0 || (view.getInt32(at, true) & text.THREE_BYTES) !== text.BETWEEN_NUMBERS) return OTHER
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
      const next = view.getInt32(at, true)
      if (next === text.BETWEEN_LEVELS && bytes[at + 4] === text.QUOTE) at += 5
      else {
        this.#levelCount = count
        return (next & text.THREE_BYTES) === text.AFTER_LEVELS ? at + 3 : OTHER
      }
    }
  }

  /** `start` is at the first key; all trades of the frame are read before the first is emitted. */
  #tradeList(start: number, last: number): Outcome | undefined {
    const scan = this.#scan
    const { bytes, view } = scan
    const trades = this.#trades
    trades.count = 0
    // `at` is behind the brace of a trade, at the quote of its first key
    for (let at = start; ; at += 3) {
      if (trades.count === trades.tradeMs.length && !trades.tryGrow()) return undefined
      if (bytes[at] !== text.QUOTE) return undefined
      const first = view.getInt32(at + 1, true) & text.THREE_BYTES
      if (first === text.T_COLON) at = this.#derivativeTrade(at + 4)
      else if (first === text.I_COLON) at = this.#spotTrade(at + 4, last)
      else return undefined
      // behind the value of the last key: `},{` or `}]}`
      if (at < 0 || at + 2 > last || bytes[at] !== text.CLOSE_BRACE) return undefined
      trades.count++
      if (at + 2 === last) return bytes[at + 1] === text.CLOSE_BRACKET ? this.#emitTrades() : undefined
      if (bytes[at + 1] !== text.COMMA || bytes[at + 2] !== text.OPEN_BRACE) return undefined
    }
  }

  /** Behind `{"T":`: T s S v p [L] i BT [RPI] [seq] */
  #derivativeTrade(start: number): number {
    const scan = this.#scan
    const { bytes, view } = scan
    const trades = this.#trades
    let at = scan.integer(start)
    if (at < 0 || !text.SYMBOL.isAt(view, at)) return OTHER
    trades.tradeMs[trades.count] = scan.value
    at = this.#symbol(at + text.SYMBOL.length)
    if (at < 0 || view.getUint16(at, true) !== text.QUOTE_COMMA) return OTHER
    at = this.#side(at + 2)
    if (at < 0 || !text.QUANTITY.isAt(view, at)) return OTHER
    at = this.#quantity(at + text.QUANTITY.length)
    if (at < 0 || !text.PRICE.isAt(view, at + 1)) return OTHER
    at = this.#price(at + 1 + text.PRICE.length)
    if (at < 0) return OTHER
    if (text.DIRECTION.isAt(view, at)) {
      at += text.DIRECTION.length
      while (isWordByte(bytes[at] as number)) at++
    }
    if (!text.ID_BEHIND.isAt(view, at)) return OTHER
    at += text.ID_BEHIND.length
    trades.idOffsets[trades.count] = at
    while (isIdByte(bytes[at] as number)) at++
    trades.idEnds[trades.count] = at
    if (view.getUint16(at, true) !== text.QUOTE_COMMA) return OTHER
    at = this.#flags(at + 2)
    return at >= 0 && text.SEQUENCE.isAt(view, at) ? scan.integer(at + text.SEQUENCE.length) : at
  }

  /** Behind `{"i":`: i T p v S [seq] s BT [RPI] */
  #spotTrade(start: number, last: number): number {
    const scan = this.#scan
    const { bytes, view } = scan
    const trades = this.#trades
    let at = start + 1
    if (bytes[start] !== text.QUOTE) return OTHER
    trades.idOffsets[trades.count] = at
    while (isIdByte(bytes[at] as number)) at++
    trades.idEnds[trades.count] = at
    if (!text.TRADE_TIME.isAt(view, at)) return OTHER
    at = scan.integer(at + text.TRADE_TIME.length)
    if (at < 0 || !text.PRICE.isAt(view, at)) return OTHER
    trades.tradeMs[trades.count] = scan.value
    at = this.#price(at + text.PRICE.length)
    if (at < 0 || !text.QUANTITY.isAt(view, at + 1)) return OTHER
    at = this.#quantity(at + 1 + text.QUANTITY.length)
    if (at < 0 || view.getUint16(at, true) !== text.QUOTE_COMMA) return OTHER
    at = this.#side(at + 2)
    if (at < 0) return OTHER
    if (text.SEQUENCE.isAt(view, at)) at = scan.integer(at + text.SEQUENCE.length)
    if (at < 0 || !text.SYMBOL.isAt(view, at)) return OTHER
    at = this.#symbol(at + text.SYMBOL.length)
    if (at < 0 || at >= last || view.getUint16(at, true) !== text.QUOTE_COMMA) return OTHER
    return this.#flags(at + 2)
  }

  #side(at: number): number {
    const { view } = this.#scan
    const trades = this.#trades
    const isBuy = text.SIDE_BUY.isAt(view, at)
    trades.sides[trades.count] = isBuy ? SIDES.buy : SIDES.sell
    if (isBuy) return at + text.SIDE_BUY.length
    return text.SIDE_SELL.isAt(view, at) ? at + text.SIDE_SELL.length : OTHER
  }

  /** @returns offset of the closing quote */
  #price(at: number): number {
    const scan = this.#scan
    const behind = scan.decimal(at, this.#emit.priceScales[this.#head.instrument] as number)
    this.#trades.prices[this.#trades.count] = scan.value
    return behind >= 0 && scan.bytes[behind] === text.QUOTE ? behind : OTHER
  }

  /** @returns offset of the closing quote */
  #quantity(at: number): number {
    const scan = this.#scan
    const behind = scan.decimal(at, this.#emit.quantityScales[this.#head.instrument] as number)
    this.#trades.quantities[this.#trades.count] = scan.value
    return behind >= 0 && scan.bytes[behind] === text.QUOTE ? behind : OTHER
  }

  /** `"BT":false[,"RPI":false]`: block and retail trades are trades. */
  #flags(start: number): number {
    const { view } = this.#scan
    if (!text.BLOCK.isAt(view, start)) return OTHER
    const at = this.#boolean(start + text.BLOCK.length)
    return at >= 0 && text.RETAIL.isAt(view, at) ? this.#boolean(at + text.RETAIL.length) : at
  }

  #boolean(at: number): number {
    const { view } = this.#scan
    if (text.FALSE.isAt(view, at)) return at + text.FALSE.length
    return text.TRUE.isAt(view, at) ? at + text.TRUE.length : OTHER
  }

  #emitTrades(): '' {
    const { trade } = this.#emit
    const trades = this.#trades
    trade.instrument = this.#head.instrument
    trade.stream = TRADE_STREAMS.trade
    trade.eventMs = this.#head.eventMs
    trade.isFiltered = false
    trade.firstSeq = NO_SEQ
    trade.lastSeq = NO_SEQ
    for (let index = 0; index < trades.count; index++) {
      trade.tradeMs = trades.tradeMs[index] as number
      trade.price = trades.prices[index] as number
      trade.quantity = trades.quantities[index] as number
      trade.side = trades.sides[index] as number
      trades.setId(trade, index, this.#scan)
      this.#emit.onTrade()
    }
    return ''
  }
}

function isWordByte(byte: number): boolean {
  return ((byte | 32) - 97) >>> 0 < 26
}

/** Letters, digits and `-`: UUIDs and numbers. Anything else goes the general way. */
function isIdByte(byte: number): boolean {
  return isWordByte(byte) || (byte - 48) >>> 0 < 10 || byte === 45
}
