/**
 * Rows of the fact tables, page by page.
 *
 * Tables are ReplacingMergeTree: rows of one key are one fact, the one received last counts. FINAL says that for a whole
 * table; here it is said for the few rows of an answer: rows are ordered by key, of one key the newest first, and
 * `LIMIT 1 BY` the key keeps that one. It is exact because every condition is on columns of the key, so all versions of a
 * fact pass or none.
 *
 * A page has an order that is total: the table's axis of time, then the rest of its key. The cursor is those values of the
 * last row, so rows that come in between move nothing.
 *
 * Windows: "the last 100" says nothing of when they were, and reading an instrument backwards from its end costs all of
 * it (measured: 300 ms for 1.7 M rows; parts are read whole before they are ordered). So a window is tried first, as wide
 * as this instrument's last answer needed, then wider ones; whatever fits into a window is the answer, because all rows
 * outside lie beyond it.
 */

import { publicColumns } from '../../record/rows.ts'
import { tableNamed } from '../../record/schema.ts'
import type { Column, Table, TableName } from '../../record/schema-columns.ts'
import type { InstrumentName } from '../engine-link.ts'
import type { Params, Store } from '../store.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { nameOf } from './instrument.ts'
import { nsText, selectList } from './select.ts'
import type { TimeRange } from './time.ts'

export type Order = 'asc' | 'desc'

export interface FactPage {
  readonly rows: Record<string, unknown>[]
  readonly nextCursor: string | null
}

export interface FactQuestion {
  readonly instrument: InstrumentName
  readonly range: TimeRange
  readonly order: Order
  readonly limit: number
  readonly cursor: string | undefined
  /** column of the key → its word */
  readonly equal: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** The column of time that ranges and order mean, of those that are in the key; elsewhere it is received_ns. */
const AXES: Partial<Record<TableName, string>> = {
  trades: 'trade_ns',
  klines: 'open_ns',
  liquidations: 'event_ns',
  long_short_ratios: 'event_ns',
  gaps: 'from_ns',
}

/** A column of the order: as SQL, and as a value of a cursor. */
export interface OrderColumn {
  readonly name: string
  /** to order by */
  readonly sql: string
  /** to compare with a value */
  readonly compared: string
  /** a bound value of it */
  readonly value: (param: string) => string
  /** what it is in a row, as the text of a cursor */
  readonly textOf: (row: Row) => string
}

type Row = Readonly<Record<string, unknown>>

export interface Facts {
  readonly name: TableName
  readonly axis: string
  readonly order: readonly OrderColumn[]
  /** what is shown, and behind it what only the order needs */
  readonly list: string
  readonly times: readonly string[]
  readonly hidden: readonly string[]
}

const known = new Map<TableName, Facts>()

export function factsOf(name: TableName): Facts {
  let facts = known.get(name)
  if (facts === undefined) {
    const table = tableNamed(name)
    const axis = AXES[name] ?? 'received_ns'
    const key = [axis, ...table.orderBy.filter((column) => column !== axis)]
    const shown = publicColumns(table)
    const hidden = key.filter((column) => !shown.some(({ name }) => name === column))
    facts = {
      name,
      axis,
      order: key.map((column) => orderColumn(table, column)),
      list: [selectList(table, 'plain'), ...hidden.map((column) => `toString(fact.${column}) AS ${column}`)].join(', '),
      times: shown.flatMap((column) => (column.form === 'time' ? [column.name] : [])),
      hidden,
    }
    known.set(name, facts)
  }
  return facts
}

/** Columns that the store adds, and those of the row head. */
const STORED: Readonly<Record<string, Pick<Column, 'type' | 'meaning'>>> = {
  received_ns: { type: 'Int64', meaning: 'time' },
  producer: { type: 'String', meaning: 'text' },
  epoch: { type: 'UInt64', meaning: 'plain' },
  block_seq: { type: 'UInt64', meaning: 'plain' },
  row_in_block: { type: 'UInt32', meaning: 'plain' },
}

function orderColumn(table: Table, name: string): OrderColumn {
  const { type, meaning, words = {} } = table.columns.find((column) => column.name === name) ?? (STORED[name] as Column)
  const sql = `fact.${name}`
  const textOf = (row: Row): string => String(row[name])
  const plain = { name, sql, compared: sql, textOf }
  if (meaning === 'time') return { ...plain, value: (param) => `fromUnixTimestamp64Nano({${param}:Int64})` }
  if (meaning === 'enum')
    return {
      ...plain,
      compared: `toInt8(${sql})`,
      value: (param) => `{${param}:Int8}`,
      textOf: (row) => String(words[row[name] as string]),
    }
  if (type === 'Decimal') {
    const asText = `ifNull(toString(${sql}), '')` // a total order is all that is wanted of it, NULL included
    return {
      name,
      sql: asText,
      compared: asText,
      value: (param) => `{${param}:String}`,
      textOf: (row) => String(row[name] ?? ''),
    }
  }
  return { ...plain, value: (param) => `{${param}:${type}}` }
}

/** Newest first among the versions of one fact; of one packet's the one written last. */
export const VERSION = 'fact.received_ns DESC, fact.epoch DESC, fact.block_seq DESC, fact.row_in_block DESC'

const MINUTE_NS = 60_000_000_000n
/** Received before its own time by more than this is nothing: so days before a range need not be opened (a fifth of the time). */
const SKEW_NS = 60n * MINUTE_NS
const FIRST_WINDOW_NS = 10n * MINUTE_NS
/** Hundreds of rows may have the same time. */
const WINDOW_NS_MIN = 1_000_000_000n
const WINDOWS_MAX = 3
/** What was too narrow by an unknown measure: 10 min, 6 h, 9 days, all. */
const WIDEN = 36n
const HINTS_MAX = 10_000
/** A window that is placed by an older end reads a minute more, which costs less than asking for the end again. */
const NEWEST_MS = 60_000

interface Bounds {
  readonly lowNs: bigint | undefined
  readonly highNs: bigint | undefined
}

export class History {
  readonly #store: Store
  readonly #nowMs: () => number
  /** table and instrument → ns that one row took in its last answer */
  readonly #nsPerRow = new Map<string, number>()
  readonly #ends = new Map<string, { readonly oldestNs: bigint; readonly newestNs: bigint; readonly atMs: number }>()

  /** @param nowMs monotonic */
  constructor(store: Store, nowMs: () => number) {
    this.#store = store
    this.#nowMs = nowMs
  }

  async page(name: TableName, question: FactQuestion): Promise<FactPage> {
    const facts = factsOf(name)
    const { instrument, order, limit, equal } = question
    const identity = JSON.stringify([name, nameOf(instrument), order, Object.entries(equal).sort()])
    const after =
      question.cursor === undefined ? undefined : decodeCursor(identity, question.cursor, facts.order.length)
    const found = await this.#windows(facts, question, after)
    const last = found.length > limit ? found[limit - 1] : undefined
    const nextCursor =
      last === undefined
        ? null
        : encodeCursor(
            identity,
            facts.order.map(({ textOf }) => textOf(last)),
          )
    const rows = found.slice(0, limit)
    for (const row of rows) for (const column of facts.hidden) delete row[column]
    return { rows, nextCursor }
  }

  /** One row more than the limit, if there is one. */
  async #windows(facts: Facts, question: FactQuestion, after: readonly string[] | undefined): Promise<FoundRow[]> {
    const { order, limit } = question
    const bounds = boundsOf(question, after)
    const hint = `${facts.name} ${nameOf(question.instrument)}`
    const perRow = this.#nsPerRow.get(hint)
    let widthNs = perRow === undefined ? FIRST_WINDOW_NS : BigInt(Math.ceil(perRow * 2 * (limit + 1))) + WINDOW_NS_MIN
    for (let window = 0; window < WINDOWS_MAX; window++) {
      const tried = await this.#window(facts, order, bounds, widthNs)
      if (tried === undefined) break
      const rows = await this.#ask(facts, question, tried, after)
      const isFull = rows.length > limit
      const lastNs = isFull ? BigInt((rows.at(-1) as FoundRow)[facts.axis] as string) : undefined
      const spanNs = lastNs === undefined ? widthNs : spanOf(order, tried, widthNs, lastNs)
      if (rows.length > 0) this.#remember(hint, Number(spanNs) / rows.length)
      if (isFull) return rows
      widthNs *= rows.length === 0 ? WIDEN : BigInt(Math.min(Number(WIDEN), 2 + Math.ceil((2 * limit) / rows.length)))
    }
    return await this.#ask(facts, question, bounds, after)
  }

  /** @returns undefined when the window is no narrower than what was asked for. */
  async #window(facts: Facts, order: Order, bounds: Bounds, widthNs: bigint): Promise<Bounds | undefined> {
    const { lowNs, highNs } = bounds
    if (order === 'desc') {
      const end = highNs ?? (await this.#endsOf(facts.name)).newestNs
      const low = end - widthNs
      return low <= (lowNs ?? 0n) ? undefined : { lowNs: low, highNs }
    }
    const start = lowNs ?? (await this.#endsOf(facts.name)).oldestNs
    const high = start + widthNs
    return highNs !== undefined && high >= highNs ? undefined : { lowNs, highNs: high }
  }

  /** First and last time of a table, from the heads of its parts. It only places windows, so it may be old. */
  async #endsOf(name: TableName): Promise<{ oldestNs: bigint; newestNs: bigint }> {
    const kept = this.#ends.get(name)
    const nowMs = this.#nowMs()
    if (kept !== undefined && nowMs - kept.atMs < NEWEST_MS) return kept
    const [row] = await this.#store.rows<{ oldest: string; newest: string }>(
      `SELECT toString(toUnixTimestamp64Nano(min(received_ns))) AS oldest, toString(toUnixTimestamp64Nano(max(received_ns))) AS newest FROM ${name}`,
    )
    const ends = { oldestNs: BigInt(row?.oldest ?? 0), newestNs: BigInt(row?.newest ?? 0), atMs: nowMs }
    this.#ends.set(name, ends)
    return ends
  }

  #remember(hint: string, nsPerRow: number): void {
    this.#nsPerRow.delete(hint)
    this.#nsPerRow.set(hint, nsPerRow)
    if (this.#nsPerRow.size > HINTS_MAX) this.#nsPerRow.delete(this.#nsPerRow.keys().next().value as string)
  }

  async #ask(
    facts: Facts,
    { instrument, order, limit, equal, signal }: FactQuestion,
    { lowNs, highNs }: Bounds,
    after: readonly string[] | undefined,
  ): Promise<FoundRow[]> {
    const params: Record<string, Params[string]> = { ...instrument, limit: limit + 1 }
    const where = [...INSTRUMENT_IS]
    const bind = (name: string, value: Params[string]): string => {
      params[name] = value
      return name
    }
    const axis = `fact.${facts.axis}`
    if (lowNs !== undefined) {
      where.push(`${axis} >= fromUnixTimestamp64Nano({${bind('low', lowNs)}:Int64})`)
      const receivedNs = lowNs > SKEW_NS ? lowNs - SKEW_NS : 0n
      if (facts.axis !== 'received_ns')
        where.push(`fact.received_ns >= fromUnixTimestamp64Nano({${bind('received', receivedNs)}:Int64})`)
    }
    if (highNs !== undefined) where.push(`${axis} < fromUnixTimestamp64Nano({${bind('high', highNs)}:Int64})`)
    for (const [column, word] of Object.entries(equal))
      where.push(`fact.${column} = {${bind(`is_${column}`, word)}:String}`)
    if (after !== undefined) {
      const values = after.map((text, index) => (facts.order[index] as OrderColumn).value(bind(`after${index}`, text)))
      where.push(beyond(facts.order, values, order === 'asc' ? '>' : '<'))
    }
    const direction = order === 'asc' ? 'ASC' : 'DESC'
    const columns = facts.order.map(({ sql }) => sql)
    const sql = `SELECT ${facts.list}
      FROM ${facts.name} AS fact
      WHERE ${where.join(' AND ')}
      ORDER BY ${columns.map((column) => `${column} ${direction}`).join(', ')}, ${VERSION}
      LIMIT 1 BY ${columns.join(', ')}
      LIMIT {limit:UInt32}`
    const rows = await this.#store.rows<FoundRow>(sql, params, { signal })
    for (const row of rows) for (const column of facts.times) row[column] = nsText(row[column] as string)
    return rows
  }
}

/** From the edge where the rows of a full window begin to the last of them. */
function spanOf(order: Order, { lowNs, highNs }: Bounds, widthNs: bigint, lastNs: bigint): bigint {
  return order === 'desc' ? (lowNs as bigint) + widthNs - lastNs : lastNs - ((highNs as bigint) - widthNs)
}

type FoundRow = Record<string, unknown>

const INSTRUMENT_IS = ['exchange', 'market', 'symbol'].map((column) => `fact.${column} = {${column}:String}`)

/** The range, narrowed by where the page begins; the axis is the first value of a cursor. */
function boundsOf({ range, order }: FactQuestion, after: readonly string[] | undefined): Bounds {
  const { fromNs: lowNs, toNs: highNs } = range
  if (after === undefined) return { lowNs, highNs }
  const at = BigInt(after[0] as string)
  return order === 'asc' ? { lowNs: at, highNs } : { lowNs, highNs: at + 1n }
}

/** (a, b, c) > (x, y, z), NULL-free and one column after the other, as the engine likes it for its index. */
function beyond(order: readonly OrderColumn[], values: readonly string[], sign: '>' | '<'): string {
  let condition = ''
  for (let index = order.length - 1; index >= 0; index--) {
    const { compared } = order[index] as OrderColumn
    const own = `${compared} ${sign} ${values[index]}`
    condition = condition === '' ? own : `(${own} OR (${compared} = ${values[index]} AND ${condition}))`
  }
  return condition
}
