/**
 * The servers behind the engine: those that are configured, else embedded ones. Decides the way of delivery, provisions
 * tables and streams, proves that what exactly-once rests on is there.
 */
import type { Config } from '../base/config.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { type EmbeddedNats, startEmbeddedNats } from '../embedded/nats.ts'
import { isAway } from '../sinks/away.ts'
import type { ClickHouseOptions } from '../sinks/clickhouse.ts'
import type { GateMemories } from '../sinks/gate.ts'
import type { NatsOptions } from '../sinks/nats.ts'
import { Arrival } from './arrival.ts'
import { PAYLOAD_BYTES_MIN, provisionClickHouse, provisionNats } from './provisioning.ts'
import { clickHouseOptions, dataDirectory, natsOptions } from './settings.ts'

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
  /** closed as long as a server that was away at the start is not there; none where it was there */
  readonly gates: { readonly nats: GateMemories; readonly clickhouse: GateMemories }
  /** one line a server that is away since the start */
  absences(): readonly string[]
  /** one line a server, for people */
  readonly lines: readonly string[]
  stop(): Promise<void>
}

/** What to do at a start without a server that is configured: tools end with what is wrong, roles go on and wait for it. */
export type OnAbsence = 'end' | 'wait'

/** @param roles of this process: `store` needs both servers, `collect` alone needs ClickHouse only to deliver directly. */
export async function startServers(
  config: Config,
  roles: readonly string[],
  log: Log,
  onAbsence: OnAbsence = 'end',
): Promise<Servers> {
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
    const { nats, server: natsServer, reason: deliveryReason } = broker
    const clickhouse = engine?.clickhouse
    const prepare = async <T>(name: string, isOurs: boolean, once: () => Promise<T>): Promise<T | Arrival> => {
      const found = onAbsence === 'end' || isOurs ? await once() : await once().catch(arrivalOf(name, roles, once, log))
      if (found instanceof Arrival) started.push(found)
      return found
    }
    const payload =
      nats === undefined
        ? Number.POSITIVE_INFINITY
        : await prepare(`NATS at ${nats.url}`, natsServer !== undefined, () => provisionNats(config, nats, log))
    const tables =
      clickhouse === undefined
        ? undefined
        : await prepare(`ClickHouse at ${clickhouse.url}`, engine?.server !== undefined, () =>
            provisionClickHouse(config, clickhouse, log),
          )
    const arrivals = [payload, tables].filter((found) => found instanceof Arrival)
    return {
      delivery,
      deliveryReason,
      nats,
      natsServer,
      clickhouse,
      lines,
      stop,
      // what every server that is taken has room for
      payloadBytesMax: payload instanceof Arrival ? PAYLOAD_BYTES_MIN : payload,
      gates: { nats: gatesOf(payload), clickhouse: gatesOf(tables) },
      absences: () => arrivals.flatMap(({ problem }) => problem ?? []),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** @throws the error that it is given, where that is more than an absence. */
function arrivalOf(name: string, roles: readonly string[], prepare: () => Promise<unknown>, log: Log) {
  const meanwhile = roles.includes('collect') ? 'rows wait in the spool' : 'nothing is stored until then'
  return (error: Error): Arrival => {
    if (!isAway(error)) throw error
    const arrival = new Arrival({ name, meanwhile, prepare }, error, log)
    arrival.start()
    return arrival
  }
}

function gatesOf(found: unknown): GateMemories {
  return found instanceof Arrival ? [found.gate] : []
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
