import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, open, readFile, realpath, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../base/fault.ts'
import { osCode } from './disk.ts'

/**
 * Two processes with one producer name would give different blocks the same identity, and one of them would be dropped
 * as a duplicate. So a directory has one holder; and so has the name of a producer on one machine, wherever its spools are,
 * as far as they deliver to the same place: its holder holds a directory of that name among the temporary files.
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

export const LOCK_FILE = 'LOCK'

/** What to say when a directory has a holder already. */
type InUse = (who: string) => Fault

/** @throws Fault `SPOOL_IN_USE`, or what `inUse` makes, that names the directory and its holder. */
export async function lockDirectory(
  directory: string,
  since: string,
  inUse: (path: string, who: string) => Fault = spoolInUse,
): Promise<DirectoryLock> {
  const path = await realpath(directory)
  return await lock(path, since, (who) => inUse(path, who))
}

function spoolInUse(path: string, who: string): Fault {
  const remedy = 'stop it, or give this collector its own spool.directory and producer name'
  return new Fault('SPOOL_IN_USE', `spool directory ${path} is in use by ${who}: ${remedy}`)
}

/**
 * @param target where the blocks of this producer go
 * @throws Fault `PRODUCER_IN_USE` that names the producer and its holder.
 */
export async function lockProducer(producer: string, target: string, since: string): Promise<DirectoryLock> {
  const key = createHash('sha256').update(`${producer}\n${target}`).digest('hex').slice(0, 32)
  const path = join(tmpdir(), `marketprism-producer-${key}`)
  await mkdir(path, { recursive: true })
  const held = await lock(await realpath(path), since, (who) => producerInUse(producer, who))
  return {
    async release() {
      await held.release()
      await rm(path, { recursive: true, force: true })
    },
  }
}

export function producerInUse(producer: string, who: string): Fault {
  return new Fault(
    'PRODUCER_IN_USE',
    `producer ${producer} is in use by ${who}: stop it, or give this collector a producer name of its own`,
  )
}

async function lock(path: string, since: string, inUse: InUse): Promise<DirectoryLock> {
  const socket = process.platform === 'linux' ? await takeSocket(path, inUse) : undefined
  try {
    await takeFile(path, since, socket !== undefined, inUse)
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

async function takeSocket(path: string, inUse: InUse): Promise<Server> {
  const name = `\0marketprism-spool-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`
  const server = createServer((connection) => connection.destroy())
  server.unref()
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (osCode(error) !== 'EADDRINUSE') return reject(error)
      readHolder(path).then((holder) => reject(inUse(whoIs(holder))), reject)
    })
    server.listen(name, () => resolve(server))
  })
}

async function takeFile(path: string, since: string, alone: boolean, inUse: InUse): Promise<void> {
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
    if (holder !== undefined && isAlive(holder, alone)) throw inUse(whoIs(holder))
    await rm(join(path, LOCK_FILE), { force: true })
  }
  throw inUse(whoIs(await readHolder(path)))
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

function whoIs(holder: Holder | undefined): string {
  return holder === undefined
    ? 'another process'
    : `process ${holder.pid}${commandOf(holder)} on ${holder.host} since ${holder.since}`
}

function commandOf(holder: Holder): string {
  if (holder.host !== hostname()) return ''
  try {
    return ` (${readFileSync(`/proc/${holder.pid}/comm`, 'utf8').trim()})`
  } catch {
    return ''
  }
}
