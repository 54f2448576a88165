/** REST paths of OKX. Pages: "Public Data", "Market Data", "Trading Statistics". Weights are requests. */
import type { Desk } from '../desk.ts'
import { figures, priceText, quantityText } from '../desk.ts'
import { trimmedText } from '../digits.ts'
import type { RestCall, RestRoute } from '../protocol.ts'
import type { Answer, Listed, RestSource } from '../rest-source.ts'
import { ok } from '../rest-source.ts'
import { marketOf } from './listings.ts'
import { instType } from './timed.ts'

const data = (rows: unknown): Answer => ok(JSON.stringify({ code: '0', msg: '', data: rows }))
const bad = (code: string, msg: string): Answer => ok(JSON.stringify({ code, msg, data: [] }))
const TRADES_MAX = 100
const PERIOD_MS = 300_000

export function route(call: RestCall): RestRoute | null {
  const { path, query, nowMs } = call
  const one = (answer: () => Answer): RestRoute => ({ weight: 1, answer })
  switch (path) {
    case '/api/v5/public/time':
      return one(() => data([{ ts: String(nowMs) }]))
    case '/api/v5/public/instruments':
      return one(() => instruments(call))
    case '/api/v5/market/tickers':
      return one(() => data(desksOf(call, query.get('instType')).map((desk) => ticker(desk, nowMs))))
    case '/api/v5/market/index-tickers':
      return one(() =>
        data(
          desksOf(call, 'INDEX')
            .filter(isQuoted(query.get('quoteCcy')))
            .map((desk) => indexTicker(desk, nowMs)),
        ),
      )
    case '/api/v5/market/history-trades':
      return one(() => trades(call))
    case '/api/v5/market/trades':
      return one(() => trades(call))
    case '/api/v5/rubik/stat/contracts/long-short-account-ratio-contract':
    case '/api/v5/rubik/stat/contracts/long-short-account-ratio-contract-top-trader':
    case '/api/v5/rubik/stat/contracts/long-short-position-ratio-contract-top-trader':
      return one(() => ratios(call))
    default:
      return null
  }
}

export const restHeaders = (): Readonly<Record<string, string>> => ({})

export function refusal(status: 429 | 418): Answer {
  return { status, body: JSON.stringify({ code: '50011', msg: 'Too Many Requests', data: [] }) }
}

function desksOf(call: RestCall, type: string | null): Desk[] {
  const source = call.source((type ?? '').toLowerCase())
  return source?.listings().flatMap(({ listing }) => source.desk(listing.symbol) ?? []) ?? []
}

const isQuoted =
  (quote: string | null) =>
  ({ instrument }: Desk): boolean =>
    quote === null || instrument.listing.quote === quote

function instruments({ query, source }: RestCall): Answer {
  const type = query.get('instType')
  const market = (type ?? '').toLowerCase()
  if (type === null || !['spot', 'swap', 'futures', 'option'].includes(market))
    return bad('51000', 'Parameter instType error')
  const family = query.get('instFamily') ?? query.get('uly')
  const found = source(market)?.listings() ?? []
  return data(found.filter(({ listing }) => family === null || listing.pair === family).map(entry))
}

function entry({ listing, state, finerDigits }: Listed): Record<string, string> {
  const isSpot = listing.kind === 'spot'
  const isLinear = listing.kind === 'perpetual'
  return {
    alias: '',
    baseCcy: isSpot ? listing.base : '',
    category: '1',
    ctMult: isSpot ? '' : '1',
    ctType: isSpot || listing.kind === 'option' ? '' : isLinear ? 'linear' : 'inverse',
    ctVal: listing.contractSize ?? '',
    ctValCcy: isSpot ? '' : listing.kind === 'future' ? 'USD' : listing.base,
    expTime: listing.expiryMs === undefined ? '' : String(listing.expiryMs),
    instFamily: isSpot ? '' : listing.pair,
    instId: listing.symbol,
    instType: instType(listing.market),
    lever: isSpot ? '' : '100',
    listTime: '1611916828000',
    lotSz: trimmedText(listing.stepMantissa, listing.quantityScale),
    minSz: trimmedText(listing.stepMantissa, listing.quantityScale),
    optType: listing.kind === 'option' ? listing.symbol.slice(-1) : '',
    quoteCcy: isSpot ? listing.quote : '',
    ruleType: 'normal',
    settleCcy: listing.settle ?? '',
    state: state === 'trading' ? 'live' : 'suspend',
    stk: listing.strike === undefined ? '' : String(listing.strike),
    tickSz: trimmedText(listing.tickMantissa, listing.priceScale + finerDigits),
    uly: isSpot ? '' : listing.pair,
  }
}

function ticker(desk: Desk, nowMs: number): Record<string, string> {
  const now = figures(desk, nowMs)
  const { symbol, market } = desk.instrument.listing
  return {
    instType: instType(market),
    instId: symbol,
    last: now.last,
    lastSz: now.lastQuantity,
    askPx: now.ask,
    askSz: now.askQuantity,
    bidPx: now.bid,
    bidSz: now.bidQuantity,
    open24h: now.open,
    high24h: now.high,
    low24h: now.low,
    volCcy24h: now.turnover,
    vol24h: now.volume,
    ts: String(nowMs),
  }
}

function indexTicker(desk: Desk, nowMs: number): Record<string, string> {
  const now = figures(desk, nowMs)
  const { symbol } = desk.instrument.listing
  return {
    instId: symbol,
    idxPx: now.index,
    high24h: now.high,
    sodUtc0: now.open,
    open24h: now.open,
    low24h: now.low,
    sodUtc8: now.open,
    ts: String(nowMs),
  }
}

/** "history-trades": `type=1` (default) by trade id, `after` = older than this, newest first, at most 100. One a fill. */
function trades({ query, source }: RestCall): Answer {
  const symbol = query.get('instId') ?? ''
  const of = source(marketOf(symbol) ?? '')
  const desk = of?.desk(symbol)
  if (of === undefined || desk === undefined) return bad('51001', "Instrument ID doesn't exist.")
  const limit = Math.min(TRADES_MAX, Math.max(1, Number(query.get('limit') ?? TRADES_MAX) || TRADES_MAX))
  const after = query.get('after')
  const before = query.get('before')
  const last = after === null ? desk.instrument.tradeId : Number(after) - 1
  const first = before === null ? last - limit + 1 : Math.max(Number(before) + 1, last - limit + 1)
  const found = (of as RestSource).trades(symbol, limit, first) ?? []
  return data(
    found
      .filter(({ id }) => id <= last)
      .reverse()
      .map(({ id, price, quantity, timeMs, buyerIsMaker }) => ({
        instId: symbol,
        side: buyerIsMaker ? 'sell' : 'buy',
        sz: quantityText(desk, quantity),
        source: '0',
        px: priceText(desk, price),
        tradeId: String(id),
        ts: String(timeMs),
      })),
  )
}

/** Newest first; `[ts, ratio]`. */
function ratios({ query, nowMs, source }: RestCall): Answer {
  const symbol = query.get('instId') ?? ''
  if (source(marketOf(symbol) ?? '')?.desk(symbol) === undefined) return bad('51001', "Instrument ID doesn't exist.")
  const last = nowMs - (nowMs % PERIOD_MS)
  const limit = Math.min(100, Math.max(1, Number(query.get('limit') ?? 100) || 100))
  return data(
    Array.from({ length: limit }, (_, index) => {
      const time = last - index * PERIOD_MS
      return [String(time), (0.8 + ((time / PERIOD_MS) % 997) / 1000).toFixed(4)]
    }),
  )
}
