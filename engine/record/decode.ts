import { Unpackr } from 'msgpackr'
import { joinNs } from '../base/clock.ts'
import { decimalText } from '../scan/decimal.ts'
import { blockColumns, tableNamed } from './schema.ts'
import { DECIMAL_SCALE } from './schema-columns.ts'
import type { Column, ColumnType, TableName } from './schema-columns.ts'

/** Reads blocks back: for tests, tools and the store's checks; nothing on the way in decodes a row. */
export interface BlockHead {
  readonly epoch: bigint
  readonly blockSeq: bigint
  readonly format: number
  readonly producer: string
  readonly table: TableName
  readonly version: number
  readonly exchange: string
  readonly rows: number
  readonly day: number
  readonly firstReceivedNs: bigint
  readonly lastReceivedNs: bigint
  /** Ids `exchange.market.symbol`; the column `instrument` indexes this list. */
  readonly instruments: readonly string[]
}

/** One column: views of the block's own bytes. */
export interface BlockColumn {
  readonly type: ColumnType
  /** The values; of Array(Int64) and String the members of all rows. */
  readonly values: Uint8Array
  /** Of Decimal one byte a row, 1 where there is none. Of Array(Int64) and String: cumulative ends of the rows, UInt64 little-endian. */
  readonly ends: Uint8Array | null
}

export interface Block {
  readonly head: BlockHead
  readonly columns: ReadonlyMap<string, BlockColumn>
}

interface PackedBlock {
  epoch: bigint
  block_seq: bigint
  format: number
  producer: string
  table: TableName
  version: number
  exchange: string
  rows: number
  day: number
  first_received_ns: bigint
  last_received_ns: bigint
  instruments: string[]
  columns: Record<string, [ColumnType, Uint8Array] | [ColumnType, Uint8Array, Uint8Array]>
}

const UNPACKR = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint' })

/** msgpackr gives bins as views, so this copies no column. @throws when the bytes are no block. */
export function decodeBlock(bytes: Uint8Array): Block {
  const packed = UNPACKR.unpack(bytes) as PackedBlock
  const columns = new Map<string, BlockColumn>()
  for (const [name, [type, first, members]] of Object.entries(packed.columns)) {
    columns.set(
      name,
      members === undefined ? { type, values: first, ends: null } : { type, values: members, ends: first },
    )
  }
  return { head: headOf(packed), columns }
}

/** The head alone. */
export function blockHead(bytes: Uint8Array): BlockHead {
  return headOf(UNPACKR.unpack(bytes) as PackedBlock)
}

function headOf(packed: PackedBlock): BlockHead {
  const { epoch, format, producer, table, version, exchange, rows, day, instruments } = packed
  return {
    epoch,
    format,
    producer,
    table,
    version,
    exchange,
    rows,
    day,
    instruments,
    blockSeq: packed.block_seq,
    firstReceivedNs: packed.first_received_ns,
    lastReceivedNs: packed.last_received_ns,
  }
}

/** `{producer}/{epoch}/{block_seq}` */
export function blockIdentity(head: BlockHead): string {
  return `${head.producer}/${head.epoch}/${head.blockSeq}`
}

/** One row as a plain object: exact numbers as decimal strings, times as integer ns in strings, enums as words. */
export type PlainRow = Record<string, string | number | readonly string[] | null>

/** Every row of a block, in order. */
export function* rowsOf(block: Block): Generator<PlainRow> {
  const { head } = block
  const table = tableNamed(head.table)
  const columns = blockColumns(table).map((column) => new ColumnReader(column, block))
  const [instrument, ...rest] = columns as [ColumnReader, ...ColumnReader[]]
  for (let row = 0; row < head.rows; row++) {
    const plain: PlainRow = { table: head.table, instrument: head.instruments[instrument.number(row)] as string }
    for (const column of rest) plain[column.name] = column.plain(row)
    addDecimals(plain, rest, row)
    yield plain
  }
}

/** Beside each mantissa the number itself: `price_mantissa` → `price`, `bid_price_mantissas` → `bid_prices`. */
function addDecimals(plain: PlainRow, columns: readonly ColumnReader[], row: number): void {
  for (const column of columns) {
    const { meaning } = column.column
    if (meaning !== 'priceMantissa' && meaning !== 'quantityMantissa') continue
    const scale = plain[meaning === 'priceMantissa' ? 'price_scale' : 'quantity_scale'] as number
    const numbers = column.bigints(row).map((mantissa) => decimalText(mantissa, scale))
    plain[decimalName(column.name)] = column.isArray ? numbers : (numbers[0] as string)
  }
}

function decimalName(name: string): string {
  if (name.endsWith('_price_mantissas')) return name.replace('_price_mantissas', '_prices')
  if (name.endsWith('_quantity_mantissas')) return name.replace('_quantity_mantissas', '_quantities')
  return name.replace(/_mantissa$/, '')
}

class ColumnReader {
  readonly column: Column
  readonly #view: DataView
  readonly #ends: DataView | null
  readonly #bytes: Uint8Array
  readonly #words: ReadonlyMap<number, string> | null

  constructor(column: Column, block: Block) {
    const stored = block.columns.get(column.name)
    if (stored === undefined || stored.type !== column.type)
      throw new Error(`block of ${block.head.table} without column ${column.name} ${column.type}`)
    this.column = column
    this.#bytes = stored.values
    this.#view = viewOf(stored.values)
    this.#ends = stored.ends === null ? null : viewOf(stored.ends)
    this.#words =
      column.words === undefined ? null : new Map(Object.entries(column.words).map(([word, value]) => [value, word]))
  }

  get name(): string {
    return this.column.name
  }

  get isArray(): boolean {
    return this.column.type === 'Array(Int64)'
  }

  /** A value that a double holds. */
  number(row: number): number {
    switch (this.column.type) {
      case 'UInt8':
        return this.#view.getUint8(row)
      case 'UInt16':
        return this.#view.getUint16(row * 2, true)
      case 'UInt32':
        return this.#view.getUint32(row * 4, true)
      default:
        return Number(this.#int64(row))
    }
  }

  plain(row: number): string | number | readonly string[] | null {
    const { type, meaning } = this.column
    if (type === 'Decimal')
      return this.#ends?.getUint8(row) === 1 ? null : decimalText(this.#int256(row), DECIMAL_SCALE)
    if (type === 'Array(Int64)') return this.bigints(row).map(String)
    if (type === 'String') return new TextDecoder().decode(this.#bytes.subarray(this.#start(row), this.#end(row)))
    if (meaning === 'enum') return this.#words?.get(this.number(row)) ?? this.number(row)
    return type === 'Int64' || type === 'UInt64' ? this.#int64(row).toString() : this.number(row)
  }

  /** The integers of one row: one, or the members of its array. */
  bigints(row: number): bigint[] {
    if (!this.isArray) return [this.#int64(row)]
    const numbers: bigint[] = []
    for (let index = this.#start(row); index < this.#end(row); index++) numbers.push(this.#int64(index))
    return numbers
  }

  #int64(index: number): bigint {
    return joinNs(this.#view.getInt32(index * 8 + 4, true), this.#view.getUint32(index * 8, true))
  }

  #int256(row: number): bigint {
    let value = 0n
    for (let quad = 3; quad >= 0; quad--) value = (value << 64n) | this.#view.getBigUint64(row * 32 + quad * 8, true)
    return BigInt.asIntN(256, value)
  }

  #start(row: number): number {
    return row === 0 ? 0 : this.#end(row - 1)
  }

  #end(row: number): number {
    return Number(this.#ends?.getBigUint64(row * 8, true) ?? 0n)
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
