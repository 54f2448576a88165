// @ts-check
/** The line above the market: what the instrument is, its last price, and what else is known of it. Every figure exact. */

import { digitsOf, grouped, padded, textOf, units } from './decimal.js'
import { byId, h, setAttribute, setText } from './dom.js'
import { clockText, msOf } from './format.js'
import { symbolParts } from './instruments.js'

/** key → label, in this order; what is not known is not shown */
const FIGURES = {
  change: '24 h',
  high: '24 h high',
  low: '24 h low',
  volume: '24 h volume',
  spread: 'Bid / ask',
  mark: 'Mark',
  index: 'Index',
  funding: 'Funding',
  interest: 'Open interest',
}

export class Strip {
  #name = h('strong')
  #where = h('span')
  #price = h('span', { class: 'last-price' })
  #chip = h('span', { class: 'chip' })
  /** @type {Map<string, { box: HTMLElement, value: HTMLElement }>} */
  #figures = new Map()
  #digits = 0

  constructor() {
    const list = h('dl')
    for (const [key, label] of Object.entries(FIGURES)) {
      const value = h('dd')
      const box = h('div', { class: 'figure', 'data-figure': key }, h('dt', {}, label), value)
      box.hidden = true
      list.append(box)
      this.#figures.set(key, { box, value })
    }
    byId('strip').append(h('div', { class: 'name' }, this.#name, this.#where), this.#price, list, this.#chip)
  }

  /** @param {any} instrument */
  begin(instrument) {
    this.#digits = instrument.tick_size ? digitsOf(instrument.tick_size) : 0
    this.showName(instrument)
    setText(this.#price, '–')
    this.#price.dataset.side = ''
    for (const { box } of this.#figures.values()) box.hidden = true
  }

  /** Also when more of it becomes known. @param {any} instrument */
  showName(instrument) {
    const { symbol, where } = symbolParts(instrument)
    setText(this.#name, symbol)
    setText(this.#where, where)
  }

  /** @param {{ price: string, side: string } | undefined} trade */
  showPrice(trade) {
    if (trade === undefined) return
    this.#digits = Math.max(this.#digits, digitsOf(trade.price))
    setText(this.#price, this.#priceText(trade.price))
    setAttribute(this.#price, 'data-side', trade.side)
  }

  /** @param {import('./book.js').Book} book @param {boolean} isOnline */
  showBook(book, isOnline) {
    const state = isOnline ? book.state : 'OFFLINE'
    setText(this.#chip, state === 'NONE' ? 'WAITING' : state)
    setAttribute(this.#chip, 'data-state', state)
    const { bestBid, bestAsk } = book
    const isGood = state === 'LIVE' && bestBid !== undefined && bestAsk !== undefined
    this.#show('spread', isGood ? `${this.#priceText(bestBid.price)} / ${this.#priceText(bestAsk.price)}` : undefined)
  }

  /** @param {any} row of tickers */
  showTicker(row) {
    const percent = row.price_change_percent ?? percentOf(row.last_price, row.open_price)
    if (percent !== undefined && percent !== null)
      this.#show('change', signed(percent, ' %'), percent.startsWith('-') ? 'down' : 'up')
    for (const [key, column] of [
      ['high', 'high_price'],
      ['low', 'low_price'],
    ])
      if (row[column]) this.#show(key, this.#priceText(row[column]))
    if (row.volume) this.#show('volume', grouped(row.volume))
  }

  /** @param {any} row */
  showMark(row) {
    if (row.mark_price) this.#show('mark', this.#priceText(row.mark_price))
  }

  /** @param {any} row */
  showIndex(row) {
    if (row.index_price) this.#show('index', this.#priceText(row.index_price))
  }

  /** @param {any} row */
  showFunding(row) {
    if (!row.funding_rate) return
    const due = msOf(row.funding_ns)
    const when = Number.isFinite(due) ? ` at ${clockText(due).slice(0, 5)}` : ''
    this.#show('funding', `${percentText(row.funding_rate)}${when}`, row.funding_rate.startsWith('-') ? 'down' : 'up')
  }

  /** @param {any} row */
  showInterest(row) {
    if (row.open_interest) this.#show('interest', grouped(row.open_interest))
  }

  /** @param {string} text */
  #priceText(text) {
    return grouped(padded(text, this.#digits))
  }

  /** @param {string} key @param {string | undefined} text @param {string} [sign] */
  #show(key, text, sign) {
    const figure = this.#figures.get(key)
    if (figure === undefined) return
    figure.box.hidden = text === undefined
    if (text !== undefined) setText(figure.value, text)
    setAttribute(figure.value, 'data-sign', sign ?? null)
  }
}

/** 0.0001 → 0.01 %, exactly @param {string} rate */
export const percentText = (rate) => signed(textOf(units(cut(rate)) * 100n), ' %')

/** @param {string} text @param {string} unit */
const signed = (text, unit) => `${text.startsWith('-') ? `−${text.slice(1)}` : `+${text}`}${unit}`

/** More digits than 18 are below everything that is shown. @param {string} text */
const cut = (text) => (digitsOf(text) > 18 ? text.slice(0, text.indexOf('.') + 19) : text)

/** Since the beginning of the 24 h, to a hundredth of a percent. @param {string | null} last @param {string | null} open */
function percentOf(last, open) {
  if (!last || !open || units(cut(open)) === 0n) return undefined
  const [now, then] = [units(cut(last)), units(cut(open))]
  return textOf((((now - then) * 10_000n) / then) * 10n ** 16n)
}
