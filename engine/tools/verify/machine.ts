/** What of the machine the engine stands on: Node, directories, disk, open files, timers, clock. Nothing is written. */
import { constants, existsSync, readFileSync } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../../base/clock.ts'
import type { Config } from '../../base/config.ts'
import { dataDirectory } from '../../roles/settings.ts'
import type { Findings } from './findings.ts'

/** As `engines` of package.json has it. */
const NODE_MIN = [20, 19] as const
/** Sockets to venues, clients of the gateway, segments of the spool, parts of the store. */
const OPEN_FILES_MIN = 1024
const TIMER_ROUNDS = 21
const TIMER_MS = 5
/** Time passes for the books in ticks of 50 ms: timers that are later than one make them jump. */
const TIMER_LATE_MS_MAX = 50
/** In the seconds that a verification takes no honest clock moves by more against the monotonic one. */
const CLOCK_STEP_MS_MAX = 100
const GIB = 2 ** 30

export function checkNode(findings: Findings, version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [majorMin, minorMin] = NODE_MIN
  if (major > majorMin || (major === majorMin && minor >= minorMin)) findings.good('Node', version)
  else findings.bad('Node', version, `install Node ${majorMin}.${minorMin} or newer (24 is a good choice)`)
}

export async function checkDirectories(findings: Findings, config: Config): Promise<void> {
  const data = dataDirectory(config, '')
  const spool = dataDirectory(config, 'spool', config.spool.directory)
  await checkDirectory(findings, 'data directory', data, 'data.directory')
  await checkDirectory(findings, 'spool directory', spool, 'spool.directory')
  await checkDisk(findings, spool, config)
}

/** A directory that is not there yet must be possible: the nearest one above it decides. */
async function checkDirectory(findings: Findings, what: string, path: string, key: string): Promise<void> {
  const there = nearestThere(path)
  try {
    // the slash: a file of that name is no directory
    await access(`${there}/`, constants.R_OK | constants.W_OK | constants.X_OK)
    findings.good(what, there === path ? path : `${path} (made at the first start)`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'ENOTDIR' ? `${there} is a file` : `${there} is not ours to write (${code})`
    findings.bad(what, `${path}: ${why}`, `set ${key} to a directory that this user may write, or change its owner`)
  }
}

async function checkDisk(
  findings: Findings,
  spool: string,
  { spool: { freeBytesMin, maxBytes } }: Config,
): Promise<void> {
  await findings.guard('free disk', async () => {
    const { bavail, bsize } = await statfs(directoryThere(spool))
    const free = bavail * bsize
    const detail = `${gib(free)} GiB free where the spool is`
    if (free < freeBytesMin)
      findings.bad(
        'free disk',
        `${detail}, less than spool.freeBytesMin = ${gib(freeBytesMin)} GiB: the spool counts as full`,
        'free some space, or move spool.directory to a larger disk',
      )
    else if (free < freeBytesMin + maxBytes)
      findings.good('free disk', `${detail}; a long outage may not find room for spool.maxBytes = ${gib(maxBytes)} GiB`)
    else findings.good('free disk', detail)
  })
}

function nearestThere(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestThere(dirname(path))
}

function directoryThere(path: string): string {
  return existsSync(`${path}/.`) || dirname(path) === path ? path : directoryThere(dirname(path))
}

const gib = (bytes: number): string => (bytes / GIB).toFixed(1)

/** Node raises its own limit to the highest that it may have, so this is that. */
export function checkOpenFiles(findings: Findings): void {
  const what = 'open files'
  let limits: string
  try {
    limits = readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return findings.skipped(what, 'this system does not tell its limit')
  }
  const text = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited'
  const limit = text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
  if (limit >= OPEN_FILES_MIN) findings.good(what, `up to ${text}`)
  else
    findings.bad(
      what,
      `up to ${text}: sockets and files will run out`,
      `allow ${OPEN_FILES_MIN} or more (ulimit -n, LimitNOFILE= of systemd)`,
    )
}

/** Half of the timers of a quiet process must come in time. */
export async function checkTimers(findings: Findings): Promise<void> {
  const late: number[] = []
  for (let round = 0; round < TIMER_ROUNDS; round++) {
    const startMs = performance.now()
    await sleep(TIMER_MS)
    late.push(performance.now() - startMs - TIMER_MS)
  }
  late.sort((a, b) => a - b)
  const median = late[TIMER_ROUNDS >> 1] as number
  const detail = `late by ${median.toFixed(1)} ms in the middle, ${(late.at(-1) as number).toFixed(1)} ms at most`
  if (median <= TIMER_LATE_MS_MAX) findings.good('timers', detail)
  else findings.bad('timers', detail, 'the machine has more to do than it can: move work away, or give it more cores')
}

/** Wall time against monotonic time, from the beginning of the verification to its end. */
export class ClockSteps {
  readonly #begin = new Clock()

  check(findings: Findings): void {
    const stepMs = Number(new Clock().anchorNs - this.#begin.anchorNs) / 1e6
    const what = 'clock'
    if (Math.abs(stepMs) <= CLOCK_STEP_MS_MAX)
      findings.good(what, `runs evenly (moved ${stepMs.toFixed(1)} ms meanwhile)`)
    else
      findings.bad(
        what,
        `was set by ${stepMs.toFixed(0)} ms during these checks`,
        'let one program alone keep the time (chrony, systemd-timesyncd), by slewing',
      )
  }
}
