import type { Channel, FeedRules, Instrument } from '../exchanges/exchange.ts'

/** What the estimate reads of a plan. */
export interface EstimatedPlan {
  readonly shards: readonly (readonly Instrument[])[]
  readonly connections: readonly {
    readonly exchange: string
    readonly market: string
    readonly shard: number
    readonly instruments: readonly { readonly channels: readonly Channel[] }[]
  }[]
  readonly markets: readonly EstimatedMarket[]
  readonly connectSpacingMs: number
  /** rings of one shard together */
  readonly ringBytes: number
}

interface EstimatedMarket {
  readonly instrumentCount: number
  readonly connectionCount: number
  readonly snapshotWeight: number
  readonly startWeight: number
  readonly weightPerMinute: number
}

/** What a plan will cost. Estimates, not promises: `assumptions` says what they rest on. */
export interface Estimate {
  readonly connectMs: number
  readonly snapshotMs: number
  readonly startupMs: number
  readonly startWeight: number
  readonly messagesPerSecond: number
  readonly wireBytesPerSecond: number
  readonly diskBytesPerDay: number
  readonly memoryBytes: number
  /** by shard */
  readonly shardMessagesPerSecond: readonly number[]
  readonly assumptions: readonly string[]
}

const MIB = 1024 * 1024
const SECONDS_PER_DAY = 86_400
const MINUTE_MS = 60_000

/** One snapshot: round trip and body at 1000 levels, four at once. */
const SNAPSHOT_MS = 100
/** TCP, TLS and upgrade of the last socket, and the acknowledgement of its streams. */
const SOCKET_OPEN_MS = 1_000
/** Process, chDB aside: V8 heap, code, one worker's isolate and buffers. */
const PROCESS_BYTES = 120 * MIB
const WORKER_BYTES = 40 * MIB
/** A ladder of 2 × 5,000 levels over its pages, columns of its open blocks. */
const BOOK_BYTES = 1.5 * MIB
/** ws, its receiver, kernel buffers in flight. */
const SOCKET_BYTES = 0.25 * MIB
/** Of a wire byte of JSON this much remains in columns under ZSTD: measured on 94,000 recorded USD-M messages (189, 5.1 and 6.7 bytes a row). */
const DISK_SHARE = {
  book: 0.12,
  trades: 0.035,
  agg_trades: 0.035,
  book_tickers: 0.04,
  other: 0.1,
} as const

export function estimate(rules: ReadonlyMap<string, FeedRules>, plan: EstimatedPlan): Estimate {
  const { shards, connections, markets } = plan
  const connectMs =
    markets.reduce((longest, market) => Math.max(longest, market.connectionCount * plan.connectSpacingMs), 0) +
    SOCKET_OPEN_MS
  const snapshotMs = Math.max(...markets.map(snapshotTimeMs))
  const loads = connections.flatMap((connection) => loadsOf(rules, connection))
  const sum = (pick: (load: Load) => number): number => loads.reduce((total, load) => total + pick(load), 0)
  return {
    connectMs,
    snapshotMs,
    startupMs: connectMs + snapshotMs,
    startWeight: markets.reduce((total, market) => total + market.startWeight, 0),
    messagesPerSecond: sum((load) => load.messagesPerSecond),
    wireBytesPerSecond: sum((load) => load.messagesPerSecond * load.wireBytes),
    diskBytesPerDay: Math.round(
      SECONDS_PER_DAY * sum((load) => load.messagesPerSecond * load.wireBytes * diskShare(load.channel)),
    ),
    memoryBytes: memoryBytes(plan),
    shardMessagesPerSecond: shards.map((_, shard) =>
      loads.filter((load) => load.shard === shard).reduce((total, load) => total + load.messagesPerSecond, 0),
    ),
    assumptions: [
      'every instrument is as busy as BTC was on an average day of 2024: real totals are lower, bursts are 5 to 20 times higher',
      `disk is ${percent(DISK_SHARE.book)} of the wire bytes of books, ${percent(DISK_SHARE.trades)} of trades, ${percent(DISK_SHARE.book_tickers)} of book tickers, before TTL`,
      `one snapshot takes ${SNAPSHOT_MS} ms; weight used by others on this IP is not counted`,
      'memory without ClickHouse and nats-server',
    ],
  }
}

const diskShare = (channel: Channel): number =>
  channel in DISK_SHARE ? DISK_SHARE[channel as 'book'] : DISK_SHARE.other
const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`

interface Load {
  readonly shard: number
  readonly channel: Channel
  readonly messagesPerSecond: number
  readonly wireBytes: number
}

function loadsOf(rules: ReadonlyMap<string, FeedRules>, connection: EstimatedPlan['connections'][number]): Load[] {
  const load = rules.get(connection.exchange)?.markets[connection.market]?.load
  if (load === undefined) return []
  return connection.instruments.flatMap(({ channels }) =>
    channels.flatMap((channel) => {
      const own = load[channel]
      return own === undefined ? [] : [{ shard: connection.shard, channel, ...own }]
    }),
  )
}

/** A budget is there at once each minute: n budgets of whole snapshots take n - 1 minutes and what the last part itself needs. */
function snapshotTimeMs(market: EstimatedMarket): number {
  if (market.snapshotWeight === 0) return 0
  const perMinute = Math.floor(market.weightPerMinute / market.snapshotWeight)
  const fullMinutes = Math.ceil(market.instrumentCount / perMinute) - 1
  const inLastMinute = Math.min(perMinute, market.instrumentCount - fullMinutes * perMinute)
  return fullMinutes * MINUTE_MS + Math.max(1, inLastMinute) * SNAPSHOT_MS
}

function memoryBytes({ shards, connections, ringBytes }: EstimatedPlan): number {
  const rings = shards.length * ringBytes
  const workers = (shards.length + 1) * WORKER_BYTES // and the sink worker
  const books = shards.reduce((count, members) => count + members.length, 0) * BOOK_BYTES
  return Math.round(PROCESS_BYTES + rings + workers + books + connections.length * SOCKET_BYTES)
}
