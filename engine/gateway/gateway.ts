/**
 * The gateway: the only entry that outsiders use. It runs in a thread of its own (workers/serve-worker.ts), so that a
 * heavy question never delays a socket.
 *
 *   LiveSource ─► live hub ─► WebSocket clients, books, tape
 *   ClickHouse ─► history  ─► REST
 *   EngineLink ─► system   ─► REST
 */
import type { AddressInfo } from 'node:net'
import type { GatewayContext, Surroundings } from './context.ts'
import { GatewayCounts } from './counts.ts'
import { createApp } from './http.ts'
import type { LiveSource } from './live-source.ts'
import { Upgrades } from './upgrades.ts'

export interface Gateway {
  readonly port: number
  readonly url: string
  readonly counts: GatewayCounts
  close(): Promise<void>
}

export async function startGateway(surroundings: Surroundings, live: LiveSource | undefined): Promise<Gateway> {
  const { host, port } = surroundings.settings
  const context: GatewayContext = {
    ...surroundings,
    counts: new GatewayCounts(),
    upgrades: new Upgrades(),
    store: undefined,
  }
  const app = await createApp(context)
  await app.listen({ host, port })
  const { port: bound } = app.server.address() as AddressInfo
  return {
    port: bound,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    counts: context.counts,
    close: async () => {
      await live?.close()
      await app.close()
    },
  }
}
