import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keyAt, loadConfig } from '../engine/base/config.ts'
import { MARKET_PATHS, type MarketPath } from '../engine/base/market-keys.ts'
import {
  CHANNELS,
  type Channel,
  type FeedMarket,
  type FeedRules,
  type Instrument,
} from '../engine/exchanges/exchange.ts'
import { chosenMarkets, exchangeRules } from '../engine/roles/settings.ts'
import { CONFIG } from './support/settings.ts'

/** base may not know the exchanges, so the channels of a market stand twice; here they meet. */

const rules = exchangeRules(CONFIG)

function marketOf(path: string): { feed: FeedRules; place: FeedMarket } | undefined {
  const [, exchange = '', market = ''] = path.split('.')
  const feed = rules.get(exchange)
  const place = feed?.markets[market]
  return feed === undefined || place === undefined ? undefined : { feed, place }
}

/** Whether streams or polls of the venue bring this channel of an instrument. */
function brings({ feed, place }: { feed: FeedRules; place: FeedMarket }, symbol: string, channel: Channel): boolean {
  const { exchange } = feed
  const instrument: Instrument = {
    id: `${exchange}.${place.name}.${symbol}`,
    exchange,
    market: place.name,
    symbol,
    priceScale: 2,
    quantityScale: 2,
    status: 'TRADING',
  }
  return feed.streams(instrument, channel).length > 0 || place.polls.some((rule) => rule.channel === channel)
}

test('config should offer, for each market, exactly the channels that its exchange brings', () => {
  const all = MARKET_PATHS.flatMap((path) => {
    const market = marketOf(path)
    if (market === undefined) return [`${path}: no such market in engine/exchanges`]
    const symbols = loadSymbols(path)
    return CHANNELS.flatMap((channel) => {
      const isOffered = keyAt(`${path}.channels`).accepts([channel])
      const isThere = symbols.some((symbol) => brings(market, symbol, channel))
      return isOffered === isThere ? [] : [`${path}: ${channel} is ${isOffered ? 'offered' : 'not offered'}`]
    })
  })
  assert.deepEqual(all, [])
})

/** A symbol of the market, and of the index that has a volatility. */
function loadSymbols(path: MarketPath): readonly string[] {
  const names = (keyAt(`${path}.instruments`).default as readonly string[]).filter((name) => !/[:*?]/.test(name))
  return [...names, 'BTC-USD-261225', 'BTC-25DEC26', 'BTC-USD-261225-70000-C', 'BTC-25DEC26-70000-C']
}

test('config should know every market of every exchange', () => {
  const known = [...rules.values()].flatMap(({ exchange, markets }) =>
    Object.keys(markets).map((name) => `exchanges.${exchange}.${name}`),
  )
  assert.deepEqual([...known].sort(), [...MARKET_PATHS].sort())
})

test('config should turn any market on by one variable', () => {
  for (const path of MARKET_PATHS) {
    const name = `MARKETPRISM_${path.replaceAll('.', '_').toUpperCase()}_ENABLED`
    const { config } = loadConfig({ directory: 'config', variables: { [name]: 'true' } })
    assert.ok(
      chosenMarkets(config).some(({ key }) => `exchanges.${key}` === path),
      path,
    )
  }
})
