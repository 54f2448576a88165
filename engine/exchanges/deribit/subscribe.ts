import type { Channel, Control, Instrument, Stream, SubscribeFrame } from '../exchange.ts'
import { HEARTBEAT_INTERVAL_S, ROUTE, VOLATILITY_INDEX_NAMES } from './endpoints.ts'
import { resolutionOf } from './resolutions.ts'

/**
 * JSON-RPC 2.0 over one path. Answers carry the id of the request, notifications none:
 *
 *   data             {"jsonrpc":"2.0","method":"subscription","params":{…}}       byte 18 is 'm', byte 27 's'
 *   heartbeat        {"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}
 *   subscribed       {"jsonrpc":"2.0","id":3,"result":["book.BTC-PERPETUAL.100ms",…],…}: what it does not know is left out
 *   answer           {"jsonrpc":"2.0","id":1,"result":"ok",…}
 *   refusal          {"jsonrpc":"2.0","id":3,"error":{"code":10028,"message":"too_many_requests"}}
 */

/** What can be chosen of the channels of one market. */
export interface ChannelChoice {
  /** of book, trades and ticker; `raw` is for connections with a login only */
  readonly interval: '100ms' | 'agg2' | 'raw'
  /** `1m`, `1h` … */
  readonly klineIntervals: readonly string[]
}

/** 250 names of some 40 bytes: 10 KB a frame; each frame costs the same credits, so few are better. */
const CHANNELS_PER_FRAME_MAX = 250
/** Answers name up to all channels of a frame; anything longer goes to the scanner, which counts it as rejected. */
const CONTROL_BYTES_MAX = 64 * 1024

const METHOD_BYTE = 18
const METHOD_NAME_BYTE = 27
const LOWER_M = 0x6d
const LOWER_S = 0x73

/** Ids of subscribe frames and probes count from 1: this one is never theirs. */
const TEST_ID = 0
const TEST_TEXT = rpc(TEST_ID, 'public/test', {})

/** LIMITS: "terminates the session" */
const TOO_MANY_REQUESTS = 10028

export interface Credentials {
  readonly clientId: string
  readonly clientSecret: string
}

export function streams(instrument: Instrument, channel: Channel, choice: ChannelChoice): readonly Stream[] {
  return channelsOf(instrument, channel, choice).map((name) => ({ name, route: ROUTE }))
}

function channelsOf({ symbol, market }: Instrument, channel: Channel, choice: ChannelChoice): readonly string[] {
  const { interval } = choice
  if (market === 'index') {
    if (channel === 'index_prices') return [`deribit_price_index.${symbol}`]
    const hasVolatility = channel === 'volatility_indices' && VOLATILITY_INDEX_NAMES.includes(symbol)
    return hasVolatility ? [`deribit_volatility_index.${symbol}`] : []
  }
  switch (channel) {
    case 'book':
      return [`book.${symbol}.${interval}`]
    case 'trades':
      return [`trades.${symbol}.${interval}`]
    case 'liquidations': // a flag of the trade
      return market === 'spot' ? [] : [`trades.${symbol}.${interval}`]
    case 'book_tickers':
      // `ticker` has the top too, but ten times the bytes for each change of it
      return [`quote.${symbol}`]
    case 'klines':
      return choice.klineIntervals.map((name) => `chart.trades.${symbol}.${resolutionOf(name)}`)
    case 'tickers':
    case 'mark_prices':
    case 'index_prices':
      return [`ticker.${symbol}.${interval}`]
    case 'funding_rates':
      return market === 'perpetual' ? [`ticker.${symbol}.${interval}`] : []
    case 'open_interests':
      return market === 'spot' ? [] : [`ticker.${symbol}.${interval}`]
    default:
      return []
  }
}

export function socketUrl(wsBase: string): string {
  return `${wsBase.replace(/\/+$/, '')}/ws/api/${ROUTE}`
}

function rpc(id: number, method: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

/** A heartbeat always; a login only for what needs one. */
export function openingFrames(credentials: Credentials | undefined, firstId: number): readonly SubscribeFrame[] {
  const heartbeat = {
    id: firstId,
    text: rpc(firstId, 'public/set_heartbeat', { interval: HEARTBEAT_INTERVAL_S }),
    tokens: [String(firstId)],
  }
  if (credentials === undefined) return [heartbeat]
  const id = firstId + 1
  const login = {
    grant_type: 'client_credentials',
    client_id: credentials.clientId,
    client_secret: credentials.clientSecret,
  }
  return [heartbeat, { id, text: rpc(id, 'public/auth', login), tokens: [String(id)] }]
}

export function subscribeFrames(channels: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('public/subscribe', channels, firstId)
}

/** Answered by the channels that are no longer subscribed. */
export function unsubscribeFrames(channels: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('public/unsubscribe', channels, firstId)
}

function frames(method: string, names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  const list: SubscribeFrame[] = []
  for (let at = 0; at < names.length; at += CHANNELS_PER_FRAME_MAX) {
    const id = firstId + list.length
    const channels = names.slice(at, at + CHANNELS_PER_FRAME_MAX)
    list.push({ id, text: rpc(id, method, { channels }), tokens: channels })
  }
  return list
}

export function probeFrame(id: number): SubscribeFrame {
  return { id, text: rpc(id, 'public/test', {}), tokens: [String(id)] }
}

export function isControl(bytes: Uint8Array): boolean {
  return bytes[METHOD_BYTE] !== LOWER_M || bytes[METHOD_NAME_BYTE] !== LOWER_S
}

export function readControl(bytes: Uint8Array): Control | undefined {
  if (bytes.length > CONTROL_BYTES_MAX) return undefined
  const message = tryParse(bytes)
  if (message === undefined) return undefined
  if (message['method'] === 'heartbeat') return heartbeat(message)
  const id = typeof message['id'] === 'number' ? message['id'] : undefined
  const error = asRecord(message['error'])
  if (error !== undefined) return refusal(error, id)
  if (id === undefined || !('result' in message)) return undefined
  const { result } = message
  if (!Array.isArray(result)) return { kind: 'acknowledged', tokens: [String(id)] }
  const channels = result.filter((name) => typeof name === 'string')
  return { kind: 'acknowledged', tokens: [String(id), ...channels], answers: id }
}

function heartbeat(message: Record<string, unknown>): Control {
  const isQuestion = asRecord(message['params'])?.['type'] === 'test_request'
  return isQuestion ? { kind: 'question', answer: TEST_TEXT } : { kind: 'alive' }
}

function refusal(error: Record<string, unknown>, id: number | undefined): Control {
  const code = error['code']
  const details = error['data'] === undefined || error['data'] === null ? '' : ` ${JSON.stringify(error['data'])}`
  const reason = `${String(code)} ${String(error['message'])}${details}`.slice(0, 256)
  if (code === TOO_MANY_REQUESTS || id === undefined) return { kind: 'refused', tokens: [], reason }
  // an error in answer to our answer: the venue speaks, and nobody waits for it
  if (id === TEST_ID) return { kind: 'alive' }
  return { kind: 'refused', tokens: [String(id)], answers: id, reason }
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
