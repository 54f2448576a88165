import { Fault } from '../../base/fault.ts'
import { type Instrument, type InstrumentKind, instrumentId } from '../exchange.ts'
import type { BinanceMarketName } from './endpoints.ts'

/** `exchangeInfo` → what each instrument is. Pages: SPOT, USDM, COINM "Exchange Information", "Common Definition". */

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
  readonly contractType?: string
  readonly contractSize?: number | string
  readonly deliveryDate?: number
  readonly pair?: string
  readonly baseAsset?: string
  readonly quoteAsset?: string
  readonly marginAsset?: string
  readonly pricePrecision?: number
  readonly quotePrecision?: number
  readonly quantityPrecision?: number
  readonly baseAssetPrecision?: number
  readonly filters?: readonly SymbolFilter[]
}

/** `deliveryDate` of what is never delivered: 2100-12-25. */
const NEVER_MS = 4_133_404_800_000
/** Up to its delivery or settlement a contract trades. */
const TRADING = new Set(['TRADING', 'PRE_DELIVERING', 'PRE_SETTLE'])
/** Orders may stand, nothing is matched: a listing to come, the auctions of spot. */
const PRE_OPEN = new Set(['PENDING_TRADING', 'PRE_TRADING', 'AUCTION_MATCH'])

export function readInstrument(market: BinanceMarketName, entry: SymbolEntry): Instrument {
  const { symbol } = entry
  if (typeof symbol !== 'string' || symbol === '') {
    throw new Fault('BAD_ANSWER', `exchangeInfo of ${EXCHANGE}.${market}: an entry has no symbol`)
  }
  const tickSize = entry.filters?.find((filter) => filter.filterType === 'PRICE_FILTER')?.tickSize
  const lotSize = entry.filters?.find((filter) => filter.filterType === 'LOT_SIZE')?.stepSize
  const status = entry.status ?? entry.contractStatus ?? 'UNKNOWN'
  return {
    id: instrumentId(EXCHANGE, market, symbol),
    exchange: EXCHANGE,
    market,
    symbol,
    priceScale: scaleOf(tickSize) ?? entry.pricePrecision ?? entry.quotePrecision ?? 8,
    quantityScale: scaleOf(lotSize) ?? entry.quantityPrecision ?? entry.baseAssetPrecision ?? 8,
    status,
    isTrading: TRADING.has(status),
    isPreOpen: PRE_OPEN.has(status),
    kind: market === 'spot' ? 'spot' : contractKind(entry),
    ...known('base', entry.baseAsset),
    ...known('quote', entry.quoteAsset),
    ...known('settle', entry.marginAsset),
    ...known('underlying', entry.pair),
    ...known('expiryMs', expiryMs(entry)),
    ...known('tickSize', tickSize),
    ...known('lotSize', lotSize),
    // COIN-M alone counts in contracts: 100 or 10 of the quote currency, USD. All others count in the base currency.
    ...known('contractSize', entry.contractSize === undefined ? undefined : String(entry.contractSize)),
    ...known('contractUnit', entry.contractSize === undefined ? undefined : entry.quoteAsset),
  }
}

/** Nothing where the venue says nothing. */
function known<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return value === undefined || value === '' ? {} : ({ [key]: value } as { [K in Key]?: Value })
}

/** PERPETUAL, PERPETUAL_DELIVERING, TRADIFI_PERPETUAL; CURRENT_QUARTER, NEXT_MONTH …; empty while it is not listed. */
function contractKind({ contractType = '', symbol = '', deliveryDate = 0 }: SymbolEntry): InstrumentKind {
  if (contractType.includes('PERPETUAL') || deliveryDate >= NEVER_MS) return 'perpetual'
  return /QUARTER|MONTH|WEEK/.test(contractType) || /_\d{6}$/.test(symbol) ? 'future' : 'other'
}

function expiryMs({ deliveryDate }: SymbolEntry): number | undefined {
  return deliveryDate === undefined || deliveryDate <= 0 || deliveryDate >= NEVER_MS ? undefined : deliveryDate
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

export function parse(body: string, what: string): object {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // falls through to the fault below
  }
  throw new Fault('BAD_ANSWER', `${what}: the answer is not a JSON object: ${body.slice(0, 80)}`)
}
