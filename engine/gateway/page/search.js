// @ts-check
/** The search box: type letters in order, arrows choose, Enter opens, Escape leaves. */
import { byId, h, setText } from './dom.js'
import { counted } from './format.js'
import { instruments, search } from './instruments.js'
import { stateOf } from './states.js'

const HITS_MAX = 50

/** @param {(name: string) => void} onChoice */
export function startSearch(onChoice) {
  const [box, input, panel, list, count] = [
    'search',
    'search-input',
    'search-panel',
    'search-list',
    'search-count',
  ].map(byId)
  let selected = 0

  const close = () => {
    panel.hidden = true
    input.setAttribute('aria-expanded', 'false')
    input.removeAttribute('aria-activedescendant')
  }
  /** @param {number} index */
  const select = (index) => {
    const items = [...list.children]
    if (items.length === 0) return input.removeAttribute('aria-activedescendant')
    selected = (index + items.length) % items.length
    items.forEach((item, at) => {
      item.setAttribute('aria-selected', String(at === selected))
    })
    items[selected].scrollIntoView({ block: 'nearest' })
    input.setAttribute('aria-activedescendant', items[selected].id)
  }
  const open = () => {
    const { total, hits } = search(input.value, HITS_MAX)
    list.replaceChildren(...hits.map((hit, index) => itemOf(hit, index)))
    const more = total > hits.length ? `, the best ${hits.length} are shown` : ''
    setText(
      count,
      instruments().length === 0
        ? 'The list of instruments is not here yet.'
        : `${counted(total, 'instrument')}${more}`,
    )
    panel.hidden = false
    input.setAttribute('aria-expanded', 'true')
    select(0)
  }
  /** @param {string | undefined} name */
  const choose = (name) => {
    if (name === undefined) return
    input.value = ''
    close()
    input.blur()
    onChoice(name)
  }

  input.addEventListener('focus', open)
  input.addEventListener('input', open)
  input.addEventListener('keydown', (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }
    if (event.key in steps) {
      event.preventDefault()
      if (panel.hidden) open()
      else select(selected + steps[event.key])
    } else if (event.key === 'Enter') {
      event.preventDefault()
      choose(list.children[selected]?.dataset.name)
    } else if (event.key === 'Escape') {
      input.value = ''
      close()
      input.blur()
    }
  })
  list.addEventListener('pointerdown', (event) => event.preventDefault()) // the box keeps the focus
  list.addEventListener('click', (event) => choose(event.target.closest('li')?.dataset.name))
  box.addEventListener('focusout', (event) => {
    if (!box.contains(event.relatedTarget)) close()
  })
}

/** @param {{ instrument: import('./instruments.js').Instrument, at: Set<number> }} hit @param {number} index */
function itemOf({ instrument, at }, index) {
  const { instrument: name, exchange, market, symbol } = instrument
  const start = exchange.length + market.length + 2
  const state = stateOf(name)?.state
  const chip = state === undefined ? h('span') : h('span', { class: 'chip', 'data-state': state }, state)
  return h(
    'li',
    { id: `hit-${index}`, role: 'option', 'aria-selected': 'false', 'data-name': name },
    h('span', {}, ...marked(symbol, start, at)),
    h('span', {}, `${exchange} · ${market}`),
    chip,
  )
}

/** The letters that were found, marked. @param {string} text @param {number} start @param {Set<number>} at */
function marked(text, start, at) {
  return Array.from(text, (letter, index) => (at.has(start + index) ? h('mark', {}, letter) : letter))
}
