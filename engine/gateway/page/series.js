// @ts-check
/** A line of one value over time: what the store has, then what the stream brings. Used for funding and open interest. */

import { axis, Chart, labelWidth, stepped, timeAxis } from './chart.js'
import { byId, colour, paced, panelOf, setText } from './dom.js'
import { clockText, msOf } from './format.js'
import { ask } from './rest.js'

const POINTS_MAX = 2_000
/** so few are marked: one alone is no line */
const FEW_POINTS = 4
const SPAN_S = 86_400
/** Some values come once a minute: one that was not stored yet at the first question would else be missing until the next. */
const AGAIN_MS = 5_000

/**
 * @typedef {object} SeriesOptions
 * @property {string} id of the panel
 * @property {string} path of the question
 * @property {string} type of the live message
 * @property {string} column
 * @property {string} colour
 * @property {(text: string) => string} read how a value is shown
 * @property {(value: number) => string} tick
 * @property {(ticks: number[]) => string[]} ticks of the axis
 * @property {string} noneTitle
 * @property {string} noneText why there may be nothing
 */

export class Series {
  #options
  #panel
  #read
  #chart
  /** seconds, ascending @type {number[]} */
  #times = []
  /** @type {number[]} */
  #values = []
  /** the newest, exactly */
  #text = ''
  #instrument = ''
  #asking = new AbortController()
  #draw = paced(500, () => this.#drawNow())

  /** @param {SeriesOptions} options */
  constructor(options) {
    this.#options = options
    this.#panel = panelOf(options.id)
    this.#read = byId(`${options.id}-read`)
    this.#chart = new Chart(this.#panel.body, () => this.#chartOptions())
  }

  get type() {
    return this.#options.type
  }

  /** @param {string} instrument */
  begin(instrument) {
    this.#instrument = instrument
    this.#times = []
    this.#values = []
    this.#text = ''
    this.#draw()
    void this.#ask()
  }

  /** @param {readonly any[]} rows */
  add(rows) {
    for (const row of rows) this.#addRow(row)
    this.#draw()
  }

  /** @param {number} [againMs] when to ask again if there is nothing; ever later, for some instruments have none */
  async #ask(againMs = AGAIN_MS) {
    this.#asking.abort()
    this.#asking = new AbortController()
    const { signal } = this.#asking
    const from = Math.floor(Date.now() / 1000) - SPAN_S
    try {
      const { rows } = await ask(`${this.#options.path}/${this.#instrument}`, { from, limit: 1_000 }, signal)
      const live = this.#times.map((time, index) => /** @type {const} */ ([time, this.#values[index]]))
      const text = this.#text
      this.#times = []
      this.#values = []
      for (const row of rows.toReversed()) this.#addRow(row) // the newest came first
      for (const [time, value] of live) this.#addPoint(time, value)
      if (text !== '') this.#text = text
      this.#draw()
    } catch {
      if (!signal.aborted) this.#draw() // the stream alone draws it then; the health line says what is wrong
    }
    if (this.#times.length === 0 && !signal.aborted)
      setTimeout(() => {
        if (!signal.aborted && this.#times.length === 0) void this.#ask(2 * againMs)
      }, againMs)
  }

  /** @param {any} row */
  #addRow(row) {
    const text = row[this.#options.column]
    if (text === null || text === undefined) return
    const time = (msOf(row.event_ns) || msOf(row.received_ns)) / 1000
    this.#addPoint(time, Number(text))
    this.#text = text
  }

  /** @param {number} time @param {number} value */
  #addPoint(time, value) {
    if (time <= (this.#times.at(-1) ?? 0)) return
    this.#times.push(time)
    this.#values.push(value)
    if (this.#times.length <= POINTS_MAX) return
    this.#times.shift()
    this.#values.shift()
  }

  #drawNow() {
    const { noneTitle, noneText, read } = this.#options
    if (this.#times.length === 0) {
      setText(this.#read, '')
      return this.#panel.say(noneTitle, noneText)
    }
    this.#panel.clear()
    if (!this.#panel.element.matches(':hover')) setText(this.#read, read(this.#text))
    this.#chart.show([this.#times, this.#values])
  }

  #chartOptions() {
    const { ticks, colour: name } = this.#options
    return {
      padding: [8, 26, 0, 0],
      scales: {
        x: { range: (_, low, high) => (high > low ? [low, high] : [low - 60, high + 60]) },
        y: { range: (_, low, high) => [low - pad(low, high), high + pad(low, high)] },
      },
      axes: [timeAxis(), axis({ size: labelWidth, values: (_, list) => ticks(list) })],
      series: [
        {},
        {
          stroke: colour(name),
          width: 1.5,
          paths: stepped({ align: 1 }),
          points: { show: (plot) => plot.data[0].length < FEW_POINTS, size: 6 },
        },
      ],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.#tell(plot)] },
    }
  }

  /** @param {any} plot */
  #tell({ cursor: { idx }, data: [times, values] }) {
    if (idx === null || idx === undefined || values[idx] === undefined) return
    setText(this.#read, `${clockText(times[idx] * 1000)}  ${this.#options.tick(values[idx])}`)
  }
}

/** Room above and below, also where all values are one. @param {number} low @param {number} high */
const pad = (low, high) => (high - low) * 0.15 || Math.abs(high) * 0.01 || 1
