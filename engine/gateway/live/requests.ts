/** What clients of /v1/stream may say, read strictly: it comes from outside. */
import { unpack } from 'msgpackr'
import { nearest } from '../../base/nearest.ts'
import { Pattern } from './subject.ts'
import { BOOK_TYPE, STREAM_TYPES } from './topic.ts'

export type RequestId = number | string | null

export type StreamRequest =
  | { readonly op: 'auth'; readonly id: RequestId; readonly key: string }
  | {
      readonly op: 'subscribe'
      readonly id: RequestId
      readonly patterns: readonly Pattern[]
      readonly depth: number
      readonly from: string | undefined
    }
  | { readonly op: 'unsubscribe'; readonly id: RequestId; readonly patterns: readonly Pattern[] }
  | { readonly op: 'ping'; readonly id: RequestId }

/** Why a request is none. */
export class Refusal extends Error {
  readonly code: string
  readonly id: RequestId

  constructor(code: string, message: string, id: RequestId = null) {
    super(message)
    this.code = code
    this.id = id
  }
}

const OPS = ['auth', 'subscribe', 'unsubscribe', 'ping']
export const DEPTH_MAX = 5_000
/** In one request; a client with more sends several. */
const PATTERNS_MAX = 1_000
const ID_CHARS_MAX = 64
const SHOWN_CHARS_MAX = 64

export function readRequest(payload: Buffer, isBinary: boolean): StreamRequest {
  const said = parsed(payload, isBinary)
  const id = idOf(said['id'])
  const { op } = said
  switch (op) {
    case 'auth':
      if (typeof said['key'] !== 'string') throw new Refusal('bad_request', 'auth: key is missing', id)
      return { op, id, key: said['key'] }
    case 'subscribe':
      return {
        op,
        id,
        patterns: patternsOf(said['patterns'], id),
        depth: depthOf(said['depth'], id),
        from: fromOf(said['from'], id),
      }
    case 'unsubscribe':
      return { op, id, patterns: patternsOf(said['patterns'], id) }
    case 'ping':
      return { op, id }
    default:
      throw new Refusal('unknown_op', `op is ${shown(op)}: allowed is ${OPS.join(', ')}`, id)
  }
}

function parsed(payload: Buffer, isBinary: boolean): Record<string, unknown> {
  try {
    const said: unknown = isBinary ? unpack(payload) : JSON.parse(payload.toString())
    if (typeof said === 'object' && said !== null && !Array.isArray(said)) return said as Record<string, unknown>
  } catch {
    // told below
  }
  throw new Refusal('bad_request', 'a message is one object in JSON, or in msgpack as a binary frame')
}

function idOf(id: unknown): RequestId {
  if (id === undefined || id === null) return null
  if (typeof id === 'string' && id.length <= ID_CHARS_MAX) return id
  if (typeof id === 'number' && Number.isSafeInteger(id)) return id
  throw new Refusal('bad_request', `id is a whole number or a text of at most ${ID_CHARS_MAX} characters`)
}

function patternsOf(given: unknown, id: RequestId): Pattern[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > PATTERNS_MAX)
    throw new Refusal(
      'bad_request',
      `patterns is a list of 1 to ${PATTERNS_MAX} patterns, e.g. ["trade.binance.usdm.*"]`,
      id,
    )
  return [...new Set(given)].map((text) => patternOf(text, id))
}

function patternOf(text: unknown, id: RequestId): Pattern {
  const pattern = typeof text === 'string' ? Pattern.parse(text) : 'a pattern is text'
  if (typeof pattern === 'string') throw new Refusal('bad_pattern', `pattern ${shown(text)}: ${pattern}`, id)
  const { typeWord } = pattern
  if (!STREAM_TYPES.includes(typeWord) && !typeWord.includes('*') && typeWord !== '>') {
    const guess = nearest(typeWord, STREAM_TYPES)
    const remedy = guess === null ? `there are ${STREAM_TYPES.join(', ')}` : `did you mean ${guess}?`
    throw new Refusal('unknown_type', `pattern ${shown(text)}: no type ${shown(typeWord)}; ${remedy}`, id)
  }
  return pattern
}

function depthOf(depth: unknown, id: RequestId): number {
  if (depth === undefined || depth === null) return 0
  if (typeof depth === 'number' && Number.isInteger(depth) && depth >= 1 && depth <= DEPTH_MAX) return depth
  throw new Refusal(
    'bad_request',
    `depth = ${shown(depth)}: allowed is a whole number, 1 … ${DEPTH_MAX}; none = the whole ${BOOK_TYPE}`,
    id,
  )
}

function fromOf(from: unknown, id: RequestId): string | undefined {
  if (from === undefined || from === null) return undefined
  if (typeof from === 'string' && /^[a-z0-9]{1,32}-\d{1,16}$/.test(from)) return from
  throw new Refusal('bad_request', `from = ${shown(from)}: give the seq of the last message that you have`, id)
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'missing')
  const clean = text.replace(/[^\x20-\x7e]/g, '?')
  return clean.length > SHOWN_CHARS_MAX ? `${clean.slice(0, SHOWN_CHARS_MAX)}...` : clean
}
