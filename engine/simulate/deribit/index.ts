/**
 * Deribit as it is simulated: one host, JSON-RPC 2.0. Pages: "Notifications", "Rate Limits" (32 connections an address,
 * subscribes 3.3 a second and 10 at once, 10028 ends the session), "public/set_heartbeat".
 */
import type { Desk } from '../desk.ts'
import { levelsText } from '../messages.ts'
import type { Protocol } from '../protocol.ts'
import type { EventKind, StreamName, VenueMarket } from '../venue.ts'
import { answer, beat } from './control.ts'
import { listing, marketOf } from './listings.ts'
import { refusal, restHeaders, route } from './rest.ts'
import { chart, notification, speak, TIMED, ticker } from './timed.ts'

const HOST: Omit<VenueMarket, 'name'> = {
  streamsMax: 100_000,
  messagesPerSecondMax: 20,
  connectsMax: Number.POSITIVE_INFINITY,
  connectWindowMs: 60_000,
  connectionsMax: 32,
  weightPerMinuteMax: 600_000, // credits: 10,000 come back a second
  pingIntervalMs: 0,
  pongDeadlineMs: 0,
}

const HEAD = '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"$n","data":'
const SHAPES: Readonly<Record<EventKind, string>> = {
  depth: `${HEAD}{"timestamp":%E,"type":"change","change_id":%u,"instrument_name":"$s","bids":[%x],"asks":[%y],"prev_change_id":%v}}}`,
  bookTicker: `${HEAD}{"timestamp":%E,"instrument_name":"$s","best_ask_price":%a,"best_bid_price":%b,"best_ask_amount":%A,"best_bid_amount":%B}}}`,
  trade: `${HEAD}[{"timestamp":%T,"price":%p,"amount":%q,"direction":"%d","index_price":%p,"instrument_name":"$s","trade_seq":%i,"mark_price":%p,"tick_direction":0,"starbase_match_id":225046781%i,"trade_id":"@id@%i","contracts":%k,"starbase_timestamp":%T000042}]}}`,
  aggTrade: '',
}

/** Trades of other books than BTC's have ids that name the currency. */
const tradeId = (base: string): string => (base === 'BTC' ? '' : `${base}-`)

export const DERIBIT: Protocol = {
  exchange: 'deribit',
  markets: Object.fromEntries(
    ['perpetual', 'future', 'option', 'spot', 'index'].map((name) => [name, { name, ...HOST } satisfies VenueMarket]),
  ),
  sharesHost: true,
  levelForm: 'action',
  skipsUnknownDeletes: true,
  aggregatesAreNumberedByFills: false,
  bookLevelsMax: Number.POSITIVE_INFINITY,
  keepAliveMs: 0,
  resets: false,
  listing,
  shape: (kind, _stream, { base }) => SHAPES[kind].replace('@id@', tradeId(base)),
  entry: (url) => (url.pathname === '/ws/api/v2' ? { path: 'all', combined: false, streams: [] } : null),
  parseStream,
  isServed: () => true,
  prefix: () => '',
  greeting: ({ kind, word }, name, desk, nowMs) => {
    if (kind === 'depth') return book(name, desk, nowMs)
    return word === 'ticker' ? ticker(name, desk, nowMs) : word === 'chart' ? chart(name, desk, nowMs, 0) : null
  },
  speak,
  keepAlive: () => null,
  resetMessage: () => null,
  answer,
  beat,
  shutdownNotice: () => null,
  route,
  refusal,
  restHeaders,
}

const EVENT = /^(book|trades|ticker)\.([A-Z0-9_d-]+)\.(100ms|agg2)$/ // `raw` wants a login
const QUOTE = /^quote\.([A-Z0-9_d-]+)$/
const CHART = /^chart\.trades\.([A-Z0-9_d-]+)\.1$/
const INDEX = /^(deribit_price_index|deribit_volatility_index)\.([a-z0-9]+_[a-z]+)$/

function parseStream(name: string): StreamName | null {
  const [, word, symbol] = EVENT.exec(name) ?? INDEX.exec(name) ?? []
  const quoted = QUOTE.exec(name)?.[1]
  const charted = CHART.exec(name)?.[1]
  if (quoted !== undefined) return named(quoted, 'bookTicker', 'book_tickers', 'quote')
  if (charted !== undefined)
    return named(charted, 'timed', TIMED['chart']?.channel ?? '', 'chart', TIMED['chart']?.everyMs)
  if (word === undefined || symbol === undefined) return null
  if (word === 'book') return named(symbol, 'depth', 'book', word)
  if (word === 'trades') return named(symbol, 'trade', 'trades', word)
  const timed = TIMED[word]
  return timed === undefined ? null : named(symbol, 'timed', timed.channel, word, timed.everyMs)
}

function named(
  symbol: string,
  kind: StreamName['kind'],
  channel: string,
  word: string,
  everyMs = 1000,
): StreamName | null {
  const market = marketOf(symbol)
  return market === null ? null : { market, symbol, kind, channel, word, everyMs }
}

/** "book": "the first notification will contain the whole book". */
function book(name: string, desk: Desk, nowMs: number): string {
  const { instrument, ledger } = desk
  const side = (levels: ReadonlyMap<number, number> | undefined, isBid: boolean): string => {
    const sorted = [...(levels ?? [])].sort((left, right) => (isBid ? right[0] - left[0] : left[0] - right[0]))
    return levelsText(instrument.listing, 'action', sorted)
  }
  return notification(
    name,
    `{"timestamp":${nowMs},"type":"snapshot","change_id":${instrument.lastDepthId},"instrument_name":"${instrument.listing.symbol}","bids":[${side(ledger?.bids, true)}],"asks":[${side(ledger?.asks, false)}]}`,
  )
}
