import { Fault } from '../../base/fault.ts'
import { type Instrument, instrumentId, type InstrumentKind, type PollRule, type RestRequest } from '../exchange.ts'
import { type BybitMarket, RATIO_WORDS, type RatioPeriod } from './endpoints.ts'

/**
 * What only REST has: instruments, turnover, the venue's clock, long/short ratios. Pages: bybit-exchange.github.io/docs/v5,
 * "Market". Every request weighs 1: the limit counts requests.
 */

export const EXCHANGE = 'bybit'
/** Name of the ratio polls before the period, which the answer does not repeat. */
export const RATIO_POLL = 'account_ratio_'
/** So many periods an answer: one that a poll came too late for is in the next. */
const RATIO_ROWS = 3
const RATIO_POLL_MS_MAX = 3_600_000

/** The fields of "Get Instruments Info" that we read. */
interface InstrumentEntry {
  readonly symbol?: string
  readonly status?: string
  readonly contractType?: string
  readonly baseCoin?: string
  readonly quoteCoin?: string
  readonly settleCoin?: string
  readonly deliveryTime?: string
  readonly priceScale?: string
  readonly priceFilter?: { readonly tickSize?: string }
  /** spot says `basePrecision` where the others say `qtyStep` */
  readonly lotSizeFilter?: { readonly qtyStep?: string; readonly basePrecision?: string }
}

interface ListAnswer {
  readonly nextPageCursor?: string | null
  readonly list?: unknown
}

const KINDS: Readonly<Record<string, InstrumentKind>> = {
  LinearPerpetual: 'perpetual',
  InversePerpetual: 'perpetual',
  LinearFutures: 'future',
  InverseFutures: 'future',
}

/** "Get Instruments Info": 500 unless told, at most 1000; linear has pages, spot has none. */
export function instrumentsRequest(market: BybitMarket): RestRequest {
  return { path: `/v5/market/instruments-info?category=${market.name}&limit=1000`, weight: 1 }
}

export function nextInstrumentsRequest(market: BybitMarket, body: string): RestRequest | undefined {
  const cursor = answer(body, 'instruments-info').nextPageCursor
  if (typeof cursor !== 'string' || cursor === '') return undefined
  const { path, weight } = instrumentsRequest(market)
  // the cursor comes encoded already; encoding it again gives the first page for ever
  return { path: `${path}&cursor=${cursor}`, weight }
}

export function readInstruments(market: BybitMarket, body: string): Instrument[] {
  return (listOf(body, 'instruments-info') as InstrumentEntry[]).map((entry) => readInstrument(market, entry))
}

function readInstrument(market: BybitMarket, entry: InstrumentEntry): Instrument {
  const { symbol, status = 'UNKNOWN', baseCoin, quoteCoin, settleCoin } = entry
  if (typeof symbol !== 'string' || symbol === '')
    throw new Fault('BAD_ANSWER', `instruments-info of ${EXCHANGE}.${market.name}: an entry has no symbol`)
  const tickSize = entry.priceFilter?.tickSize
  const lotSize = entry.lotSizeFilter?.qtyStep ?? entry.lotSizeFilter?.basePrecision
  const kind = market.isDerivative ? (KINDS[entry.contractType ?? ''] ?? 'other') : 'spot'
  const expiryMs = kind === 'future' ? Number(entry.deliveryTime) : 0 // of a perpetual it is the delisting time
  return {
    id: instrumentId(EXCHANGE, market.name, symbol),
    exchange: EXCHANGE,
    market: market.name,
    symbol,
    priceScale: digitsOf(tickSize) ?? Number(entry.priceScale ?? 8),
    quantityScale: digitsOf(lotSize) ?? 8,
    status,
    isTrading: status === 'Trading',
    isPreOpen: status === 'PreLaunch',
    kind,
    ...(baseCoin === undefined ? {} : { base: baseCoin }),
    ...(quoteCoin === undefined ? {} : { quote: quoteCoin }),
    ...(settleCoin === undefined ? {} : { settle: settleCoin }),
    ...(expiryMs > 0 ? { expiryMs } : {}),
    ...(tickSize === undefined ? {} : { tickSize }),
    ...(lotSize === undefined ? {} : { lotSize }),
    // a contract of an inverse market is one unit of its quote currency; the others count coins
    ...(market.name === 'inverse' ? { contractSize: '1', contractUnit: quoteCoin ?? 'USD' } : {}),
  }
}

/** Digits after the point once trailing zeros are gone: `0.0100` → 2, `10` → 0; undefined for what is no plain decimal above 0. */
function digitsOf(step: string | undefined): number | undefined {
  const match = step === undefined ? null : /^(\d+)(?:\.(\d+?)0*)?$/.exec(step)
  if (match === null || Number(step) === 0) return undefined
  const digits = match[2] ?? ''
  return digits === '0' ? 0 : digits.length
}

/** "Get Tickers" of a whole market. */
export function volumesRequest(market: BybitMarket): RestRequest {
  return { path: `/v5/market/tickers?category=${market.name}`, weight: 1 }
}

/** `turnover24h` is in the quote currency; on inverse markets in the coin, where `volume24h` counts dollars. */
export function readVolumes(market: BybitMarket, body: string): ReadonlyMap<string, number> {
  const entries = listOf(body, 'tickers') as { symbol?: string; turnover24h?: string; volume24h?: string }[]
  return new Map(
    entries.map((entry) => [
      String(entry.symbol),
      Number((market.name === 'inverse' ? entry.volume24h : entry.turnover24h) ?? 0) || 0,
    ]),
  )
}

/** "Get Bybit Server Time" */
export function serverTimeRequest(): RestRequest {
  return { path: '/v5/market/time', weight: 1 }
}

export function readServerTime(body: string): number {
  const { timeNano } = answer(body, 'time') as { timeNano?: unknown }
  const digits = typeof timeNano === 'string' ? /^(\d{13})\d{6}$/.exec(timeNano) : null
  if (digits === null) throw new Fault('BAD_ANSWER', 'time: no timeNano in the answer')
  return Number(digits[1])
}

/** "Get Long Short Ratio": of perpetuals and futures in USDT and of inverse ones. */
export function ratioPoll(market: BybitMarket, period: RatioPeriod): PollRule | undefined {
  const words = RATIO_WORDS[period]
  if (!market.isDerivative || words === undefined) return undefined
  return {
    name: RATIO_POLL + period,
    channel: 'long_short_ratios',
    intervalMs: Math.min(words.periodMs, RATIO_POLL_MS_MAX),
    request: ({ symbol, quote }) => {
      if (market.name === 'linear' && quote !== undefined && quote !== 'USDT') return undefined
      const query = `category=${market.name}&symbol=${encodeURIComponent(symbol)}&period=${words.word}&limit=${RATIO_ROWS}`
      return { path: `/v5/market/account-ratio?${query}`, weight: 1 }
    },
  }
}

function listOf(body: string, what: string): unknown[] {
  const { list } = answer(body, what)
  if (!Array.isArray(list)) throw new Fault('BAD_ANSWER', `${what} of ${EXCHANGE}: no list in the answer`)
  return list
}

/** `result` of an answer; Bybit answers HTTP 200 and says in `retCode` what went wrong. */
function answer(body: string, what: string): ListAnswer {
  let value: { retCode?: unknown; retMsg?: unknown; result?: unknown } | null
  try {
    value = JSON.parse(body) as typeof value
  } catch {
    value = null
  }
  if (typeof value?.result !== 'object' || value.result === null || value.retCode !== 0)
    throw new Fault('BAD_ANSWER', `${what} of ${EXCHANGE}: ${body.slice(0, 120)}`)
  return value.result
}
