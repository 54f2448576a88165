import { Fault } from '../../base/fault.ts'
import type { TradeChannel } from '../../record/emit.ts'
import type { RATIO_SCOPES } from '../../record/schema-kinds.ts'
import { decimalText } from '../../scan/decimal.ts'
import { type Instrument, instrumentId, type InstrumentKind, type PollRule, type RestRequest } from '../exchange.ts'
import {
  EXCHANGE,
  INDEX_QUOTES,
  type OkxMarket,
  type OkxMarketName,
  OPTION_UNDERLYINGS,
  PERIOD_WORDS,
  type RatioPeriod,
  WEIGHTS,
} from './endpoints.ts'

/**
 * What only REST has: instruments, turnover, the venue's clock, trades that were missed, long/short ratios. Pages:
 * "Public Data", "Order Book Trading: Market Data", "Trading Statistics".
 */

/** Rows of one answer to a question for trades. "Get trades history": at most 100. */
const TRADES_MAX = 100
/** Periods of one answer to a question for ratios: what polls missed for an hour of five-minute periods comes again. */
const RATIO_ROWS = 12
const RATIO_POLL_MS = 300_000
const PRICE_DIGITS_UNKNOWN = 8

export type RatioScope = keyof typeof RATIO_SCOPES

/** STATISTICS: "Get long/short ratio" of a contract, of its top traders by accounts, of its top traders by positions. */
const RATIO_PATHS: Readonly<Record<RatioScope, string>> = {
  all_accounts: 'long-short-account-ratio-contract',
  top_accounts: 'long-short-account-ratio-contract-top-trader',
  top_positions: 'long-short-position-ratio-contract-top-trader',
}

/** The fields of "Get instruments" that we read. */
interface InstrumentEntry {
  readonly instId?: string
  readonly state?: string
  readonly uly?: string
  readonly baseCcy?: string
  readonly quoteCcy?: string
  readonly settleCcy?: string
  readonly ctVal?: string
  readonly ctMult?: string
  readonly ctValCcy?: string
  readonly tickSz?: string
  readonly lotSz?: string
  readonly expTime?: string
  readonly stk?: string
  readonly optType?: string
}

interface TickerEntry {
  readonly instId?: string
  readonly last?: string
  readonly volCcy24h?: string
}

const KINDS: Readonly<Record<OkxMarketName, InstrumentKind>> = {
  spot: 'spot',
  swap: 'perpetual',
  futures: 'future',
  option: 'option',
  index: 'index',
}

export function instrumentsRequest(market: OkxMarket): RestRequest {
  if (market.name === 'index') return indexRequest(INDEX_QUOTES[0] as string)
  if (market.name === 'option') return optionsRequest(OPTION_UNDERLYINGS[0] as string)
  return { path: `/api/v5/public/instruments?instType=${market.instType}`, weight: WEIGHTS.instruments }
}

/** The option lists of all underlyings answer to `uly`; `instFamily` refuses some of them. */
function optionsRequest(underlying: string): RestRequest {
  return { path: `/api/v5/public/instruments?instType=OPTION&uly=${underlying}`, weight: WEIGHTS.instruments }
}

function indexRequest(quote: string): RestRequest {
  return { path: `/api/v5/market/index-tickers?quoteCcy=${quote}`, weight: WEIGHTS.indexTickers }
}

/** Options come an underlying at a time, indices a quote currency at a time: the answer tells which one it was. */
export function nextInstrumentsRequest(market: OkxMarket, body: string): RestRequest | undefined {
  if (market.name !== 'option' && market.name !== 'index') return undefined
  const [first] = rowsOf(body, 'instruments') as InstrumentEntry[]
  if (market.name === 'option') return followedBy(OPTION_UNDERLYINGS, first?.uly, optionsRequest)
  return followedBy(INDEX_QUOTES, first?.instId?.split('-')[1], indexRequest)
}

function followedBy(
  list: readonly string[],
  item: string | undefined,
  request: (next: string) => RestRequest,
): RestRequest | undefined {
  const index = item === undefined ? -1 : list.indexOf(item)
  const next = index < 0 ? undefined : list[index + 1]
  return next === undefined ? undefined : request(next)
}

export function readInstruments(market: OkxMarket, body: string): Instrument[] {
  return (rowsOf(body, 'instruments') as InstrumentEntry[]).map((entry) =>
    market.name === 'index' ? readIndex(entry) : readInstrument(market, entry),
  )
}

function identityOf(market: OkxMarketName, symbol: string | undefined) {
  if (typeof symbol !== 'string' || symbol === '')
    throw new Fault('BAD_ANSWER', `instruments of ${EXCHANGE}.${market}: an entry has no instId`)
  return { id: instrumentId(EXCHANGE, market, symbol), exchange: EXCHANGE, market, symbol, kind: KINDS[market] }
}

/** Of an index there is only its ticker. */
function readIndex(entry: InstrumentEntry & { readonly idxPx?: string }): Instrument {
  const identity = identityOf('index', entry.instId)
  const [base, quote] = identity.symbol.split('-')
  return {
    ...identity,
    priceScale: PRICE_DIGITS_UNKNOWN,
    quantityScale: 0,
    status: 'live',
    isTrading: true,
    ...present({ base, quote, underlying: identity.symbol }),
  }
}

/** PUBLIC, Get instruments, `state`: live, suspend, preopen, test; rebase: no trading while a contract is re-based. */
function readInstrument(market: OkxMarket, entry: InstrumentEntry): Instrument {
  const identity = identityOf(market.name, entry.instId)
  const [base, quote] = (entry.uly ?? '').split('-') // contracts name no currencies of their own
  const state = entry.state ?? ''
  return {
    ...identity,
    priceScale: digitsOf(entry.tickSz) ?? PRICE_DIGITS_UNKNOWN,
    quantityScale: digitsOf(entry.lotSz) ?? PRICE_DIGITS_UNKNOWN,
    status: state,
    isTrading: state === 'live',
    isPreOpen: state === 'preopen',
    ...(entry.expTime ? { expiryMs: Number(entry.expTime) } : {}),
    ...(entry.optType ? { optionType: entry.optType === 'C' ? ('call' as const) : ('put' as const) } : {}),
    ...present({
      base: entry.baseCcy || base,
      quote: entry.quoteCcy || quote,
      settle: entry.settleCcy,
      strike: entry.stk,
      contractSize: product(entry.ctVal, entry.ctMult),
      contractUnit: entry.ctValCcy,
      tickSize: entry.tickSz,
      lotSize: entry.lotSz,
      underlying: entry.uly,
    }),
  }
}

/** Only what the venue says: absent and empty are the same. */
function present<Name extends string>(texts: Record<Name, string | undefined>): Partial<Record<Name, string>> {
  const entries = Object.entries(texts).filter(([, text]) => text !== undefined && text !== '')
  return Object.fromEntries(entries) as Partial<Record<Name, string>>
}

/** A contract is worth `ctVal` × `ctMult`: an option on BTC has 1 and 0.01. */
function product(value: string | undefined, multiplier: string | undefined): string | undefined {
  const [left, right] = [plainDecimal(value), plainDecimal(multiplier || '1')]
  if (left === undefined || right === undefined) return undefined
  return decimalText(left.mantissa * right.mantissa, left.scale + right.scale)
}

function plainDecimal(text: string | undefined): { mantissa: bigint; scale: number } | undefined {
  const match = text === undefined ? null : /^(\d+)(?:\.(\d+))?$/.exec(text)
  if (match === null) return undefined
  return { mantissa: BigInt((match[1] as string) + (match[2] ?? '')), scale: match[2]?.length ?? 0 }
}

/** Digits after the point once trailing zeros are gone; undefined for what is not a plain decimal or zero. */
function digitsOf(size: string | undefined): number | undefined {
  const decimal = plainDecimal(size)
  if (decimal === undefined || decimal.mantissa === 0n) return undefined
  return decimalText(decimal.mantissa, decimal.scale).split('.')[1]?.length ?? 0
}

export function volumesRequest(market: OkxMarket): RestRequest {
  if (market.name === 'index') return indexRequest(INDEX_QUOTES[0] as string)
  return { path: `/api/v5/market/tickers?instType=${market.instType}`, weight: WEIGHTS.tickers }
}

/**
 * Turnover, comparable within the market. `volCcy24h` is in the quote currency on spot, where each is put into USDT by
 * its own price in the same answer; in the base currency for contracts, where the price makes it one of the quote. The
 * price of an option is in coins itself: theirs stays in the base currency. An index has none.
 */
export function readVolumes(market: OkxMarket, body: string): ReadonlyMap<string, number> {
  const entries = rowsOf(body, 'tickers') as TickerEntry[]
  const prices = new Map(entries.map((entry) => [String(entry.instId), Number(entry.last)]))
  return new Map(
    entries.map((entry) => {
      const symbol = String(entry.instId)
      const turnover = Number(entry.volCcy24h ?? 0)
      if (market.name === 'spot') return [symbol, turnover * usdtOf(symbol.split('-')[1] as string, prices)]
      return [symbol, market.name === 'option' ? turnover : turnover * (prices.get(symbol) || 0)]
    }),
  )
}

/** What one unit of the currency is worth; 1 where no pair tells. */
function usdtOf(currency: string, prices: ReadonlyMap<string, number>): number {
  const direct = prices.get(`${currency}-USDT`)
  if (direct) return direct
  const inverse = prices.get(`USDT-${currency}`)
  return inverse ? 1 / inverse : 1
}

/**
 * MARKET, Get trades history: type 1 pages by tradeId, "after: records earlier than the requested tradeId", newest first.
 * So the oldest hundred of the range are asked for.
 */
export function tradesRequest(
  market: OkxMarket,
  symbol: string,
  channel: TradeChannel,
  firstSeq: number,
  lastSeq: number,
): RestRequest | undefined {
  if (channel !== 'trades' || market.name === 'index') return undefined
  const last = Math.min(lastSeq, firstSeq + TRADES_MAX - 1)
  const query = `instId=${encodeURIComponent(symbol)}&type=1&after=${last + 1}&limit=${last - firstSeq + 1}`
  return { path: `/api/v5/market/history-trades?${query}`, weight: WEIGHTS.historyTrades }
}

export function serverTimeRequest(): RestRequest {
  return { path: '/api/v5/public/time', weight: WEIGHTS.time }
}

export function readServerTime(body: string): number {
  const [row] = rowsOf(body, 'time') as { ts?: string }[]
  const time = Number(row?.ts)
  if (!Number.isSafeInteger(time)) throw new Fault('BAD_ANSWER', 'time: no ts in the answer')
  return time
}

/** One poll a scope; its name tells scope and period, which the answer does not. */
export function ratioPolls(market: OkxMarket, period: RatioPeriod): readonly PollRule[] {
  if (market.name !== 'swap' && market.name !== 'futures') return []
  return (Object.keys(RATIO_PATHS) as RatioScope[]).map((scope) => ({
    name: `long_short_${scope}_${period}`,
    channel: 'long_short_ratios',
    intervalMs: RATIO_POLL_MS,
    request: ({ symbol }) => ({
      path:
        `/api/v5/rubik/stat/contracts/${RATIO_PATHS[scope]}?instId=${encodeURIComponent(symbol)}` +
        `&period=${PERIOD_WORDS[period]}&limit=${RATIO_ROWS}`,
      weight: WEIGHTS.ratios,
    }),
  }))
}

/** What a poll of this name asks for. */
export function ratioOf(name: string): { readonly scope: RatioScope; readonly period: RatioPeriod } | undefined {
  const match = /^long_short_(all_accounts|top_accounts|top_positions)_(\w+)$/.exec(name)
  const period = match?.[2] ?? ''
  return match === null || !Object.hasOwn(PERIOD_WORDS, period)
    ? undefined
    : { scope: match[1] as RatioScope, period: period as RatioPeriod }
}

/** The rows of an answer `{"code":"0","msg":"","data":[…]}`. */
function rowsOf(body: string, what: string): unknown[] {
  let answer: { code?: unknown; msg?: unknown; data?: unknown } | null = null
  try {
    answer = JSON.parse(body)
  } catch {
    // falls through to the fault below
  }
  if (answer?.code === '0' && Array.isArray(answer.data)) return answer.data
  throw new Fault('BAD_ANSWER', `${what} of ${EXCHANGE}: no list in the answer: ${body.slice(0, 80)}`)
}
