import { assert } from '../base/assert.ts'
import type { Column, ColumnType } from './schema-columns.ts'

/**
 * The columns of one open block as typed arrays: appending a value is a store, no object is made for a row.
 *
 * Arithmetic: a book ticker is 13 columns and 68 bytes; 1,000,000 rows/s are 68 MB/s of stores, 30 ns a row. A block of
 * 512 KiB holds 7,700 of them.
 *
 *   Int64, UInt64        two 32-bit words a row, low word first     word index = 2 × row
 *   Array(Int64)         ends: where each row's values end (UInt64 words), then the values of all rows
 *   String               ends as above, then the bytes
 *   Decimal              four 64-bit words a row, low word first; apart from them one byte a row, 1 where there is no number
 */
const TWO32 = 4294967296
const DECIMAL_BYTES = 32
const NOTHING = new Uint8Array(0)

const WIDTHS: Readonly<Record<ColumnType, number>> = {
  UInt8: 1,
  UInt16: 2,
  UInt32: 4,
  UInt64: 8,
  Int64: 8,
  'Array(Int64)': 8,
  String: 8,
  Decimal: 33,
}

/** Bytes that a row of these columns takes, not counting the members of arrays and strings. */
export function rowBytes(columns: readonly Column[]): number {
  return columns.reduce((sum, column) => sum + WIDTHS[column.type], 0)
}

export class ColumnBuffer {
  readonly type: ColumnType
  readonly name: string
  /** Row values of a fixed type, or the ends of rows. */
  readonly words: Int32Array
  readonly shorts: Uint16Array
  readonly bytes: Uint8Array
  /** Members of arrays (as words) or strings (as bytes). */
  memberWords = new Int32Array(0)
  memberBytes = new Uint8Array(0)
  /** Of Decimal: 1 where a row has none. */
  readonly nulls: Uint8Array = NOTHING
  readonly #quads: BigUint64Array | undefined
  /** Bytes of members so far. */
  membersBytes = 0

  constructor(column: Column, rowsMax: number) {
    this.type = column.type
    this.name = column.name
    const memory = new ArrayBuffer(rowsMax * (column.type === 'Decimal' ? DECIMAL_BYTES : 8))
    if (column.type === 'Decimal') {
      this.nulls = new Uint8Array(rowsMax)
      this.#quads = new BigUint64Array(memory)
    }
    this.words = new Int32Array(memory)
    this.shorts = new Uint16Array(memory)
    this.bytes = new Uint8Array(memory)
    if (this.hasMembers) this.#growMembers(4096)
  }

  get hasMembers(): boolean {
    return this.type === 'Array(Int64)' || this.type === 'String'
  }

  /** Whether a block holds two pieces of it. */
  get hasTwoParts(): boolean {
    return this.hasMembers || this.type === 'Decimal'
  }

  get width(): number {
    return WIDTHS[this.type]
  }

  /** A non-negative exact integer below 2^53. */
  putNumber(row: number, value: number): void {
    this.words[2 * row] = value | 0
    this.words[2 * row + 1] = (value / TWO32) | 0
  }

  putWords(row: number, hi: number, lo: number): void {
    this.words[2 * row] = lo
    this.words[2 * row + 1] = hi
  }

  /** Milliseconds since the epoch, stored as nanoseconds; 0 stays 0. */
  putMs(row: number, ms: number): void {
    // ms × 10^6 needs 61 bits. The low word is exact by imul; what is left is a multiple of 2^32, so rounding hits it.
    const lo = Math.imul(ms | 0, 1e6)
    this.words[2 * row] = lo
    this.words[2 * row + 1] = ((ms * 1e6 - (lo >>> 0)) / TWO32 + 0.5) | 0
  }

  /** An array of `count` exact non-negative integers. */
  putArray(row: number, values: Float64Array, count: number): void {
    let word = this.membersBytes >> 2
    if ((word + 2 * count) * 4 > this.memberBytes.length) this.#growMembers((word + 2 * count) * 4)
    const words = this.memberWords
    for (let index = 0; index < count; index++) {
      const value = values[index] as number
      words[word] = value | 0
      words[word + 1] = (value / TWO32) | 0
      word += 2
    }
    this.membersBytes = word << 2
    this.putNumber(row, word >> 1)
  }

  putText(row: number, text: string): void {
    if (text === '') return this.putNumber(row, this.membersBytes)
    const encoded = new TextEncoder().encode(text)
    this.putBytes(row, encoded, encoded.length)
  }

  /** The text that the first `length` bytes are. */
  putBytes(row: number, from: Uint8Array, length: number): void {
    const end = this.membersBytes + length
    if (end > this.memberBytes.length) this.#growMembers(end)
    const { memberBytes, membersBytes } = this
    for (let index = 0; index < length; index++) memberBytes[membersBytes + index] = from[index] as number
    this.membersBytes = end
    this.putNumber(row, end)
  }

  /** A 64-bit integer, for rare rows. */
  putBigInt(row: number, value: bigint): void {
    this.putWords(row, Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asIntN(32, value)))
  }

  /** An integer of up to 256 bits, or none. */
  putBig(row: number, value: bigint | null): void {
    const quads = this.#quads as BigUint64Array
    this.nulls[row] = value === null ? 1 : 0
    let rest = value ?? 0n
    for (let quad = 4 * row; quad < 4 * row + 4; quad++) {
      quads[quad] = BigInt.asUintN(64, rest)
      rest >>= 64n
    }
  }

  big(row: number): bigint | null {
    if (this.nulls[row] === 1) return null
    const quads = this.#quads as BigUint64Array
    let value = 0n
    for (let quad = 3; quad >= 0; quad--) value = (value << 64n) | (quads[4 * row + quad] as bigint)
    return BigInt.asIntN(256, value)
  }

  #growMembers(bytes: number): void {
    let capacity = Math.max(4096, this.memberBytes.length)
    while (capacity < bytes) capacity *= 2
    const grown = new Uint8Array(capacity)
    grown.set(this.memberBytes)
    this.memberBytes = grown
    this.memberWords = new Int32Array(grown.buffer)
  }

  reset(): void {
    this.membersBytes = 0
  }

  /** The bytes of `rows` rows: of the values, of the ends, or of the nulls. */
  rowsView(rows: number): Uint8Array {
    return this.type === 'Decimal' ? this.nulls.subarray(0, rows) : this.bytes.subarray(0, rows * this.width)
  }

  membersView(rows: number): Uint8Array {
    if (this.type === 'Decimal') return this.bytes.subarray(0, rows * DECIMAL_BYTES)
    return this.memberBytes.subarray(0, this.membersBytes)
  }
}

/** Looks a column up when a table is wired; a wrong name is a programmer error. */
export function columnNamed(columns: readonly ColumnBuffer[], name: string): ColumnBuffer {
  const column = columns.find((candidate) => candidate.name === name)
  assert(column !== undefined, `no column ${name}`)
  return column
}
