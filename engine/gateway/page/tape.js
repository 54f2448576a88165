// @ts-check
/** The tape: the newest trades, newest first. Its rows are made once and written over. */
import { digitsOf, grouped, padded, units } from './decimal.js'
import { byId, h, panelOf, setAttribute, setText } from './dom.js'
import { clockText, compact, msOf } from './format.js'

const ROWS_MAX = 60
/** a trade that is so many times the mean of what is shown is a large one */
const LARGE = 5
const RATE_SECONDS = 10

/** @typedef {{ key: string, ms: number, price: string, quantity: string, side: string, size: number }} Trade */

export class Tape {
  #panel = panelOf('tape')
  #rate = byId('tape-rate')
  #list
  #rows
  /** newest first @type {Trade[]} */
  #trades = []
  /** second → how many came in it, of the last seconds @type {Map<number, number>} */
  #arrivals = new Map()
  #priceDigits = 0
  #sizeDigits = 0
  /** where a venue sends single matches, runs of them would show everything twice @type {Set<string>} */
  #streams = new Set()

  constructor() {
    const head = h(
      'div',
      { class: 'trade head', 'aria-hidden': 'true' },
      h('span', {}, 'Time'),
      h('span', {}, 'Price'),
      h('span', {}, 'Size'),
    )
    this.#rows = Array.from({ length: ROWS_MAX }, () => {
      const cells = [h('span', { class: 'time' }), h('span', { class: 'price' }), h('span', { class: 'size' })]
      const element = h('li', { class: 'trade' }, ...cells)
      element.hidden = true
      return { element, cells }
    })
    this.#list = h(
      'ol',
      { class: 'trades', 'aria-label': 'Trades, newest first' },
      ...this.#rows.map((row) => row.element),
    )
    this.#panel.body.append(head, this.#list)
  }

  begin() {
    this.#trades = []
    this.#arrivals = new Map()
    this.#streams = new Set()
    this.#priceDigits = 0
    this.#sizeDigits = 0
    this.draw()
  }

  get last() {
    return this.#trades[0]
  }

  /** Is this one to be shown, and counted in candles? @param {any} row */
  takes(row) {
    this.#streams.add(row.stream)
    return row.stream !== 'agg_trade' || !this.#streams.has('trade')
  }

  /** @param {readonly any[]} rows oldest first @param {boolean} isLive */
  add(rows, isLive) {
    const known = new Set(this.#trades.map((trade) => trade.key))
    const fresh = rows
      .filter((row) => this.takes(row))
      .map(tradeOf)
      .filter(({ key }) => !known.has(key))
    if (fresh.length === 0) return
    for (const { price, quantity } of fresh) {
      this.#priceDigits = Math.max(this.#priceDigits, digitsOf(price))
      this.#sizeDigits = Math.max(this.#sizeDigits, digitsOf(quantity))
    }
    if (isLive) this.#count(fresh.length)
    this.#trades = isLive
      ? [...fresh.slice(-ROWS_MAX).reverse(), ...this.#trades].slice(0, ROWS_MAX)
      : [...this.#trades, ...fresh.reverse()].slice(0, ROWS_MAX)
  }

  draw() {
    if (this.#trades.length === 0)
      this.#panel.say('No trades yet', 'The next one appears here as soon as the venue sends it.')
    else this.#panel.clear()
    const mean = this.#trades.reduce((sum, { size }) => sum + size, 0) / Math.max(1, this.#trades.length)
    const largest = this.#trades.reduce((most, { size }) => Math.max(most, size), 0)
    this.#rows.forEach(({ element, cells }, index) => {
      const trade = this.#trades[index]
      element.hidden = trade === undefined
      if (trade === undefined) return
      setText(cells[0], clockText(trade.ms, true))
      setText(cells[1], grouped(padded(trade.price, this.#priceDigits)))
      setText(cells[2], padded(trade.quantity, this.#sizeDigits))
      setAttribute(element, 'data-side', trade.side)
      setAttribute(element, 'data-large', trade.size > mean * LARGE ? 'true' : null)
      element.style.setProperty('--share', String(largest === 0 ? 0 : Math.sqrt(trade.size / largest)))
    })
    this.#drawRate()
  }

  /** @param {number} count of trades that came now */
  #count(count) {
    const second = Math.floor(performance.now() / 1000)
    this.#arrivals.set(second, (this.#arrivals.get(second) ?? 0) + count)
    for (const old of this.#arrivals.keys()) if (old < second - RATE_SECONDS) this.#arrivals.delete(old)
  }

  #drawRate() {
    const second = Math.floor(performance.now() / 1000)
    let sum = 0
    for (const [at, count] of this.#arrivals) if (at < second && at >= second - RATE_SECONDS) sum += count
    setText(this.#rate, this.#arrivals.size === 0 ? '' : `${compact(sum / RATE_SECONDS)} /s`)
  }
}

/** @param {any} row @returns {Trade} */
function tradeOf(row) {
  const id = row.trade_id === 0 || row.trade_id === undefined ? row.venue_trade_id : row.trade_id
  const { price, quantity, side } = row
  return { key: `${row.stream}/${id}`, ms: msOf(row.trade_ns), price, quantity, side, size: Number(units(quantity)) }
}
