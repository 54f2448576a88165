import { isRejection } from '../../record/emit.ts'
import type { DepthEvent, Emit, IgnoreReason, Outcome } from '../../record/emit.ts'
import { GAP_CHANNELS, SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { SCALE_MAX } from '../../scan/decimal.ts'
import { asciiText } from '../../scan/json.ts'
import { ABSENT, FrameValues } from './frame-values.ts'
import { KindParser, isRareKind } from './parse-kinds.ts'

/**
 * The general way for Binance frames: any key order, whitespace, unknown keys. One pass over the whole text checks that
 * it is JSON, then the values are read by kind. Nothing is emitted before everything was read. This also names the reason when a frame is refused.
 */
/** Frames are at most this often read again because their instrument was widened: once for price, once for quantity, per level. */
const WIDENINGS_MAX = 64
/** Where blame looks for the symbol: stream name and the first keys. */
const BLAME_BYTES_MAX = 512

const IGNORED_EVENTS: Readonly<Record<string, IgnoreReason>> = {
  continuous_kline: 'kline',
  indexPrice_kline: 'kline',
  '24hrMiniTicker': 'rolling_ticker',
  '1hTicker': 'rolling_ticker',
  avgPrice: 'rolling_ticker',
  serverShutdown: 'control',
  compositeIndex: 'other_event',
  contractInfo: 'other_event',
  assetIndexUpdate: 'other_event',
  blockTrade: 'other_event',
  tradingSession: 'other_event',
}

export class GeneralParser {
  readonly blamed = { instrument: ABSENT, channel: 0 }
  readonly #emit: Emit
  readonly #values: FrameValues
  readonly #kinds: KindParser
  #wideningInstrument = ABSENT

  constructor(emit: Emit, market: string) {
    this.#emit = emit
    this.#kinds = new KindParser(emit, market)
    this.#values = new FrameValues(emit.priceScales, emit.quantityScales)
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    this.#values.bytes = bytes
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      const outcome = this.#parseOnce(offset, length)
      if (outcome !== 'precision') return this.#blame(outcome, offset, length)
      if (!this.#widen()) break
    }
    return this.#blame('precision', offset, length)
  }

  parseSnapshot(bytes: Uint8Array, offset: number, length: number, instrument: number, into: DepthEvent): Outcome {
    this.#values.bytes = bytes
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      const outcome = this.#snapshotOnce(offset, length, instrument, into)
      if (outcome !== 'precision') return outcome
      if (!this.#widen()) break
    }
    return 'precision'
  }

  #widen(): boolean {
    const scale = this.#values.scan.scaleNeeded
    return (
      scale <= SCALE_MAX &&
      this.#wideningInstrument >= 0 &&
      this.#emit.widen(this.#wideningInstrument, this.#values.wideningKind, scale)
    )
  }

  #parseOnce(offset: number, length: number): Outcome {
    if (!this.#values.indexFrame(offset, length)) return this.#values.refusal
    const kind = this.#kind()
    if (kind === null) return this.#values.refusal
    const ignored = Object.hasOwn(IGNORED_EVENTS, kind) ? IGNORED_EVENTS[kind] : undefined
    if (ignored !== undefined) return ignored
    if (kind === 'control') return 'control'
    if (isRareKind(kind)) return this.#kinds.parse(kind, this.#values.bytes, offset, length)
    if (kind === 'depthUpdate') return this.#depth() ? '' : this.#values.refusal
    if (kind === 'bookTicker') return this.#ticker() ? '' : this.#values.refusal
    if (kind === 'trade') return this.#trade() ? (this.#emit.trade.isFiltered ? 'filtered' : '') : this.#values.refusal
    if (kind === 'aggTrade') return this.#aggTrade() ? '' : this.#values.refusal
    return 'unknown_event'
  }

  /** The event's word; spot bookTicker has none and is known by its keys; answers to requests are `control`. */
  #kind(): string | null {
    const at = this.#values.offsetOf('e')
    if (at >= 0) return this.#values.word(at)
    if (['u', 's', 'b', 'B', 'a', 'A'].every((key) => this.#values.offsetOf(key) >= 0)) return 'bookTicker'
    if (['result', 'error', 'code', 'id'].some((key) => this.#values.offsetOf(key) >= 0)) return 'control'
    this.#values.refuse('unknown_event')
    return null
  }

  /** Index of the instrument under `s`, or ABSENT. */
  #instrument(): number {
    const at = this.#values.offsetOf('s')
    if (at < 0) return this.#values.missing()
    if (this.#values.word(at) === null) return ABSENT
    const { textOffset, textEnd } = this.#values.json
    const known = this.#emit.find(this.#values.bytes, textOffset, textEnd)
    const instrument = known >= 0 ? known : this.#emit.learn(this.#values.bytes, textOffset, textEnd)
    if (instrument < 0) this.#values.refuse('unknown_symbol')
    this.#wideningInstrument = instrument
    return instrument
  }

  #depth(): boolean {
    const event = this.#emit.depth
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.eventMs = this.#values.integer('E')
    event.transactionMs = this.#values.integerOr('T', event.eventMs)
    event.firstSeq = this.#values.integer('U')
    event.lastSeq = this.#values.integer('u')
    event.prevSeq = this.#values.integerOr('pu', 0)
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
    if (!this.#values.levels('b', event, true) || !this.#values.levels('a', event, false)) return false
    this.#emit.onDepth()
    return true
  }

  #ticker(): boolean {
    const event = this.#emit.ticker
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.updateId = this.#values.integer('u')
    event.eventMs = this.#values.integerOr('E', 0)
    event.transactionMs = this.#values.integerOr('T', 0)
    if (!(event.updateId >= 0 && event.eventMs >= 0 && event.transactionMs >= 0)) return false
    event.bidPrice = this.#values.decimal('b', 'price', instrument)
    if (!(event.bidPrice >= 0)) return false
    event.bidQuantity = this.#values.decimal('B', 'quantity', instrument)
    if (!(event.bidQuantity >= 0)) return false
    event.askPrice = this.#values.decimal('a', 'price', instrument)
    if (!(event.askPrice >= 0)) return false
    event.askQuantity = this.#values.decimal('A', 'quantity', instrument)
    if (!(event.askQuantity >= 0)) return false
    this.#emit.onTicker()
    return true
  }

  #trade(): boolean {
    if (!this.#tradeValues()) return false
    const event = this.#emit.trade
    event.tradeId = this.#values.integer('t')
    if (!(event.tradeId >= 0)) return false
    event.firstTradeId = event.tradeId
    event.lastTradeId = event.tradeId
    // Futures name the origin of a fill; the insurance fund, ADL and NA (price and quantity 0) are no public matches.
    const origin = this.#values.offsetOf('X') >= 0 ? this.#values.word(this.#values.offsetOf('X')) : 'MARKET'
    if (origin === null) return false
    return this.#emitTrade(TRADE_STREAMS.trade, origin !== 'MARKET' && origin !== 'RPI')
  }

  #aggTrade(): boolean {
    if (!this.#tradeValues()) return false
    const event = this.#emit.trade
    event.tradeId = this.#values.integer('a')
    event.firstTradeId = this.#values.integer('f')
    event.lastTradeId = this.#values.integer('l')
    if (!(event.tradeId >= 0 && event.firstTradeId >= 0 && event.lastTradeId >= 0)) return false
    return this.#emitTrade(TRADE_STREAMS.agg_trade, false)
  }

  #tradeValues(): boolean {
    const event = this.#emit.trade
    const instrument = this.#instrument()
    if (instrument < 0) return false
    event.instrument = instrument
    event.eventMs = this.#values.integer('E')
    event.tradeMs = this.#values.integer('T')
    if (!(event.eventMs >= 0 && event.tradeMs >= 0)) return false
    const isMaker = this.#values.boolean('m')
    if (isMaker === null) return false
    event.side = isMaker ? SIDES.sell : SIDES.buy
    event.price = this.#values.decimal('p', 'price', instrument)
    if (!(event.price >= 0)) return false
    event.quantity = this.#values.decimal('q', 'quantity', instrument)
    return event.quantity >= 0
  }

  #emitTrade(stream: number, isFiltered: boolean): true {
    const { trade } = this.#emit
    trade.stream = stream
    trade.isFiltered = isFiltered
    trade.firstSeq = trade.tradeId
    trade.lastSeq = trade.tradeId
    this.#emit.onTrade()
    return true
  }

  #snapshotOnce(offset: number, length: number, instrument: number, into: DepthEvent): Outcome {
    if (!this.#values.indexFrame(offset, length)) return this.#values.refusal
    this.#wideningInstrument = instrument
    into.instrument = instrument
    const at = this.#values.offsetOf('lastUpdateId')
    if (at < 0) return 'missing_key'
    // A new listing without a book answers −1.
    into.lastSeq =
      this.#values.bytes[at] === 45 && this.#values.bytes[at + 1] === 49 ? -1 : this.#values.integer('lastUpdateId')
    into.firstSeq = into.lastSeq
    into.prevSeq = 0
    into.eventMs = this.#values.integerOr('E', 0)
    into.transactionMs = this.#values.integerOr('T', 0)
    if (!(into.lastSeq >= -1 && into.eventMs >= 0 && into.transactionMs >= 0)) return this.#values.refusal
    return this.#values.levels('bids', into, true) && this.#values.levels('asks', into, false)
      ? ''
      : this.#values.refusal
  }

  /** The symbol that a REST depth body names itself (COIN-M), or ''. */
  snapshotSymbol(bytes: Uint8Array, offset: number, length: number): string {
    this.#values.bytes = bytes
    if (!this.#values.indexFrame(offset, length) || this.#values.offsetOf('symbol') < 0) return ''
    return this.#values.word(this.#values.offsetOf('symbol')) ?? ''
  }

  /** Notes what a refused frame may have been meant for: what can still be read of it. */
  #blame(outcome: Outcome, offset: number, length: number): Outcome {
    this.blamed.instrument = ABSENT
    this.blamed.channel = 0
    if (!isRejection(outcome)) return outcome
    const text = asciiText(this.#values.bytes, offset, offset + Math.min(length, BLAME_BYTES_MAX))
    this.blamed.channel = channelIn(text)
    const symbol =
      /"s" *: *"([^"]{1,40})"/.exec(text)?.[1] ?? /"stream" *: *"([^"@]{1,40})@/.exec(text)?.[1]?.toUpperCase()
    if (symbol === undefined) return outcome
    const name = new TextEncoder().encode(symbol)
    this.blamed.instrument = this.#emit.find(name, 0, name.length)
    return outcome
  }
}

/** Words of events and streams, as they begin, and the channel of each. */
const CHANNEL_WORDS: readonly (readonly [RegExp, number])[] = [
  [/"e" *: *"depthUpdate"|"stream" *: *"[^"@]+@depth/, GAP_CHANNELS.book],
  [/"e" *: *"bookTicker"|"stream" *: *"[^"@]+@bookTicker"/, GAP_CHANNELS.book_tickers],
  [/"e" *: *"(?:trade|aggTrade)"|"stream" *: *"[^"@]+@(?:trade|aggTrade)"/, GAP_CHANNELS.trades],
  [/"e" *: *"kline"|"stream" *: *"[^"@]+@kline_/, GAP_CHANNELS.klines],
  [/"e" *: *"24hrTicker"|"stream" *: *"[^"@]+@ticker"/, GAP_CHANNELS.tickers],
  [/"e" *: *"markPriceUpdate"|"stream" *: *"[^"@]+@markPrice/, GAP_CHANNELS.mark_prices],
  [/"e" *: *"(?:indexPriceUpdate|IndexUpdate)"|"stream" *: *"[^"@]+@indexPrice/, GAP_CHANNELS.index_prices],
  [/"e" *: *"forceOrder"|"stream" *: *"[^"@]+@forceOrder/, GAP_CHANNELS.liquidations],
]

/** A value of GAP_CHANNELS, 0 for none. */
function channelIn(text: string): number {
  return CHANNEL_WORDS.find(([pattern]) => pattern.test(text))?.[1] ?? 0
}
