import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NatsConnection } from 'nats'
import { createLog } from '../../engine/base/log.ts'
import { type EmbeddedNats, startEmbeddedNats } from '../../engine/embedded/nats.ts'
import { findNatsServer } from '../../engine/embedded/nats-install.ts'
import { storeConsumer } from '../../engine/record/streams.ts'
import { connectNats, NATS_DEFAULT, type NatsOptions } from '../../engine/sinks/nats.ts'
import { provisionStreams } from '../../engine/sinks/provision-streams.ts'
import { STREAMS } from './settings.ts'

/** A real nats-server of our own on a free port, with the product's streams. */
export interface TestNats {
  readonly server: EmbeddedNats
  readonly options: NatsOptions
  readonly connection: NatsConnection
  stop(): Promise<void>
}

/** @returns one sentence why there is none; where CI is set that is an error instead. */
export async function startTestNats(payloadBytesMax?: number): Promise<TestNats | string> {
  const directory = await mkdtemp(join(tmpdir(), 'marketprism-nats-'))
  const server = await startEmbeddedNats({
    storeDirectory: directory,
    cacheDirectory: process.env.MARKETPRISM_CACHE ?? '.cache',
    port: 0,
    mayFetch: true,
    log: createLog('silent', 'test'),
    ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
  })
  if ('reason' in server) {
    await rm(directory, { recursive: true, force: true })
    if (process.env.CI !== undefined) throw new Error(`no nats-server: ${server.reason}`)
    return `no nats-server here: ${server.reason}`
  }
  const options: NatsOptions = { ...NATS_DEFAULT, url: server.url, ackTimeoutMs: 1000, retryMsMin: 20, retryMsMax: 200 }
  const connection = await connectNats(options, 'test')
  const streams = { ...STREAMS, bytesMax: 64 * 1024 * 1024, messageBytesMax: 1024 * 1024 }
  await provisionStreams(await connection.jetstreamManager(), streams, storeConsumer(32, 3))
  return {
    server,
    options,
    connection,
    async stop() {
      await connection.close()
      await server.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** @returns '' when there is a nats-server, else one sentence why not; where CI is set that is an error instead. */
export async function hasNatsServer(): Promise<string> {
  const found = await findNatsServer({ cacheDirectory: '.cache', mayFetch: true, log: createLog('silent', 'test') })
  if (!('reason' in found)) return ''
  if (process.env.CI !== undefined) throw new Error(`no nats-server: ${found.reason}`)
  return `no nats-server here: ${found.reason}`
}
