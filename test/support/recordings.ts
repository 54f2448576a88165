import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createReadStream, existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ReplayAnswer, ReplayInstrument } from '../../engine/tools/replay.ts'

/** Recordings, what other code says of them (truth files), and what `replay` makes of them. */
const HERE = dirname(fileURLToPath(import.meta.url))
const MAIN = join(HERE, '..', '..', 'engine', `main${extname(fileURLToPath(import.meta.url))}`)
export const RECORDINGS = process.env['MARKETPRISM_RECORDINGS'] ?? join(projectRoot(HERE), '..', 'shared', 'data')
const ANSWER_BYTES_MAX = 64 << 20
const TOP_LEVELS = 20

type Levels = readonly (readonly [string, string])[]

/** A truth file, made by other code from the same recording. */
export interface Truth {
  readonly recording: { readonly lines?: number; readonly ws_messages?: number }
  readonly message_counts: Readonly<Record<string, number>>
  readonly symbols: Readonly<Record<string, TruthSymbol>>
}
export interface TruthSymbol {
  readonly applied: number
  readonly dropped_stale: number
  readonly gaps: readonly unknown[]
  readonly first_applied: TruthEvent
  readonly last_applied: TruthEvent
  readonly top20: readonly {
    readonly last: TruthEvent
    readonly bids: Levels
    readonly asks: Levels
    n_bids: number
    n_asks: number
  }[]
  readonly final: { readonly bids: Levels; readonly asks: Levels }
  readonly checksum?: { readonly verified: number; readonly failed: number; readonly absent: number }
  readonly trades: Readonly<Record<string, TruthTrades>>
  readonly bookTicker?: { readonly count: number; readonly last: Readonly<Record<string, string | number>> }
  readonly ticker?: { readonly count: number; readonly last: Readonly<Record<string, string>> }
}
interface TruthTrades {
  readonly count: number
  readonly sum_qty: string
  readonly sum_price_x_qty: string
  readonly first_id: string | number
  readonly last_id: string | number
}
/** How the venue names an event: Binance and Bybit by `u`, OKX by `seqId` or the time, Deribit by `change_id`. */
type TruthEvent = Readonly<
  Partial<Record<'u' | 'U' | 'seqId' | 'change_id' | 'ts' | 'timestamp' | 'E', string | number>>
>

export type Row = Readonly<Record<string, string | number | null | readonly string[]>>

export interface Replayed {
  readonly answer: ReplayAnswer
  readonly rows: readonly Row[]
}

export function projectRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : projectRoot(dirname(from))
}

/** The files, or undefined when they are not there, which is said and the test skipped. */
export function recordingFiles(t: TestContext, ...names: readonly string[]): string[] | undefined {
  const files = names.map((name) => join(RECORDINGS, 'recordings', name))
  const missing = files.find((file) => !existsSync(file))
  if (missing === undefined) return files
  t.skip(`no recording ${missing}: set MARKETPRISM_RECORDINGS to the folder that has it`)
  return undefined
}

export function truthOf(name: string): Truth {
  return JSON.parse(readFileSync(join(RECORDINGS, 'truth', `${name}.json`), 'utf8')) as Truth
}

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export function replay(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'replay', ...args], { maxBuffer: ANSWER_BYTES_MAX }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
  })
}

export async function answerOf(...args: readonly string[]): Promise<ReplayAnswer> {
  const { code, stdout, stderr } = await replay(...args, '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as ReplayAnswer
}

/** The answer and every row, book tickers apart: there are many, and the answer counts them. */
export async function replayed(...args: readonly string[]): Promise<Replayed> {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-rows-'))
  try {
    const file = join(folder, 'rows')
    const answer = await answerOf(...args, '--rows', file)
    const rows: Row[] = []
    for await (const line of createInterface({ input: createReadStream(file) }))
      if (!line.startsWith('{"table":"book_tickers"')) rows.push(JSON.parse(line) as Row)
    return { answer, rows }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Everything that the truth tells of one instrument, against the answer and against the rows. */
export function assertTruth({ answer, rows }: Replayed, id: string, truth: TruthSymbol): void {
  const found = answer.instruments[id] as ReplayInstrument
  assert.ok(found, `${id} in ${Object.keys(answer.instruments).join(', ')}`)
  assert.deepEqual(found.bids, truth.final.bids, `${id} bids`)
  assert.deepEqual(found.asks, truth.final.asks, `${id} asks`)
  assert.deepEqual(
    [found.state, found.applied, found.stale, found.gaps],
    ['LIVE', truth.applied, truth.dropped_stale, truth.gaps.length],
    `${id} state, applied, stale, gaps`,
  )
  const last = truth.last_applied.u ?? truth.last_applied.seqId ?? truth.last_applied.change_id
  if (last !== undefined) assert.equal(found.lastSeq, String(last), `${id} last sequence`)
  assert.equal(found.bookTickers.count, truth.bookTicker?.count ?? 0, `${id} book tickers`)
  const sums = truth.checksum
  if (sums !== undefined)
    assert.deepEqual(found.checksums, { good: sums.verified, bad: sums.failed, absent: sums.absent }, `${id} checksums`)
  assertTrades(found, Object.values(truth.trades), id)
  const own = rows.filter((row) => row['instrument'] === id)
  assertKinds(answer, own, id)
  assertBook(own, id, truth)
}

function assertTrades({ trades }: ReplayInstrument, expected: readonly TruthTrades[], id: string): void {
  assert.ok(expected.length <= 1, `${id}: the truth of one stream of trades`)
  const [truth] = expected
  if (truth === undefined) return assert.equal(trades.count, 0, `${id} trades`)
  assert.deepEqual(
    trades,
    {
      count: truth.count,
      quantity: truth.sum_qty,
      notional: truth.sum_price_x_qty,
      firstId: String(truth.first_id),
      lastId: String(truth.last_id),
    },
    `${id} trades`,
  )
}

/** `kinds` is what a count of the rows gives. */
function assertKinds(answer: ReplayAnswer, rows: readonly Row[], id: string): void {
  const counts: Record<string, number> = {}
  for (const row of rows) counts[String(row['table'])] = (counts[String(row['table'])] ?? 0) + 1
  const { book_tickers: _, ...kinds } = answer.instruments[id]?.kinds ?? {}
  assert.deepEqual(kinds, counts, `${id} kinds`)
}

/** A book of the simplest kind, folded from the rows alone, is the true one wherever the truth looked at it. */
function assertBook(rows: readonly Row[], id: string, truth: TruthSymbol): void {
  const sides = { bid: new Map<string, string>(), ask: new Map<string, string>() }
  let last: Row | undefined
  const wanted = [...truth.top20]
  let matched = 0
  for (const row of chainOf(rows)) {
    last = row
    if (row['table'] === 'book_snapshots') {
      sides.bid.clear()
      sides.ask.clear()
    }
    for (const [name, side] of Object.entries(sides)) fold(side, row, name)
    // Events of one time share its name (OKX of 2021): one of them is what the truth saw last.
    const at = wanted.findIndex((one) => isNamed(row, one.last) && isSame(sides, one))
    if (at >= 0) {
      wanted.splice(at, 1)
      matched++
      while (isStillSame(sides, row, wanted[0])) {
        wanted.shift()
        matched++
      }
    }
  }
  const ms = truth.last_applied.ts ?? truth.last_applied.timestamp ?? truth.last_applied.E
  assert.equal(last?.['event_ns'], `${ms}000000`, `${id}: time of the last event`)
  assert.equal(matched, truth.top20.length, `${id}: moments at which the best ${TOP_LEVELS} levels are the true ones`)
  assert.deepEqual(sorted(sides.bid, -1), truth.final.bids, `${id} bids from rows`)
  assert.deepEqual(sorted(sides.ask, 1), truth.final.asks, `${id} asks from rows`)
}

/** As the README has it: each anchor, then what has its epoch and is LIVE. Blocks of one table come in order, tables do not. */
function* chainOf(rows: readonly Row[]): Generator<Row> {
  const deltas = new Map<unknown, Row[]>()
  for (const row of rows) {
    if (row['table'] !== 'book_deltas' || row['state'] !== 'LIVE') continue
    const epoch = deltas.get(row['book_epoch']) ?? []
    deltas.set(row['book_epoch'], epoch)
    epoch.push(row)
  }
  for (const row of rows) {
    if (row['table'] !== 'book_snapshots' || row['kind'] !== 'anchor') continue
    yield row
    yield* deltas.get(row['book_epoch']) ?? []
  }
}

interface Sides {
  readonly bid: ReadonlyMap<string, string>
  readonly ask: ReadonlyMap<string, string>
}

function fold(side: Map<string, string>, row: Row, name: string): void {
  const prices = row[`${name}_prices`] as readonly string[]
  const quantities = row[`${name}_quantities`] as readonly string[]
  for (const [at, price] of prices.entries()) {
    if (quantities[at] === '0') side.delete(price)
    else side.set(price, quantities[at] as string)
  }
}

function isNamed(row: Row, event: TruthEvent | null): boolean {
  if (event === null) return row['table'] === 'book_snapshots' // looked at before anything was applied
  const seq = event.u ?? event.seqId ?? event.change_id
  if (seq !== undefined) return row['last_seq'] === String(seq)
  return row['event_ns'] === `${event.ts ?? event.timestamp}000000`
}

/** The truth looked several times while nothing changed. */
function isStillSame(sides: Sides, row: Row, next: TruthSymbol['top20'][number] | undefined): boolean {
  return next !== undefined && isNamed(row, next.last) && isSame(sides, next)
}

function isSame(sides: Sides, truth: TruthSymbol['top20'][number]): boolean {
  if (sides.bid.size !== truth.n_bids || sides.ask.size !== truth.n_asks) return false
  const top = (side: ReadonlyMap<string, string>, sign: number) =>
    JSON.stringify(sorted(side, sign).slice(0, TOP_LEVELS))
  return top(sides.bid, -1) === JSON.stringify(truth.bids) && top(sides.ask, 1) === JSON.stringify(truth.asks)
}

/** By price; the numbers of these recordings are told apart by doubles. */
function sorted(side: ReadonlyMap<string, string>, sign: number): [string, string][] {
  return [...side].sort(([a], [b]) => sign * (Number(a) - Number(b)))
}
