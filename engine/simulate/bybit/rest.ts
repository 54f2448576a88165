/** REST paths of Bybit v5: "Market". Every request weighs one. */
import type { Desk } from '../desk.ts'
import { figures, priceText, quantityText } from '../desk.ts'
import { decimalText } from '../digits.ts'
import type { RestCall, RestRoute } from '../protocol.ts'
import type { Answer, Listed } from '../rest-source.ts'
import { ok } from '../rest-source.ts'

const PERIOD_MS = 300_000
const RECENT_MAX = 1000

export function route(call: RestCall): RestRoute | null {
  const answers: Readonly<Record<string, () => Answer>> = {
    '/v5/market/time': () =>
      result(call, { timeSecond: String(Math.floor(call.nowMs / 1000)), timeNano: `${call.nowMs}123456` }),
    '/v5/market/instruments-info': () => instruments(call),
    '/v5/market/tickers': () => tickers(call),
    '/v5/market/recent-trade': () => recentTrades(call),
    '/v5/market/account-ratio': () => ratios(call),
  }
  const answer = answers[call.path]
  return answer === undefined ? null : { weight: 1, answer }
}

export const restHeaders = (): Readonly<Record<string, string>> => ({})

export function refusal(): Answer {
  return { status: 403, body: '{"retCode":10006,"retMsg":"access too frequent","result":{},"retExtInfo":{}}' }
}

function result({ nowMs }: RestCall, value: unknown): Answer {
  return ok(JSON.stringify({ retCode: 0, retMsg: 'OK', result: value, retExtInfo: {}, time: nowMs }))
}

function bad({ nowMs }: RestCall, retMsg: string): Answer {
  return ok(JSON.stringify({ retCode: 10001, retMsg, result: {}, retExtInfo: {}, time: nowMs }))
}

/** The category names the market; symbols of spot and linear are the same. */
function desksOf(call: RestCall): Desk[] {
  const source = call.source(call.query.get('category') ?? '')
  return source?.listings().flatMap(({ listing }) => source.desk(listing.symbol) ?? []) ?? []
}

function instruments(call: RestCall): Answer {
  const category = call.query.get('category') ?? ''
  const source = call.source(category)
  if (source === undefined) return bad(call, 'Illegal category')
  const list = source.listings().map(category === 'spot' ? spotEntry : contractEntry)
  return result(call, { category, list, nextPageCursor: '' })
}

const tickSize = ({ listing, finerDigits }: Listed): string =>
  decimalText(
    listing.tickMantissa,
    listing.priceScale + finerDigits,
    Math.max(listing.priceDecimals, listing.priceScale + finerDigits),
  )
const lotSize = ({ listing }: Listed): string =>
  decimalText(listing.stepMantissa, listing.quantityScale, listing.quantityDecimals)

function spotEntry(listed: Listed): unknown {
  const { symbol, base, quote } = listed.listing
  return {
    symbol,
    baseCoin: base,
    quoteCoin: quote,
    innovation: '0',
    status: listed.state === 'trading' ? 'Trading' : 'Closed',
    marginTrading: 'utaOnly',
    lotSizeFilter: { basePrecision: lotSize(listed), quotePrecision: '0.0000001', minOrderQty: lotSize(listed) },
    priceFilter: { tickSize: tickSize(listed) },
  }
}

function contractEntry(listed: Listed): unknown {
  const { symbol, base, quote, settle, market, priceDecimals } = listed.listing
  return {
    symbol,
    contractType: market === 'linear' ? 'LinearPerpetual' : 'InversePerpetual',
    status: listed.state === 'trading' ? 'Trading' : 'Closed',
    baseCoin: base,
    quoteCoin: quote,
    launchTime: '1585526400000',
    deliveryTime: '0',
    deliveryFeeRate: '',
    priceScale: String(priceDecimals),
    priceFilter: { minPrice: tickSize(listed), maxPrice: '1999999', tickSize: tickSize(listed) },
    lotSizeFilter: { maxOrderQty: '1000000', minOrderQty: lotSize(listed), qtyStep: lotSize(listed) },
    fundingInterval: 480,
    settleCoin: settle,
  }
}

function tickers(call: RestCall): Answer {
  const symbol = call.query.get('symbol')
  const desks = desksOf(call).filter(({ instrument }) => symbol === null || instrument.listing.symbol === symbol)
  const list = desks.map((desk) => {
    const now = figures(desk, call.nowMs)
    return {
      symbol: desk.instrument.listing.symbol,
      lastPrice: now.last,
      bid1Price: now.bid,
      ask1Price: now.ask,
      highPrice24h: now.high,
      lowPrice24h: now.low,
      turnover24h: now.turnover,
      volume24h: now.volume,
    }
  })
  return result(call, { category: call.query.get('category'), list })
}

/** "Get Recent Public Trades": the newest first; they can not be asked for by number. */
function recentTrades(call: RestCall): Answer {
  const category = call.query.get('category') ?? ''
  const symbol = call.query.get('symbol') ?? ''
  const source = call.source(category)
  const desk = source?.desk(symbol)
  if (source === undefined || desk === undefined) return bad(call, 'params error: symbol invalid')
  const limit = Math.min(RECENT_MAX, Math.max(1, Number(call.query.get('limit') ?? 500) || 500))
  const list = (source.trades(symbol, limit, null) ?? [])
    .reverse()
    .map(({ id, price, quantity, timeMs, buyerIsMaker }) => ({
      execId: category === 'spot' ? `2290000000${id}` : `5f000000-0000-4000-8000-000${id}`,
      symbol,
      price: priceText(desk, price),
      size: quantityText(desk, quantity),
      side: buyerIsMaker ? 'Sell' : 'Buy',
      time: String(timeMs),
      isBlockTrade: false,
    }))
  return result(call, { category, list })
}

/** "Get Long Short Ratio": newest first. */
function ratios(call: RestCall): Answer {
  const symbol = call.query.get('symbol') ?? ''
  if (call.source(call.query.get('category') ?? '')?.desk(symbol) === undefined) return bad(call, 'symbol invalid')
  const limit = Math.min(500, Math.max(1, Number(call.query.get('limit') ?? 50) || 50))
  const last = call.nowMs - (call.nowMs % PERIOD_MS)
  const list = Array.from({ length: limit }, (_, index) => {
    const time = last - index * PERIOD_MS
    const buy = 4000 + ((time / PERIOD_MS) % 1999)
    return {
      symbol,
      buyRatio: (buy / 10_000).toFixed(4),
      sellRatio: ((10_000 - buy) / 10_000).toFixed(4),
      timestamp: String(time),
    }
  })
  return result(call, { list, nextPageCursor: '' })
}
