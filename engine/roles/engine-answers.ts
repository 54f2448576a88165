/** What a process says of itself to a gateway, here or in another process. */
import { type Effective, KEY_PATHS, keyAt, shown } from '../base/config.ts'
import type { CollectedBy, CollectorPlan, InstrumentName, ShownKey } from '../gateway/engine-link.ts'
import type { Collector } from './collector.ts'

/** Secrets are masked, whatever layer they came from. */
export function configAnswer({ values, origins }: Effective): Readonly<Record<string, ShownKey>> {
  return Object.fromEntries(
    KEY_PATHS.map((path) => {
      const value = values.get(path)
      const safe = keyAt(path).secret || typeof value === 'string' ? shown(path, value) : value
      return [path, { value: safe, source: origins.get(path)?.place ?? '' }]
    }),
  )
}

export function collectedAnswer(producer: string, { placement }: Collector): CollectedBy {
  const instruments = placement
    .collected()
    .map(({ exchange, market, symbol }): InstrumentName => ({ exchange, market, symbol }))
  return { producer, instruments }
}

/** Connections as they are now; the estimate is that of the start. */
export function planAnswer(producer: string, { placement, plan }: Collector): CollectorPlan {
  const { shardMessagesPerSecond, ...estimate } = plan.estimate
  return {
    producer,
    shards: plan.shards.map((_, shard) => ({
      shard,
      instruments: placement.members(shard).length,
      messagesPerSecond: Math.round(shardMessagesPerSecond[shard] ?? 0),
    })),
    connections: placement.connections
      .filter(({ streams }) => streams.length > 0)
      .map(({ name, exchange, market, shard, leg, url, streams, instruments }) => ({
        name,
        exchange,
        market,
        shard,
        leg,
        host: new URL(url).host, // a path or query could hold what is nobody's business
        streams: streams.length,
        instruments: instruments.length,
      })),
    estimate,
  }
}
