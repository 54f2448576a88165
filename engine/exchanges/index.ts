import { BINANCE_FEED_DEFAULTS, BINANCE_READ, type BinanceFeedOptions, binanceFeed } from './binance/index.ts'
import type { FeedRules, ReadRules } from './exchange.ts'

export interface ExchangeOptions {
  readonly binance: BinanceFeedOptions
}

export const EXCHANGE_DEFAULTS: ExchangeOptions = { binance: BINANCE_FEED_DEFAULTS }

/** The list of exchanges, by name: the network half. */
export function feedRules(options: ExchangeOptions = EXCHANGE_DEFAULTS): ReadonlyMap<string, FeedRules> {
  return new Map([binanceFeed(options.binance)].map((rules) => [rules.exchange, rules]))
}

/** The same list: the reading half. */
export const READ_RULES: ReadonlyMap<string, ReadRules> = new Map(
  [BINANCE_READ].map((rules) => [rules.exchange, rules]),
)
