// @ts-check
/** Throughput and latency by shard over the last minutes, and a table of the shards. */

import { axis, Chart, labelWidth, timeAxis } from './chart.js'
import { byId, colour, h, panelOf, setText } from './dom.js'
import { compact, counted, durationText, tickTexts, whole } from './format.js'

const COLOURS = 8
const HEADS = ['Shard', 'Books', 'Frames', 'Rows', 'p50', 'p99', 'Ring', 'Restarts']
const RING_CELL = HEADS.indexOf('Ring')

/** One line a shard; built anew when there is another shard. */
class ShardChart {
  #panel
  #read
  #chart
  /** @type {string[]} */
  #names = []
  #tick
  #ticks
  #none

  /** @param {string} id @param {(value: number) => string} tick @param {(ticks: number[]) => string[]} ticks @param {readonly [string, string]} none */
  constructor(id, tick, ticks, none) {
    this.#panel = panelOf(id)
    this.#read = byId(`${id}-read`)
    this.#tick = tick
    this.#ticks = ticks
    this.#none = none
    this.#chart = new Chart(this.#panel.body, () => this.#options())
  }

  /** @param {import('./status.js').History} history @param {string} text */
  draw({ times, lines }, text) {
    if (lines.size === 0 || times.length < 2) return this.#panel.say(...this.#none)
    this.#panel.clear()
    setText(this.#read, text)
    const names = [...lines.keys()]
    const rows = [times, ...lines.values()]
    const isSame = names.length === this.#names.length && names.every((name, index) => name === this.#names[index])
    this.#names = names
    this.#chart.show(rows)
    if (!isSame) this.#chart.rebuild()
  }

  #options() {
    return {
      padding: [8, 26, 0, 0],
      scales: { y: { range: (_, __, max) => [0, max * 1.15 || 1] } },
      axes: [timeAxis(), axis({ size: labelWidth, values: (_, ticks) => this.#ticks(ticks) })],
      series: [
        {},
        ...this.#names.map((label, index) => ({
          label,
          stroke: colour(`s${index % COLOURS}`),
          width: 1.5,
          points: { show: false },
          dash: index < COLOURS ? [] : [4, 3],
        })),
      ],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.#tell(plot)] },
    }
  }

  /** @param {any} plot */
  #tell({ cursor: { idx }, data }) {
    if (idx === null || idx === undefined) return
    const parts = this.#names
      .map((name, index) => [name, data[index + 1][idx]])
      .filter(([, value]) => typeof value === 'number')
    setText(this.#read, parts.map(([name, value]) => `${name}: ${this.#tick(value)}`).join('  '))
  }
}

export class Shards {
  #throughput = new ShardChart(
    'throughput',
    (value) => `${compact(value)}/s`,
    (ticks) => tickTexts(ticks, '/s'),
    ['No throughput yet', 'No collector has told of its shards yet.'],
  )
  #latency = new ShardChart('latency', durationText, waitTexts, [
    'No latency yet',
    'It is measured from the socket to the live message; none has gone out yet.',
  ])
  #panel = panelOf('shards')
  #read = byId('shards-read')
  #body = h('tbody')

  constructor() {
    const head = h('thead', {}, h('tr', {}, ...HEADS.map((text) => h('th', { scope: 'col' }, text))))
    this.#panel.body.append(h('table', {}, head, this.#body))
  }

  /** @param {import('./status.js').StatusFeed} status */
  draw(status) {
    const { throughput, latency, collectors, rates } = status
    const newest = [...throughput.lines.values()].reduce((sum, line) => sum + (line.at(-1) ?? 0), 0)
    this.#throughput.draw(throughput, `${compact(newest)} rows/s`)
    const worst = Math.max(0, ...[...latency.lines.values()].map((line) => line.at(-1) ?? 0))
    this.#latency.draw(latency, `worst p99 ${durationText(worst)}`)
    const shards = collectors.flatMap(({ name, collector }) => collector.shards.map((shard) => ({ name, shard })))
    if (shards.length === 0) return this.#panel.say('No shards', 'No collector answers; they appear when one does.')
    this.#panel.clear()
    setText(this.#read, counted(shards.length, 'shard'))
    while (this.#body.rows.length > shards.length) this.#body.deleteRow(-1)
    shards.forEach(({ name, shard }, index) => {
      this.#drawRow(index, name, shard, rates)
    })
  }

  /** @param {number} index @param {string} name @param {any} shard @param {Map<string, number>} rates */
  #drawRow(index, name, shard, rates) {
    const row = this.#body.rows[index] ?? this.#newRow(index)
    const rate = (/** @type {string} */ of) => {
      const found = rates.get(`${name}/${of}/${shard.shard}`)
      return found === undefined ? '–' : `${compact(found)}/s`
    }
    const wait = (/** @type {number | undefined} */ ms) => (ms === undefined ? '–' : durationText(ms))
    const texts = [
      `${shard.shard}`,
      whole(shard.books),
      rate('frames'),
      rate('rows'),
      wait(shard.latency?.p50Ms),
      wait(shard.latency?.p99Ms),
      undefined,
      whole(shard.restarts),
    ]
    texts.forEach((text, at) => {
      if (text !== undefined) setText(row.cells[at].lastChild, text)
    })
    const meter = row.cells[RING_CELL].firstElementChild
    meter.style.setProperty('--share', String(shard.fill))
    meter.title = `${(shard.fill * 100).toFixed(1)} % of its frame ring`
    setText(meter.firstElementChild, meter.title)
    row.lastElementChild.dataset.bad = String(shard.restarts > 0)
  }

  /** @param {number} index */
  #newRow(index) {
    const row = this.#body.insertRow()
    for (let at = 0; at < HEADS.length; at++)
      row.insertCell().append(at === RING_CELL ? h('span', { class: 'meter' }, h('span', { class: 'sr' })) : h('span'))
    row.cells[0].prepend(h('i', { class: `swatch s${index % COLOURS}` }))
    return row
  }
}

/** Waits, in the unit that fits the longest. @param {number[]} ticks ms */
function waitTexts(ticks) {
  if (Math.max(...ticks) < 1_000) return tickTexts(ticks, ' ms')
  return tickTexts(
    ticks.map((tick) => tick / 1_000),
    ' s',
  )
}
