import { Unpackr } from 'msgpackr'
import type { LiveRow } from '../../record/rows.ts'
import { type PublicColumn, type PublicRow, publicRow } from '../../record/rows.ts'
import { type BookMessage, bookRowOf } from './book-row.ts'

/** A live message with rows that counts itself, as objects. */
export interface LiveMessage {
  readonly run: string
  /** text from 2^32 on */
  readonly number: number | string
  readonly rows: readonly LiveRow[]
}

const UNPACKR = new Unpackr({ useRecords: false, int64AsType: 'string' })

export function decoded<Message>(bytes: Uint8Array): Message {
  return UNPACKR.unpack(bytes) as Message
}

/** Of `book_delta` and `book_snapshot`, by way of objects. */
export function decodedBook(bytes: Uint8Array): BookMessage {
  const { run, number, rows } = decoded<LiveMessage>(bytes)
  return { run, number: Number(number), rows: rows.map(bookRowOf) }
}

/** The rows of a live message: as they came, and as objects when somebody wants those. */
export class LiveRowsBody {
  readonly kind = 'rows'
  readonly message: Uint8Array
  readonly #columns: readonly PublicColumn[]
  #rows: readonly PublicRow[] | undefined

  constructor(message: Uint8Array, columns: readonly PublicColumn[]) {
    this.message = message
    this.#columns = columns
  }

  get rows(): readonly PublicRow[] {
    this.#rows ??= decoded<LiveMessage>(this.message).rows.map((row) => publicRow(this.#columns, row))
    return this.#rows
  }
}
