/**
 * The servers of a gateway that runs alone: those that are configured, else those that a collector beside it runs on the same
 * data directory. It provisions nothing and starts no NATS, for a collector would find them taken; only what is stored in a
 * directory that nobody uses is opened, for there is no other way to read it.
 */
import { existsSync } from 'node:fs'
import type { Config } from '../base/config.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { type EmbeddedClickHouse, runningClickHouse, startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { runningNats } from '../embedded/nats.ts'
import { checkClickHouse, type ClickHouseOptions, createClickHouseClient } from '../sinks/clickhouse.ts'
import type { NatsOptions } from '../sinks/nats.ts'
import { missingTables } from '../sinks/provision.ts'
import type { Servers } from './servers.ts'
import { clickHouseOptions, dataDirectory, natsOptions, storageOptions } from './settings.ts'

const SERVER_STOP_MS = 2_000

interface Found<Options> {
  readonly options: Options | undefined
  readonly line: string
  readonly server?: EmbeddedClickHouse
}

/** @throws Fault NOTHING_TO_SERVE (exit 78) */
export async function findServers(config: Config, log: Log): Promise<Servers> {
  const nats = await findNats(config)
  const clickhouse = await findClickHouse(config, log)
  if (nats.options === undefined && clickhouse.options === undefined)
    throw new Fault(
      'NOTHING_TO_SERVE',
      `there is nothing to serve: nats.url and clickhouse.url are empty, and no collector runs or ran in ${dataDirectory(config, '')}; set them, or name its directory with --data`,
      EXIT_CONFIG,
    )
  return {
    delivery: nats.options === undefined ? 'direct' : 'jetstream',
    deliveryReason: '',
    nats: nats.options,
    payloadBytesMax: Number.POSITIVE_INFINITY,
    natsServer: undefined,
    gates: { nats: [], clickhouse: [] },
    absences: () => [],
    clickhouse: clickhouse.options,
    lines: [nats.line, clickhouse.line],
    stop: async () => clickhouse.server?.stop(),
  }
}

async function findNats(config: Config): Promise<Found<NatsOptions>> {
  const { url } = config.nats
  if (url !== '') return { options: natsOptions(config, url), line: `NATS: ${url}` }
  const directory = dataDirectory(config, 'nats')
  const running = await runningNats(directory)
  if (running === undefined)
    return { options: undefined, line: `no live data: nats.url is empty, and no nats-server runs on ${directory}` }
  return { options: natsOptions(config, running.url), line: `NATS: ${running.url} (of the collector on ${directory})` }
}

async function findClickHouse(config: Config, log: Log): Promise<Found<ClickHouseOptions>> {
  const { url, database } = config.clickhouse
  if (url !== '') {
    const options = clickHouseOptions(config, url)
    await tellAbsence(config, options, log)
    return { options, line: `ClickHouse: ${url}, database ${database}` }
  }
  const directory = dataDirectory(config, 'clickhouse')
  const running = await runningClickHouse(directory)
  if (running !== undefined)
    return {
      options: clickHouseOptions(config, running.url),
      line: `ClickHouse: ${running.url} (of the collector on ${directory}), database ${database}`,
    }
  if (!config.clickhouse.embedded || !existsSync(directory))
    return { options: undefined, line: `no history: clickhouse.url is empty, and nothing is stored in ${directory}` }
  const server = await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log, drainMsMax: SERVER_STOP_MS })
  return {
    options: clickHouseOptions(config, server.url),
    line: `ClickHouse: ${server.url} (engine ${server.version} in a child process, for no collector runs on ${directory}), database ${database}`,
    server,
  }
}

/**
 * A gateway starts without its ClickHouse, too: it may come later, and what is live needs none. Nor has a store to have run
 * before: nothing is wrong then.
 */
async function tellAbsence(config: Config, options: ClickHouseOptions, log: Log): Promise<void> {
  const client = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there yet
  try {
    await checkClickHouse(client, options)
    const missing = await missingTables(client, storageOptions(config))
    if (missing === 0) return
    const site = `ClickHouse at ${options.url}, database ${options.database}`
    log.info(
      `${site}: ${missing} tables are not there yet; the role store makes them when it starts, until then questions about the past are refused`,
    )
  } catch (error) {
    log.warn(`${(error as Error).message}; questions about the past are refused until it answers`)
  } finally {
    await client.close()
  }
}
