import { decimalBytesMax, SCALE_MAX, writeDecimal } from '../../scan/decimal.ts'
import { textFrameOf } from './frames.ts'

const QUOTE = 34
const COMMA = 44
const MINUS = 45
const ZERO = 48
const BACKSLASH = 92
const OPEN_LIST = 91
const CLOSE_LIST = 93
const SPACE = 32
const TILDE = 126
const BILLION = 1e9
const BILLION_DIGITS = 9
const WORD = 65_536
const TWO32 = 2 ** 32

/** `["` price `","` quantity `"],` */
export const JSON_LEVEL_BYTES_MAX = 2 * decimalBytesMax(SCALE_MAX) + 9
/** What stands in one byte of a live message is so many bytes of JSON at most: half a level, or a number in quotes. */
export const JSON_GROWTH_MAX = Math.ceil(JSON_LEVEL_BYTES_MAX / 2) + 4

/** JSON straight into memory, in the forms in which rows are shown (record/rows.ts). Whoever writes has reserved the room. */
export class JsonWriter {
  #at = 0
  #bytes = Buffer.allocUnsafeSlow(16 * 1024)

  /** Begins anew, with room for so many bytes. */
  begin(bytesMax: number): this {
    if (this.#bytes.length < bytesMax) this.#bytes = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytesMax)))
    this.#at = 0
    return this
  }

  /** What was written as a WebSocket frame. */
  frame(): Buffer {
    return textFrameOf(this.#bytes, this.#at)
  }

  byte(code: number): void {
    this.#bytes[this.#at++] = code
  }

  raw(json: Uint8Array): void {
    const bytes = this.#bytes
    let at = this.#at
    for (let index = 0; index < json.length; index++) bytes[at++] = json[index] as number
    this.#at = at
  }

  /** Of ASCII that needs no escape. */
  ascii(text: string): void {
    this.#at += this.#bytes.write(text, this.#at, 'latin1')
  }

  /** @returns false when these bytes of UTF-8 need an escape or are not ASCII. */
  quoted(bytes: Uint8Array, start: number, end: number): boolean {
    const own = this.#bytes
    let at = this.#at
    own[at++] = QUOTE
    for (let index = start; index < end; index++) {
      const code = bytes[index] as number
      if (code < SPACE || code > TILDE || code === QUOTE || code === BACKSLASH) return false
      own[at++] = code
    }
    own[at++] = QUOTE
    this.#at = at
    return true
  }

  /** A mantissa as decimal text. @param mantissa a safe integer @param scale up to SCALE_MAX */
  decimal(mantissa: number, scale: number): void {
    this.byte(QUOTE)
    if (mantissa < 0) this.byte(MINUS)
    this.#at = writeDecimal(this.#bytes, this.#at, Math.abs(mantissa), scale)
    this.byte(QUOTE)
  }

  /** @param value a safe integer */
  integer(value: number): void {
    if (value < 0) this.byte(MINUS)
    this.#at = writeDecimal(this.#bytes, this.#at, Math.abs(value), 0)
  }

  /** A time of two words as decimal text. @returns false when it is before 1970. */
  time(hi: number, lo: number): boolean {
    if (hi < 0) return false
    this.byte(QUOTE)
    if (hi < 2 ** 21) this.integer(hi * TWO32 + lo)
    else this.#long(hi, lo)
    this.byte(QUOTE)
    return true
  }

  /** Long division by 1e9, 16 bits a step: every product stays far below 2^53. */
  #long(hi: number, lo: number): void {
    const first = (hi >>> 16) * WORD + (hi & 0xffff)
    const top = Math.floor(first / BILLION)
    const second = (first - top * BILLION) * WORD + (lo >>> 16)
    const middle = Math.floor(second / BILLION)
    const third = (second - middle * BILLION) * WORD + (lo & 0xffff)
    const bottom = Math.floor(third / BILLION)
    this.integer((top * WORD + middle) * WORD + bottom)
    let rest = third - bottom * BILLION
    for (let at = this.#at + BILLION_DIGITS - 1; at >= this.#at; at--) {
      const next = (rest / 10) | 0
      this.#bytes[at] = ZERO + rest - next * 10
      rest = next
    }
    this.#at += BILLION_DIGITS
  }

  /** `[["61800.2","0.5"],…]` */
  levels(
    prices: readonly number[],
    quantities: readonly number[],
    count: number,
    priceScale: number,
    quantityScale: number,
  ): void {
    this.byte(OPEN_LIST)
    for (let index = 0; index < count; index++) {
      if (index > 0) this.byte(COMMA)
      this.byte(OPEN_LIST)
      this.decimal(prices[index] as number, priceScale)
      this.byte(COMMA)
      this.decimal(quantities[index] as number, quantityScale)
      this.byte(CLOSE_LIST)
    }
    this.byte(CLOSE_LIST)
  }
}
