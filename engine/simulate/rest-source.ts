import type { Desk } from './desk.ts'
import type { Listing } from './instrument.ts'

/** What REST is asked of, and what it answers. */
export interface Listed {
  readonly listing: Listing
  readonly state: 'trading' | 'delisted'
  readonly finerDigits: number
}

/** What the market (seeded or recorded) has to say to REST. */
export interface RestSource {
  listings(): Listed[]
  /** undefined: no such symbol, or a recording, which knows no more than its messages */
  desk(symbol: string): Desk | undefined
  /** body of a depth answer in Binance's form; undefined: no such symbol. A promise: it is held until it may be given. */
  depth(symbol: string, limit: number): string | Promise<string> | undefined
  /** the last `limit` trades, or those from `fromId` on, oldest first; undefined: no such symbol */
  trades(symbol: string, limit: number, fromId: number | null): RestTrade[] | undefined
  /** likewise whole taker orders, by aggregate id */
  orders(symbol: string, limit: number, fromId: number | null): RestTrade[] | undefined
}

/** One fill, or one taker order with its fills; price and quantity are mantissas. */
export interface RestTrade {
  readonly id: number
  readonly price: number
  readonly quantity: number
  readonly timeMs: number
  readonly buyerIsMaker: boolean
  readonly firstTradeId: number
  readonly lastTradeId: number
}

export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

export const ok = (body: string): Answer => ({ status: 200, body })
