/**
 * A process of HTTP clients that ask at a rate of their own, not at that of the answers: a request is due at its time of the
 * schedule, waits for a free connection if it must, and its answer is as old as that time says.
 *
 * Arithmetic: 2,000 requests/s of 60 µs each (undici) are an eighth of a core; an answer of 40 KiB is 10 µs more.
 */
import { type Dispatcher, Pool } from 'undici'
import { Histogram } from '../../ring/histogram.ts'
import type { Visit, VisitOrder, VisitPlan, VisitReport, VisitTimes } from './protocol.ts'

const TICK_MS = 2
/** Whoever has waited so long after the last request was due gets no answer. */
const LAST_MS = 10_000
const OK = 200

class Flood {
  readonly #plan: VisitPlan
  readonly #pool: Pool
  readonly #startedMs = performance.now()
  readonly #cpuBefore = process.cpuUsage()
  readonly #ok: readonly Histogram[]
  readonly #refused = new Histogram()
  readonly #answers: Record<string, number> = {}
  readonly #wanted: number
  readonly #seconds: number
  readonly #tell: (report: VisitReport) => void
  readonly #timer = setInterval(() => this.#send(), TICK_MS)
  #sent = 0
  #settled = 0
  #failed = 0
  #withoutRetryAfter = 0
  #isOver = false

  constructor(plan: VisitPlan, pool: Pool, seconds: number, tell: (report: VisitReport) => void) {
    this.#plan = plan
    this.#ok = plan.routes.map(() => new Histogram())
    this.#pool = pool
    this.#seconds = seconds
    this.#wanted = Math.round(plan.rate * seconds)
    this.#tell = tell
    setTimeout(() => this.#end(), seconds * 1_000 + LAST_MS)
  }

  #send(): void {
    const { rate, visits, key } = this.#plan
    const due = Math.min(this.#wanted, Math.floor(((performance.now() - this.#startedMs) * rate) / 1_000))
    for (; this.#sent < due; this.#sent++) {
      const { path, routeIndex } = visits[this.#sent % visits.length] as Visit
      const dueMs = this.#startedMs + (this.#sent * 1_000) / rate
      const headers = { authorization: `Bearer ${key}` }
      this.#pool.dispatch({ path, method: 'GET', headers }, this.#visit(dueMs, this.#ok[routeIndex] as Histogram))
    }
    if (this.#sent === this.#wanted) clearInterval(this.#timer)
  }

  #visit(dueMs: number, ok: Histogram): Dispatcher.DispatchHandler {
    let status = 0
    return {
      onRequestStart: () => {},
      onResponseStart: (_controller, code, headers) => {
        status = code
        if (code !== OK && headers['retry-after'] === undefined) this.#withoutRetryAfter++
      },
      onResponseData: () => {},
      onResponseEnd: () => {
        this.#answers[status] = (this.#answers[status] ?? 0) + 1
        const histogram = status === OK ? ok : this.#refused
        histogram.record(Math.round((performance.now() - dueMs) * 1e6))
        this.#settle()
      },
      onResponseError: (_controller, { message }) => {
        if (this.#failed++ === 0 && !this.#isOver) process.stderr.write(`a request failed: ${message}\n`)
        this.#settle()
      },
    }
  }

  #settle(): void {
    if (++this.#settled === this.#wanted) this.#end()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#timer)
    const { user, system } = process.cpuUsage(this.#cpuBefore)
    this.#tell({
      type: 'report',
      sent: this.#sent,
      seconds: this.#seconds,
      answers: this.#answers,
      failed: this.#failed + this.#sent - this.#settled,
      withoutRetryAfter: this.#withoutRetryAfter,
      okMs: timesOf(Histogram.sum(this.#ok)),
      refusedMs: timesOf(this.#refused),
      routes: Object.fromEntries(this.#plan.routes.map((name, index) => [name, timesOf(this.#ok[index] as Histogram)])),
      cpuSeconds: (user + system) / 1e6,
    })
  }
}

function timesOf(histogram: Histogram): VisitTimes {
  const ms = (share: number): number => histogram.percentileNs(share) / 1e6
  return { count: histogram.count, p50: ms(0.5), p99: ms(0.99), max: histogram.maxNs / 1e6 }
}

let visits: { readonly plan: VisitPlan; readonly pool: Pool } | undefined

process.on('message', (order: VisitOrder) => {
  if (order.type === 'plan') {
    const { plan } = order
    visits = { plan, pool: new Pool(plan.origin, { connections: plan.connections, pipelining: 1 }) }
  } else if (visits !== undefined)
    new Flood(visits.plan, visits.pool, order.seconds, (report) => void process.send?.(report))
})
process.on('disconnect', () => process.exit(0))
