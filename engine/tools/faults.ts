/**
 * `marketprism faults`: every fault that the simulated venues know, once at every venue that can have it, while the whole
 * engine collects. Then each loss that the venues noted has to be a row of `gaps`, each row of `gaps` has to have been
 * caused, and every book has to be the venue's own.
 */
import type { Run } from '../base/run.ts'
import type { FaultKind } from '../simulate/faults.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { CHECKED_TABLES, type Check, type CheckedTable, type MissingRow } from './demo/check.ts'
import { spreadOverMarkets } from './demo/markets.ts'
import { readGaps, readNotes, type VenueNote } from './demo/notes.ts'
import { sums } from './demo/report.ts'
import { compareWithTruth, onStage, playToEnd, type Stage, stageDirectory } from './demo/stage.ts'
import type { MarketPlans, Venue } from './demo/venue.ts'
import { tellVerdict } from './demo/verdict.ts'
import { type BookDifference, compareBooks } from './faults/books.ts'
import { disturbancesOf, holds, judge, type JudgedRow, lossesOf, type Verdict } from './faults/judge.ts'
import { withLateness } from './faults/lateness.ts'
import { ALL_KINDS, type FaultPlay, faultPlay, IMPOSSIBLE, isPossible } from './faults/script.ts'

export interface FaultsOptions {
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  /** empty: all */
  readonly kinds: readonly FaultKind[]
  readonly seed: number
  readonly json: boolean
}

/** New listings and dead sockets are found in seconds, not minutes. */
const UNIVERSE_SECONDS = 4
const SILENCE_MS = 5_000
/** Of ping intervals and pong deadlines: minutes become seconds. */
const HEARTBEAT_SCALE = 0.25
/** All levels: the last row of a book is the whole book. */
const LEVELS = 5_000
/** A dozen tables of four venues in four blocks a second each, on their way through NATS, would be the main work. */
const BLOCK_AGE_MS = 2_000
const SHOWN_MAX = 15
const LIVE_MS_MAX = 20_000

export async function runFaults(options: FaultsOptions, run: Run): Promise<void> {
  const { seed, venues } = options
  const plays = new Map(venues.map((venue) => [venue, faultPlay(venue, seed, options.kinds)]))
  const seconds = Math.max(...[...plays.values()].map((play) => play.seconds))
  const markets = withHaste(spreadOverMarkets(options.instruments, venues))
  const stageOptions = {
    ...options,
    seconds,
    recordings: [],
    speed: 1,
    markets,
    directory: stageDirectory(run, 'faults'),
    faults: Object.fromEntries([...plays].map(([venue, { faults }]) => [venue, faults])),
    moreFlags: ['--heartbeat-scale', String(HEARTBEAT_SCALE)],
  }
  const config = {
    ...run.config,
    snapshots: { ...run.config.snapshots, depth: LEVELS },
    batch: { ...run.config.batch, ageMs: BLOCK_AGE_MS },
    delivery: 'direct' as const,
  }
  say(`seed ${seed}: ${sum([...plays.values()].map(({ faults }) => faults.length))} faults in ${seconds} s`)
  await onStage(stageOptions, { ...run, config }, async (stage) => {
    const teller = tellFaults(plays)
    const stopped = new Promise((done) => run.stop.addEventListener('abort', done, { once: true }))
    try {
      await Promise.race([stage.venue.over, stage.engine.failed, stopped])
    } finally {
      clearInterval(teller)
    }
    const livesAtEnd = await allLive(stage)
    await playToEnd(stage, run.stop)
    const collected = new Set(stage.collector.placement.collected().map(({ id }) => id))
    const { check, sent } = await compareWithTruth(stage)
    const { client, config: used, venue, collector } = stage
    const { database } = used.clickhouse
    const books = await compareBooks(client, database, truthsOf(venue), (id) => collected.has(id))
    const gaps = await withLateness(client, database, await readGaps(client, database))
    const result = judgeAll(venue, gaps, check)
    const notStruck = missedFaults(plays, result.notes)
    const unmatched = count(result.verdict)
    const figures = {
      injected: result.losses,
      gapRows: gaps.length,
      unmatched,
      booksEqual: books.differences.length === 0 && livesAtEnd.live >= livesAtEnd.books,
      missing: result.missingOutside,
      ...{ doubled: sums(check).doubled, wrong: sums(check).wrong },
      seconds: Math.round(sent.runSeconds),
      faults: sent.faults,
      notStruck: notStruck.length,
      missingInGaps: sums(check).missing - result.missingOutside,
      repaired: gaps.filter(({ status }) => status === 'repaired').length,
      openAtEnd: gaps.filter(({ status }) => status === 'open').length,
      booksCompared: books.compared,
      booksLive: livesAtEnd.live,
      instruments: collector.instrumentCount,
      rejected: collector.total('rejected'),
      events: sent.events,
      eventsPerSecond: sent.eventsPerSecond,
      /** what the judge says when it is shown no rows, and when it is shown no notes: it can say no */
      controls: { withoutRows: count(result.withoutRows), withoutNotes: count(result.withoutNotes) },
      seed,
    }
    showTable(venues, result.notes, result.verdict)
    for (const row of result.notStored.slice(0, SHOWN_MAX)) say(`not stored, in no gap: ${JSON.stringify(row)}`)
    showFaulty(result.verdict, books.differences, notStruck)
    tellVerdict(figures, missedOf(figures), options.json)
  })
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const count = ({ lossesWithoutRow, rowsWithoutCause }: Verdict): number =>
  lossesWithoutRow.length + rowsWithoutCause.length

function withHaste(markets: MarketPlans): MarketPlans {
  const haste = { universeSeconds: UNIVERSE_SECONDS, silenceMs: SILENCE_MS }
  return Object.fromEntries(Object.entries(markets).map(([key, plan]) => [key, { ...plan, ...haste }]))
}

/** Says of each scene that it is due; the venues begin a moment later than this clock. */
function tellFaults(plays: ReadonlyMap<ExchangeName, FaultPlay>): NodeJS.Timeout {
  const due = [...plays].flatMap(([venue, { faults }]) =>
    faults.map(({ at = 0, kind }) => ({ at, text: `${venue} ${kind}` })),
  )
  const startedMs = performance.now()
  return setInterval(() => {
    const elapsed = (performance.now() - startedMs) / 1_000
    const now = due.filter(({ at }) => at <= elapsed)
    for (const each of now) due.splice(due.indexOf(each), 1)
    if (now.length > 0) say(`${elapsed.toFixed(0)} s: ${[...new Set(now.map(({ text }) => text))].join(', ')}`)
  }, 1_000)
}

/** The market is over; what was asked for anew may still be on its way. */
async function allLive({ collector }: Stage): Promise<{ live: number; books: number }> {
  const deadlineAt = performance.now() + LIVE_MS_MAX
  while (collector.total('books_LIVE') < collector.bookCount && performance.now() < deadlineAt)
    await new Promise((next) => setTimeout(next, 100))
  return { live: collector.total('books_LIVE'), books: collector.bookCount }
}

const truthsOf = ({ exchanges, truthDirectories }: Venue) =>
  exchanges.map((exchange, index) => ({ exchange, directory: truthDirectories[index] as string }))

type NotesByVenue = ReadonlyMap<ExchangeName, readonly VenueNote[]>

function judgeAll(venue: Venue, gaps: readonly JudgedRow[], check: Check) {
  const notes: NotesByVenue = new Map(
    truthsOf(venue).map(({ exchange, directory }) => [exchange, readNotes([directory])]),
  )
  const losses = [...notes].flatMap(([exchange, own]) => lossesOf(exchange, own))
  const disturbances = [...notes].flatMap(([exchange, own]) => disturbancesOf(exchange, own))
  const outside = CHECKED_TABLES.map((table) => missingOutside(table, check, gaps))
  const notStored = outside.flatMap(({ rows }) => rows)
  return {
    notes,
    losses: losses.length,
    missingOutside: sum(outside.map((each) => each.count)),
    notStored,
    verdict: judge(losses, disturbances, gaps),
    withoutRows: judge(losses, disturbances, []),
    withoutNotes: judge([], [], gaps),
  }
}

const CHANNEL_OF: Readonly<Record<CheckedTable, string>> = {
  trades: 'trades',
  book_deltas: 'book',
  book_tickers: 'book_tickers',
}

/** Rows that reached a socket and are not stored, in no interval of `gaps`. */
function missingOutside(table: CheckedTable, check: Check, gaps: readonly JudgedRow[]) {
  const { missing, missingRows } = check[table]
  const isInGap = (row: MissingRow): boolean => {
    const ms = row.ms === '0' ? Number.NaN : Number(row.ms)
    const lost = {
      cause: 'sent',
      firstId: Number(row.number),
      lastId: Number(row.number),
      firstMs: ms,
      lastMs: ms,
      count: 1,
    }
    return gaps.some(
      (gap) =>
        gap.exchange === row.exchange &&
        gap.market === row.market &&
        gap.symbol === row.symbol &&
        gap.channel === CHANNEL_OF[table] &&
        holds(gap, lost),
    )
  }
  const rows = missingRows.filter((row) => !isInGap(row)).map((row) => ({ table, ...row }))
  return { count: missing - (missingRows.length - rows.length), rows }
}

/** Faults of the script that found nothing to strike. */
function missedFaults(plays: ReadonlyMap<ExchangeName, FaultPlay>, notes: NotesByVenue): string[] {
  return [...plays].flatMap(([venue, { faults }]) => {
    const struck = new Set((notes.get(venue) ?? []).filter(({ missed }) => missed !== true).map(({ fault }) => fault))
    return [...new Set(faults.map(({ kind }) => kind))]
      .filter((kind) => !struck.has(kind))
      .map((kind) => `${venue} ${kind}`)
  })
}

function showTable(venues: readonly ExchangeName[], notes: NotesByVenue, verdict: Verdict): void {
  const width = Math.max(...ALL_KINDS.map((kind) => kind.length))
  say(`${'fault'.padEnd(width)}  ${venues.map((venue) => venue.padEnd(8)).join('  ')}`)
  for (const kind of ALL_KINDS) {
    const cells = venues.map((venue) => {
      if (!isPossible(kind, venue)) return '–'
      const found = (notes.get(venue) ?? []).filter(
        ({ fault, missed, armed }) => fault === kind && missed !== true && armed !== true,
      )
      return String(found.length)
    })
    say(`${kind.padEnd(width)}  ${cells.map((cell) => cell.padEnd(8)).join('  ')}`)
  }
  const losses = [...notes].map(([exchange, own]) => `${exchange} ${lossesOf(exchange, own).length}`)
  say(`losses noted: ${losses.join(', ')}; unmatched ${count(verdict)}`)
  for (const [kind, why] of Object.entries(IMPOSSIBLE))
    say(
      `–  ${kind}: ${Object.entries(why)
        .map(([venue, text]) => `${venue} ${text}`)
        .join(', ')}`,
    )
}

function showFaulty(verdict: Verdict, differences: readonly BookDifference[], notStruck: readonly string[]): void {
  for (const loss of verdict.lossesWithoutRow.slice(0, SHOWN_MAX)) say(`loss without a row: ${JSON.stringify(loss)}`)
  for (const row of verdict.rowsWithoutCause.slice(0, SHOWN_MAX)) say(`row without a cause: ${JSON.stringify(row)}`)
  for (const { id, why } of differences.slice(0, SHOWN_MAX)) say(`book ${id}: ${why}`)
  if (notStruck.length > 0) say(`found nothing to strike: ${notStruck.join(', ')}`)
}

interface FaultFigures {
  readonly unmatched: number
  readonly booksEqual: boolean
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
  readonly notStruck: number
  readonly openAtEnd: number
  readonly controls: { readonly withoutRows: number; readonly withoutNotes: number }
}

function missedOf({ booksEqual, controls, ...figures }: FaultFigures): string[] {
  const zeros = ['unmatched', 'missing', 'doubled', 'wrong', 'notStruck', 'openAtEnd'] as const
  return [
    ...zeros.flatMap((name) => (figures[name] === 0 ? [] : [`${figures[name]} ${name}`])),
    ...(booksEqual ? [] : ['not every book is the venue’s own']),
    ...(controls.withoutRows > 0 && controls.withoutNotes > 0 ? [] : ['the judge says yes to everything']),
  ]
}
