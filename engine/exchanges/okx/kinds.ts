import type { Emit, Outcome, RejectReason } from '../../record/emit.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import { listOf, nsOfMs, recordOf, textOf, type ExactJson, type ExactRecord } from '../../scan/exact-json.ts'
import { KLINE_WORDS, marketOf, marketOfChannel } from './endpoints.ts'
import { ratioOf } from './poll.ts'

/**
 * The kinds that are neither trade nor book. Numbers stay the venue's text; an empty string is NULL. A row is handed over
 * as soon as it is read: a later one of the same frame that cannot be read does not take it back. Pages: "Order Book
 * Trading: Market Data", "Public Data", "Trading Statistics", each the channel or request of the same name.
 */
/** Channels whose content stands in no table: why is said beside each. */
const IGNORED = new Set([
  'instruments', // the universe reads the list over REST
  'status', // maintenance plans
  'price-limit', // bounds of orders, no market
  'estimated-price', // only in the last hour before a delivery
  'index-candle', // of index and mark price: the prices themselves are collected
  'mark-price-candle',
  'books5', // whole books without a chain; `books` has more
  'books-elp',
  'adl-warning',
])
/** Liquidations that were seen lately: the first push after every subscribe is recent history. */
const LIQUIDATIONS_REMEMBERED = 4096
/** Values of one ratio that were seen: more than one answer holds. */
const RATIOS_REMEMBERED = 128
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const KLINE_INTERVALS: ReadonlyMap<string, KlineInterval> = new Map(
  Object.entries(KLINE_WORDS).flatMap(([interval, word]) => [
    [word, interval as KlineInterval],
    [word.replace('utc', ''), interval as KlineInterval], // begins at 0 h of UTC+8
  ]),
)
const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: HOUR_MS, d: DAY_MS, w: 7 * DAY_MS }

export class KindReader {
  readonly #emit: Emit
  readonly #liquidations = new Set<string>()
  readonly #ratios = new Map<string, Map<string, string>>()

  constructor(emit: Emit) {
    this.#emit = emit
  }

  read(channel: string, arg: ExactRecord, data: readonly ExactJson[]): Outcome {
    if (channel === 'liquidation-orders') return this.#liquidationOrders(data)
    if (channel === 'opt-summary') return this.#optionSummary(data)
    if (channel.startsWith('candle')) return this.#candles(channel.slice('candle'.length), arg, data)
    const put = this.#rowOf(channel)
    if (put === undefined) {
      const name = channel.replace(/-candle.*$/, '-candle')
      return IGNORED.has(name) ? 'other_event' : 'unknown_event'
    }
    for (const item of data) {
      const row = recordOf(item)
      if (row === undefined) return 'type'
      const symbol = textOf(row['instId'])
      if (symbol === null) return 'missing_key'
      const refusedTime = timeRefusal(row['ts'])
      if (refusedTime !== '') return refusedTime
      const instrument = this.#emit.instrumentOf(symbol, marketOfChannel(channel))
      if (instrument < 0) return 'unknown_symbol'
      const refusal = put(instrument, row)
      if (refusal !== '') return refusal
    }
    return data.length === 0 ? 'unchanged' : ''
  }

  /** What a row of this channel becomes. */
  #rowOf(channel: string): ((instrument: number, row: ExactRecord) => '' | RejectReason) | undefined {
    switch (channel) {
      case 'tickers':
        return (instrument, row) => this.#ticker(instrument, row)
      case 'mark-price':
        return (instrument, row) =>
          this.#emit.row('mark_prices', instrument, { event_ns: nsOfMs(row['ts']), mark_price: textOf(row['markPx']) })
      case 'index-tickers':
        return (instrument, row) =>
          this.#emit.row('index_prices', instrument, { event_ns: nsOfMs(row['ts']), index_price: textOf(row['idxPx']) })
      case 'open-interest':
        return (instrument, row) =>
          this.#emit.row('open_interests', instrument, {
            event_ns: nsOfMs(row['ts']),
            open_interest: textOf(row['oi']),
            base_open_interest: textOf(row['oiCcy']),
            quote_open_interest: textOf(row['oiUsd']),
          })
      case 'funding-rate':
        return (instrument, row) => this.#fundingRate(instrument, row)
      default:
        return undefined
    }
  }

  /** Tickers channel: `volCcy24h` is "the number of base currency" of contracts, "the quantity in quote currency" of spot. */
  #ticker(instrument: number, row: ExactRecord): '' | RejectReason {
    const isSpot = marketOf(textOf(row['instId']) ?? '') === 'spot'
    const turnover = textOf(row['volCcy24h'])
    return this.#emit.row('tickers', instrument, {
      event_ns: nsOfMs(row['ts']),
      last_price: textOf(row['last']),
      last_quantity: textOf(row['lastSz']),
      open_price: textOf(row['open24h']),
      high_price: textOf(row['high24h']),
      low_price: textOf(row['low24h']),
      volume: textOf(row['vol24h']),
      base_volume: isSpot ? null : turnover,
      quote_volume: isSpot ? turnover : null,
      bid_price: textOf(row['bidPx']),
      bid_quantity: textOf(row['bidSz']),
      ask_price: textOf(row['askPx']),
      ask_quantity: textOf(row['askSz']),
    })
  }

  /** Funding rate channel. With method `current_period` there is no `nextFundingRate`. The period is not 8 h everywhere. */
  #fundingRate(instrument: number, row: ExactRecord): '' | RejectReason {
    const fundingNs = nsOfMs(row['fundingTime'])
    const beforeNs = nsOfMs(row['prevFundingTime'])
    return this.#emit.row('funding_rates', instrument, {
      event_ns: nsOfMs(row['ts']),
      funding_rate: textOf(row['fundingRate']),
      funding_ns: fundingNs,
      next_funding_rate: textOf(row['nextFundingRate']),
      next_funding_ns: nsOfMs(row['nextFundingTime']),
      settled_rate: textOf(row['settFundingRate']),
      interest_rate: textOf(row['interestRate']),
      premium: textOf(row['premium']),
      rate_min: textOf(row['minFundingRate']),
      rate_max: textOf(row['maxFundingRate']),
      interval_hours: beforeNs > 0n && fundingNs > beforeNs ? hoursText((fundingNs - beforeNs) / 1_000_000n) : null,
    })
  }

  /** Option summary channel, one frame a family: greeks of Black and Scholes (`…BS`; the others are in the coin). */
  #optionSummary(data: readonly ExactJson[]): Outcome {
    let count = 0
    for (const item of data) {
      const row = recordOf(item)
      const symbol = textOf(row?.['instId'])
      if (row === undefined || symbol === null) return 'type'
      const refusedTime = timeRefusal(row['ts'])
      if (refusedTime !== '') return refusedTime
      const instrument = this.#emit.instrumentOf(symbol)
      if (instrument < 0) continue // the frame holds the whole family, this worker a part of it
      const greek = (name: string) => textOf(row[`${name}BS`] ?? row[`${name}Bs`])
      const refusal = this.#emit.row('tickers', instrument, {
        event_ns: nsOfMs(row['ts']),
        delta: greek('delta'),
        gamma: greek('gamma'),
        theta: greek('theta'),
        vega: greek('vega'),
        mark_iv: textOf(row['markVol']),
        bid_iv: textOf(row['bidVol']),
        ask_iv: textOf(row['askVol']),
        underlying_price: textOf(row['fwdPx']),
        underlying: textOf(row['uly']) ?? '',
      })
      if (refusal !== '') return refusal
      count++
    }
    return count === 0 ? 'other_event' : ''
  }

  /**
   * Candlesticks channel: [ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]; "the state of candlesticks: 0 uncompleted,
   * 1 completed". `volCcy` is as in tickers. A bar says no time of sending.
   */
  #candles(word: string, arg: ExactRecord, data: readonly ExactJson[]): Outcome {
    const interval = KLINE_INTERVALS.get(word)
    const symbol = textOf(arg['instId'])
    if (interval === undefined) return 'unknown_event'
    if (symbol === null) return 'missing_key'
    const isSpot = marketOf(symbol) === 'spot'
    let count = 0
    for (const item of data) {
      const bar = listOf(item)
      if (bar === undefined) return 'type'
      if (bar[8] !== '1') continue
      const instrument = this.#emit.instrumentOf(symbol)
      if (instrument < 0) return 'unknown_symbol'
      const openNs = nsOfMs(bar[0])
      if (openNs === 0n) return 'number'
      const refusal = this.#emit.row('klines', instrument, {
        interval,
        open_ns: openNs,
        close_ns: endOf(openNs, interval, word.endsWith('utc') ? 0 : 8 * HOUR_MS),
        open: textOf(bar[1]),
        high: textOf(bar[2]),
        low: textOf(bar[3]),
        close: textOf(bar[4]),
        volume: textOf(bar[5]),
        base_volume: isSpot ? null : textOf(bar[6]),
        quote_volume: textOf(bar[7]),
      })
      if (refusal !== '') return refusal
      count++
    }
    return count === 0 ? 'open_kline' : ''
  }

  /**
   * Liquidation orders channel, one subscription for a whole instrument type: rows for the instruments of this worker
   * alone. At most one order a contract and second is sent.
   *
   * The first push after a subscribe is recent history. It is kept: each row has the venue's own time, and after an outage
   * it holds what was missed. What is known already (this connection's history, another connection's copy) gives no
   * row again.
   */
  #liquidationOrders(data: readonly ExactJson[]): Outcome {
    let known = 0
    let count = 0
    for (const item of data) {
      const row = recordOf(item)
      const symbol = textOf(row?.['instId'])
      const details = listOf(row?.['details'])
      if (symbol === null || details === undefined) return 'type'
      const instrument = this.#emit.instrumentOf(symbol)
      if (instrument < 0) continue
      for (const detail of details) {
        const order = recordOf(detail)
        const side = textOf(order?.['side'])
        if (order === undefined || (side !== 'buy' && side !== 'sell')) return 'type'
        const refusedTime = timeRefusal(order['ts'])
        if (refusedTime !== '') return refusedTime
        if (this.#isKnownLiquidation(instrument, order)) {
          known++
          continue
        }
        const refusal = this.#emit.row('liquidations', instrument, {
          event_ns: nsOfMs(order['ts']),
          side,
          price: textOf(order['bkPx']),
          quantity: textOf(order['sz']),
          venue_id: textOf(order['posSide']) ?? '',
        })
        if (refusal !== '') return refusal
        count++
      }
    }
    return count > 0 ? '' : known > 0 ? 'unchanged' : 'other_event'
  }

  #isKnownLiquidation(instrument: number, order: ExactRecord): boolean {
    const key = [instrument, order['ts'], order['side'], order['posSide'], order['bkPx'], order['sz']].join(' ')
    const known = this.#liquidations
    if (known.has(key)) return true
    known.add(key)
    if (known.size > LIQUIDATIONS_REMEMBERED) known.delete(known.values().next().value as string)
    return false
  }

  /** Rows [ts, ratio] of a poll, newest first; what an earlier answer held gives no row again. */
  ratios(name: string, rows: readonly ExactJson[], instrument: number): Outcome {
    const ratio = ratioOf(name)
    if (ratio === undefined) return 'unknown_event'
    const known = this.#knownRatios(`${name} ${instrument}`)
    let count = 0
    for (const item of rows.toReversed()) {
      const [time, value] = listOf(item) ?? []
      const [ts, text] = [textOf(time), textOf(value)]
      if (ts === null || text === null) return 'type'
      const refusedTime = timeRefusal(ts)
      if (refusedTime !== '') return refusedTime
      if (known.get(ts) === text) continue
      const refusal = this.#emit.row('long_short_ratios', instrument, {
        event_ns: nsOfMs(ts),
        scope: ratio.scope,
        period: ratio.period,
        ratio: text,
      })
      if (refusal !== '') return refusal
      known.set(ts, text)
      if (known.size > RATIOS_REMEMBERED) known.delete(known.keys().next().value as string)
      count++
    }
    return count === 0 ? 'unchanged' : ''
  }

  #knownRatios(key: string): Map<string, string> {
    const known = this.#ratios.get(key) ?? new Map<string, string>()
    this.#ratios.set(key, known)
    return known
  }
}

/** Every row says its time; ms since the epoch. */
function timeRefusal(value: ExactJson | undefined): '' | RejectReason {
  if (nsOfMs(value) > 0n) return ''
  return value === undefined ? 'missing_key' : 'number'
}

/** ms → hours as decimal text, exact to 36 s. */
function hoursText(ms: bigint): string | null {
  return ms % 36_000n === 0n ? String(Number(ms / 36_000n) / 100) : null
}

/** Begin of the bar after the one that opens then. Months are those of the calendar, at this distance from UTC. */
function endOf(openNs: bigint, interval: KlineInterval, shiftMs: number): bigint {
  const count = Number.parseInt(interval, 10)
  const unit = interval.slice(-1)
  if (unit !== 'M') return openNs + BigInt(count * (UNIT_MS[unit] as number)) * 1_000_000n
  const open = new Date(Number(openNs / 1_000_000n) + shiftMs)
  return BigInt(Date.UTC(open.getUTCFullYear(), open.getUTCMonth() + count, 1) - shiftMs) * 1_000_000n
}
