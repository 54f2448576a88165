import type { Emit, Outcome, RejectReason, TradeChannel } from '../../record/emit.ts'
import { SIDES, TRADE_STREAMS } from '../../record/schema.ts'
import { RATIO_PERIODS, type RATIO_SCOPES } from '../../record/schema-kinds.ts'
import { SCALE_MAX } from '../../scan/decimal.ts'
import { type ExactJson, type ExactRecord, listOf, parseExact, recordOf, textOf } from '../../scan/exact-json.ts'
import { ExactFields } from './exact-fields.ts'

/**
 * Bodies of REST answers, in the worker: polls and missed trades. Pages: USDM, COINM "Open Interest", "Top Trader
 * Long/Short Ratio (Positions)", "… (Accounts)", "Long/Short Ratio"; SPOT, USDM, COINM "Compressed/Aggregate trades
 * list"; SPOT "Old trade lookup".
 */
type RatioScope = keyof typeof RATIO_SCOPES
type RatioPeriod = keyof typeof RATIO_PERIODS

/** `top_positions_ratio` is of 5 minutes, `top_positions_ratio_1h` of an hour. */
const RATIO_NAME = /^(top_positions|top_accounts|all_accounts)_ratio(?:_(\w+))?$/

interface RestTrade {
  readonly tradeId: number
  readonly firstTradeId: number
  readonly lastTradeId: number
  readonly tradeMs: number
  readonly price: string
  readonly quantity: string
  readonly isSell: boolean
}

export class RestParser {
  readonly #emit: Emit
  readonly #fields = new ExactFields()
  /** By poll, instrument and symbol: what the answer before said, by the venue's time. As many entries as an answer has. */
  readonly #said = new Map<string, ReadonlyMap<bigint, string>>()

  constructor(emit: Emit) {
    this.#emit = emit
  }

  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    const body = parseExact(bytes, offset, length)
    if (body === undefined) return 'syntax'
    if (name === 'open_interest') return this.#openInterest(body, instrument)
    const match = RATIO_NAME.exec(name)
    const period = match?.[2] ?? '5m'
    if (match === null || !Object.hasOwn(RATIO_PERIODS, period)) return 'unknown_event'
    return this.#ratios(name, match[1] as RatioScope, period as RatioPeriod, body, instrument)
  }

  #openInterest(body: ExactJson, instrument: number): Outcome {
    const fields = this.#fields
    const answer = recordOf(body)
    if (answer === undefined) return 'type'
    fields.begin(answer)
    const row = { event_ns: fields.time('time'), open_interest: fields.decimal('openInterest') }
    if (fields.refusal !== '') return fields.refusal
    if (!this.#isOf(answer, instrument)) return 'unknown_symbol'
    const said = new Map([[row.event_ns, row.open_interest ?? '']])
    if (this.#unsaid('open_interest', answer, instrument, said).size === 0) return 'unchanged'
    return this.#emit.row('open_interests', instrument, row)
  }

  /** USD-M counts shares of accounts under `longAccount` even for positions, COIN-M positions under `longPosition`. */
  #ratios(name: string, scope: RatioScope, period: RatioPeriod, body: ExactJson, instrument: number): Outcome {
    const fields = this.#fields
    const list = listOf(body)
    if (list === undefined) return 'type'
    const rows = []
    const said = new Map<bigint, string>()
    for (const member of list) {
      const entry = recordOf(member)
      if (entry === undefined) return 'type'
      fields.begin(entry)
      const isByPosition = 'longPosition' in entry
      const row = {
        event_ns: fields.time('timestamp'),
        scope,
        period,
        ratio: fields.decimal('longShortRatio'),
        long_share: fields.decimal(isByPosition ? 'longPosition' : 'longAccount'),
        short_share: fields.decimal(isByPosition ? 'shortPosition' : 'shortAccount'),
      }
      if (fields.refusal !== '') return fields.refusal
      if (!this.#isOf(entry, instrument)) return 'unknown_symbol'
      rows.push(row)
      said.set(row.event_ns, `${row.ratio} ${row.long_share} ${row.short_share}`)
    }
    const unsaid = this.#unsaid(name, recordOf(list[0]) ?? {}, instrument, said)
    for (const row of rows) if (unsaid.has(row.event_ns)) this.#emit.row('long_short_ratios', instrument, row)
    return unsaid.size === 0 ? 'unchanged' : ''
  }

  /** The times whose values the answer before did not have, or had otherwise. */
  #unsaid(name: string, entry: ExactRecord, instrument: number, said: ReadonlyMap<bigint, string>): Set<bigint> {
    const key = `${name} ${instrument} ${textOf(entry['symbol'] ?? entry['pair'])}`
    const before = this.#said.get(key)
    if (said.size > 0) this.#said.set(key, said)
    return new Set([...said.keys()].filter((time) => before?.get(time) !== said.get(time)))
  }

  /** Not of another instrument: an answer that names a symbol that is known as another one is not ours. */
  #isOf(entry: ExactRecord, instrument: number): boolean {
    const symbol = textOf(entry['symbol'])
    if (symbol === null) return true
    const bytes = new TextEncoder().encode(symbol)
    const found = this.#emit.find(bytes, 0, bytes.length)
    return found < 0 || found === instrument
  }

  /** Nothing is handed over before all of it was read. */
  parseTrades(channel: TradeChannel, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome {
    const body = parseExact(bytes, offset, length)
    if (body === undefined) return 'syntax'
    const list = listOf(body)
    if (list === undefined) return 'type'
    const trades: RestTrade[] = []
    for (const member of list) {
      const entry = recordOf(member)
      if (entry === undefined) return 'type'
      this.#fields.begin(entry)
      trades.push(channel === 'trades' ? this.#trade() : this.#aggTrade())
      if (this.#fields.refusal !== '') return this.#fields.refusal
    }
    const prices = trades.map((trade) => trade.price)
    const quantities = trades.map((trade) => trade.quantity)
    const refusal = this.#makeRoom(instrument, prices, quantities)
    if (refusal !== '') return refusal
    trades.sort((one, other) => one.tradeId - other.tradeId)
    for (const trade of trades) this.#emitTrade(trade, channel, instrument)
    return ''
  }

  #aggTrade(): RestTrade {
    const fields = this.#fields
    return {
      tradeId: fields.integer('a'),
      firstTradeId: fields.integer('f'),
      lastTradeId: fields.integer('l'),
      tradeMs: fields.integer('T'),
      price: fields.text('p'),
      quantity: fields.text('q'),
      isSell: fields.boolean('m'),
    }
  }

  #trade(): RestTrade {
    const fields = this.#fields
    const tradeId = fields.integer('id')
    return {
      tradeId,
      firstTradeId: tradeId,
      lastTradeId: tradeId,
      tradeMs: fields.integer('time'),
      price: fields.text('price'),
      quantity: fields.text('qty'),
      isSell: fields.boolean('isBuyerMaker'),
    }
  }

  /** Widens the instrument to the longest numbers. @returns why one of them has no mantissa, or ''. */
  #makeRoom(instrument: number, prices: readonly string[], quantities: readonly string[]): '' | RejectReason {
    const emit = this.#emit
    for (const kind of ['price', 'quantity'] as const) {
      const texts = kind === 'price' ? prices : quantities
      const scales = kind === 'price' ? emit.priceScales : emit.quantityScales
      const wanted = texts.reduce((most, text) => Math.max(most, digitsOf(text)), 0)
      if (Number.isNaN(wanted)) return 'number'
      if (wanted > (scales[instrument] as number))
        if (wanted > SCALE_MAX || !emit.widen(instrument, kind, wanted)) return 'precision'
      const scale = scales[instrument] as number
      if (texts.some((text) => mantissaOf(text, scale) > Number.MAX_SAFE_INTEGER)) return 'overflow'
    }
    return ''
  }

  /** REST does not say when a trade was sent: that time stays 0. */
  #emitTrade(trade: RestTrade, channel: TradeChannel, instrument: number): void {
    const event = this.#emit.trade
    event.instrument = instrument
    event.stream = channel === 'trades' ? TRADE_STREAMS.trade : TRADE_STREAMS.agg_trade
    event.eventMs = 0
    event.tradeMs = trade.tradeMs
    event.tradeId = trade.tradeId
    event.firstTradeId = trade.firstTradeId
    event.lastTradeId = trade.lastTradeId
    event.firstSeq = trade.tradeId
    event.lastSeq = trade.tradeId
    event.price = mantissaOf(trade.price, this.#emit.priceScales[instrument] as number)
    event.quantity = mantissaOf(trade.quantity, this.#emit.quantityScales[instrument] as number)
    event.side = trade.isSell ? SIDES.sell : SIDES.buy
    event.isFiltered = false
    this.#emit.onTrade()
  }
}

/** Digits after the point without trailing zeros, NaN for what is no plain decimal. */
function digitsOf(text: string): number {
  const match = /^\d{1,20}(?:\.(\d{1,40}))?$/.exec(text)
  return match === null ? Number.NaN : (match[1] ?? '').replace(/0+$/, '').length
}

/** Of a plain decimal with at most `scale` digits after the point; exact below 2^53. */
function mantissaOf(text: string, scale: number): number {
  const [whole, fraction = ''] = text.split('.') as [string, string?]
  return Number(whole + fraction.replace(/0+$/, '').padEnd(scale, '0'))
}
