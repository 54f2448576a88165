/** Decimal text of any venue → an integer at a fixed scale. Exact or refused; exponents are understood. Not for the hot path. */
const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?$/
/** Digits of the type that it goes into: a Decimal(76, …). */
const DIGITS_MAX = 76

export type BigDecimalRefusal = 'number' | 'precision' | 'overflow'

/** @returns text × 10^scale, or why there is no such integer. */
export function bigDecimal(text: string, scale: number): bigint | BigDecimalRefusal {
  const match = DECIMAL.exec(text)
  if (match === null) return 'number'
  const fraction = match[3] ?? ''
  const digits = (match[2] as string) + fraction
  const shift = scale - fraction.length + Number(match[4] ?? 0)
  const significant = digits.replace(/^0+/, '')
  if (significant === '') return 0n
  const kept = shift < 0 ? significant.slice(0, shift) : significant
  if (shift < 0 && !/^0*$/.test(significant.slice(shift))) return 'precision'
  if (kept.length + Math.max(0, shift) > DIGITS_MAX) return 'overflow'
  const value = BigInt(kept === '' ? '0' : kept) * 10n ** BigInt(Math.max(0, shift))
  return match[1] === '-' ? -value : value
}
