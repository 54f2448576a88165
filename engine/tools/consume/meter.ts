/** What came, counted: by type for the summary, by subject for the screen. */
import { Histogram } from '../../ring/histogram.ts'
import type { AnyRow, Consumed } from './source.ts'

export interface Tally {
  messages: number
  rows: number
  bytes: number
}

/** One line of the screen. */
export interface SubjectLine extends Tally {
  readonly name: string
  readonly type: string
  readonly id: string
  /** rows a second, of the last look */
  rate: number
  /** of the newest message; NaN where it has no time */
  latencyMs: number
  /** the newest, the last at the end */
  readonly last: AnyRow[]
  /** rows at the last look */
  seen: number
}

const LAST_ROWS = 20
const NS_PER_MS = 1e6

const newTally = (): Tally => ({ messages: 0, rows: 0, bytes: 0 })

export class Meter {
  readonly total: Tally = newTally()
  readonly types = new Map<string, Tally & { readonly latency: Histogram }>()
  readonly subjects = new Map<string, SubjectLine>()
  readonly latency = new Histogram()
  lost = 0
  errors = 0
  readonly notices: string[] = []
  readonly #nowNs: () => bigint

  /** @param nowNs wall time of this machine */
  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs
  }

  take(message: Consumed): void {
    const { type, rows, bytes } = message
    const latencyNs = this.#latencyNs(rows)
    let own = this.types.get(type)
    if (own === undefined) {
      own = { ...newTally(), latency: new Histogram() }
      this.types.set(type, own)
    }
    const subject = this.#subject(message)
    for (const tally of [this.total, own, subject]) {
      tally.messages++
      tally.rows += rows.length
      tally.bytes += bytes
    }
    subject.latencyMs = latencyNs / NS_PER_MS
    subject.last.push(...rows.slice(-LAST_ROWS))
    if (subject.last.length > LAST_ROWS) subject.last.splice(0, subject.last.length - LAST_ROWS)
    if (Number.isNaN(latencyNs)) return
    own.latency.record(latencyNs)
    this.latency.record(latencyNs)
  }

  /** Rates of what came since the last look. */
  look(seconds: number): void {
    for (const line of this.subjects.values()) {
      line.rate = (line.rows - line.seen) / seconds
      line.seen = line.rows
    }
  }

  #subject({ type, exchange, market, symbol }: Consumed): SubjectLine {
    const id = `${exchange}.${market}.${symbol}`
    const name = `${type}.${id}`
    let line = this.subjects.get(name)
    if (line === undefined) {
      line = { ...newTally(), name, type, id, rate: 0, latencyMs: Number.NaN, last: [], seen: 0 }
      this.subjects.set(name, line)
    }
    return line
  }

  /** From the socket of the collector to here, of the newest row; NaN where it does not say. */
  #latencyNs(rows: readonly AnyRow[]): number {
    const received = rows.at(-1)?.['received_ns']
    if (typeof received !== 'string') return Number.NaN
    return Number(this.#nowNs() - BigInt(received))
  }
}
