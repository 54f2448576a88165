/** `marketprism sql`: a question to the store, embedded or configured, answered as a table (or in any format of ClickHouse). */
import { ClickHouseError } from '@clickhouse/client'
import type { Run } from '../base/run.ts'
import { Fault } from '../base/fault.ts'
import { reachClickHouse } from './reach.ts'

export interface SqlOptions {
  /** statements, one answer each */
  readonly queries: readonly string[]
  readonly format: string
}

export async function runSql({ queries, format }: SqlOptions, { config, log }: Run): Promise<void> {
  const { client, options, stop } = await reachClickHouse({ config, log })
  try {
    for (const query of queries) {
      const answer = await client.exec({ query: `${query.replace(/[\s;]+$/, '')} FORMAT ${format}` })
      for await (const piece of answer.stream) process.stdout.write(piece as Buffer)
    }
  } catch (error) {
    throw new Fault('SQL', answerLine(error, options.url), undefined, { cause: error })
  } finally {
    await stop()
  }
}

function answerLine(error: unknown, url: string): string {
  const { message, code } = error as Error & { code?: string }
  if (error instanceof ClickHouseError) return `ClickHouse refuses: ${message.split('\n', 1)[0]?.trimEnd()}`
  return `ClickHouse at ${url} cannot be reached (${code ?? message}): start it, or correct clickhouse.url`
}
