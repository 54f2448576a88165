// @ts-check
/** uPlot in a panel: sized by it, in the colours of the theme, drawn at most a few times a second. */
import { colour } from './dom.js'
import { clockText } from './format.js'
import { whenThemeChanges } from './theme.js'
import uPlot from './vendor/uplot.js'

const FONT = '11px "Inter Variable", system-ui, sans-serif'

/** @param {Record<string, unknown>} [more] */
export function axis(more = {}) {
  return {
    font: FONT,
    stroke: () => colour('muted'),
    grid: { stroke: () => colour('line'), width: 1 },
    ticks: { show: false },
    gap: 5,
    ...more,
  }
}

const LETTER_PIXELS = 6.4
const LABEL_PIXELS_MIN = 44

/** An axis of values is as wide as its longest label. @param {unknown} _ @param {readonly string[] | null} labels */
export const labelWidth = (_, labels) =>
  Math.max(LABEL_PIXELS_MIN, ...(labels ?? []).map((label) => label.length * LETTER_PIXELS + 14))

/** The clock of the viewer, one line, as fine as the ticks are apart. */
export function timeAxis(more = {}) {
  return axis({
    size: 26,
    space: 80,
    values: (_, ticks) => {
      const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60
      return ticks.map((second) => clockText(second * 1000).slice(0, step < 60 ? 8 : 5))
    },
    ...more,
  })
}

export class Chart {
  /** @type {any} */
  #plot
  #body
  #optionsOf
  /** @type {any} */
  #rows = [[]]

  /** @param {HTMLElement} body @param {() => any} optionsOf without width and height */
  constructor(body, optionsOf) {
    this.#body = body
    this.#optionsOf = optionsOf
    new ResizeObserver(() => this.#resize()).observe(body)
    whenThemeChanges(() => this.rebuild())
  }

  /** @param {any} rows x, then a list a line */
  show(rows) {
    this.#rows = rows
    if (this.#plot === undefined) this.rebuild()
    else this.#plot.setData(rows)
  }

  /** With other lines or other colours. */
  rebuild() {
    const { width, height } = this.#room()
    this.#plot?.destroy()
    this.#plot = undefined
    if (width < 40 || height < 40) return
    this.#plot = new uPlot({ legend: { show: false }, width, height, ...this.#optionsOf() }, this.#rows, this.#body)
  }

  #room() {
    const style = getComputedStyle(this.#body)
    const across = Number.parseFloat(style.paddingLeft) + Number.parseFloat(style.paddingRight)
    const along = Number.parseFloat(style.paddingTop) + Number.parseFloat(style.paddingBottom)
    return { width: Math.floor(this.#body.clientWidth - across), height: Math.floor(this.#body.clientHeight - along) }
  }

  #resize() {
    if (this.#plot === undefined) return this.rebuild()
    const { width, height } = this.#room()
    if (width >= 40 && height >= 40) this.#plot.setSize({ width, height })
  }
}

export const stepped = uPlot.paths.stepped
export const spline = uPlot.paths.spline
