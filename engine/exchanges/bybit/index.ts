import { assert, AssertionFault } from '../../base/assert.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import type { FeedRules, ReadRules } from '../exchange.ts'
import { BOOK_DEPTHS, type BybitMarket, type BybitMarketName, MARKETS, type RatioPeriod, ROUTE } from './endpoints.ts'
import { BybitParser } from './parse.ts'
import * as poll from './poll.ts'
import * as subscribe from './subscribe.ts'
import { BYBIT_SYNC } from './sync.ts'

interface MarketOptions {
  /** one of BOOK_DEPTHS */
  readonly bookDepth: number
  readonly klineIntervals: readonly KlineInterval[]
}

interface DerivativeOptions extends MarketOptions {
  readonly ratioPeriod: RatioPeriod
}

/** What can be chosen; the names are those of the configuration. */
export interface BybitFeedOptions {
  readonly spot: MarketOptions
  readonly linear: DerivativeOptions
  readonly inverse: DerivativeOptions
}

const DEFAULTS: DerivativeOptions = { bookDepth: 200, klineIntervals: ['1m'], ratioPeriod: '5m' }
export const BYBIT_FEED_DEFAULTS: BybitFeedOptions = { spot: DEFAULTS, linear: DEFAULTS, inverse: DEFAULTS }

/** The network half of Bybit: three markets as values, one set of rules. */
export function bybitFeed(options: BybitFeedOptions = BYBIT_FEED_DEFAULTS): FeedRules {
  const derivative = (name: 'linear' | 'inverse'): BybitMarket => {
    const rule = poll.ratioPoll(MARKETS[name], options[name].ratioPeriod)
    return { ...MARKETS[name], polls: rule === undefined ? [] : [rule] }
  }
  const markets: Readonly<Record<BybitMarketName, BybitMarket>> = {
    spot: MARKETS.spot,
    linear: derivative('linear'),
    inverse: derivative('inverse'),
  }
  for (const [name, { bookDepth }] of Object.entries(options))
    assert(BOOK_DEPTHS.includes(bookDepth), `bybit.${name} has no books of depth ${bookDepth}`)
  const of = (name: string): BybitMarket => {
    assert(Object.hasOwn(markets, name), `bybit has no market ${name}`)
    return markets[name as BybitMarketName]
  }
  return {
    exchange: poll.EXCHANGE,
    markets,
    usedWeightHeader: '', // X-Bapi-Limit-Status counts by key and endpoint, not by address
    streams: ({ market, symbol }, channel) => subscribe.streams(of(market), symbol, channel, options[of(market).name]),
    socketUrl: (market, route, wsBase) => {
      assert(route === ROUTE, `bybit.${market} has no route ${route}`)
      return subscribe.socketUrl(of(market), wsBase)
    },
    openingFrames: () => [],
    subscribeFrames: subscribe.subscribeFrames,
    unsubscribeFrames: subscribe.unsubscribeFrames,
    probeFrame: subscribe.probeFrame,
    isControl: subscribe.isControl,
    readControl: subscribe.readControl,
    instrumentsRequest: (market) => poll.instrumentsRequest(of(market)),
    nextInstrumentsRequest: (market, body) => poll.nextInstrumentsRequest(of(market), body),
    readInstruments: (market, body) => poll.readInstruments(of(market), body),
    volumesRequest: (market) => poll.volumesRequest(of(market)),
    readVolumes: (market, body) => poll.readVolumes(of(market), body),
    snapshotRequest: (market) => {
      throw new AssertionFault(`books of bybit.${market} start in the stream`)
    },
    tradesRequest: () => undefined, // ids are UUIDs or leap
    serverTimeRequest: poll.serverTimeRequest,
    readServerTime: poll.readServerTime,
  }
}

/** The reading half of Bybit. */
export const BYBIT_READ: ReadRules = {
  exchange: poll.EXCHANGE,
  markets: Object.keys(MARKETS),
  parser: (emit, market) => new BybitParser(emit, market),
  sync: () => BYBIT_SYNC,
  marketOf: () => undefined, // BTCUSDT is on spot and on linear
  // "Ticker", "Orderbook": a snapshot first; what did not change is in no delta after it
  habits: {
    together: [['tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests']],
    greets: ['book_tickers', 'tickers'],
  },
}
