// @ts-check
/** Asks for a key when the gateway wants one. */
import { byId, setText } from './dom.js'
import { keepKey, keyOf, whenKeyWanted } from './rest.js'

/** @param {() => void} onKey */
export function startKeyForm(onKey) {
  const dialog = byId('key')
  whenKeyWanted((message) => {
    if (dialog.open) return
    setText(byId('key-error'), keyOf() === null ? '' : message)
    dialog.showModal()
  })
  dialog.addEventListener('cancel', (event) => event.preventDefault()) // without a key there is nothing to see
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault()
    const text = byId('key-input').value.trim()
    if (text === '') return
    keepKey(text)
    onKey()
  })
}
