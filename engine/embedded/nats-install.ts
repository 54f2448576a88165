import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Log } from '../base/log.ts'

/**
 * Finds a nats-server: on PATH, in our cache, or fetched into the cache by the system's package manager. Fetching needs
 * no root and leaves the system as it was: `apt-get download` and `dpkg -x` into a private directory, with package lists
 * of our own where the system's are empty.
 *
 *   {cacheDirectory}/nats-server/bin/nats-server      the private copy
 *   {cacheDirectory}/nats-server/apt/                 private package lists
 */
export interface FoundNatsServer {
  readonly command: string
  readonly version: string
  readonly source: 'path' | 'cache' | 'fetched'
}

export interface FindOptions {
  readonly cacheDirectory: string
  /** False only looks. */
  readonly mayFetch: boolean
  readonly log: Log
  /** Name looked up on PATH; tests give another. */
  readonly command?: string
}

const run = promisify(execFile)
const VERSION_MS_MAX = 5000
const FETCH_MS_MAX = 120_000
const INSTALL_BY_HAND = 'install nats-server with your package manager, or configure the URL of a NATS server'

/** @returns the server, or one sentence why there is none. */
export async function findNatsServer(options: FindOptions): Promise<FoundNatsServer | { readonly reason: string }> {
  const command = options.command ?? 'nats-server'
  const onPath = await versionOf(command)
  if (onPath !== null) return { command, version: onPath, source: 'path' }
  const cached = path.join(options.cacheDirectory, 'nats-server', 'bin', 'nats-server')
  const inCache = existsSync(cached) ? await versionOf(cached) : null
  if (inCache !== null) return { command: cached, version: inCache, source: 'cache' }
  if (process.platform === 'darwin')
    return { reason: 'nats-server is not on PATH: `brew install nats-server` brings it' }
  if (!options.mayFetch)
    return { reason: `nats-server is neither on PATH nor in ${options.cacheDirectory}: ${INSTALL_BY_HAND}` }
  const why = await fetchInto(cached, options)
  const fetched = why === null ? await versionOf(cached) : null
  if (fetched !== null) return { command: cached, version: fetched, source: 'fetched' }
  return {
    reason: `nats-server is not on PATH and could not be fetched (${why ?? 'the fetched program does not run here'}): ${INSTALL_BY_HAND}`,
  }
}

async function versionOf(command: string): Promise<string | null> {
  try {
    const { stdout } = await run(command, ['--version'], { timeout: VERSION_MS_MAX })
    return /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? null
  } catch {
    return null // not there, or not for this machine
  }
}

/** @returns null when `target` is in place, else why not. */
async function fetchInto(target: string, options: FindOptions): Promise<string | null> {
  const home = path.dirname(path.dirname(target))
  let work = ''
  try {
    await mkdir(path.dirname(target), { recursive: true })
    work = await mkdtemp(path.join(home, 'fetch-')) // two processes may fetch at once: the rename below is atomic
    options.log.info('fetching nats-server with apt-get into the cache directory')
    await downloadPackage(work, path.join(home, 'apt'))
    const file = (await readdir(work)).find((name) => name.endsWith('.deb'))
    if (file === undefined) return 'apt-get left no package'
    await run('dpkg', ['-x', path.join(work, file), path.join(work, 'root')], { timeout: FETCH_MS_MAX })
    const program = ['usr/sbin', 'usr/bin']
      .map((folder) => path.join(work, 'root', folder, 'nats-server'))
      .find((candidate) => existsSync(candidate))
    if (program === undefined) return 'the package holds no nats-server program'
    await cp(program, path.join(work, 'nats-server'))
    await rename(path.join(work, 'nats-server'), target)
    return null
  } catch (error) {
    return whyNot(error)
  } finally {
    if (work !== '') await rm(work, { recursive: true, force: true })
  }
}

/** With the system's package lists; where they know no such package (never updated), with lists of our own. */
async function downloadPackage(work: string, aptHome: string): Promise<void> {
  const download = (extra: readonly string[]) =>
    run('apt-get', [...extra, 'download', 'nats-server'], { cwd: work, timeout: FETCH_MS_MAX })
  try {
    await download(SANDBOX)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error
    const privately = await privateLists(aptHome)
    await run('apt-get', [...privately, 'update'], { timeout: FETCH_MS_MAX })
    await download(privately)
  }
}

/** apt would drop root for a user that cannot write into a private directory. */
const SANDBOX = ['-q', '-o', 'APT::Sandbox::User=']

async function privateLists(aptHome: string): Promise<readonly string[]> {
  const lists = path.join(aptHome, 'lists')
  const cache = path.join(aptHome, 'cache')
  await mkdir(path.join(lists, 'partial'), { recursive: true })
  await mkdir(path.join(cache, 'archives', 'partial'), { recursive: true })
  return [...SANDBOX, '-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache=${cache}`, '-o', 'Debug::NoLocking=true']
}

function whyNot(error: unknown): string {
  const { code, message, stderr } = error as NodeJS.ErrnoException & { stderr?: string }
  if (code === 'ENOENT') return 'this system has no apt-get or dpkg'
  const lines = `${stderr ?? ''}\n${message}`.split('\n').map((line) => line.trim())
  return (
    lines
      .find((line) => line.startsWith('E:'))
      ?.slice(2)
      .trim() ??
    lines.find((line) => line !== '') ??
    'unknown error'
  )
}
