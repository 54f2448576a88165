/** Configuration keys → plain options of the parts. The parts below know no keys, the keys know no parts. */
import { isAbsolute, join } from 'node:path'
import type { Config } from '../base/config.ts'
import type { FeedRules, Instrument } from '../exchanges/exchange.ts'
import { feedRules } from '../exchanges/index.ts'
import { type ConsumerShape, storeConsumers, type StreamOptions } from '../record/streams.ts'
import type { StorageOptions } from '../record/tables.ts'
import { IDLE_DEFAULT, type IdleOptions } from '../ring/idle.ts'
import { type MarketSettings, PLAN_DEFAULTS, type PlanSettings } from '../route/plan.ts'
import { CLICKHOUSE_DEFAULT, type ClickHouseOptions } from '../sinks/clickhouse.ts'
import type { CrewOptions } from '../sinks/crew.ts'
import { DELIVERY_DEFAULT, type DeliveryOptions } from '../sinks/delivery.ts'
import { INTAKE_DEFAULT, type IntakeOptions } from '../sinks/intake.ts'
import { NATS_DEFAULT, type NatsOptions } from '../sinks/nats.ts'
import { SPOOL_DEFAULT, type FsyncPolicy, type SpoolOptions } from '../spool/spool.ts'
import type { BookShardSettings } from '../../workers/shard.ts'
import { SHARD_DEFAULTS } from '../../workers/shard.ts'

/** A stream carries blocks, and a block is at most batch.bytesMax: the rest is room for a row that ends it. */
const MESSAGE_BYTES_MAX = 8 * 1024 ** 2
/** A store says so often within nats.ackWaitSeconds that it still works on a block. */
const SIGNS_OF_WORK = 4

/** One enabled market as the configuration has it. */
export interface MarketChoice extends MarketSettings {
  /** `binance.usdm` */
  readonly key: string
  readonly exchange: string
  readonly market: string
  /** symbols and globs */
  readonly instruments: readonly string[]
  readonly proxy: string
  readonly maxPayloadBytes: number
  readonly silenceMs: number
  /** a connection is replaced before it is this old; 0: the venue's own limit */
  readonly lifeSeconds: number
  /** how often the instruments are chosen again; 0: never */
  readonly universeSeconds: number
}

/** The keys that every market has, and those that some have. */
type MarketConfig = Omit<MarketChoice, 'key' | 'exchange' | 'market' | 'snapshotLimit'> & {
  readonly enabled: boolean
  readonly snapshotLimit?: number
}

export function marketKeyOf(instrument: Instrument): string {
  return `${instrument.exchange}.${instrument.market}`
}

/** The markets that are enabled and have something to collect. */
export function chosenMarkets(config: Config): MarketChoice[] {
  return allMarkets(config).filter(({ enabled, instruments }) => enabled && instruments.length > 0)
}

function allMarkets(config: Config): (MarketChoice & { readonly enabled: boolean })[] {
  const exchanges: Readonly<Record<string, Readonly<Record<string, MarketConfig>>>> = config.exchanges
  return Object.entries(exchanges).flatMap(([exchange, markets]) =>
    Object.entries(markets).map(([market, keys]) => ({
      snapshotLimit: 0,
      ...keys,
      key: `${exchange}.${market}`,
      exchange,
      market,
    })),
  )
}

export function exchangeRules({ exchanges, credentials }: Config): ReadonlyMap<string, FeedRules> {
  const { index: _hasNoChoices, ...okx } = exchanges.okx
  return feedRules({
    ...exchanges,
    okx: { ...okx, ...(credentials.okx.apiKey === '' ? {} : { credentials: credentials.okx }) },
    deribit: { ...exchanges.deribit, credentials: credentials.deribit },
  })
}

/** @param startMs when the start begins: what the estimate of its duration depends on */
export function planSettings(config: Config, startMs = 0): PlanSettings {
  return {
    shardCount: config.workers.count,
    markets: Object.fromEntries(chosenMarkets(config).map((choice) => [choice.key, choice])),
    ...PLAN_DEFAULTS,
    ringBytes: config.rings.framesBytes + config.rings.batchesBytes,
    startMs,
  }
}

/** Of what a message may have, the rest is for the head of the block and for headers. */
const PAYLOAD_SHARE = 0.8

/** Who takes live messages. */
export interface LiveReaders {
  /** names this life of the worker in them */
  readonly run: string
  /** whether there is a NATS server */
  readonly hasNats: boolean
  /** whether this process serves */
  readonly hasGateway: boolean
  /**
   * What a message of the NATS server may have. Blocks are sealed smaller from the start, because a block that has its
   * identity is never split: the parts of a second try could be others than those of the first.
   */
  readonly payloadBytesMax: number
}

export function shardSettings(
  config: Config,
  shardIndex: number,
  instruments: readonly Instrument[],
  { run, hasNats, hasGateway, payloadBytesMax }: LiveReaders,
): BookShardSettings {
  const { batch, snapshots, publisher, live } = config
  const chosen = chosenMarkets(config)
  const cut = chosen.filter(({ snapshotLimit }) => snapshotLimit > 0)
  return {
    ...SHARD_DEFAULTS,
    shardIndex,
    // only of connections that were not announced, and here all are
    exchange: instruments[0]?.exchange ?? SHARD_DEFAULTS.exchange,
    market: instruments[0]?.market ?? '',
    instruments,
    producer: config.producer,
    batch: {
      rowsMax: batch.rowsMax,
      bytesMax: Math.min(batch.bytesMax, Math.floor(payloadBytesMax * PAYLOAD_SHARE)),
      ageMsMax: batch.ageMs,
    },
    snapshots,
    publisher: {
      intervalMs: publisher.interval * 1000,
      depth: publisher.depth,
      minDepthLevels: publisher.minDepthLevels,
      maxAgeSeconds: publisher.maxAgeSeconds,
      skipUnchanged: publisher.skipUnchanged,
      retries: publisher.retries,
      form: publisher.form,
    },
    publishes: hasNats && publisher.enabled,
    live: hasGateway || (hasNats && live.enabled),
    run,
    liveBytesMax: payloadBytesMax,
    snapshotLevels: Object.fromEntries(cut.map(({ key, snapshotLimit }) => [key, snapshotLimit])),
    bookless: chosen.filter(({ channels }) => !channels.includes('book')).map(({ key }) => key),
  }
}

export function idleOptions(config: Config): { book: IdleOptions; event: IdleOptions } {
  const { idlePolicy: policy } = config.workers
  // An event loop that spins starves its own sockets.
  return { book: { ...IDLE_DEFAULT, policy }, event: { ...IDLE_DEFAULT, policy: policy === 'spin' ? 'park' : policy } }
}

/** A directory below data.directory, or the one that is configured. */
export function dataDirectory(config: Config, name: string, configured = ''): string {
  const path = configured === '' ? join(config.data.directory, name) : configured
  return isAbsolute(path) ? path : join(process.cwd(), path)
}

export function spoolOptions(config: Config): SpoolOptions {
  const { spool } = config
  return {
    ...SPOOL_DEFAULT,
    fsync: fsyncPolicy(config),
    segmentBytesMax: spool.segmentBytes,
    bytesMax: spool.maxBytes,
    freeBytesMin: spool.freeBytesMin,
    onFull: spool.onFull,
    retainAckedMs: spool.retainSeconds * 1000,
  }
}

function fsyncPolicy({ spool }: Config): FsyncPolicy {
  switch (spool.fsync) {
    case 'group':
      return { kind: 'group', delayMsMax: spool.groupDelayMs }
    case 'interval':
      return { kind: 'interval', intervalMs: spool.intervalMs }
    default:
      return { kind: spool.fsync }
  }
}

/** Each look is one question to NATS a consumer. */
const SCALE_LOOK_MS = 2_000
/** Small blocks share an insert: so many may be in hand for each that runs. Large ones are bounded by their bytes. */
const BLOCKS_AN_INSERT = 48

/** A distance of 100 ms still passes 80 MB/s; twice this is all that an outage adds to memory (sinks/delivery.ts). */
const JETSTREAM_BYTES_MAX = 8 * 1024 * 1024

/** Blocks on their way to JetStream, or to ClickHouse: few inserts at once, many publishes. */
export function deliveryOptions(config: Config, to: 'jetstream' | 'direct'): DeliveryOptions {
  const inFlightCountMax =
    to === 'jetstream' ? config.nats.ackWindow : BLOCKS_AN_INSERT * config.clickhouse.insertsInFlight
  // what is under way to JetStream waits for an acknowledgement only, what goes to ClickHouse is gathered for large inserts
  const inFlightBytesMax = to === 'jetstream' ? JETSTREAM_BYTES_MAX : DELIVERY_DEFAULT.inFlightBytesMax
  return { ...DELIVERY_DEFAULT, inFlightCountMax, inFlightBytesMax }
}

const MS_AN_HOUR = 3_600_000
/** Of the room of the block stream, for blocks longer than a message may be: few, of the time before max_payload was lowered. */
const LARGE_BLOCKS_SHARE = 0.25

export function natsOptions(config: Config, url: string): NatsOptions {
  const { user, password, token, credsFile, ackTimeoutMs, maxAgeHours, maxBytes, replicas } = config.nats
  return {
    ...NATS_DEFAULT,
    url,
    ackTimeoutMs,
    largeBlocks: { ageMs: maxAgeHours * MS_AN_HOUR, bytesMax: Math.ceil(maxBytes * LARGE_BLOCKS_SHARE), replicas },
    ...(user === '' ? {} : { user, password }),
    ...(token === '' ? {} : { token }),
    ...(credsFile === '' ? {} : { credsFile }),
  }
}

export function clickHouseOptions(config: Config, url: string): ClickHouseOptions {
  const { user, password, database, requestTimeoutMs, insertsInFlight, mergeMs } = config.clickhouse
  return {
    ...CLICKHOUSE_DEFAULT,
    url,
    database,
    username: user,
    password,
    requestTimeoutMs,
    insertsMax: insertsInFlight,
    merge: { ...CLICKHOUSE_DEFAULT.merge, delayMs: mergeMs },
  }
}

export function storageOptions(config: Config): StorageOptions {
  const { database, ttlDays, dedupeWindowInserts, syncInserts } = config.clickhouse
  return { database, ttlDays, dedupeWindowInserts, syncInserts }
}

export function streamOptions(config: Config): StreamOptions {
  const { maxAgeHours, maxBytes, deadLetterBytes, duplicateWindowSeconds, replicas } = config.nats
  return {
    maxAgeHours,
    bytesMax: maxBytes,
    duplicateWindowSeconds,
    messageBytesMax: MESSAGE_BYTES_MAX,
    deadLetterBytesMax: deadLetterBytes,
    replicas,
    live: null,
  }
}

/** Names of the store's consumers, as they are provisioned. */
export function consumerShapes(config: Config): readonly ConsumerShape[] {
  const { shards, workersMax } = config.store
  const blocksMax = intakeOptions(config).inFlightCountMax * workersMax
  return storeConsumers(shards, Object.keys(config.exchanges), blocksMax, config.nats.ackWaitSeconds)
}

/** What a store's client may hold in blocks of the longest kind; with fewer than these at once it would wait for each. */
const PULLED_BYTES = 32 * 1024 * 1024
const PULLED_COUNT_MIN = 4

export function crewOptions(config: Config): CrewOptions {
  const { workersMin, workersMax, startAbovePending, stopBelowPending, scaleHoldSeconds } = config.store
  return {
    consumers: consumerShapes(config).map(({ durable_name }) => durable_name),
    intake: intakeOptions(config),
    scale: { workersMin, workersMax, startAbovePending, stopBelowPending, holdMs: scaleHoldSeconds * 1000 },
    lookMs: SCALE_LOOK_MS,
    insertsAWorker: config.clickhouse.insertsInFlight,
  }
}

export function intakeOptions(config: Config): IntakeOptions {
  const workingMs = (config.nats.ackWaitSeconds * 1000) / SIGNS_OF_WORK
  return {
    ...INTAKE_DEFAULT,
    workingMs,
    inFlightCountMax: BLOCKS_AN_INSERT * config.clickhouse.insertsInFlight,
    pulledCountMax: Math.max(
      PULLED_COUNT_MIN,
      Math.min(INTAKE_DEFAULT.pulledCountMax, Math.floor(PULLED_BYTES / config.batch.bytesMax)),
    ),
  }
}
