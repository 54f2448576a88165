// @ts-check
/** Numbers that need not be exact, and times, for people. */

const STEPS = /** @type {const} */ ([
  [1e12, 'T'],
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'k'],
])

/** 1234567 → 1.23 M @param {number} value */
export function compact(value) {
  if (!Number.isFinite(value)) return '–'
  const [size, unit] = STEPS.find(([least]) => Math.abs(value) >= least * 0.9995) ?? [1, '']
  const scaled = value / size
  const digits =
    unit === '' ? (Number.isInteger(value) ? 0 : Math.abs(value) < 10 ? 2 : 1) : Math.abs(scaled) < 10 ? 2 : 1
  return `${scaled.toFixed(digits)}${unit === '' ? '' : ` ${unit}`}`
}

/** Of an axis: all in one unit, with as many digits as tell them apart. @param {readonly number[]} ticks @param {string} [unit] */
export function tickTexts(ticks, unit = '') {
  const most = Math.max(...ticks.map(Math.abs))
  const [size, letter] = STEPS.find(([least]) => most >= least) ?? [1, '']
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) / size : 1
  let digits = 0
  while (digits < 8 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++
  return ticks.map((tick) => `${(tick / size).toFixed(digits)}${letter === '' ? '' : ` ${letter}`}${unit}`)
}

/** @param {number} value */
export const whole = (value) => Math.round(value).toLocaleString('en-US')

/** @param {number} bytes */
export function byteText(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let value = bytes
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024
    at++
  }
  return `${at === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[at]}`
}

/** @param {number} ms */
export function durationText(ms) {
  if (ms < 1) return `${(ms * 1000).toFixed(0)} µs`
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** ns since the epoch (text or number) → ms. @param {string | number | null | undefined} ns */
export function msOf(ns) {
  if (ns === null || ns === undefined || ns === '' || ns === '0' || ns === 0) return Number.NaN
  return typeof ns === 'number' ? ns / 1e6 : Number(BigInt(ns) / 1_000n) / 1_000
}

/** @param {number} value */
const two = (value) => String(value).padStart(2, '0')

/** @param {number} ms since the epoch @param {boolean} [withMs] */
export function clockText(ms, withMs = false) {
  if (!Number.isFinite(ms)) return '–'
  const at = new Date(ms)
  const text = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  return withMs ? `${text}.${String(at.getMilliseconds()).padStart(3, '0')}` : text
}

/** With the day where it is not today. @param {number} ms */
export function whenText(ms) {
  if (!Number.isFinite(ms)) return '–'
  const at = new Date(ms)
  const isToday = at.toDateString() === new Date().toDateString()
  return isToday ? clockText(ms) : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clockText(ms)}`
}

/** @param {number} ms since the epoch */
export const agoText = (ms) => (Number.isFinite(ms) ? durationText(Math.max(0, Date.now() - ms)) : '–')

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`
