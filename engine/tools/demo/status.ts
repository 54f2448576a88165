/** One line a second about a running engine: on a terminal it stays in place, elsewhere a line every few seconds. */
import type { EngineProcess } from '../../roles/process.ts'

const TERMINAL_MS = 1_000
const LINES_MS = 5_000
const MIB = 2 ** 20

export class StatusLine {
  readonly #engine: EngineProcess
  readonly #timer: NodeJS.Timeout
  readonly #isTerminal = process.stderr.isTTY === true
  readonly #startedMs = performance.now()
  /** memory of this process at the first look, at each quarter of the looks, and at the last: flat or not */
  readonly #rssMiB: number[] = []
  readonly #cpuAtStart = process.cpuUsage()
  cpuSeconds = 0
  #isClosed = false
  #lastMs = performance.now()
  #lastMessages = 0

  constructor(engine: EngineProcess) {
    this.#engine = engine
    this.#timer = setInterval(() => this.#tell(), this.#isTerminal ? TERMINAL_MS : LINES_MS)
  }

  get rssMiB(): number[] {
    const last = this.#rssMiB.length - 1
    const at = [...new Set([0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * last)))]
    return at.flatMap((index) => this.#rssMiB[index] ?? [])
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    const { user, system } = process.cpuUsage(this.#cpuAtStart)
    this.cpuSeconds = (user + system) / 1e6
    if (this.#isTerminal) process.stderr.write('\n')
  }

  #tell(): void {
    const line = this.#line()
    process.stderr.write(this.#isTerminal ? `\r\u001b[K${line}` : `${line}\n`)
  }

  #line(): string {
    const { collector } = this.#engine
    if (collector === undefined) return ''
    const nowMs = performance.now()
    const messages = collector.total('messages')
    const rate = ((messages - this.#lastMessages) * 1000) / (nowMs - this.#lastMs)
    this.#lastMessages = messages
    this.#lastMs = nowMs
    const { sinkCounters: sink, storeCounters: store } = collector
    const rssBytes = process.memoryUsage.rss()
    this.#rssMiB.push(Math.round(rssBytes / MIB))
    const rows = store === undefined ? sink.read('insertedRows') : store.read('storedRows')
    const lagMs = Math.max(sink.read('lagMs'), 0)
    return [
      `${((nowMs - this.#startedMs) / 1000).toFixed(0)} s`,
      `${Math.round(rate).toLocaleString('en')} events/s`,
      `books ${collector.total('books_LIVE')}/${collector.bookCount} LIVE`,
      `sockets ${collector.network.connections.filter(({ state }) => state === 'open').length}/${collector.plan.connections.length}`,
      `rows stored ${rows.toLocaleString('en')}`,
      `lag ${Math.round(lagMs)} ms`,
      `gaps ${collector.total('gaps')}`,
      `RSS ${Math.round(rssBytes / MIB)} MiB`,
    ].join(' · ')
  }
}
