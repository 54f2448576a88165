/**
 * The directory of a demo or trial: emptied at its start, and its alone until it ends.
 *
 * Nothing may be deleted beneath somebody who still works there. So first nobody else may be on the stage, and nothing that
 * an engine (or `sql`) keeps in a data directory may be in use; then it is emptied.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../../base/clock.ts'
import { EXIT_USAGE, Fault } from '../../base/fault.ts'
import { runningClickHouse } from '../../embedded/clickhouse.ts'
import { runningNats } from '../../embedded/nats.ts'
import { type DirectoryLock, LOCK_FILE, lockDirectory } from '../../spool/lock.ts'

const MARKER = 'DEMO'
/** Servers of a process that was just killed need a moment to notice. */
const OLD_OWNER_MS_MAX = 5_000
const LOOK_MS = 100

/**
 * What an earlier demo left goes; what is not a demo's stays, and what is in use, too.
 * @throws Fault NOT_A_DEMO, DEMO_IN_USE
 */
export async function takeDirectory(directory: string): Promise<DirectoryLock> {
  if (existsSync(directory) && readdirSync(directory).length > 0 && !existsSync(join(directory, MARKER))) {
    throw new Fault(
      'NOT_A_DEMO',
      `${directory} holds something that is not of a demo, and a demo begins with an empty directory: name another with --data`,
      EXIT_USAGE,
    )
  }
  mkdirSync(directory, { recursive: true })
  const since = new Date(new Clock().nowMs()).toISOString()
  const lock = await lockDirectory(directory, since, (path, who) => inUse(path, who))
  try {
    await refuseWhileInUse(directory, since)
    for (const name of readdirSync(directory))
      if (name !== LOCK_FILE) rmSync(join(directory, name), { recursive: true, force: true })
    writeFileSync(
      join(directory, MARKER),
      'Data of `marketprism demo` or of a trial. The next one empties this directory.\n',
    )
  } catch (error) {
    await lock.release()
    throw error
  }
  return lock
}

async function refuseWhileInUse(directory: string, since: string): Promise<void> {
  const spool = join(directory, 'spool')
  if (existsSync(spool)) await (await lockDirectory(spool, since, (_, who) => inUse(directory, who))).release()
  for (const deadline = performance.now() + OLD_OWNER_MS_MAX; ; await sleep(LOOK_MS)) {
    const server =
      (await runningNats(join(directory, 'nats'))) ?? (await runningClickHouse(join(directory, 'clickhouse')))
    if (server === undefined) return
    if (performance.now() > deadline) throw inUse(directory, `the server at ${server.url}`)
  }
}

function inUse(directory: string, who: string): Fault {
  return new Fault(
    'DEMO_IN_USE',
    `${directory} is in use by ${who}, and a demo begins with an empty directory: stop it, or name another directory with --data`,
  )
}
