export interface Visit {
  readonly path: string
  /** place in the names */
  readonly routeIndex: number
}

/** What the trial says to its process of visitors, and what it hears. */
export interface VisitPlan {
  readonly origin: string
  readonly key: string
  /** connections that stay open */
  readonly connections: number
  /** names of what is asked for */
  readonly routes: readonly string[]
  /** in this order, again and again; not in a regular one, else one in step with the gateway's rate gets all there is */
  readonly visits: readonly Visit[]
  /** requests a second, whatever comes back */
  readonly rate: number
}

export type VisitOrder =
  | { readonly type: 'plan'; readonly plan: VisitPlan }
  | { readonly type: 'flood'; readonly seconds: number }

export interface VisitTimes {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export interface VisitReport {
  readonly type: 'report'
  readonly sent: number
  /** from the first request's time to that of the one after the last */
  readonly seconds: number
  /** status → answers */
  readonly answers: Readonly<Record<string, number>>
  /** connections that broke before the answer was whole, answers that never came */
  readonly failed: number
  /** refusals that did not say when to come again */
  readonly withoutRetryAfter: number
  /** from the time that a request was due to the last byte of its answer: those that got what they asked for, and refusals */
  readonly okMs: VisitTimes
  readonly refusedMs: VisitTimes
  /** name → what it asked for was sent */
  readonly routes: Readonly<Record<string, VisitTimes>>
  readonly cpuSeconds: number
}
