// @ts-check
/**
 * What the engine says of itself, asked every two seconds, and the history of it that the charts show: 150 points are
 * five minutes. Counters since the start become rates by the difference between two answers.
 */
import { ask } from './rest.js'

const EVERY_MS = 2_000
const POINTS_MAX = 150

/** @typedef {{ processes: any[], at: number, error: string }} Status */

/** Ring of numbers over time, one list a name. */
export class History {
  /** seconds @type {number[]} */
  times = []
  /** @type {Map<string, (number | null)[]>} */
  lines = new Map()

  /** @param {number} time @param {ReadonlyMap<string, number>} values */
  add(time, values) {
    for (const name of values.keys())
      if (!this.lines.has(name))
        this.lines.set(
          name,
          this.times.map(() => null),
        )
    this.times.push(time)
    for (const [name, line] of this.lines) line.push(values.get(name) ?? null)
    if (this.times.length <= POINTS_MAX) return
    this.times.shift()
    for (const line of this.lines.values()) line.shift()
  }
}

/** Counter → rate: remembers what each counter was. */
class Rates {
  /** @type {Map<string, { at: number, value: number }>} */
  #before = new Map()

  /** @param {string} name @param {number} value @param {number} at ms @returns {number | undefined} per second */
  of(name, value, at) {
    const before = this.#before.get(name)
    this.#before.set(name, { at, value })
    if (before === undefined || at <= before.at || value < before.value) return undefined
    return ((value - before.value) * 1000) / (at - before.at)
  }
}

export class StatusFeed {
  /** @type {Status} */
  now = { processes: [], at: 0, error: '' }
  throughput = new History()
  latency = new History()
  stored = new History()
  /** @type {Map<string, number>} name → per second, of what was counted last */
  rates = new Map()
  #rates = new Rates()
  /** @type {Set<() => void>} */
  #watchers = new Set()

  /** @param {() => void} watcher */
  watch(watcher) {
    this.#watchers.add(watcher)
  }

  start() {
    const turn = async () => {
      if (!document.hidden) await this.#ask()
      setTimeout(turn, EVERY_MS)
    }
    void turn()
  }

  get collectors() {
    return this.now.processes.filter(({ collector }) => collector !== undefined && collector !== null)
  }

  async #ask() {
    try {
      const { processes } = await ask('/v1/status')
      this.now = { processes, at: Date.now(), error: '' }
      this.#take()
    } catch (error) {
      this.now = { ...this.now, error: /** @type {Error} */ (error).message }
    }
    for (const watcher of this.#watchers) watcher()
  }

  #take() {
    const { at } = this.now
    const [rows, waits, stored] = [new Map(), new Map(), new Map()]
    for (const { name, collector } of this.collectors) {
      for (const shard of collector.shards) {
        const line = lineName(this.collectors.length > 1 ? name : '', shard.shard)
        this.#note(rows, line, `${name}/rows/${shard.shard}`, shard.rows)
        this.#note(new Map(), line, `${name}/frames/${shard.shard}`, shard.frames)
        const p99 = shard.latency?.p99Ms
        if (typeof p99 === 'number') waits.set(line, p99)
      }
      for (const connection of collector.connections)
        this.#note(new Map(), '', `${name}/connection/${connection.index}`, connection.frames)
      this.#note(stored, 'delivered', `${name}/delivered`, collector.delivered.blocks)
      this.#note(new Map(), '', `${name}/deliveredBytes`, collector.delivered.bytes)
      if (collector.stored) this.#note(stored, 'stored', `${name}/stored`, collector.stored.rows)
    }
    this.throughput.add(at / 1000, rows)
    this.latency.add(at / 1000, waits)
    this.stored.add(at / 1000, stored)
  }

  /** @param {Map<string, number>} values @param {string} line @param {string} counter @param {number} value */
  #note(values, line, counter, value) {
    const rate = this.#rates.of(counter, value, this.now.at)
    if (rate === undefined) return
    this.rates.set(counter, rate)
    values.set(line, rate)
  }
}

/** @param {string} process @param {number} shard */
export const lineName = (process, shard) => (process === '' ? `shard ${shard}` : `${process} · ${shard}`)
