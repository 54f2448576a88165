// @ts-check
/**
 * Exact decimals: what the gateway says as text is compared, summed and shown without ever being a float.
 * A value is a BigInt of 10^-18, the finest scale that the engine stores.
 */

const SCALE = 18
const DECIMAL = /^(-?)(\d+)(?:\.(\d*))?$/

/** @param {string} text @returns {bigint} */
export function units(text) {
  const match = DECIMAL.exec(text)
  const fraction = match?.[3] ?? ''
  if (match === null || fraction.length > SCALE) throw new Error(`not a decimal: ${text}`)
  const value = BigInt(match[2] + fraction.padEnd(SCALE, '0'))
  return match[1] === '-' ? -value : value
}

/** @param {bigint} value without trailing zeros */
export function textOf(value) {
  const digits = (value < 0n ? -value : value).toString().padStart(SCALE + 1, '0')
  const fraction = digits.slice(-SCALE).replace(/0+$/, '')
  return `${value < 0n ? '-' : ''}${digits.slice(0, -SCALE)}${fraction === '' ? '' : `.${fraction}`}`
}

/** @param {bigint} value @param {bigint} step */
export const floorTo = (value, step) => value - (((value % step) + step) % step)
/** @param {bigint} value @param {bigint} step */
export const ceilTo = (value, step) => -floorTo(-value, step)

/** How many digits stand after the point. @param {string} text */
export function digitsOf(text) {
  const point = text.indexOf('.')
  return point < 0 ? 0 : text.length - point - 1
}

/** Zeros on the right, so that a column of prices lines up; digits are never cut. @param {string} text @param {number} digits */
export function padded(text, digits) {
  const missing = digits - digitsOf(text)
  if (missing <= 0) return text
  return `${text}${text.includes('.') ? '' : '.'}${'0'.repeat(missing)}`
}

/** 63412.5 → 63,412.5 @param {string} text */
export function grouped(text) {
  const [whole, fraction] = text.split('.')
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return fraction === undefined ? groups : `${groups}.${fraction}`
}

/** The largest step that all values are multiples of. @param {readonly bigint[]} values */
export function commonStep(values) {
  let step = 0n
  for (const value of values) for (let rest = value; rest !== 0n; ) [step, rest] = [rest, step % rest]
  return step < 0n ? -step : step
}

/** a / b as a number between 0 and 1, for bars. @param {bigint} part @param {bigint} whole */
export const share = (part, whole) => (whole === 0n ? 0 : Number((part * 10_000n) / whole) / 10_000)
