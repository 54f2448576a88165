/**
 * What the simulated venue promises on each of its markets: paths, limits, heartbeat, REST weights. Plain values, so
 * that a rule can be read beside the venue's page it comes from:
 *  - Spot: "WebSocket Streams", "General API Information" (ping 20 s, pong within a minute, 1024 streams, 5 messages a
 *    second, 300 connection attempts in 5 minutes, 6,000 weight a minute)
 *  - USD-M and COIN-M futures: "Important WebSocket Change Notice", "Connect" (ping 3 min, pong within 10, 10 messages
 *    a second, 2,400 weight a minute). USD-M streams are split into /public and /market; a stream asked for on the
 *    wrong path is accepted and stays silent.
 */
export type MarketName = 'spot' | 'usdm' | 'coinm'
export const MARKET_NAMES: readonly MarketName[] = ['spot', 'usdm', 'coinm']

/** Which URL a client came in by; `all` where the market does not split its streams. */
export type StreamPath = 'all' | 'public' | 'market'

export type StreamKind = 'trade' | 'aggTrade' | 'bookTicker' | 'depth' | 'other'

export interface VenueMarket {
  readonly name: MarketName
  /** e.g. `/api/v3` */
  readonly restPath: string
  readonly streamsMax: number
  readonly messagesPerSecondMax: number
  readonly connectsPer5MinMax: number
  readonly weightPerMinuteMax: number
  readonly pingIntervalMs: number
  readonly pongDeadlineMs: number
  readonly depthLimitDefault: number
  readonly depthLimits: readonly number[] | null // null: any limit up to 5000
  readonly weights: {
    readonly exchangeInfo: number
    readonly trades: number
    readonly historicalTrades: number
    readonly aggTrades: number
  }
  readonly split: boolean
}

const FUTURES_LIMITS = [5, 10, 20, 50, 100, 500, 1000]
const FUTURES_WEIGHTS = { exchangeInfo: 1, trades: 5, historicalTrades: 20, aggTrades: 20 }

const FUTURES = {
  messagesPerSecondMax: 10,
  connectsPer5MinMax: Number.POSITIVE_INFINITY,
  weightPerMinuteMax: 2400,
  pingIntervalMs: 180_000,
  pongDeadlineMs: 600_000,
  depthLimitDefault: 500,
  depthLimits: FUTURES_LIMITS,
  weights: FUTURES_WEIGHTS,
}

export const VENUE_MARKETS: Readonly<Record<MarketName, VenueMarket>> = {
  spot: {
    name: 'spot',
    restPath: '/api/v3',
    streamsMax: 1024,
    messagesPerSecondMax: 5,
    connectsPer5MinMax: 300,
    weightPerMinuteMax: 6000,
    pingIntervalMs: 20_000,
    pongDeadlineMs: 60_000,
    depthLimitDefault: 100,
    depthLimits: null,
    weights: { exchangeInfo: 20, trades: 25, historicalTrades: 25, aggTrades: 4 },
    split: false,
  },
  usdm: { name: 'usdm', restPath: '/fapi/v1', streamsMax: 200, split: true, ...FUTURES },
  coinm: { name: 'coinm', restPath: '/dapi/v1', streamsMax: 200, split: false, ...FUTURES },
}

/** @returns the weight of one depth request, or null when the venue refuses the limit. */
export function depthWeight(market: VenueMarket, limit: number): number | null {
  if (!Number.isInteger(limit) || limit < 1) return null
  if (market.depthLimits === null) {
    if (limit <= 100) return 5
    if (limit <= 500) return 25
    if (limit <= 1000) return 50
    return 250 // more than 5000 is answered with 5000
  }
  if (!market.depthLimits.includes(limit)) return null
  if (limit <= 50) return 2
  if (limit === 100) return 5
  return limit === 500 ? 10 : 20
}

export interface StreamName {
  /** lower case, as the venue spells it in stream names */
  readonly symbol: string
  readonly kind: StreamKind
}

const STREAM_NAME = /^([a-z0-9_]+)@(trade|aggTrade|bookTicker|depth(?:@(?:0|100|250|500|1000)ms)?)$/

export function parseStreamName(name: string): StreamName | null {
  const match = STREAM_NAME.exec(name)
  if (match === null) return null
  const word = match[2] ?? ''
  return { symbol: match[1] ?? '', kind: word.startsWith('depth') ? 'depth' : (word as StreamKind) }
}

/**
 * Does the venue push this stream to a client on this path? `trade` on USD-M is undocumented and clients disagree
 * where it lives; `tradePath` says which belief to simulate.
 */
export function servedOn(kind: StreamKind, path: StreamPath, tradePath: 'public' | 'market' | 'both'): boolean {
  if (path === 'all') return true
  if (kind === 'trade') return tradePath === 'both' || tradePath === path
  return (kind === 'depth' || kind === 'bookTicker') === (path === 'public')
}
