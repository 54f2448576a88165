import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { open, readFile, realpath, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../base/fault.ts'
import { osCode } from './disk.ts'

/**
 * Two processes with one producer name would give different blocks the same identity, and one of them would be dropped
 * as a duplicate. So a directory has one holder.
 *
 * On Linux the holder owns an abstract socket named after the directory: the kernel gives it to one process and takes it
 * back at its death, so nothing has to be cleaned up. The file LOCK says in words who it is, and decides alone on other
 * systems (a holder whose process is gone does not count).
 */
export interface DirectoryLock {
  release(): Promise<void>
}

interface Holder {
  readonly pid: number
  readonly host: string
  readonly since: string
}

const LOCK_FILE = 'LOCK'

/** @throws Fault `SPOOL_IN_USE` that names the directory and its holder. */
export async function lockDirectory(directory: string, since: string): Promise<DirectoryLock> {
  const path = await realpath(directory)
  const socket = process.platform === 'linux' ? await takeSocket(path) : undefined
  try {
    await takeFile(path, since, socket !== undefined)
  } catch (error) {
    socket?.close()
    throw error
  }
  return {
    async release() {
      await rm(join(path, LOCK_FILE), { force: true })
      socket?.close()
    },
  }
}

async function takeSocket(path: string): Promise<Server> {
  const name = `\0marketprism-spool-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`
  const server = createServer((connection) => connection.destroy())
  server.unref()
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (osCode(error) !== 'EADDRINUSE') return reject(error)
      readHolder(path).then((holder) => reject(inUse(path, holder)), reject)
    })
    server.listen(name, () => resolve(server))
  })
}

async function takeFile(path: string, since: string, alone: boolean): Promise<void> {
  const content = JSON.stringify({ pid: process.pid, host: hostname(), since } satisfies Holder)
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(join(path, LOCK_FILE), 'wx')
      await file.writeFile(content)
      await file.close()
      return
    } catch (error) {
      if (osCode(error) !== 'EEXIST') throw error
    }
    const holder = await readHolder(path)
    if (holder !== undefined && isAlive(holder, alone)) throw inUse(path, holder)
    await rm(join(path, LOCK_FILE), { force: true })
  }
  throw inUse(path, await readHolder(path))
}

/** With the socket in our hand the holder named in the file can only be alive on another machine or in another container, which we cannot see. */
function isAlive(holder: Holder, alone: boolean): boolean {
  if (alone || holder.host !== hostname()) return false
  try {
    process.kill(holder.pid, 0)
    return true
  } catch (error) {
    return osCode(error) === 'EPERM'
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(join(path, LOCK_FILE), 'utf8')) as Holder
  } catch {
    return undefined
  }
}

function inUse(path: string, holder: Holder | undefined): Fault {
  const who =
    holder === undefined
      ? 'another process'
      : `process ${holder.pid}${commandOf(holder)} on ${holder.host} since ${holder.since}`
  return new Fault(
    'SPOOL_IN_USE',
    `spool directory ${path} is in use by ${who}: stop it, or give this collector its own spool.directory and producer name`,
  )
}

function commandOf(holder: Holder): string {
  if (holder.host !== hostname()) return ''
  try {
    return ` (${readFileSync(`/proc/${holder.pid}/comm`, 'utf8').trim()})`
  } catch {
    return ''
  }
}
