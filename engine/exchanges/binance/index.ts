import { assert } from '../../base/assert.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import type { FeedRules, ReadRules } from '../exchange.ts'
import { type BinanceMarket, type BinanceMarketName, type MARKET_ROUTE, MARKETS, PUBLIC_ROUTE } from './endpoints.ts'
import { EXCHANGE } from './instruments.ts'
import { BinanceParser } from './parse.ts'
import * as poll from './poll.ts'
import * as subscribe from './subscribe.ts'
import { binanceSync } from './sync.ts'

/** What can be chosen; the names are those of the configuration. */
interface SpotOptions {
  readonly depthSpeedMs: number
  readonly klineIntervals: readonly KlineInterval[]
}
interface FuturesOptions extends SpotOptions {
  readonly ratioPeriod: poll.RatioPeriod
}
export interface BinanceFeedOptions {
  readonly spot: SpotOptions
  /** `tradePath`: URL class that carries USD-M `@trade`, which is on no official page */
  readonly usdm: FuturesOptions & { readonly tradePath: typeof PUBLIC_ROUTE | typeof MARKET_ROUTE }
  readonly coinm: FuturesOptions
}

const spotDefaults = ({ depthSpeedMs, klineIntervals }: BinanceMarket): SpotOptions => ({
  depthSpeedMs,
  klineIntervals,
})
const futuresDefaults = (market: BinanceMarket): FuturesOptions => ({ ...spotDefaults(market), ratioPeriod: '5m' })

export const BINANCE_FEED_DEFAULTS: BinanceFeedOptions = {
  spot: spotDefaults(MARKETS.spot),
  usdm: { ...futuresDefaults(MARKETS.usdm), tradePath: PUBLIC_ROUTE },
  coinm: futuresDefaults(MARKETS.coinm),
}

function chosen(market: BinanceMarket, { depthSpeedMs, klineIntervals }: SpotOptions): BinanceMarket {
  return { ...market, depthSpeedMs, klineIntervals }
}

/** The network half of Binance: three markets as values, one set of rules. */
export function binanceFeed(options: BinanceFeedOptions = BINANCE_FEED_DEFAULTS): FeedRules {
  const { spot, usdm, coinm } = options
  const markets: Readonly<Record<BinanceMarketName, BinanceMarket>> = {
    spot: chosen(MARKETS.spot, spot),
    usdm: {
      ...chosen(MARKETS.usdm, usdm),
      routes: { ...MARKETS.usdm.routes, trades: usdm.tradePath },
      polls: poll.pollRules(MARKETS.usdm, usdm.ratioPeriod),
    },
    coinm: { ...chosen(MARKETS.coinm, coinm), polls: poll.pollRules(MARKETS.coinm, coinm.ratioPeriod) },
  }
  const of = (name: string): BinanceMarket => {
    assert(Object.hasOwn(markets, name), `binance has no market ${name}`)
    return markets[name as BinanceMarketName]
  }
  return {
    exchange: EXCHANGE,
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
  exchange: EXCHANGE,
  markets: Object.keys(MARKETS),
  parser: (emit, market) => new BinanceParser(emit, market),
  sync: binanceSync,
  marketOf: () => undefined, // BTCUSDT is on spot and on USD-M
  habits: { together: [['mark_prices', 'index_prices', 'funding_rates']] }, // a dated future has no funding
}
