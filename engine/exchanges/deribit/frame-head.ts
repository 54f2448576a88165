import type { Emit } from '../../record/emit.ts'
import { KnownHeads } from '../../scan/known-heads.ts'
import type { WordScanner } from '../../scan/words.ts'
import {
  BOOK,
  DATA,
  HEAD,
  LOWER_B,
  LOWER_Q,
  LOWER_T,
  POINT,
  QUOTE,
  QUOTES,
  TRADES,
  nameEnd,
  repeatedName,
} from './frame-text.ts'

const OTHER = -1
const CHANNEL_AT = HEAD.length
/** The words of the channel: `book.BTC-PERPETUAL.100ms` */
const HASHED = [0, 4, 8, 12, 16, 20, 24].map((offset) => CHANNEL_AT + offset)

/**
 * What a frame is about: all up to the value of `data`; and the member that names the instrument once more.
 *
 *   {"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.BTC-PERPETUAL","data":{"timestamp":…
 *   \________________________________________________________________________________________/
 */
export class FrameHead {
  /** LOWER_B, LOWER_T or LOWER_Q: the letter that the channel begins with. */
  kind = 0
  instrument = 0
  #place = 0
  /** Where the channel names its instrument. */
  #nameAt = 0
  readonly #emit: Emit
  readonly #known = new KnownHeads(HASHED)

  constructor(emit: Emit) {
    this.#emit = emit
  }

  /** @returns the offset of the value of `data`, or −1 */
  read({ bytes, view }: WordScanner, offset: number, end: number): number {
    const known = this.#known
    const table = this.#emit.symbols
    const place = known.placeOf(view, offset)
    this.#place = place
    const knownBytes = known.headBytes(view, offset, place)
    if (knownBytes > 0) {
      this.instrument = known.instrument(place, table)
      this.kind = known.kind(place)
      this.#nameAt = offset + CHANNEL_AT + prefixOf(this.kind).length
      if (this.instrument >= 0) return offset + knownBytes
    }
    const at = HEAD.isAt(view, offset) ? this.#channel(bytes, view, offset + CHANNEL_AT, end) : OTHER
    if (at < 0) return OTHER
    known.keepHead(view, offset, place, at - offset, this.kind)
    known.keepInstrument(place, table, this.instrument)
    return at
  }

  /** `book.NAME.100ms","data":`, without the interval in `quote.NAME`. */
  #channel(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    this.kind = bytes[at] as number
    const prefix = prefixOf(this.kind)
    if (!prefix.isAt(view, at)) return OTHER
    this.#nameAt = at + prefix.length
    const stop = nameEnd(bytes, this.#nameAt, end)
    let quote = stop
    if (this.kind !== LOWER_Q) {
      if (bytes[stop] !== POINT) return OTHER
      quote = nameEnd(bytes, stop + 1, end)
    }
    if (quote === end || bytes[quote] !== QUOTE || !DATA.isAt(view, quote)) return OTHER
    this.instrument = this.#emit.find(bytes, this.#nameAt, stop)
    return this.instrument < 0 ? OTHER : quote + DATA.length
  }

  /** `"instrument_name":"NAME"`, of the name in the channel. @returns the offset behind it, or −1 */
  name({ bytes, view }: WordScanner, at: number): number {
    const known = this.#known
    const knownBytes = known.textBytes(view, at, this.#place)
    if (knownBytes > 0) return at + knownBytes
    const behind = repeatedName(bytes, view, at, this.#nameAt)
    if (behind >= 0) known.keepText(view, at, this.#place, behind - at)
    return behind
  }
}

function prefixOf(kind: number): typeof BOOK {
  return kind === LOWER_B ? BOOK : kind === LOWER_T ? TRADES : QUOTES
}
