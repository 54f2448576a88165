// @ts-check
/** Every socket to the venues: a block each, as wide as it has instruments, filled by how much comes over it. */
import { byId, h, panelOf, setText } from './dom.js'
import { compact, counted } from './format.js'

export class Connections {
  #panel = panelOf('connections')
  #total = byId('connections-total')
  #read = byId('connections-read')
  #box = h('div', { class: 'venues' })
  /** @type {Map<string, HTMLElement>} */
  #blocks = new Map()
  #layout = ''

  constructor() {
    this.#panel.body.append(this.#box)
    for (const name of ['pointerover', 'focusin']) this.#box.addEventListener(name, (event) => this.#tell(event.target))
    this.#box.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
      if (step === undefined) return
      event.preventDefault()
      const all = [...this.#blocks.values()]
      const next = all[(all.indexOf(/** @type {any} */ (document.activeElement)) + step + all.length) % all.length]
      for (const block of all) block.tabIndex = block === next ? 0 : -1
      next?.focus()
    })
  }

  /** @param {import('./status.js').StatusFeed} status */
  draw(status) {
    const all = status.collectors.flatMap(({ name, collector }) =>
      collector.connections.map((one) => ({ ...one, of: name, key: `${name}/${one.index}` })),
    )
    if (all.length === 0)
      return this.#panel.say('No connections', 'No collector answers, or it has not opened its sockets yet.')
    this.#panel.clear()
    const open = all.filter(({ isOpen }) => isOpen).length
    setText(this.#total, `${open} of ${all.length} open`)
    const layout = all.map(({ key, market }) => `${key}${market}`).join()
    if (layout !== this.#layout) this.#arrange(all)
    this.#layout = layout
    const most = Math.max(1, ...all.map(({ of, index }) => status.rates.get(`${of}/connection/${index}`) ?? 0))
    for (const one of all) this.#dress(one, status.rates.get(`${one.of}/connection/${one.index}`) ?? 0, most)
  }

  /** @param {readonly any[]} all */
  #arrange(all) {
    this.#blocks = new Map(
      all.map(({ key }, index) => [key, h('i', { tabindex: index === 0 ? '0' : '-1', role: 'img' })]),
    )
    const markets = [...new Set(all.map(({ exchange, market }) => `${exchange} ${market}`))].sort()
    this.#box.replaceChildren(
      ...markets.map((name) => {
        const own = all.filter(({ exchange, market }) => `${exchange} ${market}` === name)
        const blocks = own.map(({ key }) => /** @type {HTMLElement} */ (this.#blocks.get(key)))
        return h(
          'div',
          { class: 'venue' },
          h('span', { class: 'venue-name' }, name),
          h('div', { class: 'blocks' }, ...blocks),
        )
      }),
    )
  }

  /** @param {any} one @param {number} rate @param {number} most */
  #dress({ key, isOpen, isPaused, instruments, exchange, market, shard, generation }, rate, most) {
    const block = /** @type {HTMLElement} */ (this.#blocks.get(key))
    const state = isOpen ? (isPaused ? 'paused' : 'open') : 'closed'
    block.dataset.state = state
    block.style.setProperty('--fill', String(Math.sqrt(rate / most)))
    block.style.setProperty('--width', String(Math.max(1, Math.sqrt(instruments))))
    const text = `${exchange} ${market} · ${state} · ${counted(instruments, 'instrument')} · ${compact(rate)} messages/s · shard ${shard} · generation ${generation}`
    block.dataset.text = text
    block.setAttribute('aria-label', text)
    if (block.matches(':hover, :focus')) setText(this.#read, text)
    if (this.#read.textContent === '')
      setText(this.#read, 'A block is a socket: as wide as it has instruments, as full as it is busy.')
  }

  /** @param {EventTarget | null} target */
  #tell(target) {
    const text = /** @type {HTMLElement} */ (target).dataset.text
    if (text !== undefined) setText(this.#read, text)
  }
}
