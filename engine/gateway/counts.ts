/**
 * What the gateway counts: plain numbers of its thread, sent to the main thread once a second, where they become metrics.
 * Each part adds to the numbers that are its own.
 */

import { GATEWAY_REFUSALS } from '../observe/metric-list.ts'
import { type HistogramSample, latencySample } from '../observe/metrics.ts'
import { Histogram } from '../ring/histogram.ts'

export type Refusal = (typeof GATEWAY_REFUSALS)[number]

/** As it crosses to the main thread. */
export interface GatewaySample
  extends Omit<GatewayCounts, 'requests' | 'latency' | 'answered' | 'turnedAway' | 'sample'> {
  readonly requests: readonly (readonly [route: string, status: string, count: number])[]
  readonly latency: readonly HistogramSample[]
}

const NS_PER_MS = 1e6

export class GatewayCounts {
  /** requests by reason why they were turned away at the door */
  readonly refused = Object.fromEntries(GATEWAY_REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>
  /** requests under way */
  inFlight = 0
  /** route (as it is declared, so there are few) → answers of 1xx … 5xx */
  readonly requests = new Map<string, number[]>()
  readonly latency = { history: new Histogram(), other: new Histogram() }

  /** WebSocket clients that are there now */
  clients = 0
  /** bytes that wait for them */
  queuedBytes = 0
  /** frames that went to them */
  sent = 0
  /** updates that were folded into newer ones because a client was slow */
  conflated = 0
  /** clients that were closed because they did not read */
  evicted = 0
  /** live messages that came in, and those that were lost on the way */
  liveMessages = 0
  liveLost = 0

  /** questions to ClickHouse: under way, asked, failed */
  questionsInFlight = 0
  questions = 0
  questionsFailed = 0

  /** @param route undefined where there is none */
  answered(route: string | undefined, status: number, kind: 'history' | 'other', ms: number): void {
    this.#count(route ?? 'none', status)
    this.latency[kind].record(ms * NS_PER_MS)
  }

  /** Refused before anybody looked for what; it says nothing of how long answers take. */
  turnedAway(status: number): void {
    this.#count('none', status)
  }

  #count(route: string, status: number): void {
    const byClass = this.requests.get(route) ?? [0, 0, 0, 0, 0, 0]
    const index = Math.min(5, Math.floor(status / 100))
    byClass[index] = (byClass[index] ?? 0) + 1
    this.requests.set(route, byClass)
  }

  sample(): GatewaySample {
    const { requests, latency, ...plain } = this
    return {
      ...plain,
      requests: [...requests].flatMap(([route, byClass]) =>
        byClass.flatMap((count, index) => (count === 0 ? [] : [[route, `${index}xx`, count] as const])),
      ),
      latency: [latencySample(latency.history, { kind: 'history' }), latencySample(latency.other, { kind: 'other' })],
    }
  }
}
