/** What `/v1/stream` sends, as types. */
import type { Level, LiveType, LiveTypeRow } from '../record/rows.ts'
import type { InstrumentName } from './block.ts'

/** New rows of one instrument. */
export interface StreamRows<Type extends LiveType = LiveType> extends InstrumentName {
  readonly type: Type
  /** of the gateway: what a later connection may continue after */
  readonly seq: string
  readonly rows: readonly LiveTypeRow<Type>[]
}

/** One for each type, so that looking at `type` tells which rows these are. */
export type AnyStreamRows = { [Type in LiveType]: StreamRows<Type> }[LiveType]

interface BookPart extends InstrumentName {
  readonly type: 'book'
  readonly seq: string
  readonly book_epoch: number
  readonly last_seq: number
  readonly event_ns: string
  readonly received_ns: string
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

/** A whole verified book, best first. */
export interface BookSnapshotMessage extends BookPart {
  readonly kind: 'snapshot'
  readonly state: 'LIVE'
}

/** What changed of it: absolute quantities, "0" deletes. */
export interface BookUpdateMessage extends BookPart {
  readonly kind: 'update'
  readonly first_seq: number
}

/** What was shown of the book is not true any more; a snapshot follows when it is LIVE again. */
export interface BookResetMessage extends InstrumentName {
  readonly type: 'book_reset'
  readonly seq: string
  readonly state: string
  readonly reason: string
  readonly since_ns: string
}

/** So many messages of one subject were lost on their way to the gateway; `/v1` has their rows. */
export interface LostMessage extends InstrumentName {
  readonly type: 'lost'
  /** the type of their rows */
  readonly of: LiveType
  readonly seq: string
  readonly messages: number
}

/**
 * Not of the gateway: what became of the connection, in its place among the messages.
 *
 *   open      connected and subscribed: everything comes from here on, what was missed before it
 *   resumed   all that was missed has come
 *   gap       messages may be missing: the gateway does not have them any more
 *   closed    no connection; it is made again
 */
export interface ConnectionMessage {
  readonly type: 'connection'
  readonly state: 'open' | 'resumed' | 'gap' | 'closed'
  readonly reason: string
}

export type StreamMessage =
  | AnyStreamRows
  | BookSnapshotMessage
  | BookUpdateMessage
  | BookResetMessage
  | LostMessage
  | ConnectionMessage

/** What the gateway says of the connection itself. */
export interface ControlMessage {
  readonly op: string
  readonly id?: string | number | null
  readonly code?: string
  readonly message?: string
  readonly seq?: string
}
