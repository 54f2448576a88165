/** REST paths of Deribit: `/api/v2/public/…`, 500 credits each. */
import type { Desk } from '../desk.ts'
import { figures, priceText, quantityText } from '../desk.ts'
import { bareText } from '../digits.ts'
import type { RestCall, RestRoute } from '../protocol.ts'
import type { Answer, Listed } from '../rest-source.ts'
import { ok } from '../rest-source.ts'
import { marketOf } from './listings.ts'
import { bare } from './timed.ts'

const CREDITS = 500
const TRADES_MAX = 1000
/** `get_instruments` says "future" of perpetuals, too. */
const MARKETS_OF_KIND: Readonly<Record<string, readonly string[]>> = {
  future: ['perpetual', 'future'],
  option: ['option'],
  spot: ['spot'],
}

export function route(call: RestCall): RestRoute | null {
  const method = /^\/api\/v2\/public\/([a-z_]+)$/.exec(call.path)?.[1]
  const answers: Readonly<Record<string, () => Answer>> = {
    test: () => result('{"version":"1.2.26"}'),
    get_time: () => result(String(call.nowMs)),
    get_instruments: () => instruments(call),
    get_index_price_names: () => result(JSON.stringify(listed(call, ['index']).map(({ listing }) => listing.symbol))),
    get_book_summary_by_currency: () => summaries(call),
    get_last_trades_by_instrument: () => trades(call),
  }
  const answer = answers[method ?? '']
  return answer === undefined ? null : { weight: CREDITS, answer }
}

export const restHeaders = (): Readonly<Record<string, string>> => ({})

export function refusal(status: 429 | 418): Answer {
  return { status, body: '{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028},"testnet":true}' }
}

const result = (value: string): Answer =>
  ok(`{"jsonrpc":"2.0","result":${value},"usIn":1700000000000000,"usOut":1700000000000100,"usDiff":100,"testnet":true}`)
const bad = (message: string): Answer => ({
  status: 400,
  body: `{"jsonrpc":"2.0","error":{"message":"${message}","code":-32602},"testnet":true}`,
})

function listed({ source }: RestCall, markets: readonly string[]): Listed[] {
  return markets.flatMap((market) => source(market)?.listings() ?? [])
}

function instruments(call: RestCall): Answer {
  const kind = call.query.get('kind')
  const currency = call.query.get('currency') ?? 'any'
  const markets = kind === null ? Object.values(MARKETS_OF_KIND).flat() : (MARKETS_OF_KIND[kind] ?? [])
  const found = listed(call, markets).filter(
    ({ listing }) => currency === 'any' || listing.base === currency || listing.settle === currency,
  )
  return result(`[${found.map(entry).join(',')}]`)
}

function entry({ listing, state, finerDigits }: Listed): string {
  const { kind, base, quote, settle, symbol, strike } = listing
  const step = bareText(listing.stepMantissa, listing.quantityScale)
  const isOption = kind === 'option'
  const isInverse = settle === base
  const option = isOption
    ? `"option_type":"${symbol.endsWith('C') ? 'call' : 'put'}","strike":${bareText(strike ?? 1, 0)},`
    : ''
  const period = kind === 'perpetual' ? 'perpetual' : kind === 'spot' ? '' : 'month'
  return `{"price_index":"${listing.pair}","kind":"${kind === 'perpetual' ? 'future' : kind}","instrument_name":"${symbol}",${option}"maker_commission":0.0,"taker_commission":5.0e-4,"instrument_type":"${isInverse ? 'reversed' : 'linear'}","expiration_timestamp":${listing.expiryMs ?? 32_503_708_800_000},"creation_timestamp":1534167754000,"is_active":${state === 'trading'},"tick_size":${bareText(listing.tickMantissa, listing.priceScale + finerDigits)},"contract_size":${step},"instrument_id":${124_972 + symbol.length},"min_trade_amount":${step},"settlement_currency":"${settle}",${period === '' ? '' : `"settlement_period":"${period}",`}"base_currency":"${base}","counter_currency":"USD","quote_currency":"${quote}","tick_size_steps":[]}`
}

/** "get_book_summary_by_currency" */
function summaries(call: RestCall): Answer {
  const markets = MARKETS_OF_KIND[call.query.get('kind') ?? 'future'] ?? []
  const currency = call.query.get('currency')
  const rows = listed(call, markets)
    .filter(({ listing }) => currency === null || (listing.settle ?? listing.base) === currency)
    .flatMap(({ listing }) => {
      const desk = call.source(listing.market)?.desk(listing.symbol)
      return desk === undefined ? [] : [summary(desk, call.nowMs)]
    })
  return result(`[${rows.join(',')}]`)
}

function summary(desk: Desk, nowMs: number): string {
  const now = figures(desk, nowMs)
  const { symbol, base, quote } = desk.instrument.listing
  return `{"high":${now.high},"low":${now.low},"last":${now.last},"instrument_name":"${symbol}","bid_price":${now.bid},"ask_price":${now.ask},"open_interest":${now.openInterest},"mark_price":${bare(now.mark)},"creation_timestamp":${nowMs},"price_change":-0.8525,"volume":${now.volume},"volume_usd":${bare(now.turnover)},"base_currency":"${base}","quote_currency":"${quote}","mid_price":${bare(now.mark)}}`
}

/** By `trade_seq`, both ends inclusive. */
function trades({ query, source }: RestCall): Answer {
  const symbol = query.get('instrument_name') ?? ''
  const of = source(marketOf(symbol) ?? '')
  const desk = of?.desk(symbol)
  if (of === undefined || desk === undefined) return bad('Invalid params')
  const count = Math.min(TRADES_MAX, Math.max(1, Number(query.get('count') ?? 10) || 10))
  const start = query.get('start_seq')
  const end = query.get('end_seq')
  const isAscending = query.get('sorting') === 'asc'
  const last = end === null ? desk.instrument.tradeId : Math.min(Number(end), desk.instrument.tradeId)
  const from = isAscending && start !== null ? Number(start) : Math.max(Number(start ?? 0), last - count + 1)
  const found = (of.trades(symbol, count, from) ?? []).filter(({ id }) => id <= last)
  if (!isAscending) found.reverse()
  const { base } = desk.instrument.listing
  const rows = found.map(({ id, price, quantity, timeMs, buyerIsMaker }) => {
    const priced = priceText(desk, price)
    return `{"timestamp":${timeMs},"price":${priced},"amount":${quantityText(desk, quantity)},"direction":"${buyerIsMaker ? 'sell' : 'buy'}","index_price":${priced},"instrument_name":"${symbol}","trade_seq":${id},"mark_price":${priced},"tick_direction":0,"starbase_match_id":225046781${id},"trade_id":"${base === 'BTC' ? '' : `${base}-`}${id}","starbase_timestamp":${timeMs}000042}`
  })
  const hasMore = isAscending ? (found.at(-1)?.id ?? last) < last : (found.at(-1)?.id ?? 0) > Number(start ?? 0)
  return result(`{"trades":[${rows.join(',')}],"has_more":${hasMore}}`)
}
