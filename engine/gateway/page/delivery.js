// @ts-check
/** What is on its way from the spool to the store, and what is given up under pressure. */

import { axis, Chart, labelWidth, timeAxis } from './chart.js'
import { byId, colour, h, panelOf, setAttribute, setText } from './dom.js'
import { byteText, compact, durationText, tickTexts, whole } from './format.js'

/** What is given up first, second, third. */
const SHED = ['backfill', 'gateway', 'candles']

const ROWS = /** @type {const} */ ({
  waiting: 'Not acknowledged',
  committed: 'Not committed',
  oldest: 'Oldest',
  flight: 'In flight',
  retries: 'Retries',
  stored: 'Rows stored',
  inserts: 'Inserts',
  pending: 'Pending rows',
  pressure: 'Pressure',
})

export class Delivery {
  #panel = panelOf('delivery')
  #way = byId('delivery-way')
  /** @type {Map<string, HTMLElement>} */
  #values = new Map()
  #fill = h('b')
  #meter = h('span', { class: 'meter' })
  #chart
  #problems = h('ul', { class: 'problems', 'aria-label': 'What is wrong with delivery' })

  constructor() {
    const list = h('dl', { class: 'facts' })
    for (const [key, label] of Object.entries(ROWS)) {
      const value = h('dd')
      this.#values.set(key, value)
      list.append(h('div', {}, h('dt', {}, label), value))
    }
    const plot = h('div', { class: 'plot' })
    this.#panel.body.append(
      h('p', { class: 'fill' }, h('span', {}, 'Spool'), this.#fill),
      this.#meter,
      list,
      h('h3', {}, 'Insert rate'),
      plot,
      this.#problems,
    )
    this.#chart = new Chart(plot, () => this.#options())
  }

  #options() {
    return {
      padding: [6, 26, 0, 0],
      scales: { y: { range: (_, __, max) => [0, max * 1.15 || 1] } },
      axes: [
        timeAxis({ size: 24 }),
        axis({ size: labelWidth, space: 24, values: (_, ticks) => tickTexts(ticks, '/s') }),
      ],
      series: [{}, { stroke: colour('accent'), fill: colour('accent-wash'), width: 1.5, points: { show: false } }],
      cursor: { show: false },
    }
  }

  /** @param {import('./status.js').StatusFeed} status */
  draw(status) {
    const found = status.collectors[0]
    if (found === undefined)
      return this.#panel.say(
        'No delivery',
        'No collector answers. Its spool and what it delivers are shown when one does.',
      )
    this.#panel.clear()
    const { name, collector } = found
    const { spool, delivered, stored, pressure } = collector
    setText(this.#way, collector.delivery === 'jetstream' ? 'NATS JetStream' : 'directly to ClickHouse')
    this.#meter.style.setProperty('--share', String(spool.bytes / Math.max(1, spool.bytesMax)))
    setText(this.#fill, `${byteText(spool.bytes)} of ${byteText(spool.bytesMax)}`)
    const rate = status.rates.get(`${name}/stored`)
    this.#write({
      waiting: `${whole(spool.unacknowledged)} blocks`,
      committed: `${whole(spool.uncommitted)} blocks`,
      oldest: spool.unacknowledged === 0 ? '–' : durationText(spool.oldestMs),
      flight: `${whole(delivered.inFlight)} blocks`,
      retries: whole(delivered.retries),
      stored: stored
        ? `${compact(stored.rows)}${rate === undefined ? '' : ` · ${compact(rate)}/s`}`
        : 'stored by another process',
      inserts: stored ? whole(stored.inserts) : '–',
      pending: stored ? whole(stored.pending) : '–',
      pressure:
        pressure.level === 0 ? 'none' : `level ${pressure.level}: ${SHED.slice(0, pressure.level).join(', ')} given up`,
    })
    this.#mark('pressure', pressure.level > 0)
    this.#mark('retries', delivered.retries > 0)
    this.#drawProblems([...pressure.reasons, ...problemsOf(found.problems)])
    const line = status.stored.lines.get('stored') ?? status.stored.lines.get('delivered')
    if (line !== undefined) this.#chart.show([status.stored.times, line])
  }

  /** @param {string} key @param {boolean} isBad */
  #mark(key, isBad) {
    setAttribute(/** @type {HTMLElement} */ (this.#values.get(key)), 'data-bad', isBad ? 'true' : null)
  }

  /** @param {Record<string, string>} texts */
  #write(texts) {
    for (const [key, text] of Object.entries(texts)) setText(/** @type {HTMLElement} */ (this.#values.get(key)), text)
  }

  /** @param {readonly string[]} problems */
  #drawProblems(problems) {
    const text = problems.join('\n')
    if (this.#problems.dataset.text === text) return
    this.#problems.dataset.text = text
    this.#problems.replaceChildren(...problems.map((problem) => h('li', {}, problem)))
  }
}

/** What the health of the process complains of. @param {Record<string, string>} [problems] */
const problemsOf = (problems = {}) => Object.entries(problems).map(([check, text]) => `${check}: ${text}`)
