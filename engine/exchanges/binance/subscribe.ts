import type { Channel, Control, Stream, SubscribeFrame } from '../exchange.ts'
import { type BinanceMarket, SINGLE_ROUTE } from './endpoints.ts'

/**
 * Streams are asked for with SUBSCRIBE frames on an empty combined connection (`/stream`), not in the URL: a frame is
 * acknowledged by id, a URL is not, and no URL grows beyond what a proxy lets through.
 *
 *   data            {"stream":"btcusdt@depth@0ms","data":{…}}     byte 2 is 's'
 *   planned stop    {"stream":"!serverShutdown","data":{…}}       byte 2 is 's', byte 11 is '!'
 *   acknowledgement {"result":null,"id":1}
 *   refusal         {"error":{"code":2,"msg":"…"},"id":1} or {"code":2,"msg":"…"}
 */

/** 200 names of at most 40 bytes keep a frame under 8 KiB; public clients send as many at once. */
const STREAMS_PER_FRAME_MAX = 200
/** Acknowledgements are short; anything longer that is not data goes to the scanner, which counts it as rejected. */
const CONTROL_BYTES_MAX = 64 * 1024

const STREAM_BYTE = 2
const STREAM_NAME_BYTE = 11
const LOWER_S = 0x73
const BANG = 0x21

export function streams(market: BinanceMarket, symbol: string, channel: Channel): readonly Stream[] {
  const route = market.routes[channel]
  if (route === undefined) return []
  const name = symbol.toLowerCase()
  switch (channel) {
    case 'book':
      return [{ name: `${name}@${depthStream(market)}`, route }]
    case 'trades':
      return [{ name: `${name}@trade`, route }]
    case 'agg_trades':
      return [{ name: `${name}@aggTrade`, route }]
    case 'book_tickers':
      return [{ name: `${name}@bookTicker`, route }]
    case 'klines':
      return market.klineIntervals.map((interval) => ({ name: `${name}@kline_${interval}`, route }))
    case 'tickers':
      return [{ name: `${name}@ticker`, route }]
    // One stream has all three. COIN-M sends the index price in it since 2026-06-30; before, it came by pair alone
    // (`<pair>@indexPrice`, which still exists, without `@1s`), so that no pair streams are needed.
    case 'mark_prices':
    case 'index_prices':
    case 'funding_rates':
      return [{ name: `${name}@markPrice@1s`, route }]
    case 'liquidations':
      return [{ name: `${name}@forceOrder`, route }]
    default:
      return []
  }
}

function depthStream({ depthSpeedMs, depthSpeedUnnamedMs }: BinanceMarket): string {
  return depthSpeedMs === depthSpeedUnnamedMs ? 'depth' : `depth@${depthSpeedMs}ms`
}

export function socketUrl(route: string, wsBase: string): string {
  const base = wsBase.replace(/\/+$/, '')
  return route === SINGLE_ROUTE ? `${base}/stream` : `${base}/${route}/stream`
}

export function subscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('SUBSCRIBE', names, firstId)
}

export function unsubscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('UNSUBSCRIBE', names, firstId)
}

function frames(method: string, names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  const list: SubscribeFrame[] = []
  for (let at = 0; at < names.length; at += STREAMS_PER_FRAME_MAX) {
    const id = firstId + list.length
    const params = names.slice(at, at + STREAMS_PER_FRAME_MAX)
    list.push({ id, text: JSON.stringify({ method, params, id }), tokens: [String(id)] })
  }
  return list
}

/** Asks what is subscribed; the content of the answer does not matter, that it comes does. */
export function probeFrame(id: number): SubscribeFrame {
  return { id, text: JSON.stringify({ method: 'LIST_SUBSCRIPTIONS', id }), tokens: [String(id)] }
}

export function isControl(bytes: Uint8Array): boolean {
  return bytes[STREAM_BYTE] !== LOWER_S || bytes[STREAM_NAME_BYTE] === BANG
}

export function readControl(bytes: Uint8Array): Control | undefined {
  if (bytes.length > CONTROL_BYTES_MAX) return undefined
  const message = tryParse(bytes)
  if (message === undefined) return undefined
  if (isShutdown(message)) return { kind: 'shutdown' }
  const id = typeof message['id'] === 'number' ? message['id'] : undefined
  const error = asRecord(message['error']) ?? message
  if (typeof error['code'] === 'number' && 'msg' in error) {
    return {
      kind: 'refused',
      tokens: id === undefined ? [] : [String(id)],
      reason: `${error['code']} ${String(error['msg']).slice(0, 256)}`,
    }
  }
  if (id !== undefined && 'result' in message) return { kind: 'acknowledged', tokens: [String(id)] }
  return undefined
}

/** Combined form names the stream, raw form only the event. */
function isShutdown(message: Record<string, unknown>): boolean {
  const data = asRecord(message['data']) ?? message
  return message['stream'] === '!serverShutdown' || data['e'] === 'serverShutdown'
}

function tryParse(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return asRecord(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')))
  } catch {
    return undefined // nonsense is the scanner's to count
  }
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
