/** `marketprism sql`: a question to the store, embedded or configured, answered as a table (or in any format of ClickHouse). */
import type { Run } from '../base/run.ts'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { clickHouseOptions, dataDirectory } from '../roles/settings.ts'
import { createClickHouseClient } from '../sinks/clickhouse.ts'
import { existsSync } from 'node:fs'

export interface SqlOptions {
  /** statements, one answer each */
  readonly queries: readonly string[]
  readonly format: string
}

export async function runSql(options: SqlOptions, run: Run): Promise<void> {
  const { config, log } = run
  if (options.queries.length === 0)
    throw new Fault('NO_QUERY', 'give a query, e.g. marketprism sql "SELECT count() FROM trades"', EXIT_USAGE)
  const directory = dataDirectory(config, 'clickhouse')
  const isEmbedded = config.clickhouse.url === ''
  if (isEmbedded && !existsSync(directory)) {
    throw new Fault(
      'NO_DATA',
      `${directory} does not exist: name the data directory with --data, or a server with MARKETPRISM_CLICKHOUSE_URL`,
    )
  }
  const server = isEmbedded ? await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log }) : undefined
  const client = createClickHouseClient(clickHouseOptions(config, server?.url ?? config.clickhouse.url))
  try {
    for (const query of options.queries) {
      const answer = await client.exec({ query: `${query.replace(/[\s;]+$/, '')} FORMAT ${options.format}` })
      for await (const piece of answer.stream) process.stdout.write(piece as Buffer)
    }
  } catch (error) {
    throw new Fault('SQL', `ClickHouse refuses: ${(error as Error).message.split('\n', 1)[0]}`, undefined, {
      cause: error,
    })
  } finally {
    await client.close()
    await server?.stop()
  }
}
