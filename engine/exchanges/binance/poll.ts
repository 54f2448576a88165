import { Fault } from '../../base/fault.ts'
import { type Instrument, instrumentId, type RestRequest } from '../exchange.ts'
import type { TradeChannel } from '../../record/emit.ts'
import type { BinanceMarket } from './endpoints.ts'

/** What only REST has: the list of instruments, depth snapshots, the venue's clock. */

export const EXCHANGE = 'binance'

interface SymbolFilter {
  readonly filterType?: string
  readonly tickSize?: string
  readonly stepSize?: string
}

/** The fields of `exchangeInfo.symbols[]` that we read; COIN-M says `contractStatus` where the others say `status`. */
interface SymbolEntry {
  readonly symbol?: string
  readonly status?: string
  readonly contractStatus?: string
  readonly contractSize?: number | string
  readonly pricePrecision?: number
  readonly quotePrecision?: number
  readonly quantityPrecision?: number
  readonly baseAssetPrecision?: number
  readonly filters?: readonly SymbolFilter[]
}

export function instrumentsRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/exchangeInfo`, weight: market.exchangeInfoWeight }
}

export function snapshotRequest(market: BinanceMarket, symbol: string, depth: number): RestRequest {
  const step = market.depthWeights.find((candidate) => depth <= candidate.depthMax)
  const last = market.depthWeights[market.depthWeights.length - 1]
  if (step === undefined || last === undefined || depth < 1) {
    throw new Fault(
      'SNAPSHOT_DEPTH',
      `snapshot depth ${depth} of ${EXCHANGE}.${market.name}: allowed are 1 to ${last?.depthMax}`,
      78,
    )
  }
  // futures take only the listed depths; the step's own depth costs the same weight as anything below it
  const limit = market.name === 'spot' ? depth : step.depthMax
  return { path: `${market.restPath}/depth?symbol=${encodeURIComponent(symbol)}&limit=${limit}`, weight: step.weight }
}

/** SPOT "24hr ticker price change statistics"; USDM, COINM the page of the same name: all symbols in one answer. */
export function volumesRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/ticker/24hr`, weight: market.name === 'spot' ? 80 : 40 }
}

/** Turnover: `quoteVolume`; COIN-M says `baseVolume`, and `volume` counts contracts of equal worth. */
export function readVolumes(market: string, body: string): ReadonlyMap<string, number> {
  const entries = parse(body, 'ticker/24hr') as { symbol?: string; quoteVolume?: string; volume?: string }[]
  if (!Array.isArray(entries)) throw new Fault('BAD_ANSWER', `ticker/24hr of ${EXCHANGE}.${market}: no list`)
  return new Map(entries.map((entry) => [String(entry.symbol), Number(entry.quoteVolume ?? entry.volume ?? 0)]))
}

/** Only aggregated trades can be asked for by number without a key. */
export function tradesRequest(
  market: BinanceMarket,
  symbol: string,
  channel: TradeChannel,
  firstSeq: number,
  lastSeq: number,
): RestRequest | undefined {
  // SPOT, USDM, COINM "Compressed/Aggregate trades list": fromId inclusive, at most 1000
  if (channel !== 'agg_trades') return undefined
  const limit = Math.min(1000, lastSeq - firstSeq + 1)
  const path = `${market.restPath}/aggTrades?symbol=${encodeURIComponent(symbol)}&fromId=${firstSeq}&limit=${limit}`
  return { path, weight: market.name === 'spot' ? 4 : 20 }
}

export function serverTimeRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/time`, weight: 1 }
}

export function readServerTime(body: string): number {
  const time = (parse(body, 'time') as { serverTime?: unknown }).serverTime
  if (typeof time !== 'number' || !Number.isSafeInteger(time))
    throw new Fault('BAD_ANSWER', 'time: no serverTime in the answer')
  return time
}

export function readInstruments(market: BinanceMarket, body: string): Instrument[] {
  const entries = (parse(body, 'exchangeInfo') as { symbols?: unknown }).symbols
  if (!Array.isArray(entries))
    throw new Fault('BAD_ANSWER', `exchangeInfo of ${EXCHANGE}.${market.name}: no symbols in the answer`)
  return (entries as SymbolEntry[]).map((entry) => readInstrument(market, entry))
}

function readInstrument(market: BinanceMarket, entry: SymbolEntry): Instrument {
  const { symbol } = entry
  if (typeof symbol !== 'string' || symbol === '') {
    throw new Fault('BAD_ANSWER', `exchangeInfo of ${EXCHANGE}.${market.name}: an entry has no symbol`)
  }
  const tickSize = entry.filters?.find((filter) => filter.filterType === 'PRICE_FILTER')?.tickSize
  const stepSize = entry.filters?.find((filter) => filter.filterType === 'LOT_SIZE')?.stepSize
  return {
    id: instrumentId(EXCHANGE, market.name, symbol),
    exchange: EXCHANGE,
    market: market.name,
    symbol,
    priceScale: scaleOf(tickSize) ?? entry.pricePrecision ?? entry.quotePrecision ?? 8,
    quantityScale: scaleOf(stepSize) ?? entry.quantityPrecision ?? entry.baseAssetPrecision ?? 8,
    status: entry.status ?? entry.contractStatus ?? 'UNKNOWN',
    ...(entry.contractSize === undefined ? {} : { contractSize: String(entry.contractSize) }),
  }
}

/**
 * Digits after the point once trailing zeros are gone: `0.00000100` → 6, `1` → 0, `10` → 0.
 * @returns undefined for a size of zero (the venue's word for "no rule") and for what is not a plain decimal.
 */
export function scaleOf(size: string | undefined): number | undefined {
  const match = size === undefined ? null : /^(\d+)(?:\.(\d+))?$/.exec(size)
  if (match === null) return undefined
  const digits = (match[2] ?? '').replace(/0+$/, '')
  return digits === '' && /^0+$/.test(match[1] as string) ? undefined : digits.length
}

function parse(body: string, what: string): object {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // falls through to the fault below
  }
  throw new Fault('BAD_ANSWER', `${what}: the answer is not a JSON object: ${body.slice(0, 80)}`)
}
