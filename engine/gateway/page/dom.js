// @ts-check
/** The few words that the page builds its elements with. No text ever goes in as HTML. */

const SVG = 'http://www.w3.org/2000/svg'

/** @param {string} id @returns {any} */
export function byId(id) {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`no element #${id}`)
  return element
}

/** @param {Element} element @param {Record<string, unknown>} attributes */
function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value))
    else element.setAttribute(name, value === true ? '' : String(value))
  }
}

/** @param {string} tag @param {Record<string, unknown>} [attributes] @param {...(Node | string)} children @returns {any} */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  apply(element, attributes)
  element.append(...children)
  return element
}

/** @param {string} tag @param {Record<string, unknown>} [attributes] @param {...(Node | string)} children @returns {any} */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag)
  apply(element, attributes)
  element.append(...children)
  return element
}

/** Writing the same text again would cost a layout, a new node its collection. @param {Element} element @param {string} text */
export function setText(element, text) {
  const only = element.firstChild
  if (only?.nodeType !== Node.TEXT_NODE || only.nextSibling !== null) element.textContent = text
  else if (only.nodeValue !== text) only.nodeValue = text
}

/** @param {Element} element @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return
  if (value === null) element.removeAttribute(name)
  else element.setAttribute(name, value)
}

const probe = document.createElement('i')
probe.hidden = true

/** @type {Map<string, string>} */
const colours = new Map()

/** Of another theme from now on. */
export const forgetColours = () => colours.clear()

/** A colour of the theme, as a canvas understands it. @param {string} name @returns {string} */
export function colour(name) {
  const known = colours.get(name)
  if (known !== undefined) return known
  if (!probe.isConnected) document.body.append(probe)
  probe.style.color = `var(--${name})`
  const text = getComputedStyle(probe).color
  colours.set(name, text)
  return text
}

/**
 * The body of a panel, and the notice that lies over it while there is nothing good to show.
 * @param {string} id
 */
export function panelOf(id) {
  const element = byId(id)
  const body = element.querySelector('.body')
  const title = h('strong')
  const text = h('span')
  const notice = h('div', { class: 'notice', role: 'status' }, title, text)
  notice.hidden = true
  body.after(notice)
  return {
    element,
    body,
    /** @param {string} what one or two words @param {string} why a sentence @param {string} [state] that colours it */
    say(what, why, state = '') {
      setText(title, what)
      setText(text, why)
      notice.dataset.state = state
      notice.hidden = false
      element.dataset.empty = 'true'
    },
    clear() {
      notice.hidden = true
      delete element.dataset.empty
    },
  }
}

/**
 * A row of buttons of which one is chosen, as radio buttons are: arrows move, one tab stop.
 * @param {HTMLElement} box @param {readonly (readonly [string, string])[]} options value, label
 * @param {(value: string) => void} onChoice
 */
export function choice(box, options, onChoice) {
  const buttons = options.map(([value, label]) =>
    h('button', { type: 'button', role: 'radio', 'data-value': value, onclick: () => pick(value) }, label),
  )
  box.replaceChildren(...buttons)
  box.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    if (step === undefined) return
    event.preventDefault()
    const at = buttons.indexOf(document.activeElement)
    const next = buttons[(at + step + buttons.length) % buttons.length]
    next.focus()
    pick(next.dataset.value)
  })
  /** @param {string} value */
  const show = (value) => {
    for (const button of buttons) {
      const isChosen = button.dataset.value === value
      button.setAttribute('aria-checked', String(isChosen))
      button.tabIndex = isChosen ? 0 : -1
    }
  }
  /** @param {string} value */
  const pick = (value) => {
    show(value)
    onChoice(value)
  }
  return { show, pick }
}

/**
 * At most so many calls a second, the last one never lost, none while the page is hidden.
 * @param {number} everyMs @param {() => void} draw
 */
export function paced(everyMs, draw) {
  let isWaiting = false
  let lastMs = 0
  const run = () => {
    requestAnimationFrame(() => {
      isWaiting = false
      lastMs = performance.now()
      draw()
    })
  }
  return () => {
    if (isWaiting) return
    isWaiting = true
    const waitMs = everyMs - (performance.now() - lastMs)
    if (waitMs > 0) setTimeout(run, waitMs)
    else run()
  }
}
