import { FixedText, wordOf } from '../../scan/words.ts'

/** The fixed text of Bybit's frames, as words. */
export const QUOTE = 34
export const COMMA = 44
export const POINT = 46
/** `",` */
export const QUOTE_COMMA = 0x2c22
export const OPEN_BRACE = 123
export const CLOSE_BRACE = 125
export const CLOSE_BRACKET = 93
const BACKSLASH = 92

/** A longer symbol is read the general way. */
export const SYMBOL_BYTES_MAX = 40
export const FRAME_BYTES_MIN = 64

export const TOPIC_ORDERBOOK = new FixedText('{"topic":"orderbook.')
export const TOPIC_TRADE = new FixedText('{"topic":"publicTrade.')

// what stands between topic and data: derivatives first, then spot
export const TYPE_SNAPSHOT = new FixedText('","type":"snapshot","ts":')
export const TYPE_DELTA = new FixedText('","type":"delta","ts":')
export const TIME = new FixedText('","ts":')
export const THEN_SNAPSHOT = new FixedText(',"type":"snapshot"')
export const THEN_DELTA = new FixedText(',"type":"delta"')

export const BOOK = new FixedText(',"data":{"s":"')
export const BIDS = new FixedText('","b":[')
export const ASKS = new FixedText(',"a":[')
export const UPDATE = new FixedText(',"u":')
export const SEQUENCE = new FixedText(',"seq":')
export const ENGINE_TIME = new FixedText('},"cts":')

export const TRADES = new FixedText(',"data":[{"')
/** `{"T":` begins a trade of derivatives, `{"i":` one of spot. */
export const T_COLON = wordOf('T":')
export const I_COLON = wordOf('i":')
export const SYMBOL = new FixedText(',"s":"')
export const SIDE_BUY = new FixedText('"S":"Buy"')
export const SIDE_SELL = new FixedText('"S":"Sell"')
export const QUANTITY = new FixedText(',"v":"')
export const PRICE = new FixedText(',"p":"')
export const DIRECTION = new FixedText('","L":"')
export const ID_BEHIND = new FixedText('","i":"')
export const TRADE_TIME = new FixedText('","T":')
export const BLOCK = new FixedText('"BT":')
export const RETAIL = new FixedText(',"RPI":')
export const FALSE = new FixedText('false')
export const TRUE = new FixedText('true')

export const BRACKET_QUOTE = wordOf('["')
export const BETWEEN_NUMBERS = wordOf('","')
export const BETWEEN_LEVELS = wordOf('"],[')
export const AFTER_LEVELS = wordOf('"]]')
export const THREE_BYTES = 0xffffff

/** Offset of the quote that ends a plain string, or `end` when there is none or it is not plain. */
export function textEnd(bytes: Uint8Array, at: number, end: number): number {
  for (let offset = at; offset < end; offset++) {
    const byte = bytes[offset] as number
    if (byte === QUOTE) return offset
    if (byte < 32 || byte === BACKSLASH) return end
  }
  return end
}

/** Whether the two texts of this many bytes are the same. */
export function isSameText(bytes: Uint8Array, first: number, second: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[first + index] !== bytes[second + index]) return false
  return true
}
