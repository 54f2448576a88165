/**
 * JetStream as the product uses it: streams, the store's consumer, subjects. Pure; sinks/provision.ts carries it out.
 *
 *   block.{table}.{exchange}.{producer}          blocks, exactly once (file, kept for hours, never dropped unread)
 *   deadletter.{table}.{exchange}.{producer}     blocks that will never be stored, until a person has looked
 *   {type}.{exchange}.{market}.{symbol}          live messages; plain subjects, unless the live stream is switched on
 *   heartbeat.{producer}.{shard}.{part}          once a second: which books a shard has, and their states
 *   marketprism.book.want                        to collectors: a whole book, please (JSON {exchange, market, symbol})
 */
import type { TableName } from './schema-columns.ts'
import { TABLES } from './schema.ts'

export interface StreamOptions {
  /** How long blocks stay for other readers and for a store that is down. */
  readonly maxAgeHours: number
  /** A full stream refuses new blocks (the spool keeps them). Below the room that the server has for streams. */
  readonly bytesMax: number
  /** A block sent again within this time is stored once. */
  readonly duplicateWindowSeconds: number
  readonly messageBytesMax: number
  /** Room for dead letters; when it is used up, poison blocks stay in the block stream. */
  readonly deadLetterBytesMax: number
  readonly replicas: number
  /** Keeps live messages for late subscribers; costs a second write of every event. */
  readonly live: { readonly maxAgeMinutes: number; readonly bytesMax: number } | null
}

/** The fields of JetStream's stream configuration that we set; times in ns, as the server has them. */
export interface StreamShape {
  readonly name: string
  readonly description: string
  readonly subjects: readonly string[]
  readonly storage: 'file'
  readonly retention: 'limits'
  readonly discard: 'new' | 'old'
  readonly max_age: number
  readonly max_bytes: number
  readonly max_msg_size: number
  readonly duplicate_window: number
  readonly num_replicas: number
}

export interface ConsumerShape {
  readonly durable_name: string
  readonly description: string
  readonly ack_policy: 'explicit'
  readonly ack_wait: number
  readonly max_ack_pending: number
  readonly max_deliver: number
  readonly deliver_policy: 'all'
  readonly filter_subject?: string
}

export const BLOCK_STREAM = 'MARKETPRISM_BLOCKS'
export const LIVE_STREAM = 'MARKETPRISM_LIVE'
export const DEAD_LETTER_STREAM = 'DLQ'
export const STORE_CONSUMER = 'store'
export const BLOCK_SUBJECTS = 'block.>'
/** Live messages that are no rows of a table. */
export const BOOK_SNAPSHOT = 'book_snapshot'
export const BOOK_STATE = 'book_state'
export const HEARTBEAT = 'heartbeat'
/** The periodic publisher's whole books. */
export const ORDERBOOK = 'orderbook'
export const WANT_BOOK_SUBJECT = 'marketprism.book.want'

/** What a letter has more than its block: reason, origin, the headers of the original. */
export const LETTER_HEAD_BYTES_MAX = 8 * 1024
const NS_PER_SECOND = 1_000_000_000

export function blockSubject(table: TableName, exchange: string): string {
  return `block.${table}.${exchange}`
}

/** Words of a subject have no dots, blanks or wildcards; what is not known is `unknown`. */
export function deadLetterSubject(...words: readonly [table?: string, exchange?: string, producer?: string]): string {
  return `deadletter.${[0, 1, 2].map((index) => (words[index] ?? 'unknown').replace(/[^A-Za-z0-9_-]/g, '_') || 'unknown').join('.')}`
}

/** First words of live subjects that say what happens, each thing once and in order. */
export function liveTypes(): readonly string[] {
  return [...TABLES.flatMap((table) => (table.liveType === null ? [] : [table.liveType])), BOOK_SNAPSHOT, BOOK_STATE]
}

/** `producer` as a word of a subject. */
export function producerWord(producer: string): string {
  return producer.replace(/[^A-Za-z0-9_-]/g, '_')
}

export function heartbeatSubject(producer: string, shard: number, part: number): string {
  return `${HEARTBEAT}.${producerWord(producer)}.${shard}.${part}`
}

export function streamShapes(options: StreamOptions): readonly StreamShape[] {
  const common = {
    storage: 'file',
    retention: 'limits',
    num_replicas: options.replicas,
    max_msg_size: options.messageBytesMax,
  } as const
  const blocks: StreamShape = {
    ...common,
    name: BLOCK_STREAM,
    description: 'Blocks of rows on their way to ClickHouse',
    subjects: [BLOCK_SUBJECTS],
    discard: 'new', // never drop what the store has not seen: refuse, and let the spool wait
    max_age: options.maxAgeHours * 3600 * NS_PER_SECOND,
    max_bytes: options.bytesMax,
    duplicate_window: options.duplicateWindowSeconds * NS_PER_SECOND,
  }
  const letters: StreamShape = {
    ...common,
    name: DEAD_LETTER_STREAM,
    description: 'Blocks that cannot be stored, with the reason; marketprism dlq',
    subjects: ['deadletter.>'],
    discard: 'new', // each is the only copy in a stream
    max_age: 0, // they wait for a person
    max_bytes: options.deadLetterBytesMax,
    max_msg_size: options.messageBytesMax + LETTER_HEAD_BYTES_MAX,
    duplicate_window: options.duplicateWindowSeconds * NS_PER_SECOND,
  }
  if (options.live === null) return [blocks, letters]
  const live: StreamShape = {
    ...common,
    name: LIVE_STREAM,
    description: 'Live messages, the newest',
    subjects: [...liveTypes(), ORDERBOOK].map((type) => `${type}.>`),
    discard: 'old',
    max_age: options.live.maxAgeMinutes * 60 * NS_PER_SECOND,
    max_bytes: options.live.bytesMax,
    duplicate_window: Math.min(120, options.live.maxAgeMinutes * 60) * NS_PER_SECOND,
  }
  return [blocks, letters, live]
}

export const STORE_SHARDS = ['one', 'exchange', 'table'] as const
export type StoreShards = (typeof STORE_SHARDS)[number]

/** The store's consumers: one for all blocks, or one an exchange, or one a table. */
export function storeConsumers(
  shards: StoreShards,
  exchanges: readonly string[],
  blocksInFlightMax: number,
  ackWaitSeconds: number,
): readonly ConsumerShape[] {
  const all = storeConsumer(blocksInFlightMax, ackWaitSeconds)
  const shard = (name: string, filter_subject: string) => ({
    ...all,
    durable_name: `${STORE_CONSUMER}-${name}`,
    description: `Puts blocks of ${name} into ClickHouse`,
    filter_subject,
  })
  switch (shards) {
    case 'exchange':
      return exchanges.map((exchange) => shard(exchange, `block.*.${exchange}.>`))
    case 'table':
      return TABLES.map(({ name }) => shard(name, `block.${name}.>`))
    default:
      return [all]
  }
}

/** Whether a consumer of the block stream is the store's, of this or another way of sharding. */
export function isStoreConsumer(name: string): boolean {
  return name === STORE_CONSUMER || name.startsWith(`${STORE_CONSUMER}-`)
}

/** @param blocksInFlightMax blocks that the store holds unacknowledged. */
export function storeConsumer(blocksInFlightMax: number, ackWaitSeconds: number): ConsumerShape {
  return {
    durable_name: STORE_CONSUMER,
    description: 'Puts blocks into ClickHouse',
    ack_policy: 'explicit',
    deliver_policy: 'all',
    ack_wait: ackWaitSeconds * NS_PER_SECOND,
    max_ack_pending: 4 * blocksInFlightMax,
    max_deliver: -1, // the store itself decides when a block is poison
  }
}
