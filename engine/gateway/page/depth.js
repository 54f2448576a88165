// @ts-check
/** How much stands on each side up to a price: cumulative sizes around the middle. Floats will do for a picture. */

import { axis, Chart, labelWidth, stepped } from './chart.js'
import { byId, colour, panelOf, setText } from './dom.js'
import { compact, tickTexts } from './format.js'

const SCALE = 1e18
const LEVELS_MAX = 400

/** @param {import('./book.js').Book} book @param {boolean} isOnline */
function whyNone(book, isOnline) {
  if (!isOnline) return 'The stream is interrupted.'
  if (!book.isLive)
    return book.state === 'NONE' ? 'The book is not here yet.' : `The book is not LIVE but ${book.state}.`
  return book.bestBid === undefined || book.bestAsk === undefined ? 'One side of the book is empty.' : ''
}

export class Depth {
  #panel = panelOf('depth')
  #read = byId('depth-read')
  #chart
  #middle = 0

  constructor() {
    this.#chart = new Chart(this.#panel.body, () => this.#options())
  }

  #options() {
    const side = (/** @type {string} */ name, /** @type {1 | -1} */ align) => ({
      stroke: colour(name),
      fill: colour(`${name}-fill`),
      width: 1.5,
      paths: stepped({ align }),
      points: { show: false },
    })
    return {
      padding: [8, 20, 0, 0],
      scales: { x: { time: false }, y: { range: (_, __, max) => [0, max * 1.05 || 1] } },
      axes: [
        axis({ size: 26, space: 70, values: (_, ticks) => ticks.map(priceText) }),
        axis({ size: labelWidth, values: (_, ticks) => tickTexts(ticks) }),
      ],
      series: [{}, side('bid', -1), side('ask', 1)],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.#tell(plot)] },
    }
  }

  /** @param {import('./book.js').Book} book @param {boolean} isOnline */
  draw(book, isOnline) {
    const why = whyNone(book, isOnline)
    if (why !== '') {
      setText(this.#read, '')
      return this.#panel.say('No depth', why)
    }
    this.#panel.clear()
    const bids = cumulative(book.bids.levels)
    const asks = cumulative(book.asks.levels)
    this.#middle = (bids[0].price + asks[0].price) / 2
    // As far as both sides reach, so that the middle stays in the middle.
    const reach = Math.min(this.#middle - bids[bids.length - 1].price, asks[asks.length - 1].price - this.#middle)
    const low = bids.filter(({ price }) => price >= this.#middle - reach).reverse()
    const high = asks.filter(({ price }) => price <= this.#middle + reach)
    this.#chart.show([
      [...low, ...high].map(({ price }) => price),
      [...low.map(({ total }) => total), ...high.map(() => null)],
      [...low.map(() => null), ...high.map(({ total }) => total)],
    ])
    if (!this.#panel.element.matches(':hover'))
      setText(this.#read, `${low.length} + ${high.length} levels · ±${((reach / this.#middle) * 100).toFixed(2)} %`)
  }

  /** @param {any} plot */
  #tell(plot) {
    const { idx } = plot.cursor
    if (idx === null || idx === undefined) return
    const [prices, bids, asks] = plot.data
    const total = bids[idx] ?? asks[idx]
    if (total === null || total === undefined) return
    const away = ((prices[idx] / this.#middle - 1) * 100).toFixed(3)
    setText(
      this.#read,
      `${bids[idx] === null ? 'asks' : 'bids'} to ${priceText(prices[idx])} (${away} %): ${compact(total)}`,
    )
  }
}

/** @param {readonly import('./book.js').Level[]} levels */
function cumulative(levels) {
  let total = 0
  return levels.slice(0, LEVELS_MAX).map(({ units, size }) => {
    total += Number(size) / SCALE
    return { price: Number(units) / SCALE, total }
  })
}

/** @param {number} price */
export function priceText(price) {
  const digits = price >= 1000 ? 1 : price >= 10 ? 2 : price >= 0.1 ? 4 : 8
  return price.toLocaleString('en-US', { minimumFractionDigits: 0, maximumFractionDigits: digits })
}
