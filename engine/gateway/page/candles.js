// @ts-check
/**
 * Candles: those of /v1/klines, carried on by the trades of the stream. The last ones are asked for again now and then,
 * so that what the trades before the subscription made of a running candle comes in, too.
 */

import { digitsOf, grouped, padded, textOf, units } from './decimal.js'
import { byId, choice, colour, h, paced, panelOf, setText } from './dom.js'
import { msOf } from './format.js'
import { ask } from './rest.js'
import { whenThemeChanges } from './theme.js'
import { CandlestickSeries, createChart, HistogramSeries } from './vendor/lightweight-charts.js'

const INTERVALS = { '1s': 1, '5s': 5, '1m': 60, '5m': 300, '15m': 900, '1h': 3600, '4h': 14_400, '1d': 86_400 }
const KEY = 'marketprism.interval'
const HISTORY_COUNT = 500
const AGAIN_MS = 15_000
/** fewer than these, and nobody chose: the next finer interval shows more */
const FEW = 12
const BARS_MAX = 5_000
/** so few are drawn wider */
const FEW_BARS = 60
const ZONE_S = -new Date().getTimezoneOffset() * 60 // the chart knows no time zones: its clock is set to the viewer's

/** @typedef {{ second: number, open: string, high: string, low: string, close: string, volume: bigint, isLive: boolean }} Bar */

export class Candles {
  #panel = panelOf('candles')
  #values = byId('candle-values')
  #choice
  #chart
  #candles
  #volumes
  /** start in seconds → bar, oldest first @type {Map<number, Bar>} */
  #bars = new Map()
  /** start of the newest, 0: there is none */
  #newest = 0
  /** @type {Set<number>} */
  #changed = new Set()
  #instrument = ''
  #interval = keptInterval() ?? '1m'
  #wasChosen = keptInterval() !== null
  #digits = 0
  /** @type {AbortController} */
  #asking = new AbortController()
  #isHovered = false
  #draw = paced(200, () => this.#drawChanged())

  constructor() {
    this.#choice = choice(
      byId('intervals'),
      Object.keys(INTERVALS).map((name) => [name, name]),
      (name) => this.#choose(name),
    )
    this.#choice.show(this.#interval)
    this.#chart = createChart(this.#panel.body, this.#options())
    this.#candles = this.#chart.addSeries(CandlestickSeries, { priceLineStyle: 3 })
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: 'volume',
      priceFormat: { type: 'volume' },
      lastValueVisible: false,
      priceLineVisible: false,
    })
    this.#chart.priceScale('volume').applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } })
    this.#chart.priceScale('right').applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } })
    this.#chart.subscribeCrosshairMove(({ time }) => this.#tell(time))
    this.#dress()
    whenThemeChanges(() => this.#dress())
    setInterval(() => this.#askAgain(), AGAIN_MS)
  }

  #options() {
    return {
      autoSize: true,
      layout: {
        attributionLogo: false,
        background: { color: 'transparent' },
        fontFamily: '"Inter Variable", system-ui, sans-serif',
        fontSize: 11,
      },
      timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 6, minBarSpacing: 1, barSpacing: 8 },
      crosshair: { mode: 0 },
      localization: { priceFormatter: (price) => grouped(price.toFixed(this.#digits)) },
    }
  }

  #dress() {
    const [line, strong, muted] = ['line', 'line-strong', 'muted'].map(colour)
    const [bid, ask_] = [colour('bid'), colour('ask')]
    this.#chart.applyOptions({
      layout: { textColor: muted },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
      crosshair: {
        vertLine: { color: muted, labelBackgroundColor: strong },
        horzLine: { color: muted, labelBackgroundColor: strong },
      },
    })
    // A rising candle is hollow, a falling one full: told apart without colours, too.
    this.#candles.applyOptions({
      upColor: colour('panel'),
      downColor: ask_,
      borderUpColor: bid,
      borderDownColor: ask_,
      wickUpColor: bid,
      wickDownColor: ask_,
    })
    this.#volumes.setData([...this.#bars.values()].map(volumeOf))
  }

  /** Another instrument. @param {string} instrument @param {string | null | undefined} tickSize */
  begin(instrument, tickSize) {
    this.#instrument = instrument
    this.#digits = 0
    if (tickSize) this.#needDigits(tickSize)
    this.#restart()
  }

  /** One interval finer or coarser. @param {1 | -1} direction */
  zoom(direction) {
    const names = Object.keys(INTERVALS)
    const next = names[names.indexOf(this.#interval) + direction]
    if (next !== undefined) this.#choice.pick(next)
  }

  /** @param {readonly any[]} rows of the stream */
  add(rows) {
    for (const row of rows) this.#addTrade(row)
    if (rows.length > 0) this.#draw()
  }

  /** @param {string} name */
  #choose(name) {
    this.#interval = name
    this.#wasChosen = true
    try {
      localStorage.setItem(KEY, name)
    } catch {
      // storage is switched off
    }
    this.#restart()
  }

  #restart() {
    this.#bars = new Map()
    this.#newest = 0
    this.#changed = new Set()
    this.#candles.setData([])
    this.#volumes.setData([])
    this.#panel.say('Candles', 'Asking the gateway …')
    this.#tell(undefined)
    void this.#ask(HISTORY_COUNT)
  }

  #askAgain() {
    if (this.#instrument !== '' && !document.hidden) void this.#ask(this.#bars.size === 0 ? HISTORY_COUNT : 4)
  }

  /** @param {number} count of the newest candles */
  async #ask(count) {
    this.#asking.abort()
    this.#asking = new AbortController()
    const { signal } = this.#asking
    const seconds = /** @type {any} */ (INTERVALS)[this.#interval]
    const from = Math.floor(Date.now() / 1000 / seconds - count + 1) * seconds
    try {
      const { rows } = await ask(
        `/v1/klines/${this.#instrument}`,
        { interval: this.#interval, from, limit: count + 2 },
        signal,
      )
      if (!signal.aborted) this.#takeHistory(rows, count === HISTORY_COUNT)
    } catch (error) {
      if (!signal.aborted && this.#bars.size === 0)
        this.#panel.say(
          'No candles from the store',
          `${/** @type {Error} */ (error).message} Live trades draw them from now on.`,
        )
    }
  }

  /** @param {readonly any[]} rows @param {boolean} isWhole */
  #takeHistory(rows, isWhole) {
    if (isWhole && !this.#wasChosen && rows.length < FEW && this.#interval === '1m') return this.#finer()
    for (const row of rows) {
      if (row.open === undefined || row.open === null) continue // nothing was traded in it
      const second = Math.round(msOf(row.open_ns) / 1000)
      const known = this.#bars.get(second)
      const volume = units(row.volume)
      this.#needDigits(row.open, row.high, row.low, row.close)
      // A candle that runs: the store lags a little behind the stream.
      if (known?.isLive && known.volume > volume) continue
      this.#bars.set(second, {
        second,
        open: row.open,
        high: row.high,
        low: row.low,
        close: row.close,
        volume,
        isLive: false,
      })
    }
    this.#bars = new Map([...this.#bars].sort(([a], [b]) => a - b).slice(-BARS_MAX))
    this.#newest = [...this.#bars.keys()].at(-1) ?? 0
    if (this.#bars.size === 0) this.#panel.say('No candles yet', 'They begin with the first trade.')
    this.#drawAll(isWhole)
  }

  /** A fresh store has seconds, not minutes, to show. */
  #finer() {
    this.#interval = '1s'
    this.#choice.show('1s')
    this.#restart()
  }

  /** @param {any} row */
  #addTrade({ trade_ns: ns, price, quantity }) {
    const seconds = /** @type {any} */ (INTERVALS)[this.#interval]
    const second = Math.floor(msOf(ns) / 1000 / seconds) * seconds
    const bar = this.#bars.get(second)
    if (bar === undefined && second < this.#newest) return // older than what the chart can still take: the next question brings it
    this.#needDigits(price)
    this.#newest = Math.max(this.#newest, second)
    if (bar === undefined)
      this.#bars.set(second, {
        second,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: units(quantity),
        isLive: true,
      })
    else {
      const at = units(price)
      if (at > units(bar.high)) bar.high = price
      if (at < units(bar.low)) bar.low = price
      bar.close = price
      bar.volume += units(quantity)
      bar.isLive = true
    }
    this.#changed.add(second)
  }

  /** @param {boolean} isWhole */
  #drawAll(isWhole) {
    if (this.#bars.size === 0) return
    const bars = [...this.#bars.values()]
    this.#panel.clear()
    this.#candles.applyOptions({
      priceFormat: { type: 'price', precision: this.#digits, minMove: 10 ** -this.#digits },
    })
    this.#candles.setData(bars.map(candleOf))
    this.#volumes.setData(bars.map(volumeOf))
    this.#changed.clear()
    if (isWhole) {
      this.#chart.timeScale().applyOptions({ barSpacing: bars.length < FEW_BARS ? 14 : 8 })
      this.#chart.timeScale().scrollToRealTime()
    }
    this.#tell(undefined)
  }

  #drawChanged() {
    if (this.#changed.size === 0) return
    const hadNone = this.#panel.element.dataset.empty === 'true'
    if (hadNone || [...this.#changed].some((second) => second !== this.#newest)) return this.#drawAll(hadNone)
    const bar = this.#bars.get(this.#newest)
    this.#changed.clear()
    if (bar === undefined) return
    this.#candles.update(candleOf(bar))
    this.#volumes.update(volumeOf(bar))
    if (!this.#isHovered) this.#tell(undefined)
  }

  /** @param {...string} prices */
  #needDigits(...prices) {
    const digits = Math.max(this.#digits, ...prices.map(digitsOf))
    if (digits === this.#digits) return
    this.#digits = digits
    this.#candles.applyOptions({ priceFormat: { type: 'price', precision: digits, minMove: 10 ** -digits } })
  }

  /** The exact values of the candle under the crosshair, or of the newest. @param {unknown} time */
  #tell(time) {
    this.#isHovered = typeof time === 'number'
    const second = typeof time === 'number' ? time - ZONE_S : this.#newest
    const bar = this.#bars.get(second)
    if (bar === undefined) return this.#values.replaceChildren()
    const sign = units(bar.close) >= units(bar.open) ? 'up' : 'down'
    this.#values.dataset.sign = sign
    const change = (Number(units(bar.close) - units(bar.open)) / Number(units(bar.open) || 1n)) * 100
    const shown = [
      ['O', bar.open],
      ['H', bar.high],
      ['L', bar.low],
      ['C', bar.close],
    ].map(([name, price]) => [name, grouped(padded(price, this.#digits))])
    shown.push(['', `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)} %`], ['Vol', textOf(bar.volume)])
    if (this.#values.childElementCount !== shown.length)
      this.#values.replaceChildren(...shown.map(([name]) => h('span', {}, name, h('b'))))
    shown.forEach(([, text], index) => {
      setText(this.#values.children[index].lastElementChild, text)
    })
  }
}

function keptInterval() {
  try {
    const kept = localStorage.getItem(KEY)
    return kept !== null && kept in INTERVALS ? kept : null
  } catch {
    return null
  }
}

/** @param {Bar} bar */
const candleOf = ({ second, open, high, low, close }) => ({
  time: second + ZONE_S,
  open: Number(open),
  high: Number(high),
  low: Number(low),
  close: Number(close),
})

/** @param {Bar} bar */
const volumeOf = ({ second, open, close, volume }) => ({
  time: second + ZONE_S,
  value: Number(volume) / 1e18,
  color: colour(Number(close) >= Number(open) ? 'bid-fill' : 'ask-fill'),
})
