import type { Emit, Outcome } from '../../record/emit.ts'
import { KLINE_INTERVALS } from '../../record/schema-kinds.ts'
import { type ExactRecord, parseExact, recordOf } from '../../scan/exact-json.ts'
import { ExactFields } from './exact-fields.ts'

/**
 * The rare kinds: bars, 24 h statistics, mark prices and what comes with them, liquidations. Some hundred a second at
 * most, so they may cost 10 µs each.
 *
 * SPOT, USDM, COINM "Kline/Candlestick Streams", "Individual Symbol Ticker Streams"; USDM, COINM "Mark Price Stream",
 * "Liquidation Order Streams"; COINM "Index Price Stream", which calls itself IndexUpdate on USD-M.
 */
const ORDER_SIDES = { BUY: 1, SELL: 2 } as const

const RARE_KINDS = ['kline', '24hrTicker', 'markPriceUpdate', 'indexPriceUpdate', 'IndexUpdate', 'forceOrder'] as const
export type RareKind = (typeof RARE_KINDS)[number]

export function isRareKind(word: string): word is RareKind {
  return (RARE_KINDS as readonly string[]).includes(word)
}

export class KindParser {
  readonly #emit: Emit
  readonly #fields = new ExactFields()
  /** COIN-M says base currency where the others say quote currency. */
  readonly #isInverse: boolean

  constructor(emit: Emit, market: string) {
    this.#emit = emit
    this.#isInverse = market === 'coinm'
  }

  /** @param kind what the frame at [offset, offset + length) was found to be; it is known to be JSON. */
  parse(kind: RareKind, bytes: Uint8Array, offset: number, length: number): Outcome {
    const frame = recordOf(parseExact(bytes, offset, length))
    const event = frame === undefined || !('data' in frame) ? frame : recordOf(frame['data'])
    if (event === undefined) return 'type'
    switch (kind) {
      case 'kline':
        return this.#kline(event)
      case '24hrTicker':
        return this.#ticker(event)
      case 'markPriceUpdate':
        return this.#markPrice(event)
      case 'forceOrder':
        return this.#liquidation(event)
      default:
        return this.#indexPrice(event)
    }
  }

  #kline(event: ExactRecord): Outcome {
    const fields = this.#fields
    fields.begin(event)
    const event_ns = fields.time('E')
    const symbol = fields.text('s')
    const bar = recordOf(event['k'])
    if (fields.refusal !== '') return fields.refusal
    if (bar === undefined) return event['k'] === undefined ? 'missing_key' : 'type'
    fields.begin(bar)
    if (!fields.boolean('x')) return fields.refusal === '' ? 'open_kline' : fields.refusal
    const turnover = fields.decimal('q')
    const takerTurnover = fields.decimal('Q')
    const row = {
      event_ns,
      interval: fields.word('i', KLINE_INTERVALS),
      open_ns: fields.time('t'),
      close_ns: fields.time('T'),
      open: fields.decimal('o'),
      high: fields.decimal('h'),
      low: fields.decimal('l'),
      close: fields.decimal('c'),
      volume: fields.decimal('v'),
      taker_buy_volume: fields.decimal('V'),
      trade_count: fields.decimal('n'),
      ...(this.#isInverse
        ? { base_volume: turnover, taker_buy_base_volume: takerTurnover }
        : { quote_volume: turnover, taker_buy_quote_volume: takerTurnover }),
    }
    if (fields.refusal !== '') return fields.refusal
    const instrument = this.#emit.instrumentOf(symbol)
    return instrument < 0 ? 'unknown_symbol' : this.#emit.row('klines', instrument, row)
  }

  /** Only spot has best prices in it; `x` is the last price of the day before, which no table asks for. */
  #ticker(event: ExactRecord): Outcome {
    const fields = this.#fields
    fields.begin(event)
    const turnover = fields.decimal('q')
    const row = {
      event_ns: fields.time('E'),
      last_price: fields.decimal('c'),
      last_quantity: fields.decimal('Q'),
      open_price: fields.decimal('o'),
      high_price: fields.decimal('h'),
      low_price: fields.decimal('l'),
      price_change: fields.decimal('p'),
      price_change_percent: fields.decimal('P'),
      average_price: fields.decimal('w'),
      volume: fields.decimal('v'),
      trade_count: fields.decimal('n'),
      bid_price: fields.decimalOrNull('b'),
      bid_quantity: fields.decimalOrNull('B'),
      ask_price: fields.decimalOrNull('a'),
      ask_quantity: fields.decimalOrNull('A'),
      ...(this.#isInverse ? { base_volume: turnover } : { quote_volume: turnover }),
    }
    const instrument = this.#instrument('s')
    return fields.refusal !== '' ? fields.refusal : this.#emit.row('tickers', instrument, row)
  }

  /** Contracts with a delivery date have no funding: their rate is empty and its time 0. */
  #markPrice(event: ExactRecord): Outcome {
    const fields = this.#fields
    fields.begin(event)
    const event_ns = fields.time('E')
    const mark = {
      event_ns,
      mark_price: fields.decimal('p'),
      settle_price: fields.decimalOrNull('P'),
      average_price: fields.decimalOrNull('ap'),
    }
    const index_price = fields.decimalOrNull('i')
    const funding_rate = fields.decimalOrNull('r')
    const funding_ns = fields.timeOrNone('T')
    const instrument = this.#instrument('s')
    if (fields.refusal !== '') return fields.refusal
    const emit = this.#emit
    const refusal = emit.row('mark_prices', instrument, mark)
    if (refusal !== '') return refusal
    if (index_price !== null) emit.row('index_prices', instrument, { event_ns, index_price })
    if (funding_rate !== null) emit.row('funding_rates', instrument, { event_ns, funding_rate, funding_ns })
    return ''
  }

  /** Of a pair, which stands for an instrument here. Until 2026-06-30 it was under `i`. */
  #indexPrice(event: ExactRecord): Outcome {
    const fields = this.#fields
    fields.begin(event)
    const row = { event_ns: fields.time('E'), index_price: fields.decimal('p') }
    const instrument = this.#instrument('s' in event ? 's' : 'i')
    return fields.refusal !== '' ? fields.refusal : this.#emit.row('index_prices', instrument, row)
  }

  #liquidation(event: ExactRecord): Outcome {
    const fields = this.#fields
    fields.begin(event)
    const event_ns = fields.time('E')
    if (fields.refusal !== '') return fields.refusal
    const order = recordOf(event['o'])
    if (order === undefined) return event['o'] === undefined ? 'missing_key' : 'type'
    fields.begin(order)
    const row = {
      event_ns,
      liquidation_ns: fields.time('T'),
      side: fields.word('S', ORDER_SIDES) === 'BUY' ? 'buy' : 'sell',
      price: fields.decimal('p'),
      average_price: fields.decimal('ap'),
      quantity: fields.decimal('q'),
      filled_quantity: fields.decimal('z'),
      status: fields.text('X'),
    } as const
    const instrument = this.#instrument('s')
    return fields.refusal !== '' ? fields.refusal : this.#emit.row('liquidations', instrument, row)
  }

  /** Of the object in hand, looked up only when nothing was wrong before. */
  #instrument(key: string): number {
    const fields = this.#fields
    const symbol = fields.text(key)
    if (fields.refusal !== '') return -1
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) fields.refusal = 'unknown_symbol'
    return instrument
  }
}
