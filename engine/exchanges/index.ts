import { BINANCE_FEED_DEFAULTS, type BinanceFeedOptions, binanceFeed } from './binance/index.ts'
import type { FeedRules } from './exchange.ts'

export interface ExchangeOptions {
  readonly binance: BinanceFeedOptions
}

export const EXCHANGE_DEFAULTS: ExchangeOptions = { binance: BINANCE_FEED_DEFAULTS }

/** The list of exchanges, by name. */
export function feedRules(options: ExchangeOptions = EXCHANGE_DEFAULTS): ReadonlyMap<string, FeedRules> {
  return new Map([binanceFeed(options.binance)].map((rules) => [rules.exchange, rules]))
}
