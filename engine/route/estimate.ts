import { type Channel, type FeedRules, type Instrument, weightPoolOf } from '../exchanges/exchange.ts'

/** What the estimate reads of a plan. */
export interface EstimatedPlan {
  readonly shards: readonly (readonly Instrument[])[]
  readonly connections: readonly {
    readonly exchange: string
    readonly market: string
    readonly shard: number
    readonly leg: number
    readonly streams: readonly string[]
    readonly instruments: readonly { readonly channels: readonly Channel[] }[]
  }[]
  readonly markets: readonly EstimatedMarket[]
  readonly connectSpacingMs: number
  readonly connectShare: number
  /** when the start begins, ms since the epoch: REST weight comes by the minute of the wall clock */
  readonly startMs: number
  /** rings of one shard together */
  readonly ringBytes: number
}

interface EstimatedMarket {
  readonly exchange: string
  readonly market: string
  readonly instrumentCount: number
  readonly connectionCount: number
  readonly snapshotWeight: number
  readonly startWeight: number
  readonly weightPerMinute: number
}

/** What a plan will cost. Estimates, not promises: `assumptions` says what they rest on. */
export interface Estimate {
  /** the moment that all times count from, ms since the epoch */
  readonly startMs: number
  /** until the last socket is open; the venue's limit of attempts and our spacing are in it */
  readonly connectMs: number
  /** until the last subscribe message of a socket has gone out: the venue counts them */
  readonly subscribeMs: number
  /** until the last book has its REST snapshot; books that start in the stream need none */
  readonly snapshotMs: number
  /** until all books are live: the slowest market */
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
const MS_PER_SECOND = 1_000

/** From one snapshot to the next: round trip and body of 1,000 levels in 200 ms, four at once. */
const SNAPSHOT_MS = 50
/** The weight ledger keeps so far from the turn of a minute: the venue's clock may be behind or ahead. */
const TURN_GUARD_MS = 1_000
/** TCP, TLS and upgrade of the last socket, and the acknowledgement of its streams: five round trips of 100 ms. */
const SOCKET_OPEN_MS = 500
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

export function estimate(rules: Rules, plan: EstimatedPlan): Estimate {
  const { shards, connections, markets } = plan
  const starts = markets.map((market) => {
    const connectMs = connectTimeMs(rules, plan, market)
    const subscribeMs = subscribeTimeMs(rules, plan, market)
    return {
      connectMs,
      subscribeMs,
      snapshotMs: snapshotTimeMs(poolOf(rules, plan, market), plan.startMs, plan.startMs + connectMs),
    }
  })
  const longest = (pick: (start: (typeof starts)[number]) => number): number => Math.max(0, ...starts.map(pick))
  const loads = connections.flatMap((connection) => loadsOf(rules, connection))
  const sum = (pick: (load: Load) => number): number => loads.reduce((total, load) => total + pick(load), 0)
  return {
    startMs: plan.startMs,
    connectMs: longest(({ connectMs }) => connectMs),
    subscribeMs: longest(({ subscribeMs }) => subscribeMs),
    snapshotMs: longest(({ snapshotMs }) => snapshotMs),
    startupMs: longest(({ connectMs, subscribeMs, snapshotMs }) => connectMs + subscribeMs + snapshotMs),
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
      `a snapshot every ${SNAPSHOT_MS} ms where the weight allows it; weight used by others on this IP is not counted; started ${Math.floor((plan.startMs % MINUTE_MS) / MS_PER_SECOND)} s into a minute`,
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

function loadsOf(rules: Rules, connection: EstimatedPlan['connections'][number]): Load[] {
  const load = rules.get(connection.exchange)?.markets[connection.market]?.load
  if (load === undefined) return []
  return connection.instruments.flatMap(({ channels }) =>
    channels.flatMap((channel) => {
      const own = load[channel]
      return own === undefined ? [] : [{ shard: connection.shard, channel, ...own }]
    }),
  )
}

type Rules = ReadonlyMap<string, FeedRules>

/** Attempts are counted by host; each is at least the spacing after the one before, and a window holds only so many. */
function connectTimeMs(rules: Rules, plan: EstimatedPlan, { exchange, market }: EstimatedMarket): number {
  const markets = rules.get(exchange)?.markets
  const place = markets?.[market]
  if (place === undefined) return SOCKET_OPEN_MS
  const count = plan.connections.filter(
    (each) => each.exchange === exchange && markets?.[each.market]?.wsBase === place.wsBase,
  ).length
  const { connectsMax, connectsWindowMs } = place.limits
  const ours = Math.max(1, Math.floor(connectsMax * plan.connectShare))
  const windowsMs = Math.floor(Math.max(0, count - 1) / ours) * connectsWindowMs
  return Math.max(count * plan.connectSpacingMs, windowsMs) + SOCKET_OPEN_MS
}

/** The socket with most to say, at the rate at which the venue lets a client speak. */
function subscribeTimeMs(rules: Rules, plan: EstimatedPlan, { exchange, market }: EstimatedMarket): number {
  const feed = rules.get(exchange)
  const place = feed?.markets[market]
  if (feed === undefined || place === undefined) return 0
  const own = plan.connections.filter((each) => each.exchange === exchange && each.market === market && each.leg === 0)
  const framesMax = Math.max(0, ...own.map(({ streams }) => feed.subscribeFrames(streams, 1).length))
  const spacingMs = MS_PER_SECOND / Math.max(1, place.limits.clientMessagesPerSecondMax - 1)
  return Math.round(Math.max(0, feed.openingFrames(1, 0).length + framesMax - 1) * spacingMs)
}

/** This market and those that draw on the same REST weight, as far as they have snapshots to ask for. */
function poolOf(rules: Rules, plan: EstimatedPlan, { exchange, market }: EstimatedMarket): readonly EstimatedMarket[] {
  const poolAt = (name: string): string | undefined => {
    const place = rules.get(exchange)?.markets[name]
    return place === undefined ? undefined : weightPoolOf(place)
  }
  const isWithin = (each: EstimatedMarket): boolean =>
    each.exchange === exchange && (each.market === market || poolAt(each.market) === poolAt(market))
  return plan.markets.filter((each) => isWithin(each) && each.snapshotWeight > 0)
}

/**
 * Request after request as the ledger lets them go (feed/weight.ts): a minute of the wall clock holds so much weight, and
 * what is sent within the guard of its turn counts in both minutes. The lists were asked for at the start.
 */
function snapshotTimeMs(pool: readonly EstimatedMarket[], startMs: number, fromMs: number): number {
  const weightMax = Math.min(...pool.map(({ weightPerMinute }) => weightPerMinute))
  const weights = pool.flatMap(({ snapshotWeight, instrumentCount }) =>
    new Array<number>(instrumentCount).fill(snapshotWeight),
  )
  const all = weights.reduce((sum, weight) => sum + weight, 0)
  const lists = pool.reduce((sum, { startWeight }) => sum + startWeight, 0) - all
  const used = new Map([[minuteOf(startMs), lists]])
  const usedIn = (minute: number): number => used.get(minute) ?? 0
  // what is heavier than a minute's part goes alone
  const fits = (weight: number) => (minute: number) => usedIn(minute) === 0 || usedIn(minute) + weight <= weightMax
  let atMs = fromMs
  for (const weight of weights) {
    while (!minutesOf(atMs).every(fits(weight))) atMs = nextTurnMs(atMs)
    for (const minute of minutesOf(atMs)) used.set(minute, usedIn(minute) + weight)
    atMs += SNAPSHOT_MS / pool.length // each market has connections of its own
  }
  return atMs - fromMs
}

const minuteOf = (ms: number): number => Math.floor(ms / MINUTE_MS)
const minutesOf = (ms: number): number[] => [
  ...new Set([minuteOf(ms - TURN_GUARD_MS), minuteOf(ms), minuteOf(ms + TURN_GUARD_MS)]),
]

/** The end of the guard after this turn of the minute, or after the next. */
function nextTurnMs(ms: number): number {
  const turnMs = minuteOf(ms) * MINUTE_MS
  return (ms - turnMs < TURN_GUARD_MS ? turnMs : turnMs + MINUTE_MS) + TURN_GUARD_MS
}

function memoryBytes({ shards, connections, ringBytes }: EstimatedPlan): number {
  const rings = shards.length * ringBytes
  const workers = (shards.length + 1) * WORKER_BYTES // and the sink worker
  const books = shards.reduce((count, members) => count + members.length, 0) * BOOK_BYTES
  return Math.round(PROCESS_BYTES + rings + workers + books + connections.length * SOCKET_BYTES)
}
