/**
 * `marketprism audit`: is everything in the store that was accepted, once, and is every hole in it told? It asks the
 * store alone, so it can be run beside a working engine; what is younger than `settle` may be on its way and waits for
 * the next audit.
 */
import { ClickHouseError } from '@clickhouse/client'
import { Clock } from '../base/clock.ts'
import { EXIT_MISSED, EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { TABLES } from '../record/schema.ts'
import type { TableName } from '../record/schema-columns.ts'
import { doubledRows, missingBlocks, replacedGaps, untoldBlocks, wrongCounts } from './audit/blocks.ts'
import { daysOfBars, wrongHours, wrongMinutes } from './audit/bars.ts'
import { type AuditStore, daysOf, type Finding } from './audit/store.ts'
import { brokenChains, openGaps, unexplainedHoles, wrongBars } from './audit/streams.ts'
import { reachClickHouse } from './reach.ts'

export interface AuditOptions {
  /** a time, or how long ago (90m, 12h, 7d); undefined: from the first row */
  readonly since: string | undefined
  /** rows younger than this may be on their way; undefined: 60 beside a running engine, else 0 */
  readonly settleSeconds: number | undefined
  readonly json: boolean
}

/** One invariant and what was found against it. */
interface Check {
  readonly name: string
  /** what must hold, for people */
  readonly rule: string
  readonly findings: Finding[]
}

interface Audit {
  readonly pass: boolean
  readonly since: string
  readonly until: string
  readonly blocks: number
  readonly checks: readonly Check[]
  readonly notes: readonly string[]
}

const SETTLE_SECONDS = 60
const EXAMPLES_SHOWN = 20
const PROGRESS_MS = 2000

export async function runAudit(options: AuditOptions, run: Run): Promise<void> {
  const clock = new Clock()
  const { client, options: place, isOwn, stop } = await reachClickHouse(run)
  try {
    const settleSeconds = options.settleSeconds ?? (isOwn ? 0 : SETTLE_SECONDS)
    const nowNs = clock.nowNs()
    const firstNs = later(sinceNs(options.since, nowNs), keptSinceNs(run.config.clickhouse.ttlDays, nowNs))
    const untilNs = nowNs - BigInt(settleSeconds) * 1_000_000_000n
    const store = { client, database: place.database, sinceNs: firstNs, untilNs }
    const progress = progressLine(clock, options.json || run.config.log.level === 'silent')
    const audit = await auditStore(store, nowNs, progress)
    process.stdout.write(options.json ? `${JSON.stringify(audit)}\n` : `${forPeople(audit)}\n`)
    if (!audit.pass) {
      const wrong = audit.checks.filter((check) => check.findings.length > 0)
      const words = wrong.map((check) => `${check.findings.length} × ${check.name}`).join(', ')
      throw new Fault('AUDIT', `the store is not whole: ${words}`, EXIT_MISSED)
    }
  } catch (error) {
    if (!(error instanceof ClickHouseError)) throw error
    const [line] = error.message.split('\n', 1)
    throw new Fault('AUDIT', `ClickHouse at ${place.url} does not answer the audit (code ${error.code}): ${line}`)
  } finally {
    await stop()
  }
}

/** @param progress is told what is looked at. */
async function auditStore(store: AuditStore, nowNs: bigint, progress: (what: string) => void): Promise<Audit> {
  const checks = newChecks()
  const { missing, short, doubled, chain, hole, bar } = checks
  let [blocks, shared] = [0, 0]
  progress('blocks')
  const { untold, told } = await untoldBlocks(store, await missingBlocks(store))
  missing.findings.push(...untold)
  const replaceable = new Map(await replacedGaps(store))
  for (const { name: table } of TABLES) {
    for (const day of await daysOf(store, table)) {
      progress(`${table} of ${day}`)
      const counts = await wrongCounts(store, table, day)
      blocks += counts.blocks
      shared += counts.shared
      short.findings.push(...(table === 'gaps' ? notReplaced(counts.findings, replaceable) : counts.findings))
      doubled.findings.push(...(await doubledRows(store, table, day)))
      await auditStreams(store, table, day, { chain, hole, bar })
    }
  }
  let waiting = 0
  for (const day of await daysOfBars(store)) {
    progress(`bars of ${day}`)
    const minutes = await wrongMinutes(store, day)
    waiting += minutes.waiting
    checks.kept.findings.push(...minutes.findings, ...(await wrongHours(store, day, nowNs)))
  }
  const open = await openGaps(store)
  return {
    pass: Object.values(checks).every((check) => check.findings.length === 0),
    since: timeText(store.sinceNs),
    until: timeText(store.untilNs),
    blocks,
    checks: Object.values(checks),
    notes: [
      ...(told === 0
        ? []
        : [`${told} blocks are missing, and gaps say so: they were damaged on the disk of their collector`]),
      ...(open === 0
        ? []
        : [`${open} gaps are open: something is missing now (SELECT * FROM gaps FINAL WHERE status = 'open')`]),
      ...(waiting === 0
        ? []
        : [`${waiting} kept minutes wait for the job candles: trades of them were stored since they were computed`]),
      ...(shared === 0
        ? []
        : [
            `${shared} blocks have fewer rows than they had: another collector stores the same market, and rows of one key replace each other`,
          ]),
    ],
  }
}

async function auditStreams(
  store: AuditStore,
  table: TableName,
  day: number,
  { chain, hole, bar }: Readonly<Record<'chain' | 'hole' | 'bar', Check>>,
): Promise<void> {
  if (table === 'book_deltas') chain.findings.push(...(await brokenChains(store, day)))
  if (table === 'trades') hole.findings.push(...(await unexplainedHoles(store, day)))
  if (table === 'klines') bar.findings.push(...(await wrongBars(store, day)))
}

function newChecks() {
  const check = (name: string, rule: string): Check => ({ name, rule, findings: [] })
  return {
    missing: check('missing blocks', 'the blocks of each boot are numbered without a hole that gaps do not tell (I2)'),
    short: check('wrong row counts', 'each block has the rows that its mark says, and each row a marked block (I2)'),
    doubled: check('doubled rows', 'no boot stores a fact twice (I3)'),
    chain: check(
      'broken chains',
      'changes of a book with state LIVE continue each other, in the order of the blocks (I6)',
    ),
    hole: check('unexplained holes', 'trades that are missing by their numbers stand in gaps (G3)'),
    bar: check('wrong bars', 'the volume of a bar is that of its trades (I10)'),
    kept: check(
      'wrong kept bars',
      'kept bars of minutes are the sum of their trades, those of hours that of their minutes (I10)',
    ),
  }
}

/** A row of `gaps` that a later state of its gap replaced is not missing; there are no more of them than such states. */
function notReplaced(findings: readonly Finding[], replaceable: Map<string, number>): Finding[] {
  return findings.filter(({ producer, epoch, wanted, found }) => {
    const boot = `${producer}/${epoch}`
    const missing = Number(wanted) - Number(found)
    const left = replaceable.get(boot) ?? 0
    if (missing < 0 || missing > left) return true
    replaceable.set(boot, left - missing)
    return false
  })
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

function sinceNs(text: string | undefined, nowNs: bigint): bigint {
  if (text === undefined) return 0n
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  if (count !== undefined && unit !== undefined)
    return nowNs - BigInt(count) * BigInt(UNIT_SECONDS[unit] as number) * 1_000_000_000n
  const ms = Date.parse(/T.*(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes('T') ? text : `${text}Z`)
  if (Number.isNaN(ms))
    throw new Fault('WRONG_TIME', `--since ${text} is no time: give 2026-11-21T10:00:00Z, or 90m, 12h, 7d`, EXIT_USAGE)
  return BigInt(ms) * 1_000_000n
}

/** The store drops whole days that are older: of the oldest one a part may be gone. */
function keptSinceNs(ttlDays: number, nowNs: bigint): bigint {
  return ttlDays === 0 ? 0n : nowNs - BigInt(ttlDays - 1) * 86_400_000_000_000n
}

const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)

const timeText = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString()

/** On stderr, when it takes long. */
function progressLine(clock: Clock, isSilent: boolean): (what: string) => void {
  let toldMs = clock.monotonicMs()
  return (what) => {
    if (isSilent || clock.monotonicMs() - toldMs < PROGRESS_MS) return
    toldMs = clock.monotonicMs()
    process.stderr.write(`audit: ${what}\n`)
  }
}

function forPeople({ pass, since, until, blocks, checks, notes }: Audit): string {
  const lines = [`${blocks} blocks received from ${since} to ${until}`]
  for (const { name, rule, findings } of checks) {
    lines.push(`${findings.length === 0 ? 'pass' : 'FAIL'}  ${name}: ${rule}`)
    for (const finding of findings.slice(0, EXAMPLES_SHOWN)) lines.push(`        ${inWords(finding)}`)
    if (findings.length > EXAMPLES_SHOWN) lines.push(`        and ${findings.length - EXAMPLES_SHOWN} more (--json)`)
  }
  for (const note of notes) lines.push(`note  ${note}`)
  lines.push(pass ? 'pass' : 'FAIL')
  return lines.join('\n')
}

const inWords = (finding: Finding): string =>
  Object.entries(finding)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
