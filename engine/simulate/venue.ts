/** Words that all simulated venues share. What is a venue's own stands in its folder. */
export const EXCHANGE_NAMES = ['binance', 'okx', 'deribit', 'bybit'] as const
export type ExchangeName = (typeof EXCHANGE_NAMES)[number]

/** A market of a venue, in the engine's words: `spot`, `usdm`, `swap`, `perpetual` … */
export type MarketName = string

/** Which URL a client came in by, in the venue's words; `all` where the venue does not split its streams. */
export type StreamPath = string

/**
 * How a stream is fed: by the market's events (one fill, one taker order, the top of the book, changes of the book), or by
 * the clock (`timed`). `other` is what a recording holds beside those.
 */
export type StreamKind = 'trade' | 'aggTrade' | 'bookTicker' | 'depth' | 'timed' | 'other'
export type EventKind = Exclude<StreamKind, 'timed' | 'other'>

/** What the venue allows and how it shows that it lives, on one market. */
export interface VenueMarket {
  readonly name: MarketName
  readonly streamsMax: number
  readonly messagesPerSecondMax: number
  /** connection attempts in `connectWindowMs` */
  readonly connectsMax: number
  readonly connectWindowMs: number
  /** open at once */
  readonly connectionsMax: number
  readonly weightPerMinuteMax: number
  /** control-frame pings of the venue; 0: it sends none */
  readonly pingIntervalMs: number
  readonly pongDeadlineMs: number
}

/** How a client came in: the path of its URL and what that asks for already. */
export interface Entry {
  readonly path: StreamPath
  readonly combined: boolean
  readonly streams: readonly string[]
}

export interface StreamName {
  readonly market: MarketName
  /** in the venue's spelling; '' for a stream of a whole market */
  readonly symbol: string
  readonly kind: StreamKind
  /** what the engine calls it, a channel of its gap rows */
  readonly channel: string
  /** the venue's word for it, without the symbol */
  readonly word: string
  /** `timed` only */
  readonly everyMs?: number
}
