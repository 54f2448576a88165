import { IGNORE_REASONS, LEVELS_MAX } from '../../record/emit.ts'
import type { Emit, Outcome, RejectReason } from '../../record/emit.ts'
import { GAP_CHANNELS, type GapChannel, SIDES, TRADE_LIQUIDATIONS } from '../../record/schema.ts'
import { SCALE_MAX } from '../../scan/decimal.ts'
import { type ExactJson, type ExactRecord, parseExact, recordOf, textOf } from '../../scan/exact-json.ts'
import { asciiText, JsonCursor } from '../../scan/json.ts'
import { FrameValues } from './frame-values.ts'
import { KindRows } from './kind-rows.ts'
import { fractionDigits, mantissaOf } from './numbers.ts'
import { TradeRows } from './trade-rows.ts'

/**
 * The general way for Deribit frames: any key order, whitespace, unknown keys, and the rare kinds. The whole text is
 * parsed with its numbers left as text; scales are widened before the first mantissa is made, and nothing is emitted
 * before everything was read. This also names the reason when a frame is refused.
 */
const BLAME_BYTES_MAX = 256
const ABSENT = -1

/** Channels that exist and that nobody here asks for, by their first word. */
const OTHER_CHANNELS = new Set([
  'incremental_ticker',
  'perpetual',
  'markprice',
  'estimated_expiration_price',
  'deribit_price_ranking',
  'deribit_price_statistics',
  'instrument',
  'platform_state',
  'block_trade_confirmations',
  'block_rfq',
  'rfq',
])

const BLAMED_CHANNELS: Readonly<Record<string, GapChannel>> = {
  book: 'book',
  trades: 'trades',
  quote: 'book_tickers',
  ticker: 'tickers',
  chart: 'klines',
  deribit_price_index: 'index_prices',
  deribit_volatility_index: 'volatility_indices',
}

const ACTIONS = new Set<ExactJson | undefined>(['new', 'change', 'delete'])
const NOT_REFUSED = new Set<Outcome>(['', ...IGNORE_REASONS])

/** A trade's liquidation flag: "M" the maker was liquidated, "T" the taker, "MT" both. */
const LIQUIDATION_FLAGS: ReadonlyMap<string, number> = new Map([
  ['M', TRADE_LIQUIDATIONS.maker],
  ['T', TRADE_LIQUIDATIONS.taker],
  ['MT', TRADE_LIQUIDATIONS.both],
])

/** One side of a book while it is still text. */
interface LevelTexts {
  readonly prices: string[]
  readonly quantities: string[]
}

export class GeneralParser {
  readonly blamed = { instrument: ABSENT, channel: 0 }
  readonly #emit: Emit
  readonly #values = new FrameValues()
  readonly #kinds: KindRows
  readonly #trades = new TradeRows()
  readonly #json = new JsonCursor()

  constructor(emit: Emit) {
    this.#emit = emit
    this.#kinds = new KindRows(emit, this.#values)
  }

  parse(bytes: Uint8Array, offset: number, length: number): Outcome {
    this.blamed.instrument = ABSENT
    this.blamed.channel = 0
    this.#values.begin()
    const outcome = this.#frame(bytes, offset, length)
    if (!NOT_REFUSED.has(outcome)) this.#blame(bytes, offset, length)
    return outcome
  }

  /** "public/get_last_trades_by_instrument": `sorting=asc` was asked for; the numbers make sure. */
  parseTrades(bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    this.#values.begin()
    const message = parseExact(bytes, offset, length)
    if (message === undefined) return this.#syntax(bytes, offset, length)
    const values = this.#values
    const trades = values.list(values.record(values.record(message)['result'])['trades'])
    if (values.refusal !== '') return values.refusal
    const seq = (trade: ExactJson): number => Number(recordOf(trade)?.['trade_seq'])
    return this.#tradeList(
      [...trades].sort((one, other) => seq(one) - seq(other)),
      instrument,
    )
  }

  #frame(bytes: Uint8Array, offset: number, length: number): Outcome {
    const message = parseExact(bytes, offset, length)
    if (message === undefined) return this.#syntax(bytes, offset, length)
    const values = this.#values
    const frame = values.record(message)
    if (values.refusal !== '') return values.refusal
    if (frame['method'] !== 'subscription') {
      const isControl = frame['method'] === 'heartbeat' || 'result' in frame || 'error' in frame
      return isControl ? 'control' : 'unknown_event'
    }
    const parameters = values.record(frame['params'])
    const channel = values.text(parameters, 'channel')
    return values.refusal === '' ? this.#notification(channel, parameters['data']) : values.refusal
  }

  #notification(channel: string, data: ExactJson | undefined): Outcome {
    const [kind = '', symbol = '', ...rest] = channel.split('.')
    if (OTHER_CHANNELS.has(kind)) return 'other_event'
    if (kind === 'trades') {
      const trades = this.#values.list(data)
      return this.#values.refusal === '' ? this.#tradeList(trades, ABSENT) : this.#values.refusal
    }
    const record = this.#values.record(data)
    if (this.#values.refusal !== '') return this.#values.refusal
    switch (kind) {
      case 'book':
        // `book.X.none.10.100ms`: the top of a book again and again, without a chain
        return rest.length > 1 ? 'other_event' : this.#book(record)
      case 'quote':
        return this.#quote(record)
      case 'ticker':
        return this.#kinds.ticker(this.#values.text(record, 'instrument_name'), record)
      case 'chart':
        return this.#kinds.kline(channel, record)
      case 'deribit_price_index':
        return this.#kinds.indexPrice(symbol, record)
      case 'deribit_volatility_index':
        return this.#kinds.volatility(symbol, record)
      default:
        return 'unknown_event'
    }
  }

  #book(data: ExactRecord): Outcome {
    const values = this.#values
    const event = this.#emit.depth
    const type = values.text(data, 'type')
    if (type !== 'snapshot' && type !== 'change') values.refuse('type')
    event.isSnapshot = type === 'snapshot'
    event.eventMs = values.integer(data, 'timestamp')
    event.transactionMs = event.eventMs
    event.lastSeq = values.integer(data, 'change_id')
    event.firstSeq = event.lastSeq
    event.prevSeq = event.isSnapshot ? 0 : values.integer(data, 'prev_change_id')
    const bids = this.#levelTexts(data['bids'])
    const asks = this.#levelTexts(data['asks'])
    const instrument = this.#instrument(values.text(data, 'instrument_name'))
    if (instrument < 0) return this.#refusal()
    event.instrument = instrument
    this.#widen(instrument, 'price', [...bids.prices, ...asks.prices])
    this.#widen(instrument, 'quantity', [...bids.quantities, ...asks.quantities])
    while (event.bidPrices.length < bids.prices.length) event.growBids()
    while (event.askPrices.length < asks.prices.length) event.growAsks()
    event.bidCount = this.#levels(bids, instrument, event.bidPrices, event.bidQuantities)
    event.askCount = this.#levels(asks, instrument, event.askPrices, event.askQuantities)
    if (values.refusal !== '') return values.refusal
    this.#emit.onDepth()
    return ''
  }

  #levelTexts(side: ExactJson | undefined): LevelTexts {
    const values = this.#values
    const texts: LevelTexts = { prices: [], quantities: [] }
    for (const level of values.list(side)) {
      const [action, price, amount] = values.list(level)
      if (!ACTIONS.has(action)) values.refuse('type')
      if (texts.prices.length === LEVELS_MAX) values.refuse('levels')
      if (values.refusal !== '') break
      texts.prices.push(values.number(price))
      const quantity = values.number(amount)
      texts.quantities.push(action === 'delete' ? '0' : quantity)
    }
    return texts
  }

  #levels(texts: LevelTexts, instrument: number, prices: Float64Array, quantities: Float64Array): number {
    if (this.#values.refusal !== '') return 0
    for (let index = 0; index < texts.prices.length; index++) {
      prices[index] = this.#mantissa(texts.prices[index] as string, 'price', instrument)
      quantities[index] = this.#mantissa(texts.quantities[index] as string, 'quantity', instrument)
    }
    return texts.prices.length
  }

  /** An empty side is null or 0 in the venue's words, and price and quantity 0 in a top of ours. */
  #quote(data: ExactRecord): Outcome {
    const values = this.#values
    const event = this.#emit.ticker
    event.eventMs = values.integer(data, 'timestamp')
    event.transactionMs = event.eventMs
    event.updateId = 0
    const number = (key: string) => (data[key] === null ? '0' : values.number(data[key]))
    const prices = [number('best_bid_price'), number('best_ask_price')] as const
    const quantities = [number('best_bid_amount'), number('best_ask_amount')] as const
    const instrument = this.#instrument(values.text(data, 'instrument_name'))
    if (instrument < 0) return this.#refusal()
    event.instrument = instrument
    this.#widen(instrument, 'price', prices)
    this.#widen(instrument, 'quantity', quantities)
    event.bidPrice = this.#mantissa(prices[0], 'price', instrument)
    event.askPrice = this.#mantissa(prices[1], 'price', instrument)
    event.bidQuantity = this.#mantissa(quantities[0], 'quantity', instrument)
    event.askQuantity = this.#mantissa(quantities[1], 'quantity', instrument)
    if (values.refusal !== '') return values.refusal
    this.#emit.onTicker()
    return ''
  }

  /** @param known the instrument that was asked for, or ABSENT: each trade names its own. */
  #tradeList(trades: readonly ExactJson[], known: number): Outcome {
    const rows = this.#trades
    rows.clear()
    const records = trades.map((trade) => this.#values.record(trade))
    for (const trade of records) {
      this.#trade(trade, known)
      if (this.#values.refusal !== '') return this.#values.refusal
    }
    for (const [index, trade] of records.entries()) {
      rows.emit(index, this.#emit)
      this.#liquidation(trade, rows.at(index).instrument)
      if (this.#values.refusal !== '') return this.#values.refusal
    }
    return ''
  }

  #trade(trade: ExactRecord, known: number): void {
    const values = this.#values
    const row = this.#trades.next()
    const direction = values.text(trade, 'direction')
    if (direction !== 'buy' && direction !== 'sell') values.refuse('type')
    row.side = direction === 'buy' ? SIDES.buy : SIDES.sell
    row.timeMs = values.integer(trade, 'timestamp')
    row.seq = values.integer(trade, 'trade_seq')
    const id = values.text(trade, 'trade_id')
    const isNumeric = /^[1-9]\d{0,14}$/.test(id)
    row.tradeId = isNumeric ? Number(id) : 0
    row.venueTradeId = isNumeric ? '' : id
    const flag = textOf(trade['liquidation'])
    const liquidation = flag === null ? TRADE_LIQUIDATIONS.none : LIQUIDATION_FLAGS.get(flag)
    if (liquidation === undefined) values.refuse('type')
    row.liquidation = liquidation ?? TRADE_LIQUIDATIONS.none
    const price = values.number(trade['price'])
    const quantity = values.number(trade['amount'])
    const symbol = values.text(trade, 'instrument_name')
    const instrument = this.#instrument(symbol)
    if (instrument < 0 || (known >= 0 && instrument !== known)) return values.refuse('unknown_symbol')
    row.instrument = instrument
    this.#widen(instrument, 'price', [price])
    this.#widen(instrument, 'quantity', [quantity])
    row.price = this.#mantissa(price, 'price', instrument)
    row.quantity = this.#mantissa(quantity, 'quantity', instrument)
  }

  /**
   * What a trade liquidated: the taker's order has the trade's direction, the maker's the opposite. The fill is all that
   * the venue tells of the order, so its price stands in both columns.
   */
  #liquidation(trade: ExactRecord, instrument: number): void {
    const flag = textOf(trade['liquidation'])
    if (flag === null) return
    const takerSide = trade['direction'] === 'buy' ? 'buy' : 'sell'
    const makerSide = takerSide === 'buy' ? 'sell' : 'buy'
    const sides = flag === 'MT' ? ([takerSide, makerSide] as const) : ([flag === 'T' ? takerSide : makerSide] as const)
    const event_ns = this.#values.timeNs(trade, 'timestamp')
    for (const side of sides) {
      const refusal = this.#emit.row('liquidations', instrument, {
        event_ns,
        liquidation_ns: event_ns,
        side,
        price: textOf(trade['price']),
        average_price: textOf(trade['price']),
        quantity: textOf(trade['amount']),
        filled_quantity: textOf(trade['amount']),
        status: flag,
        venue_id: this.#values.text(trade, 'trade_id'),
      })
      if (refusal !== '') this.#values.refuse(refusal)
    }
  }

  /** Only when nothing was refused: a broken frame must not make a symbol known. */
  #instrument(symbol: string): number {
    return this.#values.refusal === '' ? this.#emit.instrumentOf(symbol) : ABSENT
  }

  #refusal(): RejectReason {
    return this.#values.refusal === '' ? 'unknown_symbol' : this.#values.refusal
  }

  /** Makes the scale of the instrument hold all these numbers, or refuses. */
  #widen(instrument: number, kind: 'price' | 'quantity', texts: readonly string[]): void {
    const scales = kind === 'price' ? this.#emit.priceScales : this.#emit.quantityScales
    let needed = scales[instrument] as number
    for (const text of texts) needed = Math.max(needed, fractionDigits(text) ?? 0)
    if (needed === scales[instrument] || this.#values.refusal !== '') return
    if (needed > SCALE_MAX || !this.#emit.widen(instrument, kind, needed)) this.#values.refuse('precision')
  }

  #mantissa(text: string, kind: 'price' | 'quantity', instrument: number): number {
    if (this.#values.refusal !== '') return 0
    const scales = kind === 'price' ? this.#emit.priceScales : this.#emit.quantityScales
    const mantissa = mantissaOf(text, scales[instrument] as number)
    if (typeof mantissa === 'number') return mantissa
    this.#values.refuse(mantissa)
    return 0
  }

  /** Why these bytes are no JSON. */
  #syntax(bytes: Uint8Array, offset: number, length: number): RejectReason {
    this.#json.begin(bytes, offset, length)
    if (this.#json.isDone()) return 'empty'
    this.#json.skip()
    const { failure } = this.#json
    return failure === 'none' ? 'syntax' : failure
  }

  /** Notes what a refused frame may have been meant for: its channel is its first value. */
  #blame(bytes: Uint8Array, offset: number, length: number): void {
    const text = asciiText(bytes, offset, offset + Math.min(length, BLAME_BYTES_MAX))
    const match = /"channel" *: *"([a-z_]+)\.(?:trades\.)?([^."]{1,64})/.exec(text)
    const channel = match === null ? undefined : BLAMED_CHANNELS[match[1] as string]
    if (channel === undefined) return
    this.blamed.channel = GAP_CHANNELS[channel]
    const name = new TextEncoder().encode(match?.[2])
    this.blamed.instrument = this.#emit.find(name, 0, name.length)
  }
}
