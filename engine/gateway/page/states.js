// @ts-check
/** The state of every book, as the gateway says it: a list now and then, changes at once. */
import { msOf } from './format.js'
import { instrumentOf, isIndex, nameOf, noteInstrument } from './instruments.js'
import { ask } from './rest.js'

/** In the order of the legend. */
export const STATES = ['LIVE', 'INIT', 'BUFFERING', 'RESYNC', 'GAP', 'STALE', 'PRE_OPEN', 'DELISTED']

/** @typedef {{ state: string, reason: string, sinceMs: number }} BookState */

/** @type {Map<string, BookState>} */
const states = new Map()
/** @type {Set<(changed: ReadonlySet<string>) => void>} */
const watchers = new Set()
/** @type {Set<string>} */
let changed = new Set()

/** @param {string} name */
export const stateOf = (name) => states.get(name)

/** Names in the order that the map shows them. */
export const bookNames = () => [...states.keys()].sort()

/** @returns {Map<string, number>} state → how many */
export function stateCounts() {
  const counts = new Map()
  for (const { state } of states.values()) counts.set(state, (counts.get(state) ?? 0) + 1)
  return counts
}

/** @param {(changed: ReadonlySet<string>) => void} watcher */
export const watchStates = (watcher) => void watchers.add(watcher)

/** @param {string} name @param {string} state @param {string} reason @param {number} sinceMs */
export function noteState(name, state, reason, sinceMs) {
  noteInstrument(name)
  if (isIndex(instrumentOf(name))) return
  const known = states.get(name)
  if (known?.state === state && known.sinceMs === sinceMs) return
  states.set(name, { state, reason, sinceMs })
  note(name)
}

/** Many changes in one message are told once. @param {string} name */
function note(name) {
  if (changed.size === 0)
    queueMicrotask(() => {
      const told = changed
      changed = new Set()
      for (const watcher of watchers) watcher(told)
    })
  changed.add(name)
}

/** @param {any} row with the name of an instrument and the state of its book */
function noteRow(row) {
  noteState(row.instrument ?? nameOf(row), row.state, row.reason ?? '', msOf(row.since_ns))
}

/** The state of every book. @returns {Promise<void>} */
export async function readStates() {
  const { books } = await ask('/v1/books')
  for (const row of books) noteRow(row)
  const listed = new Set(books.map(({ instrument }) => instrument))
  for (const name of states.keys()) if (!listed.has(name)) forget(name)
}

/** No longer collected. @param {string} name */
function forget(name) {
  states.delete(name)
  note(name)
}

/** @param {import('./stream.js').Stream} stream */
export function followStates(stream) {
  stream.want(['book_state.>'])
  stream.on('book_state', (message) => {
    const row = message.rows?.at(-1)
    if (row !== undefined) noteState(nameOf(message), row.state, row.reason ?? '', msOf(row.since_ns))
  })
  stream.on('book_reset', (message) => noteRow(message))
}
