/**
 * Books kept from a stream: each from its snapshot and every update since, and none that is not LIVE. What ends a book is
 * the gateway's `book_reset`, an update of another epoch, or the end of the connection.
 *
 *   const books = new StreamBooks()
 *   for await (const message of stream) books.apply(message)?.bids(10)
 */
import type { Level } from '../record/rows.ts'
import { type InstrumentName, instrumentName } from './block.ts'
import type { BookSnapshotMessage, BookUpdateMessage, StreamMessage } from './messages.ts'

export interface KeptBook extends InstrumentName {
  /** false: levels are not shown, `state` and `reason` say why */
  readonly isLive: boolean
  readonly state: string
  readonly reason: string
  readonly epoch: number
  /** the book is the fold of everything up to here */
  readonly lastSeq: number
  /** ns since the epoch, as text */
  readonly eventNs: string
  readonly receivedNs: string
  /** The best levels, best first; all without a count. None while the book is not LIVE. */
  bids(count?: number): readonly Level[]
  asks(count?: number): readonly Level[]
}

export class StreamBooks {
  readonly #books = new Map<string, Book>()

  /** @returns the book that this message changed. */
  apply(message: StreamMessage): KeptBook | undefined {
    switch (message.type) {
      case 'book': {
        const book = this.#book(message)
        if (message.kind === 'snapshot') book.anchor(message)
        else book.apply(message)
        return book
      }
      case 'book_reset': {
        const book = this.#book(message)
        book.reset(message.state, message.reason)
        return book
      }
      case 'connection':
        if (message.state === 'closed') for (const book of this.#books.values()) book.reset('STALE', message.reason)
        return undefined
      default:
        return undefined
    }
  }

  /** @param instrument `{exchange}.{market}.{symbol}` @returns undefined when nothing was heard of it. */
  get(instrument: string): KeptBook | undefined {
    return this.#books.get(instrument)
  }

  all(): readonly KeptBook[] {
    return [...this.#books.values()]
  }

  #book({ exchange, market, symbol }: InstrumentName): Book {
    const id = `${exchange}.${market}.${symbol}`
    let book = this.#books.get(id)
    if (book === undefined) {
      book = new Book(instrumentName(id))
      this.#books.set(id, book)
    }
    return book
  }
}

class Book implements KeptBook {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  state = 'INIT'
  reason = ''
  epoch = 0
  lastSeq = 0
  eventNs = '0'
  receivedNs = '0'
  readonly #bids = new Side(-1)
  readonly #asks = new Side(1)

  constructor({ exchange, market, symbol }: InstrumentName) {
    this.exchange = exchange
    this.market = market
    this.symbol = symbol
  }

  get isLive(): boolean {
    return this.state === 'LIVE'
  }

  bids(count?: number): readonly Level[] {
    return this.#bids.top(count)
  }

  asks(count?: number): readonly Level[] {
    return this.#asks.top(count)
  }

  anchor(message: BookSnapshotMessage): void {
    this.state = message.state
    this.reason = ''
    this.#bids.clear()
    this.#asks.clear()
    this.#take(message)
  }

  apply(message: BookUpdateMessage): void {
    if (!this.isLive) return // the snapshot that comes holds it
    if (message.book_epoch !== this.epoch)
      return this.reset('RESYNC', `an update of epoch ${message.book_epoch} for a book of epoch ${this.epoch}`)
    this.#take(message)
  }

  reset(state: string, reason: string): void {
    this.state = state
    this.reason = reason
    this.#bids.clear()
    this.#asks.clear()
  }

  #take(message: BookSnapshotMessage | BookUpdateMessage): void {
    this.#bids.set(message.bids)
    this.#asks.set(message.asks)
    this.epoch = message.book_epoch
    this.lastSeq = message.last_seq
    this.eventNs = message.event_ns
    this.receivedNs = message.received_ns
  }
}

/** One side: quantities by price text, in order when somebody looks. */
class Side {
  readonly #sign: 1 | -1
  readonly #quantities = new Map<string, string>()
  #sorted: Level[] | undefined

  /** @param sign 1: best is lowest */
  constructor(sign: 1 | -1) {
    this.#sign = sign
  }

  set(levels: readonly Level[]): void {
    for (const [price, quantity] of levels) {
      if (quantity === '0') this.#quantities.delete(price)
      else this.#quantities.set(price, quantity)
    }
    if (levels.length > 0) this.#sorted = undefined
  }

  clear(): void {
    this.#quantities.clear()
    this.#sorted = undefined
  }

  top(count?: number): readonly Level[] {
    this.#sorted ??= [...this.#quantities].sort(([a], [b]) => this.#sign * compareDecimals(a, b))
    return count === undefined ? this.#sorted : this.#sorted.slice(0, count)
  }
}

/** Decimal texts as rows have them, exactly: no exponent, no zeros in front or behind. @returns below 0 when a is less. */
export function compareDecimals(a: string, b: string): number {
  const isNegative = a.startsWith('-')
  if (isNegative !== b.startsWith('-')) return isNegative ? -1 : 1
  return isNegative ? compareMagnitudes(b.slice(1), a.slice(1)) : compareMagnitudes(a, b)
}

function compareMagnitudes(a: string, b: string): number {
  const wholeDigits = pointOf(a) - pointOf(b)
  if (wholeDigits !== 0) return wholeDigits
  return a === b ? 0 : a < b ? -1 : 1 // the same number of digits before the point: the order of text is that of numbers
}

function pointOf(text: string): number {
  const at = text.indexOf('.')
  return at < 0 ? text.length : at
}
