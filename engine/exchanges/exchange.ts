/**
 * What the files of an exchange fill in. Markets of one exchange (spot, usdm, swap …) are values of one type, not copies
 * of code. The network half (`FeedRules`) runs on the main thread, the reading half (`ReadRules`) in the book workers;
 * neither knows sockets, rings or threads.
 */
import type { StreamHabits } from '../book/cadence.ts'
import type { SyncRules } from '../book/chain.ts'
import type { Emit, FrameParser, TradeChannel } from '../record/emit.ts'

export const INSTRUMENT_KINDS = { spot: 1, perpetual: 2, future: 3, option: 4, index: 5, other: 6 } as const
export type InstrumentKind = keyof typeof INSTRUMENT_KINDS

/** One tradable thing, or an index. The identity is `{exchange}.{market}.{symbol}` with the venue's own symbol. */
export interface Instrument {
  /** e.g. `binance.usdm.BTCUSDT` */
  readonly id: string
  readonly exchange: string
  readonly market: string
  /** the venue's symbol, in the venue's spelling, e.g. `BTCUSDT`, `BTC-USDT-SWAP`, `BTC-PERPETUAL` */
  readonly symbol: string
  /** digits after the point that prices of this instrument need; wire values with more non-zero digits widen it */
  readonly priceScale: number
  readonly quantityScale: number
  /** the venue's state word, e.g. `TRADING`, `live`, `open` */
  readonly status: string
  /** whether that word means that it trades now; absent: the word is `TRADING` */
  readonly isTrading?: boolean
  /** whether that word means that orders are taken but nothing trades yet: a crossed book is normal then */
  readonly isPreOpen?: boolean
  /** absent: a symbol of a recording, nothing is known of it */
  readonly kind?: InstrumentKind
  /** currencies in the venue's spelling, e.g. `BTC`, `USDT` */
  readonly base?: string
  readonly quote?: string
  /** what profit and loss are paid in */
  readonly settle?: string
  /** ms since the epoch; absent for what does not expire */
  readonly expiryMs?: number
  /** of an option, decimal text */
  readonly strike?: string
  readonly optionType?: 'call' | 'put'
  /** what quantity 1 is worth in `contractUnit`, decimal text; absent: quantities are in the base currency */
  readonly contractSize?: string
  /** currency of `contractSize`, e.g. `BTC` (linear) or `USD` (inverse) */
  readonly contractUnit?: string
  /** smallest steps, decimal text as the venue writes it */
  readonly tickSize?: string
  readonly lotSize?: string
  /** the venue's name of the underlying or index, e.g. `BTC-USDT`, `btc_usd` */
  readonly underlying?: string
}

/** What can be subscribed or polled for an instrument; the word of the tables, not of the venue. */
export const CHANNELS = [
  'book',
  'trades',
  'agg_trades',
  'book_tickers',
  'klines',
  'tickers',
  'mark_prices', // with them index prices and funding rates where one stream carries all three
  'index_prices',
  'funding_rates',
  'open_interests',
  'liquidations',
  'long_short_ratios',
  'volatility_indices',
] as const
export type Channel = (typeof CHANNELS)[number]

export function instrumentId(exchange: string, market: string, symbol: string): string {
  return `${exchange}.${market}.${symbol}`
}

/** What a venue allows on one market; the plan refuses what breaks it. */
export interface FeedLimits {
  readonly streamsPerConnectionMax: number
  /** streams of channel `book` among them, where the venue advises fewer (OKX: under 30) */
  readonly booksPerConnectionMax?: number
  /** JSON messages, pings and pongs that a client may send */
  readonly clientMessagesPerSecondMax: number
  /** subscribe and unsubscribe messages of one connection in any hour, where the venue counts them (OKX: 480) */
  readonly subscribesPerHourMax?: number
  /** connection attempts of one IP in any `connectsWindowMs` */
  readonly connectsMax: number
  readonly connectsWindowMs: number
  /** sockets that one IP may hold open, all markets of the venue together (Deribit: 32) */
  readonly connectionsMax?: number
  /** the venue closes a connection that is this old; 0: it does not */
  readonly connectionLifeMsMax: number
  /** REST weight of one IP in a minute; markets of one pool share it (`weightPoolOf`) */
  readonly weightPerMinuteMax: number
  /** where the venue counts in shorter times than minutes (OKX: 2 s), how short: a part of a minute may see its part of the weight */
  readonly weightWindowMs?: number
}

/** How the life of a connection shows. Pings of the venue are answered by the socket itself, with their payload. */
export interface Heartbeat {
  /** 0 where the venue sends none */
  readonly serverPingMs: number
  readonly pongDeadlineMs: number
  /** every so often a pong nobody asked for; 0 where the venue does not want them */
  readonly unsolicitedPongMs: number
  /** every so often the probe, asked or not; 0 where silence alone is reason enough */
  readonly clientPingMs?: number
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
  /** what counts the REST weight, where that is not each host for itself */
  readonly weightPool?: string
  readonly limits: FeedLimits
  readonly heartbeat: Heartbeat
  /** levels of a REST snapshot; 0 where books start with a message of the stream */
  readonly snapshotDepth: number
  readonly load: Readonly<Partial<Record<Channel, ChannelLoad>>>
  /** what only REST has, by schedule */
  readonly polls: readonly PollRule[]
}

/** Markets of one venue with the same pool draw on the same REST weight. */
export function weightPoolOf({ weightPool, restBase }: Pick<FeedMarket, 'weightPool' | 'restBase'>): string {
  return weightPool ?? restBase
}

/** One stream of an instrument; `route` is the class of URL that carries it. Several channels may share a stream. */
export interface Stream {
  readonly name: string
  readonly route: string
}

export interface RestRequest {
  readonly path: string
  readonly weight: number
}

/**
 * One thing that is asked again and again. The body goes to the instrument's worker as it is, and to `parsePoll` there
 * under this name.
 */
export interface PollRule {
  /** unique in the market, e.g. `open_interest` */
  readonly name: string
  readonly channel: Channel
  /** between two polls of one instrument; jitter is added */
  readonly intervalMs: number
  /** @returns undefined when this instrument has no such thing. */
  request(instrument: Instrument): RestRequest | undefined
}

/** A message that subscribes; it is done when every token was acknowledged. */
export interface SubscribeFrame {
  readonly id: number
  readonly text: string
  /** what acknowledgements name: the id as text, or names of streams */
  readonly tokens: readonly string[]
}

/** A frame that is not market data. */
export type Control =
  /**
   * Tokens of subscribe frames; an unknown one is a sign of life all the same. `answers`: this is the whole answer to the
   * frame of that id, so its tokens that stand neither here nor in an answer before are refused (Deribit leaves out
   * what it does not know).
   */
  | { readonly kind: 'acknowledged'; readonly tokens: readonly string[]; readonly answers?: number }
  /**
   * These tokens will never be acknowledged; with `answers`, none of the frame of that id; neither: the connection as it
   * is is refused.
   */
  | { readonly kind: 'refused'; readonly tokens: readonly string[]; readonly answers?: number; readonly reason: string }
  /** the venue will close: take another connection first */
  | { readonly kind: 'shutdown' }
  /** the venue wants to see this text at once */
  | { readonly kind: 'question'; readonly answer: string }
  /** pong, heartbeat, notice */
  | { readonly kind: 'alive' }

/** The network half of an exchange: what to ask for, where, and how to understand the answer. Pure. */
export interface FeedRules {
  readonly exchange: string
  readonly markets: Readonly<Record<string, FeedMarket>>
  /** @returns the streams of a channel; none when there is no such stream (REST may have it: `polls`). */
  streams(instrument: Instrument, channel: Channel): readonly Stream[]
  socketUrl(market: string, route: string, wsBase: string): string
  /** Said and acknowledged before anything is subscribed (Deribit: `set_heartbeat`; a login, which is signed with the time). */
  openingFrames(firstId: number, nowMs: number): readonly SubscribeFrame[]
  subscribeFrames(streams: readonly string[], firstId: number): readonly SubscribeFrame[]
  unsubscribeFrames(streams: readonly string[], firstId: number): readonly SubscribeFrame[]
  /** A harmless question that a living venue answers; undefined where there is none. */
  probeFrame(id: number): SubscribeFrame | undefined
  /** One or two byte tests: false for every data frame, true for whatever `readControl` must look at. */
  isControl(bytes: Uint8Array): boolean
  /** @returns undefined when the frame is data (or nonsense) after all. */
  readControl(bytes: Uint8Array): Control | undefined
  instrumentsRequest(market: string): RestRequest
  /** What to ask after this answer, where the list comes in pages (Bybit); absent: it comes whole. */
  nextInstrumentsRequest?(market: string, body: string): RestRequest | undefined
  readInstruments(market: string, body: string): Instrument[]
  /** 24 h turnover of every instrument, for rules like "top 50 by volume". */
  volumesRequest(market: string): RestRequest
  /** Where one answer does not hold the whole market (Deribit: one a currency), all of them; else absent. */
  volumesRequests?(market: string): readonly RestRequest[]
  /** @returns symbol → turnover of 24 h, comparable within the market (quote currency or contracts). */
  readVolumes(market: string, body: string): ReadonlyMap<string, number>
  /** Only for markets whose `snapshotDepth` is not 0. */
  snapshotRequest(market: string, symbol: string, depth: number): RestRequest
  /**
   * Trades by the stream's own numbering (`TradeEvent.firstSeq`), as many of [firstSeq, lastSeq] as one answer holds,
   * oldest first; undefined where REST does not have them by number.
   */
  tradesRequest(
    market: string,
    symbol: string,
    channel: TradeChannel,
    firstSeq: number,
    lastSeq: number,
  ): RestRequest | undefined
  serverTimeRequest(market: string): RestRequest
  /** @returns ms since the epoch */
  readServerTime(body: string): number
  /** The answer header that tells how much weight this IP has used in the running minute; '' where there is none. */
  readonly usedWeightHeader: string
}

/** The reading half of an exchange: frames → events. Pure; one parser for each market of each worker. */
export interface ReadRules {
  readonly exchange: string
  readonly markets: readonly string[]
  parser(emit: Emit, market: string): FrameParser
  sync(market: string): SyncRules
  /** The market that a symbol of a recording belongs to, where the symbol tells; undefined: it does not (Binance). */
  marketOf(symbol: string): string | undefined
  /** Every symbol tells its market, so that a recording may mix the markets of this exchange. */
  readonly symbolsTellMarket?: boolean
  /** Which silence of a stream is usual; absent: nothing is known. */
  readonly habits?: StreamHabits
}
