/**
 * What the files of an exchange fill in. Markets of one exchange (spot, usdm, coinm …) are values of one type, not
 * copies of code. The network half (`FeedRules`) runs on the main thread, the reading half (`ReadRules`) in the book
 * workers; neither knows sockets, rings or threads.
 */

/** One tradable thing. The identity is `{exchange}.{market}.{symbol}` with the venue's own symbol. */
export interface Instrument {
  /** e.g. `binance.usdm.BTCUSDT` */
  readonly id: string
  readonly exchange: string
  readonly market: string
  /** the venue's symbol, in the venue's spelling, e.g. `BTCUSDT`, `BTCUSD_PERP` */
  readonly symbol: string
  /** digits after the point that prices of this instrument need; wire values with more non-zero digits widen it */
  readonly priceScale: number
  readonly quantityScale: number
  /** the venue's state word, e.g. `TRADING` */
  readonly status: string
  /** what one contract is worth, as the venue writes it; only where the venue counts contracts */
  readonly contractSize?: string
}

/** What can be subscribed for an instrument; the word of the tables, not of the venue. */
export type Channel = 'book' | 'trades' | 'agg_trades' | 'book_tickers'

export function instrumentId(exchange: string, market: string, symbol: string): string {
  return `${exchange}.${market}.${symbol}`
}

/** What a venue allows on one market; the plan refuses what breaks it. */
export interface FeedLimits {
  readonly streamsPerConnectionMax: number
  /** JSON messages, pings and pongs that a client may send */
  readonly clientMessagesPerSecondMax: number
  /** connection attempts of one IP in any `connectsWindowMs` */
  readonly connectsMax: number
  readonly connectsWindowMs: number
  /** the venue closes a connection that is this old */
  readonly connectionLifeMsMax: number
  /** REST weight of one IP in a minute */
  readonly weightPerMinuteMax: number
}

/** How the life of a connection shows. Pings of the venue are answered by the socket itself, with their payload. */
export interface Heartbeat {
  readonly serverPingMs: number
  readonly pongDeadlineMs: number
  /** every so often a pong nobody asked for; 0 where the venue does not want them */
  readonly unsolicitedPongMs: number
}

/** What a busy instrument sends on one channel: measured on recordings, used only for estimates. */
export interface ChannelLoad {
  readonly messagesPerSecond: number
  readonly wireBytes: number
}

/** One market of a venue as the network sees it: plain values. */
export interface FeedMarket {
  readonly name: string
  /** scheme, host and port; overridden by configuration */
  readonly wsBase: string
  readonly restBase: string
  readonly limits: FeedLimits
  readonly heartbeat: Heartbeat
  readonly snapshotDepth: number
  readonly load: Readonly<Record<Channel, ChannelLoad>>
}

/** One stream of an instrument; `route` is the class of URL that carries it. */
export interface Stream {
  readonly name: string
  readonly route: string
}

export interface RestRequest {
  readonly path: string
  readonly weight: number
}

/** A message that subscribes; the venue's answer names `id`. */
export interface SubscribeFrame {
  readonly id: number
  readonly text: string
}

/** A frame that is not market data. `acknowledged` also answers a probe. */
export type Control =
  | { readonly kind: 'acknowledged'; readonly id: number }
  | { readonly kind: 'refused'; readonly id: number | undefined; readonly reason: string }
  | { readonly kind: 'shutdown' }

/** The network half of an exchange: what to ask for, where, and how to understand the answer. Pure. */
export interface FeedRules {
  readonly exchange: string
  readonly markets: Readonly<Record<string, FeedMarket>>
  /** @returns the streams of a channel; none when the market has no such channel. */
  streams(market: string, symbol: string, channel: Channel): readonly Stream[]
  socketUrl(market: string, route: string, wsBase: string): string
  subscribeFrames(streams: readonly string[], firstId: number): readonly SubscribeFrame[]
  /** A harmless question that a living venue answers; undefined where there is none. */
  probeFrame(id: number): SubscribeFrame | undefined
  /** One or two byte tests: false for every data frame, true for whatever `readControl` must look at. */
  isControl(bytes: Uint8Array): boolean
  /** @returns undefined when the frame is data (or nonsense) after all. */
  readControl(bytes: Uint8Array): Control | undefined
  instrumentsRequest(market: string): RestRequest
  readInstruments(market: string, body: string): Instrument[]
  snapshotRequest(market: string, symbol: string, depth: number): RestRequest
  serverTimeRequest(market: string): RestRequest
  /** @returns ms since the epoch */
  readServerTime(body: string): number
  /** The answer header that tells how much weight this IP has used in the running minute. */
  readonly usedWeightHeader: string
}
