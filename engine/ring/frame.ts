import {
  EXTRA_FIELD,
  GENERATION_FIELD,
  RECEIVED_HI_FIELD,
  RECEIVED_LO_FIELD,
  RECORD_ALIGN_BYTES,
  RECORD_HEAD_BYTES,
  SOURCE_FIELD,
} from './layout.ts'

/**
 * What the records of the three kinds of ring mean.
 *
 * Frame ring, main → book worker. SOURCE is the connection's index, GENERATION its generation.
 */
export const DATA = 1 // payload: one message of the socket as it came
export const SNAPSHOT = 2 // payload: body of the REST answer; EXTRA: instrument index in the shard
export const SNAPSHOT_FAILED = 3 // payload: UTF-8 reason; EXTRA: instrument index
export const OPEN = 4 // payload: JSON {connection, instruments:[{instrument, channels}]} of the socket that is now open and subscribed
export const CLOSE = 5 // payload: UTF-8 reason
export const LOSS = 6 // EXTRA: frames of this connection that found no room
export const TICK = 7 // no payload: time passes (RECEIVED is the time); every TICK_MS
export const DRAIN = 8 // no payload: seal what is open, publish a last snapshot of each book (orderly stop)
export const INSTRUMENT = 9 // payload: JSON of an instrument; EXTRA: its index in the shard (added at run time, or known and changed)
export const POLL = 10 // payload: u8 length of the poll's name, the name (ASCII), the body; EXTRA: instrument index
export const TRADES = 11 // payload: u8 0 trades or 1 agg_trades, body of the answer to WANT_TRADES; EXTRA: instrument index
export const TRADES_FAILED = 12 // payload: UTF-8 reason; EXTRA: instrument index
export const JOIN = 13 // payload as of OPEN: what this open socket carries from now on besides
export const PART = 14 // payload as of OPEN: what this open socket does not carry any more
export const REMOVE = 15 // payload: UTF-8 DELISTED or REMOVED (not wanted any more); EXTRA: instrument index, which stays taken
export const DOWN = 16 // payload: JSON (DownNotice of shard-connections.ts): the collector did not run; before the first OPEN, then for each connection what it will carry

export const BOOK_WANTED = 17 // no payload; EXTRA: index of the instrument whose whole book somebody wants on the live path

/** Batch ring, book worker → sink worker. */
export const BLOCK = 32 // payload: one sealed block (record/block.ts), identity still to be filled in
export const LIVE = 33 // payload: u16 subject length, subject (ASCII), message
export const DRAINED = 34 // no payload: everything before this belongs to the stop; answer to DRAIN
export const PUBLICATION = 35 // payload as of LIVE: a whole book of the periodic publisher, for NATS alone

/** Live ring, sink worker → gateway: records LIVE; EXTRA: how many before it found no room. */

/** Request ring, book worker → main. */
export const WANT_SNAPSHOT = 64 // EXTRA: instrument index; SOURCE: connection; GENERATION: its generation
export const WANT_RECONNECT = 65 // SOURCE, GENERATION: the connection cannot be read any more; payload: reason
export const WANT_RESUBSCRIBE = 66 // EXTRA: instrument index; payload: u8 channel (GAP_CHANNELS) whose stream has to start anew; SOURCE, GENERATION
export const WANT_TRADES = 67 // EXTRA: instrument index; payload: JSON {"channel", "firstSeq", "lastSeq"}; SOURCE, GENERATION

/** The fields of a record's head, from the `bytes` and payload `offset` that a drain hands out. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  )
}

/** Where the head of the record begins whose payload is at `offset`: the skew is less than a multiple of 8. */
function headOffset(offset: number): number {
  return (offset & -RECORD_ALIGN_BYTES) - RECORD_HEAD_BYTES
}

export function receivedHi(bytes: Uint8Array, offset: number): number {
  return wordAt(bytes, headOffset(offset) + RECEIVED_HI_FIELD)
}

export function receivedLo(bytes: Uint8Array, offset: number): number {
  return wordAt(bytes, headOffset(offset) + RECEIVED_LO_FIELD)
}

export function source(bytes: Uint8Array, offset: number): number {
  const at = headOffset(offset) + SOURCE_FIELD
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
}

export function generation(bytes: Uint8Array, offset: number): number {
  return wordAt(bytes, headOffset(offset) + GENERATION_FIELD)
}

export function extra(bytes: Uint8Array, offset: number): number {
  return wordAt(bytes, headOffset(offset) + EXTRA_FIELD)
}
