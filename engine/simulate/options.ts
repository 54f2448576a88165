/** Everything that can be said of a run of the simulated venue, and what holds when it is not said. */
import type { FaultKind, FaultSpec } from './faults.ts'
import { RANDOM_KINDS } from './faults.ts'
import type { RecordingFile } from './player.ts'
import type { ExchangeName, MarketName } from './venue.ts'

/** Instruments: as many in each market, or a number for each. */
export type InstrumentCounts = number | Readonly<Partial<Record<MarketName, number>>>

export function instrumentCount(counts: InstrumentCounts, market: MarketName): number {
  return typeof counts === 'number' ? counts : (counts[market] ?? 0)
}

/** Shares of the events; they are brought to a sum of 1. */
export interface EventMix {
  readonly bookTicker: number
  readonly trade: number
  readonly depth: number
}

export interface SimulatorOptions {
  readonly exchange: ExchangeName
  readonly seed: number
  /** null: all of the exchange */
  readonly markets: readonly MarketName[] | null
  readonly instruments: InstrumentCounts
  /** events a second, over all instruments; an event is one message of one stream */
  readonly rate: number
  /** length of the run after its start; null: until stopped */
  readonly seconds: number | null
  readonly mix: EventMix
  readonly levelsPerUpdate: number
  readonly bookLevels: number
  /** the market starts when so many streams have a subscriber */
  readonly startAfterStreams: number
  readonly host: string
  /** 0: any free port */
  readonly ports: Readonly<Partial<Record<MarketName, number>>>
  readonly truthDirectory: string | null
  readonly faults: readonly FaultSpec[]
  readonly faultRate: number
  readonly faultKinds: readonly FaultKind[]
  readonly closeEverySeconds: number
  readonly limitsEnforced: boolean
  /** multiplies ping interval, pong deadline and connection life */
  readonly heartbeatScale: number
  readonly connectionLifeMs: number
  readonly weightWindowMs: number
  /** replaces the venue's weight limit; null: the venue's */
  readonly weightMax: number | null
  readonly refusalsBeforeBan: number
  readonly banMs: number
  readonly usdmTradePath: 'public' | 'market' | 'both'
  readonly unflushedBytesMax: number
  /** a client that takes nothing for so long is cut */
  readonly stallMsMax: number
  readonly recordings: readonly RecordingFile[]
  /** recordings only: how much faster than recorded; null: as fast as the clients take it */
  readonly speed: number | null
}

export const SIMULATOR_DEFAULTS: SimulatorOptions = {
  exchange: 'binance',
  seed: 1,
  markets: null,
  instruments: 2,
  rate: 1000,
  seconds: null,
  mix: { bookTicker: 0.65, trade: 0.23, depth: 0.12 },
  levelsPerUpdate: 8,
  bookLevels: 500,
  startAfterStreams: 1,
  host: '127.0.0.1',
  ports: {},
  truthDirectory: null,
  faults: [],
  faultRate: 0,
  faultKinds: RANDOM_KINDS,
  closeEverySeconds: 0,
  limitsEnforced: true,
  heartbeatScale: 1,
  connectionLifeMs: 24 * 3_600_000,
  weightWindowMs: 60_000,
  weightMax: null,
  refusalsBeforeBan: 10,
  banMs: 120_000,
  usdmTradePath: 'both',
  unflushedBytesMax: 2 * 1024 * 1024,
  stallMsMax: 10_000,
  recordings: [],
  speed: 1,
}
