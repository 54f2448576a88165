import { BINANCE_FEED_DEFAULTS, BINANCE_READ, type BinanceFeedOptions, binanceFeed } from './binance/index.ts'
import { BYBIT_FEED_DEFAULTS, BYBIT_READ, type BybitFeedOptions, bybitFeed } from './bybit/index.ts'
import { DERIBIT_FEED_DEFAULTS, DERIBIT_READ, type DeribitFeedOptions, deribitFeed } from './deribit/index.ts'
import type { FeedRules, ReadRules } from './exchange.ts'
import { OKX_FEED_DEFAULTS, OKX_READ, type OkxFeedOptions, okxFeed } from './okx/index.ts'

export interface ExchangeOptions {
  readonly binance: BinanceFeedOptions
  readonly bybit: BybitFeedOptions
  readonly deribit: DeribitFeedOptions
  readonly okx: OkxFeedOptions
}

export const EXCHANGE_DEFAULTS: ExchangeOptions = {
  binance: BINANCE_FEED_DEFAULTS,
  bybit: BYBIT_FEED_DEFAULTS,
  deribit: DERIBIT_FEED_DEFAULTS,
  okx: OKX_FEED_DEFAULTS,
}

/** The list of exchanges, by name: the network half. @param options what is left out is as by default */
export function feedRules(options: Partial<ExchangeOptions> = {}): ReadonlyMap<string, FeedRules> {
  const { binance, bybit, deribit, okx } = { ...EXCHANGE_DEFAULTS, ...options }
  return new Map(
    [binanceFeed(binance), bybitFeed(bybit), deribitFeed(deribit), okxFeed(okx)].map((rules) => [
      rules.exchange,
      rules,
    ]),
  )
}

/** The same list: the reading half. */
export const READ_RULES: ReadonlyMap<string, ReadRules> = new Map(
  [BINANCE_READ, BYBIT_READ, DERIBIT_READ, OKX_READ].map((rules) => [rules.exchange, rules]),
)
