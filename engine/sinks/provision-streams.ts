import type { ConsumerConfig, ConsumerInfo, JetStreamManager, NatsError, StreamConfig } from 'nats'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import {
  BLOCK_STREAM,
  type ConsumerShape,
  isStoreConsumer,
  type StreamOptions,
  type StreamShape,
  streamShapes,
} from '../record/streams.ts'
import type { ProvisionReport } from './provision.ts'

/**
 * Brings the streams of JetStream and the store's consumer to the schema: creates what is missing, raises limits and adds
 * subjects, leaves larger limits of an operator alone, refuses what a stream cannot become.
 */

/** A limit: what counts as none on the server. */
const LIMITS = { max_age: 0, max_bytes: -1, max_msg_size: -1 } as const
const FIXED = ['storage', 'retention'] as const
const STORAGE_FULL = [10047, 10046, 10023] // error codes of JetStream: no room for a stream of this size

/** @throws Fault STREAM_DRIFT for what cannot be changed, STREAM_REFUSED when the server does not take it. */
export async function provisionStreams(
  manager: JetStreamManager,
  options: StreamOptions,
  ...consumers: readonly ConsumerShape[]
): Promise<ProvisionReport> {
  const report: ProvisionReport = { created: [], changed: [], notes: [] }
  for (const shape of streamShapes(options)) await provisionStream(manager, shape, report)
  await provisionConsumers(manager, consumers, report)
  return report
}

async function provisionStream(manager: JetStreamManager, wanted: StreamShape, report: ProvisionReport): Promise<void> {
  const found = await orNull(() => manager.streams.info(wanted.name))
  if (found === null) {
    await asked(wanted.name, () => manager.streams.add(fieldsOf(wanted)))
    report.created.push(`stream ${wanted.name} (${wanted.subjects.join(', ')})`)
    return
  }
  const change = streamChange(wanted, found.config)
  report.notes.push(...change.notes)
  if (change.lines.length === 0) return
  await asked(wanted.name, () => manager.streams.update(wanted.name, { ...found.config, ...fieldsOf(change.fields) }))
  report.changed.push(...change.lines)
}

interface StreamChange {
  readonly lines: string[]
  readonly notes: string[]
  readonly fields: Partial<StreamShape>
}

/** Compares a stream with its shape. @throws Fault STREAM_DRIFT */
export function streamChange(wanted: StreamShape, found: StreamConfig): StreamChange {
  const label = `stream ${wanted.name}`
  const lines: string[] = []
  const notes: string[] = []
  const fields: Record<string, unknown> = {}
  const change = (name: keyof StreamShape, value: unknown) => {
    lines.push(`${label} has ${name} ${String(found[name])}, wanted is ${String(value)}`)
    fields[name] = value
  }
  const fixed = FIXED.filter((name) => found[name] !== wanted[name])
  if (fixed.length > 0) {
    const what = fixed.map((name) => `${name} ${found[name]}, the schema wants ${wanted[name]}`).join('; ')
    throw new Fault(
      'STREAM_DRIFT',
      `${label} has ${what}: this cannot be changed; when the store has emptied it, delete the stream (nats stream rm ${wanted.name}) and start again`,
      EXIT_CONFIG,
    )
  }
  const missing = wanted.subjects.filter((subject) => !found.subjects.includes(subject))
  const foreign = found.subjects.filter((subject) => !wanted.subjects.some((wide) => covers(wide, subject)))
  if (missing.length > 0) {
    const kept = found.subjects.filter((subject) => !missing.some((wide) => covers(wide, subject))) // subjects of a stream must not overlap
    change('subjects', [...kept, ...missing])
  }
  if (foreign.length > 0)
    notes.push(`${label} also takes ${foreign.join(', ')}, which the schema does not know; left as it is`)
  for (const [name, none] of Object.entries(LIMITS) as [keyof typeof LIMITS, number][]) {
    const order = (value: number) => (value === none ? Number.POSITIVE_INFINITY : value)
    if (order(found[name]) < order(wanted[name])) change(name, wanted[name])
    else if (found[name] !== wanted[name])
      notes.push(
        `${label} has ${name} ${found[name]}, more than the configured ${wanted[name]}; left as it is (nats stream edit ${wanted.name})`,
      )
  }
  if (found.duplicate_window < wanted.duplicate_window) change('duplicate_window', wanted.duplicate_window)
  if (found.discard !== wanted.discard) change('discard', wanted.discard)
  if (found.num_replicas !== wanted.num_replicas) change('num_replicas', wanted.num_replicas)
  return { lines, notes, fields: fields as Partial<StreamShape> }
}

/** `a.>` covers `a.b`, `a.b.c` and `a.>`; other wildcards are not ours. */
function covers(wide: string, subject: string): boolean {
  return wide === subject || (wide.endsWith('.>') && subject.startsWith(wide.slice(0, -1)))
}

/**
 * When the way of sharding has changed, the new consumers begin where the slowest of the old ones was, and those go. What
 * the others had done already is found by its marks.
 */
async function provisionConsumers(
  manager: JetStreamManager,
  wanted: readonly ConsumerShape[],
  report: ProvisionReport,
): Promise<void> {
  const names = wanted.map(({ durable_name }) => durable_name)
  const old: ConsumerInfo[] = []
  for await (const info of manager.consumers.list(BLOCK_STREAM))
    if (isStoreConsumer(info.name) && !names.includes(info.name)) old.push(info)
  const floor = Math.min(...old.map(({ ack_floor }) => ack_floor.stream_seq))
  for (const shape of wanted) await provisionConsumer(manager, shape, old.length === 0 ? 0 : floor + 1, report)
  for (const { name } of old) {
    await manager.consumers.delete(BLOCK_STREAM, name)
    report.changed.push(`consumer ${name} of ${BLOCK_STREAM} is of another way of sharding (store.shards): removed`)
  }
}

/** @param startSeq where a new one begins; 0: at the beginning */
async function provisionConsumer(
  manager: JetStreamManager,
  wanted: ConsumerShape,
  startSeq: number,
  report: ProvisionReport,
): Promise<void> {
  const name = wanted.durable_name
  const label = `consumer ${name} of ${BLOCK_STREAM}`
  const found = await orNull(() => manager.consumers.info(BLOCK_STREAM, name))
  if (found === null) {
    const start = startSeq === 0 ? {} : { deliver_policy: 'by_start_sequence', opt_start_seq: startSeq }
    await asked(BLOCK_STREAM, () =>
      manager.consumers.add(BLOCK_STREAM, { ...wanted, ...start } as Partial<ConsumerConfig>),
    )
    report.created.push(label)
    return
  }
  const { config } = found
  const { lines, fields } = consumerChange(wanted, config)
  if (lines.length === 0) return
  await asked(BLOCK_STREAM, () => manager.consumers.update(BLOCK_STREAM, name, { ...config, ...fields }))
  report.changed.push(...lines)
}

interface ConsumerChange {
  readonly lines: readonly string[]
  readonly fields: Partial<ConsumerConfig>
}

/** Compares a consumer with its shape. @throws Fault STREAM_DRIFT */
export function consumerChange(wanted: ConsumerShape, found: ConsumerConfig): ConsumerChange {
  const name = wanted.durable_name
  const label = `consumer ${name} of ${BLOCK_STREAM}`
  if (found.ack_policy !== wanted.ack_policy || found.deliver_subject !== undefined) {
    throw new Fault(
      'STREAM_DRIFT',
      `${label} has ack_policy ${found.ack_policy}${found.deliver_subject === undefined ? '' : ' and pushes'}, the store pulls and acknowledges each block: delete the consumer (nats consumer rm ${BLOCK_STREAM} ${name}) and start again`,
      EXIT_CONFIG,
    )
  }
  const names = ['ack_wait', 'max_ack_pending', 'max_deliver'] as const
  const stale = names.filter((field) => found[field] !== wanted[field])
  return {
    lines: stale.map((field) => `${label} has ${field} ${found[field]}, wanted is ${wanted[field]}`),
    fields: Object.fromEntries(stale.map((field) => [field, wanted[field]])),
  }
}

/** The shape's fields as the client's type has them: its enums are these very words. */
function fieldsOf(shape: Partial<StreamShape>): Partial<StreamConfig> {
  return { ...shape } as unknown as Partial<StreamConfig>
}

/** Whether JetStream says that it has no such stream or consumer. */
export function isMissing(error: unknown): boolean {
  return (error as NatsError).api_error?.code === 404
}

async function orNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask()
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

async function asked<T>(stream: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    const { api_error: api, message } = error as NatsError
    const remedy = STORAGE_FULL.includes(api?.err_code ?? 0)
      ? 'give the server more room for streams (max_file_store), or configure a smaller stream'
      : "check the server's JetStream and the rights of its user"
    throw new Fault('STREAM_REFUSED', `NATS refused the stream ${stream} (${api?.description ?? message}): ${remedy}`)
  }
}
