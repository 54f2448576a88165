import { LEVELS_MAX } from '../../record/emit.ts'
import type { DepthEvent, Emit, IgnoreReason, Outcome, RejectReason } from '../../record/emit.ts'
import { SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { DecimalScanner, SCALE_MAX } from '../../scan/decimal.ts'
import { asciiText, JsonCursor } from '../../scan/json.ts'

/**
 * The general way for Binance frames: any key order, whitespace, unknown keys. One pass over the whole text checks that
 * it is JSON and notes where each known value starts; then the values are read by kind. Nothing is emitted before
 * everything was read. This also names the reason when a frame is refused.
 */
const QUOTE = 34
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93
const OPEN_BRACE = 123
const COMMA = 44
const ABSENT = -1
/** Frames are at most this often read again because their instrument was widened: once for price, once for quantity, per level. */
const WIDENINGS_MAX = 64
/** Where blame looks for the symbol: stream name and the first keys. */
const BLAME_BYTES_MAX = 512

/** Keys with more than one letter that are looked at, each under a letter that the venue does not use. */
const LONG_KEYS: Readonly<Record<string, string>> = {
  pu: '!',
  lastUpdateId: '#',
  bids: '$',
  asks: '%',
  symbol: '&',
  result: '(',
  id: ')',
  error: '*',
  code: '+',
  msg: '-',
}

const IGNORED_EVENTS: Readonly<Record<string, IgnoreReason>> = {
  markPriceUpdate: 'mark_price',
  indexPriceUpdate: 'mark_price',
  kline: 'kline',
  continuous_kline: 'kline',
  indexPrice_kline: 'kline',
  '24hrTicker': 'rolling_ticker',
  '24hrMiniTicker': 'rolling_ticker',
  '1hTicker': 'rolling_ticker',
  avgPrice: 'rolling_ticker',
  forceOrder: 'force_order',
  serverShutdown: 'control',
  compositeIndex: 'other_event',
  contractInfo: 'other_event',
  assetIndexUpdate: 'other_event',
  blockTrade: 'other_event',
  tradingSession: 'other_event',
}

export class GeneralParser {
  readonly blamed = { instrument: ABSENT, isDepth: false }
  readonly #emit: Emit
  readonly #json = new JsonCursor()
  readonly #scan = new DecimalScanner()
  /** Offset of each known value, by the character code of its key. */
  readonly #values = new Int32Array(128)
  #bytes: Uint8Array = new Uint8Array(0)
  #refusal: RejectReason = 'syntax'

  constructor(emit: Emit) {
    this.#emit = emit
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    this.#bytes = bytes
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      const outcome = this.#parseOnce(offset, length)
      if (outcome !== 'precision') return this.#blame(outcome, offset, length)
      if (!this.#widen()) break
    }
    return this.#blame('precision', offset, length)
  }

  parseSnapshot(bytes: Uint8Array, offset: number, length: number, instrument: number, into: DepthEvent): Outcome {
    this.#bytes = bytes
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      const outcome = this.#snapshotOnce(offset, length, instrument, into)
      if (outcome !== 'precision') return outcome
      if (!this.#widen()) break
    }
    return 'precision'
  }

  #wideningInstrument = ABSENT
  #wideningKind: 'price' | 'quantity' = 'price'

  #widen(): boolean {
    const scale = this.#scan.scaleNeeded
    return (
      scale <= SCALE_MAX &&
      this.#wideningInstrument >= 0 &&
      this.#emit.widen(this.#wideningInstrument, this.#wideningKind, scale)
    )
  }

  #refuse(reason: RejectReason): false {
    this.#refusal = reason
    return false
  }

  /** Notes where the values of an object are; its `{` is next. @returns offset of the value of `data`, ABSENT without, or −2 after a failure. */
  #index(): number {
    const json = this.#json
    const values = this.#values.fill(ABSENT)
    let dataOffset = ABSENT
    if (!json.expect(OPEN_BRACE)) return this.#indexFailed()
    for (let isFirst = true; json.member(isFirst); isFirst = false) {
      const key = json.text()
      json.peek()
      const letter = key.length === 1 ? key : LONG_KEYS[key]
      if (key === 'data') {
        if (dataOffset !== ABSENT) return this.#indexFailed('duplicate_key')
        dataOffset = json.at
      } else if (letter !== undefined && letter.charCodeAt(0) < values.length) {
        if (values[letter.charCodeAt(0)] !== ABSENT) return this.#indexFailed('duplicate_key')
        values[letter.charCodeAt(0)] = json.at
      }
      if (!json.skip()) return this.#indexFailed()
    }
    return json.failure === 'none' ? dataOffset : this.#indexFailed()
  }

  #indexFailed(reason?: RejectReason): -2 {
    const { failure } = this.#json
    this.#refuse(reason ?? (failure === 'none' ? 'syntax' : failure))
    return -2
  }

  /** Indexes the event: the frame itself, or what is under `data`. */
  #indexFrame(offset: number, length: number): boolean {
    const json = this.#json
    json.begin(this.#bytes, offset, length)
    if (json.isDone()) return this.#refuse('empty')
    const dataOffset = this.#index()
    if (dataOffset === -2) return false
    if (!json.isDone()) return this.#refuse('syntax')
    if (dataOffset === ABSENT) return true
    json.begin(this.#bytes, dataOffset, offset + length - dataOffset)
    if (json.peek() !== OPEN_BRACE) return this.#refuse('type')
    return this.#index() !== -2
  }

  #parseOnce(offset: number, length: number): Outcome {
    if (!this.#indexFrame(offset, length)) return this.#refusal
    const kind = this.#kind()
    if (kind === null) return this.#refusal
    const ignored = Object.hasOwn(IGNORED_EVENTS, kind) ? IGNORED_EVENTS[kind] : undefined
    if (ignored !== undefined) return ignored
    if (kind === 'control') return 'control'
    if (kind === 'depthUpdate') return this.#depth() ? '' : this.#refusal
    if (kind === 'bookTicker') return this.#ticker() ? '' : this.#refusal
    if (kind === 'trade') return this.#trade() ? (this.#emit.trade.isFiltered ? 'filtered' : '') : this.#refusal
    if (kind === 'aggTrade') return this.#aggTrade() ? '' : this.#refusal
    return 'unknown_event'
  }

  #offsetOf(key: string): number {
    return this.#values[key.charCodeAt(0)] as number
  }

  /** The event's word; spot bookTicker has none and is known by its keys; answers to requests are `control`. */
  #kind(): string | null {
    const at = this.#offsetOf('e')
    if (at >= 0) return this.#word(at)
    if (['u', 's', 'b', 'B', 'a', 'A'].every((key) => this.#offsetOf(key) >= 0)) return 'bookTicker'
    if (['(', '*', '+', ')'].some((key) => this.#offsetOf(key) >= 0)) return 'control'
    this.#refuse('unknown_event')
    return null
  }

  /** A string value, or null (type). */
  #word(at: number): string | null {
    const json = this.#json
    json.at = at
    if (this.#bytes[at] !== QUOTE || !json.string()) {
      this.#refuse('type')
      return null
    }
    return json.text()
  }

  /** Index of the instrument under `s`, or ABSENT. */
  #instrument(): number {
    const at = this.#offsetOf('s')
    if (at < 0) return this.#missing()
    if (this.#word(at) === null) return ABSENT
    const { textOffset, textEnd } = this.#json
    const known = this.#emit.find(this.#bytes, textOffset, textEnd)
    const instrument = known >= 0 ? known : this.#emit.learn(this.#bytes, textOffset, textEnd)
    if (instrument < 0) this.#refuse('unknown_symbol')
    this.#wideningInstrument = instrument
    return instrument
  }

  #missing(): -1 {
    this.#refuse('missing_key')
    return ABSENT
  }

  /** A non-negative integer under this key, or NaN. */
  #integer(key: string): number {
    const at = this.#offsetOf(key)
    if (at < 0) return this.#missing() + Number.NaN
    const value = this.#scan.integer(this.#bytes, at)
    if (Number.isNaN(value)) this.#refuse(this.#scan.refusal === 'overflow' ? 'overflow' : 'type')
    else if (!endsValue(this.#bytes[this.#scan.at] as number)) return this.#refuse('type') || Number.NaN
    return value
  }

  /** As `integer`; `fallback` when the key is absent. */
  #integerOr(key: string, fallback: number): number {
    return this.#offsetOf(key) < 0 ? fallback : this.#integer(key)
  }

  /** A decimal in quotes at this offset, or NaN; `#scan.at` is behind the closing quote then. */
  #decimalAt(at: number, kind: 'price' | 'quantity', scale: number): number {
    if (this.#bytes[at] !== QUOTE) return this.#refuse('type') || Number.NaN
    this.#wideningKind = kind
    const value = this.#scan.decimal(this.#bytes, at + 1, scale)
    if (Number.isNaN(value))
      return this.#refuse(this.#scan.refusal === 'none' ? 'number' : this.#scan.refusal) || Number.NaN
    if (this.#bytes[this.#scan.at++] !== QUOTE) return this.#refuse('number') || Number.NaN
    return value
  }

  #decimal(key: string, kind: 'price' | 'quantity', instrument: number): number {
    const at = this.#offsetOf(key)
    if (at < 0) return this.#missing() + Number.NaN
    return this.#decimalAt(at, kind, this.#scale(kind, instrument))
  }

  #scale(kind: 'price' | 'quantity', instrument: number): number {
    return (kind === 'price' ? this.#emit.priceScales[instrument] : this.#emit.quantityScales[instrument]) as number
  }

  #boolean(key: string): boolean | null {
    const at = this.#offsetOf(key)
    if (at < 0) return this.#missing() === ABSENT ? null : null
    const byte = this.#bytes[at]
    if (byte === 116) return true
    if (byte === 102) return false
    this.#refuse('type')
    return null
  }

  #depth(): boolean {
    const event = this.#emit.depth
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.eventMs = this.#integer('E')
    event.transactionMs = this.#integerOr('T', event.eventMs)
    event.firstSeq = this.#integer('U')
    event.lastSeq = this.#integer('u')
    event.prevSeq = this.#integerOr('!', 0)
    if (
      !(
        event.eventMs >= 0 &&
        event.transactionMs >= 0 &&
        event.firstSeq >= 0 &&
        event.lastSeq >= 0 &&
        event.prevSeq >= 0
      )
    )
      return false
    if (!this.#levels('b', event, true) || !this.#levels('a', event, false)) return false
    this.#emit.onDepth()
    return true
  }

  /** Reads a list of levels into one side of the event. */
  #levels(key: string, event: DepthEvent, isBid: boolean): boolean {
    const at = this.#offsetOf(key)
    if (at < 0) return this.#refuse('missing_key')
    const json = this.#json
    json.at = at
    if (json.peek() !== OPEN_BRACKET) return this.#refuse('type')
    json.at++
    const priceScale = this.#scale('price', event.instrument)
    const quantityScale = this.#scale('quantity', event.instrument)
    let count = 0
    if (json.peek() === CLOSE_BRACKET) json.at++
    else {
      for (;;) {
        if (count >= LEVELS_MAX) return this.#refuse('levels')
        if (count >= (isBid ? event.bidPrices : event.askPrices).length) isBid ? event.growBids() : event.growAsks()
        const price = this.#element(OPEN_BRACKET, 'price', priceScale)
        const quantity = price >= 0 ? this.#element(COMMA, 'quantity', quantityScale) : Number.NaN
        if (!(quantity >= 0)) return false
        // Venues have appended members to a level before (a count, an empty list): they are skipped.
        while (json.peek() === COMMA) {
          json.at++
          json.skip()
        }
        if (!json.expect(CLOSE_BRACKET)) return this.#refuse('type')
        const prices = isBid ? event.bidPrices : event.askPrices
        const quantities = isBid ? event.bidQuantities : event.askQuantities
        prices[count] = price
        quantities[count++] = quantity
        const next = json.peek()
        json.at++
        if (next === CLOSE_BRACKET) break
        if (next !== COMMA) return this.#refuse('type')
      }
    }
    if (isBid) event.bidCount = count
    else event.askCount = count
    return true
  }

  /** The next member of a level behind `opener`. */
  #element(opener: number, kind: 'price' | 'quantity', scale: number): number {
    if (!this.#json.expect(opener)) return this.#refuse('type') || Number.NaN
    this.#json.peek()
    const value = this.#decimalAt(this.#json.at, kind, scale)
    this.#json.at = this.#scan.at
    return value
  }

  #ticker(): boolean {
    const event = this.#emit.ticker
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.updateId = this.#integer('u')
    event.eventMs = this.#integerOr('E', 0)
    event.transactionMs = this.#integerOr('T', 0)
    if (!(event.updateId >= 0 && event.eventMs >= 0 && event.transactionMs >= 0)) return false
    event.bidPrice = this.#decimal('b', 'price', instrument)
    if (!(event.bidPrice >= 0)) return false
    event.bidQuantity = this.#decimal('B', 'quantity', instrument)
    if (!(event.bidQuantity >= 0)) return false
    event.askPrice = this.#decimal('a', 'price', instrument)
    if (!(event.askPrice >= 0)) return false
    event.askQuantity = this.#decimal('A', 'quantity', instrument)
    if (!(event.askQuantity >= 0)) return false
    this.#emit.onTicker()
    return true
  }

  #trade(): boolean {
    if (!this.#tradeValues()) return false
    const event = this.#emit.trade
    event.tradeId = this.#integer('t')
    if (!(event.tradeId >= 0)) return false
    event.firstTradeId = event.tradeId
    event.lastTradeId = event.tradeId
    // Futures name the origin of a fill; only MARKET is a public match.
    const origin = this.#offsetOf('X') >= 0 ? this.#word(this.#offsetOf('X')) : 'MARKET'
    if (origin === null) return false
    return this.#emitTrade(TRADE_STREAMS.trade, origin !== 'MARKET')
  }

  #aggTrade(): boolean {
    if (!this.#tradeValues()) return false
    const event = this.#emit.trade
    event.tradeId = this.#integer('a')
    event.firstTradeId = this.#integer('f')
    event.lastTradeId = this.#integer('l')
    if (!(event.tradeId >= 0 && event.firstTradeId >= 0 && event.lastTradeId >= 0)) return false
    return this.#emitTrade(TRADE_STREAMS.agg_trade, false)
  }

  #tradeValues(): boolean {
    const event = this.#emit.trade
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.eventMs = this.#integer('E')
    event.tradeMs = this.#integer('T')
    if (!(event.eventMs >= 0 && event.tradeMs >= 0)) return false
    const isMaker = this.#boolean('m')
    if (isMaker === null) return false
    event.side = isMaker ? SIDES.sell : SIDES.buy
    event.price = this.#decimal('p', 'price', instrument)
    if (!(event.price >= 0)) return false
    event.quantity = this.#decimal('q', 'quantity', instrument)
    return event.quantity >= 0
  }

  #emitTrade(stream: number, isFiltered: boolean): true {
    this.#emit.trade.stream = stream
    this.#emit.trade.isFiltered = isFiltered
    this.#emit.onTrade()
    return true
  }

  #snapshotOnce(offset: number, length: number, instrument: number, into: DepthEvent): Outcome {
    if (!this.#indexFrame(offset, length)) return this.#refusal
    this.#wideningInstrument = instrument
    into.instrument = instrument
    const at = this.#offsetOf('#')
    if (at < 0) return 'missing_key'
    // A new listing without a book answers −1.
    into.lastSeq = this.#bytes[at] === 45 && this.#bytes[at + 1] === 49 ? -1 : this.#integer('#')
    into.firstSeq = into.lastSeq
    into.prevSeq = 0
    into.eventMs = this.#integerOr('E', 0)
    into.transactionMs = this.#integerOr('T', 0)
    if (!(into.lastSeq >= -1 && into.eventMs >= 0 && into.transactionMs >= 0)) return this.#refusal
    return this.#levels('$', into, true) && this.#levels('%', into, false) ? '' : this.#refusal
  }

  /** The symbol that a REST depth body names itself (COIN-M), or ''. */
  snapshotSymbol(bytes: Uint8Array, offset: number, length: number): string {
    this.#bytes = bytes
    if (!this.#indexFrame(offset, length) || this.#offsetOf('&') < 0) return ''
    return this.#word(this.#offsetOf('&')) ?? ''
  }

  /** Notes whose book a refused frame may have been meant for: what can still be read of it. */
  #blame(outcome: Outcome, offset: number, length: number): Outcome {
    this.blamed.instrument = ABSENT
    this.blamed.isDepth = false
    if (outcome === '' || !isRejection(outcome)) return outcome
    const text = asciiText(this.#bytes, offset, offset + Math.min(length, BLAME_BYTES_MAX))
    this.blamed.isDepth = text.includes('depthUpdate') || /"stream" *: *"[^"@]+@depth/.test(text)
    const symbol =
      /"s" *: *"([^"]{1,40})"/.exec(text)?.[1] ?? /"stream" *: *"([^"@]{1,40})@/.exec(text)?.[1]?.toUpperCase()
    if (symbol === undefined) return outcome
    const name = new TextEncoder().encode(symbol)
    this.blamed.instrument = this.#emit.find(name, 0, name.length)
    return outcome
  }
}

const IGNORED = new Set<Outcome>([
  'control',
  'mark_price',
  'kline',
  'rolling_ticker',
  'force_order',
  'other_event',
  'filtered',
])

function isRejection(outcome: Outcome): boolean {
  return !IGNORED.has(outcome)
}

/** What may follow a number: `,`, `}`, `]` or whitespace; a fraction or an exponent is another type. */
function endsValue(byte: number): boolean {
  return byte === COMMA || byte === 125 || byte === CLOSE_BRACKET || byte <= 32
}
