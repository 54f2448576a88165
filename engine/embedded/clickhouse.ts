import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { EXIT_FAULT, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import type { ServerMessage, ServerSettings } from './clickhouse-server.ts'
import { type ChildExit, endChild, isAlive, KeptChild } from './kept-child.ts'

/**
 * The ClickHouse that runs when no server is configured: a child process with the real engine (npm package chdb) behind
 * ClickHouse's own HTTP interface. The rest of the product sees a URL and never learns which one it talks to.
 */
export interface EmbeddedClickHouseOptions {
  readonly dataDirectory: string
  /** 0 takes any free loopback port; a restarted child keeps it. */
  readonly port: number
  readonly log: Log
  /** The engine refuses queries that would need more; default 2 GiB. */
  readonly memoryBytesMax?: number
  /** Time for requests under way when it stops; default 8 s. */
  readonly drainMsMax?: number
  readonly readyMsMax?: number
  readonly random?: Random
}

export interface EmbeddedClickHouse {
  /** e.g. `http://127.0.0.1:41234`; stays the same through restarts, so clients just retry. */
  readonly url: string
  readonly version: string
  readonly pid: number
  readonly restarts: number
  onExit(listener: (exit: ChildExit) => void): void
  stop(): Promise<void>
}

const MEMORY_BYTES_DEFAULT = 2 * 1024 ** 3
const MARK_CACHE_BYTES = 128 * 1024 ** 2 // the engine's own default is 5 GiB
const MERGE_THREADS = 2 // beside the collector merges may wait, sockets may not
const TEXT_BYTES_MAX = 64 * 1024 ** 2
const DRAIN_MS_DEFAULT = 8000
const READY_MS_DEFAULT = 30_000
/** The child's own deadline comes first; this is for a child that does not even reach it. */
const STOP_GRACE_MS = 1000
const PING_MS_MAX = 2000

/** @throws Fault when the package is missing, the directory is in use or unusable, or the port is taken. */
export async function startEmbeddedClickHouse(options: EmbeddedClickHouseOptions): Promise<EmbeddedClickHouse> {
  const drainMsMax = options.drainMsMax ?? DRAIN_MS_DEFAULT
  let port = options.port
  let version = ''
  const launch = async (): Promise<ChildProcess> => {
    const settings: ServerSettings = {
      dataDirectory: path.resolve(options.dataDirectory),
      port,
      drainMsMax,
      memoryBytesMax: options.memoryBytesMax ?? MEMORY_BYTES_DEFAULT,
      markCacheBytes: MARK_CACHE_BYTES,
      mergeThreads: MERGE_THREADS,
      textBytesMax: TEXT_BYTES_MAX,
    }
    const launched = await launchServer(settings, options.readyMsMax ?? READY_MS_DEFAULT, options.log)
    port = launched.port
    version = launched.version
    writeFileSync(ownerFile(settings.dataDirectory), JSON.stringify({ pid: launched.child.pid ?? 0, port }))
    return launched.child
  }
  const kept = await KeptChild.start({
    name: 'embedded ClickHouse',
    launch,
    stopMsMax: drainMsMax + STOP_GRACE_MS,
    random: options.random ?? seededRandom(freshSeed()),
    log: options.log,
  })
  return {
    url: `http://127.0.0.1:${port}`,
    get version() {
      return version
    },
    get pid() {
      return kept.pid
    },
    get restarts() {
      return kept.restarts
    },
    onExit: (listener) => kept.onExit(listener),
    stop: async () => {
      await kept.stop()
      rmSync(ownerFile(path.resolve(options.dataDirectory)), { force: true })
    },
  }
}

/** Where the running engine of a directory says how it is reached; the engine itself keeps others out of it. */
function ownerFile(dataDirectory: string): string {
  return path.join(dataDirectory, 'owner.json')
}

/** The engine that runs on this directory now, of whatever program, for tools beside it; undefined when none answers. */
export async function runningClickHouse(dataDirectory: string): Promise<{ readonly url: string } | undefined> {
  try {
    const text = readFileSync(ownerFile(path.resolve(dataDirectory)), 'utf8')
    const { pid, port } = JSON.parse(text) as { pid: number; port: number }
    const url = `http://127.0.0.1:${port}`
    if (!isAlive(pid)) return undefined
    const { ok } = await fetch(`${url}/ping`, { signal: AbortSignal.timeout(PING_MS_MAX) })
    return ok ? { url } : undefined
  } catch {
    return undefined
  }
}

interface Launched {
  readonly child: ChildProcess
  readonly port: number
  readonly version: string
}

async function launchServer(settings: ServerSettings, readyMsMax: number, log: Log): Promise<Launched> {
  const entry = fileURLToPath(new URL(`./clickhouse-server${path.extname(import.meta.url)}`, import.meta.url))
  const child = spawn(process.execPath, [entry, JSON.stringify(settings)], {
    // nothing of our environment: the engine needs none, and secrets stay here
    env: { UV_THREADPOOL_SIZE: '8', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    detached: true, // Ctrl-C in the terminal is for us; the engine stays until our last rows are in
  })
  const early: string[] = [] // of a start that fails the fault is the one line
  let isReady = false
  const tell = (line: string): void => log.warn({ childPid: child.pid }, `embedded ClickHouse: ${line}`)
  if (child.stderr !== null)
    createInterface({ input: child.stderr }).on('line', (line) => (isReady ? tell(line) : early.push(line)))
  try {
    const message = await firstMessage(child, readyMsMax)
    if (message.type === 'fault') throw new Fault(message.code, message.message, EXIT_FAULT)
    for (const line of early) tell(line)
    isReady = true
    return { child, port: message.port, version: message.version }
  } catch (error) {
    await endChild(child, STOP_GRACE_MS)
    if (error instanceof Fault && error.code === 'CLICKHOUSE_FAILED' && early.length > 0)
      throw new Fault(error.code, `${error.message} (${early.at(-1)})`)
    throw error
  }
}

function firstMessage(child: ChildProcess, readyMsMax: number): Promise<ServerMessage> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () =>
        reject(
          new Fault(
            'CLICKHOUSE_FAILED',
            `the embedded ClickHouse was not ready within ${readyMsMax} ms: try again, or configure the URL of a ClickHouse server`,
          ),
        ),
      readyMsMax,
    )
    const settle = (run: () => void) => {
      clearTimeout(timer)
      child.removeAllListeners('message').removeAllListeners('error').removeAllListeners('exit')
      child.on('error', () => undefined) // a signal that finds nobody; the exit event tells
      run()
    }
    child.once('message', (message) => settle(() => resolve(message as ServerMessage)))
    child.once('error', (error) =>
      settle(() =>
        reject(new Fault('CLICKHOUSE_FAILED', `the embedded ClickHouse could not be started: ${error.message}`)),
      ),
    )
    child.once('exit', (code, signal) =>
      settle(() =>
        reject(
          new Fault(
            'CLICKHOUSE_FAILED',
            `the embedded ClickHouse ended while starting (code ${code}, signal ${signal})`,
          ),
        ),
      ),
    )
  })
}
