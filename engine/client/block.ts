/**
 * Blocks as a reader wants them: columns as typed arrays, rows with exact values.
 *
 *   decodeBlock(message.data) ─► head, columns by name ─► rows()
 *
 * A block describes itself: columns that this version of the library does not know are there with their numbers.
 * Arithmetic: each column is copied once, because msgpack does not align; 70 bytes a row are 30 M rows/s. Rows cost 3 µs each.
 */
import { decodeBlock as openBlock, type BlockColumn } from '../record/decode.ts'
import { type LiveRow, type PublicColumn, publicColumns, publicRow, type TableRow } from '../record/rows.ts'
import { type AnyTable, blockColumns, TABLES } from '../record/schema.ts'
import { type Column, type ColumnType, DECIMAL_SCALE } from '../record/schema-columns.ts'
import { decimalText } from '../scan/decimal.ts'

export type TableName = AnyTable['name']

/** What tells a block from all others. */
export interface BlockIdentity {
  readonly producer: string
  /** which boot of the producer */
  readonly epoch: bigint
  /** which block of that boot: 1, 2, 3 … without a hole */
  readonly blockSeq: bigint
}

export interface DecodedBlock<Name extends TableName = TableName> extends BlockIdentity {
  readonly table: Name
  /** of the table's layout */
  readonly version: number
  readonly exchange: string
  readonly rowCount: number
  readonly firstReceivedNs: bigint
  readonly lastReceivedNs: bigint
  /** `{exchange}.{market}.{symbol}`; the column `instrument` counts in this list */
  readonly instruments: readonly string[]
  readonly columns: ReadonlyMap<string, BlockValues>
  /** Each row as REST and WebSocket show it, with its instrument. */
  rows(): Generator<NamedRow<Name>, void, undefined>
  /** Numbers of a column as doubles, for charts and statistics: `price`, `quantity`, `volume` …; NaN where there is none. */
  doubles(name: string): Float64Array
}

export interface InstrumentName {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
}

export type NamedRow<Name extends TableName> = InstrumentName & TableRow<Name>

/** One column. */
export interface BlockValues {
  readonly name: string
  readonly type: ColumnType
  /**
   * Dense little-endian values in the order of the rows; of Array(Int64) and String the members of all rows, of Decimal four
   * words a row, low first.
   */
  readonly values: Uint8Array | Uint16Array | Uint32Array | BigInt64Array | BigUint64Array
  /** of Array(Int64) and String: row r has the members `offsets[r]` up to `offsets[r + 1]`; else null */
  readonly offsets: Uint32Array | null
  /** of Decimal: 1 where there is no value; else null */
  readonly nulls: Uint8Array | null
  /** of enums: value → word; else null */
  readonly words: ReadonlyMap<number, string> | null
  /** The exact value of a row: number, bigint, decimal text, word, text, list of bigint, or null. */
  at(row: number): string | number | bigint | readonly bigint[] | null
}

/** @throws when the bytes are no block. */
export function decodeBlock(bytes: Uint8Array): DecodedBlock {
  const { head, columns } = openBlock(bytes)
  const table = TABLES.find(({ name }) => name === head.table)
  const known = new Map(table === undefined ? [] : blockColumns(table).map((column) => [column.name, column]))
  const values = new Map<string, BlockValues>()
  for (const [name, column] of columns) values.set(name, new Values(name, column, known.get(name), head.rows))
  return new ReadBlock(head, values)
}

class ReadBlock implements DecodedBlock {
  readonly table: TableName
  readonly version: number
  readonly exchange: string
  readonly producer: string
  readonly epoch: bigint
  readonly blockSeq: bigint
  readonly rowCount: number
  readonly firstReceivedNs: bigint
  readonly lastReceivedNs: bigint
  readonly instruments: readonly string[]
  readonly columns: ReadonlyMap<string, BlockValues>

  constructor(head: ReturnType<typeof openBlock>['head'], columns: ReadonlyMap<string, BlockValues>) {
    this.table = head.table as TableName
    this.version = head.version
    this.exchange = head.exchange
    this.producer = head.producer
    this.epoch = head.epoch
    this.blockSeq = head.blockSeq
    this.rowCount = head.rows
    this.firstReceivedNs = head.firstReceivedNs
    this.lastReceivedNs = head.lastReceivedNs
    this.instruments = head.instruments
    this.columns = columns
  }

  *rows(): Generator<NamedRow<TableName>, void, undefined> {
    const names = this.instruments.map(instrumentName)
    const instruments = this.#column('instrument').values as Uint16Array
    const shown = shownColumns(this.table, this.columns)
    const own = [...this.columns.values()].filter(({ name }) => name !== 'instrument')
    for (let row = 0; row < this.rowCount; row++) {
      const stored: Record<string, unknown> = {}
      for (const column of own) stored[column.name] = column.at(row)
      yield { ...names[instruments[row] as number], ...publicRow(shown, stored as LiveRow) } as NamedRow<TableName>
    }
  }

  doubles(name: string): Float64Array {
    const mantissas = this.columns.get(`${name}_mantissa`)
    if (mantissas !== undefined) return this.#scaled(mantissas, name)
    const column = this.#column(name)
    if (column.offsets !== null) throw new TypeError(`column ${name} of ${this.table} has no number a row`)
    return Float64Array.from({ length: this.rowCount }, (_, row) => {
      const value = column.nulls === null ? (column.values[row] as number | bigint) : column.at(row)
      return value === null ? Number.NaN : Number(value)
    })
  }

  #scaled({ values }: BlockValues, name: string): Float64Array {
    const scales = this.#column(/quantity$/.test(name) ? 'quantity_scale' : 'price_scale').values
    return Float64Array.from({ length: this.rowCount }, (_, row) => Number(values[row]) / 10 ** (scales[row] as number))
  }

  #column(name: string): BlockValues {
    const column = this.columns.get(name)
    if (column === undefined)
      throw new RangeError(
        `a block of ${this.table} has no column ${name}: it has ${[...this.columns.keys()].join(', ')}`,
      )
    return column
  }
}

/** What is shown of a block: the schema's columns that it has; of a table that is not known, what it has. */
function shownColumns(table: string, columns: ReadonlyMap<string, BlockValues>): readonly PublicColumn[] {
  const known = TABLES.find(({ name }) => name === table)
  if (known === undefined) return [...columns.keys()].map((name) => ({ name, form: 'text' }))
  return publicColumns({ columns: known.columns.filter(({ name }) => columns.has(name)) })
}

/** `binance.usdm.BTCUSDT`; a symbol may have dots. */
export function instrumentName(id: string): InstrumentName {
  const [exchange = '', market = '', ...symbol] = id.split('.')
  return { exchange, market, symbol: symbol.join('.') }
}

class Values implements BlockValues {
  readonly name: string
  readonly type: ColumnType
  readonly values: BlockValues['values']
  readonly offsets: Uint32Array | null
  readonly nulls: Uint8Array | null
  readonly words: ReadonlyMap<number, string> | null
  readonly #decoder = new TextDecoder()

  constructor(name: string, { type, values, ends }: BlockColumn, column: Column | undefined, rows: number) {
    this.name = name
    this.type = type
    this.values = typedArray(type, values)
    this.nulls = type === 'Decimal' ? (ends ?? new Uint8Array(rows)) : null
    this.offsets = type === 'Decimal' || ends === null ? null : offsetsOf(ends)
    const { words } = column ?? {}
    this.words = words === undefined ? null : new Map(Object.entries(words).map(([word, value]) => [value, word]))
  }

  at(row: number): string | number | bigint | readonly bigint[] | null {
    const { type, values, offsets } = this
    if (type === 'Decimal') return this.nulls?.[row] === 1 ? null : decimalText(this.#int256(row), DECIMAL_SCALE)
    if (offsets !== null) {
      const members = values.subarray(offsets[row], offsets[row + 1])
      return type === 'String' ? this.#decoder.decode(members as Uint8Array) : Array.from(members as BigInt64Array)
    }
    const value = values[row] as number | bigint
    return this.words?.get(value as number) ?? value
  }

  #int256(row: number): bigint {
    let value = 0n
    for (let quad = 3; quad >= 0; quad--) value = (value << 64n) | (this.values[row * 4 + quad] as bigint)
    return BigInt.asIntN(256, value)
  }
}

/** A copy of its own memory: what msgpack gives stands at any byte. */
function typedArray(type: ColumnType, bytes: Uint8Array): BlockValues['values'] {
  const { buffer } = Uint8Array.from(bytes)
  switch (type) {
    case 'UInt16':
      return new Uint16Array(buffer)
    case 'UInt32':
      return new Uint32Array(buffer)
    case 'UInt64':
    case 'Decimal':
      return new BigUint64Array(buffer)
    case 'Int64':
    case 'Array(Int64)':
      return new BigInt64Array(buffer)
    default:
      return new Uint8Array(buffer)
  }
}

/** Cumulative ends → where each row begins, and where the last one ends. */
function offsetsOf(ends: Uint8Array): Uint32Array {
  const cumulative = typedArray('UInt64', ends) as BigUint64Array
  const offsets = new Uint32Array(cumulative.length + 1)
  for (let row = 0; row < cumulative.length; row++) offsets[row + 1] = Number(cumulative[row])
  return offsets
}
