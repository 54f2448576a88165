import { FixedText, wordOf } from '../../scan/words.ts'

/** The fixed text of Binance's frames, as words, and what compares it. */
export const QUOTE = 34
const COLON = 58
export const CLOSE_BRACKET = 93
export const CLOSE_BRACE = 125
const BACKSLASH = 92
export const OPEN_BRACE = 123
const LOWER_U = 117
/** The `s` of `{"stream":`. */
export const STREAM_BYTE = 115
export const FRAME_BYTES_MIN = 32
export const NO_PLACE = -1

export const STREAM = new FixedText('{"stream":"')
export const DATA = new FixedText('","data":{')
const DEPTH_HEAD = new FixedText('"e":"depthUpdate","E":')
const TRADE_HEAD = new FixedText('"e":"trade","E":')
const AGG_TRADE_HEAD = new FixedText('"e":"aggTrade","E":')
const TICKER_HEAD = new FixedText('"e":"bookTicker",')
const UPDATE_ID = new FixedText('"u":')
export const TICKER_TYPE = new FixedText(',"e":"bookTicker"')
export const PAIR = new FixedText(',"ps":"')
export const PREVIOUS = new FixedText(',"pu":')
/** Public matches; since 2025 some are against an order that only retail orders may hit. */
export const MARKET = new FixedText(',"X":"MARKET"')
export const RETAIL = new FixedText(',"X":"RPI"')
/** Futures end with it since 2026-06-30: 1 is USD-M, 2 COIN-M. */
export const SYMBOL_TYPE = new FixedText(',"st":')
export const NORMAL_QUANTITY = new FixedText(',"nq":"')
export const TRUE = new FixedText('true')
export const FALSE = new FixedText('false')

/** What a frame is, by its head. */
export const UNKNOWN = 0
export const TICKER = 1
export const DEPTH = 2
export const TRADE = 3
export const AGG_TRADE = 4

/** `,"k"` as a word. */
export const KEY = {
  A: wordOf(',"A"'),
  B: wordOf(',"B"'),
  E: wordOf(',"E"'),
  M: wordOf(',"M"'),
  T: wordOf(',"T"'),
  U: wordOf(',"U"'),
  a: wordOf(',"a"'),
  b: wordOf(',"b"'),
  f: wordOf(',"f"'),
  l: wordOf(',"l"'),
  m: wordOf(',"m"'),
  p: wordOf(',"p"'),
  q: wordOf(',"q"'),
  s: wordOf(',"s"'),
  t: wordOf(',"t"'),
  u: wordOf(',"u"'),
} as const
const COLON_QUOTE = wordOf(':"')
const COLON_BRACKET = wordOf(':[')
export const BRACKET_QUOTE = wordOf('["')
export const BETWEEN_NUMBERS = wordOf('","')
export const BETWEEN_LEVELS = wordOf('"],[')
export const AFTER_LEVELS = wordOf('"]]')
export const THREE_BYTES = 0xffffff

/** `,"k":` */
export function isKey(view: DataView, at: number, key: number): boolean {
  return view.getInt32(at, true) === key && view.getUint8(at + 4) === COLON
}

/** `,"k":"` */
export function isTextKey(view: DataView, at: number, key: number): boolean {
  return view.getInt32(at, true) === key && view.getUint16(at + 4, true) === COLON_QUOTE
}

/** `,"k":[` */
export function isListKey(view: DataView, at: number, key: number): boolean {
  return view.getInt32(at, true) === key && view.getUint16(at + 4, true) === COLON_BRACKET
}

/** Offset of the quote that ends a plain string, or the end of the frame when there is none or it is not plain. */
export function textEnd(bytes: Uint8Array, at: number, end: number): number {
  let offset = at
  for (; offset < end; offset++) {
    const byte = bytes[offset] as number
    if (byte === QUOTE) return offset
    if (byte < 32 || byte === BACKSLASH) return end
  }
  return offset
}

/** What event begins at `at`, behind its brace. */
export function kindAt(bytes: Uint8Array, view: DataView, at: number): number {
  if (UPDATE_ID.isAt(view, at)) return TICKER
  switch (bytes[at + 5]) {
    case 98: // b
      return TICKER_HEAD.isAt(view, at) && UPDATE_ID.isAt(view, at + TICKER_HEAD.length) ? TICKER : UNKNOWN
    case 100: // d
      return DEPTH_HEAD.isAt(view, at) ? DEPTH : UNKNOWN
    case 116: // t
      return TRADE_HEAD.isAt(view, at) ? TRADE : UNKNOWN
    case 97: // a
      return AGG_TRADE_HEAD.isAt(view, at) ? AGG_TRADE : UNKNOWN
    default:
      return UNKNOWN
  }
}

/** How far the first value of an event of this kind lies behind its brace. */
export function headBytes(kind: number, bytes: Uint8Array, at: number): number {
  switch (kind) {
    case TICKER:
      return UPDATE_ID.length + (bytes[at + 1] === LOWER_U ? 0 : TICKER_HEAD.length)
    case TRADE:
      return TRADE_HEAD.length
    case AGG_TRADE:
      return AGG_TRADE_HEAD.length
    default:
      return DEPTH_HEAD.length
  }
}
