import { LEVELS_MAX, NO_CHECKSUM, NO_SEQ } from '../../record/emit.ts'
import type { DepthEvent, Emit, Outcome, RejectReason } from '../../record/emit.ts'
import { GAP_CHANNELS, SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { DecimalScanner, SCALE_MAX } from '../../scan/decimal.ts'
import { listOf, parseExact, recordOf, textOf, type ExactJson, type ExactRecord } from '../../scan/exact-json.ts'
import { asciiText, JsonCursor } from '../../scan/json.ts'
import { marketOfChannel } from './endpoints.ts'
import { KindReader } from './kinds.ts'
import type { UnnumberedBooks } from './unnumbered.ts'

/**
 * The general way for OKX frames: any key order, whitespace, unknown keys, every channel. One pass over the whole text
 * checks that it is JSON, then the values are read by channel. Of books, trades and best levels nothing is emitted before
 * everything was read. This also names the reason when a frame is refused.
 */
/** Frames are at most this often read again because their instrument was widened. */
const WIDENINGS_MAX = 64
/** Where blame looks for channel and symbol. */
const BLAME_BYTES_MAX = 512
const NUMBER_BYTES_MAX = 64
const ABSENT = -1

/** Channel → what may be missing when one of its frames is refused. */
const GAP_CHANNEL_WORDS: readonly (readonly [string, number])[] = [
  ['books', GAP_CHANNELS.book],
  ['trades', GAP_CHANNELS.trades],
  ['bbo-tbt', GAP_CHANNELS.book_tickers],
  ['candle', GAP_CHANNELS.klines],
  ['tickers', GAP_CHANNELS.tickers],
  ['opt-summary', GAP_CHANNELS.tickers],
  ['mark-price', GAP_CHANNELS.mark_prices],
  ['index-tickers', GAP_CHANNELS.index_prices],
  ['funding-rate', GAP_CHANNELS.funding_rates],
  ['open-interest', GAP_CHANNELS.open_interests],
  ['liquidation-orders', GAP_CHANNELS.liquidations],
]

export class GeneralParser {
  readonly blamed = { instrument: ABSENT, channel: 0 }
  readonly #emit: Emit
  readonly #unnumbered: UnnumberedBooks
  readonly #kinds: KindReader
  readonly #json = new JsonCursor()
  readonly #scan = new DecimalScanner()
  readonly #digits = new Uint8Array(NUMBER_BYTES_MAX + 1)
  #refusal: RejectReason = 'type'
  #wideningKind: 'price' | 'quantity' = 'price'
  #instrument = ABSENT

  constructor(emit: Emit, unnumbered: UnnumberedBooks) {
    this.#emit = emit
    this.#unnumbered = unnumbered
    this.#kinds = new KindReader(emit)
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    const isText = length === 4 && bytes[offset] === 112 // p of `pong`
    if (isText && asciiText(bytes, offset, offset + length) === 'pong') return 'control'
    const frame = this.#read(bytes, offset, length)
    const outcome = typeof frame === 'string' ? frame : this.#again(() => this.#frame(frame))
    this.#blame(outcome, bytes, offset, length)
    return outcome
  }

  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    const answer = this.#read(bytes, offset, length)
    if (typeof answer === 'string') return answer
    const rows = rowsOf(answer)
    return rows === undefined ? 'type' : this.#kinds.ratios(name, rows, instrument)
  }

  /** The answer to a question for trades; the venue's newest first. */
  parseTrades(bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    const answer = this.#read(bytes, offset, length)
    if (typeof answer === 'string') return answer
    const rows = rowsOf(answer)
    if (rows === undefined) return 'type'
    return this.#again(() => this.#trades(rows.toReversed(), () => instrument))
  }

  /** The bytes as a record, or why they are none. */
  #read(bytes: Uint8Array, offset: number, length: number): ExactRecord | RejectReason {
    const json = this.#json
    json.begin(bytes, offset, length)
    if (json.isDone()) return 'empty'
    if (!json.skip()) return json.failure === 'none' ? 'syntax' : json.failure
    if (!json.isDone()) return 'syntax'
    return recordOf(parseExact(bytes, offset, length)) ?? 'type'
  }

  /** Reads as often as an instrument has to be widened. */
  #again(read: () => Outcome): Outcome {
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      const outcome = read()
      if (outcome !== 'precision' || !this.#widen()) return outcome
    }
    return 'precision'
  }

  #widen(): boolean {
    const scale = this.#scan.scaleNeeded
    return scale <= SCALE_MAX && this.#instrument >= 0 && this.#emit.widen(this.#instrument, this.#wideningKind, scale)
  }

  #frame(frame: ExactRecord): Outcome {
    if ('event' in frame) return 'control'
    const arg = recordOf(frame['arg'])
    const channel = textOf(arg?.['channel'])
    if (arg === undefined || channel === null) return 'unknown_event'
    const data = listOf(frame['data'])
    if (data === undefined) return 'data' in frame ? 'type' : 'missing_key'
    switch (channel) {
      case 'books':
      case 'books-l2-tbt':
      case 'books50-l2-tbt':
        return this.#depth(arg, frame['action'], data)
      case 'bbo-tbt':
        return this.#best(arg, data)
      case 'trades':
      case 'trades-all':
        return this.#trades(data, (row) => this.#instrumentOf(row['instId']))
      default:
        return this.#kinds.read(channel, arg, data)
    }
  }

  #refuse(reason: RejectReason): false {
    this.#refusal = reason
    return false
  }

  /** Index of the instrument of this name, or −1. */
  #instrumentOf(symbol: ExactJson | undefined): number {
    const name = textOf(symbol)
    this.#instrument = name === null ? ABSENT : this.#emit.instrumentOf(name)
    if (this.#instrument < 0) this.#refuse(name === null ? 'missing_key' : 'unknown_symbol')
    return this.#instrument
  }

  /** A frame of a book carries one change or one book. */
  #depth(arg: ExactRecord, action: ExactJson | undefined, data: readonly ExactJson[]): Outcome {
    const row = recordOf(data[0])
    if (row === undefined || data.length !== 1) return 'type'
    const instrument = this.#instrumentOf(arg['instId'])
    if (instrument < 0) return this.#refusal
    const event = this.#emit.depth
    event.instrument = instrument
    if (action !== 'snapshot' && action !== 'update' && action !== undefined) return 'type'
    event.isSnapshot = action === undefined ? row['prevSeqId'] === '-1' : action === 'snapshot'
    if (!this.#levels(row['asks'], event, false) || !this.#levels(row['bids'], event, true)) return this.#refusal
    if (!this.#times(row, event) || !this.#chain(row, event)) return this.#refusal
    this.#emit.onDepth()
    return ''
  }

  #times(row: ExactRecord, event: { eventMs: number; transactionMs: number }): boolean {
    event.eventMs = this.#integer(row['ts'])
    event.transactionMs = event.eventMs
    return event.eventMs >= 0
  }

  #chain(row: ExactRecord, event: DepthEvent): boolean {
    const checksum = textOf(row['checksum'])
    if (checksum !== null && !/^-?\d{1,10}$/.test(checksum)) return this.#refuse('number')
    event.checksum = checksum === null || Number(checksum) === 0 ? NO_CHECKSUM : Number(checksum)
    if (row['seqId'] === undefined) {
      if (event.checksum === NO_CHECKSUM) return this.#refuse('missing_key')
      this.#unnumbered.number(event)
      return true
    }
    event.lastSeq = this.#integer(row['seqId'])
    event.firstSeq = event.lastSeq
    event.prevSeq = event.isSnapshot ? 0 : this.#integer(row['prevSeqId'])
    return event.lastSeq >= 0 && event.prevSeq >= 0
  }

  #levels(list: ExactJson | undefined, event: DepthEvent, isBid: boolean): boolean {
    const levels = listOf(list)
    if (levels === undefined) return this.#refuse(list === undefined ? 'missing_key' : 'type')
    if (levels.length > LEVELS_MAX) return this.#refuse('levels')
    const { instrument } = event
    for (let index = 0; index < levels.length; index++) {
      const level = listOf(levels[index])
      if (level === undefined || level.length < 2) return this.#refuse('type')
      if (index >= (isBid ? event.bidPrices : event.askPrices).length) isBid ? event.growBids() : event.growAsks()
      const price = this.#decimal(level[0], 'price', instrument)
      const quantity = price >= 0 ? this.#decimal(level[1], 'quantity', instrument) : Number.NaN
      if (!(quantity >= 0)) return false
      ;(isBid ? event.bidPrices : event.askPrices)[index] = price
      ;(isBid ? event.bidQuantities : event.askQuantities)[index] = quantity
    }
    if (isBid) event.bidCount = levels.length
    else event.askCount = levels.length
    return true
  }

  /** One level a side; an empty side has quantity 0. */
  #best(arg: ExactRecord, data: readonly ExactJson[]): Outcome {
    const row = recordOf(data[0])
    if (row === undefined || data.length !== 1) return 'type'
    const instrument = this.#instrumentOf(arg['instId'])
    if (instrument < 0) return this.#refusal
    const levels = this.#emit.depth
    levels.instrument = instrument
    if (!this.#levels(row['asks'], levels, false) || !this.#levels(row['bids'], levels, true)) return this.#refusal
    if (levels.askCount > 1 || levels.bidCount > 1) return 'levels'
    const event = this.#emit.ticker
    event.instrument = instrument
    event.askPrice = levels.askCount === 1 ? (levels.askPrices[0] as number) : 0
    event.askQuantity = levels.askCount === 1 ? (levels.askQuantities[0] as number) : 0
    event.bidPrice = levels.bidCount === 1 ? (levels.bidPrices[0] as number) : 0
    event.bidQuantity = levels.bidCount === 1 ? (levels.bidQuantities[0] as number) : 0
    event.updateId = this.#integer(row['seqId'])
    if (!(event.updateId >= 0) || !this.#times(row, event)) return this.#refusal
    this.#emit.onTicker()
    return ''
  }

  /** All are read before the first is handed over. */
  #trades(rows: readonly ExactJson[], instrumentOf: (row: ExactRecord) => number): Outcome {
    for (const row of rows) if (!this.#trade(recordOf(row), instrumentOf)) return this.#refusal
    for (const row of rows) {
      this.#trade(recordOf(row), instrumentOf)
      this.#emit.onTrade()
    }
    return rows.length === 0 ? 'unchanged' : ''
  }

  #trade(row: ExactRecord | undefined, instrumentOf: (row: ExactRecord) => number): boolean {
    if (row === undefined) return this.#refuse('type')
    const event = this.#emit.trade
    event.instrument = instrumentOf(row)
    this.#instrument = event.instrument
    if (event.instrument < 0) return false
    event.stream = TRADE_STREAMS.trade
    event.price = this.#decimal(row['px'], 'price', event.instrument)
    if (!(event.price >= 0)) return false
    event.quantity = this.#decimal(row['sz'], 'quantity', event.instrument)
    if (!(event.quantity >= 0)) return false
    const side = textOf(row['side'])
    if (side !== 'buy' && side !== 'sell') return this.#refuse(side === null ? 'missing_key' : 'type')
    event.side = SIDES[side]
    event.tradeMs = this.#integer(row['ts'])
    event.eventMs = event.tradeMs
    return event.tradeMs >= 0 && this.#tradeIds(row)
  }

  /** `tradeId` is the last of `count` matches of one taker order at one price. Ids of block trades are above 2^53. */
  #tradeIds(row: ExactRecord): boolean {
    const event = this.#emit.trade
    const id = textOf(row['tradeId'])
    if (id === null || !/^\d{1,32}$/.test(id)) return this.#refuse(id === null ? 'missing_key' : 'number')
    const count = row['count'] === undefined ? 1 : this.#integer(row['count'])
    if (!(count >= 0)) return false
    const isNumber = Number(id) <= Number.MAX_SAFE_INTEGER
    if (count < 1 || (isNumber && count > Number(id))) return this.#refuse('number')
    event.venueTradeId = isNumber ? '' : id
    event.tradeId = isNumber ? Number(id) : 0
    event.lastTradeId = event.tradeId
    event.firstTradeId = isNumber ? event.tradeId - count + 1 : 0
    event.firstSeq = isNumber ? event.firstTradeId : NO_SEQ
    event.lastSeq = isNumber ? event.tradeId : NO_SEQ
    return true
  }

  /** A non-negative integer below 2^53, or NaN (see `#refusal`). */
  #integer(value: ExactJson | undefined): number {
    const text = textOf(value)
    if (text === null) return this.#refuse('missing_key') || Number.NaN
    if (!/^\d+$/.test(text)) return this.#refuse('number') || Number.NaN
    return Number(text) <= Number.MAX_SAFE_INTEGER ? Number(text) : this.#refuse('overflow') || Number.NaN
  }

  /** A decimal as a mantissa, or NaN (see `#refusal`). */
  #decimal(value: ExactJson | undefined, kind: 'price' | 'quantity', instrument: number): number {
    const text = textOf(value)
    if (text === null || text.length > NUMBER_BYTES_MAX) return this.#refuse('number') || Number.NaN
    for (let index = 0; index < text.length; index++) this.#digits[index] = text.charCodeAt(index) & 0x7f
    this.#digits[text.length] = 0
    const scales = kind === 'price' ? this.#emit.priceScales : this.#emit.quantityScales
    const mantissa = this.#scan.decimal(this.#digits, 0, scales[instrument] as number)
    this.#wideningKind = kind
    if (Number.isNaN(mantissa))
      return this.#refuse(this.#scan.refusal === 'none' ? 'number' : this.#scan.refusal) || Number.NaN
    return this.#scan.at === text.length ? mantissa : this.#refuse('number') || Number.NaN
  }

  /** Notes what a refused frame may have been meant for: what can still be read of it. */
  #blame(outcome: Outcome, bytes: Uint8Array, offset: number, length: number): void {
    this.blamed.instrument = ABSENT
    this.blamed.channel = 0
    if (outcome === '') return
    const text = asciiText(bytes, offset, offset + Math.min(length, BLAME_BYTES_MAX))
    const channel = /"channel" *: *"([^"]{1,40})"/.exec(text)?.[1] ?? ''
    this.blamed.channel = GAP_CHANNEL_WORDS.find(([word]) => channel.startsWith(word))?.[1] ?? 0
    const symbol = /"instId" *: *"([^"]{1,40})"/.exec(text)?.[1]
    if (symbol === undefined) return
    const market = marketOfChannel(channel)
    const name = new TextEncoder().encode(symbol)
    this.blamed.instrument =
      market === undefined ? this.#emit.find(name, 0, name.length) : this.#emit.instrumentOf(symbol, market)
  }
}

/** The rows of a REST answer: `{"code":"0","msg":"","data":[…]}`. */
function rowsOf(answer: ExactRecord): readonly ExactJson[] | undefined {
  return answer['code'] === '0' ? listOf(answer['data']) : undefined
}
