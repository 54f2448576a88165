/**
 * What makes a simulated venue that venue: names, forms, numbers, answers. The market, its truth, its faults and its
 * sockets are the same for all. One folder a venue, the same exported names in each.
 */
import type { Random } from '../base/random.ts'
import type { Connection } from './connection.ts'
import type { Desk } from './desk.ts'
import type { InstrumentStart, Listing } from './instrument.ts'
import type { LevelForm } from './messages.ts'
import type { Answer, RestSource } from './rest-source.ts'
import type { Entry, EventKind, ExchangeName, MarketName, StreamName, StreamPath, VenueMarket } from './venue.ts'

export interface Opening {
  readonly listing: Listing
  readonly start: InstrumentStart
}

/** What became of one name in a subscription. */
export type Subscribed = 'accepted' | 'unknown' | 'refused' | 'closed'

/** What a protocol may do with the connection that asked. */
export interface Session {
  readonly nowMs: () => number
  /** multiplies every interval of the venue's heartbeats */
  readonly heartbeatScale: number
  readonly limitsEnforced: boolean
  subscribe(connection: Connection, name: string): Subscribed
  unsubscribe(connection: Connection, names: readonly string[]): void
  /** What a new subscriber of this stream gets first, after the acknowledgement. */
  greet(connection: Connection, name: string): void
  close(connection: Connection, code: number, reason: string): void
}

export interface RestCall {
  readonly path: string
  readonly query: URLSearchParams
  /** the market of the port; where all share one, the first */
  readonly market: MarketName
  readonly nowMs: number
  readonly weightMax: number
  source(market: MarketName): RestSource | undefined
  /** an armed answer that is older than this moment */
  stale(symbol: string): string | undefined
}

/** Weight first: it is charged before the answer is made. */
export interface RestRoute {
  readonly weight: number
  answer(): Answer | Promise<Answer>
}

export interface Protocol {
  readonly exchange: ExchangeName
  readonly markets: Readonly<Record<MarketName, VenueMarket>>
  /** all markets on one port, as the venue has one host; else a port each */
  readonly sharesHost: boolean
  readonly levelForm: LevelForm
  /** deletes of levels that nobody was told of are left out */
  readonly skipsUnknownDeletes: boolean
  /** a taker order's trade has the id of its last fill (OKX), not one of its own */
  readonly aggregatesAreNumberedByFills: boolean
  /** a book stays below so many levels a side, since the stream's snapshot is cut there; infinite: it is not cut */
  readonly bookLevelsMax: number
  /** how often an idle book says that it lives; 0: it does not */
  readonly keepAliveMs: number
  listing(market: MarketName, index: number, random: Random, nowMs: number): Opening
  /** The template of an event stream; `$s` and so on stand for what a listing knows (messages.ts). */
  shape(kind: EventKind, stream: StreamName, listing: Listing): string
  entry(url: URL, market: VenueMarket): Entry | null
  parseStream(name: string, market: MarketName, path: StreamPath): StreamName | null
  isServed(stream: StreamName, path: StreamPath, tradePath: 'public' | 'market' | 'both'): boolean
  /** What a message of this stream is wrapped in on a combined connection; '' where there is no such thing. */
  prefix(name: string): string
  /** The first message to a new subscriber: a book, a full ticker. */
  greeting(stream: StreamName, name: string, desk: Desk, nowMs: number): string | null
  /** One message of a stream that is fed by the clock; null: nothing to say now. */
  speak(stream: StreamName, name: string, desks: readonly Desk[], nowMs: number, random: Random): string | null
  keepAlive(stream: StreamName, name: string, desk: Desk, nowMs: number): string | null
  /** A message that starts the numbering of a book anew; null: the next change does it by itself, or never. */
  resetMessage(stream: StreamName, name: string, desk: Desk, nowMs: number): string | null
  /** The venue starts the numbering of a book anew now and then. */
  readonly resets: boolean
  answer(session: Session, connection: Connection, text: string): void
  /** Looks at a connection now and then: heartbeats of the venue's own kind, deadlines. */
  beat(session: Session, connection: Connection, nowMs: number): void
  /** What is announced before a planned stop; null: nothing is. */
  shutdownNotice(nowMs: number, connection: Connection): string | null
  /** @returns null where there is no such path. */
  route(call: RestCall): RestRoute | null
  refusal(status: 429 | 418, waitMs: number, call: { nowMs: number; weightMax: number }): Answer
  restHeaders(weight: number): Readonly<Record<string, string>>
}
