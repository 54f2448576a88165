// @ts-check
/** The figures above the engine's panels, and the health line below every view. */
import { byId, h, setAttribute, setText } from './dom.js'
import { agoText, byteText, compact, counted, durationText, whole } from './format.js'
import { stateCounts } from './states.js'

const TILES = {
  books: 'Books LIVE',
  events: 'Rows a second',
  latency: 'Latency p99',
  stored: 'Stored a second',
  spool: 'Spool',
  gaps: 'Gaps',
}

export class Summary {
  /** @type {Map<string, { value: HTMLElement, note: HTMLElement, tile: HTMLElement }>} */
  #tiles = new Map()
  #health = h('span', { class: 'chip' }, 'WAITING')
  #books = h('span')
  #events = h('span')
  #stream = h('span')
  #problem = h('span', { class: 'problem', role: 'status' })
  #version = h('span', { class: 'end' })

  constructor() {
    for (const [key, label] of Object.entries(TILES)) {
      const value = h('strong', {}, '–')
      const note = h('span', { class: 'note' })
      const tile = h('div', { class: 'tile', 'data-tile': key }, h('span', { class: 'label' }, label), value, note)
      byId('tiles').append(tile)
      this.#tiles.set(key, { value, note, tile })
    }
    byId('health').append(this.#health, this.#books, this.#events, this.#stream, this.#problem, this.#version)
  }

  /**
   * @param {import('./status.js').StatusFeed} status @param {import('./gaps.js').Gaps} gaps
   * @param {number} framesPerSecond that came over the stream
   */
  draw(status, gaps, framesPerSecond) {
    const { collectors } = status
    const counts = stateCounts()
    const books = [...counts.values()].reduce((sum, count) => sum + count, 0)
    const live = counts.get('LIVE') ?? 0
    this.#tile(
      'books',
      books === 0 ? '–' : `${whole(live)} / ${whole(books)}`,
      books === 0
        ? 'no word yet'
        : live === books
          ? 'all of them'
          : books - live === 1
            ? 'one is not'
            : `${whole(books - live)} are not`,
      live < books,
    )
    const rows = newestSum(status.throughput)
    const shards = collectors.reduce((sum, { collector }) => sum + collector.shards.length, 0)
    this.#tile(
      'events',
      rows === undefined ? '–' : compact(rows),
      collectors.length === 0 ? 'no collector answers' : `over ${counted(shards, 'shard')}`,
    )
    const worst = Math.max(-1, ...[...status.latency.lines.values()].map((line) => line.at(-1) ?? -1))
    this.#tile('latency', worst < 0 ? '–' : durationText(worst), 'socket to live, worst shard')
    const stored = status.stored.lines.get('stored')?.at(-1)
    this.#tile(
      'stored',
      typeof stored === 'number' ? compact(stored) : '–',
      typeof stored === 'number' ? 'rows into ClickHouse' : 'stored by another process',
    )
    const spools = collectors.map(({ collector }) => collector.spool)
    const bytes = spools.reduce((sum, spool) => sum + spool.bytes, 0)
    const waiting = spools.reduce((sum, spool) => sum + spool.unacknowledged, 0)
    this.#tile('spool', spools.length === 0 ? '–' : byteText(bytes), `${whole(waiting)} blocks wait`)
    this.#tile('gaps', whole(gaps.total), `in ${gaps.span}, ${gaps.openCount} open`, gaps.openCount > 0)
    this.#drawHealth(status, live, books, rows, framesPerSecond)
  }

  /** @param {import('./status.js').StatusFeed} status @param {number} live @param {number} books @param {number | undefined} rows @param {number} framesPerSecond */
  #drawHealth({ now }, live, books, rows, framesPerSecond) {
    const order = ['unhealthy', 'degraded', 'healthy']
    const worst =
      now.error !== ''
        ? 'unknown'
        : (order.find((word) => now.processes.some(({ health }) => health === word)) ?? 'unknown')
    setText(this.#health, worst.toUpperCase())
    setAttribute(this.#health, 'data-state', worst)
    setText(this.#books, books === 0 ? '' : `books ${whole(live)}/${whole(books)} LIVE`)
    setText(this.#events, rows === undefined ? '' : `${compact(rows)} rows/s`)
    setText(this.#stream, `stream ${compact(framesPerSecond)} messages/s`)
    const problems = now.processes.flatMap(({ problems: found = {} }) =>
      Object.entries(found).map(([check, text]) => `${check}: ${text}`),
    )
    setText(this.#problem, now.error === '' ? problems.join(' · ') : `status: ${now.error}`)
    const first = now.processes[0]
    setText(
      this.#version,
      first === undefined ? '' : `${first.roles.join(' + ')} · v${first.version} · up ${agoText(first.startedMs)}`,
    )
  }

  /** @param {string} key @param {string} text @param {string} note @param {boolean} [isBad] */
  #tile(key, text, note, isBad = false) {
    const found = /** @type {{ value: HTMLElement, note: HTMLElement, tile: HTMLElement }} */ (this.#tiles.get(key))
    setText(found.value, text)
    setText(found.note, note)
    setAttribute(found.tile, 'data-bad', isBad ? 'true' : null)
  }
}

/** @param {import('./status.js').History} history */
function newestSum({ lines }) {
  const values = [...lines.values()].map((line) => line.at(-1)).filter((value) => typeof value === 'number')
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0)
}
