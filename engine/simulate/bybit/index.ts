/**
 * Bybit v5 as it is simulated: spot, linear, inverse, each on a path of one host. Pages: "WebSocket Stream: Connect" (a ping
 * every 20 s, cut off after 10 minutes without), "Public Topics", "Rate Limit Rules". Here each market has a port of its
 * own, for symbols of spot and linear are the same and limits count by market.
 */
import type { Connection } from '../connection.ts'
import type { Desk } from '../desk.ts'
import { levelsText } from '../messages.ts'
import type { Protocol, Session } from '../protocol.ts'
import type { EventKind, StreamName, VenueMarket } from '../venue.ts'
import { listing } from './listings.ts'
import { refusal, restHeaders, route } from './rest.ts'
import { speak, TIMED, ticker } from './timed.ts'

const HOST: Omit<VenueMarket, 'name'> = {
  streamsMax: 100_000,
  messagesPerSecondMax: 50,
  connectsMax: 500,
  connectWindowMs: 300_000,
  connectionsMax: 1000,
  weightPerMinuteMax: 7200, // 600 requests in 5 s
  pingIntervalMs: 0,
  pongDeadlineMs: 0,
}
const SILENCE_MS_MAX = 600_000
const SPOT_ARGS_MAX = 10

/** Spot and derivatives differ in the order of keys. `fixed`: `"type":"delta","ts":1` or the other way round. */
const typed = (type: string, isSpot: boolean): string =>
  isSpot ? `"ts":%E,"type":"${type}"` : `"type":"${type}","ts":%E`

function shape(kind: EventKind, isSpot: boolean): string {
  switch (kind) {
    case 'depth':
      return `{"topic":"$n",${typed('delta', isSpot)},"data":{"s":"$s","b":[%x],"a":[%y],"u":%u,"seq":%s},"cts":%T}`
    case 'bookTicker':
      return `{"topic":"$n",${typed('snapshot', isSpot)},"data":{"s":"$s","b":[["%b","%B"]],"a":[["%a","%A"]],"u":%u,"seq":%s},"cts":%T}`
    default:
      return isSpot
        ? `{"topic":"$n",${typed('snapshot', true)},"data":[{"i":"2290000000%i","T":%T,"p":"%p","v":"%q","S":"%D","seq":%s,"s":"$s","BT":false,"RPI":false}]}`
        : `{"topic":"$n",${typed('snapshot', false)},"data":[{"T":%T,"s":"$s","S":"%D","v":"%q","p":"%p","L":"ZeroPlusTick","i":"5f000000-0000-4000-8000-000%i","BT":false,"RPI":false,"seq":%s}]}`
  }
}

export const BYBIT: Protocol = {
  exchange: 'bybit',
  markets: Object.fromEntries(
    ['spot', 'linear', 'inverse'].map((name) => [name, { name, ...HOST } satisfies VenueMarket]),
  ),
  sharesHost: false,
  levelForm: 'pair',
  skipsUnknownDeletes: true,
  aggregatesAreNumberedByFills: false,
  bookLevelsMax: 200, // "Orderbook": 200 levels
  keepAliveMs: 0,
  resets: true,
  listing,
  shape: (kind, { market }) => shape(kind, market === 'spot'),
  entry: (url, { name }) =>
    url.pathname === `/v5/public/${name}` ? { path: 'all', combined: false, streams: [] } : null,
  parseStream,
  isServed: () => true,
  prefix: () => '',
  greeting: ({ kind, word }, name, desk, nowMs) => {
    if (kind === 'depth') return book(name, desk, nowMs)
    return word === 'tickers' ? ticker(name, desk, nowMs, true) : null
  },
  speak,
  keepAlive: () => null,
  resetMessage: ({ kind }, name, desk, nowMs) => (kind === 'depth' ? book(name, desk, nowMs) : null),
  answer,
  beat: (session, connection, nowMs) => {
    if (nowMs - connection.lastHeardMs > SILENCE_MS_MAX * session.heartbeatScale)
      session.close(connection, 1006, 'no ping for 10 minutes')
  },
  shutdownNotice: () => null,
  route,
  refusal,
  restHeaders,
}

function parseStream(name: string, market: string): StreamName | null {
  const [, word, detail, symbol] = /^(orderbook|kline)\.([0-9A-Z]+)\.([A-Z0-9-]+)$/.exec(name) ?? []
  if (word === 'orderbook' && symbol !== undefined) {
    if (detail === '1') return { market, symbol, kind: 'bookTicker', channel: 'book_tickers', word }
    return ['50', '200', '1000'].includes(detail ?? '')
      ? { market, symbol, kind: 'depth', channel: 'book', word }
      : null
  }
  if (word === 'kline' && symbol !== undefined) return detail === '1' ? timed(market, symbol, 'kline') : null
  const [, plain, of] = /^(publicTrade|tickers|allLiquidation)\.([A-Z0-9-]+)$/.exec(name) ?? []
  if (plain === undefined || of === undefined) return null
  if (plain === 'publicTrade') return { market, symbol: of, kind: 'trade', channel: 'trades', word: plain }
  return plain === 'allLiquidation' && market === 'spot' ? null : timed(market, of, plain)
}

function timed(market: string, symbol: string, word: string): StreamName | null {
  const found = TIMED[word]
  return found === undefined ? null : { market, symbol, kind: 'timed', word, ...found }
}

/** "Orderbook": a snapshot first, and whenever the service was restarted, then with u = 1. */
function book(name: string, desk: Desk, nowMs: number): string {
  const { instrument, ledger } = desk
  const { listing: entry, lastDepthId, seq } = instrument
  const depth = Number(name.split('.')[1])
  const side = (levels: ReadonlyMap<number, number> | undefined, isBid: boolean): string => {
    const sorted = [...(levels ?? [])].sort((left, right) => (isBid ? right[0] - left[0] : left[0] - right[0]))
    return levelsText(entry, 'pair', sorted.slice(0, depth))
  }
  const head = typed('snapshot', entry.market === 'spot').replace('%E', String(nowMs))
  return `{"topic":"${name}",${head},"data":{"s":"${entry.symbol}","b":[${side(ledger?.bids, true)}],"a":[${side(ledger?.asks, false)}],"u":${lastDepthId},"seq":${seq}},"cts":${nowMs}}`
}

function answer(session: Session, connection: Connection, text: string): void {
  let request: { req_id?: unknown; op?: unknown; args?: unknown }
  try {
    request = JSON.parse(text)
  } catch {
    return reply(connection, false, 'Invalid JSON', '', 'error')
  }
  const id = typeof request.req_id === 'string' ? request.req_id : ''
  const { op, args } = request
  if (op === 'ping') return reply(connection, true, 'pong', id, 'ping')
  if ((op !== 'subscribe' && op !== 'unsubscribe') || !isNames(args))
    return reply(connection, false, 'Request not authorized', id, String(op))
  const isSpot = [...connection.streams.values()].some((stream) => stream?.market === 'spot')
  if (session.limitsEnforced && isSpot && args.length > SPOT_ARGS_MAX)
    return reply(connection, false, `args size >${SPOT_ARGS_MAX}`, id, op)
  if (op === 'unsubscribe') {
    session.unsubscribe(connection, args)
    return reply(connection, true, '', id, op)
  }
  subscribe(session, connection, id, args)
}

/** One wrong topic refuses the request; what stands before it is subscribed all the same. */
function subscribe(session: Session, connection: Connection, id: string, names: readonly string[]): void {
  const accepted: string[] = []
  for (const name of names) {
    const became = session.subscribe(connection, name)
    if (became === 'closed') return
    if (became !== 'accepted') {
      reply(connection, false, `error:handler not found,topic:${name}`, id, 'subscribe')
      break
    }
    accepted.push(name)
  }
  if (accepted.length === names.length) reply(connection, true, '', id, 'subscribe')
  for (const name of accepted) session.greet(connection, name)
}

const isNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((name) => typeof name === 'string')

function reply(connection: Connection, success: boolean, message: string, id: string, op: string): void {
  connection.say(
    JSON.stringify({ success, ret_msg: message, conn_id: `simulated-${connection.index}`, req_id: id, op }),
  )
}
