/**
 * Binance as it is simulated: paths, limits, heartbeat, REST weights. Plain values, so that a rule can be read beside the
 * venue's page it comes from:
 *  - Spot: "WebSocket Streams", "General API Information" (ping 20 s, pong within a minute, 1024 streams, 5 messages a
 *    second, 300 connection attempts in 5 minutes, 6,000 weight a minute)
 *  - USD-M and COIN-M futures: "Important WebSocket Change Notice", "Connect" (ping 3 min, pong within 10, 10 messages
 *    a second, 2,400 weight a minute). USD-M streams are split into /public and /market; a stream asked for on the
 *    wrong path is accepted and stays silent.
 */
import type { Protocol } from '../protocol.ts'
import type { Entry, StreamName, StreamPath, VenueMarket } from '../venue.ts'
import { answerRequest } from './control.ts'
import { listing } from './listings.ts'
import { refusal, restHeaders, route } from './rest.ts'
import { SHAPES } from './shapes.ts'
import { speak, TIMED } from './timed.ts'

export type BinanceMarketName = 'spot' | 'usdm' | 'coinm'
export const MARKET_NAMES: readonly BinanceMarketName[] = ['spot', 'usdm', 'coinm']

const FIVE_MINUTES_MS = 300_000
const FUTURES = {
  messagesPerSecondMax: 10,
  connectsMax: Number.POSITIVE_INFINITY,
  connectWindowMs: FIVE_MINUTES_MS,
  connectionsMax: Number.POSITIVE_INFINITY,
  weightPerMinuteMax: 2400,
  pingIntervalMs: 180_000,
  pongDeadlineMs: 600_000,
}

const MARKETS: Readonly<Record<BinanceMarketName, VenueMarket>> = {
  spot: {
    name: 'spot',
    streamsMax: 1024,
    messagesPerSecondMax: 5,
    connectsMax: 300,
    connectWindowMs: FIVE_MINUTES_MS,
    connectionsMax: Number.POSITIVE_INFINITY,
    weightPerMinuteMax: 6000,
    pingIntervalMs: 20_000,
    pongDeadlineMs: 60_000,
  },
  usdm: { name: 'usdm', streamsMax: 200, ...FUTURES },
  coinm: { name: 'coinm', streamsMax: 200, ...FUTURES },
}

export const BINANCE: Protocol = {
  exchange: 'binance',
  markets: MARKETS,
  sharesHost: false,
  levelForm: 'pair',
  skipsUnknownDeletes: false,
  aggregatesAreNumberedByFills: false,
  bookLevelsMax: Number.POSITIVE_INFINITY,
  keepAliveMs: 0,
  resets: false,
  listing,
  shape: (kind, _stream, { market }) => SHAPES[market as BinanceMarketName][kind],
  entry: (url, market) => parseEntry(url, market.name === 'usdm'),
  parseStream,
  isServed,
  prefix: (name) => `{"stream":"${name}","data":`,
  greeting: () => null,
  speak,
  keepAlive: () => null,
  resetMessage: () => null,
  answer: answerRequest,
  beat: () => undefined,
  shutdownNotice: (nowMs, connection) => {
    const isSpot = [...connection.streams.values()].some((stream) => stream?.market === 'spot')
    if (!isSpot) return null // none documented on futures
    const event = `{"e":"serverShutdown","E":${nowMs}}`
    return connection.combined ? `{"stream":"!serverShutdown","data":${event}}` : event
  },
  route,
  refusal,
  restHeaders,
}

/** `/stream?streams=a/b`, `/ws`, `/ws/a`, on USD-M below `/public` or `/market`; an unrouted USD-M URL hears only /public. */
function parseEntry(url: URL, isSplit: boolean): Entry | null {
  const routed = isSplit ? /^\/(public|market)(\/.*)$/.exec(url.pathname) : null
  const path = routed?.[1] ?? (isSplit ? 'public' : 'all')
  const rest = routed?.[2] ?? url.pathname
  const names = (text: string): string[] => text.split('/').filter((name) => name !== '')
  if (rest === '/stream') return { path, combined: true, streams: names(url.searchParams.get('streams') ?? '') }
  if (rest === '/ws' || rest.startsWith('/ws/')) return { path, combined: false, streams: names(rest.slice(3)) }
  return null
}

const EVENT_STREAM = /^([a-z0-9_]+)@(trade|aggTrade|bookTicker|depth(?:@(?:0|100|250|500|1000)ms)?)$/
const EVENT_KINDS = { trade: 'trades', aggTrade: 'trades', bookTicker: 'book_tickers', depth: 'book' } as const

export function parseStream(name: string, market: string): StreamName | null {
  const match = EVENT_STREAM.exec(name)
  if (match === null) return parseTimed(name, market)
  const word = (match[2] as string).split('@')[0] as keyof typeof EVENT_KINDS
  return { market, symbol: symbolOf(match[1] as string), kind: word, channel: EVENT_KINDS[word], word }
}

function parseTimed(name: string, market: string): StreamName | null {
  const at = name.indexOf('@')
  const word = name.slice(at + 1)
  const timed = TIMED[word]
  if (at < 1 || timed === undefined) return null
  return { market, symbol: symbolOf(name.slice(0, at)), kind: 'timed', word, ...timed }
}

const symbolOf = (text: string): string => text.toUpperCase()

/**
 * `trade` on USD-M is undocumented and clients disagree where it lives; `tradePath` says which belief to simulate.
 */
function isServed({ kind, word }: StreamName, path: StreamPath, tradePath: 'public' | 'market' | 'both'): boolean {
  if (path === 'all') return true
  if (word === 'trade') return tradePath === 'both' || tradePath === path
  return (kind === 'depth' || kind === 'bookTicker') === (path === 'public')
}
