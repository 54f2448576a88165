// @ts-check
/** All instruments that the gateway knows, by name, and the search over them. */
import { ask } from './rest.js'

/** @typedef {{ instrument: string, exchange: string, market: string, symbol: string, kind?: string, tick_size?: string | null, [key: string]: any }} Instrument */

const PAGE_ROWS = 1_000
const PAGES_MAX = 20

/** @type {Map<string, Instrument>} */
const known = new Map()

/** @param {string} name @returns {Instrument} also for one that is not in the list (yet) */
export const instrumentOf = (name) => known.get(name) ?? named(name)

export const instruments = () => [...known.values()]

/** @param {string} name */
function named(name) {
  const [exchange = '', market = '', ...rest] = name.split('.')
  return { instrument: name, exchange, market, symbol: rest.join('.') }
}

/** An index has prices, but neither trades nor a book. @param {Instrument} instrument */
export const isIndex = ({ kind, market }) => kind === 'index' || market === 'index'

/** @param {{ exchange?: string, market?: string, symbol?: string }} message */
export const nameOf = ({ exchange, market, symbol }) => `${exchange}.${market}.${symbol}`

/** Reads the list, all pages of it. @returns {Promise<number>} how many */
export async function readInstruments() {
  let cursor
  let count = 0
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await ask('/v1/instruments', { limit: PAGE_ROWS, cursor })
    for (const row of answer.rows) {
      const name = row.instrument ?? nameOf(row)
      known.set(name, { ...row, instrument: name })
    }
    count += answer.rows.length
    cursor = answer.next_cursor ?? undefined
    if (cursor === undefined || cursor === '') break
  }
  return count
}

/** Those of the state map that the list of the venue does not have. @param {string} name */
export function noteInstrument(name) {
  if (!known.has(name)) known.set(name, named(name))
}

/** @param {Instrument} instrument */
export function symbolParts({ symbol, exchange, market, kind }) {
  const word = kind === undefined || kind === 'unknown' || kind === market ? '' : ` · ${kind}`
  return { symbol, where: `${exchange} · ${market}${word}` }
}

/**
 * How well a name fits what was typed: every letter in order, the tighter and the earlier the better.
 * @param {string} wanted lower case @param {string} name lower case
 * @returns {{ score: number, at: number[] } | undefined}
 */
export function fit(wanted, name) {
  const whole = name.indexOf(wanted)
  if (whole >= 0) {
    const isStart = whole === 0 || !/[a-z0-9]/.test(name[whole - 1])
    return {
      score: 1_000 - whole - name.length + (isStart ? 200 : 0),
      at: Array.from(wanted, (_, index) => whole + index),
    }
  }
  const at = []
  let from = 0
  for (const letter of wanted) {
    const found = name.indexOf(letter, from)
    if (found < 0) return undefined
    at.push(found)
    from = found + 1
  }
  return { score: 300 - (from - at[0]) * 4 - name.length, at }
}

/** @param {string} text @param {number} most */
export function search(text, most) {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '')
  const found = []
  for (const instrument of known.values()) {
    const name = instrument.instrument.toLowerCase()
    const fits = words.map((word) => fit(word, name))
    if (fits.some((one) => one === undefined)) continue
    const score = fits.reduce((sum, one) => sum + (one?.score ?? 0), 0)
    found.push({ instrument, score, at: new Set(fits.flatMap((one) => one?.at ?? [])) })
  }
  found.sort((a, b) => b.score - a.score || (a.instrument.instrument < b.instrument.instrument ? -1 : 1))
  return { total: found.length, hits: found.slice(0, most) }
}
