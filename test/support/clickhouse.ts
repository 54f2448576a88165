import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClickHouseClient } from '@clickhouse/client'
import { createLog } from '../../engine/base/log.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../engine/embedded/clickhouse.ts'
import { createDatabaseStatement, createTableStatement, storedTables } from '../../engine/record/tables.ts'
import { CLICKHOUSE_DEFAULT, type ClickHouseOptions, createClickHouseClient } from '../../engine/sinks/clickhouse.ts'
import { STORAGE } from './settings.ts'

/** A real ClickHouse engine of our own on a free port, with the product's tables. */
export interface TestClickHouse {
  readonly server: EmbeddedClickHouse
  readonly options: ClickHouseOptions
  readonly client: ClickHouseClient
  query(sql: string): Promise<Record<string, unknown>[]>
  stop(): Promise<void>
}

export async function startTestClickHouse(dedupeWindowInserts = STORAGE.dedupeWindowInserts): Promise<TestClickHouse> {
  const directory = await mkdtemp(join(tmpdir(), 'marketprism-clickhouse-'))
  const server = await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log: createLog('error', 'test') })
  const merge = { ...CLICKHOUSE_DEFAULT.merge, delayMs: 5 }
  const options = { ...CLICKHOUSE_DEFAULT, url: server.url, requestTimeoutMs: 10_000, merge }
  const first = createClickHouseClient({ ...options, database: 'default' })
  const storage = { ...STORAGE, database: options.database, dedupeWindowInserts }
  await first.command({ query: createDatabaseStatement(options.database) })
  for (const table of storedTables(storage))
    await first.command({ query: createTableStatement(table, options.database) })
  await first.close()
  const client = createClickHouseClient(options)
  return {
    server,
    options,
    client,
    async query(sql) {
      return (
        await client.query({
          query: sql,
          format: 'JSONEachRow',
          clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
        })
      ).json()
    },
    async stop() {
      await client.close()
      await server.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
