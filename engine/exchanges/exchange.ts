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
}

/** What can be subscribed for an instrument; the word of the tables, not of the venue. */
export type Channel = 'book' | 'trades' | 'agg_trades' | 'book_tickers'

export function instrumentId(exchange: string, market: string, symbol: string): string {
  return `${exchange}.${market}.${symbol}`
}
