import { type DepthEvent, type Emit, LEVELS_MAX, NO_CHECKSUM, NO_SEQ, type Outcome } from '../../record/emit.ts'
import { GAP_CHANNELS, SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { bigDecimal } from '../../scan/big-decimal.ts'
import { SCALE_MAX } from '../../scan/decimal.ts'
import { type ExactJson, type ExactRecord, listOf, parseExact, recordOf } from '../../scan/exact-json.ts'
import { asciiText } from '../../scan/json.ts'
import { BybitKinds } from './parse-kinds.ts'
import { RESTART_SEQ } from './sync.ts'
import { setTradeId } from './trade-batch.ts'

/**
 * The general way for Bybit frames: any key order, whitespace, unknown keys, exponents, unknown symbols. A hot event is
 * handed over when all of the frame was read. It also says why a frame is refused, and whose it was.
 */
/** A frame is at most this often read again because its instrument was widened. */
const WIDENINGS_MAX = 64
/** Where blame looks for the topic. */
const BLAME_BYTES_MAX = 512
const TOPIC = /"topic" *: *"([A-Za-z]+)\.(?:([0-9A-Z]+)\.)?([^"\\]{1,64})"/

interface Needs {
  readonly kind: 'price' | 'quantity'
  readonly scale: number
}

/** A frame is refused by throwing this inside and catching it at the door: rare, and it keeps the readers short. */
class Refusal {
  readonly reason: Outcome
  constructor(reason: Outcome) {
    this.reason = reason
  }
}

export class GeneralParser {
  readonly blamed = { instrument: -1, channel: 0 }
  readonly #emit: Emit
  readonly #kinds: BybitKinds
  /** What the scale of the instrument was too small for, after the refusal `precision`. */
  #needs: Needs | undefined

  constructor(emit: Emit, market: string) {
    this.#emit = emit
    this.#kinds = new BybitKinds(emit, market)
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    return this.#judged(() => this.#frame(bytes, offset, length), bytes, offset, length)
  }

  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    return this.#kinds.poll(name, parseExact(bytes, offset, length), instrument)
  }

  /**
   * The best level of each side. After three seconds without a change it comes again with the same update id: handed
   * over all the same, so that the stream is seen to live; a repetition becomes no row.
   */
  emitTop(event: DepthEvent): '' {
    const { ticker } = this.#emit
    ticker.instrument = event.instrument
    ticker.updateId = event.lastSeq
    ticker.eventMs = event.eventMs
    ticker.transactionMs = event.transactionMs
    // a side without orders has quantity 0
    ticker.bidPrice = event.bidCount > 0 ? (event.bidPrices[0] as number) : 0
    ticker.bidQuantity = event.bidCount > 0 ? (event.bidQuantities[0] as number) : 0
    ticker.askPrice = event.askCount > 0 ? (event.askPrices[0] as number) : 0
    ticker.askQuantity = event.askCount > 0 ? (event.askQuantities[0] as number) : 0
    this.#emit.onTicker()
    return ''
  }

  #judged(read: () => Outcome, bytes: Uint8Array, offset: number, length: number): Outcome {
    this.blamed.instrument = -1
    this.blamed.channel = 0
    let outcome: Outcome
    try {
      outcome = read()
    } catch (problem) {
      if (!(problem instanceof Refusal)) throw problem
      outcome = problem.reason
    }
    if (outcome !== '') this.#blame(bytes, offset, length)
    return outcome
  }

  #frame(bytes: Uint8Array, offset: number, length: number): Outcome {
    if (length === 0) return 'empty'
    const value = parseExact(bytes, offset, length)
    if (value === undefined) return isCut(bytes, offset, length) ? 'truncated' : 'syntax'
    const frame = recordOf(value)
    if (frame === undefined) return 'type'
    const { topic } = frame
    if (topic === undefined) return 'op' in frame || 'success' in frame ? 'control' : 'unknown_event'
    if (typeof topic !== 'string') return 'type'
    const [word, detail = ''] = topic.split('.', 2)
    switch (word) {
      case 'orderbook':
        return this.#widening((instrument) => this.#book(frame, detail === '1', instrument), symbolOf(frame))
      case 'publicTrade':
        return this.#widening((instrument) => this.#trades(frame, instrument), symbolOf(frame))
      case 'kline':
      case 'tickers':
      case 'allLiquidation':
        return this.#kinds.frame(word, topic, frame)
      default:
        return 'unknown_event'
    }
  }

  #widening(read: (instrument: number) => Outcome, symbol: string): Outcome {
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) return 'unknown_symbol'
    for (let attempt = 0; attempt < WIDENINGS_MAX; attempt++) {
      try {
        return read(instrument)
      } catch (problem) {
        const needs = this.#takeNeeds()
        if (needs === undefined || !this.#emit.widen(instrument, needs.kind, needs.scale)) throw problem
      }
    }
    return 'precision'
  }

  #takeNeeds(): Needs | undefined {
    const needs = this.#needs
    this.#needs = undefined
    return needs
  }

  #book(frame: ExactRecord, isTop: boolean, instrument: number): Outcome {
    const data = recordOf(frame['data']) as ExactRecord // `symbolOf` looked
    const { type } = frame
    if (type !== 'snapshot' && type !== 'delta') throw new Refusal(type === undefined ? 'missing_key' : 'type')
    const event = this.#emit.depth
    const eventMs = integer(frame['ts'])
    const engineMs = frame['cts'] === undefined ? 0 : integer(frame['cts'])
    event.instrument = instrument
    event.lastSeq = integer(data['u'])
    event.bidCount = this.#levels(data['b'], event, true)
    event.askCount = this.#levels(data['a'], event, false)
    event.eventMs = eventMs
    event.transactionMs = engineMs
    if (isTop) {
      // level 1 comes whole: a change of it could not be told from a change of some other level
      return type === 'snapshot' ? this.emitTop(event) : 'unknown_event'
    }
    event.firstSeq = event.lastSeq
    event.prevSeq = 0
    event.checksum = NO_CHECKSUM
    event.isSnapshot = type === 'snapshot' || event.lastSeq === RESTART_SEQ
    if (engineMs === 0) event.transactionMs = eventMs
    this.#emit.onDepth()
    return ''
  }

  #levels(value: ExactJson | undefined, event: DepthEvent, isBid: boolean): number {
    const levels = listOf(value)
    if (levels === undefined) throw new Refusal(value === undefined ? 'missing_key' : 'type')
    if (levels.length > LEVELS_MAX) throw new Refusal('levels')
    for (const [index, level] of levels.entries()) {
      const pair = listOf(level)
      if (pair === undefined) throw new Refusal('type')
      if (index >= (isBid ? event.bidPrices : event.askPrices).length) isBid ? event.growBids() : event.growAsks()
      const prices = isBid ? event.bidPrices : event.askPrices
      const quantities = isBid ? event.bidQuantities : event.askQuantities
      prices[index] = this.#mantissa(pair[0], 'price', event.instrument)
      quantities[index] = this.#mantissa(pair[1], 'quantity', event.instrument)
    }
    return levels.length
  }

  #trades(frame: ExactRecord, instrument: number): Outcome {
    const eventMs = integer(frame['ts'])
    const symbol = symbolOf(frame)
    const list = (listOf(frame['data']) as readonly ExactJson[]).map((value) => {
      const entry = recordOf(value)
      if (entry === undefined) throw new Refusal('type')
      if (entry['s'] !== symbol) throw new Refusal(entry['s'] === undefined ? 'missing_key' : 'unknown_symbol')
      const side = entry['S']
      if (side !== 'Buy' && side !== 'Sell') throw new Refusal(side === undefined ? 'missing_key' : 'type')
      return {
        tradeMs: integer(entry['T']),
        price: this.#mantissa(entry['p'], 'price', instrument),
        quantity: this.#mantissa(entry['v'], 'quantity', instrument),
        side: side === 'Buy' ? SIDES.buy : SIDES.sell,
        id: word(entry['i']),
      }
    })
    const event = this.#emit.trade
    event.instrument = instrument
    event.stream = TRADE_STREAMS.trade
    event.eventMs = eventMs
    event.isFiltered = false
    event.firstSeq = NO_SEQ
    event.lastSeq = NO_SEQ
    for (const trade of list) {
      event.tradeMs = trade.tradeMs
      event.price = trade.price
      event.quantity = trade.quantity
      event.side = trade.side
      setTradeId(event, trade.id)
      this.#emit.onTrade()
    }
    return ''
  }

  #mantissa(value: ExactJson | undefined, kind: 'price' | 'quantity', instrument: number): number {
    const text = word(value)
    const scale = (kind === 'price' ? this.#emit.priceScales : this.#emit.quantityScales)[instrument] as number
    const mantissa = bigDecimal(text, scale)
    if (mantissa === 'precision') this.#needs = needsOf(text, kind)
    if (typeof mantissa === 'string') throw new Refusal(mantissa)
    if (mantissa < 0n) throw new Refusal('number')
    if (mantissa > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal('overflow')
    return Number(mantissa)
  }

  /** Notes what a refused frame may have been meant for: what can still be read of it. */
  #blame(bytes: Uint8Array, offset: number, length: number): void {
    const match = TOPIC.exec(asciiText(bytes, offset, offset + Math.min(length, BLAME_BYTES_MAX)))
    if (match === null) return
    const [, topic, detail, symbol] = match as unknown as [string, string, string | undefined, string]
    this.blamed.channel = channelOf(topic, detail)
    const name = new TextEncoder().encode(symbol)
    this.blamed.instrument = this.#emit.find(name, 0, name.length)
  }
}

/** The symbol that the frame's content names; a list may be empty, then the topic's. */
function symbolOf(frame: ExactRecord): string {
  const { data } = frame
  if (data === undefined) throw new Refusal('missing_key')
  const entries = listOf(data)
  const first = entries === undefined ? recordOf(data) : recordOf(entries[0])
  if (first === undefined) throw new Refusal(entries?.length === 0 ? 'missing_key' : 'type')
  return word(first['s'])
}

function word(value: ExactJson | undefined): string {
  if (typeof value !== 'string') throw new Refusal(value === undefined ? 'missing_key' : 'type')
  return value
}

function integer(value: ExactJson | undefined): number {
  const text = word(value)
  if (!/^\d+$/.test(text)) throw new Refusal('type')
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw new Refusal('overflow')
  return number
}

/** Digits after the point that this decimal needs; undefined when no scale has so many. */
function needsOf(text: string, kind: 'price' | 'quantity'): Needs | undefined {
  const match = /^\d+(?:\.(\d*?)0*)?(?:[eE]([+-]?\d+))?$/.exec(text)
  const scale = (match?.[1] ?? '').length - Number(match?.[2] ?? 0)
  return scale > SCALE_MAX ? undefined : { kind, scale }
}

function channelOf(topic: string, detail: string | undefined): number {
  switch (topic) {
    case 'orderbook':
      return detail === '1' ? GAP_CHANNELS.book_tickers : GAP_CHANNELS.book
    case 'publicTrade':
      return GAP_CHANNELS.trades
    case 'kline':
      return GAP_CHANNELS.klines
    case 'tickers':
      return GAP_CHANNELS.tickers
    case 'allLiquidation':
      return GAP_CHANNELS.liquidations
    default:
      return 0
  }
}

/** Frames end with a brace; one that does not was cut. */
function isCut(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let at = offset + length - 1; at >= offset; at--) {
    const byte = bytes[at] as number
    if (byte > 32) return byte !== 125
  }
  return true
}
