/** What a process says of itself to a gateway, here or in another process. */
import { type Effective, KEY_PATHS, keyAt, shown } from '../base/config.ts'
import { Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import type {
  ChangeAnswer,
  CollectedBy,
  CollectorPlan,
  EngineStatus,
  InstrumentChange,
  InstrumentName,
  ShownKey,
} from '../gateway/engine-link.ts'
import type { Collector } from './collector.ts'
import type { StatusReading } from './status.ts'

export class EngineAnswers {
  readonly #run: Run
  readonly #collector: Collector | undefined
  readonly #status: StatusReading

  constructor(run: Run, collector: Collector | undefined, status: StatusReading) {
    this.#run = run
    this.#collector = collector
    this.#status = status
  }

  status(): EngineStatus {
    return this.#status.read()
  }

  config(): Readonly<Record<string, ShownKey>> {
    return configAnswer(this.#run.effective)
  }

  collected(): CollectedBy[] {
    return this.#collector === undefined ? [] : [collectedAnswer(this.#run.config.producer, this.#collector)]
  }

  plan(): CollectorPlan[] {
    return this.#collector === undefined ? [] : [planAnswer(this.#run.config.producer, this.#collector)]
  }

  /** @param body as it came from somewhere else. @throws Fault */
  async change(body: unknown): Promise<ChangeAnswer> {
    if (this.#collector === undefined)
      throw new Fault('NO_COLLECTOR', 'no collector runs in this process: ask the one that shall collect it')
    return this.#collector.byHand.change(changeOf(body))
  }
}

function changeOf(body: unknown): InstrumentChange {
  const { add, remove } = (body ?? {}) as Readonly<Record<string, unknown>>
  if (isNames(add) && isNames(remove)) return { add, remove }
  throw new Fault('CHANGE', 'a change names instruments: {"add": [{exchange, market, symbol}], "remove": []}')
}

function isNames(value: unknown): value is InstrumentName[] {
  return Array.isArray(value) && value.every(isName)
}

function isName(value: unknown): boolean {
  const { exchange, market, symbol } = (value ?? {}) as Readonly<Record<string, unknown>>
  return [exchange, market, symbol].every((word) => typeof word === 'string')
}

/** Secrets are masked, whatever layer they came from. */
function configAnswer({ values, origins }: Effective): Readonly<Record<string, ShownKey>> {
  return Object.fromEntries(
    KEY_PATHS.map((path) => {
      const value = values.get(path)
      const safe = keyAt(path).secret || typeof value === 'string' ? shown(path, value) : value
      return [path, { value: safe, source: origins.get(path)?.place ?? '' }]
    }),
  )
}

function collectedAnswer(producer: string, { placement }: Collector): CollectedBy {
  const instruments = placement
    .collected()
    .map(({ exchange, market, symbol }): InstrumentName => ({ exchange, market, symbol }))
  return { producer, instruments }
}

/** Connections as they are now; the estimate is that of the start. */
function planAnswer(producer: string, { placement, plan }: Collector): CollectorPlan {
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
