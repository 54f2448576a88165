/**
 * REST of a gateway with rows that have types.
 *
 *   const api = query({ url: 'http://127.0.0.1:9480' })
 *   const { rows } = await api.series('trades', 'binance.usdm.BTCUSDT', { limit: 100 })
 *   for await (const trade of api.all('trades', 'binance.usdm.BTCUSDT', { from, to, order: 'asc' })) …
 *   for await (const bytes of api.export('trades', { format: 'parquet', from: '2026-11-21' })) …
 */
import type { Level, TableRow } from '../record/rows.ts'
import type { InstrumentName, TableName } from './block.ts'

export interface QueryOptions {
  /** of the gateway, e.g. http://127.0.0.1:9480 */
  readonly url: string
  /** API key, where the gateway wants one */
  readonly key?: string
  /** for one answer; of an export for its beginning; default 30 s */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export type Parameters = Readonly<Record<string, string | number | bigint | boolean | Date | undefined>>

/** Path of a series → the table whose rows it has. */
const SERIES = {
  trades: 'trades',
  'book-tickers': 'book_tickers',
  tickers: 'tickers',
  'funding-rates': 'funding_rates',
  'open-interests': 'open_interests',
  liquidations: 'liquidations',
  'long-short-ratios': 'long_short_ratios',
  'volatility-indices': 'volatility_indices',
  'mark-prices': 'mark_prices',
  'index-prices': 'index_prices',
} as const

export type SeriesName = keyof typeof SERIES
export type SeriesRow<Name extends SeriesName> = TableRow<(typeof SERIES)[Name]>

/** Times as ISO text, Date, or a number since the epoch in s, ms, µs or ns. */
export interface RangeParameters {
  /** inclusive */
  readonly from?: string | number | bigint | Date
  /** exclusive */
  readonly to?: string | number | bigint | Date
  /** rows of one answer */
  readonly limit?: number
  /** newest first (desc, the default), or oldest first */
  readonly order?: 'asc' | 'desc'
  readonly cursor?: string
}

export interface Page<Row> {
  readonly rows: readonly Row[]
  /** where the next page begins; null: this is the last one */
  readonly next_cursor: string | null
}

/** A bar that the gateway made of trades; absent is what no trade says. */
export interface Candle {
  readonly open_ns: string
  /** begin of the next bar */
  readonly close_ns: string
  readonly open?: string
  readonly high?: string
  readonly low?: string
  readonly close?: string
  readonly volume?: string
  readonly notional?: string
  readonly taker_buy_volume?: string
  readonly taker_buy_notional?: string
  readonly trade_count?: number
  /** its time is over */
  readonly is_closed?: boolean
  /** the worst gap of trades that overlaps it */
  readonly gap?: 'none' | 'repaired' | 'closed' | 'open'
}

export interface CandleParameters extends RangeParameters {
  /** a count and s, m, h, d, w or M: 90s, 7m, 1d; default 1m */
  readonly interval?: string
  readonly stream?: 'trade' | 'agg_trade'
}

/** A verified book as it is now, best first. */
export interface BookAnswer extends InstrumentName {
  readonly state: 'LIVE'
  readonly book_epoch: number
  readonly last_seq: number
  readonly event_ns: string
  readonly received_ns: string
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

/** A book as it was, built again from what is stored. */
export interface PastBook {
  readonly instrument: string
  readonly time_ns: string
  readonly state: 'LIVE'
  readonly book_epoch: number
  readonly last_seq: number
  readonly event_ns: string
  readonly received_ns: string
  /** the stored book that it is built from, and how many events came after it */
  readonly start: { readonly kind: string; readonly received_ns: string; readonly last_seq: number }
  readonly deltas: number
  /** levels that are proven; deeper ones are not claimed */
  readonly proven_bids: number
  readonly proven_asks: number
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

export interface ExportParameters {
  /** default ndjson */
  readonly format?: 'json' | 'ndjson' | 'csv' | 'msgpack' | 'parquet' | 'arrow'
  /** inclusive */
  readonly from: string | number | bigint | Date
  /** exclusive; default: now */
  readonly to?: string | number | bigint | Date
  /** only of this one, or of this exchange or market */
  readonly instrument?: string
  readonly exchange?: string
  readonly market?: string
}

/** The gateway's no, with its word for it. */
export class QueryError extends Error {
  override readonly name = 'QueryError'
  /** of HTTP; 0: nobody answered */
  readonly status: number
  /** e.g. book_not_live, unknown_instrument, invalid_parameter */
  readonly code: string
  /** what else it says, e.g. state, reason and since_ns of a book */
  readonly details: Readonly<Record<string, unknown>>

  constructor(status: number, code: string, message: string, details: Readonly<Record<string, unknown>>) {
    super(message)
    this.status = status
    this.code = code
    this.details = details
  }
}

export interface Query {
  /** Any path of the API, as JSON. @throws QueryError */
  get<Answer>(path: string, parameters?: Parameters): Promise<Answer>
  /** Rows of one instrument in time: one page. */
  series<Name extends SeriesName>(
    name: Name,
    instrument: string,
    parameters?: RangeParameters & Parameters,
  ): Promise<Page<SeriesRow<Name>>>
  /** The same, page after page. */
  all<Name extends SeriesName>(
    name: Name,
    instrument: string,
    parameters?: RangeParameters & Parameters,
  ): AsyncGenerator<SeriesRow<Name>, void, undefined>
  /** Bars made of trades: one page. */
  klines(instrument: string, parameters?: CandleParameters): Promise<Page<Candle>>
  /** Bars, page after page. */
  allKlines(instrument: string, parameters?: CandleParameters): AsyncGenerator<Candle, void, undefined>
  instruments(parameters?: Parameters): AsyncGenerator<InstrumentName & TableRow<'instruments'>, void, undefined>
  gaps(parameters?: RangeParameters & Parameters): AsyncGenerator<InstrumentName & TableRow<'gaps'>, void, undefined>
  /** The verified book as it is now. @throws QueryError book_not_live when it is not LIVE */
  book(instrument: string, parameters?: { readonly depth?: number }): Promise<BookAnswer>
  /** The book as it was. */
  bookAt(instrument: string, time: string | number | bigint | Date, parameters?: Parameters): Promise<PastBook>
  /** All rows of a table in a range of time as a file, piece by piece; one that is cut off throws. */
  export(table: TableName, parameters: ExportParameters): AsyncGenerator<Uint8Array, void, undefined>
}

const TIMEOUT_MS = 30_000
/** Somebody who asks too often is told when to ask again. */
const TRIES_MAX = 3
const RETRY_MS_MAX = 30_000
const TOO_OFTEN = 429

export function query(options: QueryOptions): Query {
  return new Gateway(options)
}

class Gateway implements Query {
  readonly #options: QueryOptions

  constructor(options: QueryOptions) {
    this.#options = options
  }

  async get<Answer>(path: string, parameters: Parameters = {}): Promise<Answer> {
    const answer = await this.#ask(path, parameters)
    return (await answer.json()) as Answer
  }

  series<Name extends SeriesName>(
    name: Name,
    instrument: string,
    parameters: RangeParameters & Parameters = {},
  ): Promise<Page<SeriesRow<Name>>> {
    return this.get(`/v1/${name}/${encodeURIComponent(instrument)}`, parameters)
  }

  all<Name extends SeriesName>(
    name: Name,
    instrument: string,
    parameters: RangeParameters & Parameters = {},
  ): AsyncGenerator<SeriesRow<Name>, void, undefined> {
    return this.#pages(`/v1/${name}/${encodeURIComponent(instrument)}`, parameters)
  }

  klines(instrument: string, parameters: CandleParameters = {}): Promise<Page<Candle>> {
    return this.get(`/v1/klines/${encodeURIComponent(instrument)}`, { ...parameters })
  }

  allKlines(instrument: string, parameters: CandleParameters = {}): AsyncGenerator<Candle, void, undefined> {
    return this.#pages(`/v1/klines/${encodeURIComponent(instrument)}`, { ...parameters })
  }

  instruments(parameters: Parameters = {}): AsyncGenerator<InstrumentName & TableRow<'instruments'>, void, undefined> {
    return this.#pages('/v1/instruments', parameters)
  }

  gaps(
    parameters: RangeParameters & Parameters = {},
  ): AsyncGenerator<InstrumentName & TableRow<'gaps'>, void, undefined> {
    return this.#pages('/v1/gaps', parameters)
  }

  book(instrument: string, parameters: { readonly depth?: number } = {}): Promise<BookAnswer> {
    return this.get(`/v1/books/${encodeURIComponent(instrument)}`, { ...parameters })
  }

  bookAt(instrument: string, time: string | number | bigint | Date, parameters: Parameters = {}): Promise<PastBook> {
    return this.get(`/v1/books/${encodeURIComponent(instrument)}/at`, { ...parameters, time })
  }

  async *export(table: TableName, parameters: ExportParameters): AsyncGenerator<Uint8Array, void, undefined> {
    const { body } = await this.#ask(`/v1/export/${table}`, { ...parameters })
    if (body === null) return
    const reader = body.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        yield value
      }
    } finally {
      await reader.cancel().catch(() => undefined) // whoever stops reading stops the question
    }
  }

  async *#pages<Row>(path: string, parameters: Parameters): AsyncGenerator<Row, void, undefined> {
    let cursor: string | null | undefined = parameters['cursor'] as string | undefined
    do {
      const page: Page<Row> = await this.get(path, { ...parameters, cursor })
      yield* page.rows
      cursor = page.next_cursor
    } while (cursor !== null)
  }

  /** @throws QueryError when the answer is no */
  async #ask(path: string, parameters: Parameters): Promise<Response> {
    const { url, key, timeoutMs = TIMEOUT_MS, signal } = this.#options
    const target = new URL(path, url)
    for (const [name, value] of Object.entries(parameters))
      if (value !== undefined)
        target.searchParams.set(name, value instanceof Date ? value.toISOString() : String(value))
    const headers = key === undefined || key === '' ? {} : { authorization: `Bearer ${key}` }
    for (let attempt = 1; ; attempt++) {
      const stop = new AbortController()
      const timer = setTimeout(() => stop.abort(new Error(`${target.href}: no answer in ${timeoutMs} ms`)), timeoutMs)
      const ended = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal])
      const answer = await fetch(target, { headers, signal: ended })
        .catch((error: unknown) => {
          throw ended.aborted ? error : unreachable(url, error)
        })
        .finally(() => clearTimeout(timer))
      if (answer.ok) return answer
      const waitMs = Number(answer.headers.get('retry-after') ?? 1) * 1000
      const error = await errorOf(answer)
      if (answer.status !== TOO_OFTEN || attempt === TRIES_MAX || waitMs > RETRY_MS_MAX) throw error
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  }
}

/** `fetch failed` says nothing; its cause does. */
function unreachable(url: string, error: unknown): QueryError {
  const { cause, message } = error as {
    readonly cause?: { readonly code?: string; readonly message?: string }
    readonly message: string
  }
  return new QueryError(
    0,
    'unreachable',
    `${url} cannot be reached (${cause?.code ?? cause?.message ?? message}): does a gateway run there?`,
    {},
  )
}

async function errorOf(answer: Response): Promise<QueryError> {
  const text = await answer.text()
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } }
    const { code, message, ...details } = error
    return new QueryError(answer.status, code, message, details)
  } catch {
    return new QueryError(answer.status, 'no_gateway', `${answer.url} answers ${answer.status}: is it a gateway?`, {})
  }
}
