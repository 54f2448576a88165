/**
 * OKX v5 as it is simulated, all markets on one host. Pages: "Overview: WebSocket (Connect, Subscribe, Notification)",
 * "Order Book Trading: Market Data", "Public Data". 3 connects a second; 480 subscribe and unsubscribe requests an hour and
 * connection; dropped after 30 s without anything heard or pushed; text `ping`, text `pong`.
 */
import type { Desk } from '../desk.ts'
import { levelsText } from '../messages.ts'
import type { Protocol } from '../protocol.ts'
import type { EventKind, StreamName, StreamPath, VenueMarket } from '../venue.ts'
import { answer, beat, shutdownNotice } from './control.ts'
import { listing, marketOf } from './listings.ts'
import { refusal, restHeaders, route } from './rest.ts'
import { speak, TIMED, ticker } from './timed.ts'

const HOST: Omit<VenueMarket, 'name'> = {
  streamsMax: 100_000,
  messagesPerSecondMax: 20,
  connectsMax: 3,
  connectWindowMs: 1000,
  connectionsMax: Number.POSITIVE_INFINITY,
  weightPerMinuteMax: 1200, // no budget of its own: 20 requests in 2 s an endpoint
  pingIntervalMs: 0,
  pongDeadlineMs: 0,
}

const SHAPES: Readonly<Record<string, string>> = {
  books:
    '{"arg":{"channel":"books","instId":"$s"},"action":"update","data":[{"asks":[%y],"bids":[%x],"ts":"%E","checksum":0,"seqId":%u,"prevSeqId":%v}]}',
  'bbo-tbt':
    '{"arg":{"channel":"bbo-tbt","instId":"$s"},"data":[{"asks":[["%a","%A","0","2"]],"bids":[["%b","%B","0","1"]],"ts":"%E","seqId":%u}]}',
  trades:
    '{"arg":{"channel":"trades","instId":"$s"},"data":[{"instId":"$s","tradeId":"%i","px":"%p","sz":"%q","side":"%d","ts":"%T","count":"%c","source":"0","seqId":%s}]}',
  'trades-all':
    '{"arg":{"channel":"trades-all","instId":"$s"},"data":[{"instId":"$s","tradeId":"%i","px":"%p","sz":"%q","side":"%d","ts":"%T","source":"0"}]}',
}

/** word → what feeds it, what the engine calls it, and the path that serves it */
const EVENTS: Readonly<Record<string, { kind: EventKind; channel: string; path: StreamPath }>> = {
  books: { kind: 'depth', channel: 'book', path: 'public' },
  'bbo-tbt': { kind: 'bookTicker', channel: 'book_tickers', path: 'public' },
  trades: { kind: 'aggTrade', channel: 'trades', path: 'public' },
  'trades-all': { kind: 'trade', channel: 'trades', path: 'business' },
}

export const OKX: Protocol = {
  exchange: 'okx',
  markets: Object.fromEntries(
    ['spot', 'swap', 'futures', 'option', 'index'].map((name) => [name, { name, ...HOST } satisfies VenueMarket]),
  ),
  sharesHost: true,
  levelForm: 'okx',
  skipsUnknownDeletes: true,
  aggregatesAreNumberedByFills: true,
  bookLevelsMax: 400, // "books": 400 levels
  keepAliveMs: 60_000,
  resets: true,
  listing,
  shape: (_kind, { word }) => SHAPES[word] as string,
  entry: (url) => {
    const path = /^\/ws\/v5\/(public|business)$/.exec(url.pathname)?.[1]
    return path === undefined ? null : { path, combined: false, streams: [] }
  },
  parseStream,
  isServed: () => true, // a channel asked for on the wrong path is no channel: parseStream
  prefix: () => '',
  greeting: ({ word }, _name, desk, nowMs) => {
    if (word === 'books') return book(desk, nowMs)
    return word === 'tickers' ? ticker(desk, nowMs) : null
  },
  speak,
  keepAlive: ({ symbol }, _name, { instrument: { lastDepthId } }, nowMs) =>
    `{"arg":{"channel":"books","instId":"${symbol}"},"action":"update","data":[{"asks":[],"bids":[],"ts":"${nowMs}","checksum":0,"seqId":${lastDepthId},"prevSeqId":${lastDepthId}}]}`,
  resetMessage: () => null,
  answer,
  beat,
  shutdownNotice,
  route,
  refusal,
  restHeaders,
}

/** `name` is `channel:instId`, or `channel:instType` for liquidations; see control.ts. */
function parseStream(name: string, _market: string, path: StreamPath): StreamName | null {
  const at = name.indexOf(':')
  const word = name.slice(0, at)
  const symbol = name.slice(at + 1)
  const event = EVENTS[word]
  if (event !== undefined) {
    const market = marketOf(symbol)
    return event.path === path && market !== null
      ? { market, symbol, kind: event.kind, channel: event.channel, word }
      : null
  }
  const timed = TIMED[word]
  if (timed === undefined || timed.path !== path) return null
  const { channel, everyMs } = timed
  if (word === 'liquidation-orders')
    return { market: symbol.toLowerCase(), symbol: '', kind: 'timed', channel, word, everyMs }
  const market = word === 'index-tickers' ? 'index' : marketOf(symbol)
  return market === null ? null : { market, symbol, kind: 'timed', channel, word, everyMs }
}

/** "books": the whole book first. It is what all changes up to now add up to. */
function book(desk: Desk, nowMs: number): string {
  const { instrument, ledger } = desk
  const { symbol } = instrument.listing
  const side = (levels: ReadonlyMap<number, number> | undefined, isBid: boolean): string => {
    const sorted = [...(levels ?? [])].sort((left, right) => (isBid ? right[0] - left[0] : left[0] - right[0]))
    return levelsText(instrument.listing, 'okx', sorted.slice(0, 400))
  }
  return `{"arg":{"channel":"books","instId":"${symbol}"},"action":"snapshot","data":[{"asks":[${side(ledger?.asks, false)}],"bids":[${side(ledger?.bids, true)}],"ts":"${nowMs}","checksum":0,"seqId":${instrument.lastDepthId},"prevSeqId":-1}]}`
}
