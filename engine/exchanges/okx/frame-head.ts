import type { Emit } from '../../record/emit.ts'
import { KnownHeads } from '../../scan/known-heads.ts'
import type { FixedText, WordScanner } from '../../scan/words.ts'
import {
  BEST,
  BEST_BODY,
  BEST_WORD,
  BOOKS,
  BOOKS50_L2,
  BOOKS_L2,
  BOOK_WORD,
  HEAD,
  SNAPSHOT,
  TRADES,
  TRADES_ALL,
  TRADE_BODY,
  TRADE_ID,
  TRADE_WORD,
  UPDATE,
  textEnd,
} from './frame-text.ts'

const CHANGE = 1
export const WHOLE = 2
export const TOP = 3
export const TRADE = 4

const OTHER = -1
/** The words of channel and symbol: `trades","instId":"BTC-USDT-SWAP` */
const HASHED = [HEAD.length, 36, 40, 44, 48, 52, 56]

/**
 * What a frame is about, read to its first value: to the list of asks, or to the digits of the id of a trade.
 *
 *   {"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","tradeId":"734000003",…
 *   \_______________________________________________________________________________________________/
 */
export class FrameHead {
  kind = 0
  instrument = 0
  readonly #emit: Emit
  readonly #known = new KnownHeads(HASHED)

  constructor(emit: Emit) {
    this.#emit = emit
  }

  /** @returns the offset behind it, which may be beyond the frame, or −1 */
  read({ bytes, view }: WordScanner, offset: number, close: number): number {
    const known = this.#known
    const table = this.#emit.symbols
    const place = known.placeOf(view, offset)
    const knownBytes = known.headBytes(view, offset, place)
    if (knownBytes > 0) {
      this.kind = known.kind(place)
      this.instrument = known.instrument(place, table)
      if (this.instrument >= 0) return offset + knownBytes
    }
    const at = this.#long(bytes, view, offset, close)
    if (at < 0 || at >= close || this.kind === WHOLE) return at
    known.keepHead(view, offset, place, at - offset, this.kind)
    known.keepInstrument(place, table, this.instrument)
    return at
  }

  #long(bytes: Uint8Array, view: DataView, offset: number, close: number): number {
    if (!HEAD.isAt(view, offset)) return OTHER
    const at = offset + HEAD.length
    switch (view.getInt32(at, true)) {
      case BOOK_WORD:
        if (BOOKS.isAt(view, at)) return this.#book(bytes, view, at + BOOKS.length, close)
        if (BOOKS_L2.isAt(view, at)) return this.#book(bytes, view, at + BOOKS_L2.length, close)
        return BOOKS50_L2.isAt(view, at) ? this.#book(bytes, view, at + BOOKS50_L2.length, close) : OTHER
      case BEST_WORD:
        this.kind = TOP
        return BEST.isAt(view, at) ? this.#body(bytes, view, at + BEST.length, close, BEST_BODY) : OTHER
      case TRADE_WORD:
        if (TRADES.isAt(view, at)) return this.#trade(bytes, view, at + TRADES.length, close)
        return TRADES_ALL.isAt(view, at) ? this.#trade(bytes, view, at + TRADES_ALL.length, close) : OTHER
      default:
        return OTHER
    }
  }

  #book(bytes: Uint8Array, view: DataView, symbolAt: number, close: number): number {
    this.kind = CHANGE
    const at = this.#body(bytes, view, symbolAt, close, UPDATE)
    if (at >= 0) return at
    this.kind = WHOLE
    return this.#body(bytes, view, symbolAt, close, SNAPSHOT)
  }

  #trade(bytes: Uint8Array, view: DataView, argAt: number, close: number): number {
    this.kind = TRADE
    const argEnd = textEnd(bytes, argAt, close)
    if (argEnd === close || !TRADE_BODY.isAt(view, argEnd)) return OTHER
    return this.#body(bytes, view, argEnd + TRADE_BODY.length, close, TRADE_ID)
  }

  /** The symbol, and what must stand behind it. */
  #body(bytes: Uint8Array, view: DataView, symbolAt: number, close: number, behind: FixedText): number {
    const quote = textEnd(bytes, symbolAt, close)
    if (quote === close || !behind.isAt(view, quote)) return OTHER
    this.instrument = this.#emit.find(bytes, symbolAt, quote)
    return this.instrument < 0 ? OTHER : quote + behind.length
  }
}
