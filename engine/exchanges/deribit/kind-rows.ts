import type { Emit, Outcome } from '../../record/emit.ts'
import type { KindRow } from '../../record/schema-kinds.ts'
import { type ExactRecord, recordOf, textOf } from '../../scan/exact-json.ts'
import { isInverse } from './endpoints.ts'
import type { FrameValues } from './frame-values.ts'
import { type Bar, barOf } from './resolutions.ts'

/**
 * The channels that are neither book nor trades nor top of the book, and the rows they make. Numbers stay the venue's text.
 *
 *   ticker                    tickers, mark_prices, index_prices, open_interests, of perpetuals funding_rates
 *   chart.trades              klines, when the bar is over
 *   deribit_price_index       index_prices of the index
 *   deribit_volatility_index  volatility_indices of the index
 */

interface OpenBar {
  readonly openNs: bigint
  readonly row: KindRow<'klines'>
}

export class KindRows {
  readonly #emit: Emit
  readonly #values: FrameValues
  /** The bar that was pushed last, by channel. */
  readonly #openBars = new Map<string, OpenBar>()

  constructor(emit: Emit, values: FrameValues) {
    this.#emit = emit
    this.#values = values
  }

  /** "ticker.(instrument_name).(interval)" */
  ticker(symbol: string, data: ExactRecord): Outcome {
    const values = this.#values
    const event_ns = values.timeNs(data, 'timestamp')
    const decimal = (key: string) => values.decimal(data, key)
    const inverse = isInverse(symbol)
    const ticker = this.#tickerRow(event_ns, data, inverse)
    const mark = { event_ns, mark_price: decimal('mark_price'), settle_price: decimal('estimated_delivery_price') }
    const index = { event_ns, index_price: decimal('index_price') }
    const open_interest = decimal('open_interest')
    const interest = {
      event_ns,
      open_interest,
      // amounts of inverse contracts are in USD, the quote currency, all others in the base currency
      ...(inverse ? { quote_open_interest: open_interest } : { base_open_interest: open_interest }),
    }
    // funding is paid all the time, so there is no instant of payment
    const funding = {
      event_ns,
      funding_rate: decimal('current_funding'),
      funding_rate_8h: decimal('funding_8h'),
    }
    if (values.refusal !== '') return values.refusal
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) return 'unknown_symbol'
    const outcomes = [this.#emit.row('tickers', instrument, ticker)]
    if (mark.mark_price !== null) outcomes.push(this.#emit.row('mark_prices', instrument, mark))
    if (index.index_price !== null) outcomes.push(this.#emit.row('index_prices', instrument, index))
    if (open_interest !== null) outcomes.push(this.#emit.row('open_interests', instrument, interest))
    if (funding.funding_rate !== null || funding.funding_rate_8h !== null)
      outcomes.push(this.#emit.row('funding_rates', instrument, funding))
    return outcomes.find((outcome) => outcome !== '') ?? ''
  }

  #tickerRow(event_ns: bigint, data: ExactRecord, inverse: boolean): KindRow<'tickers'> {
    const values = this.#values
    const stats = recordOf(data['stats']) ?? {}
    const greeks = recordOf(data['greeks']) ?? {}
    const decimal = (key: string) => values.decimal(data, key)
    const volume = values.decimal(stats, 'volume')
    const volumeUsd = values.decimal(stats, 'volume_usd')
    return {
      event_ns,
      last_price: decimal('last_price'),
      high_price: values.decimal(stats, 'high'),
      low_price: values.decimal(stats, 'low'),
      price_change_percent: values.decimal(stats, 'price_change'),
      // `volume` is in base currency always
      volume: inverse ? volumeUsd : volume,
      base_volume: volume,
      quote_volume: values.decimal(stats, 'volume_notional') ?? (inverse ? volumeUsd : null),
      bid_price: decimal('best_bid_price'),
      bid_quantity: decimal('best_bid_amount'),
      ask_price: decimal('best_ask_price'),
      ask_quantity: decimal('best_ask_amount'),
      settlement_price: decimal('settlement_price'),
      price_min: decimal('min_price'),
      price_max: decimal('max_price'),
      delta: values.decimal(greeks, 'delta'),
      gamma: values.decimal(greeks, 'gamma'),
      theta: values.decimal(greeks, 'theta'),
      vega: values.decimal(greeks, 'vega'),
      rho: values.decimal(greeks, 'rho'),
      mark_iv: decimal('mark_iv'),
      bid_iv: decimal('bid_iv'),
      ask_iv: decimal('ask_iv'),
      underlying_price: decimal('underlying_price'),
      underlying: textOf(data['underlying_index']) ?? '',
      interest_rate: decimal('interest_rate'),
    }
  }

  /** "deribit_price_index.(index_name)" */
  indexPrice(symbol: string, data: ExactRecord): Outcome {
    const row = { event_ns: this.#values.timeNs(data, 'timestamp'), index_price: this.#values.number(data['price']) }
    const instrument = this.#instrument(symbol)
    return instrument < 0 ? this.#refusal() : this.#emit.row('index_prices', instrument, row)
  }

  /** "deribit_volatility_index.(index_name)" */
  volatility(symbol: string, data: ExactRecord): Outcome {
    const row = {
      event_ns: this.#values.timeNs(data, 'timestamp'),
      volatility: this.#values.number(data['volatility']),
    }
    const instrument = this.#instrument(symbol)
    return instrument < 0 ? this.#refusal() : this.#emit.row('volatility_indices', instrument, row)
  }

  /**
   * "chart.trades.(instrument_name).(resolution)": the bar in progress comes again and again, and nothing says that it is
   * over but the first push of the next one. So the last state is kept and becomes the row when a newer bar begins; the
   * bar in hand when the stream ends is never stored. A bar that a disconnect cut lies in that gap of channel klines.
   */
  kline(channel: string, data: ExactRecord): Outcome {
    const values = this.#values
    const [, , symbol = '', resolution = ''] = channel.split('.')
    const bar = barOf(resolution)
    if (bar === undefined) return 'unknown_event'
    const openNs = values.timeNs(data, 'tick')
    const row = this.#klineRow(bar, openNs, symbol, data)
    const instrument = this.#instrument(symbol)
    if (instrument < 0) return this.#refusal()
    const before = this.#openBars.get(channel)
    if (before !== undefined && openNs < before.openNs) return 'unchanged' // the slower of two connections
    this.#openBars.set(channel, { openNs, row })
    if (before === undefined || openNs === before.openNs) return 'open_kline'
    return this.#emit.row('klines', instrument, before.row)
  }

  #klineRow(bar: Bar, openNs: bigint, symbol: string, data: ExactRecord): KindRow<'klines'> {
    const values = this.#values
    // "volume in base currency", "cost: volume in quote currency"
    const volume = values.number(data['volume'])
    const cost = values.number(data['cost'])
    return {
      interval: bar.interval,
      open_ns: openNs,
      close_ns: openNs + bar.ns,
      open: values.number(data['open']),
      high: values.number(data['high']),
      low: values.number(data['low']),
      close: values.number(data['close']),
      volume: isInverse(symbol) ? cost : volume,
      base_volume: volume,
      quote_volume: cost,
    }
  }

  /** Only when nothing was refused: a broken frame must not make a symbol known. */
  #instrument(symbol: string): number {
    return this.#values.refusal === '' ? this.#emit.instrumentOf(symbol) : -1
  }

  #refusal(): Outcome {
    return this.#values.refusal === '' ? 'unknown_symbol' : this.#values.refusal
  }
}
