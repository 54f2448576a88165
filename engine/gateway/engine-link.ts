/**
 * The engine as the gateway sees it: the roles of its own process over a message port, or those of other processes. The
 * gateway knows no collector; whoever runs one answers these questions.
 */

export interface InstrumentName {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
}

/** What one process of the engine says of itself; plain data, some kilobytes, asked a few times a second at most. */
export interface EngineStatus {
  /** producer name for a collector, else host and pid */
  readonly name: string
  readonly roles: readonly string[]
  readonly version: string
  readonly pid: number
  /** ms since the epoch */
  readonly startedMs: number
  readonly health: 'healthy' | 'degraded' | 'unhealthy'
  /** check → what is wrong */
  readonly problems: Readonly<Record<string, string>>
  /** undefined where no collector runs */
  readonly collector?: CollectorStatus
}

export interface CollectorStatus {
  readonly producer: string
  readonly delivery: 'jetstream' | 'direct'
  readonly instruments: number
  readonly shards: readonly ShardStatus[]
  readonly connections: readonly ConnectionStatus[]
  /** rows and blocks since the start, and what waits */
  readonly spool: {
    readonly bytes: number
    readonly bytesMax: number
    readonly segments: number
    readonly unacknowledged: number
    readonly uncommitted: number
    readonly oldestMs: number
    readonly blocks: number
    readonly blockBytes: number
  }
  readonly delivered: {
    readonly blocks: number
    readonly bytes: number
    readonly inFlight: number
    readonly retries: number
  }
  /** where this process stores, too */
  readonly stored?: {
    readonly rows: number
    readonly blocks: number
    readonly inserts: number
    readonly pending: number
  }
  readonly pressure: PressureStatus
}

export interface ShardStatus {
  readonly shard: number
  /** that are subscribed for, whatever their state */
  readonly books: number
  /** since the start */
  readonly frames: number
  readonly rows: number
  /** 0 … 1 of its frame ring */
  readonly fill: number
  readonly restarts: number
  /** absent while nothing goes out live */
  readonly latency?: LatencyStatus
}

/** Of the last moments: bytes left the socket → live message handed on. */
export interface LatencyStatus {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface ConnectionStatus {
  readonly index: number
  readonly exchange: string
  readonly market: string
  readonly shard: number
  readonly isOpen: boolean
  readonly isPaused: boolean
  readonly instruments: number
  readonly frames: number
  readonly generation: number
}

/** Overload: what is given up first, in this order; trades and books never are. */
export const SHED_ORDER = ['backfill', 'gateway', 'candles'] as const
export type Sheddable = (typeof SHED_ORDER)[number]

export interface PressureStatus {
  /** how many of SHED_ORDER are given up now: 0 = none */
  readonly level: number
  readonly reasons: readonly string[]
}

/** What an administrator may change while it runs. */
export interface InstrumentChange {
  readonly add: readonly InstrumentName[]
  readonly remove: readonly InstrumentName[]
}

export interface ChangeAnswer {
  readonly added: readonly InstrumentName[]
  readonly removed: readonly InstrumentName[]
  /** one line a name that was not taken, with the reason */
  readonly refused: readonly string[]
}

/** A key of the configuration as it may be seen. */
export interface ShownKey {
  readonly value: unknown
  /** which layer and line */
  readonly source: string
}

export interface CollectedBy {
  readonly producer: string
  readonly instruments: readonly InstrumentName[]
}

export interface CollectorPlan {
  readonly producer: string
  readonly shards: readonly {
    readonly shard: number
    readonly instruments: number
    readonly messagesPerSecond: number
  }[]
  readonly connections: readonly {
    readonly name: string
    readonly exchange: string
    readonly market: string
    readonly shard: number
    readonly leg: number
    readonly host: string
    readonly streams: number
    readonly instruments: number
  }[]
  /** what the start was estimated to cost */
  readonly estimate: Readonly<Record<string, unknown>>
}

export interface EngineLink {
  /** every process that is known, this one first; one that does not answer is left out */
  status(): Promise<readonly EngineStatus[]>
  /** Asks the collector for a whole book; the answer is a live message `book_snapshot`. Unknown instruments: no answer. */
  wantBook(name: InstrumentName): void
  /** @throws Fault when no collector can be reached */
  change(change: InstrumentChange): Promise<ChangeAnswer>
  /** Every collector: what it collects now. */
  collected(): Promise<readonly CollectedBy[]>
  /** Every collector: which connection carries what. */
  plan(): Promise<readonly CollectorPlan[]>
  /** effective configuration of this process, secrets masked */
  config(): Promise<Readonly<Record<string, ShownKey>>>
  /** how many of SHED_ORDER are given up now, from memory: cheap enough for every request */
  pressure(): number
}
