import { assert } from '../../base/assert.ts'
import { Fault } from '../../base/fault.ts'
import type { FeedRules, ReadRules } from '../exchange.ts'
import { type DeribitMarket, type DeribitMarketName, EXCHANGE, MARKETS, marketOf, ROUTE } from './endpoints.ts'
import { readInstruments } from './instruments.ts'
import { DeribitParser } from './parse.ts'
import * as poll from './poll.ts'
import * as subscribe from './subscribe.ts'
import { DERIBIT_SYNC } from './sync.ts'

/** What can be chosen; the names are those of the configuration. */
export interface DeribitFeedOptions {
  readonly perpetual: subscribe.ChannelChoice
  readonly future: subscribe.ChannelChoice
  readonly option: subscribe.ChannelChoice
  readonly spot: subscribe.ChannelChoice
  /** both, or both empty */
  readonly credentials: subscribe.Credentials
}

const CHOICE: subscribe.ChannelChoice = { interval: '100ms', klineIntervals: ['1m'] }

export const DERIBIT_FEED_DEFAULTS: DeribitFeedOptions = {
  perpetual: CHOICE,
  future: CHOICE,
  option: CHOICE,
  spot: CHOICE,
  credentials: { clientId: '', clientSecret: '' },
}

/** The network half of Deribit: five markets as values, one set of rules. */
export function deribitFeed(options: DeribitFeedOptions = DERIBIT_FEED_DEFAULTS): FeedRules {
  const credentials = credentialsOf(options)
  const of = (name: string): DeribitMarket => {
    assert(Object.hasOwn(MARKETS, name), `deribit has no market ${name}`)
    return MARKETS[name as DeribitMarketName]
  }
  const choiceOf = (name: string): subscribe.ChannelChoice => {
    const { name: market } = of(name)
    return market === 'index' ? CHOICE : options[market]
  }
  return {
    exchange: EXCHANGE,
    markets: MARKETS,
    usedWeightHeader: '', // credits left are told to nobody
    streams: (instrument, channel) => subscribe.streams(instrument, channel, choiceOf(instrument.market)),
    socketUrl: (market, route, wsBase) => {
      assert(route === ROUTE, `deribit.${of(market).name} has no route ${route}`)
      return subscribe.socketUrl(wsBase)
    },
    openingFrames: (firstId) => subscribe.openingFrames(credentials, firstId),
    subscribeFrames: subscribe.subscribeFrames,
    unsubscribeFrames: subscribe.unsubscribeFrames,
    probeFrame: subscribe.probeFrame,
    isControl: subscribe.isControl,
    readControl: subscribe.readControl,
    instrumentsRequest: (market) => poll.instrumentsRequest(of(market)),
    readInstruments: (market, body) => readInstruments(of(market), body),
    snapshotRequest: (market) => {
      throw new Fault('NO_SNAPSHOT', `books of deribit.${of(market).name} start in the stream`)
    },
    volumesRequest: (market) => {
      const [first] = poll.volumesRequests(of(market))
      if (first === undefined) throw new Fault('NO_VOLUMES', `deribit.${market} has no turnovers`, 78)
      return first
    },
    volumesRequests: (market) => poll.volumesRequests(of(market)),
    readVolumes: (_market, body) => poll.readVolumes(body),
    tradesRequest: (_market, symbol, channel, firstSeq, lastSeq) =>
      poll.tradesRequest(symbol, channel, firstSeq, lastSeq),
    serverTimeRequest: poll.serverTimeRequest,
    readServerTime: poll.readServerTime,
  }
}

function credentialsOf(options: DeribitFeedOptions): subscribe.Credentials | undefined {
  const { perpetual, future, option, spot, credentials } = options
  const isKnown = credentials.clientId !== '' && credentials.clientSecret !== ''
  const wantsRaw = [perpetual, future, option, spot].some(({ interval }) => interval === 'raw')
  // "raw interval is only available to authorized users": the venue refuses (13778), so say it before anything starts
  if (wantsRaw && !isKnown)
    throw new Fault('NO_CREDENTIALS', 'interval raw of deribit needs clientId and clientSecret', 78)
  return isKnown ? credentials : undefined
}

/** The reading half of Deribit. */
export const DERIBIT_READ: ReadRules = {
  exchange: EXCHANGE,
  markets: Object.keys(MARKETS),
  parser: (emit) => new DeribitParser(emit),
  sync: () => DERIBIT_SYNC,
  marketOf,
  symbolsTellMarket: true,
  habits: {
    together: [['tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests']],
    greets: ['tickers'], // seen in recordings: options that nobody trades have theirs at once, too
  },
}
