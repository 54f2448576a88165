/** The fault script: what can go wrong with a venue, said as plain objects. */
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { MARKET_NAMES } from './binance/index.ts'
import type { MarketName } from './venue.ts'

/** kind → what it does; the text is what `--help` prints. */
export const FAULT_KINDS = {
  gap: 'the next `count` events of the stream are not sent',
  duplicate: 'the next `count` events of the stream are sent twice',
  reorder: 'the next `count` pairs of events of the stream swap places',
  silent: 'the stream sends nothing for `seconds`; socket and pings live on',
  truncated: 'the next `count` events of the stream come cut in half',
  corrupt: 'the next `count` events of the stream come with bytes that are not theirs',
  malformed: 'a frame that is not JSON',
  nested: 'a frame of `count` nested arrays (default 100,000)',
  huge: 'a frame of `bytes` (default 64 MiB)',
  unknown: 'a frame of an event type and symbol that do not exist',
  close: 'a connection is closed: close frame with `code` (default 1001), or a TCP reset with `rst`',
  close_all: 'all connections of the market are closed at once, `code` or `rst`',
  stall: 'nothing at all is sent on a connection for `seconds`, pings neither; what happens meanwhile is lost on it',
  broken_frame: 'a WebSocket frame with reserved bits set, against the protocol',
  no_pings: 'the server sends no pings for `seconds`',
  no_pongs: 'the server does not see pongs for `seconds`, so it closes at its deadline',
  rest_429: 'REST answers 429 for `seconds`',
  rest_418: 'REST answers 418 for `seconds`',
  rest_500: 'REST answers 500 for `seconds`',
  rest_slow: 'REST answers `ms` later (default 3,000) for `seconds`',
  stale_snapshot: 'the next `count` depth requests get the book of this moment, however late they come',
  server_shutdown:
    'a planned stop is announced where the venue does that, all connections close `seconds` later (default 5)',
  refuse_subscription: 'the next `count` subscriptions of such a stream are answered by an error',
  mute_subscription: 'the next `count` subscriptions of such a stream are accepted, and nothing comes',
  reset: 'the numbering of a book starts anew (OKX: a small seqId; Bybit: a snapshot with u = 1); nothing is lost',
  keep_alive: 'a book says that it lives and did not change (OKX)',
  list: 'a new instrument; REST lists it',
  delist: 'an instrument trades no longer; REST says so, its streams say nothing more',
  tick_change: 'REST says that the tick of an instrument has one digit more',
} as const

export type FaultKind = keyof typeof FAULT_KINDS

/** What chance draws from: faults that a client must survive without being cut off for long. */
export const RANDOM_KINDS: readonly FaultKind[] = [
  'gap',
  'duplicate',
  'reorder',
  'truncated',
  'malformed',
  'unknown',
  'silent',
  'close',
  'rest_slow',
  'stale_snapshot',
]

export interface FaultSpec {
  readonly kind: FaultKind
  /** seconds after the market's start; default: at once */
  readonly at?: number
  /** where it strikes; whatever is left out is chosen by the seed among what is subscribed */
  readonly market?: MarketName
  readonly symbol?: string
  /** a stream's name or word (trade, aggTrade, bookTicker, depth, books, tickers …) or its channel (book, trades …) */
  readonly stream?: string
  readonly connection?: number
  readonly count?: number
  readonly seconds?: number
  readonly ms?: number
  readonly bytes?: number
  readonly code?: number
  readonly rst?: boolean
}

const NUMBER_KEYS = ['at', 'connection', 'count', 'seconds', 'ms', 'bytes', 'code'] as const
const KEYS = new Set<string>([...NUMBER_KEYS, 'kind', 'market', 'symbol', 'stream', 'rst'])

/** Reads a fault script: a JSON array of faults. @param markets what a fault may name as its market (default: Binance's). */
export function parseFaults(text: string, markets: readonly MarketName[] = MARKET_NAMES): FaultSpec[] {
  let script: unknown
  try {
    script = JSON.parse(text)
  } catch (error) {
    throw scriptFault(`is not JSON (${(error as Error).message}); give an array such as [{"at":5,"kind":"gap"}]`)
  }
  if (!Array.isArray(script)) throw scriptFault('is not an array; give one such as [{"at":5,"kind":"gap"}]')
  return script
    .map((spec, index) => checkSpec(spec, index, markets))
    .sort((left, right) => (left.at ?? 0) - (right.at ?? 0))
}

function checkSpec(spec: Record<string, unknown>, index: number, markets: readonly MarketName[]): FaultSpec {
  const where = `fault ${index + 1}`
  if (typeof spec !== 'object' || spec === null) throw scriptFault(`${where} is not an object`)
  const unknown = Object.keys(spec).find((key) => !KEYS.has(key))
  if (unknown !== undefined)
    throw scriptFault(`${where} has the unknown key "${unknown}"; known: ${[...KEYS].join(', ')}`)
  if (!Object.hasOwn(FAULT_KINDS, String(spec.kind))) {
    throw scriptFault(`${where} has the kind "${String(spec.kind)}"; known: ${Object.keys(FAULT_KINDS).join(', ')}`)
  }
  if (spec.market !== undefined && !markets.includes(spec.market as MarketName)) {
    throw scriptFault(`${where} has the market "${String(spec.market)}"; known: ${markets.join(', ')}`)
  }
  const wrong = NUMBER_KEYS.find((key) => spec[key] !== undefined && !(Number(spec[key]) >= 0))
  if (wrong !== undefined) throw scriptFault(`${where}: ${wrong} is "${String(spec[wrong])}"; give a number >= 0`)
  return spec as unknown as FaultSpec
}

const scriptFault = (text: string): Fault => new Fault('FAULT_SCRIPT', `the fault script ${text}`, EXIT_USAGE)
