import type { ChannelLoad, Channel, FeedMarket } from '../exchange.ts'

/**
 * Deribit: hosts, limits and heartbeat of its five markets. Plain data; the page a value comes from stands beside it.
 * Pages (docs.deribit.com): LIMITS = "Rate Limits", CONNECTIONS = "Connection Management", HEARTBEAT =
 * "public/set_heartbeat", INSTRUMENTS = "public/get_instruments".
 */
export const EXCHANGE = 'deribit'

export type DeribitMarketName = 'perpetual' | 'future' | 'option' | 'spot' | 'index'

export interface DeribitMarket extends FeedMarket {
  readonly name: DeribitMarketName
  /** INSTRUMENTS: the venue's kind, of which a market may be a part; '' for indices, which are no instruments there */
  readonly kind: 'future' | 'option' | 'spot' | ''
}

/** One path for everything. */
export const ROUTE = 'v2'
export const REST_PATH = '/api/v2/public'

/** HEARTBEAT: at least 10 s. */
export const HEARTBEAT_INTERVAL_S = 10

/** LIMITS: requests that are no orders cost 500 of 50,000 credits, 10,000 come back a second; too many end the session. */
export const REQUEST_CREDITS = 500
const CREDITS_MAX = 50_000
const CREDITS_PER_SECOND = 10_000
/** Our ledger counts minutes and keeps apart only what is within a second of their turn. */
const LEDGER_GUARD_SECONDS = 2

/** CONNECTIONS: 32 an IP, HTTP requests count while they are open, the 33rd is answered 429. */
const CONNECTIONS_PER_IP = 32
/** So many are left for HTTP requests: instrument lists, repairs, the clock. */
const CONNECTIONS_FOR_REST = 4

/** INSTRUMENTS "currency": what a request for summaries can name; there is no word for all of them. */
export const CURRENCIES = ['BTC', 'ETH', 'USDC', 'USDT', 'EURR'] as const

/** "deribit_volatility_index.(index_name)": index identifiers supported for DVOL. */
export const VOLATILITY_INDEX_NAMES: readonly string[] = ['btc_usd', 'eth_usd']

function load(messagesPerSecond: number, wireBytes: number): ChannelLoad {
  return { messagesPerSecond, wireBytes }
}

/**
 * The interval of 100 ms bounds a busy instrument at 10 messages a second and channel. Bytes: recorded frames of 2026 (book
 * 430, trades 1,050 for three, ticker 720, quote 300); ten options of 2021 had 0.3 tickers a second each.
 */
const BUSY: Readonly<Partial<Record<Channel, ChannelLoad>>> = {
  book: load(10, 430),
  trades: load(2, 700),
  book_tickers: load(10, 300),
  klines: load(1, 220),
  tickers: load(10, 720),
}
const QUIET: Readonly<Partial<Record<Channel, ChannelLoad>>> = {
  book: load(1, 330),
  trades: load(0.1, 450),
  book_tickers: load(1, 300),
  klines: load(0.1, 220),
  tickers: load(0.5, 760),
}

const MARKET: Omit<DeribitMarket, 'name' | 'kind' | 'load'> = {
  wsBase: 'wss://www.deribit.com', // "JSON-RPC over WebSocket"; streams.deribit.com carries the same market data
  restBase: 'https://www.deribit.com',
  limits: {
    streamsPerConnectionMax: 500, // no page gives a number: public clients use as many
    // LIMITS: a subscribe costs 3,000 of 30,000 credits: 3.3 a second, 10 at once
    clientMessagesPerSecondMax: 3,
    // no page gives a number: never more attempts a minute than sockets may be open
    connectsMax: CONNECTIONS_PER_IP,
    connectsWindowMs: 60_000,
    connectionsMax: CONNECTIONS_PER_IP - CONNECTIONS_FOR_REST,
    connectionLifeMsMax: 0,
    // A ledger of minutes may spend two minutes' worth in the seconds around a turn, so a minute may not cost the 600,000
    // credits that come back in it: two of them must fit into the pool and what comes back meanwhile. 70 requests a minute.
    weightPerMinuteMax: (CREDITS_MAX + LEDGER_GUARD_SECONDS * CREDITS_PER_SECOND) / 2,
  },
  // HEARTBEAT: as often; after a test_request without an answer the venue closes
  heartbeat: {
    serverPingMs: 1000 * HEARTBEAT_INTERVAL_S,
    pongDeadlineMs: 1000 * HEARTBEAT_INTERVAL_S,
    unsolicitedPongMs: 0,
  },
  snapshotDepth: 0, // a book starts with the first message of its channel
  polls: [],
}

export const MARKETS: Readonly<Record<DeribitMarketName, DeribitMarket>> = {
  perpetual: { ...MARKET, name: 'perpetual', kind: 'future', load: BUSY },
  future: { ...MARKET, name: 'future', kind: 'future', load: BUSY },
  option: { ...MARKET, name: 'option', kind: 'option', load: QUIET },
  spot: { ...MARKET, name: 'spot', kind: 'spot', load: QUIET },
  // "deribit_price_index": a value a second and more, 190 bytes
  index: { ...MARKET, name: 'index', kind: '', load: { index_prices: load(2, 190), volatility_indices: load(1, 190) } },
}

const INDEX = /^[a-z0-9]+(?:-[a-z0-9]+)?_[a-z0-9]+$/
const SPOT = /^[A-Z0-9]+_[A-Z0-9]+$/
const ASSET = '[A-Z0-9]+(?:_[A-Z0-9]+)?'
const PERPETUAL = new RegExp(`^${ASSET}-PERPETUAL$`)
const EXPIRY = '\\d{1,2}(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)\\d{2}'
const FUTURE = new RegExp(`^${ASSET}-${EXPIRY}$`)
/** A strike below one is written `0d625`. */
const OPTION = new RegExp(`^${ASSET}-${EXPIRY}-\\d+(?:d\\d+)?-[CP]$`)

/**
 * The market of an instrument's name ("Naming conventions"). Combos (`BTC-FS-27DEC24_PERP`) are in none: their prices are
 * differences, which may be zero or negative, and no book of ours takes such levels; their trades also come as trades of
 * the legs.
 */
export function marketOf(symbol: string): DeribitMarketName | undefined {
  if (PERPETUAL.test(symbol)) return 'perpetual'
  if (FUTURE.test(symbol)) return 'future'
  if (OPTION.test(symbol)) return 'option'
  if (SPOT.test(symbol)) return 'spot'
  return INDEX.test(symbol) ? 'index' : undefined
}

/**
 * Perpetuals and futures on a coin alone (`BTC-PERPETUAL`) are inverse: amounts are in USD. Everything else, options
 * included, counts in the base currency ("amount" of every page).
 */
export function isInverse(symbol: string): boolean {
  return !symbol.includes('_') && (PERPETUAL.test(symbol) || FUTURE.test(symbol))
}
