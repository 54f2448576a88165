import { FixedText } from '../../scan/words.ts'

/** The fixed text of Deribit's frames, as words. */
export const QUOTE = 34
export const COMMA = 44
export const POINT = 46
export const COLON = 58
export const OPEN_BRACKET = 91
const BACKSLASH = 92
export const CLOSE_BRACKET = 93
export const OPEN_BRACE = 123
export const CLOSE_BRACE = 125
export const LOWER_A = 97
export const LOWER_B = 98
export const LOWER_C = 99
export const LOWER_D = 100
export const LOWER_I = 105
export const LOWER_L = 108
export const LOWER_P = 112
export const LOWER_M = 109
export const LOWER_Q = 113
export const LOWER_S = 115
export const LOWER_T = 116

/** Every notification begins so. */
export const HEAD = new FixedText('{"jsonrpc":"2.0","method":"subscription","params":{"channel":"')
export const DATA = new FixedText('","data":')
export const BOOK = new FixedText('book.')
export const TRADES = new FixedText('trades.')
export const QUOTES = new FixedText('quote.')
export const FRAME_BYTES_MIN = 96

export const TIMESTAMP = new FixedText('"timestamp":')
export const INSTRUMENT_NAME = new FixedText('"instrument_name":"')

export const TYPE_SNAPSHOT = new FixedText('"type":"snapshot"')
export const TYPE_CHANGE = new FixedText('"type":"change"')
export const CHANGE_ID = new FixedText('"change_id":')
export const PREV_CHANGE_ID = new FixedText('"prev_change_id":')
export const BIDS = new FixedText('"bids":[')
export const ASKS = new FixedText('"asks":[')
export const NEW = new FixedText('["new",')
export const CHANGE = new FixedText('["change",')
export const DELETE = new FixedText('["delete",')

export const BEST_BID_PRICE = new FixedText('"best_bid_price":')
export const BEST_BID_AMOUNT = new FixedText('"best_bid_amount":')
export const BEST_ASK_PRICE = new FixedText('"best_ask_price":')
export const BEST_ASK_AMOUNT = new FixedText('"best_ask_amount":')

export const TRADE_SEQ = new FixedText('"trade_seq":')
export const TRADE_ID = new FixedText('"trade_id":"')
export const PRICE = new FixedText('"price":')
export const AMOUNT = new FixedText('"amount":')
export const DIRECTION_BUY = new FixedText('"direction":"buy"')
export const DIRECTION_SELL = new FixedText('"direction":"sell"')
export const LIQUIDATION = new FixedText('"liquidation"')

/** What nobody asks for, in each trade. */
export const INDEX_PRICE = new FixedText('"index_price":')
export const MARK_PRICE = new FixedText('"mark_price":')
export const TICK_DIRECTION = new FixedText('"tick_direction":')
export const CONTRACTS = new FixedText('"contracts":')
export const STARBASE_MATCH_ID = new FixedText('"starbase_match_id":')
export const STARBASE_TIMESTAMP = new FixedText('"starbase_timestamp":')

export const TRUE = new FixedText('true')
export const FALSE = new FixedText('false')
export const NULL = new FixedText('null')

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

/** Offset of the point or quote behind a name, or the end of the frame. */
export function nameEnd(bytes: Uint8Array, at: number, end: number): number {
  let offset = at
  for (; offset < end; offset++) {
    const byte = bytes[offset] as number
    if (byte === QUOTE || byte === POINT) return offset
    if (byte < 32 || byte === BACKSLASH) return end
  }
  return offset
}

/** `"instrument_name":"NAME"`, where NAME repeats the one at `nameAt`, up to its point or quote. @returns the offset behind it, or −1. */
export function repeatedName(bytes: Uint8Array, view: DataView, at: number, nameAt: number): number {
  if (!INSTRUMENT_NAME.isAt(view, at)) return -1
  const valueAt = at + INSTRUMENT_NAME.length
  const nameBytes = nameEnd(bytes, nameAt, at) - nameAt
  for (let index = 0; index < nameBytes; index++) if (bytes[valueAt + index] !== bytes[nameAt + index]) return -1
  return bytes[valueAt + nameBytes] === QUOTE ? valueAt + nameBytes + 1 : -1
}
