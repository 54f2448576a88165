import {
  beginMessage,
  type InstrumentName,
  type LiveOutput,
  type LiveSubject,
  LiveSubjects,
  MESSAGE_REST_BYTES_MAX,
  VALUE_BYTES_MAX,
} from '../record/live.ts'
import { MsgpackWriter } from '../record/msgpack.ts'
import { elapsedMs, type FrameTime } from '../record/recorder.ts'
import { BOOK_STATES, type BookState } from '../record/schema.ts'
import { BOOK_SNAPSHOT, BOOK_STATE, HEARTBEAT, heartbeatSubject } from '../record/streams.ts'
import type { Book } from './book.ts'

/**
 * What readers of the live path need besides the changes, to hold books of their own: `book_state` before anything that
 * follows from a change of state, `book_snapshot` with every anchor and for whoever wants one, `heartbeat` once a second,
 * so that silence can be told from calm.
 *
 * The order says all: a snapshot holds every change that was sent before it and none that comes after. A reader applies
 * each later change of the same `book_epoch` with state LIVE, whatever its numbers (OKX sets them back now and then).
 *
 * Arithmetic: a level is two integers of 1 to 9 bytes; 1,000 levels a side are 20 to 36 KB and 100 µs. 1,000 books wanted
 * at once are 100 ms of a shard, once; a heartbeat of 200 books has 20 KB, 50 µs a second.
 */
export interface LiveBook {
  readonly index: number
  readonly name: InstrumentName
  readonly keeper: { readonly book: Book }
  readonly hasBook: boolean
  /** not collected any more */
  readonly isRemoved: boolean
}

/** Where these messages go, behind all changes of books that came before. */
export interface OrderedOutput extends LiveOutput {
  /** Sends the changes of books that were not sent yet. */
  flushDeltas(): void
  /** of one message */
  readonly messageBytesMax: number
}

export interface LiveBooksOptions {
  readonly producer: string
  readonly shard: number
  /** names this life of the worker */
  readonly run: string
}

/** Why a book is sent: it was set from a snapshot, or built anew without leaving LIVE, or somebody asked. */
export type SnapshotReason = 'anchor' | 'refresh' | 'wanted'

/** One book is sent to those who want it this often at most. */
export const WANTED_MS_MIN = 100
export const HEARTBEAT_MS = 1_000
export const HEARTBEAT_BOOKS_MAX = 200

/** Names and values of a row beside its levels, and words. */
const ROW_BYTES_MAX = 512
const SIDES = ['bid', 'ask'] as const
const STATE_WORDS = Object.keys(BOOK_STATES) as BookState[]

export class LiveBooks {
  readonly #options: LiveBooksOptions
  readonly #time: FrameTime
  readonly #scales: { readonly prices: Uint8Array; readonly quantities: Uint8Array }
  readonly #output: OrderedOutput
  readonly #snapshots: LiveSubjects
  readonly #states: LiveSubjects
  /** When a wanted book was last sent, ms. */
  readonly #sentMs = new Map<LiveBook, number>()
  readonly #wanted = new Set<LiveBook>()
  #heartbeatSlot = -1

  constructor(
    options: LiveBooksOptions,
    time: FrameTime,
    scales: { readonly prices: Uint8Array; readonly quantities: Uint8Array },
    nameOf: (instrument: number) => InstrumentName,
    output: OrderedOutput,
  ) {
    this.#options = options
    this.#time = time
    this.#scales = scales
    this.#output = output
    this.#snapshots = new LiveSubjects(BOOK_SNAPSHOT, options.run, nameOf)
    this.#states = new LiveSubjects(BOOK_STATE, options.run, nameOf)
  }

  /** The book has another state since this frame. */
  stateChanged(source: LiveBook): void {
    const subject = this.#states.at(source.index)
    this.#send(subject, ROW_BYTES_MAX, (writer) => {
      beginMessage(writer, subject, 1)
      writer.fixMap(6).text('received_ns').words(this.#time.hi, this.#time.lo)
      writeStanding(writer, source.keeper.book)
    })
  }

  /** The book was set from a snapshot. */
  anchored(source: LiveBook, reason: 'anchor' | 'refresh'): void {
    this.#sendSnapshot(source, reason)
  }

  /** Somebody asks for the book; those who ask soon after one another get one answer, behind all that they may miss. */
  want(source: LiveBook): void {
    if (!source.hasBook) return
    this.#wanted.add(source)
    this.#answer(source)
  }

  /** Time passes. @param nowMs frame time since the epoch */
  tick(nowMs: number, sources: readonly LiveBook[]): void {
    for (const source of [...this.#wanted]) this.#answer(source)
    const slot = Math.floor(nowMs / HEARTBEAT_MS)
    if (slot === this.#heartbeatSlot) return
    this.#heartbeatSlot = slot
    this.#beat(sources.filter(isTold))
  }

  #answer(source: LiveBook): void {
    const nowMs = elapsedMs(0, 0, this.#time.hi, this.#time.lo)
    if (nowMs - (this.#sentMs.get(source) ?? Number.NEGATIVE_INFINITY) < WANTED_MS_MIN) return
    this.#wanted.delete(source)
    this.#sentMs.set(source, nowMs)
    if (source.keeper.book.isLive) this.#sendSnapshot(source, 'wanted')
    else this.stateChanged(source)
  }

  /** The whole book, or what of it fits into a message: the best levels. */
  #sendSnapshot(source: LiveBook, reason: SnapshotReason): void {
    const { book } = source.keeper
    const subject = this.#snapshots.at(source.index)
    const headBytes = subject.bytes.length + subject.head.length + MESSAGE_REST_BYTES_MAX + ROW_BYTES_MAX
    const levelsMax = Math.floor((this.#output.messageBytesMax - headBytes) / (2 * 2 * VALUE_BYTES_MAX))
    const sides = { bid: sideOf(book.bids, levelsMax), ask: sideOf(book.asks, levelsMax) }
    const levels = sides.bid.prices.length + sides.ask.prices.length
    this.#send(subject, ROW_BYTES_MAX + levels * 2 * VALUE_BYTES_MAX, (writer) => {
      beginMessage(writer, subject, 1)
      writer.fixMap(13).text('received_ns').words(this.#time.hi, this.#time.lo)
      writer.text('event_ns')
      writeNs(writer, book.eventMs)
      writer.text('reason').text(reason).text('book_epoch').uint(book.epoch)
      writer.text('last_seq')
      writeInteger(writer, Math.max(0, book.chain.seq))
      writer.text('bid_levels').uint(book.bids.levelCount).text('ask_levels').uint(book.asks.levelCount)
      for (const side of SIDES) {
        writeList(writer, `${side}_price_mantissas`, sides[side].prices)
        writeList(writer, `${side}_quantity_mantissas`, sides[side].quantities)
      }
      writer.text('price_scale').uint(this.#scales.prices[source.index] as number)
      writer.text('quantity_scale').uint(this.#scales.quantities[source.index] as number)
    })
  }

  #send(subject: LiveSubject, bytesMax: number, write: (writer: MsgpackWriter) => void): void {
    this.#output.flushDeltas()
    subject.number++
    const { hi, lo } = this.#time
    const encode = (bytes: Uint8Array, offset: number): number => {
      const writer = new MsgpackWriter(bytes, offset)
      write(writer)
      return writer.at - offset
    }
    this.#output.send(subject.bytes, hi, lo, encode, subject.head.length + MESSAGE_REST_BYTES_MAX + bytesMax)
  }

  #beat(books: readonly LiveBook[]): void {
    const parts = Math.max(1, Math.ceil(books.length / HEARTBEAT_BOOKS_MAX))
    for (let part = 0; part < parts; part++) {
      const first = part * HEARTBEAT_BOOKS_MAX
      this.#sendBeat(books.slice(first, first + HEARTBEAT_BOOKS_MAX), part, parts)
    }
  }

  #sendBeat(books: readonly LiveBook[], part: number, parts: number): void {
    const { producer, shard, run } = this.#options
    const { hi, lo } = this.#time
    const encode = (bytes: Uint8Array, offset: number): number => {
      const writer = new MsgpackWriter(bytes, offset)
      writer.fixMap(8).text('type').text(HEARTBEAT).text('producer').text(producer).text('shard').uint(shard)
      writer.text('run').text(run).text('time_ns').words(hi, lo).text('part').uint(part).text('parts').uint(parts)
      writer.text('books').array(books.length)
      for (const { name, keeper } of books) {
        writer.fixMap(8).text('exchange').text(name.exchange)
        writer.text('market').text(name.market).text('symbol').text(name.symbol)
        writeStanding(writer, keeper.book)
      }
      return writer.at - offset
    }
    const names = books.reduce((sum, { name }) => sum + 3 * (name.exchange + name.market + name.symbol).length, 0)
    const bytesMax = (books.length + 1) * ROW_BYTES_MAX + names + 3 * (producer.length + run.length)
    const subject = new TextEncoder().encode(heartbeatSubject(producer, shard, part))
    this.#output.flushDeltas() // last_seq is of what was sent
    this.#output.send(subject, hi, lo, encode, bytesMax)
  }
}

const isTold = ({ keeper: { book }, hasBook, isRemoved }: LiveBook): boolean =>
  hasBook && (!isRemoved || book.state === BOOK_STATES.DELISTED)

/** Five entries of a map. */
function writeStanding(writer: MsgpackWriter, book: Book): void {
  writer.text('state').text(STATE_WORDS[book.state] as string)
  writer.text('since_ns').words(book.sinceHi, book.sinceLo)
  writer.text('reason').text(book.reason)
  writer.text('book_epoch').uint(book.epoch).text('last_seq')
  writeInteger(writer, Math.max(0, book.chain.seq))
}

function sideOf(side: Book['bids'], levelsMax: number): { prices: Float64Array; quantities: Float64Array } {
  const count = Math.max(0, Math.min(side.levelCount, levelsMax))
  const prices = new Float64Array(count)
  const quantities = new Float64Array(count)
  side.copyTop(count, prices, quantities)
  return { prices, quantities }
}

function writeList(writer: MsgpackWriter, name: string, values: Float64Array): void {
  writer.text(name).array(values.length)
  for (const value of values) writeInteger(writer, value)
}

/** An integer that a double holds exactly. */
function writeInteger(writer: MsgpackWriter, value: number): void {
  writer.words(Math.floor(value / 2 ** 32), value % 2 ** 32)
}

function writeNs(writer: MsgpackWriter, ms: number): void {
  const ns = BigInt(Math.round(ms)) * 1_000_000n
  writer.words(Number(ns >> 32n), Number(ns & 0xffffffffn))
}
