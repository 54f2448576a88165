import { Packr } from 'msgpackr'
import { type Level, LIVE_COLUMNS, type PublicColumn, type PublicRow } from '../../record/rows.ts'
import { binaryFrame, textFrame } from './frames.ts'
import { idOf, type Subject } from './subject.ts'

export const FORMATS = ['json', 'msgpack'] as const
export type Format = (typeof FORMATS)[number]

/** How messages become frames; what it makes of one is kept with it, for all clients. */
export interface Encoding {
  /** of the frame, in the message */
  readonly slot: number
  /** WebSocket frames, one behind the other; empty when it has nothing to say of this message */
  encode(message: Outgoing): Buffer
}

/** The verified book: made here from snapshots and deltas; every other type is a type of live messages. */
export const BOOK_TYPE = 'book'
/** Whole books of the engine for whoever keeps one: they come through `book`. */
const INNER_TYPES = ['book_snapshot']
export const STREAM_TYPES: readonly string[] = [
  ...[...LIVE_COLUMNS.keys()].filter((type) => !INNER_TYPES.includes(type)),
  BOOK_TYPE,
]

/**
 * Of these a newer message says all that an older one did: a client that is slow gets the newest. What happened (trades,
 * liquidations, bars, gaps, deltas) is never left out.
 */
const CONFLATED_TYPES = new Set([
  'book_ticker',
  'ticker',
  'mark_price',
  'index_price',
  'funding_rate',
  'open_interest',
  'volatility_index',
  'book_state',
])

const PACKR = new Packr({ useRecords: false, variableMapSize: true })

/** A change of a book: absolute quantities, "0" deletes. */
export interface BookChange {
  readonly book_epoch: number
  readonly first_seq: number
  readonly last_seq: number
  readonly event_ns: string
  readonly received_ns: string
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

export interface BookContent extends Omit<BookChange, 'first_seq'> {
  readonly state: 'LIVE'
}

export interface BookReset {
  readonly state: string
  readonly reason: string
  readonly since_ns: string
}

export type OutgoingBody =
  | { readonly kind: 'rows'; readonly rows: readonly PublicRow[] }
  | { readonly kind: 'snapshot'; readonly book: BookContent }
  | { readonly kind: 'update'; readonly change: BookChange }
  | { readonly kind: 'reset'; readonly reset: BookReset }

/** One message to any number of clients: encoded once a format, when the first wants it. */
export class Outgoing {
  readonly topic: Topic
  readonly seq: string
  readonly body: OutgoingBody
  readonly #frames: (Buffer | undefined)[] = []

  constructor(topic: Topic, seq: string, body: OutgoingBody) {
    this.topic = topic
    this.seq = seq
    this.body = body
  }

  frame(encoding: Encoding): Buffer {
    let frame = this.#frames[encoding.slot]
    if (frame === undefined) {
      frame = encoding.encode(this)
      this.#frames[encoding.slot] = frame
    }
    return frame
  }

  object(): object {
    const { exchange, market, symbol, type } = this.topic.subject
    const { body, seq } = this
    switch (body.kind) {
      case 'rows':
        return { type, exchange, market, symbol, seq, rows: body.rows }
      case 'snapshot':
        return { type, kind: 'snapshot', exchange, market, symbol, seq, ...body.book }
      case 'update':
        return { type, kind: 'update', exchange, market, symbol, seq, ...body.change }
      case 'reset':
        return { type: 'book_reset', exchange, market, symbol, seq, ...body.reset }
    }
  }
}

export const ENCODINGS: Readonly<Record<Format, Encoding>> = {
  json: { slot: 0, encode: (message) => textFrame(JSON.stringify(message.object())) },
  msgpack: { slot: 1, encode: (message) => binaryFrame(PACKR.pack(message.object())) },
}

export interface Receiver {
  push(message: Outgoing): void
}

/** What is sent under one subject (of books: in one depth), and to whom. */
export class Topic {
  readonly subject: Subject
  /** of its instrument */
  readonly id: string
  readonly columns: readonly PublicColumn[]
  /** of a book: levels a side, 0 = all */
  readonly depth: number
  readonly isConflated: boolean
  readonly receivers: Receiver[] = []
  /** of a book: one message with the whole of it as it is now, undefined while there is none */
  current: () => Outgoing | undefined = () => undefined
  /** of a book, for who joins: an older whole, which costs nothing, and the changes since; empty while there is none */
  begin: () => readonly Outgoing[] = () => []
  /** by how many of its patterns each is here */
  readonly #reasons = new Map<Receiver, number>()

  constructor(subject: Subject, depth = 0) {
    this.subject = subject
    this.id = idOf(subject)
    this.depth = depth
    this.columns = LIVE_COLUMNS.get(subject.type) ?? []
    this.isConflated = CONFLATED_TYPES.has(subject.type)
  }

  /** @returns whether it was not here before. */
  join(receiver: Receiver): boolean {
    const reasons = this.#reasons.get(receiver) ?? 0
    this.#reasons.set(receiver, reasons + 1)
    if (reasons === 0) this.receivers.push(receiver)
    return reasons === 0
  }

  /** @returns whether that was its last reason to be here. */
  leave(receiver: Receiver): boolean {
    const reasons = this.#reasons.get(receiver) ?? 0
    if (reasons > 1) {
      this.#reasons.set(receiver, reasons - 1)
      return false
    }
    this.#reasons.delete(receiver)
    const index = this.receivers.indexOf(receiver)
    if (index >= 0) this.receivers.splice(index, 1)
    return index >= 0
  }

  send(message: Outgoing): void {
    for (const receiver of this.receivers) receiver.push(message)
  }
}

/** Several changes of one book as one: the newest quantity of each price. */
export function mergedChange(changes: readonly BookChange[]): BookChange {
  const first = changes[0] as BookChange
  const last = changes.at(-1) as BookChange
  const side = (of: (change: BookChange) => readonly Level[]): Level[] => {
    const levels = new Map<string, Level>()
    for (const change of changes) for (const level of of(change)) levels.set(level[0], level)
    return [...levels.values()]
  }
  return {
    ...last,
    first_seq: first.first_seq,
    bids: side((change) => change.bids),
    asks: side((change) => change.asks),
  }
}
