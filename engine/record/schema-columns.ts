/**
 * What the schema is written with: columns, tables and the words for them. schema.ts holds the tables of the hot path,
 * schema-kinds.ts all others.
 */

/** Digits after the point that the aliases can show, and so the largest scale of a price or quantity. */
export const SCALE_MAX = 18
/** Digits after the point of a Decimal column. */
export const DECIMAL_SCALE = 38

/** Storage of one column in a block: little-endian, dense, in row order. */
export type ColumnType =
  | 'UInt8'
  | 'UInt16'
  | 'UInt32'
  | 'UInt64' // written from a double that is an exact integer below 2^53
  | 'Int64' // as two 32-bit words; times in ns since the epoch, mantissas
  | 'Array(Int64)' // cumulative UInt64 row ends, then the flat values, as ClickHouse's Native format has it
  | 'Decimal' // Int256 at 10^-38 as four 64-bit words, low first, behind one byte a row that is 1 where there is none
  | 'String' // cumulative UInt64 byte ends, then UTF-8 bytes; for rare rows only

/** What a number means; `--rows` and the docs print by it. */
export type ColumnMeaning = 'plain' | 'time' | 'priceMantissa' | 'quantityMantissa' | 'scale' | 'enum' | 'text' | 'decimal'

export interface Column {
  readonly name: string
  readonly type: ColumnType
  readonly meaning: ColumnMeaning
  /** ClickHouse type that reads these bytes; default: `type` itself. */
  readonly clickhouse?: string
  readonly codec: string
  /** For enums: name → value, the one list of these words. */
  readonly words?: Readonly<Record<string, number>>
  readonly comment: string
}

/** A column as ClickHouse has it. */
export interface StoredColumn {
  readonly name: string
  readonly type: string
  readonly codec: string
  readonly comment: string
}

/** A column that ClickHouse computes when asked (ALIAS); costs no byte. */
export interface Alias {
  readonly name: string
  readonly clickhouse: string
  readonly expression: string
}

export interface Table {
  readonly name: TableName
  readonly comment: string
  readonly columns: readonly Column[]
  readonly aliases: readonly Alias[]
  /** Sorting key after (exchange, market, symbol); it holds the venue's id, so that replaced rows are true duplicates. */
  readonly orderBy: readonly string[]
  /** First word of the live subject of these rows, or null when rows of this table are not published live. */
  readonly liveType: string | null
  /** Version of the table's layout; raise it when columns change. */
  readonly version: number
}

export type TableName = 'trades' | 'book_deltas' | 'book_snapshots' | 'book_tickers' | 'gaps' | 'blocks' | KindTableName
export type KindTableName =
  | 'klines'
  | 'tickers'
  | 'mark_prices'
  | 'index_prices'
  | 'funding_rates'
  | 'open_interests'
  | 'liquidations'
  | 'long_short_ratios'
  | 'volatility_indices'
  | 'instruments'

/**
 * What a parser gives for a column of a rare row: the venue's text for numbers (exponents allowed; null or absent: the
 * venue says nothing), ns for times (0n: none), the word for enums.
 */
export type CellValue = string | number | bigint | null
export type DecimalCell = string | null
/** A column whose name, cell and meaning the type system knows, so that the row of a table is a type of its own. */
export interface Cell<Name extends string, Value, Meaning extends ColumnMeaning = ColumnMeaning> extends Column {
  readonly name: Name
  readonly meaning: Meaning
  /** only a type: what a row holds under this name */
  readonly cell?: Value
}

const enum8 = (words: Readonly<Record<string, number>>) =>
  `Enum8(${Object.entries(words)
    .map(([word, value]) => `'${word}' = ${value}`)
    .join(', ')})`

export const time = <const Name extends string>(name: Name, comment: string): Cell<Name, bigint, 'time'> => ({
  name, type: 'Int64', meaning: 'time', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment,
})
export const id = <const Name extends string>(name: Name, comment: string): Cell<Name, bigint, 'plain'> => ({
  name, type: 'UInt64', meaning: 'plain', codec: 'Delta(8), ZSTD(1)', comment,
})
type PriceCell<Name extends string> = Cell<Name, bigint, 'priceMantissa'>
type QuantityCell<Name extends string> = Cell<Name, bigint, 'quantityMantissa'>
export const price = <const Name extends string>(name: Name, comment: string): PriceCell<Name> => ({
  name, type: 'Int64', meaning: 'priceMantissa', codec: 'Delta(8), ZSTD(1)', comment,
})
export const quantity = <const Name extends string>(name: Name, comment: string): QuantityCell<Name> => ({
  name, type: 'Int64', meaning: 'quantityMantissa', codec: 'T64, ZSTD(1)', comment,
})
export const prices = <const Name extends string>(name: Name, comment: string): PriceCell<Name> => ({
  name, type: 'Array(Int64)', meaning: 'priceMantissa', codec: 'Delta(8), ZSTD(1)', comment,
})
export const quantities = <const Name extends string>(name: Name, comment: string): QuantityCell<Name> => ({
  name, type: 'Array(Int64)', meaning: 'quantityMantissa', codec: 'T64, ZSTD(1)', comment,
})
export const scale = <const Name extends string>(name: Name, comment: string): Cell<Name, number, 'scale'> => ({
  name, type: 'UInt8', meaning: 'scale', codec: 'ZSTD(1)', comment,
})
export const word = <const Name extends string, Words extends Readonly<Record<string, number>>>(
  name: Name, words: Words, comment: string,
): Cell<Name, keyof Words & string, 'enum'> => ({
  name, type: 'UInt8', meaning: 'enum', clickhouse: enum8(words), codec: 'ZSTD(1)', words, comment,
})
export const count = <const Name extends string>(name: Name, type: 'UInt16' | 'UInt32', comment: string): Cell<Name, number, 'plain'> => ({
  name, type, meaning: 'plain', codec: 'T64, ZSTD(1)', comment,
})
export const text = <const Name extends string>(name: Name, comment: string): Cell<Name, string, 'text'> => ({
  name, type: 'String', meaning: 'text', codec: 'ZSTD(1)', comment,
})
/** A number of any venue, exact: 38 digits on each side of the point. NULL is "the venue does not say". */
export const decimal = <const Name extends string>(name: Name, comment: string): Cell<Name, DecimalCell, 'decimal'> => ({
  name, type: 'Decimal', meaning: 'decimal', clickhouse: `Nullable(Decimal(76, ${DECIMAL_SCALE}))`, codec: 'ZSTD(1)', comment,
})

/** m / 10^s as a Decimal: the integer m × 10^(18 − s), read as one with 18 digits behind the point. No digit is lost. */
const exact = (mantissa: string, scaleColumn: string) =>
  `toDecimal256(reinterpret(toInt128(${mantissa}) * toInt128(intExp10(${SCALE_MAX} - ${scaleColumn})), 'Decimal(38, ${SCALE_MAX})'), ${SCALE_MAX})`
const DECIMAL = `Decimal(76, ${SCALE_MAX})`
export const exactAlias = (name: string, mantissa: string, scaleColumn: string): Alias => ({
  name, clickhouse: DECIMAL, expression: exact(mantissa, scaleColumn),
})
export const exactListAlias = (name: string, mantissas: string, scaleColumn: string): Alias => ({
  name, clickhouse: `Array(${DECIMAL})`, expression: `arrayMap(m -> ${exact('m', scaleColumn)}, ${mantissas})`,
})
