/** What the trial says to a process of clients, and what it hears. */
export interface CrowdPlan {
  readonly host: string
  readonly port: number
  /** of each client */
  readonly patterns: readonly (readonly string[])[]
  readonly format: 'json' | 'msgpack'
  /** they subscribe and never read */
  readonly isStalled: boolean
  /** each so-many-th message is read to see how old it is */
  readonly sampleEvery: number
  /** the clock's, so that both processes tell the same time */
  readonly anchorNs: string
}

export type CrowdOrder = { readonly type: 'start'; readonly plan: CrowdPlan } | { readonly type: 'reset' | 'report' }

export interface CrowdReport {
  readonly type: 'report'
  readonly clients: number
  readonly frames: number
  readonly bytes: number
  readonly samples: number
  /** engine receive → client, of the samples */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly seconds: number
  readonly cpuSeconds: number
}

export type CrowdMessage = { readonly type: 'connected'; readonly count: number } | CrowdReport
