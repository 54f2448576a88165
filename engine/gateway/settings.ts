import type { ClickHouseOptions } from '../sinks/clickhouse.ts'
import type { NatsOptions } from '../sinks/nats.ts'

/** All that the gateway is told at its start; it crosses into a thread, so plain data. Keys: engine/base/keys.ts, `serve.…`. */
export interface GatewaySettings {
  readonly host: string
  /** 0 = any free one */
  readonly port: number
  readonly version: string
  /** where rows are asked for; undefined: this deployment stores nothing that could be asked */
  readonly clickhouse: ClickHouseOptions | undefined
  /** where live messages come from when no collector runs in this process */
  readonly nats: NatsOptions | undefined
}
