/**
 * Entry of the child process that is the embedded ClickHouse: HTTP on a loopback port, chDB behind it, one data
 * directory. Started by clickhouse.ts with one argument, the JSON of `ServerSettings`; says over ipc when it is ready or
 * why it cannot be.
 *
 *   data directory
 *     store/ data/ metadata/ …   the engine's own
 *     incoming/                  rows of inserts under way; cleared at every start (a killed process leaves some)
 *     marketprism-server.xml     limits of the engine, written at every start
 *
 * Ending: SIGTERM or the end of the parent (ipc closes) stop new requests; those under way have `drainMsMax`.
 * After that the process kills itself: leaving while a query runs hangs for ever, and SIGKILL loses no acknowledged
 * row (an insert is whole or absent).
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT_FAULT, EXIT_OK, Fault } from '../base/fault.ts'
import { giveWay, STORE_GIVES_WAY } from '../base/priority.ts'
import { Chdb } from './chdb.ts'
import { createHttpInterface } from './http-interface.ts'

export interface ServerSettings {
  readonly dataDirectory: string
  /** 0: any free one. */
  readonly port: number
  readonly memoryBytesMax: number
  readonly markCacheBytes: number
  readonly mergeThreads: number
  readonly drainMsMax: number
  readonly textBytesMax: number
}

/** What the child tells its parent. */
export type ServerMessage =
  | { readonly type: 'ready'; readonly port: number; readonly version: string }
  | { readonly type: 'fault'; readonly code: string; readonly message: string }

const DRAIN_POLL_MS = 10

function tell(message: ServerMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, () => resolve())
  })
}

function serverConfig(settings: ServerSettings): string {
  const values: Record<string, number> = {
    max_server_memory_usage: settings.memoryBytesMax,
    mark_cache_size: settings.markCacheBytes,
    uncompressed_cache_size: 0,
    background_pool_size: settings.mergeThreads,
    background_schedule_pool_size: 8,
  }
  return `<clickhouse>\n${Object.entries(values)
    .map(([name, value]) => `  <${name}>${value}</${name}>\n`)
    .join('')}</clickhouse>\n`
}

function openEngine(settings: ServerSettings): { engine: Chdb; incomingDirectory: string } {
  const { dataDirectory } = settings
  const incomingDirectory = path.join(dataDirectory, 'incoming')
  const configFile = path.join(dataDirectory, 'marketprism-server.xml')
  try {
    mkdirSync(incomingDirectory, { recursive: true, mode: 0o700 })
    writeFileSync(configFile, serverConfig(settings))
  } catch (error) {
    throw new Fault(
      'CLICKHOUSE_DIRECTORY_UNUSABLE',
      `the ClickHouse data directory ${dataDirectory} cannot be written (${(error as Error).message}): check its owner and free space, or choose another data directory`,
    )
  }
  const engine = new Chdb(dataDirectory, configFile)
  for (const name of readdirSync(incomingDirectory)) rmSync(path.join(incomingDirectory, name), { force: true }) // ours now
  return { engine, incomingDirectory }
}

async function listen(server: import('node:http').Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const remedy = 'stop the program that holds it, or choose another port (0 takes any free one)'
      reject(
        new Fault(
          'PORT_IN_USE',
          `the embedded ClickHouse cannot listen on 127.0.0.1:${port} (${error.code}): ${remedy}`,
        ),
      )
    })
    server.listen(port, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

async function main(): Promise<void> {
  giveWay(STORE_GIVES_WAY) // before the engine starts its threads
  const settings = JSON.parse(process.argv[2] ?? '{}') as ServerSettings
  const { engine, incomingDirectory } = openEngine(settings)
  const { server, inFlight, refuse } = createHttpInterface({
    engine,
    incomingDirectory,
    textBytesMax: settings.textBytesMax,
  })
  let isStopping = false

  const stop = async () => {
    if (isStopping) return
    isStopping = true
    refuse()
    server.close()
    const deadline = setTimeout(() => process.kill(process.pid, 'SIGKILL'), settings.drainMsMax)
    server.closeIdleConnections()
    while (inFlight() > 0) await sleep(DRAIN_POLL_MS)
    clearTimeout(deadline)
    // closing could in turn hang; the same way out holds for it
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), settings.drainMsMax).unref()
    server.closeAllConnections()
    engine.close()
    process.exit(EXIT_OK)
  }
  process.on('SIGTERM', stop)
  process.on('disconnect', stop)

  const port = await listen(server, settings.port)
  await tell({ type: 'ready', port, version: engine.version })
}

main().catch(async (error: unknown) => {
  const fault =
    error instanceof Fault
      ? error
      : new Fault(
          'CLICKHOUSE_FAILED',
          `the embedded ClickHouse failed to start: ${String((error as Error)?.stack ?? error)}`,
        )
  await tell({ type: 'fault', code: fault.code, message: fault.message })
  if (process.send === undefined) process.stderr.write(`${fault.message}\n`)
  process.exit(EXIT_FAULT)
})
