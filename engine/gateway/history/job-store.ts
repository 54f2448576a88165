import type { ClickHouseClient } from '@clickhouse/client'
import { type ClickHouseOptions, createClickHouseClient } from '../../sinks/clickhouse.ts'

/** Written with one thread, so that a core is left for those who ask. */
const SETTINGS = { max_threads: 1, max_execution_time: 300, max_memory_usage: '1000000000', async_insert: 0 } as const

/** The store as a job has it: it may write, and takes its time. */
export class JobStore {
  readonly #client: ClickHouseClient
  /** ends what is asked for */
  signal: AbortSignal | undefined

  constructor(options: ClickHouseOptions) {
    this.#client = createClickHouseClient({ ...options, requestTimeoutMs: 600_000 })
  }

  async rows<Row>(query: string, params: Readonly<Record<string, unknown>> = {}): Promise<Row[]> {
    const answer = await this.#client.query({
      query,
      query_params: params,
      format: 'JSONEachRow',
      clickhouse_settings: { ...SETTINGS, output_format_json_quote_64bit_integers: 0 },
      ...this.#ended(),
    })
    return await answer.json<Row>()
  }

  async write(query: string, params: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#client.command({ query, query_params: params, clickhouse_settings: SETTINGS, ...this.#ended() })
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  #ended(): { readonly abort_signal?: AbortSignal } {
    return this.signal === undefined ? {} : { abort_signal: this.signal }
  }
}
