/**
 * Live messages as a reader wants them: `decodeLive(message.data)`.
 *
 * They promise order and ids, not exactly-once. `number` counts the messages of a subject from one start of a worker (`run`):
 * a hole is a message that was lost on its way to you.
 */
import { Unpackr } from 'msgpackr'
import {
  LIVE_COLUMNS,
  type LiveRow,
  type LiveType,
  type LiveTypeRow,
  type PublicColumn,
  publicRow,
} from '../record/rows.ts'
import type { InstrumentName } from './block.ts'

export type { LiveType, LiveTypeRow } from '../record/rows.ts'

/** New rows of one instrument. */
export interface RowsMessage<Type extends LiveType = LiveType> extends InstrumentName {
  readonly type: Type
  /** another one with every start of the worker that sends */
  readonly run: string
  /** 1, 2, 3 … of this subject and run */
  readonly number: number
  readonly rows: readonly LiveTypeRow<Type>[]
}

/** One for each type, so that looking at `type` tells which rows these are. */
export type AnyRowsMessage = { [Type in LiveType]: RowsMessage<Type> }[LiveType]

/** Sign of life of a shard, once a second: the state of each of its books. */
export interface HeartbeatMessage {
  readonly type: 'heartbeat'
  readonly producer: string
  readonly shard: number
  readonly run: string
  readonly time_ns: string
  /** this is part 1, 2 … of so many */
  readonly part: number
  readonly parts: number
  readonly books: readonly (InstrumentName & {
    readonly state: string
    readonly since_ns: string
    readonly reason: string
    readonly book_epoch: number
    readonly last_seq: number
  })[]
}

/** A whole book of the periodic publisher (subjects `orderbook.…`). */
export interface OrderbookMessage {
  readonly type: 'orderbook'
  readonly exchange_name: string
  readonly symbol_name: string
  readonly bids: readonly { readonly price: string; readonly quantity: string }[]
  readonly asks: readonly { readonly price: string; readonly quantity: string }[]
  /** ms, of the venue's last event in the book */
  readonly timestamp: number
  readonly last_update_id: number
  /** ms, when it came here */
  readonly collected_at: number
}

export type LiveMessage = AnyRowsMessage | HeartbeatMessage | OrderbookMessage

const UNPACKR = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'string' })
const JSON_BRACE = 0x7b

/** @throws when the bytes are no live message. */
export function decodeLive(bytes: Uint8Array): LiveMessage {
  const isJson = bytes[0] === JSON_BRACE
  const message = (isJson ? JSON.parse(new TextDecoder().decode(bytes)) : UNPACKR.unpack(bytes)) as unknown
  if (typeof message !== 'object' || message === null || Array.isArray(message))
    throw new TypeError('these bytes are no live message')
  const { type, rows } = message as { readonly type?: string; readonly rows?: readonly LiveRow[] }
  if (type === undefined && 'bids' in message) return orderbook(message as OrderbookMessage)
  if (typeof type !== 'string') throw new TypeError('these bytes are no live message')
  if (type === 'heartbeat') return heartbeat(message as HeartbeatMessage)
  const columns = LIVE_COLUMNS.get(type)
  if (columns === undefined || rows === undefined) return message as LiveMessage // of a newer engine
  const { number } = message as { readonly number?: unknown }
  return { ...message, number: Number(number), rows: shown(columns, rows) } as unknown as LiveMessage
}

function shown(columns: readonly PublicColumn[], rows: readonly LiveRow[]) {
  return rows.map((row) => publicRow(columns, row))
}

/** Times are text whatever their size, sequences are numbers. */
function heartbeat(beat: HeartbeatMessage): HeartbeatMessage {
  const books = beat.books.map((book) => ({
    ...book,
    since_ns: String(book.since_ns),
    last_seq: Number(book.last_seq),
  }))
  return { ...beat, time_ns: String(beat.time_ns), books }
}

function orderbook(book: OrderbookMessage): OrderbookMessage {
  const { timestamp, last_update_id, collected_at } = book
  return {
    ...book,
    type: 'orderbook',
    timestamp: Number(timestamp),
    last_update_id: Number(last_update_id),
    collected_at: Number(collected_at),
  }
}
