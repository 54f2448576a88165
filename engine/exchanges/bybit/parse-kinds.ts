import type { Emit, Outcome } from '../../record/emit.ts'
import type { KindTableName } from '../../record/schema-columns.ts'
import { KLINE_INTERVALS, type KindRow, type KlineInterval, RATIO_PERIODS } from '../../record/schema-kinds.ts'
import { type ExactJson, type ExactRecord, listOf, nsOfMs, recordOf, textOf } from '../../scan/exact-json.ts'
import { KLINE_WORDS, type RatioPeriod } from './endpoints.ts'
import { RATIO_POLL } from './poll.ts'

/**
 * The rare kinds of Bybit: rows of exact decimals, as the venue wrote them. Pages: "Public Topics: Kline, Ticker, All
 * Liquidation", "Market: Get Long Short Ratio".
 */
const INTERVALS: ReadonlyMap<string, KlineInterval> = new Map(
  (Object.keys(KLINE_INTERVALS) as KlineInterval[]).flatMap((interval) => {
    const word = KLINE_WORDS[interval]
    return word === undefined ? [] : [[word, interval] as const]
  }),
)

const TICKER_KEYS = {
  last_price: 'lastPrice',
  open_price: 'prevPrice24h',
  high_price: 'highPrice24h',
  low_price: 'lowPrice24h',
  volume: 'volume24h',
  bid_price: 'bid1Price',
  bid_quantity: 'bid1Size',
  ask_price: 'ask1Price',
  ask_quantity: 'ask1Size',
} as const

export class BybitKinds {
  readonly #emit: Emit
  /** Of inverse contracts turnover and value are in the coin, of all others in the quote currency. */
  readonly #isInverse: boolean
  /** `{poll} {instrument}` → time of the last row, for answers overlap. */
  readonly #ratioTimes = new Map<string, bigint>()

  constructor(emit: Emit, market: string) {
    this.#emit = emit
    this.#isInverse = market === 'inverse'
  }

  frame(word: 'kline' | 'tickers' | 'allLiquidation', topic: string, frame: ExactRecord): Outcome {
    const eventNs = nsOfMs(frame['ts'])
    if (eventNs === 0n) return frame['ts'] === undefined ? 'missing_key' : 'type'
    if (frame['data'] === undefined) return 'missing_key'
    if (word === 'tickers') return this.#ticker(recordOf(frame['data']), eventNs)
    const entries = listOf(frame['data'])?.map(recordOf)
    if (entries === undefined || entries.includes(undefined)) return 'type'
    return word === 'kline'
      ? this.#klines(entries as ExactRecord[], topic, eventNs)
      : this.#liquidations(entries as ExactRecord[], eventNs)
  }

  /** `kline.{interval}.{symbol}`: the entries do not name the symbol. */
  #klines(entries: readonly ExactRecord[], topic: string, eventNs: bigint): Outcome {
    const [, word = '', symbol = ''] = /^kline\.([^.]*)\.(.*)$/.exec(topic) ?? []
    const interval = INTERVALS.get(word)
    if (interval === undefined) return 'unknown_event'
    const closed = entries.filter((entry) => entry['confirm'] === true)
    if (closed.length === 0) return entries.every((entry) => entry['confirm'] === false) ? 'open_kline' : 'missing_key'
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) return 'unknown_symbol'
    const rows = closed.map((entry) => ({
      event_ns: eventNs,
      interval,
      open_ns: nsOfMs(entry['start']),
      close_ns: nsOfMs(entry['end']),
      open: textOf(entry['open']),
      high: textOf(entry['high']),
      low: textOf(entry['low']),
      close: textOf(entry['close']),
      volume: textOf(entry['volume']),
      ...this.#turnover(entry['turnover']),
    }))
    if (rows.some((row) => row.open_ns === 0n || row.close_ns === 0n)) return 'missing_key'
    return this.#rows('klines', instrument, rows)
  }

  /** Derivatives send a snapshot, then what changed; spot sends all of it each time. A table gets a row when it is spoken of. */
  #ticker(data: ExactRecord | undefined, event_ns: bigint): Outcome {
    if (data === undefined) return 'type'
    const { symbol } = data
    if (typeof symbol !== 'string') return symbol === undefined ? 'missing_key' : 'type'
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) return 'unknown_symbol'
    const text = (key: string) => textOf(data[key])
    const worth = text('openInterestValue')
    const outcomes = [
      this.#spoken('tickers', instrument, event_ns, {
        ...Object.fromEntries(Object.entries(TICKER_KEYS).map(([column, key]) => [column, text(key)])),
        price_change_percent: percentOf(text('price24hPcnt')),
        ...this.#turnover(data['turnover24h']),
      }),
      this.#spoken('mark_prices', instrument, event_ns, {
        mark_price: text('markPrice'),
        settle_price: notZero(text('predictedDeliveryPrice')), // 0 until half an hour before delivery
      }),
      this.#spoken('index_prices', instrument, event_ns, { index_price: text('indexPrice') }),
      this.#funding(instrument, event_ns, data),
      this.#spoken('open_interests', instrument, event_ns, {
        open_interest: text('openInterest'),
        ...(this.#isInverse ? { base_open_interest: worth } : { quote_open_interest: worth }),
      }),
    ]
    return (
      outcomes.find((outcome) => outcome !== '' && outcome !== 'unchanged') ??
      (outcomes.includes('') ? '' : 'unchanged')
    )
  }

  #funding(instrument: number, event_ns: bigint, data: ExactRecord): Outcome {
    const paidNs = nsOfMs(data['nextFundingTime'])
    const funding = {
      funding_rate: textOf(data['fundingRate']),
      interval_hours: textOf(data['fundingIntervalHour']),
      rate_max: textOf(data['fundingCap']),
    }
    if (paidNs === 0n) return this.#spoken('funding_rates', instrument, event_ns, funding)
    return this.#emit.row('funding_rates', instrument, { event_ns, funding_ns: paidNs, ...funding })
  }

  /** A row when one of its decimals is there. */
  #spoken<Name extends KindTableName>(
    table: Name,
    instrument: number,
    event_ns: bigint,
    decimals: Readonly<Record<string, string | null>>,
  ): Outcome {
    if (Object.values(decimals).every((value) => value === null)) return 'unchanged'
    return this.#emit.row(table, instrument, { event_ns, ...decimals } as unknown as KindRow<Name>)
  }

  /** `S` is the side of the position: a long that is liquidated is closed by selling. `p` is its bankruptcy price. */
  #liquidations(entries: readonly ExactRecord[], eventNs: bigint): Outcome {
    if (entries.length === 0) return 'unchanged'
    let first: Outcome = ''
    for (const entry of entries) {
      const outcome = this.#liquidation(entry, eventNs)
      if (first === '') first = outcome
    }
    return first
  }

  #liquidation(entry: ExactRecord, event_ns: bigint): Outcome {
    const { s: symbol, S: position } = entry
    const price = textOf(entry['p'])
    const quantity = textOf(entry['v'])
    if (symbol === undefined || position === undefined || price === null || quantity === null) return 'missing_key'
    if (typeof symbol !== 'string' || (position !== 'Buy' && position !== 'Sell')) return 'type'
    const instrument = this.#emit.instrumentOf(symbol)
    if (instrument < 0) return 'unknown_symbol'
    const side = position === 'Buy' ? 'sell' : 'buy'
    return this.#emit.row('liquidations', instrument, {
      event_ns,
      liquidation_ns: nsOfMs(entry['T']),
      side,
      price,
      quantity,
    })
  }

  /** The body of a ratio poll: newest first, some periods; those that were not in an answer before become rows. */
  poll(name: string, body: ExactJson | undefined, instrument: number): Outcome {
    const period = name.slice(RATIO_POLL.length)
    if (!name.startsWith(RATIO_POLL) || !Object.hasOwn(RATIO_PERIODS, period)) return 'unknown_event'
    const answer = recordOf(body)
    if (answer === undefined) return 'syntax'
    if (answer['retCode'] !== '0') return 'unknown_event'
    const entries = listOf(recordOf(answer['result'])?.['list'])?.map(recordOf)
    if (entries === undefined || entries.includes(undefined)) return 'type'
    return this.#ratios(`${name} ${instrument}`, period as RatioPeriod, entries as ExactRecord[], instrument)
  }

  #ratios(key: string, period: RatioPeriod, entries: readonly ExactRecord[], instrument: number): Outcome {
    const lastNs = this.#ratioTimes.get(key) ?? 0n
    const rows = entries.map((entry) => ({
      event_ns: nsOfMs(entry['timestamp']),
      scope: 'all_accounts' as const,
      period,
      long_share: textOf(entry['buyRatio']),
      short_share: textOf(entry['sellRatio']),
    }))
    if (rows.some((row) => row.event_ns === 0n)) return 'missing_key'
    const news = rows
      .filter((row) => row.event_ns > lastNs)
      .sort((one, other) => (one.event_ns < other.event_ns ? -1 : 1))
    if (news.length === 0) return 'unchanged'
    const outcome = this.#rows('long_short_ratios', instrument, news)
    if (outcome === '') this.#ratioTimes.set(key, (news[news.length - 1] as { event_ns: bigint }).event_ns)
    return outcome
  }

  #rows<Name extends KindTableName>(table: Name, instrument: number, rows: readonly KindRow<Name>[]): Outcome {
    for (const row of rows) {
      const refusal = this.#emit.row(table, instrument, row)
      if (refusal !== '') return refusal
    }
    return ''
  }

  #turnover(value: ExactJson | undefined): { base_volume: string | null } | { quote_volume: string | null } {
    const turnover = textOf(value)
    return this.#isInverse ? { base_volume: turnover } : { quote_volume: turnover }
  }
}

/** The venue says 0.0171 for 1.71 %: the point moves, no digit is computed. */
function percentOf(fraction: string | null): string | null {
  return fraction === null ? null : `${fraction}e2`
}

function notZero(text: string | null): string | null {
  return text === null || /^0*\.?0*$/.test(text) ? null : text
}
