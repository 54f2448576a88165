/** REST paths of Binance with their weights; the pages are those of the same names, spot, USD-M and COIN-M. */
import { decimalText } from '../digits.ts'
import { figures } from '../desk.ts'
import type { Desk } from '../desk.ts'
import type { Listing } from '../instrument.ts'
import type { RestCall, RestRoute } from '../protocol.ts'
import type { Answer, RestSource, RestTrade } from '../rest-source.ts'
import { ok } from '../rest-source.ts'
import { symbolEntry } from './rest-bodies.ts'

const PATHS: Readonly<Record<string, string>> = { spot: '/api/v3', usdm: '/fapi/v1', coinm: '/dapi/v1' }
const DEPTH_LIMIT_MAX = 5000
const FUTURES_DEPTH_LIMITS = [5, 10, 20, 50, 100, 500, 1000]
const TOO_MANY = -1003
const RATIO_PATHS = ['topLongShortPositionRatio', 'topLongShortAccountRatio', 'globalLongShortAccountRatio']
const RATIO_PERIOD_MS = 300_000

export function route(call: RestCall): RestRoute | null {
  const { path, market } = call
  const source = call.source(market)
  if (source === undefined) return null
  const base = PATHS[market] as string
  if (path.startsWith('/futures/data/') && market !== 'spot') return ratios(call, source, path.slice(14))
  if (!path.startsWith(`${base}/`)) return null
  const isSpot = market === 'spot'
  switch (path.slice(base.length + 1)) {
    case 'ping':
      return { weight: 1, answer: () => ok('{}') }
    case 'time':
      return { weight: 1, answer: () => ok(`{"serverTime":${call.nowMs}}`) }
    case 'exchangeInfo':
      return { weight: isSpot ? 20 : 1, answer: () => ok(JSON.stringify(exchangeInfo(call, source))) }
    case 'depth':
      return depth(call, source)
    case 'trades':
      return trades(call, source, isSpot ? 25 : 5, 'trades')
    case 'historicalTrades':
      return trades(call, source, isSpot ? 25 : 20, 'trades')
    case 'aggTrades':
      return trades(call, source, isSpot ? 4 : 20, 'orders')
    case 'ticker/24hr':
      return { weight: isSpot ? 80 : 40, answer: () => ok(JSON.stringify(tickers(call, source))) }
    case 'openInterest':
      return isSpot ? null : openInterest(call, source)
    default:
      return null
  }
}

export const restHeaders = (weight: number): Readonly<Record<string, string>> => ({
  'X-MBX-USED-WEIGHT': String(weight),
  'X-MBX-USED-WEIGHT-1M': String(weight),
})

export function refusal(status: 429 | 418, waitMs: number, call: { nowMs: number; weightMax: number }): Answer {
  const msg =
    status === 429
      ? `Too many requests; current limit is ${call.weightMax} request weight per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.`
      : `Way too much request weight used; IP banned until ${Math.round(call.nowMs + waitMs)}. Please use WebSocket Streams for live updates to avoid bans.`
  return { status, body: JSON.stringify({ code: TOO_MANY, msg }) }
}

function exchangeInfo({ market, nowMs, weightMax }: RestCall, source: RestSource): unknown {
  return {
    timezone: 'UTC',
    serverTime: nowMs,
    rateLimits: [{ rateLimitType: 'REQUEST_WEIGHT', interval: 'MINUTE', intervalNum: 1, limit: weightMax }],
    exchangeFilters: [],
    ...(market === 'usdm' ? { futuresType: 'U_MARGINED' } : {}),
    symbols: source.listings().map(symbolEntry),
  }
}

/** @returns the weight of one depth request, or null when the venue refuses the limit. */
export function depthWeight(market: string, limit: number): number | null {
  if (!Number.isInteger(limit) || limit < 1) return null
  if (market === 'spot') {
    if (limit <= 100) return 5
    if (limit <= 500) return 25
    return limit <= 1000 ? 50 : 250 // more than 5000 is answered with 5000
  }
  if (!FUTURES_DEPTH_LIMITS.includes(limit)) return null
  if (limit <= 50) return 2
  if (limit === 100) return 5
  return limit === 500 ? 10 : 20
}

function depth({ query, market, stale }: RestCall, source: RestSource): RestRoute {
  const symbol = query.get('symbol')
  if (symbol === null) return refuseParameter('symbol')
  const limit = Number(query.get('limit') ?? (market === 'spot' ? 100 : 500))
  const weight = depthWeight(market, limit)
  if (weight === null) return bad(-4021, `'${limit}' is not valid depth limit.`)
  return {
    weight,
    answer: async () => {
      const body = stale(symbol) ?? (await source.depth(symbol, Math.min(limit, DEPTH_LIMIT_MAX)))
      return body === undefined ? bad(-1121, 'Invalid symbol.').answer() : ok(body)
    },
  }
}

function trades(
  { query, market }: RestCall,
  source: RestSource,
  weight: number,
  which: 'trades' | 'orders',
): RestRoute {
  const symbol = query.get('symbol')
  if (symbol === null) return refuseParameter('symbol')
  const limit = Math.min(1000, Math.max(1, Number(query.get('limit') ?? 500) || 500))
  const fromText = query.get('fromId')
  return {
    weight,
    answer: () => {
      const found = source[which](symbol, limit, fromText === null ? null : Number(fromText))
      const listing = source.desk(symbol)?.instrument.listing
      if (found === undefined) return bad(-1121, 'Invalid symbol.').answer()
      if (listing === undefined) return ok('[]')
      const body = which === 'orders' ? aggTrade : plainTrade
      return ok(JSON.stringify(found.map((trade) => body(trade, listing, market === 'spot'))))
    },
  }
}

const priceOf = ({ price }: RestTrade, { priceScale, priceDecimals }: Listing): string =>
  decimalText(price, priceScale, priceDecimals)
const quantityOf = ({ quantity }: RestTrade, { quantityScale, quantityDecimals }: Listing): string =>
  decimalText(quantity, quantityScale, quantityDecimals)

function plainTrade(trade: RestTrade, listing: Listing, isSpot: boolean): unknown {
  const plain = {
    id: trade.id,
    price: priceOf(trade, listing),
    qty: quantityOf(trade, listing),
    time: trade.timeMs,
    isBuyerMaker: trade.buyerIsMaker,
  }
  return isSpot ? { ...plain, isBestMatch: true } : plain
}

function aggTrade(trade: RestTrade, listing: Listing, isSpot: boolean): unknown {
  return {
    a: trade.id,
    p: priceOf(trade, listing),
    q: quantityOf(trade, listing),
    f: trade.firstTradeId,
    l: trade.lastTradeId,
    T: trade.timeMs,
    m: trade.buyerIsMaker,
    ...(isSpot ? { M: true } : {}),
  }
}

function tickers({ query, nowMs, market }: RestCall, source: RestSource): unknown {
  const symbol = query.get('symbol')
  const desks = source.listings().flatMap(({ listing }) => source.desk(listing.symbol) ?? [])
  const entries = desks.filter(({ instrument }) => symbol === null || instrument.listing.symbol === symbol)
  const rows = entries.map((desk) => tickerEntry(desk, nowMs, market))
  return symbol === null ? rows : (rows[0] ?? {})
}

function tickerEntry(desk: Desk, nowMs: number, market: string): Record<string, unknown> {
  const now = figures(desk, nowMs)
  return {
    symbol: desk.instrument.listing.symbol,
    ...(market === 'coinm' ? { pair: desk.instrument.listing.pair } : {}),
    lastPrice: now.last,
    lastQty: now.lastQuantity,
    openPrice: now.open,
    highPrice: now.high,
    lowPrice: now.low,
    volume: now.volume,
    ...(market === 'coinm' ? { baseVolume: now.turnover } : { quoteVolume: now.turnover }),
    openTime: nowMs - 86_400_000,
    closeTime: nowMs,
    count: now.fills,
  }
}

function openInterest({ query, nowMs, market }: RestCall, source: RestSource): RestRoute {
  const symbol = query.get('symbol') ?? ''
  const desk = source.desk(symbol)
  if (desk === undefined) return bad(-1121, 'Invalid symbol.')
  const { pair } = desk.instrument.listing
  const extra = market === 'coinm' ? { pair, contractType: 'PERPETUAL' } : {}
  return {
    weight: 1,
    answer: () =>
      ok(JSON.stringify({ symbol, ...extra, openInterest: figures(desk, nowMs).openInterest, time: nowMs - 40 })),
  }
}

/** USD-M names the symbol and shares of accounts; COIN-M the pair, and its position ratio shares of positions. */
function ratios({ query, nowMs, market }: RestCall, source: RestSource, name: string): RestRoute | null {
  if (!RATIO_PATHS.includes(name)) return null
  const isCoin = market === 'coinm'
  const whose = query.get(isCoin ? 'pair' : 'symbol') ?? ''
  const desk = source.desk(isCoin ? `${whose}_PERP` : whose)
  if (desk === undefined) return bad(-1121, 'Invalid symbol.')
  const limit = Math.min(500, Math.max(1, Number(query.get('limit') ?? 30)))
  const last = nowMs - (nowMs % RATIO_PERIOD_MS)
  const isPosition = name === 'topLongShortPositionRatio'
  const entry = (index: number): unknown => {
    const timestamp = last - (limit - 1 - index) * RATIO_PERIOD_MS
    const long = 4000 + ((timestamp / RATIO_PERIOD_MS) % 1999)
    const [longShare, shortShare] = [(long / 10_000).toFixed(4), ((10_000 - long) / 10_000).toFixed(4)]
    const shares =
      isCoin && isPosition
        ? { longPosition: longShare, shortPosition: shortShare }
        : { longAccount: longShare, shortAccount: shortShare }
    const longShortRatio = (long / (10_000 - long)).toFixed(4)
    return isCoin
      ? { pair: whose, longShortRatio, ...shares, timestamp }
      : { symbol: whose, ...shares, longShortRatio, timestamp }
  }
  return {
    weight: isCoin ? 1 : 0,
    answer: () => ok(JSON.stringify(Array.from({ length: limit }, (_, index) => entry(index)))),
  }
}

const bad = (code: number, msg: string): RestRoute => ({
  weight: 0,
  answer: () => ({ status: 400, body: JSON.stringify({ code, msg }) }),
})
const refuseParameter = (name: string): RestRoute =>
  bad(-1102, `Mandatory parameter '${name}' was not sent, was empty/null, or malformed.`)
