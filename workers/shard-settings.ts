import { KEEPER_LIMITS } from '../engine/book/keeper-settings.ts'
import type { KeeperLimits } from '../engine/book/keeper-settings.ts'
import type { PublisherSettings, SnapshotSettings } from '../engine/book/publisher.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'

/** What a book worker is started with; plain data, it travels as `workerData`. */
export interface BookShardSettings {
  shardIndex: number
  /**
   * Of frames from connections that were never announced (replay); announced ones have their instruments'. An empty
   * market is the whole exchange, where its symbols tell the market.
   */
  exchange: string
  market: string
  instruments: readonly Instrument[]
  /** Replay: register symbols as they come, take bare REST depth bodies as they come. */
  learnUnknown: boolean
  producer: string
  batch: { rowsMax: number; bytesMax: number; ageMsMax: number }
  snapshots: SnapshotSettings
  publisher: PublisherSettings
  /** Whether new rows, states of books and whole books go out on the live path. */
  live: boolean
  /** Names this life of the worker in live messages. */
  run: string
  /** of a live message; books that are longer are cut */
  liveBytesMax: number
  /** Whether whole books go out on the live path, as `publisher` says. */
  publishes: boolean
  keeper: KeeperLimits
  /** Levels at which REST snapshots of a market (`exchange.market`) are cut; else keeper.snapshotLevels. */
  snapshotLevels: Readonly<Record<string, number>>
  /** Markets (`exchange.market`) of which no books are collected: an index has none. */
  bookless: readonly string[]
}

export const SHARD_DEFAULTS: Omit<BookShardSettings, 'instruments' | 'market'> = {
  shardIndex: 0,
  exchange: 'binance',
  learnUnknown: false,
  producer: 'marketprism',
  batch: { rowsMax: 16_384, bytesMax: 512 * 1024, ageMsMax: 250 },
  snapshots: { intervalMs: 1000, depth: 20, checkpointSeconds: 0 },
  publisher: {
    intervalMs: 1000,
    depth: 400,
    minDepthLevels: 10,
    maxAgeSeconds: 30,
    skipUnchanged: true,
    retries: 3,
    form: 'json',
  },
  live: true,
  run: '',
  liveBytesMax: 1024 * 1024, // what NATS takes by default
  publishes: true,
  keeper: KEEPER_LIMITS,
  snapshotLevels: {},
  bookless: [],
}
