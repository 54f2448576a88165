/**
 * Rows as users see them, the same in REST answers, on WebSockets and in the client: exact numbers as decimal text, times
 * as text of ns since the epoch, enums as words, levels of books as [price, quantity] pairs, best first.
 *
 *   stored and live                                     for users
 *   price_mantissa 6180020, price_scale 2        ─►     price "61800.2"
 *   bid_price_mantissas, bid_quantity_mantissas  ─►     bids [["61800.2","0.5"], …]
 *   received_ns 1723118400000000000              ─►     received_ns "1723118400000000000"
 *
 * `publicColumns` is the one list of names and forms: live rows are made by it here, SELECT lists are made of it by history.
 *
 * Arithmetic: 12 columns, two of them decimals of 50 ns: 0.5 µs a row.
 */
import { type AnyTable, BOOK_STATES, ROW_HEAD, TABLES } from './schema.ts'
import type { Cell, Column, Table } from './schema-columns.ts'
import { count, id, prices, quantities, scale, text, time, word } from './schema-columns.ts'
import { decimalText } from '../scan/decimal.ts'

/** How a public column is made of stored ones. */
export type PublicColumn =
  /** decimal text of mantissa / 10^scale */
  | { readonly name: string; readonly form: 'scaled'; readonly mantissa: string; readonly scale: string }
  /** [[price, quantity], …] */
  | {
      readonly name: string
      readonly form: 'levels'
      readonly prices: string
      readonly quantities: string
      readonly priceScale: string
      readonly quantityScale: string
    }
  /**
   * decimal: decimal text or null · time: text of ns since the epoch, "0" for none · number: a JSON number below 2^53 ·
   * word, text: as they are
   */
  | { readonly name: string; readonly form: 'decimal' | 'time' | 'number' | 'word' | 'text' }

/** A row of a live message, as msgpack gives it: integers above 2^32 may be numbers, bigints or text. */
export type LiveRow = Readonly<Record<string, unknown>>
export type PublicRow = Record<string, unknown>
export type Level = readonly [price: string, quantity: string]

/** `publicColumns` for the type system: the name that a column has for users, never for one that shows in another. */
type PublicName<C extends Cell<string, unknown>> = C['meaning'] extends 'scale'
  ? never
  : C['name'] extends `${infer Side}_price_mantissas`
    ? `${Side}s`
    : C['name'] extends `${string}_quantity_mantissas`
      ? never
      : C['name'] extends `${infer Stem}_mantissa`
        ? Stem
        : C['name']
type PublicValue<C extends Cell<string, unknown>> = C['name'] extends `${string}_price_mantissas`
  ? readonly Level[]
  : C['meaning'] extends 'time' | 'priceMantissa' | 'quantityMantissa'
    ? string
    : C['meaning'] extends 'plain'
      ? number
      : Exclude<C['cell'], undefined>
type PublicRowOf<Columns extends readonly Cell<string, unknown>[]> = {
  readonly [C in Columns[number] as PublicName<C>]: PublicValue<C>
}
/** when the bytes left the socket, on the machine of the collector */
interface Received {
  readonly received_ns: string
}

/** A row of a table as users see it, without exchange, market and symbol. */
export type TableRow<Name extends AnyTable['name']> = Received &
  PublicRowOf<Extract<AnyTable, { name: Name }>['columns']>

interface LiveBookRows {
  readonly book_snapshot: Received & PublicRowOf<typeof BOOK_SNAPSHOT.columns>
  readonly book_state: Received & PublicRowOf<typeof BOOK_STATE.columns>
}
type TableLiveType = Exclude<AnyTable['liveType'], null>
/** First words of live subjects whose messages have rows. */
export type LiveType = TableLiveType | keyof LiveBookRows
/** A row of a live message as users see it. */
export type LiveTypeRow<Type extends LiveType> = Type extends keyof LiveBookRows
  ? LiveBookRows[Type]
  : TableRow<Extract<AnyTable, { liveType: Type }>['name']>

const SCALES = { price: 'price_scale', quantity: 'quantity_scale' } as const

/** Names, order and forms of what users see of a table; exchange, market and symbol stand beside the rows. */
export function publicColumns(table: Pick<Table, 'columns'>): readonly PublicColumn[] {
  return [...ROW_HEAD.slice(1), ...table.columns].flatMap((column) => publicColumn(column) ?? [])
}

function publicColumn({ name, type, meaning }: Column): PublicColumn | undefined {
  switch (meaning) {
    case 'scale':
      return undefined
    case 'priceMantissa':
    case 'quantityMantissa': {
      if (type === 'Array(Int64)') return meaning === 'priceMantissa' ? levels(name) : undefined
      const scaleColumn = meaning === 'priceMantissa' ? SCALES.price : SCALES.quantity
      return { name: name.replace(/_mantissa$/, ''), form: 'scaled', mantissa: name, scale: scaleColumn }
    }
    case 'plain':
      return { name, form: 'number' }
    case 'enum':
      return { name, form: 'word' }
    default:
      return { name, form: meaning }
  }
}

/** `bid_price_mantissas` → `bids` */
function levels(priceColumn: string): PublicColumn {
  const side = priceColumn.replace(/_price_mantissas$/, '')
  return {
    name: `${side}s`,
    form: 'levels',
    prices: priceColumn,
    quantities: `${side}_quantity_mantissas`,
    priceScale: SCALES.price,
    quantityScale: SCALES.quantity,
  }
}

export const SNAPSHOT_REASONS = { anchor: 1, refresh: 2, wanted: 3 } as const

/** Live messages that are rows of no table: whole books, and changes of their states. */
const BOOK_SNAPSHOT = {
  columns: [
    time('event_ns', "the venue's time of the last event in the book"),
    word('reason', SNAPSHOT_REASONS, 'why it was sent'),
    count('book_epoch', 'UInt32', 'see book_deltas'),
    id('last_seq', 'the book is the fold of everything up to here'),
    prices('bid_price_mantissas', 'best first'),
    quantities('bid_quantity_mantissas', ''),
    prices('ask_price_mantissas', 'best first'),
    quantities('ask_quantity_mantissas', ''),
    scale('price_scale', ''),
    scale('quantity_scale', ''),
  ],
} as const
const BOOK_STATE = {
  columns: [
    word('state', BOOK_STATES, ''),
    time('since_ns', 'when it came into this state'),
    text('reason', 'cause of the gap, or a few words'),
    count('book_epoch', 'UInt32', 'see book_deltas'),
    id('last_seq', ''),
  ],
} as const

/** Live type → its public columns. */
export const LIVE_COLUMNS: ReadonlyMap<string, readonly PublicColumn[]> = new Map([
  ...TABLES.flatMap((table) => (table.liveType === null ? [] : [[table.liveType, publicColumns(table)] as const])),
  ['book_snapshot', publicColumns(BOOK_SNAPSHOT)],
  ['book_state', publicColumns(BOOK_STATE)],
])

/** One row of a live message as users see it. A column that the message lacks (an older collector) is left out. */
export function publicRow(columns: readonly PublicColumn[], row: LiveRow): PublicRow {
  const shown: PublicRow = {}
  for (const column of columns) {
    const value = publicValue(column, row)
    if (value !== undefined) shown[column.name] = value
  }
  return shown
}

function publicValue(column: PublicColumn, row: LiveRow): unknown {
  switch (column.form) {
    case 'scaled': {
      const mantissa = row[column.mantissa]
      return mantissa === undefined ? undefined : decimalText(mantissa as string, row[column.scale] as number)
    }
    case 'levels': {
      const mantissas = row[column.prices] as readonly string[] | undefined
      if (mantissas === undefined) return undefined
      const amounts = row[column.quantities] as readonly string[]
      const priceScale = row[column.priceScale] as number
      const quantityScale = row[column.quantityScale] as number
      return mantissas.map((mantissa, index) => [
        decimalText(mantissa, priceScale),
        decimalText(amounts[index] as string, quantityScale),
      ])
    }
    case 'time': {
      const value = row[column.name]
      return value === undefined || typeof value === 'string' ? value : String(value)
    }
    case 'number': {
      const value = row[column.name]
      return value === undefined || typeof value === 'number' ? value : Number(value)
    }
    default:
      return row[column.name]
  }
}
