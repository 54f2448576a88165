import type { KlineInterval, RATIO_PERIODS } from '../../record/schema-kinds.ts'
import type { Channel, ChannelLoad, FeedLimits, FeedMarket, Heartbeat } from '../exchange.ts'

/**
 * OKX: hosts, limits and heartbeat, the same for its five markets. Plain data; the page a value comes from stands beside
 * it. Pages: OVERVIEW = "OKX API v5 guide: Overview (Production trading services, WebSocket: Connect, Subscribe,
 * Notification)", MARKET = "Order Book Trading: Market Data", PUBLIC = "Public Data", STATISTICS = "Trading Statistics".
 */

export const EXCHANGE = 'okx'

export type OkxMarketName = 'spot' | 'swap' | 'futures' | 'option' | 'index'
/** The venue's word for a market, `instType`; an index is no instrument type. */
export type InstrumentType = 'SPOT' | 'SWAP' | 'FUTURES' | 'OPTION' | 'INDEX'

export interface OkxMarket extends FeedMarket {
  readonly name: OkxMarketName
  readonly instType: InstrumentType
  readonly channels: readonly Channel[]
}

/** MARKET, Order book channel: `books` is public; the other two want a login and a high tier. */
export const BOOK_STREAMS = ['books', 'books-l2-tbt', 'books50-l2-tbt'] as const
export type BookStream = (typeof BOOK_STREAMS)[number]
export const PUBLIC_BOOK_STREAM: BookStream = 'books'

/** MARKET, Trades channel (one message a taker order and price) and All trades channel (one a match). */
export type TradeStream = 'trades' | 'trades-all'

/** The last part of the socket's path. OVERVIEW, Production trading services; MARKET, Candlesticks and All trades channel. */
export const PUBLIC_ROUTE = 'public'
export const BUSINESS_ROUTE = 'business'

/** MARKET, Candlesticks channel: the channel is `candle` and this word; bars of a day and more begin at 0 h UTC. */
export const KLINE_WORDS: Readonly<Partial<Record<KlineInterval, string>>> = {
  '1s': '1s',
  '1m': '1m',
  '3m': '3m',
  '5m': '5m',
  '15m': '15m',
  '30m': '30m',
  '1h': '1H',
  '2h': '2H',
  '4h': '4H',
  '6h': '6Hutc',
  '12h': '12Hutc',
  '1d': '1Dutc',
  '2d': '2Dutc',
  '3d': '3Dutc',
  '1w': '1Wutc',
  '1M': '1Mutc',
  '3M': '3Mutc',
}

/** STATISTICS, long/short ratios of a contract: the word of the parameter `period`. */
export const PERIOD_WORDS = { '5m': '5m', '15m': '15m', '30m': '30m', '1h': '1H', '4h': '4H', '1d': '1Dutc' } as const
export type RatioPeriod = keyof typeof PERIOD_WORDS & keyof typeof RATIO_PERIODS

/** PUBLIC, Get instruments: "If instType is OPTION, either uly or instFamily is required": one request each. */
export const OPTION_UNDERLYINGS: readonly string[] = ['BTC-USD', 'ETH-USD']
/** MARKET, Get index tickers: "Currently there is only an index with USD/USDT/BTC/USDC as the quote currency": one request each. */
export const INDEX_QUOTES: readonly string[] = ['USDT', 'USD', 'USDC', 'BTC']

const LIMITS: FeedLimits = {
  streamsPerConnectionMax: 240, // no page gives a number; half of the requests of an hour, were each asked for alone
  booksPerConnectionMax: 29, // MARKET, Order book channel: several connections, "each with less than 30 channels"
  clientMessagesPerSecondMax: 5, // no page gives a number; 60014 says when it was too many
  subscribesPerHourMax: 480, // OVERVIEW, WebSocket Connect: subscribe, unsubscribe and login of one connection
  connectsMax: 3, // OVERVIEW, WebSocket Connect: "3 requests per second (based on IP)"
  connectsWindowMs: 1_000,
  connectionLifeMsMax: 0, // none documented: the notice 64008 comes 60 s ahead of a planned end
  // No budget of its own: each endpoint has N requests in 2 s (WEIGHTS below). 600 is 20 in 2 s.
  weightPerMinuteMax: 600,
  weightWindowMs: 2_000,
}

/** REST weights such that each endpoint alone keeps to its own limit when all of `weightPerMinuteMax` is spent on it. */
export const WEIGHTS = {
  instruments: 1, // PUBLIC, Get instruments: 20 requests in 2 s
  tickers: 1, // MARKET, Get tickers: 20 in 2 s
  indexTickers: 1, // MARKET, Get index tickers: 20 in 2 s
  historyTrades: 1, // MARKET, Get trades history: 20 in 2 s
  time: 2, // PUBLIC, Get system time: 10 in 2 s
  ratios: 4, // STATISTICS, long/short ratios: 5 in 2 s
} as const

/** OVERVIEW, WebSocket Connect: without a push for 30 s the venue closes; a `ping` in time is answered by `pong`. */
const HEARTBEAT: Heartbeat = { serverPingMs: 0, pongDeadlineMs: 30_000, unsolicitedPongMs: 0, clientPingMs: 20_000 }

function load(messagesPerSecond: number, wireBytes: number): ChannelLoad {
  return { messagesPerSecond, wireBytes }
}

const TRADED: readonly Channel[] = ['book', 'trades', 'book_tickers', 'klines', 'tickers']
const CONTRACTS: readonly Channel[] = [...TRADED, 'mark_prices', 'open_interests', 'liquidations']

const SHARED = {
  wsBase: 'wss://ws.okx.com:8443', // OVERVIEW, Production trading services
  restBase: 'https://www.okx.com', // OVERVIEW, Production trading services
  limits: LIMITS,
  heartbeat: HEARTBEAT,
  snapshotDepth: 0, // books start in the stream
  polls: [],
  load: {
    book: load(10, 900), // every 100 ms; 9 a second and instrument in a capture of 2022, 880 bytes
    trades: load(7, 190), // the busiest spot pair of that capture
    book_tickers: load(20, 160),
    klines: load(2, 180),
    tickers: load(3, 400),
    mark_prices: load(5, 130), // PUBLIC, Mark price channel: every 200 ms when it changes
    index_prices: load(10, 200), // PUBLIC, Index tickers channel: every 100 ms when it changes
    funding_rates: load(0.03, 500), // PUBLIC, Funding rate channel: every 30 to 90 s
    open_interests: load(0.33, 200), // PUBLIC, Open interest channel: every 3 s when it changes
    liquidations: load(1, 250),
  },
} as const

export const MARKETS: Readonly<Record<OkxMarketName, OkxMarket>> = {
  spot: { ...SHARED, name: 'spot', instType: 'SPOT', channels: TRADED },
  swap: { ...SHARED, name: 'swap', instType: 'SWAP', channels: [...CONTRACTS, 'funding_rates'] },
  futures: { ...SHARED, name: 'futures', instType: 'FUTURES', channels: CONTRACTS },
  option: { ...SHARED, name: 'option', instType: 'OPTION', channels: CONTRACTS },
  index: { ...SHARED, name: 'index', instType: 'INDEX', channels: ['index_prices'] },
}

/**
 * The market of a symbol, by its form: `BTC-USDT` spot, `BTC-USDT-SWAP`, `BTC-USD-220527` futures, `BTC-USD-220527-42000-P`
 * option. Indices are spelt as spot pairs.
 */
export function marketOf(symbol: string): OkxMarketName | undefined {
  const parts = symbol.split('-')
  if (parts.length === 2) return 'spot'
  if (parts.length === 3)
    return parts[2] === 'SWAP' ? 'swap' : /^\d{6}$/.test(parts[2] as string) ? 'futures' : undefined
  return parts.length === 5 && /^[CP]$/.test(parts[4] as string) ? 'option' : undefined
}

/** The market of a channel that says more than its symbols: the word of an index is that of a spot pair. */
export function marketOfChannel(channel: string): OkxMarketName | undefined {
  return channel === 'index-tickers' ? 'index' : undefined
}
