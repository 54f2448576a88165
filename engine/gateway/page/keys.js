// @ts-check
/** Shortcuts of the page, and the overlay that lists them. */
import { byId, h } from './dom.js'

/** @typedef {{ keys: readonly string[], shown: readonly string[], what: string, run: () => void }} Shortcut */

const TYPED = ['INPUT', 'SELECT', 'TEXTAREA']

/** @param {readonly Shortcut[]} shortcuts @param {readonly (readonly [readonly string[], string])[]} others that elements have themselves */
export function startKeys(shortcuts, others) {
  const help = byId('help')
  const rows = [...shortcuts.map(({ shown, what }) => /** @type {const} */ ([shown, what])), ...others]
  for (const [shown, what] of rows)
    byId('help-list').append(h('dt', {}, ...shown.flatMap((key) => [h('kbd', {}, key), ' '])), h('dd', {}, what))
  const open = () => (help.open ? help.close() : help.showModal())
  byId('help-open').addEventListener('click', open)
  help.addEventListener('click', (event) => {
    if (event.target === help) help.close() // its backdrop
  })
  const all = new Map(
    [...shortcuts, { keys: ['?'], run: open }].flatMap(({ keys, run }) => keys.map((key) => [key, run])),
  )
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || TYPED.includes(/** @type {Element} */ (event.target).tagName))
      return
    const run = all.get(event.key)
    if (run === undefined || (help.open && event.key !== '?') || byId('key').open) return
    event.preventDefault()
    run()
  })
}
