import type { Emit } from '../../record/emit.ts'
import { KnownHeads } from '../../scan/known-heads.ts'
import type { FixedText, WordScanner } from '../../scan/words.ts'
import * as text from './frame-text.ts'

export const DELTA = 1
export const WHOLE = 2
export const TOP = 3
export const TRADES = 4

const OTHER = -1
const ONE = 49
/** The words of kind and symbol: `orderbook.50.BTCUSDT` */
const HASHED = [10, 18, 22, 26, 30, 34]

/**
 * What a frame is about: a head, the time of sending, and a text up to the list of bids or the first key of a trade.
 *
 *   {"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1795278663952,"data":{"s":"BTCUSDT","b":[[…
 *   \_______________________ head ______________________/             \__________ text __________/
 */
export class FrameHead {
  kind = 0
  instrument = 0
  eventMs = 0
  /** Where the topic names its symbol. */
  symbolAt = 0
  symbolBytes = 0
  readonly #emit: Emit
  readonly #known = new KnownHeads(HASHED)

  constructor(emit: Emit) {
    this.#emit = emit
  }

  /** @param last offset of the last byte of the frame. @returns the offset behind it, or −1 */
  read(scan: WordScanner, offset: number, last: number): number {
    const { view } = scan
    const known = this.#known
    const table = this.#emit.symbols
    const place = known.placeOf(view, offset)
    const headBytes = known.headBytes(view, offset, place)
    if (headBytes > 0) {
      this.instrument = known.instrument(place, table)
      const behind = this.instrument < 0 ? OTHER : scan.integer(offset + headBytes)
      const textBytes = behind < 0 ? 0 : known.textBytes(view, behind, place)
      if (textBytes > 0) {
        this.kind = known.kind(place)
        this.eventMs = scan.value
        if (this.kind === TRADES) this.#setSymbol(scan.bytes, offset + text.TOPIC_TRADE.length, last)
        return behind + textBytes
      }
    }
    return this.#long(scan, offset, last, place)
  }

  #setSymbol(bytes: Uint8Array, at: number, last: number): number {
    const quote = text.textEnd(bytes, at, last)
    this.symbolAt = at
    this.symbolBytes = quote - at
    return quote
  }

  #long(scan: WordScanner, offset: number, last: number, place: number): number {
    const { bytes, view } = scan
    const symbolAt = this.#topic(bytes, view, offset)
    if (symbolAt < 0) return OTHER
    const quote = this.#setSymbol(bytes, symbolAt, last)
    if (quote === last || this.symbolBytes > text.SYMBOL_BYTES_MAX) return OTHER
    const isTimeFirst = text.TIME.isAt(view, quote)
    const timeAt = isTimeFirst ? quote + text.TIME.length : this.#type(view, quote, text.TYPE_DELTA, text.TYPE_SNAPSHOT)
    const textAt = timeAt < 0 ? OTHER : scan.integer(timeAt)
    if (textAt < 0) return OTHER
    this.eventMs = scan.value
    const dataAt = isTimeFirst ? this.#type(view, textAt, text.THEN_DELTA, text.THEN_SNAPSHOT) : textAt
    const at = this.#body(bytes, view, dataAt)
    this.instrument = this.#emit.find(bytes, symbolAt, quote)
    if (at < 0 || this.instrument < 0) return OTHER
    if (this.kind === WHOLE) return at // rare: the place is for the changes
    const known = this.#known
    known.keepHead(view, offset, place, timeAt - offset, this.kind)
    known.keepText(view, textAt, place, at - textAt)
    known.keepInstrument(place, this.#emit.symbols, this.instrument)
    return at
  }

  /** @returns the offset of the symbol, or −1 */
  #topic(bytes: Uint8Array, view: DataView, offset: number): number {
    if (text.TOPIC_TRADE.isAt(view, offset)) {
      this.kind = TRADES
      return offset + text.TOPIC_TRADE.length
    }
    if (!text.TOPIC_ORDERBOOK.isAt(view, offset)) return OTHER
    const depthAt = offset + text.TOPIC_ORDERBOOK.length
    let point = depthAt
    while (((bytes[point] as number) - 48) >>> 0 < 10) point++
    this.kind = point === depthAt + 1 && bytes[depthAt] === ONE ? TOP : DELTA
    return bytes[point] === text.POINT ? point + 1 : OTHER
  }

  /** Tops and trades are always called snapshots. @returns the offset behind the type, or −1 */
  #type(view: DataView, at: number, delta: FixedText, snapshot: FixedText): number {
    if (delta.isAt(view, at)) return this.kind === DELTA ? at + delta.length : OTHER
    if (!snapshot.isAt(view, at)) return OTHER
    if (this.kind === DELTA) this.kind = WHOLE
    return at + snapshot.length
  }

  /** `,"data":{"s":"BTCUSDT","b":[` or `,"data":[{`. @returns the offset behind it, or −1 */
  #body(bytes: Uint8Array, view: DataView, at: number): number {
    if (at < 0) return OTHER
    if (this.kind === TRADES) return text.TRADES.isAt(view, at) ? at + text.TRADES.length - 1 : OTHER
    if (!text.BOOK.isAt(view, at)) return OTHER
    const symbolAt = at + text.BOOK.length
    const behind = symbolAt + this.symbolBytes
    if (!text.isSameText(bytes, symbolAt, this.symbolAt, this.symbolBytes)) return OTHER
    return text.BIDS.isAt(view, behind) ? behind + text.BIDS.length : OTHER
  }
}
