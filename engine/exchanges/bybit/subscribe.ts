import type { Channel, Control, Stream, SubscribeFrame } from '../exchange.ts'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import { type BybitMarket, KLINE_WORDS, ROUTE } from './endpoints.ts'

/**
 * Topics are asked for by request, each acknowledged by its `req_id`.
 *
 *   data            {"topic":"orderbook.200.BTCUSDT",…}                                   byte 2 is 't'
 *   acknowledgement {"success":true,"ret_msg":"","conn_id":"…","req_id":"1","op":"subscribe"}
 *   refusal         {"success":false,"ret_msg":"error:handler not found,topic:…","conn_id":"…","req_id":"1","op":"subscribe"}
 *   pong            {"success":true,"ret_msg":"pong","conn_id":"…","req_id":"","op":"ping"}     without req_id on spot
 *   pong            {"req_id":"1","op":"pong","args":["1675418560633"],"conn_id":"…"}           other stream classes
 */

/** CONNECT, Public channel args limits: spot takes 10 a request; the others more, but a request does not say its market. */
const ARGS_PER_REQUEST_MAX = 10
/** Acknowledgements are short; anything longer goes to the parser, which counts it. */
const CONTROL_BYTES_MAX = 64 * 1024
const TOPIC_BYTE = 2
const LOWER_T = 0x74

export interface StreamOptions {
  readonly bookDepth: number
  readonly klineIntervals: readonly KlineInterval[]
}

export function streams(
  market: BybitMarket,
  symbol: string,
  channel: Channel,
  options: StreamOptions,
): readonly Stream[] {
  return topics(market, channel, options).map((topic) => ({ name: `${topic}.${symbol}`, route: ROUTE }))
}

function topics(market: BybitMarket, channel: Channel, options: StreamOptions): readonly string[] {
  switch (channel) {
    case 'book':
      return [`orderbook.${options.bookDepth}`]
    case 'trades':
      return ['publicTrade']
    case 'book_tickers':
      return ['orderbook.1']
    case 'klines':
      return options.klineIntervals.flatMap((interval) => {
        const word = KLINE_WORDS[interval]
        return word === undefined ? [] : [`kline.${word}`]
      })
    case 'tickers':
      return ['tickers']
    case 'mark_prices':
    case 'index_prices':
    case 'funding_rates':
    case 'open_interests':
      return market.isDerivative ? ['tickers'] : []
    case 'liquidations':
      return market.isDerivative ? ['allLiquidation'] : []
    default:
      return []
  }
}

export function socketUrl(market: BybitMarket, wsBase: string): string {
  return `${wsBase.replace(/\/+$/, '')}/v5/public/${market.name}`
}

export function subscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('subscribe', names, firstId)
}

export function unsubscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('unsubscribe', names, firstId)
}

function frames(op: string, names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  const list: SubscribeFrame[] = []
  for (let at = 0; at < names.length; at += ARGS_PER_REQUEST_MAX) {
    const id = firstId + list.length
    const args = names.slice(at, at + ARGS_PER_REQUEST_MAX)
    list.push({ id, text: JSON.stringify({ op, req_id: String(id), args }), tokens: [String(id)] })
  }
  return list
}

/** Its answer names the id on some markets only: whatever comes is the sign of life. */
export function probeFrame(id: number): SubscribeFrame {
  return { id, text: JSON.stringify({ op: 'ping', req_id: String(id) }), tokens: [String(id)] }
}

export function isControl(bytes: Uint8Array): boolean {
  return bytes[TOPIC_BYTE] !== LOWER_T
}

export function readControl(bytes: Uint8Array): Control | undefined {
  if (bytes.length > CONTROL_BYTES_MAX) return undefined
  const message = tryParse(bytes)
  if (message === undefined || 'topic' in message) return undefined
  const { op, success, ret_msg: reason, req_id: id } = message
  if (typeof op !== 'string' && typeof success !== 'boolean') return undefined
  const tokens = typeof id === 'string' && id !== '' ? [id] : []
  if (success === false) return { kind: 'refused', tokens, reason: String(reason).slice(0, 256) }
  return tokens.length > 0 ? { kind: 'acknowledged', tokens } : { kind: 'alive' }
}

function tryParse(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined // nonsense is the parser's to count
  }
}
