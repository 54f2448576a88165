import { join } from 'node:path'
import type { Clock } from '../engine/base/clock.ts'
import type { Log } from '../engine/base/log.ts'
import type { Random } from '../engine/base/random.ts'
import { type ClickHouseOptions, ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { type DeadLetters, DirectoryLetters, StreamLetters } from '../engine/sinks/dead-letters.ts'
import { NatsLink, type NatsOptions, NatsSink } from '../engine/sinks/nats.ts'
import type { Sink } from '../engine/sinks/sink.ts'

export interface BlockSinkSettings {
  readonly spoolDirectory: string
  /** where blocks go */
  readonly blocks: { readonly to: 'jetstream' } | { readonly to: 'clickhouse'; readonly clickhouse: ClickHouseOptions }
  /** for JetStream and for live messages; without it live messages are not sent */
  readonly nats?: NatsOptions
}

/** Where blocks go, and where those that nobody takes. */
export function openBlockSink(
  settings: BlockSinkSettings,
  clock: Clock,
  random: Random,
  log: Log,
): { sink: Sink; letters: DeadLetters; link?: NatsLink } {
  if (settings.blocks.to === 'clickhouse') {
    return {
      sink: new ClickHouseSink(settings.blocks.clickhouse, () => clock.nowNs(), log),
      letters: new DirectoryLetters(join(settings.spoolDirectory, 'poison'), () => clock.nowMs()),
    }
  }
  if (settings.nats === undefined) throw new Error('delivery through JetStream needs a NATS server')
  const link = new NatsLink(settings.nats, 'marketprism blocks', random, log)
  link.start()
  return { sink: new NatsSink(link, log), letters: new StreamLetters(link), link }
}
