import type { RejectReason } from '../../record/emit.ts'
import { bigDecimal } from '../../scan/big-decimal.ts'

/** Numbers as the venue writes them, as text: for the general way. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?$/

export function isNumber(text: string): boolean {
  return NUMBER.test(text)
}

/** @returns digits after the point once exponent and trailing zeros are gone (`1.0002e6`: 0, `2.8e-4`: 5); undefined for no number. */
export function fractionDigits(text: string): number | undefined {
  const match = NUMBER.exec(text)
  if (match === null) return undefined
  const digits = (/^-?([\d.]+)/.exec(text)?.[1] ?? '').replace('.', '')
  const significant = digits.replace(/0+$/, '')
  if (/^0*$/.test(significant)) return 0
  const fraction = (match[1] ?? '').length - (digits.length - significant.length)
  return Math.max(0, fraction - Number(match[2] ?? 0))
}

/** @returns text × 10^scale, not negative and exact in a double, or why not. */
export function mantissaOf(text: string, scale: number): number | RejectReason {
  if (!isNumber(text) || text.startsWith('-')) return 'number'
  const value = bigDecimal(text, scale)
  if (typeof value !== 'bigint') return value
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : 'overflow'
}
