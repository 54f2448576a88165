// @ts-check
/** The book as a ladder: asks above, bids below, grouped by a price step, with cumulative sizes. Every digit is exact. */
import { ceilTo, commonStep, digitsOf, floorTo, grouped, padded, share, textOf, units } from './decimal.js'
import { byId, h, panelOf, setAttribute, setText } from './dom.js'
import { agoText, whenText } from './format.js'
import { rowsOf } from './levels.js'

const ROW_PIXELS = 20
const ROWS_MAX = 40
const BRIGHT_MS = 350
const MIDDLE_PIXELS = 44
const STEP_FACTORS = [1n, 2n, 5n, 10n, 20n, 50n, 100n, 200n, 500n, 1000n]
/** so many levels of a side tell the tick, where the instrument does not */
const TICK_LEVELS = 60

/** What a state means for whoever looks at the book. @type {Record<string, string>} */
const MEANINGS = {
  NONE: 'Waiting for the first word about this book.',
  INIT: 'The book has not started yet.',
  BUFFERING: 'Changes are kept until the snapshot is here.',
  GAP: 'The chain of changes broke; what was here is not the book any more.',
  RESYNC: 'A new snapshot is on its way.',
  STALE: 'Nothing is heard of this book; it may be old.',
  PRE_OPEN: 'The market is not open yet.',
  DELISTED: 'The venue no longer lists this instrument.',
  OFFLINE: 'The stream to the gateway is interrupted; it comes back by itself.',
}

/** @typedef {import('./levels.js').Row} Row */

class LadderRow {
  element
  #price
  #size
  #total
  /** what it showed last */
  #last = { price: '', size: 0n }
  #brightUntilMs = 0

  constructor() {
    this.#price = h('span', { class: 'price', role: 'cell' })
    this.#size = h('span', { class: 'size', role: 'cell' })
    this.#total = h('span', { class: 'total', role: 'cell' })
    this.element = h('div', { class: 'level', role: 'row' }, this.#price, this.#size, this.#total)
  }

  /** @param {Row | undefined} row @param {number} priceDigits @param {number} sizeDigits @param {bigint} whole @param {ReadonlyMap<string, bigint>} before */
  show(row, priceDigits, sizeDigits, whole, before) {
    if (row === undefined) {
      if (this.#last.price === '') return
      for (const cell of [this.#price, this.#size, this.#total]) setText(cell, '')
      this.element.style.setProperty('--share', '0')
      setAttribute(this.element, 'data-change', null)
      this.#last = { price: '', size: 0n }
      return
    }
    this.#mark(row, before)
    if (row.price !== this.#last.price) setText(this.#price, grouped(padded(row.price, priceDigits)))
    setText(this.#size, padded(textOf(row.size), sizeDigits))
    setText(this.#total, padded(textOf(row.total), sizeDigits))
    this.element.style.setProperty('--share', String(share(row.total, whole)))
    this.#last = row
  }

  /** A change is bright for a moment; no animation, which would draw 60 times a second. @param {Row} row @param {ReadonlyMap<string, bigint>} before */
  #mark(row, before) {
    const nowMs = performance.now()
    if (row.price !== this.#last.price) this.#brightUntilMs = 0
    if (before.size > 0 && before.get(row.price) !== row.size) this.#brightUntilMs = nowMs + BRIGHT_MS
    setAttribute(this.element, 'data-change', nowMs < this.#brightUntilMs ? 'true' : null)
  }
}

export class Ladder {
  #panel = panelOf('ladder')
  #state = byId('ladder-state')
  #select = byId('ladder-step')
  #asks
  #bids
  #middle
  #balance
  /** @type {LadderRow[]} */
  #askRows = []
  /** @type {LadderRow[]} */
  #bidRows = []
  /** @type {Map<string, bigint>} */
  #before = new Map()
  #tick = 0n
  #factor = 1n
  #sizeDigits = 0
  #rowCount = 0
  #onStep

  /** @param {() => void} onStep */
  constructor(onStep) {
    this.#onStep = onStep
    const last = h('span', { class: 'last', role: 'cell' })
    const spread = h('span', { class: 'spread', role: 'cell' })
    this.#middle = { box: h('div', { class: 'middle', role: 'row' }, last, spread), last, spread }
    this.#asks = h('div', { class: 'side asks', role: 'rowgroup', 'aria-label': 'Asks' })
    this.#bids = h('div', { class: 'side bids', role: 'rowgroup', 'aria-label': 'Bids' })
    const head = h('div', { class: 'level head', role: 'row' })
    for (const [name, title] of [
      ['price', 'Price'],
      ['size', 'Size'],
      ['total', 'Total'],
    ])
      head.append(h('span', { class: name, role: 'columnheader' }, title))
    const levels = h(
      'div',
      { class: 'levels', role: 'table', 'aria-label': 'Order book' },
      head,
      this.#asks,
      this.#middle.box,
      this.#bids,
    )
    const [bidShare, askShare] = [h('span', { class: 'bid' }), h('span', { class: 'ask' })]
    this.#balance = {
      box: h('div', { class: 'balance', title: 'Sizes of the levels that are shown' }, bidShare, askShare),
      bidShare,
      askShare,
    }
    this.#panel.body.append(levels, this.#balance.box)
    this.#select.addEventListener('change', () => this.#choose(BigInt(this.#select.value)))
    new ResizeObserver(() => this.#fit(levels.clientHeight)).observe(levels)
  }

  /** Another instrument. @param {string | null | undefined} tickSize */
  begin(tickSize) {
    this.#tick = tickSize === null || tickSize === undefined || tickSize === '' ? 0n : units(tickSize)
    this.#factor = 1n
    this.#sizeDigits = 0
    this.#before = new Map()
    this.#offerSteps()
  }

  /** One step finer or coarser. @param {1 | -1} direction */
  zoom(direction) {
    const next = STEP_FACTORS[STEP_FACTORS.indexOf(this.#factor) + direction]
    if (next !== undefined) this.#choose(next)
  }

  /** @param {import('./book.js').Book} book @param {{ price: string, side: string } | undefined} last trade @param {boolean} isOnline */
  draw(book, last, isOnline) {
    const state = isOnline ? book.state : 'OFFLINE'
    setText(this.#state, state === 'NONE' ? 'WAITING' : state)
    this.#state.dataset.state = state
    if (state !== 'LIVE') return this.#drawNothing(state, book)
    this.#panel.clear()
    if (this.#tick === 0n) this.#learnTick(book)
    const step = this.#tick * this.#factor
    const asks = rowsOf(book.asks.levels, step, ceilTo, this.#rowCount)
    const bids = rowsOf(book.bids.levels, step, floorTo, this.#rowCount)
    for (const { size } of [...asks, ...bids]) this.#sizeDigits = Math.max(this.#sizeDigits, digitsOf(textOf(size)))
    const totals = [asks.at(-1)?.total ?? 0n, bids.at(-1)?.total ?? 0n]
    const whole = totals[0] > totals[1] ? totals[0] : totals[1]
    this.#drawSide(this.#askRows, asks, digitsOf(textOf(step)), whole)
    this.#drawSide(this.#bidRows, bids, digitsOf(textOf(step)), whole)
    this.#before = new Map([...asks, ...bids].map(({ price, size }) => [price, size]))
    this.#drawMiddle(book, last, digitsOf(textOf(this.#tick)))
    this.#drawBalance(totals[1], totals[0])
  }

  /** @param {string} state @param {import('./book.js').Book} book */
  #drawNothing(state, book) {
    const lines = [MEANINGS[state] ?? '']
    if (state !== 'OFFLINE' && book.reason !== '') lines.push(`Reason: ${book.reason}`)
    if (state !== 'OFFLINE' && Number.isFinite(book.sinceMs))
      lines.push(`Since ${whenText(book.sinceMs)} (${agoText(book.sinceMs)})`)
    const title = state === 'NONE' ? 'No book yet' : `Book is ${state}`
    this.#panel.say(title, lines.join('\n'), state)
    for (const row of [...this.#askRows, ...this.#bidRows]) row.show(undefined, 0, 0, 0n, this.#before)
    setText(this.#middle.last, '')
    setText(this.#middle.spread, '')
    this.#before = new Map()
  }

  /** @param {readonly LadderRow[]} elements best first @param {readonly Row[]} rows @param {number} digits @param {bigint} whole */
  #drawSide(elements, rows, digits, whole) {
    elements.forEach((element, index) => {
      element.show(rows[index], digits, this.#sizeDigits, whole, this.#before)
    })
  }

  /** @param {import('./book.js').Book} book @param {{ price: string, side: string } | undefined} last @param {number} digits */
  #drawMiddle(book, last, digits) {
    const { bestBid, bestAsk } = book
    setText(this.#middle.last, last === undefined ? '' : grouped(padded(last.price, digits)))
    this.#middle.last.dataset.side = last?.side ?? ''
    if (bestBid === undefined || bestAsk === undefined) return setText(this.#middle.spread, 'one side is empty')
    const spread = bestAsk.units - bestBid.units
    const points = (Number(spread) / Number(bestBid.units)) * 10_000
    setText(this.#middle.spread, `spread ${padded(textOf(spread), digits)} · ${points.toFixed(2)} bp`)
  }

  /** @param {bigint} bids @param {bigint} asks */
  #drawBalance(bids, asks) {
    const part = share(bids, bids + asks)
    const { box, bidShare, askShare } = this.#balance
    box.style.setProperty('--bid-share', String(part))
    setText(bidShare, `bids ${(part * 100).toFixed(0)} %`)
    setText(askShare, `${(100 - part * 100).toFixed(0)} % asks`)
  }

  /** @param {import('./book.js').Book} book */
  #learnTick(book) {
    const levels = [...book.asks.levels.slice(0, TICK_LEVELS), ...book.bids.levels.slice(0, TICK_LEVELS)]
    this.#tick = commonStep(levels.map((level) => level.units))
    this.#offerSteps()
  }

  #offerSteps() {
    this.#select.replaceChildren(
      ...STEP_FACTORS.map((factor) =>
        h('option', { value: String(factor) }, this.#tick === 0n ? '–' : textOf(this.#tick * factor)),
      ),
    )
    this.#select.value = String(this.#factor)
    this.#select.disabled = this.#tick === 0n
  }

  /** @param {bigint} factor */
  #choose(factor) {
    this.#factor = factor
    this.#select.value = String(factor)
    this.#before = new Map()
    this.#onStep()
  }

  /** As many rows as there is room for. @param {number} height */
  #fit(height) {
    const room = Math.floor((height - MIDDLE_PIXELS - ROW_PIXELS) / 2 / ROW_PIXELS)
    const count = Math.max(3, Math.min(ROWS_MAX, room))
    if (count === this.#rowCount) return
    this.#rowCount = count
    this.#askRows = Array.from({ length: count }, () => new LadderRow())
    this.#bidRows = Array.from({ length: count }, () => new LadderRow())
    this.#asks.replaceChildren(...this.#askRows.map((row) => row.element).reverse())
    this.#bids.replaceChildren(...this.#bidRows.map((row) => row.element))
    this.#before = new Map()
    this.#onStep()
  }
}
