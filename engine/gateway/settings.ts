import type { ClickHouseOptions } from '../sinks/clickhouse.ts'
import type { NatsOptions } from '../sinks/nats.ts'
import type { KeySources } from './security/keys.ts'
import type { TlsFiles } from './security/listener.ts'

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
  /** dead letters of the collector in this process, where it delivers without NATS */
  readonly letterDirectory: string | undefined
  /** keeps `trade_bars` while it runs */
  readonly candles: boolean
  readonly security: SecuritySettings
  readonly live: LiveSettings
}

export interface LiveSettings {
  /** newest live messages that are kept for clients that come back */
  readonly resumeBytes: number
  /** what may wait for one client */
  readonly queueBytesMax: number
  /** a client that reads nothing for so long has to go */
  readonly stallMsMax: number
  /** patterns of one connection */
  readonly subscriptionsMax: number
  /** of one connection, on average over some seconds */
  readonly messagesPerSecond: number
}

export interface SecuritySettings {
  /** outsiders may reach it though it asks for no key, or speaks without TLS */
  readonly exposed: boolean
  readonly keys: KeySources
  /** who needs no key may change things, too */
  readonly localAdmin: boolean
  readonly tls: TlsFiles | undefined
  /** a proxy before us ends TLS and says in X-Forwarded-For who asks */
  readonly behindTlsProxy: boolean
  /** pages of these origins may ask, besides our own */
  readonly origins: readonly string[]
  /** names under which we may be asked, besides those of this machine */
  readonly hosts: readonly string[]
  /** of an address, and of a key that says nothing else */
  readonly requestsPerSecond: number
  /** requests under way at once */
  readonly inFlightMax: number
  readonly connectionsMax: number
  /** of an address, and of a key */
  readonly connectionsPerClientMax: number
  readonly headersTimeoutMs: number
  /** lines of JSON: who changed what */
  readonly auditFile: string
}
