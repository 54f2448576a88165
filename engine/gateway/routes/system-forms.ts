/** Forms of what the engine says of itself (engine-link.ts). Processes of other versions may say more: that goes through. */
import { Type } from 'typebox'

const more = { additionalProperties: true } as const
const count = (description?: string) => Type.Number(description === undefined ? {} : { description })
const Instrument = Type.Object({
  exchange: Type.String(),
  market: Type.String(),
  symbol: Type.String(),
})

export const InstrumentId = Type.String({
  description: '{exchange}.{market}.{symbol}, e.g. binance.usdm.BTCUSDT',
  pattern: '^[A-Za-z0-9_-]{1,32}\\.[A-Za-z0-9_-]{1,32}\\.[^\\s/?#]{1,128}$',
  examples: ['binance.usdm.BTCUSDT'],
})

export const Shard = Type.Object(
  {
    shard: count(),
    books: count(),
    frames: count('since the start'),
    rows: count('since the start'),
    fill: count('of its frame ring, 0 … 1'),
    restarts: count(),
  },
  more,
)

export const Connection = Type.Object(
  {
    index: count(),
    exchange: Type.String(),
    market: Type.String(),
    shard: count(),
    isOpen: Type.Boolean(),
    isPaused: Type.Boolean({ description: 'not read because a ring is full' }),
    instruments: count(),
    frames: count('since the start'),
    generation: count('how often it was opened anew'),
  },
  more,
)

export const Process = Type.Object(
  {
    name: Type.String({ description: 'name of the collector, else of the process' }),
    roles: Type.Array(Type.String()),
    version: Type.String(),
    pid: count(),
    startedMs: count('ms since the epoch'),
    health: Type.String({ enum: ['healthy', 'degraded', 'unhealthy'] }),
    problems: Type.Record(Type.String(), Type.String(), { description: 'check → what is wrong' }),
    collector: Type.Optional(
      Type.Object(
        {
          producer: Type.String(),
          delivery: Type.String({ enum: ['jetstream', 'direct'] }),
          instruments: count(),
          shards: Type.Array(Shard),
          connections: Type.Array(Connection),
        },
        more,
      ),
    ),
  },
  more,
)

export const Job = Type.Object({
  name: Type.String(),
  about: Type.String(),
  everyMs: count(),
  isRunning: Type.Boolean(),
  runs: count(),
  failures: count(),
  lastStartedMs: Type.Optional(count('ms since the epoch')),
  lastDurationMs: Type.Optional(count()),
  lastOutcome: Type.Optional(Type.String()),
})

export const PlannedConnection = Type.Object({
  name: Type.String(),
  exchange: Type.String(),
  market: Type.String(),
  shard: count(),
  leg: count('0 the original, 1 and 2 its copies'),
  host: Type.String(),
  streams: count(),
  instruments: count(),
})

export const CollectorPlan = Type.Object(
  {
    producer: Type.String(),
    shards: Type.Array(Type.Object({ shard: count(), instruments: count(), messagesPerSecond: count() }, more)),
    connections: Type.Array(PlannedConnection),
    estimate: Type.Record(Type.String(), Type.Unknown()),
  },
  more,
)

export const Collected = Type.Object({ producer: Type.String(), instruments: Type.Array(Instrument) })

export const ChangeForm = Type.Object({
  added: Type.Array(Instrument),
  removed: Type.Array(Instrument),
  refused: Type.Array(Type.String({ description: 'a name and why it was not taken' })),
})

export const Letter = Type.Object({
  number: count(),
  at: Type.String(),
  block: Type.String(),
  table: Type.String(),
  exchange: Type.String(),
  producer: Type.String(),
  rows: Type.Union([Type.Number(), Type.Null()], { description: 'null: the bytes do not say it any more' }),
  bytes: count(),
  attempts: count(),
  reason: Type.String(),
})
