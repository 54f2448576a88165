import { Packr } from 'msgpackr'
import { LIVE_COLUMNS, type PublicColumn, type PublicRow } from '../../record/rows.ts'
import { type BookChange, type BookContent, RowChange } from './book-change.ts'
import { binaryFrame, textFrame } from './frames.ts'
import { LiveRowsBody } from './live-message.ts'
import { Numbers } from './numbers.ts'
import { RowsText } from './rows-text.ts'
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
  /** so many messages with rows were lost on their way to the gateway, before the next */
  | { readonly kind: 'lost'; readonly messages: number }

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
        return { type, kind: 'update', exchange, market, symbol, seq, ...partsOf(body.change) }
      case 'reset':
        return { type: 'book_reset', exchange, market, symbol, seq, ...body.reset }
      case 'lost':
        return { type: 'lost', of: type, exchange, market, symbol, seq, messages: body.messages }
    }
  }
}

export const ENCODINGS: Readonly<Record<Format, Encoding>> = {
  json: { slot: 0, encode: (message) => straightFrame(message) ?? textFrame(JSON.stringify(message.object())) },
  msgpack: { slot: 1, encode: (message) => binaryFrame(PACKR.pack(message.object())) },
}

/** From bytes to bytes, where that is possible: it takes a fifth of the time. */
function straightFrame({ topic, seq, body }: Outgoing): Buffer | undefined {
  if (body instanceof LiveRowsBody) return topic.rowsText.frame(topic.headJson, seq, body.message)
  if (body.kind === 'update' && body.change instanceof RowChange) return body.change.frame(topic.headJson, seq)
  return undefined
}

/** As own members: what reads a row has getters. */
function partsOf({ book_epoch, first_seq, last_seq, event_ns, received_ns, bids, asks }: BookChange): BookChange {
  return { book_epoch, first_seq, last_seq, event_ns, received_ns, bids, asks }
}

/** One a type: it knows how rows of its type look. */
const ROWS_TEXTS = new Map<string, RowsText>()

function rowsTextOf(type: string, columns: readonly PublicColumn[]): RowsText {
  const known = ROWS_TEXTS.get(type) ?? new RowsText(columns)
  ROWS_TEXTS.set(type, known)
  return known
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
  /** of what came while there were receivers */
  readonly numbers = new Numbers()
  /** how rows become JSON */
  readonly rowsText: RowsText
  /** how messages with rows, or changes of a book, begin in JSON: up to the text of `seq` */
  readonly headJson: Buffer
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
    this.rowsText = rowsTextOf(subject.type, this.columns)
    const { type, exchange, market, symbol } = subject
    const head =
      type === BOOK_TYPE ? { type, kind: 'update', exchange, market, symbol } : { type, exchange, market, symbol }
    this.headJson = Buffer.from(JSON.stringify({ ...head, seq: '' }).slice(0, -'"}'.length))
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
    if (this.receivers.length === 0) this.numbers.forget()
    return index >= 0
  }

  send(message: Outgoing): void {
    for (const receiver of this.receivers) receiver.push(message)
  }
}
