// @ts-check
/** What may be missing, on an axis of time: a line an instrument, a bar a gap, its cause by colour, its end by shape. */
import { byId, choice, h, panelOf, setText, svg } from './dom.js'
import { clockText, counted, durationText, msOf, whenText } from './format.js'
import { nameOf } from './instruments.js'
import { ask } from './rest.js'

const SPANS = { '15m': 900, '1h': 3_600, '6h': 21_600, '24h': 86_400 }
const EVERY_MS = 10_000
const LINES_MAX = 14
const LINE_PIXELS_MIN = 15
const ROWS_MAX = 1_000
const LABEL_PIXELS = 150
const AXIS_PIXELS = 20
const LINE_PIXELS_MAX = 22
const BAR_PIXELS_MIN = 3
const CAUSES = [
  'disconnect',
  'sequence',
  'silent',
  'reset',
  'checksum',
  'loss',
  'crossed',
  'rejected',
  'worker_restart',
  'overflow',
  'collector_down',
  'spool_corrupt',
]
const colourOf = (/** @type {string} */ cause) => Math.max(0, CAUSES.indexOf(cause))

/** @typedef {{ name: string, cause: string, channel: string, status: string, fromMs: number, toMs: number, lost: number, detail: string }} Gap */

export class Gaps {
  #panel = panelOf('gaps')
  #read = byId('gaps-read')
  #legend = byId('gaps-legend')
  #drawing = svg('svg', { class: 'timeline', role: 'group', 'aria-label': 'Gaps by instrument and time' })
  #span = '1h'
  /** @type {Gap[]} */
  #gaps = []
  #isRead = false
  #isTruncated = false
  #isShown = false
  /** told with the number of open gaps */
  openCount = 0
  total = 0

  constructor() {
    this.#panel.body.append(this.#drawing)
    const spans = choice(
      byId('gaps-span'),
      Object.keys(SPANS).map((name) => [name, name]),
      (name) => {
        this.#span = name
        void this.ask()
      },
    )
    spans.show(this.#span)
    new ResizeObserver(() => this.#draw()).observe(this.#panel.body)
    for (const name of ['pointerover', 'focusin'])
      this.#drawing.addEventListener(name, (event) => this.#tell(event.target))
    this.#panel.say('Gaps', 'Asking the gateway …')
  }

  start() {
    void this.ask()
    setInterval(() => void (document.hidden ? undefined : this.ask()), EVERY_MS)
  }

  /** @param {boolean} isShown */
  show(isShown) {
    this.#isShown = isShown
    if (isShown) this.#draw()
  }

  get span() {
    return this.#span
  }

  async ask() {
    const seconds = /** @type {any} */ (SPANS)[this.#span]
    try {
      const answer = await ask('/v1/gaps', { from: Math.floor(Date.now() / 1000 - seconds), limit: ROWS_MAX })
      this.#gaps = answer.rows.map(gapOf)
      this.#isTruncated = Boolean(answer.next_cursor)
      this.total = this.#gaps.length
      this.openCount = this.#gaps.filter(({ status }) => status === 'open').length
      this.#isRead = true
      this.#draw()
    } catch (error) {
      if (!this.#isRead) this.#panel.say('No gaps can be shown', /** @type {Error} */ (error).message)
    }
  }

  #draw() {
    if (!this.#isRead || !this.#isShown) return
    if (this.#gaps.length === 0) {
      this.#legend.replaceChildren()
      setText(this.#read, 'Whatever may be missing becomes a row of gaps, with its cause.')
      return this.#panel.say('No gaps', `Nothing is known to be missing in the last ${this.#span}.`)
    }
    this.#panel.clear()
    const { clientWidth: width, clientHeight: height } = this.#panel.body
    if (width < 100) return
    const room = Math.floor((height - AXIS_PIXELS - 6) / LINE_PIXELS_MIN)
    const lines = this.#lines(Math.max(2, Math.min(LINES_MAX, room)))
    const each = Math.min(LINE_PIXELS_MAX, (height - AXIS_PIXELS - 6) / lines.length)
    const end = Date.now()
    const start = end - /** @type {any} */ (SPANS)[this.#span] * 1000
    const right = width - 16
    const xOf = (/** @type {number} */ ms) =>
      LABEL_PIXELS + ((Math.max(start, Math.min(end, ms)) - start) / (end - start)) * (right - LABEL_PIXELS)
    this.#drawing.setAttribute('viewBox', `0 0 ${width} ${height}`)
    const drawn = lines.flatMap(([name, gaps], index) => this.#line(name, gaps, index * each, each, xOf, end))
    this.#drawing.replaceChildren(...this.#axis(start, end, xOf, lines.length * each), ...drawn)
    this.#drawLegend()
    const more = this.#isTruncated ? ` (the newest ${ROWS_MAX})` : ''
    if (!this.#panel.element.matches(':hover, :focus-within'))
      setText(
        this.#read,
        `${counted(this.#gaps.length, 'gap')}${more} in ${this.#span}, ${this.openCount} open (dashed); hollow ones are repaired. Point at one, or use Tab.`,
      )
  }

  /** Those with the most gaps, one line each; the rest share the last. @param {number} count @returns {[string, Gap[]][]} */
  #lines(count) {
    /** @type {Map<string, Gap[]>} */
    const byName = new Map()
    for (const gap of this.#gaps) byName.set(gap.name, [...(byName.get(gap.name) ?? []), gap])
    const sorted = [...byName].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1))
    if (sorted.length <= count) return sorted
    const rest = sorted.slice(count - 1)
    return [...sorted.slice(0, count - 1), [`${rest.length} others`, rest.flatMap(([, gaps]) => gaps)]]
  }

  /** @param {string} name @param {readonly Gap[]} gaps @param {number} top @param {number} each @param {(ms: number) => number} xOf @param {number} end */
  #line(name, gaps, top, each, xOf, end) {
    const label = svg(
      'text',
      { x: LABEL_PIXELS - 10, y: top + each / 2, class: 'label', 'text-anchor': 'end', 'dominant-baseline': 'central' },
      shortName(name),
    )
    const bars = gaps.map((gap) => {
      const from = xOf(gap.fromMs)
      const to = xOf(gap.status === 'open' ? end : gap.toMs)
      const text = textOf(gap)
      return svg('rect', {
        x: Math.min(from, to - BAR_PIXELS_MIN).toFixed(1),
        y: (top + 3).toFixed(1),
        width: Math.max(BAR_PIXELS_MIN, to - from).toFixed(1),
        height: (each - 6).toFixed(1),
        rx: 2,
        class: `gap s${colourOf(gap.cause)}`,
        'data-status': gap.status,
        'data-text': text,
        tabindex: 0,
        role: 'img',
        'aria-label': text,
      })
    })
    const rule = svg('line', { x1: LABEL_PIXELS, x2: '100%', y1: top + each, y2: top + each, class: 'rule' })
    return [rule, label, ...bars]
  }

  /** @param {number} start @param {number} end @param {(ms: number) => number} xOf @param {number} height */
  #axis(start, end, xOf, height) {
    const count = 6
    return Array.from({ length: count + 1 }, (_, index) => {
      const at = start + ((end - start) * index) / count
      const x = xOf(at)
      const text = clockText(at).slice(0, 5)
      return svg(
        'g',
        {},
        svg('line', { x1: x, x2: x, y1: 0, y2: height, class: 'rule' }),
        svg('text', { x, y: height + 14, class: 'tick', 'text-anchor': 'middle' }, text),
      )
    })
  }

  #drawLegend() {
    const causes = [...new Set(this.#gaps.map(({ cause }) => cause))].sort()
    const text = causes.join()
    if (this.#legend.dataset.text === text) return
    this.#legend.dataset.text = text
    const swatch = (/** @type {string} */ cause) => h('i', { class: `swatch s${colourOf(cause)}` })
    this.#legend.replaceChildren(...causes.map((cause) => h('span', {}, swatch(cause), cause)))
  }

  /** @param {EventTarget | null} target */
  #tell(target) {
    const text = /** @type {SVGElement} */ (target).dataset?.text
    if (text !== undefined) setText(this.#read, text)
  }
}

/** @param {any} row @returns {Gap} */
function gapOf(row) {
  const { cause, channel, status, detail = '', lost_count: lost = 0 } = row
  return {
    name: row.instrument ?? nameOf(row),
    cause,
    channel,
    status,
    fromMs: msOf(row.from_ns),
    toMs: msOf(row.to_ns),
    lost,
    detail,
  }
}

/** @param {Gap} gap */
function textOf({ name, cause, channel, status, fromMs, toMs, lost, detail }) {
  const length = Number.isFinite(toMs) ? ` for ${durationText(toMs - fromMs)}` : ''
  const frames = lost > 0 ? ` · ${counted(lost, 'frame')} lost` : ''
  return `${name} ${channel}: ${cause}, ${status}, from ${whenText(fromMs)}${length}${frames}${detail === '' ? '' : ` · ${detail}`}`
}

/** The venue is said by its first letters, the symbol whole. @param {string} name */
function shortName(name) {
  const [exchange, market, ...symbol] = name.split('.')
  if (symbol.length === 0) return name
  const text = `${symbol.join('.')} ${exchange.slice(0, 3)}·${market.slice(0, 4)}`
  return text.length > 24 ? `${text.slice(0, 23)}…` : text
}
