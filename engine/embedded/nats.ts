import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { freshSeed, type Random, seededRandom } from '../base/random.ts'
import { type ChildExit, endChild, hasEnded, isAlive, KeptChild } from './kept-child.ts'
import { findNatsServer } from './nats-install.ts'

/**
 * The nats-server that runs when none is configured: the real one, with JetStream, as a child process on a loopback port.
 *
 *   {storeDirectory}/jetstream/                 its streams
 *   {storeDirectory}/nats.conf                  written at every start, by version
 *   {storeDirectory}/nats-server_{pid}.ports    where the server says which port it took
 *   {storeDirectory}/owner.json                 pid and port of the running server, so that a second one is refused
 *
 * It dies with us: between us and it stands no process, but a shell's background reader waits on a pipe that we hold
 * open and ends the server when the pipe closes without a word (see WATCHED).
 */
export interface EmbeddedNatsOptions {
  readonly storeDirectory: string
  /** Where a private copy of nats-server is kept. */
  readonly cacheDirectory: string
  /** 0 takes any free loopback port; a restarted server keeps it. */
  readonly port: number
  /** May the package manager be asked for a private copy? */
  readonly mayFetch: boolean
  readonly log: Log
  readonly payloadBytesMax?: number
  /** Bound of all streams on disk; default: the server's own, three quarters of the free space. */
  readonly streamBytesMax?: number
  readonly readyMsMax?: number
  readonly stopMsMax?: number
  readonly random?: Random
  /** Name looked up on PATH; tests give another. */
  readonly command?: string
}

export interface EmbeddedNats {
  /** e.g. `nats://127.0.0.1:41234`; stays the same through restarts, so clients just reconnect. */
  readonly url: string
  readonly version: string
  /** The program, and where it came from. */
  readonly command: string
  readonly source: 'path' | 'cache' | 'fetched'
  readonly pid: number
  readonly restarts: number
  readonly storeDirectory: string
  onExit(listener: (exit: ChildExit) => void): void
  /** Kills a server that hangs; it is started again. */
  renew(): void
  stop(): Promise<void>
}

const PAYLOAD_BYTES_DEFAULT = 8 * 1024 ** 2 // a block is far below; the server warns above this
const READY_MS_DEFAULT = 15_000
const STOP_MS_DEFAULT = 5000
const POLL_MS = 10
const PROBE_MS_MAX = 1000
/** A server of a process that was just killed needs a moment to notice. */
const OLD_OWNER_MS_MAX = 5000

/**
 * `exec` makes the shell the server, so its pid is the child's. The reader stays behind: a line on fd 3 means that all
 * is well and it leaves; the end of the pipe means that our process is gone, and it ends the server.
 */
const WATCHED = '(read -r line <&3 || kill -TERM $$) 3<&3 >/dev/null 2>&1 & exec "$@" 3<&-'

/** @returns the running server, or one sentence why there can be none (the engine then delivers directly). */
export async function startEmbeddedNats(
  options: EmbeddedNatsOptions,
): Promise<EmbeddedNats | { readonly reason: string }> {
  const found = await findNatsServer(options)
  if ('reason' in found) return found
  const directory = path.resolve(options.storeDirectory)
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Fault(
      'NATS_DIRECTORY_UNUSABLE',
      `the NATS store directory ${directory} cannot be written (${(error as Error).message}): check its owner and free space, or choose another directory`,
    )
  }
  await refuseSecondOwner(directory)
  const stopMsMax = options.stopMsMax ?? STOP_MS_DEFAULT
  let port = options.port
  const launch = async (): Promise<ChildProcess> => {
    const launched = await launchServer(
      found.command,
      directory,
      configOf(found.version, directory, port, options),
      options,
    )
    port = launched.port
    return launched.child
  }
  const kept = await KeptChild.start({
    name: 'nats-server',
    launch,
    stopMsMax,
    random: options.random ?? seededRandom(freshSeed()),
    log: options.log,
  })
  return {
    url: `nats://127.0.0.1:${port}`,
    version: found.version,
    command: found.command,
    source: found.source,
    get pid() {
      return kept.pid
    },
    get restarts() {
      return kept.restarts
    },
    storeDirectory: directory,
    onExit: (listener) => kept.onExit(listener),
    renew: () => kept.renew(),
    stop: async () => {
      await kept.stop()
      rmSync(ownerFile(directory), { force: true })
    },
  }
}

/** Text of nats.conf for this version of the server. */
export function configOf(
  version: string,
  directory: string,
  port: number,
  options: Pick<EmbeddedNatsOptions, 'payloadBytesMax' | 'streamBytesMax'>,
): string {
  const lines = [
    `listen: "127.0.0.1:${port === 0 ? -1 : port}"`,
    `ports_file_dir: ${JSON.stringify(directory)}`,
    `max_payload: ${options.payloadBytesMax ?? PAYLOAD_BYTES_DEFAULT}`,
    'jetstream {',
    `  store_dir: ${JSON.stringify(directory)}`,
    ...(options.streamBytesMax === undefined ? [] : [`  max_file_store: ${options.streamBytesMax}`]),
    // before 2.10 the server syncs every two minutes and knows no other; our spool is what survives a power cut
    ...(isAtLeast(version, 2, 10) ? ['  sync_interval: "10s"'] : []),
    '}',
  ]
  return `${lines.join('\n')}\n`
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [haveMajor = 0, haveMinor = 0] = version.split('.').map(Number)
  return haveMajor > major || (haveMajor === major && haveMinor >= minor)
}

interface Owner {
  readonly pid: number
  readonly port: number
}

function ownerFile(directory: string): string {
  return path.join(directory, 'owner.json')
}

/** The server that runs on this store now, of whatever program, for tools beside it; undefined when none answers. */
export async function runningNats(storeDirectory: string): Promise<{ readonly url: string } | undefined> {
  try {
    const { pid, port } = JSON.parse(readFileSync(ownerFile(path.resolve(storeDirectory)), 'utf8')) as Owner
    return isAlive(pid) && (await greeting(port)) !== null ? { url: `nats://127.0.0.1:${port}` } : undefined
  } catch {
    return undefined
  }
}

/** Two servers on one store destroy it, and nats-server itself does not look. */
async function refuseSecondOwner(directory: string): Promise<void> {
  let owner: Owner
  try {
    owner = JSON.parse(readFileSync(ownerFile(directory), 'utf8')) as Owner
  } catch {
    return // none, or half a file of a process that died writing it
  }
  for (const deadline = performance.now() + OLD_OWNER_MS_MAX; ; await sleep(100)) {
    if (!isAlive(owner.pid) || (await greeting(owner.port)) === null) return
    if (performance.now() > deadline) break
  }
  throw new Fault(
    'NATS_DIRECTORY_IN_USE',
    `the NATS store directory ${directory} is in use by nats-server (pid ${owner.pid}, port ${owner.port}): stop the program that runs it, or choose another directory`,
  )
}

async function launchServer(
  command: string,
  directory: string,
  config: string,
  options: EmbeddedNatsOptions,
): Promise<{ child: ChildProcess; port: number }> {
  const configFile = path.join(directory, 'nats.conf')
  writeFileSync(configFile, config)
  for (const name of readdirSync(directory))
    if (name.endsWith('.ports')) rmSync(path.join(directory, name), { force: true }) // of killed servers
  const child = spawn('/bin/sh', ['-c', WATCHED, 'sh', command, '-c', configFile], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    detached: true, // Ctrl-C in the terminal is for us; the server stays until our last blocks are out
  })
  const { log } = options
  let lastError = ''
  let isReady = false
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (/\[(ERR|FTL)\]|^nats-server:/.test(line)) {
        lastError = line
        if (isReady) log.warn({ childPid: child.pid }, `nats-server: ${line}`) // else the fault below tells it
      } else log.debug({ childPid: child.pid }, `nats-server: ${line}`)
    })
  }
  const leash = child.stdio[3] as net.Socket
  leash.on('error', () => undefined) // the reader may be gone first
  child.on('error', () => undefined)
  child.once('exit', () => leash.end('ended\n'))
  const portsFile = path.join(directory, `nats-server_${child.pid}.ports`)
  const deadline = performance.now() + (options.readyMsMax ?? READY_MS_DEFAULT)
  while (performance.now() < deadline && !hasEnded(child)) {
    const port = portIn(portsFile)
    if (port !== null && (await greeting(port))?.includes('"jetstream":true')) {
      isReady = true
      writeFileSync(ownerFile(directory), JSON.stringify({ pid: child.pid ?? 0, port } satisfies Owner))
      return { child, port }
    }
    await sleep(POLL_MS)
  }
  await endChild(child, options.stopMsMax ?? STOP_MS_DEFAULT)
  throw new Fault(
    'NATS_FAILED',
    `nats-server (${command}) did not start${lastError === '' ? '' : ` (${lastError.trim()})`}: see ${configFile}, or configure the URL of a NATS server`,
  )
}

function portIn(portsFile: string): number | null {
  try {
    const { nats } = JSON.parse(readFileSync(portsFile, 'utf8')) as { nats?: string[] }
    const port = Number(/:(\d+)$/.exec(nats?.[0] ?? '')?.[1])
    return Number.isInteger(port) ? port : null
  } catch {
    return null // not there yet, or half written
  }
}

/** First line of a NATS server on this port, or null when nobody or somebody else answers. */
function greeting(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    let text = ''
    const settle = (line: string | null) => {
      socket.destroy()
      resolve(line)
    }
    socket.setTimeout(PROBE_MS_MAX, () => settle(null))
    socket.on('error', () => settle(null))
    socket.on('close', () => settle(null))
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      if (text.includes('\r\n')) settle(text.startsWith('INFO ') ? text : null)
    })
  })
}
