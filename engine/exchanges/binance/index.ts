import { assert } from '../../base/assert.ts'
import type { FeedRules, ReadRules } from '../exchange.ts'
import { type BinanceMarket, type BinanceMarketName, type MARKET_ROUTE, MARKETS, PUBLIC_ROUTE } from './endpoints.ts'
import { BinanceParser } from './parse.ts'
import * as poll from './poll.ts'
import * as subscribe from './subscribe.ts'
import { binanceSync } from './sync.ts'

/** What can be chosen; the names are those of the configuration. */
export interface BinanceFeedOptions {
  readonly spot: { readonly depthSpeedMs: number }
  /** `tradePath`: URL class that carries USD-M `@trade`, which is on no official page */
  readonly usdm: { readonly depthSpeedMs: number; readonly tradePath: typeof PUBLIC_ROUTE | typeof MARKET_ROUTE }
  readonly coinm: { readonly depthSpeedMs: number }
}

export const BINANCE_FEED_DEFAULTS: BinanceFeedOptions = {
  spot: { depthSpeedMs: MARKETS.spot.depthSpeedMs },
  usdm: { depthSpeedMs: MARKETS.usdm.depthSpeedMs, tradePath: PUBLIC_ROUTE },
  coinm: { depthSpeedMs: MARKETS.coinm.depthSpeedMs },
}

/** The network half of Binance: three markets as values, one set of rules. */
export function binanceFeed(options: BinanceFeedOptions = BINANCE_FEED_DEFAULTS): FeedRules {
  const markets: Readonly<Record<BinanceMarketName, BinanceMarket>> = {
    spot: { ...MARKETS.spot, depthSpeedMs: options.spot.depthSpeedMs },
    usdm: {
      ...MARKETS.usdm,
      depthSpeedMs: options.usdm.depthSpeedMs,
      routes: { ...MARKETS.usdm.routes, trades: options.usdm.tradePath },
    },
    coinm: { ...MARKETS.coinm, depthSpeedMs: options.coinm.depthSpeedMs },
  }
  const of = (name: string): BinanceMarket => {
    assert(Object.hasOwn(markets, name), `binance has no market ${name}`)
    return markets[name as BinanceMarketName]
  }
  return {
    exchange: poll.EXCHANGE,
    markets,
    usedWeightHeader: 'x-mbx-used-weight-1m',
    streams: (instrument, channel) => subscribe.streams(of(instrument.market), instrument.symbol, channel),
    socketUrl: (market, route, wsBase) => {
      assert(Object.values(of(market).routes).includes(route), `binance.${market} has no route ${route}`)
      return subscribe.socketUrl(route, wsBase)
    },
    openingFrames: () => [],
    subscribeFrames: subscribe.subscribeFrames,
    unsubscribeFrames: subscribe.unsubscribeFrames,
    probeFrame: subscribe.probeFrame,
    isControl: subscribe.isControl,
    readControl: subscribe.readControl,
    instrumentsRequest: (market) => poll.instrumentsRequest(of(market)),
    readInstruments: (market, body) => poll.readInstruments(of(market), body),
    snapshotRequest: (market, symbol, depth) => poll.snapshotRequest(of(market), symbol, depth),
    volumesRequest: (market) => poll.volumesRequest(of(market)),
    readVolumes: poll.readVolumes,
    tradesRequest: (market, symbol, channel, firstSeq, lastSeq) =>
      poll.tradesRequest(of(market), symbol, channel, firstSeq, lastSeq),
    serverTimeRequest: (market) => poll.serverTimeRequest(of(market)),
    readServerTime: poll.readServerTime,
  }
}

/** The reading half of Binance. */
export const BINANCE_READ: ReadRules = {
  exchange: poll.EXCHANGE,
  markets: Object.keys(MARKETS),
  parser: (emit) => new BinanceParser(emit),
  sync: binanceSync,
  marketOf: () => undefined, // BTCUSDT is on spot and on USD-M
}
