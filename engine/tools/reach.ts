/**
 * The servers that a tool asks: those that are configured, else those that an engine runs beside us on the same data
 * directory, else our own on that directory for as long as the tool runs.
 */
import { existsSync } from 'node:fs'
import type { ClickHouseClient } from '@clickhouse/client'
import type { NatsConnection } from 'nats'
import { Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { runningClickHouse, startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { runningNats, startEmbeddedNats } from '../embedded/nats.ts'
import { clickHouseOptions, dataDirectory, natsOptions } from '../roles/settings.ts'
import { checkClickHouse, type ClickHouseOptions, createClickHouseClient } from '../sinks/clickhouse.ts'
import { connectNats, type NatsOptions } from '../sinks/nats.ts'

export interface ReachedClickHouse {
  readonly client: ClickHouseClient
  readonly options: ClickHouseOptions
  /** no engine runs: the server is ours, nobody else writes to it */
  readonly isOwn: boolean
  stop(): Promise<void>
}

/** @throws Fault with one line when there is no store, or it does not answer. */
export async function reachClickHouse({ config, log }: Pick<Run, 'config' | 'log'>): Promise<ReachedClickHouse> {
  const directory = dataDirectory(config, 'clickhouse')
  const isEmbedded = config.clickhouse.url === ''
  if (isEmbedded && !existsSync(directory)) {
    throw new Fault(
      'NO_DATA',
      `${directory} does not exist: name the data directory with --data, or a server with MARKETPRISM_CLICKHOUSE_URL`,
    )
  }
  const running = isEmbedded ? await runningClickHouse(directory) : { url: config.clickhouse.url }
  const own =
    running === undefined ? await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log }) : undefined
  const options = clickHouseOptions(config, running?.url ?? own?.url ?? '')
  const client = createClickHouseClient(options)
  const stop = async (): Promise<void> => {
    await client.close()
    await own?.stop()
  }
  try {
    const first = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there
    await checkClickHouse(first, options).finally(() => first.close())
  } catch (error) {
    await stop()
    throw error
  }
  return { client, options, isOwn: own !== undefined, stop }
}

export interface ReachedNats {
  readonly connection: NatsConnection
  readonly options: NatsOptions
  stop(): Promise<void>
}

/** Undefined where blocks are delivered without NATS. @throws Fault with one line when it does not answer. */
export async function reachNats({ config, log }: Pick<Run, 'config' | 'log'>): Promise<ReachedNats | undefined> {
  if (config.delivery === 'direct') return undefined
  const directory = dataDirectory(config, 'nats')
  if (config.nats.url === '' && (!config.nats.embedded || !existsSync(directory))) return undefined
  const running = config.nats.url === '' ? await runningNats(directory) : { url: config.nats.url }
  const own = running === undefined ? await startOwnNats(directory, { config, log }) : undefined
  const options = natsOptions(config, running?.url ?? own?.url ?? '')
  try {
    const connection = await connectNats(options, 'marketprism tool')
    return {
      connection,
      options,
      async stop() {
        await connection.close()
        await own?.stop()
      },
    }
  } catch (error) {
    await own?.stop()
    throw error
  }
}

async function startOwnNats(storeDirectory: string, { config, log }: Pick<Run, 'config' | 'log'>) {
  const cacheDirectory = dataDirectory(config, '', config.cache.directory)
  const server = await startEmbeddedNats({ storeDirectory, cacheDirectory, port: 0, mayFetch: false, log })
  if ('reason' in server)
    throw new Fault(
      'NATS',
      `${storeDirectory} holds streams, and there is no NATS server to open them: ${server.reason}`,
    )
  return server
}
