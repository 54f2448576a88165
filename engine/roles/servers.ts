/**
 * The servers behind the engine: those that are configured, else embedded ones. Decides the way of delivery, provisions
 * tables and streams, proves that what exactly-once rests on is there.
 */
import type { Config } from '../base/config.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { type EmbeddedNats, startEmbeddedNats } from '../embedded/nats.ts'
import { checkClickHouse, type ClickHouseOptions, createClickHouseClient } from '../sinks/clickhouse.ts'
import { connectNats, type NatsOptions } from '../sinks/nats.ts'
import { type ProvisionReport, provesDeduplication, provisionTables } from '../sinks/provision.ts'
import { provisionStreams } from '../sinks/provision-streams.ts'
import {
  clickHouseOptions,
  consumerShapes,
  dataDirectory,
  natsOptions,
  storageOptions,
  streamOptions,
} from './settings.ts'

/** The anchor of a book, 5,000 levels a side of 16 bytes each, is one row of 160 kB; a block has one row at least. */
export const PAYLOAD_BYTES_MIN = 256 * 1024

/** Our last rows are in, or wait in the spool, when a server is asked to end: nothing is lost when it is then ended by force. */
const SERVER_STOP_MS = 2_000

export type DeliveryWay = 'jetstream' | 'direct'

export interface Servers {
  readonly delivery: DeliveryWay
  /** why it is not JetStream, where that is not by configuration */
  readonly deliveryReason: string
  readonly nats: NatsOptions | undefined
  /** what a message may have; blocks are sealed so that they fit */
  readonly payloadBytesMax: number
  readonly clickhouse: ClickHouseOptions | undefined
  /** where it is ours */
  readonly natsServer: EmbeddedNats | undefined
  /** one line a server, for people */
  readonly lines: readonly string[]
  stop(): Promise<void>
}

/** @param roles of this process: `store` needs both servers, `collect` alone needs ClickHouse only to deliver directly. */
export async function startServers(config: Config, roles: readonly string[], log: Log): Promise<Servers> {
  const started: { stop(): Promise<void> }[] = []
  const stop = async (): Promise<void> => {
    for (const server of started.reverse()) await server.stop()
  }
  const lines: string[] = []
  try {
    const broker = await chooseNats(config, roles, log)
    if (broker.server !== undefined) started.push(broker.server)
    lines.push(broker.line)
    const delivery: DeliveryWay = broker.nats === undefined ? 'direct' : 'jetstream'
    const isStoring = roles.includes('store') || roles.includes('serve') || delivery === 'direct'
    const engine = isStoring ? await chooseClickHouse(config, log) : undefined
    if (engine?.server !== undefined) started.push(engine.server)
    if (engine !== undefined) lines.push(engine.line)
    const payloadBytesMax =
      broker.nats === undefined ? Number.POSITIVE_INFINITY : await provisionNats(config, broker.nats, log)
    if (engine !== undefined) tell(log, await provisionClickHouse(config, engine.clickhouse, log))
    const { reason: deliveryReason, nats } = broker
    const { server: natsServer } = broker
    return { delivery, deliveryReason, nats, payloadBytesMax, natsServer, clickhouse: engine?.clickhouse, lines, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface ChosenNats {
  readonly nats: NatsOptions | undefined
  readonly server?: EmbeddedNats
  readonly reason: string
  readonly line: string
}

async function chooseNats(config: Config, roles: readonly string[], log: Log): Promise<ChosenNats> {
  const none = (reason: string, line = `delivery: direct, spool → ClickHouse (${reason})`): ChosenNats => {
    if (roles.includes('store') && !roles.includes('collect'))
      throw new Fault('NATS', `the store reads from NATS, and there is none (${reason}): set nats.url`, EXIT_CONFIG)
    return { nats: undefined, reason, line }
  }
  if (config.delivery === 'direct') return none('delivery = direct')
  if (config.nats.url !== '') {
    return { nats: natsOptions(config, config.nats.url), reason: '', line: `NATS: ${config.nats.url}` }
  }
  if (!config.nats.embedded) return none('nats.url is empty and nats.embedded is false')
  const server = await startEmbeddedNats({
    storeDirectory: dataDirectory(config, 'nats'),
    cacheDirectory: dataDirectory(config, '', config.cache.directory),
    port: 0,
    mayFetch: true,
    stopMsMax: SERVER_STOP_MS,
    log,
  })
  if ('reason' in server) {
    if (config.delivery === 'jetstream')
      throw new Fault('NATS', `delivery = jetstream, and there is no NATS server: ${server.reason}`, EXIT_CONFIG)
    return none(server.reason)
  }
  const line = `NATS: ${server.url} (nats-server ${server.version} of our own, ${dataDirectory(config, 'nats')})`
  return { nats: natsOptions(config, server.url), server, reason: '', line }
}

interface ChosenClickHouse {
  readonly clickhouse: ClickHouseOptions
  readonly server?: EmbeddedClickHouse
  readonly line: string
}

async function chooseClickHouse(config: Config, log: Log): Promise<ChosenClickHouse> {
  if (config.clickhouse.url !== '') {
    const { url } = config.clickhouse
    return {
      clickhouse: clickHouseOptions(config, url),
      line: `ClickHouse: ${url}, database ${config.clickhouse.database}`,
    }
  }
  if (!config.clickhouse.embedded) {
    throw new Fault(
      'NO_CLICKHOUSE',
      'clickhouse.url is empty and clickhouse.embedded is false: there is nowhere to store rows; set one of them',
      EXIT_CONFIG,
    )
  }
  const directory = dataDirectory(config, 'clickhouse')
  const server = await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log, drainMsMax: SERVER_STOP_MS })
  const line = `ClickHouse: ${server.url} (engine ${server.version} in a child process, ${directory}), database ${config.clickhouse.database}`
  return { clickhouse: clickHouseOptions(config, server.url), server, line }
}

/**
 * @returns how long a message may be.
 * @throws Fault NATS_PAYLOAD when the largest row does not fit: rows cannot be split, and a block would wait for ever.
 */
async function provisionNats(config: Config, nats: NatsOptions, log: Log): Promise<number> {
  const connection = await connectNats(nats, 'marketprism provision')
  try {
    const payloadBytesMax = connection.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (payloadBytesMax < PAYLOAD_BYTES_MIN)
      throw new Fault(
        'NATS_PAYLOAD',
        `NATS at ${nats.url} takes messages of ${payloadBytesMax} bytes, the row of a whole book may need ${PAYLOAD_BYTES_MIN}: raise max_payload in nats.conf`,
        EXIT_CONFIG,
      )
    const manager = await connection.jetstreamManager()
    tell(log, await provisionStreams(manager, streamOptions(config), ...consumerShapes(config)))
    return payloadBytesMax
  } finally {
    await connection.close()
  }
}

async function provisionClickHouse(config: Config, options: ClickHouseOptions, log: Log): Promise<ProvisionReport> {
  const client = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there yet
  try {
    await checkClickHouse(client, options)
    const report = await provisionTables(client, { storage: storageOptions(config), mayChange: true })
    if (!(await provesDeduplication(client, options.database)))
      log.error(
        { url: options.url },
        'this ClickHouse does not deduplicate inserts by token: a block sent twice is stored twice',
      )
    return report
  } finally {
    await client.close()
  }
}

function tell(log: Log, { created, changed, notes }: ProvisionReport): void {
  for (const line of created) log.info({ created: line }, 'provisioned')
  for (const line of changed) log.warn({ changed: line }, 'provisioned')
  for (const line of notes) log.info({ note: line }, 'provisioned')
}
