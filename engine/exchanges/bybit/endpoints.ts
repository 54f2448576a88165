import type { ChannelLoad, FeedMarket } from '../exchange.ts'
import type { KlineInterval, RATIO_PERIODS } from '../../record/schema-kinds.ts'

/**
 * Bybit v5: hosts, limits and heartbeats of three of its markets. Plain data; the page a value comes from stands beside it.
 * Pages (bybit-exchange.github.io/docs/v5): CONNECT = "WebSocket Stream: Connect", RATE = "Rate Limit Rules",
 * BOOK = "Public Topics: Orderbook", KLINE = "Public Topics: Kline", RATIO = "Market: Get Long Short Ratio".
 */

export type BybitMarketName = 'spot' | 'linear' | 'inverse'
export type RatioPeriod = keyof typeof RATIO_PERIODS

export interface BybitMarket extends FeedMarket {
  readonly name: BybitMarketName
  /** perpetuals and futures: their tickers carry mark price, index price, funding and open interest */
  readonly isDerivative: boolean
}

/** One class of URL: everything of a market on one path. */
export const ROUTE = 'public'

/** BOOK: levels a side that a chain of changes exists for; level 1 comes whole each time. */
export const BOOK_DEPTHS: readonly number[] = [50, 200, 1000]

/** KLINE: the venue's word for each length. */
export const KLINE_WORDS: Readonly<Partial<Record<KlineInterval, string>>> = {
  '1m': '1',
  '3m': '3',
  '5m': '5',
  '15m': '15',
  '30m': '30',
  '1h': '60',
  '2h': '120',
  '4h': '240',
  '6h': '360',
  '12h': '720',
  '1d': 'D',
  '1w': 'W',
  '1M': 'M',
}

/** RATIO: the venue's word and the length of each period. */
export const RATIO_WORDS: Readonly<Partial<Record<RatioPeriod, { readonly word: string; readonly periodMs: number }>>> =
  {
    '5m': { word: '5min', periodMs: 300_000 },
    '15m': { word: '15min', periodMs: 900_000 },
    '30m': { word: '30min', periodMs: 1_800_000 },
    '1h': { word: '1h', periodMs: 3_600_000 },
    '4h': { word: '4h', periodMs: 14_400_000 },
    '1d': { word: '1d', periodMs: 86_400_000 },
  }

function load(messagesPerSecond: number, wireBytes: number): ChannelLoad {
  return { messagesPerSecond, wireBytes }
}

const SPOT: BybitMarket = {
  name: 'spot',
  isDerivative: false,
  wsBase: 'wss://stream.bybit.com', // CONNECT
  restBase: 'https://api.bybit.com', // "Integration Guidance"
  limits: {
    // CONNECT, Public channel args limits: 21,000 characters of args a connection; the longest topics have 36
    streamsPerConnectionMax: 500,
    clientMessagesPerSecondMax: 10, // no page gives a number: the strictest of the other venues' futures
    connectsMax: 500, // RATE, Websocket IP limit: in any 5 minutes
    connectsWindowMs: 300_000,
    connectionsMax: 1000, // RATE: for market data, counted for each market by itself
    connectionLifeMsMax: 0, // CONNECT names no age, only 10 minutes of silence
    // RATE, HTTP IP limit: 600 in any 5 seconds, else 403 for 10 minutes. 600 in a whole minute never break that.
    weightPerMinuteMax: 600,
  },
  // CONNECT, How to Send the Heartbeat Packet: a ping every 20 s; cut off after 10 minutes without ping and data
  heartbeat: { serverPingMs: 0, pongDeadlineMs: 600_000, unsolicitedPongMs: 0, clientPingMs: 20_000 },
  snapshotDepth: 0, // BOOK: the stream begins with a snapshot
  polls: [],
  // book: 50 messages of XRPUSDT at depth 500 (100 ms), 2024-12-01. The others: busy Binance USD-M, for want of recordings.
  load: { book: load(10, 1300), trades: load(62, 200), book_tickers: load(100, 190), tickers: load(10, 300) },
}

export const MARKETS: Readonly<Record<BybitMarketName, BybitMarket>> = {
  spot: SPOT,
  linear: { ...SPOT, name: 'linear', isDerivative: true },
  inverse: { ...SPOT, name: 'inverse', isDerivative: true },
}
