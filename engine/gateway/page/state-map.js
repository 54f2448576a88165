// @ts-check
/**
 * Every book as one small cell, coloured and marked by its state. The arrows move, Enter opens the instrument; only what
 * changed is touched, so 1,000 cells cost nothing while they are quiet.
 */
import { byId, h, panelOf, setAttribute, setText } from './dom.js'
import { agoText, counted, whenText, whole } from './format.js'
import { instrumentOf } from './instruments.js'
import { bookNames, STATES, stateCounts, stateOf, watchStates } from './states.js'

const CELL_PIXELS_MAX = 34
const CELL_PIXELS_MIN = 11
const BODY_PADDING_PIXELS = 14
/** Cells with a name on two lines or on one, with their gaps. */
const LABELS = [
  { name: 'two', width: 176, height: 50 },
  { name: 'one', width: 162, height: 31 },
]

export class StateMap {
  #panel = panelOf('states')
  #read = byId('states-read')
  #legend = byId('states-legend')
  #box = h('div', {
    class: 'cells',
    role: 'listbox',
    tabindex: '0',
    'aria-label': 'Books by state',
    'aria-orientation': 'horizontal',
  })
  /** @type {Map<string, HTMLElement>} */
  #cells = new Map()
  /** @type {string[]} */
  #names = []
  #lastId = 0
  /** @type {string | undefined} */
  #current
  /** @type {string | undefined} */
  #only
  /** @type {Map<string, { button: HTMLElement, count: HTMLElement }>} */
  #counts = new Map()

  /** @param {(name: string) => void} onChoice */
  constructor(onChoice) {
    this.#panel.body.append(this.#box)
    this.#panel.say('No books yet', 'The engine has not told of any book. They appear as it starts them.')
    for (const state of STATES) this.#legend.append(this.#legendButton(state))
    this.#box.addEventListener('pointerover', (event) => this.#tell(nameAt(event)))
    this.#box.addEventListener('pointerleave', () => this.#tell(this.#current))
    this.#box.addEventListener('click', (event) => {
      const name = nameAt(event)
      if (name !== undefined) onChoice(name)
    })
    this.#box.addEventListener('focus', () => this.#select(this.#current ?? this.#shown()[0]))
    this.#box.addEventListener('keydown', (event) => {
      if ((event.key === 'Enter' || event.key === ' ') && this.#current !== undefined) onChoice(this.#current)
      else if (!this.#move(event.key)) return
      event.preventDefault()
    })
    new ResizeObserver(() => this.#fit()).observe(this.#panel.body)
    watchStates((changed) => this.#take(changed))
    this.#tell(undefined)
  }

  /** @param {string} state */
  #legendButton(state) {
    const count = h('b', {}, '0')
    const button = h(
      'button',
      { type: 'button', 'data-state': state, 'aria-pressed': 'false', onclick: () => this.#filter(state) },
      h('i', { 'data-state': state }),
      state,
      ' ',
      count,
    )
    button.hidden = state !== 'LIVE'
    this.#counts.set(state, { button, count })
    return button
  }

  /** @param {ReadonlySet<string>} changed */
  #take(changed) {
    if ([...changed].some((name) => this.#cells.has(name) !== (stateOf(name) !== undefined))) this.#arrange()
    for (const name of changed) this.#dress(name)
    const counts = stateCounts()
    for (const [state, { button, count }] of this.#counts) {
      setText(count, whole(counts.get(state) ?? 0))
      button.hidden = !counts.has(state) && this.#only !== state
    }
    this.#panel.clear()
    this.#tell(this.#current)
  }

  #arrange() {
    this.#names = bookNames()
    for (const name of this.#cells.keys()) if (stateOf(name) === undefined) this.#cells.delete(name)
    this.#fit()
  }

  /** Names where there is room for all of them, else cells as large as there is room for. */
  #fit() {
    const { clientWidth, clientHeight } = this.#panel.body
    const [width, height] = [clientWidth - BODY_PADDING_PIXELS * 2, clientHeight - BODY_PADDING_PIXELS]
    const count = this.#names.length
    const holds = (/** @type {number} */ across, /** @type {number} */ along) =>
      Math.floor(width / across) * Math.floor(height / along) >= count
    const label = LABELS.find((one) => holds(one.width, one.height))
    let cell = CELL_PIXELS_MAX
    while (cell > CELL_PIXELS_MIN && !holds(cell, cell)) cell--
    this.#box.style.setProperty('--cell', `${cell}px`)
    this.#fill(label?.name)
  }

  /** @param {string | undefined} label */
  #fill(label) {
    const hasLabels = label !== undefined
    if (hasLabels !== this.#box.hasAttribute('data-labels')) this.#cells.clear()
    setAttribute(this.#box, 'data-labels', label ?? null)
    for (const name of this.#names) if (!this.#cells.has(name)) this.#cells.set(name, this.#cellOf(name, hasLabels))
    const wanted = this.#names.map((name) => /** @type {HTMLElement} */ (this.#cells.get(name)))
    if (wanted.length !== this.#box.childElementCount || wanted.some((cell, at) => this.#box.children[at] !== cell))
      this.#box.replaceChildren(...wanted)
    for (const name of this.#names) this.#dress(name)
  }

  /** @param {string} name @param {boolean} hasLabel */
  #cellOf(name, hasLabel) {
    const { symbol, exchange, market } = instrumentOf(name)
    const label = hasLabel ? [h('b', {}, symbol), h('span', {}, `${exchange} ${market}`)] : []
    const attributes = { role: 'option', id: `book-${++this.#lastId}`, 'data-name': name, 'aria-selected': 'false' }
    return h('div', attributes, h('i'), ...label)
  }

  /** @param {string} name */
  #dress(name) {
    const cell = this.#cells.get(name)
    const state = stateOf(name)?.state ?? ''
    const mark = /** @type {HTMLElement | undefined} */ (cell?.firstElementChild)
    if (cell === undefined || mark === undefined || mark.dataset.state === state) return
    mark.dataset.state = state
    cell.setAttribute('aria-label', `${name} ${state}`)
    if (this.#only !== undefined) cell.dataset.faded = String(state !== this.#only)
  }

  /** @param {string} state */
  #filter(state) {
    this.#only = this.#only === state ? undefined : state
    for (const [one, { button }] of this.#counts) button.setAttribute('aria-pressed', String(one === this.#only))
    for (const cell of this.#cells.values()) {
      if (this.#only === undefined) delete cell.dataset.faded
      else cell.dataset.faded = String(stateOf(cell.dataset.name ?? '')?.state !== this.#only)
    }
  }

  #shown() {
    return this.#only === undefined ? this.#names : this.#names.filter((name) => stateOf(name)?.state === this.#only)
  }

  /** @param {string} key @returns {boolean} whether it was one of ours */
  #move(key) {
    const names = this.#shown()
    const at = names.indexOf(this.#current ?? '')
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: this.#columns(),
      ArrowUp: -this.#columns(),
      Home: -at,
      End: names.length - 1 - at,
    }
    if (!(key in steps)) return false
    this.#select(names[Math.max(0, Math.min(names.length - 1, at + /** @type {any} */ (steps)[key]))])
    return true
  }

  #columns() {
    if (this.#only !== undefined) return 1
    return getComputedStyle(this.#box).gridTemplateColumns.split(' ').length
  }

  /** @param {string | undefined} name */
  #select(name) {
    if (name === undefined) return
    this.#cells.get(this.#current ?? '')?.setAttribute('aria-selected', 'false')
    this.#current = name
    const cell = /** @type {HTMLElement} */ (this.#cells.get(name))
    cell.setAttribute('aria-selected', 'true')
    cell.scrollIntoView({ block: 'nearest' })
    this.#box.setAttribute('aria-activedescendant', cell.id)
    this.#tell(name)
  }

  /** @param {string | undefined} name */
  #tell(name) {
    const found = name === undefined ? undefined : stateOf(name)
    if (found === undefined || name === undefined) {
      const live = stateCounts().get('LIVE') ?? 0
      const text =
        this.#names.length === 0
          ? ''
          : `${whole(live)} of ${counted(this.#names.length, 'book')} LIVE. Point at one, or use the arrows; Enter opens it.`
      return setText(this.#read, text)
    }
    const { state, reason, sinceMs } = found
    const since = Number.isFinite(sinceMs) ? ` since ${whenText(sinceMs)} (${agoText(sinceMs)})` : ''
    this.#read.replaceChildren(
      h('b', {}, name),
      ` ${state}${since}${reason === '' || state === 'LIVE' ? '' : ` · ${reason}`}`,
    )
  }
}

/** @param {Event} event */
function nameAt(event) {
  return /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest('[data-name]'))?.dataset.name
}
