import { NO_VALUE, WordScanner, areDigits } from './words.ts'

/**
 * Bare JSON numbers → mantissas, exponents understood: `77012.0`, `1.0002e6`, `2.8e-4`. What has more digits than the
 * scale or than a double holds exactly is NO_VALUE, for the caller's general way to name the reason.
 *
 * Arithmetic: without exponent it is WordScanner.decimal and two tests, 10 ns; with one 25 ns. A venue that writes the
 * shortest form sends an exponent for every round thousand, so that way is no exception.
 */
const ZERO = 48
const POINT = 46
const MINUS = 45
const PLUS = 43
const LOWER_E = 101
const LOWER = 0x20
const FIFTEEN_DIGITS = 15
const EXPONENT_MAX = 99
/** The powers of ten that a double holds exactly. */
const POWERS: readonly number[] = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))

function isDigit(byte: number): boolean {
  return (byte - ZERO) >>> 0 < 10
}

export class NumberScanner {
  readonly words = new WordScanner()
  /** The number that was scanned last. */
  value = 0

  /** @returns the offset behind a non-negative number, its mantissa in `value`; or NO_VALUE. */
  mantissa(at: number, scale: number): number {
    const { words } = this
    const { bytes } = words
    // JSON allows no digit after a leading zero
    if (bytes[at] === ZERO && isDigit(bytes[at + 1] as number)) return NO_VALUE
    const behind = words.decimal(at, scale)
    if (behind < 0 || ((bytes[behind] as number) | LOWER) === LOWER_E) return this.#withExponent(at, scale)
    this.value = words.value
    return behind
  }

  /** value × 10^zeros are the digits so far, without their point: trailing zeros are not multiplied in before a digit follows. */
  #withExponent(at: number, scale: number): number {
    const { bytes } = this.words
    let offset = at
    let value = 0
    let significant = 0
    let zeros = 0
    let pointOffset = -1
    for (; ; offset++) {
      const byte = bytes[offset] as number
      if (byte === POINT && pointOffset < 0 && offset > at) pointOffset = offset
      else if (!isDigit(byte)) break
      else if (byte === ZERO) zeros++
      else {
        significant += significant === 0 ? 1 : zeros + 1
        if (significant > FIFTEEN_DIGITS) return NO_VALUE
        value = (value === 0 ? 0 : value * (POWERS[zeros + 1] as number)) + (byte - ZERO)
        zeros = 0
      }
    }
    if (offset === at || pointOffset === offset - 1) return NO_VALUE
    const fraction = pointOffset < 0 ? 0 : offset - pointOffset - 1
    const end = this.#exponent(offset)
    if (end < 0) return NO_VALUE
    const shift = scale + zeros - fraction + this.#exponentValue
    if (value !== 0 && (shift < 0 || shift >= POWERS.length)) return NO_VALUE
    const mantissa = value === 0 ? 0 : value * (POWERS[shift] as number)
    if (mantissa > Number.MAX_SAFE_INTEGER) return NO_VALUE
    this.value = mantissa
    return end
  }

  #exponentValue = 0

  #exponent(at: number): number {
    const { bytes } = this.words
    this.#exponentValue = 0
    if (((bytes[at] as number) | LOWER) !== LOWER_E) return at
    const sign = bytes[at + 1]
    const first = sign === MINUS || sign === PLUS ? at + 2 : at + 1
    let offset = first
    for (; isDigit(bytes[offset] as number); offset++) {
      this.#exponentValue = 10 * this.#exponentValue + ((bytes[offset] as number) - ZERO)
      if (this.#exponentValue > EXPONENT_MAX) return NO_VALUE
    }
    if (offset === first) return NO_VALUE
    if (sign === MINUS) this.#exponentValue = -this.#exponentValue
    return offset
  }

  /** @returns the offset behind any JSON number, whose value nobody asks for; or NO_VALUE. */
  skip(at: number): number {
    const { bytes } = this.words
    let offset = bytes[at] === MINUS ? at + 1 : at
    if (!isDigit(bytes[offset] as number)) return NO_VALUE
    if (bytes[offset] === ZERO) offset++
    else offset = this.#digits(offset)
    if (bytes[offset] === POINT) {
      if (!isDigit(bytes[offset + 1] as number)) return NO_VALUE
      offset = this.#digits(offset + 1)
    }
    if (((bytes[offset] as number) | LOWER) !== LOWER_E) return offset
    const sign = bytes[offset + 1]
    const first = sign === MINUS || sign === PLUS ? offset + 2 : offset + 1
    return isDigit(bytes[first] as number) ? this.#digits(first) : NO_VALUE
  }

  #digits(at: number): number {
    const { bytes, view } = this.words
    let offset = at
    while (areDigits(view.getInt32(offset, true))) offset += 4
    while (isDigit(bytes[offset] as number)) offset++
    return offset
  }
}
