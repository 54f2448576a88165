/**
 * The gateway: the only entry that outsiders use. It runs in a thread of its own (workers/serve-worker.ts), so that a
 * heavy question never delays a socket.
 *
 *   LiveSource ─► live hub ─► WebSocket clients, books, tape
 *   ClickHouse ─► history  ─► REST
 *   EngineLink ─► system   ─► REST
 */
import type { AddressInfo } from 'node:net'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { GatewayContext, Surroundings } from './context.ts'
import { GatewayCounts } from './counts.ts'
import { createApp } from './http.ts'
import { Jobs } from './jobs.ts'
import { LiveHub } from './live/live-hub.ts'
import { addStreams } from './live/stream.ts'
import type { LiveSource } from './live-source.ts'
import { Door } from './security/door.ts'
import { assertServable } from './security/exposure.ts'
import { KeyRing } from './security/keys.ts'
import { Rates } from './security/rates.ts'
import { SharedAnswers } from './shared-answers.ts'
import { Store } from './store.ts'
import { Upgrades } from './upgrades.ts'

export interface Gateway {
  readonly port: number
  readonly url: string
  readonly counts: GatewayCounts
  close(): Promise<void>
}

export async function startGateway(surroundings: Surroundings, live: LiveSource | undefined): Promise<Gateway> {
  const { settings, clock, log } = surroundings
  const { host, port, clickhouse, security } = settings
  const counts = new GatewayCounts()
  const keys = new KeyRing(security.keys, () => clock.nowMs(), log)
  assertServable({ ...security, host, hasKeys: keys.isUsed, hasTls: security.tls !== undefined })
  const door = new Door({ ...security, host }, keys, new Rates(() => clock.monotonicMs()), counts)
  const context: GatewayContext = {
    ...surroundings,
    counts,
    upgrades: new Upgrades(),
    store: clickhouse === undefined ? undefined : new Store(clickhouse, log, counts),
    live: new LiveHub({ ...surroundings, counts }, live, settings.live),
    answers: new SharedAnswers(clock),
    jobs: new Jobs(clock, log),
  }
  const app = await createApp(context, door)
  await app.ready()
  const closeStreams = addStreams(context, settings.live)
  context.live.start()
  await app.listen({ host, port }).catch((error) => Promise.reject(listenFault(error, host, port)))
  const { port: bound } = app.server.address() as AddressInfo
  const scheme = security.tls === undefined ? 'http' : 'https'
  return {
    port: bound,
    url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    counts,
    close: async () => {
      await live?.close()
      context.live.stop()
      closeStreams()
      await context.jobs.close()
      await app.close()
      await context.store?.close()
      keys.close()
    },
  }
}

function listenFault({ code = '', message }: NodeJS.ErrnoException, host: string, port: number): Fault {
  const remedy = 'set serve.port to another port (0 = any free one)'
  const line =
    code === 'EADDRINUSE'
      ? `port ${port} on ${host} is in use by another program: ${remedy}`
      : code === 'EACCES'
        ? `port ${port} on ${host} is not ours to open: ${remedy}`
        : `cannot listen on ${host} port ${port} (${code || message}): check serve.host`
  return new Fault('SERVE_LISTEN', line, EXIT_CONFIG)
}
