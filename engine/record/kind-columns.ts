import { bigDecimal, type BigDecimalRefusal } from '../scan/big-decimal.ts'
import type { OpenBlock } from './block.ts'
import type { ColumnBuffer } from './columns.ts'
import { type CellValue, type Column, DECIMAL_SCALE } from './schema-columns.ts'

/**
 * Rows of the rare kinds: read whole before anything is written, so that a number that is none costs no half a row.
 *
 * Arithmetic: 15 decimals a row, 0.5 µs each: 8 µs. 1,000 rows/s are 1 % of a core.
 */
/** '' when the row can be stored. */
export type KindRefusal = '' | BigDecimalRefusal | 'type' | 'missing_key'

const HEAD_COLUMNS = 2 // instrument, received_ns: the recorder's

export class KindColumns {
  readonly block: OpenBlock
  readonly columns: readonly [ColumnBuffer, ColumnBuffer, ...ColumnBuffer[]]
  /** Of the row that was read last. */
  textBytes = 0
  readonly #own: readonly Column[]
  /** Value of an enum that nothing is said of, where it has a word for that. */
  readonly #emptyWords: readonly (number | undefined)[]
  readonly #values: (bigint | number | string | null)[]

  constructor(block: OpenBlock) {
    this.block = block
    this.columns = block.columns as unknown as readonly [ColumnBuffer, ColumnBuffer, ...ColumnBuffer[]]
    this.#own = block.table.columns
    this.#emptyWords = this.#own.map(({ words }) => Object.values(words ?? {}).find((value) => value === 0))
    this.#values = new Array(this.#own.length).fill(null)
  }

  /** @returns why the row cannot be stored, or ''. */
  read(row: Readonly<Record<string, CellValue>>): KindRefusal {
    this.textBytes = 0
    for (let index = 0; index < this.#own.length; index++) {
      const column = this.#own[index] as Column
      const cell = row[column.name] ?? null
      if (column.type === 'Decimal' && cell !== null) {
        const value = bigDecimal(cell as string, DECIMAL_SCALE)
        if (typeof value === 'string') return value
        this.#values[index] = value
      } else if (column.meaning === 'enum') {
        const value = cell === null ? this.#emptyWords[index] : column.words?.[cell as string]
        if (value === undefined) return cell === null ? 'missing_key' : 'type'
        this.#values[index] = value
      } else this.#values[index] = cell
      if (column.type === 'String' && cell !== null) this.textBytes += (cell as string).length * 3
    }
    return ''
  }

  /** Writes what was read. */
  put(row: number): void {
    for (let index = 0; index < this.#own.length; index++) {
      const column = this.columns[index + HEAD_COLUMNS] as ColumnBuffer
      const value = this.#values[index] ?? null
      switch (column.type) {
        case 'Decimal':
          column.putBig(row, value as bigint | null)
          break
        case 'String':
          column.putText(row, (value ?? '') as string)
          break
        case 'UInt8':
          column.bytes[row] = value as number
          break
        default:
          column.putBigInt(row, (value ?? 0n) as bigint)
      }
    }
    this.block.rows++
  }
}
