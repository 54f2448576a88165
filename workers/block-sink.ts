import { join } from 'node:path'
import type { Clock } from '../engine/base/clock.ts'
import type { Log } from '../engine/base/log.ts'
import type { Random } from '../engine/base/random.ts'
import { BREAKER_DEFAULT, BREAKER_STATES } from '../engine/sinks/breaker.ts'
import { type ClickHouseOptions, ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { DirectoryLetters, StreamLetters } from '../engine/sinks/dead-letters.ts'
import type { GateMemories } from '../engine/sinks/gate.ts'
import { GuardedLetters } from '../engine/sinks/guarded-letters.ts'
import { NatsLink, type NatsOptions, NatsSink } from '../engine/sinks/nats.ts'
import type { Sink } from '../engine/sinks/sink.ts'

export interface BlockSinkSettings {
  readonly spoolDirectory: string
  /** where blocks go */
  readonly blocks: { readonly to: 'jetstream' } | { readonly to: 'clickhouse'; readonly clickhouse: ClickHouseOptions }
  /** for JetStream and for live messages; without it live messages are not sent */
  readonly nats?: NatsOptions
  /** of the server where blocks go: they wait until it is open */
  readonly gates?: GateMemories
}

/** Where blocks go, and where those that nobody takes. */
export function openBlockSink(
  settings: BlockSinkSettings,
  clock: Clock,
  random: Random,
  log: Log,
): { sink: Sink; letters: GuardedLetters; link?: NatsLink } {
  if (settings.blocks.to === 'clickhouse') {
    const { clickhouse } = settings.blocks
    const directory = join(settings.spoolDirectory, 'poison')
    const files = new DirectoryLetters(directory, () => clock.nowMs())
    return {
      sink: new ClickHouseSink(clickhouse, () => clock.nowNs(), log, settings.gates),
      letters: new GuardedLetters(files, `the directory of dead letters ${directory}`, clickhouse.breaker, log),
    }
  }
  if (settings.nats === undefined) throw new Error('delivery through JetStream needs a NATS server')
  const link = new NatsLink(settings.nats, 'marketprism blocks', random, log)
  link.start(settings.gates)
  const letters = new GuardedLetters(new StreamLetters(link), 'the stream of dead letters', BREAKER_DEFAULT, log)
  return { sink: new NatsSink(link, log), letters, link }
}

/** How it is with the servers, as numbers for other threads. */
export function breakerCounts({ breaker }: ClickHouseSink, letters: GuardedLetters) {
  return {
    breaker: BREAKER_STATES.indexOf(breaker.state),
    breakerOpened: breaker.opened,
    letterBreaker: BREAKER_STATES.indexOf(letters.breaker.state),
    letterBreakerOpened: letters.breaker.opened,
  }
}
