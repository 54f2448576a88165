import { FixedText, wordOf } from '../../scan/words.ts'

/** The fixed text of OKX's hot frames, and what reads their heads. */
export const QUOTE = 34
export const MINUS = 45
export const CLOSE_BRACKET = 93
export const CLOSE_BRACE = 125
const BACKSLASH = 92
export const FRAME_BYTES_MIN = 64

export const HEAD = new FixedText('{"arg":{"channel":"')
export const BOOKS = new FixedText('books","instId":"')
export const BOOKS_L2 = new FixedText('books-l2-tbt","instId":"')
export const BOOKS50_L2 = new FixedText('books50-l2-tbt","instId":"')
export const BEST = new FixedText('bbo-tbt","instId":"')
export const TRADES = new FixedText('trades","instId":"')
export const TRADES_ALL = new FixedText('trades-all","instId":"')

export const BOOK_WORD = wordOf('book')
export const BEST_WORD = wordOf('bbo-')
export const TRADE_WORD = wordOf('trad')

/** Behind the symbol of the arg. */
export const UPDATE = new FixedText('"},"action":"update","data":[{"asks":[')
export const SNAPSHOT = new FixedText('"},"action":"snapshot","data":[{"asks":[')
export const BEST_BODY = new FixedText('"},"data":[{"asks":[')
export const TRADE_BODY = new FixedText('"},"data":[{"instId":"')

export const BIDS = new FixedText(',"bids":[')
export const TIME = new FixedText(',"ts":"')
export const CHECKSUM = new FixedText(',"checksum":')
export const SEQ = new FixedText(',"seqId":')
export const PREV_SEQ = new FixedText(',"prevSeqId":')
export const PREV_NONE = new FixedText(',"prevSeqId":-1')
export const TRADE_ID = new FixedText('","tradeId":"')
export const PRICE = new FixedText('","px":"')
export const SIZE = new FixedText('","sz":"')
export const BUY = new FixedText('","side":"buy","ts":"')
export const SELL = new FixedText('","side":"sell","ts":"')
export const COUNT = new FixedText('","count":"')
export const SOURCE = new FixedText('","source":"')

export const BRACKET_QUOTE = wordOf('["')
export const BETWEEN_NUMBERS = wordOf('","')
/** Between quantity and count of orders: a number that means nothing any more. */
export const DEPRECATED = wordOf('","0')
export const BETWEEN_LEVELS = wordOf('"],[')
export const AFTER_LEVELS = wordOf('"]]')
export const THREE_BYTES = 0xffffff
/** `}]}` ends a frame. */
export const END = wordOf('}]}')
export const END_BYTES = 3

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
