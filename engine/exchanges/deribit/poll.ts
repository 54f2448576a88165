import { Fault } from '../../base/fault.ts'
import type { TradeChannel } from '../../record/emit.ts'
import type { RestRequest } from '../exchange.ts'
import { CURRENCIES, type DeribitMarket, EXCHANGE, REQUEST_CREDITS, REST_PATH } from './endpoints.ts'

/** What only REST has: turnovers, trades by number, the venue's clock. Lists of instruments: instruments.ts. */

/** "public/get_last_trades_by_instrument": count, at most. */
const TRADES_PER_ANSWER_MAX = 1000

function request(method: string, parameters: Readonly<Record<string, string | number>> = {}): RestRequest {
  const query = Object.entries(parameters)
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    .join('&')
  return { path: `${REST_PATH}/${method}${query === '' ? '' : `?${query}`}`, weight: REQUEST_CREDITS }
}

/**
 * "public/get_instruments": every currency in one answer. It has credits of its own (1 request a second, 50 at once),
 * which we never come near; here it costs what any request does.
 * "public/get_index_price_names": indices are in no list of instruments.
 */
export function instrumentsRequest(market: DeribitMarket): RestRequest {
  if (market.kind === '') return request('get_index_price_names')
  return request('get_instruments', { currency: 'any', kind: market.kind, expired: 'false' })
}

/** "public/get_book_summary_by_currency": one currency an answer. An index has no turnover, so none is asked for. */
export function volumesRequests(market: DeribitMarket): readonly RestRequest[] {
  const { kind } = market
  if (kind === '') return []
  return CURRENCIES.map((currency) => request('get_book_summary_by_currency', { currency, kind }))
}

/** `volume_usd`: "volume in USD", so instruments of all currencies compare. */
export function readVolumes(body: string): ReadonlyMap<string, number> {
  const entries = answer(body, 'get_book_summary_by_currency')
  if (!Array.isArray(entries)) throw new Fault('BAD_ANSWER', `get_book_summary_by_currency of ${EXCHANGE}: no list`)
  return new Map(
    (entries as { instrument_name?: unknown; volume_usd?: unknown }[]).map((entry) => [
      String(entry.instrument_name),
      Number(entry.volume_usd ?? 0),
    ]),
  )
}

/** "public/get_last_trades_by_instrument": both ends inclusive, by trade_seq. */
export function tradesRequest(
  symbol: string,
  channel: TradeChannel,
  firstSeq: number,
  lastSeq: number,
): RestRequest | undefined {
  if (channel !== 'trades') return undefined
  return request('get_last_trades_by_instrument', {
    instrument_name: symbol,
    start_seq: firstSeq,
    end_seq: lastSeq,
    count: Math.min(TRADES_PER_ANSWER_MAX, lastSeq - firstSeq + 1),
    sorting: 'asc',
  })
}

/** "public/get_time" */
export function serverTimeRequest(): RestRequest {
  return request('get_time')
}

export function readServerTime(body: string): number {
  const time = answer(body, 'get_time')
  if (typeof time !== 'number' || !Number.isSafeInteger(time))
    throw new Fault('BAD_ANSWER', `get_time of ${EXCHANGE}: no time in the answer`)
  return time
}

/** What is under `result`. */
function answer(body: string, what: string): unknown {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'object' && value !== null && 'result' in value) return value.result
  } catch {
    // falls through to the fault below
  }
  throw new Fault('BAD_ANSWER', `${what} of ${EXCHANGE}: no result in the answer: ${body.slice(0, 80)}`)
}
