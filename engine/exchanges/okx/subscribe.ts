import { createHmac } from 'node:crypto'
import type { KlineInterval } from '../../record/schema-kinds.ts'
import type { Channel, Control, Instrument, Stream, SubscribeFrame } from '../exchange.ts'
import {
  type BookStream,
  BUSINESS_ROUTE,
  KLINE_WORDS,
  type OkxMarket,
  PUBLIC_ROUTE,
  type TradeStream,
} from './endpoints.ts'

/**
 * A stream is a channel and what it is about: `books:BTC-USDT`, `liquidation-orders:SWAP`, `opt-summary:BTC-USD`.
 *
 *   data            {"arg":{"channel":"books","instId":"BTC-USDT"},"data":[…]}          byte 2 is 'a'
 *   acknowledgement {"event":"subscribe","arg":{…},"connId":"…"}, one for each arg       byte 2 is 'e'; with an id 'i'
 *   refusal         {"event":"error","msg":"Wrong URL or channel:…,instId:… doesn't exist …","code":"60018",…}
 *   planned stop    {"event":"notice","code":"64008",…}, 60 s ahead
 *   answer to ping  pong                                                                 byte 2 is 'n'
 *
 * Pages: "Overview, WebSocket: Connect, Login, Subscribe, Unsubscribe, Notification".
 */

/** WebSocket Subscribe: "the total length of multiple channels cannot exceed 64 KB"; frames stay well below. */
const FRAME_BYTES_MAX = 32 * 1024
/** The longest frame that is looked at as a control frame: an error repeats the request. */
const CONTROL_BYTES_MAX = 128 * 1024
const SHUTDOWN_CODE = '64008'
const ARG_BYTE = 2
const LOWER_A = 0x61
const PONG = 'pong'
const LOGIN = 'login'

/** What the sockets of one market ask for. */
export interface StreamOptions {
  readonly bookStream: BookStream
  readonly tradeStream: TradeStream
  readonly klineIntervals: readonly KlineInterval[]
}

export interface OkxCredentials {
  readonly apiKey: string
  readonly secret: string
  readonly passphrase: string
}

export function streams(
  market: OkxMarket,
  { symbol, underlying }: Instrument,
  channel: Channel,
  options: StreamOptions,
): readonly Stream[] {
  if (!market.channels.includes(channel)) return []
  const publicStream = (word: string, about = symbol): Stream => ({ name: `${word}:${about}`, route: PUBLIC_ROUTE })
  switch (channel) {
    case 'book':
      return [publicStream(options.bookStream)]
    case 'trades':
      return [
        {
          ...publicStream(options.tradeStream),
          route: options.tradeStream === 'trades' ? PUBLIC_ROUTE : BUSINESS_ROUTE,
        },
      ]
    case 'book_tickers':
      return [publicStream('bbo-tbt')]
    case 'klines':
      return options.klineIntervals.flatMap((interval) => {
        const word = KLINE_WORDS[interval]
        return word === undefined ? [] : [{ name: `candle${word}:${symbol}`, route: BUSINESS_ROUTE }]
      })
    case 'tickers':
      // the greeks of options come a family at a time, once a connection
      return market.name === 'option' && underlying !== undefined
        ? [publicStream('tickers'), publicStream('opt-summary', underlying)]
        : [publicStream('tickers')]
    case 'mark_prices':
      return [publicStream('mark-price')]
    case 'index_prices':
      return [publicStream('index-tickers')]
    case 'funding_rates':
      return [publicStream('funding-rate')]
    case 'open_interests':
      return [publicStream('open-interest')]
    case 'liquidations':
      return [publicStream('liquidation-orders', market.instType)] // by type, once a connection
    default:
      return []
  }
}

export function socketUrl(route: string, wsBase: string): string {
  return `${wsBase.replace(/\/+$/, '')}/ws/v5/${route}`
}

/** WebSocket Login: "timestamp + 'GET' + '/users/self/verify'", HMAC SHA256 in Base64; the time in seconds. */
export function loginFrame(credentials: OkxCredentials, id: number, nowMs: number): SubscribeFrame {
  const timestamp = String(Math.floor(nowMs / 1000))
  const sign = createHmac('sha256', credentials.secret).update(`${timestamp}GET/users/self/verify`).digest('base64')
  const args = [{ apiKey: credentials.apiKey, passphrase: credentials.passphrase, timestamp, sign }]
  return { id, text: JSON.stringify({ op: LOGIN, args }), tokens: [LOGIN] }
}

export function subscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('subscribe', names, firstId)
}

export function unsubscribeFrames(names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  return frames('unsubscribe', names, firstId)
}

function frames(op: string, names: readonly string[], firstId: number): readonly SubscribeFrame[] {
  const list: SubscribeFrame[] = []
  let [args, tokens, bytes]: [string[], string[], number] = [[], [], 0]
  const finish = (): void => {
    const id = firstId + list.length
    list.push({ id, text: `{"id":"${id}","op":"${op}","args":[${args.join(',')}]}`, tokens })
    ;[args, tokens, bytes] = [[], [], 0]
  }
  for (const name of names) {
    const arg = JSON.stringify(argOf(name))
    if (bytes + arg.length > FRAME_BYTES_MAX) finish()
    args.push(arg)
    tokens.push(tokenOf(op, name))
    bytes += arg.length + 1
  }
  if (args.length > 0) finish()
  return list
}

/** An answer to `unsubscribe` is none to a `subscribe` of the same stream. */
function tokenOf(op: string, name: string): string {
  return op === 'unsubscribe' ? `-${name}` : name
}

function argOf(name: string): Record<string, string> {
  const colon = name.indexOf(':')
  const [channel, about] = [name.slice(0, colon), name.slice(colon + 1)]
  if (channel === 'liquidation-orders') return { channel, instType: about }
  if (channel === 'opt-summary') return { channel, instFamily: about }
  return { channel, instId: about }
}

function nameOf(arg: Record<string, unknown> | undefined): string | undefined {
  const about = arg?.['instId'] ?? arg?.['instFamily'] ?? arg?.['instType']
  return typeof arg?.['channel'] === 'string' && typeof about === 'string' ? `${arg['channel']}:${about}` : undefined
}

/** WebSocket Connect: the text `ping`, answered by the text `pong`. */
export function probeFrame(id: number): SubscribeFrame {
  return { id, text: 'ping', tokens: [PONG] }
}

export function isControl(bytes: Uint8Array): boolean {
  return bytes[ARG_BYTE] !== LOWER_A
}

export function readControl(bytes: Uint8Array): Control | undefined {
  if (bytes.length > CONTROL_BYTES_MAX) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
  if (text === PONG) return { kind: 'acknowledged', tokens: [PONG] }
  const message = tryParse(text)
  const event = message?.['event']
  if (message === undefined || typeof event !== 'string') return undefined
  const name = nameOf(asRecord(message['arg']))
  switch (event) {
    case 'subscribe':
    case 'unsubscribe':
      return { kind: 'acknowledged', tokens: name === undefined ? [] : [tokenOf(event, name)] }
    case 'login':
      return message['code'] === '0' ? { kind: 'acknowledged', tokens: [LOGIN] } : refusal(message, undefined)
    case 'notice':
      return { kind: message['code'] === SHUTDOWN_CODE ? 'shutdown' : 'alive' }
    case 'error':
    case 'channel-conn-count-error': // more connections than the account may have on a channel
      return refusal(message, name)
    default:
      return { kind: 'alive' } // channel-conn-count, and what may come
  }
}

/** Real refusals carry no arg, but their text names it; one that names nothing is of the connection. */
function refusal(message: Record<string, unknown>, name: string | undefined): Control {
  const text = String(message['msg'] ?? message['event'])
  const match = /channel: ?([\w-]+), ?inst(?:Id|Family|Type): ?([\w-]+)/.exec(text)
  const refused = name ?? (match === null ? undefined : `${match[1]}:${match[2]}`)
  return {
    kind: 'refused',
    tokens: refused === undefined ? [] : [refused],
    reason: `${String(message['code'] ?? '')} ${text.slice(0, 256)}`.trim(),
  }
}

function tryParse(text: string): Record<string, unknown> | undefined {
  try {
    return asRecord(JSON.parse(text))
  } catch {
    return undefined // nonsense is the parser's to count
  }
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
