// @ts-check
/** Levels of a book put together by price steps, exactly. */
import { textOf } from './decimal.js'

/** @typedef {{ price: string, size: bigint, total: bigint }} Row */

/**
 * Levels of one side put together by steps.
 * @param {readonly import('./book.js').Level[]} levels best first @param {bigint} step @param {(v: bigint, s: bigint) => bigint} round
 * @param {number} count @returns {Row[]}
 */
export function rowsOf(levels, step, round, count) {
  /** @type {{ at: bigint, size: bigint, total: bigint }[]} */
  const rows = []
  let total = 0n
  for (const level of levels) {
    const at = round(level.units, step)
    const last = rows.at(-1)
    if (last?.at === at) {
      last.size += level.size
      total += level.size
      last.total = total
    } else {
      if (rows.length === count) break
      total += level.size
      rows.push({ at, size: level.size, total })
    }
  }
  return rows.map(({ at, size, total: sum }) => ({ price: textOf(at), size, total: sum }))
}
