/**
 * Exports: all rows of a table in a range of time, in the order of time, in one of six formats, as fast as they are taken.
 *
 * The range is read in slices of time, one query each, so that the order costs the sorting of a slice and memory stays
 * that of a slice, whatever the range; slices get wider or narrower to be some 4 MB. Bytes go through as the engine made
 * them, but for msgpack, which is packed here, a little at a time.
 *
 *   json      {"table", "from_ns", "to_ns", "rows": [ … ], "count": n, "complete": true}
 *   ndjson    a row a line
 *   csv       a line of names, then a row a line; levels as JSON
 *   msgpack   one map a row, one after the other
 *   arrow     one IPC stream: the schema of the first slice, the batches of all
 *   parquet   one file; it has to be made whole, so its rows are bounded
 *
 * Every answer ends in trailers that say how many rows it has (X-Export-Rows) and that it is whole. What breaks on the way
 * breaks the connection, so no client takes a part for all: HTTP says by itself when a chunked body has no end.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { Packr } from 'msgpackr'
import { publicColumns } from '../../record/rows.ts'
import { tableNamed } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import { HttpFault } from '../http-fault.ts'
import type { Params, Store } from '../store.ts'
import { ArrowForm } from './export-arrow.ts'
import type { ExportTally, Form } from './export-form.ts'
import { type Facts, factsOf, VERSION } from './facts.ts'
import { selectList } from './select.ts'
import { earlier, later } from './time.ts'

export const EXPORT_FORMATS = {
  json: { type: 'application/json; charset=utf-8', engine: 'JSONEachRow', ending: 'json' },
  ndjson: { type: 'application/x-ndjson', engine: 'JSONEachRow', ending: 'ndjson' },
  csv: { type: 'text/csv; charset=utf-8', engine: 'CSV', ending: 'csv' },
  msgpack: { type: 'application/vnd.msgpack', engine: 'JSONEachRow', ending: 'msgpack' },
  arrow: { type: 'application/vnd.apache.arrow.stream', engine: 'ArrowStream', ending: 'arrows' },
  parquet: { type: 'application/vnd.apache.parquet', engine: 'Parquet', ending: 'parquet' },
} as const
export type ExportFormat = keyof typeof EXPORT_FORMATS

export const PARQUET_ROWS_MAX = 1_000_000

export interface ExportQuestion {
  readonly table: TableName
  readonly format: ExportFormat
  /** column of the instrument → value */
  readonly equal: Readonly<Record<string, string>>
  readonly fromNs: bigint
  readonly toNs: bigint
  readonly signal: AbortSignal
}

const SLICE_BYTES = 4 * 1024 * 1024
const FIRST_SLICE_ROWS = 5_000
const WIDTH_NS_MIN = 1_000_000n
/** Venue clocks may be ahead of ours by so much, no more: it lets whole days be skipped that were received before. */
const SKEW_NS = 3_600_000_000_000n
/** So many rows are packed before others get their turn. */
const PACK_ROWS = 500

/** @throws HttpFault before the first bytes; later what breaks is an Error. */
export async function* exported(store: Store, question: ExportQuestion, tally: ExportTally): AsyncGenerator<Buffer> {
  const source = new Source(store, question)
  const total = await source.count()
  if (question.format === 'parquet') {
    if (total > PARQUET_ROWS_MAX)
      throw new HttpFault(
        422,
        'too_many_rows',
        `${total} rows: a Parquet file holds ${PARQUET_ROWS_MAX}, ask for less time or for another format`,
        { rows: total },
      )
    for await (const bytes of await source.read(question.fromNs, question.toNs)) yield bytes as Buffer
    tally.rows = await source.countOnce()
    return
  }
  const form = FORMS[question.format](question)
  yield* form.head()
  const sizes = new SliceWidth(question.toNs - question.fromNs, total)
  for (let fromNs = question.fromNs; fromNs < question.toNs; ) {
    const toNs = earlier(fromNs + sizes.widthNs, question.toNs)
    let bytesRead = 0
    for await (const bytes of form.body(await source.read(fromNs, toNs), tally)) {
      bytesRead += bytes.length
      yield bytes
    }
    sizes.learn(bytesRead)
    fromNs = toNs
  }
  yield* form.tail(tally)
}

/** How much time a slice is. */
class SliceWidth {
  widthNs: bigint

  constructor(rangeNs: bigint, rows: number) {
    this.widthNs = rows <= FIRST_SLICE_ROWS ? rangeNs : (rangeNs * BigInt(FIRST_SLICE_ROWS)) / BigInt(rows)
    if (this.widthNs < WIDTH_NS_MIN) this.widthNs = WIDTH_NS_MIN
  }

  learn(bytes: number): void {
    const factor = Math.min(8, Math.max(0.1, SLICE_BYTES / Math.max(1, bytes)))
    this.widthNs = later(WIDTH_NS_MIN, (this.widthNs * BigInt(Math.round(factor * 100))) / 100n)
  }
}

class Source {
  readonly #store: Store
  readonly #question: ExportQuestion
  readonly #facts: Facts
  readonly #params: Record<string, Params[string]>
  readonly #where: string

  constructor(store: Store, question: ExportQuestion) {
    this.#store = store
    this.#question = question
    this.#facts = factsOf(question.table)
    this.#params = {}
    const axis = `fact.${this.#facts.axis}`
    const where = [
      `${axis} >= fromUnixTimestamp64Nano({from:Int64})`,
      `${axis} < fromUnixTimestamp64Nano({to:Int64})`,
      'fact.received_ns >= fromUnixTimestamp64Nano({received:Int64})',
    ]
    for (const [column, value] of Object.entries(question.equal)) {
      this.#params[`is_${column}`] = value
      where.push(`fact.${column} = {is_${column}:String}`)
    }
    this.#where = where.join(' AND ')
  }

  /** Rows, with those that are there twice; only FINAL would know better. */
  async count(): Promise<number> {
    const [row] = await this.#store.rows<{ rows: number }>(
      `SELECT count() AS rows FROM ${this.#question.table} AS fact WHERE ${this.#where}`,
      this.#bound(this.#question.fromNs, this.#question.toNs),
      { signal: this.#question.signal },
    )
    return row?.rows ?? 0
  }

  /** Every fact once. */
  async countOnce(): Promise<number> {
    const { table, fromNs, toNs, signal } = this.#question
    const [row] = await this.#store.rows<{ rows: number }>(
      `SELECT count() AS rows FROM (SELECT 1 FROM ${table} AS fact WHERE ${this.#where} LIMIT 1 BY ${this.#key().join(', ')})`,
      this.#bound(fromNs, toNs),
      { signal },
    )
    return row?.rows ?? 0
  }

  /** Time first, then whatever tells one row from another. */
  #key(): readonly string[] {
    const [axis, ...rest] = this.#facts.order.map(({ sql }) => sql)
    return [axis as string, ...NAMES.map((name) => `fact.${name}`), ...rest]
  }

  async read(fromNs: bigint, toNs: bigint): Promise<AsyncIterable<Uint8Array>> {
    const { table, format, signal } = this.#question
    const key = this.#key().join(', ')
    return await this.#store.stream(
      `SELECT ${listOf(table, format)} FROM ${table} AS fact WHERE ${this.#where}
       ORDER BY ${key}, ${VERSION} LIMIT 1 BY ${key}`,
      this.#bound(fromNs, toNs),
      EXPORT_FORMATS[format].engine,
      { signal },
    )
  }

  #bound(fromNs: bigint, toNs: bigint): Params {
    return { ...this.#params, from: fromNs, to: toNs, received: later(0n, fromNs - SKEW_NS) }
  }
}

const NAMES = ['exchange', 'market', 'symbol']

function listOf(table: TableName, format: ExportFormat): string {
  const isColumnar = format === 'arrow' || format === 'parquet'
  const names = NAMES.map((name) => `${isColumnar ? 'toString' : ''}(fact.${name}) AS ${name}`).join(', ')
  return `${names}, ${selectList(tableNamed(table), isColumnar ? 'columnar' : format === 'csv' ? 'cells' : 'text')}`
}

const nothing = (): Iterable<Buffer> => []

const FORMS: Readonly<Record<Exclude<ExportFormat, 'parquet'>, (question: ExportQuestion) => Form>> = {
  ndjson: () => ({ head: nothing, body: jsonLines, tail: nothing }),
  csv: ({ table }) => ({
    head: () => [Buffer.from(`${[...NAMES, ...publicColumns(tableNamed(table)).map(({ name }) => name)].join(',')}\n`)],
    body: csvLines,
    tail: nothing,
  }),
  json: ({ table, fromNs, toNs }) => ({
    head: () => [Buffer.from(`{"table":"${table}","from_ns":"${fromNs}","to_ns":"${toNs}","rows":[\n`)],
    body: separated,
    tail: ({ rows }) => [Buffer.from(`\n],"count":${rows},"complete":true}\n`)],
  }),
  msgpack: () => ({ head: nothing, body: packed, tail: nothing }),
  arrow: () => new ArrowForm(),
}

const NEWLINE = 10
const QUOTE = 34

async function* jsonLines(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) tally.rows++
    yield chunk as Buffer
  }
}

/** A line end between quotes is text; a quote in a text is written twice. */
async function* csvLines(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer> {
  let isText = false
  for await (const chunk of bytes) {
    for (const byte of chunk) {
      if (byte === QUOTE) isText = !isText
      else if (byte === NEWLINE && !isText) tally.rows++
    }
    yield chunk as Buffer
  }
}

/** A comma between rows: the line end of the last one is held back until another follows. */
async function* separated(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer> {
  let isHeld = tally.rows > 0
  for await (const chunk of bytes) {
    const text = Buffer.from(chunk).toString('latin1') // bytes as they are
    const isWhole = text.endsWith('\n')
    const rows = (isWhole ? text.slice(0, -1) : text).replaceAll('\n', ',\n')
    yield Buffer.from(isHeld ? `,\n${rows}` : rows, 'latin1')
    tally.rows += text.split('\n').length - 1
    isHeld = isWhole
  }
}

const packr = new Packr({ useRecords: false })

async function* packed(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of bytes) {
    const rows = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = rows.pop() ?? ''
    for (let at = 0; at < rows.length; at += PACK_ROWS) {
      const some = rows.slice(at, at + PACK_ROWS)
      tally.rows += some.length
      yield Buffer.concat(some.map((row) => packr.pack(JSON.parse(row))))
      await turn()
    }
  }
}
