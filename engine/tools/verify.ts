/**
 * `marketprism verify`: is everything there that the engine needs, and is it as it must be? One line a thing, with the
 * remedy where something is wrong. It can be run before the first start, beside a running engine, and against servers.
 *
 * It changes nothing: ports are opened for a moment, embedded servers that do not run are started on their directories for
 * as long as it asks, and the probe of deduplication writes into a table of its own, which it drops.
 */
import colors from 'picocolors'
import { EXIT_MISSED, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { checkNats } from './verify/broker.ts'
import { Findings, type Finding, type Verdict } from './verify/findings.ts'
import { ClockSteps, checkDirectories, checkNode, checkOpenFiles, checkTimers } from './verify/machine.ts'
import { checkClickHouse } from './verify/store.ts'
import { checkPorts, checkVenues } from './verify/surroundings.ts'

export interface VerifyOptions {
  /** venues are not asked */
  readonly offline: boolean
  readonly json: boolean
}

const MARKS: Readonly<Record<Verdict, string>> = {
  good: colors.green('✓'),
  bad: colors.red('✗'),
  skipped: colors.dim('–'),
}

export async function runVerify({ offline, json }: VerifyOptions, readRun: () => Run): Promise<void> {
  const found = await verify(offline, readRun, (finding) => {
    if (!json) process.stdout.write(`${lineOf(finding)}\n`)
  })
  const bad = found.filter(({ verdict }) => verdict === 'bad')
  if (json) process.stdout.write(`${JSON.stringify({ pass: bad.length === 0, checks: found })}\n`)
  if (bad.length > 0) throw new Fault('VERIFY', `${bad.length} of ${found.length} wrong: ${namesOf(bad)}`, EXIT_MISSED)
  if (!json) process.stdout.write('all is well\n')
}

const namesOf = (findings: readonly Finding[]): string => [...new Set(findings.map(({ what }) => what))].join(', ')

/**
 * @param readRun gives the run, or throws what is wrong with the configuration: that is a finding, too
 * @param tell is told of each finding, in their order
 */
export async function verify(
  isOffline: boolean,
  readRun: () => Run,
  tell: (finding: Finding) => void = () => {},
): Promise<readonly Finding[]> {
  const found: Finding[] = []
  const take = ({ list }: Findings): void => {
    found.push(...list)
    list.forEach(tell)
  }
  const clock = new ClockSteps()
  const first = new Findings()
  checkNode(first, process.versions.node)
  const run = checkConfiguration(first, readRun)
  await checkTimers(first)
  checkOpenFiles(first)
  take(first)
  if (run !== undefined) for (const section of sections(isOffline, run)) take(await section)
  const last = new Findings()
  clock.check(last)
  take(last)
  return found
}

/** All at once, told in their order. */
function sections(isOffline: boolean, run: Run): Promise<Findings>[] {
  const checks: ((findings: Findings) => Promise<void>)[] = [
    (findings) => checkDirectories(findings, run.config),
    (findings) => checkNats(findings, run),
    (findings) => checkClickHouse(findings, run),
    (findings) => checkPorts(findings, run),
    (findings) => checkVenues(findings, run, isOffline),
  ]
  return checks.map(async (check) => {
    const findings = new Findings()
    await check(findings)
    return findings
  })
}

function checkConfiguration(findings: Findings, readRun: () => Run): Run | undefined {
  try {
    const run = readRun()
    const { environment, origins } = run.effective
    const set = [...origins.values()].filter(({ layer }) => layer !== 'default').length
    findings.good('configuration', `${environment}, ${set} keys are not the defaults`)
    return run
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const line of error.message.split('\n'))
      findings.bad('configuration', line, 'correct it; `marketprism config` lists all keys')
    findings.skipped('all else', 'depends on the configuration')
    return undefined
  }
}

const WHAT_WIDTH = 26

function lineOf({ what, verdict, detail, remedy }: Finding): string {
  const line = `${MARKS[verdict]} ${what.padEnd(WHAT_WIDTH)} ${detail}`
  return remedy === '' ? line : `${line}\n${' '.repeat(WHAT_WIDTH + 3)}${colors.yellow(`→ ${remedy}`)}`
}
