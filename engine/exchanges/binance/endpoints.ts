import type { KlineInterval } from '../../record/schema-kinds.ts'
import type { Channel, ChannelLoad, FeedMarket } from '../exchange.ts'

/**
 * Binance: hosts, limits and heartbeats of its three markets. Plain data; the page a value comes from stands beside it.
 * Pages: SPOT = "Spot API: WebSocket Streams / REST: Limits", USDM = "USDⓈ-M Futures: WebSocket Market Streams, Important
 * WebSocket Change Notice, General Info", COINM = "COIN-M Futures: WebSocket Market Streams, General Info".
 */

export type BinanceMarketName = 'spot' | 'usdm' | 'coinm'

/** Paths and words in which the markets differ. */
export interface BinanceMarket extends FeedMarket {
  readonly name: BinanceMarketName
  readonly restPath: string
  /** ms between two events of the diff depth stream; 0 as they happen */
  readonly depthSpeedMs: number
  /** the speed that the stream has when its name says none */
  readonly depthSpeedUnnamedMs: number
  /** URL class of each channel; one class per connection */
  readonly routes: Readonly<Partial<Record<Channel, string>>>
  /** weight of a depth snapshot: the first step whose `depthMax` is not below the depth asked for */
  readonly depthWeights: readonly { readonly depthMax: number; readonly weight: number }[]
  readonly exchangeInfoWeight: number
  /** bars to subscribe; each is a stream of its own */
  readonly klineIntervals: readonly KlineInterval[]
}

/** URL class without a name of its own: everything on one path. */
export const SINGLE_ROUTE = 'stream'
export const PUBLIC_ROUTE = 'public'
export const MARKET_ROUTE = 'market'

const DAY_MS = 86_400_000
const CONNECTS_WINDOW_MS = 300_000

// futures, no page gives a number: weights as used by public clients, 20 for 1000 confirmed by two of them
const FUTURES_DEPTH_WEIGHTS = [
  { depthMax: 50, weight: 2 },
  { depthMax: 100, weight: 5 },
  { depthMax: 500, weight: 10 },
  { depthMax: 1000, weight: 20 },
] as const

/** The three things that one stream carries: mark price, index price, funding rate. */
function markRoutes(route: string): Readonly<Partial<Record<Channel, string>>> {
  return { mark_prices: route, index_prices: route, funding_rates: route }
}

function load(messagesPerSecond: number, wireBytes: number): ChannelLoad {
  return { messagesPerSecond, wireBytes }
}

/** What the pages give as update speeds; liquidations are at most one a second and symbol, mostly none. */
const FUTURES_RARE_LOAD = {
  klines: load(4, 330), // USDM, Kline/Candlestick Streams: every 250 ms while it trades
  tickers: load(2, 350), // USDM, Individual Symbol Ticker Streams: every 500 ms
  mark_prices: load(1, 215), // USDM, Mark Price Stream, @1s
  liquidations: load(0.01, 230), // USDM, Liquidation Order Streams
} as const

export const SPOT: BinanceMarket = {
  name: 'spot',
  wsBase: 'wss://stream.binance.com:9443', // SPOT, General WSS information
  restBase: 'https://api.binance.com', // SPOT, REST General API Information
  restPath: '/api/v3',
  limits: {
    streamsPerConnectionMax: 1024, // SPOT, WebSocket Limits
    clientMessagesPerSecondMax: 5, // SPOT, WebSocket Limits: ping, pong and JSON all count
    connectsMax: 300, // SPOT, WebSocket Limits: per 5 minutes and IP
    connectsWindowMs: CONNECTS_WINDOW_MS,
    connectionLifeMsMax: DAY_MS, // SPOT, General WSS information
    weightPerMinuteMax: 6000, // SPOT, exchangeInfo.rateLimits
  },
  heartbeat: { serverPingMs: 20_000, pongDeadlineMs: 60_000, unsolicitedPongMs: 0 }, // SPOT, General WSS information
  snapshotDepth: 1000,
  depthSpeedMs: 100, // SPOT, Diff. Depth Stream: 1000 or 100
  depthSpeedUnnamedMs: 1000,
  routes: {
    book: SINGLE_ROUTE,
    trades: SINGLE_ROUTE,
    agg_trades: SINGLE_ROUTE,
    book_tickers: SINGLE_ROUTE,
    klines: SINGLE_ROUTE,
    tickers: SINGLE_ROUTE,
  },
  depthWeights: [
    { depthMax: 100, weight: 5 }, // SPOT, Order book
    { depthMax: 500, weight: 25 },
    { depthMax: 1000, weight: 50 },
    { depthMax: 5000, weight: 250 },
  ],
  polls: [],
  exchangeInfoWeight: 20, // SPOT, Exchange information
  klineIntervals: ['1m'],
  load: {
    book: load(10, 1290),
    trades: load(28, 170),
    agg_trades: load(14, 200),
    book_tickers: load(81, 147),
    klines: load(0.5, 330), // SPOT, Kline/Candlestick Streams: every 2 s while it trades
    tickers: load(1, 480), // SPOT, Individual Symbol Ticker Streams
  },
}

export const USDM: BinanceMarket = {
  name: 'usdm',
  wsBase: 'wss://fstream.binance.com', // USDM, Important WebSocket Change Notice
  restBase: 'https://fapi.binance.com', // USDM, General Info
  // COINM, "Important Notice: COIN-M / USDⓈ-M Architecture Integration" of 2026-06-30, A.3: "Requests on either fapi or dapi
  // count against the same X-MBX-USED-WEIGHT-1M counter". `COINM` below is a copy with other hosts.
  weightPool: 'futures',
  restPath: '/fapi/v1',
  limits: {
    streamsPerConnectionMax: 200, // the newest page says 1024, older ones and clients 200: the safe one
    clientMessagesPerSecondMax: 10, // USDM, WebSocket Market Streams
    connectsMax: 300, // no page gives a number: spot's
    connectsWindowMs: CONNECTS_WINDOW_MS,
    connectionLifeMsMax: DAY_MS, // USDM, WebSocket Market Streams
    weightPerMinuteMax: 2400, // USDM, exchangeInfo.rateLimits
  },
  heartbeat: { serverPingMs: 180_000, pongDeadlineMs: 600_000, unsolicitedPongMs: 300_000 }, // USDM, WebSocket Market Streams
  snapshotDepth: 1000,
  depthSpeedMs: 0, // used by public clients; USDM, Diff. Book Depth Streams lists 100, 250, 500
  depthSpeedUnnamedMs: 250,
  // USDM, Important WebSocket Change Notice. `trade` is on no page: one public client takes it from /public and tests
  // that live, another asks /market; it is an option (tradeRoute).
  routes: {
    book: PUBLIC_ROUTE,
    trades: PUBLIC_ROUTE,
    agg_trades: MARKET_ROUTE,
    book_tickers: PUBLIC_ROUTE,
    klines: MARKET_ROUTE,
    tickers: MARKET_ROUTE,
    ...markRoutes(MARKET_ROUTE),
    liquidations: MARKET_ROUTE,
  },
  depthWeights: FUTURES_DEPTH_WEIGHTS,
  polls: [],
  exchangeInfoWeight: 1, // USDM, Exchange Information
  klineIntervals: ['1m'],
  load: {
    book: load(19, 1600),
    trades: load(62, 162),
    agg_trades: load(25, 190),
    book_tickers: load(192, 180),
    ...FUTURES_RARE_LOAD,
  },
}

export const COINM: BinanceMarket = {
  ...USDM,
  name: 'coinm',
  wsBase: 'wss://dstream.binance.com', // COINM, WebSocket Market Streams; not split
  restBase: 'https://dapi.binance.com', // COINM, General Info
  restPath: '/dapi/v1',
  routes: { ...SPOT.routes, ...markRoutes(SINGLE_ROUTE), liquidations: SINGLE_ROUTE },
  load: {
    book: load(78, 380),
    trades: load(7, 165),
    agg_trades: load(4, 190),
    book_tickers: load(56, 196),
    ...FUTURES_RARE_LOAD,
  },
}

export const MARKETS: Readonly<Record<BinanceMarketName, BinanceMarket>> = { spot: SPOT, usdm: USDM, coinm: COINM }
