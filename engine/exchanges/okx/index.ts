import { assert } from '../../base/assert.ts'
import { Fault } from '../../base/fault.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import type { FeedRules, ReadRules } from '../exchange.ts'
import {
  type BookStream,
  BUSINESS_ROUTE,
  EXCHANGE,
  MARKETS,
  marketOf,
  type OkxMarket,
  type OkxMarketName,
  PUBLIC_BOOK_STREAM,
  PUBLIC_ROUTE,
  type RatioPeriod,
  type TradeStream,
} from './endpoints.ts'
import { OkxParser } from './parse.ts'
import * as poll from './poll.ts'
import * as subscribe from './subscribe.ts'
import { OKX_SYNC } from './sync.ts'

interface MarketOptions {
  readonly bookStream: BookStream
  /** `trades`: one message a taker order and price; `trades-all`: one a match */
  readonly tradeStream: TradeStream
  readonly klineIntervals: readonly KlineInterval[]
}

interface ContractOptions extends MarketOptions {
  readonly ratioPeriod: RatioPeriod
}

/** What can be chosen; the names are those of the configuration. */
export interface OkxFeedOptions {
  readonly spot: MarketOptions
  readonly swap: ContractOptions
  readonly futures: ContractOptions
  readonly option: MarketOptions
  /** only for the book streams that want a login */
  readonly credentials?: subscribe.OkxCredentials
}

const DEFAULTS: ContractOptions = {
  bookStream: PUBLIC_BOOK_STREAM,
  tradeStream: 'trades',
  klineIntervals: ['1m'],
  ratioPeriod: '5m',
}
export const OKX_FEED_DEFAULTS: OkxFeedOptions = { spot: DEFAULTS, swap: DEFAULTS, futures: DEFAULTS, option: DEFAULTS }

/** The network half of OKX: five markets as values, one set of rules. */
export function okxFeed(options: OkxFeedOptions = OKX_FEED_DEFAULTS): FeedRules {
  const { credentials } = options
  assertLogin(options)
  const optionsOf = (name: OkxMarketName): MarketOptions => (name === 'index' ? DEFAULTS : options[name])
  const markets: Readonly<Record<OkxMarketName, OkxMarket>> = {
    ...MARKETS,
    swap: { ...MARKETS.swap, polls: poll.ratioPolls(MARKETS.swap, options.swap.ratioPeriod) },
    futures: { ...MARKETS.futures, polls: poll.ratioPolls(MARKETS.futures, options.futures.ratioPeriod) },
  }
  const of = (name: string): OkxMarket => {
    assert(Object.hasOwn(markets, name), `okx has no market ${name}`)
    return markets[name as OkxMarketName]
  }
  return {
    exchange: EXCHANGE,
    markets,
    usedWeightHeader: '', // the venue tells no usage
    streams: (instrument, channel) => {
      const market = of(instrument.market)
      return subscribe.streams(market, instrument, channel, optionsOf(market.name))
    },
    socketUrl: (market, route, wsBase) => {
      assert(route === PUBLIC_ROUTE || route === BUSINESS_ROUTE, `okx.${market} has no route ${route}`)
      return subscribe.socketUrl(route, wsBase)
    },
    openingFrames: (firstId, nowMs) =>
      credentials === undefined ? [] : [subscribe.loginFrame(credentials, firstId, nowMs)],
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
      throw new Fault('SNAPSHOT_DEPTH', `books of okx.${market} start in the stream, not with a request`)
    },
    tradesRequest: (market, symbol, channel, firstSeq, lastSeq) =>
      poll.tradesRequest(of(market), symbol, channel, firstSeq, lastSeq),
    serverTimeRequest: poll.serverTimeRequest,
    readServerTime: poll.readServerTime,
  }
}

function assertLogin({ credentials, ...markets }: OkxFeedOptions): void {
  for (const [name, { bookStream }] of Object.entries(markets)) {
    if (bookStream === PUBLIC_BOOK_STREAM || credentials !== undefined) continue
    throw new Fault(
      'CREDENTIALS',
      `exchanges.okx.${name}.bookStream ${bookStream} wants a login: set credentials.okx, or bookStream ${PUBLIC_BOOK_STREAM}`,
      78,
    )
  }
}

/** The reading half of OKX. */
export const OKX_READ: ReadRules = {
  exchange: EXCHANGE,
  markets: Object.keys(MARKETS),
  parser: (emit) => new OkxParser(emit),
  sync: () => OKX_SYNC,
  marketOf,
  symbolsTellMarket: true,
  // PUBLIC, Mark price channel: every 10 s when nothing changes; Index tickers channel: once a minute then
  habits: { greets: ['tickers'], repeatsMs: { mark_prices: 10_000, index_prices: 60_000 } },
}
