/**
 * Digits → scaled integers, exact or refused. Value = mantissa / 10^scale; a mantissa is a double that holds an exact
 * integer up to 2^53.
 *
 * Arithmetic: a level of a depth event is two numbers of 7 digits; at 4 levels a message and 1,000,000 messages/s that
 * is 56 M digits/s, 18 ns a digit for everything. Nine digits fit an int32 (one multiply, one add, 1 ns a digit), and
 * nearly every price and quantity of a venue has no more once trailing zeros beyond the scale are not summed.
 * Longer numbers are summed in two halves and combined once.
 */
const ZERO = 48
const POINT = 46 - ZERO
const DIGITS_INT32 = 9
const DIGITS_MAX = 17 // no number below 2^53 has more
export const SCALE_MAX = 15

const POWERS = new Int32Array([1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
export const POWERS_OF_TEN: readonly number[] = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))

/** Why a number was refused; the words are counted. */
export type DecimalRefusal = 'none' | 'number' | 'overflow' | 'precision'

/** A number must be followed by a byte that is no digit: the callers know that a frame ends with a brace. */
export class DecimalScanner {
  /** Offset of the first byte that does not belong to the number that was scanned last. */
  at = 0
  /** Set when a scan returned NaN. */
  refusal: DecimalRefusal = 'none'
  /** With refusal `precision`: digits after the point that the number needs. */
  scaleNeeded = 0

  /** @returns the mantissa at this scale, or NaN (see `refusal`). Zeros beyond the scale are fine, other digits are not. */
  decimal(bytes: Uint8Array, at: number, scale: number): number {
    let offset = at
    let value = 0
    let digit = (bytes[offset] as number) - ZERO
    while (digit >>> 0 < 10) {
      value = (Math.imul(value, 10) + digit) | 0
      digit = (bytes[++offset] as number) - ZERO
    }
    const whole = offset - at
    if (whole === 0 || whole + scale > DIGITS_INT32) return this.#long(bytes, at, scale)
    if (digit !== POINT) {
      this.at = offset
      return Math.imul(value, POWERS[scale] as number)
    }
    const stop = offset + 1 + scale
    digit = (bytes[++offset] as number) - ZERO
    if (digit >>> 0 >= 10) return this.#refuse('number', offset)
    while (offset < stop && digit >>> 0 < 10) {
      value = (Math.imul(value, 10) + digit) | 0
      digit = (bytes[++offset] as number) - ZERO
    }
    if (offset < stop) {
      value = Math.imul(value, POWERS[stop - offset] as number)
    } else {
      while (digit === 0) digit = (bytes[++offset] as number) - ZERO
      if (digit >>> 0 < 10) return this.#long(bytes, at, scale)
    }
    this.at = offset
    return value
  }

  /** @returns a non-negative JSON integer below 2^53, or NaN (see `refusal`). */
  integer(bytes: Uint8Array, at: number): number {
    let offset = at
    let high = 0
    let digit = (bytes[offset] as number) - ZERO
    if (digit === 0) return this.#zero(bytes, at)
    while (digit >>> 0 < 10 && offset < at + DIGITS_INT32) {
      high = (Math.imul(high, 10) + digit) | 0
      digit = (bytes[++offset] as number) - ZERO
    }
    if (digit >>> 0 >= 10) {
      this.at = offset
      return offset === at ? this.#refuse('number', offset) : high
    }
    const middle = offset
    let low = 0
    while (digit >>> 0 < 10 && offset < at + DIGITS_MAX) {
      low = (Math.imul(low, 10) + digit) | 0
      digit = (bytes[++offset] as number) - ZERO
    }
    const value = high * (POWERS[offset - middle] as number) + low
    if (digit >>> 0 < 10 || value > Number.MAX_SAFE_INTEGER) return this.#refuse('overflow', offset)
    this.at = offset
    return value
  }

  /** JSON allows no digits after a leading zero. */
  #zero(bytes: Uint8Array, at: number): number {
    if (((bytes[at + 1] as number) - ZERO) >>> 0 < 10) return this.#refuse('number', at)
    this.at = at + 1
    return 0
  }

  /** More than nine digits, or more digits after the point than the scale holds. */
  #long(bytes: Uint8Array, at: number, scale: number): number {
    let offset = at
    let pointOffset = -1
    let lastNonZero = at - 1
    for (; offset < bytes.length; offset++) {
      const digit = (bytes[offset] as number) - ZERO
      if (digit === POINT && pointOffset < 0 && offset > at) pointOffset = offset
      else if (digit >>> 0 >= 10) break
      else if (digit !== 0) lastNonZero = offset
    }
    if (offset === at || pointOffset === offset - 1) return this.#refuse('number', offset)
    if (pointOffset < 0) pointOffset = offset
    const fraction = Math.max(0, lastNonZero - pointOffset)
    if (fraction > scale) {
      this.scaleNeeded = fraction
      return this.#refuse('precision', offset)
    }
    return this.#sum(bytes, at, Math.max(lastNonZero + 1, pointOffset), pointOffset, scale, offset)
  }

  /** Sums the digits of [at, stop) in two halves, then appends the zeros that the scale asks for. */
  #sum(bytes: Uint8Array, at: number, stop: number, pointOffset: number, scale: number, end: number): number {
    let high = 0
    let low = 0
    let digits = 0
    let lowDigits = 0
    for (let offset = at; offset < stop; offset++) {
      if (offset === pointOffset) continue
      const digit = (bytes[offset] as number) - ZERO
      if (digits === 0 && digit === 0) continue
      digits++
      if (digits > DIGITS_MAX) return this.#refuse('overflow', end)
      if (digits <= DIGITS_INT32) high = high * 10 + digit
      else {
        low = low * 10 + digit
        lowDigits++
      }
    }
    const summed = high * (POWERS_OF_TEN[lowDigits] as number) + low
    const value = summed * (POWERS_OF_TEN[scale - Math.max(0, stop - pointOffset - 1)] as number)
    if (value > Number.MAX_SAFE_INTEGER) return this.#refuse('overflow', end)
    this.at = end
    return value
  }

  #refuse(refusal: DecimalRefusal, at: number): number {
    this.refusal = refusal
    this.at = at
    return Number.NaN
  }
}

const MINUS = 45

/**
 * A mantissa as a canonical decimal string: no exponent, no trailing zeros. Some 50 ns: a place where every price goes
 * through (live messages to users) may use it.
 * @param mantissa as text: an integer of any length.
 */
export function decimalText(mantissa: number | bigint | string, scale: number): string {
  const text = typeof mantissa === 'string' ? mantissa : String(mantissa)
  const start = text.charCodeAt(0) === MINUS ? 1 : 0
  let end = text.length
  let fraction = scale
  while (fraction > 0 && end > start && text.charCodeAt(end - 1) === ZERO) {
    end--
    fraction--
  }
  if (end === start) return '0' // nothing but zeros
  if (fraction === 0) return end === text.length ? text : text.slice(0, end)
  const point = end - fraction
  if (point > start) return `${text.slice(0, point)}.${text.slice(point, end)}`
  return `${text.slice(0, start)}0.${'0'.repeat(start - point)}${text.slice(start, end)}`
}

const POINT_BYTE = 46
const INT32_MAX = 2 ** 31 - 1

/** The longest text of `writeDecimal`: 16 digits and a point, or zero, point and the digits of the scale. */
export const decimalBytesMax = (scale: number): number => Math.max(17, scale + 2)

/**
 * What `decimalText` says, as ASCII straight into memory: 15 ns below 2^31, which nearly all prices and quantities are,
 * else 30 ns; a text would have to be made and encoded.
 * @param mantissa a safe integer, not negative
 * @returns where the next byte goes.
 */
export function writeDecimal(bytes: Uint8Array, start: number, mantissa: number, scale: number): number {
  return mantissa <= INT32_MAX
    ? writeShort(bytes, start, mantissa | 0, scale)
    : writeLong(bytes, start, mantissa, scale)
}

/** Whole numbers of 32 bits have a quick division: from the last digit to the first, straight to their places. */
function writeShort(bytes: Uint8Array, start: number, mantissa: number, scale: number): number {
  let value = mantissa
  let fraction = scale
  while (fraction > 0) {
    const rest = (value / 10) | 0
    if (rest * 10 !== value) break
    value = rest
    fraction--
  }
  const digits = digitCount(value)
  if (fraction === 0) {
    layDigits(bytes, start, start + digits, value)
    return start + digits
  }
  const whole = digits - fraction
  if (whole > 0) {
    const point = start + whole
    const end = point + 1 + fraction
    bytes[point] = POINT_BYTE
    layDigits(bytes, start, point, layDigits(bytes, point + 1, end, value))
    return end
  }
  bytes[start] = ZERO
  bytes[start + 1] = POINT_BYTE
  const end = start + 2 + fraction
  layDigits(bytes, start + 2, end, value) // those in front of it are zeros
  return end
}

/** Fills a place with the last digits of a number, and with zeros where it has no more. @returns what is left of it */
function layDigits(bytes: Uint8Array, start: number, end: number, digits: number): number {
  let value = digits
  for (let at = end - 1; at >= start; at--) {
    const rest = (value / 10) | 0
    bytes[at] = ZERO + value - rest * 10
    value = rest
  }
  return value
}

/** Of a whole number of 32 bits; zero has one. */
function digitCount(value: number): number {
  if (value < 10_000) {
    if (value < 100) return value < 10 ? 1 : 2
    return value < 1_000 ? 3 : 4
  }
  if (value < 100_000_000) {
    if (value < 1_000_000) return value < 100_000 ? 5 : 6
    return value < 10_000_000 ? 7 : 8
  }
  return value < 1_000_000_000 ? 9 : 10
}

/** Digits of a safe integer, put here from the end: 16 at most. */
const DIGITS = new Uint8Array(17)
const BILLION = 1e9
const BILLION_DIGITS = 9

function writeLong(bytes: Uint8Array, start: number, mantissa: number, scale: number): number {
  let from = DIGITS.length - BILLION_DIGITS
  const high = Math.floor(mantissa / BILLION) // 9,007,199 at most
  layDigits(DIGITS, from, DIGITS.length, mantissa - high * BILLION)
  from -= digitCount(high)
  layDigits(DIGITS, from, DIGITS.length - BILLION_DIGITS, high)
  let at = start
  let end = DIGITS.length
  let fraction = scale
  while (fraction > 0 && DIGITS[end - 1] === ZERO) {
    end--
    fraction--
  }
  const whole = end - fraction - from
  if (whole <= 0) {
    bytes[at++] = ZERO
    bytes[at++] = POINT_BYTE
    for (let zeros = whole; zeros < 0; zeros++) bytes[at++] = ZERO
  } else for (const stop = from + whole; from < stop; from++) bytes[at++] = DIGITS[from] as number
  if (whole > 0 && fraction > 0) bytes[at++] = POINT_BYTE
  while (from < end) bytes[at++] = DIGITS[from++] as number
  return at
}
