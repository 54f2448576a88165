import type { InstrumentName, LiveOutput } from '../record/live.ts'
import type { FrameTime, Recorder } from '../record/recorder.ts'
import { SNAPSHOT_KINDS } from '../record/schema.ts'
import { ORDERBOOK } from '../record/streams.ts'
import { elapsedMs } from '../record/recorder.ts'
import type { Book } from './book.ts'
import { Checkpoints } from './checkpoints.ts'
import type { BookKeeper } from './keeper.ts'
import { type OrderbookMessage, orderbookBytesMax, writeOrderbook } from './orderbook-message.ts'

/**
 * What is written and published of books at intervals: rows of kind periodic, and the live `orderbook` messages. Driven
 * by the time of TICK frames; intervals begin at multiples of the interval since the epoch.
 *
 * Arithmetic: 200 books, 400 levels a side, once a second: 160,000 levels/s; a row copies them (2 ms), a message writes
 * their digits (16 ms, 2 % of a core).
 */
export interface PublisherSettings {
  intervalMs: number
  depth: number
  minDepthLevels: number
  maxAgeSeconds: number
  skipUnchanged: boolean
  retries: number
  form: 'json' | 'msgpack'
}

export interface SnapshotSettings {
  intervalMs: number
  depth: number
  /** 0: no checkpoints */
  checkpointSeconds: number
}

/** What became of each book at each interval. */
export const PUBLISH_OUTCOMES = [
  'published',
  'on_time',
  'late',
  'missed_intervals',
  'unchanged',
  'not_live',
  'crossed',
  'too_old',
  'shallow',
  'beyond_trust',
  'retried',
  'failed',
] as const
export type PublishOutcome = (typeof PUBLISH_OUTCOMES)[number]

/**
 * The books of an interval go out within this share of it, so many at once at least: 500 books in one go would hold back
 * every change behind them for 85 ms.
 */
const SPREAD_SHARE = 0.8
const BOOKS_A_TICK_MIN = 16
/** Later than this share of the interval counts as late; never less than two ticks. */
const LATE_SHARE = 0.1
const LATE_MS_MIN = 100

export interface BookSource {
  readonly keeper: BookKeeper
  readonly name: InstrumentName
  readonly index: number
  /** where its rows go */
  readonly record: { readonly recorder: Recorder }
}

export class BookPublisher {
  readonly #snapshots: SnapshotSettings
  readonly #checkpoints: Checkpoints
  readonly #settings: PublisherSettings
  readonly #time: FrameTime
  readonly #output: LiveOutput
  readonly #scales: { prices: Uint8Array; quantities: Uint8Array }
  readonly #count: (outcome: PublishOutcome, by: number) => void
  readonly #row
  #snapshotSlot = -1
  #nowMs = 0
  #publishSlot = -1
  /** Books of this interval, of which `#duePublished` had their turn. */
  #due: readonly BookSource[] = []
  #duePublished = 0
  /** Books that found no room, with the tries left. */
  readonly #retries = new Map<BookSource, number>()

  constructor(
    snapshots: SnapshotSettings,
    settings: PublisherSettings,
    time: FrameTime,
    scales: { prices: Uint8Array; quantities: Uint8Array },
    output: LiveOutput,
    count: (outcome: PublishOutcome, by: number) => void,
  ) {
    this.#snapshots = snapshots
    this.#checkpoints = new Checkpoints(snapshots.checkpointSeconds * 1_000)
    this.#settings = settings
    this.#time = time
    this.#scales = scales
    this.#output = output
    this.#count = count
    const depth = Math.max(snapshots.depth, settings.depth)
    this.#row = {
      instrument: 0,
      kind: SNAPSHOT_KINDS.periodic,
      eventMs: 0,
      lastSeq: 0,
      epoch: 0,
      bidLevels: 0,
      askLevels: 0,
      bidCount: 0,
      askCount: 0,
      bidPrices: new Float64Array(depth),
      bidQuantities: new Float64Array(depth),
      askPrices: new Float64Array(depth),
      askQuantities: new Float64Array(depth),
    }
  }

  /** Time passes. @param nowMs frame time since the epoch. @param isLive whether messages go out at all. */
  tick(nowMs: number, sources: readonly BookSource[], isLive: boolean): void {
    this.#nowMs = nowMs
    const snapshotSlot = Math.floor(nowMs / this.#snapshots.intervalMs)
    if (snapshotSlot !== this.#snapshotSlot) {
      if (this.#snapshotSlot >= 0) this.writeRows(sources)
      this.#snapshotSlot = snapshotSlot
    }
    this.#checkpoints.tick(nowMs, sources)
    if (!isLive) return
    for (const [source, left] of [...this.#retries]) this.#publish(source, left)
    const publishSlot = Math.floor(nowMs / this.#settings.intervalMs)
    if (publishSlot !== this.#publishSlot) this.#beginInterval(publishSlot, nowMs, sources)
    const elapsedShare = (nowMs - publishSlot * this.#settings.intervalMs) / (this.#settings.intervalMs * SPREAD_SHARE)
    this.#publishDue(Math.max(this.#duePublished + BOOKS_A_TICK_MIN, Math.ceil(this.#due.length * elapsedShare)))
  }

  #beginInterval(publishSlot: number, nowMs: number, sources: readonly BookSource[]): void {
    this.#publishDue(this.#due.length)
    if (this.#publishSlot >= 0) {
      const missed = publishSlot - this.#publishSlot - 1
      if (missed > 0) this.#count('missed_intervals', missed)
      const lateMs = Math.max(LATE_MS_MIN, this.#settings.intervalMs * LATE_SHARE)
      this.#count(nowMs - publishSlot * this.#settings.intervalMs <= lateMs ? 'on_time' : 'late', 1)
      this.#retries.clear()
      this.#due = [...sources]
      this.#duePublished = 0
    }
    this.#publishSlot = publishSlot
  }

  /** Goes on with the books of this interval until so many had their turn. */
  #publishDue(count: number): void {
    const end = Math.min(count, this.#due.length)
    while (this.#duePublished < end)
      this.#publish(this.#due[this.#duePublished++] as BookSource, this.#settings.retries)
  }

  /** A row for each LIVE book that changed since its last one. */
  writeRows(sources: readonly BookSource[]): void {
    for (const source of sources) {
      const { keeper } = source
      if (!keeper.isChanged || !keeper.book.isLive) continue
      keeper.isChanged = false
      this.#copy(source, this.#snapshots.depth)
      source.record.recorder.book(this.#row)
      if (this.#isNearEdge(keeper.book)) keeper.refresh(this.#nowMs)
    }
  }

  /** Whether what a row shows reaches beyond what the anchor proved. */
  #isNearEdge(book: Book): boolean {
    const { bidPrices, bidCount, askPrices, askCount } = this.#row
    return (
      book.trustedCount('bid', bidPrices, bidCount) < bidCount ||
      book.trustedCount('ask', askPrices, askCount) < askCount
    )
  }

  #copy({ keeper, index }: BookSource, depth: number): void {
    const { book } = keeper
    const row = this.#row
    row.instrument = index
    row.eventMs = book.eventMs
    row.lastSeq = book.chain.seq
    row.epoch = book.epoch
    row.bidLevels = book.bids.levelCount
    row.askLevels = book.asks.levelCount
    row.bidCount = book.bids.copyTop(depth, row.bidPrices, row.bidQuantities)
    row.askCount = book.asks.copyTop(depth, row.askPrices, row.askQuantities)
  }

  /** Why a book is not published now, or ''. */
  #refusal({ keeper }: BookSource): PublishOutcome | '' {
    const { book } = keeper
    if (!book.isLive) return 'not_live'
    if (this.#settings.skipUnchanged && !keeper.isUnpublished) return 'unchanged'
    if (book.isCrossed) return 'crossed'
    if (elapsedMs(keeper.lastHi, keeper.lastLo, this.#time.hi, this.#time.lo) > this.#settings.maxAgeSeconds * 1000)
      return 'too_old'
    return ''
  }

  #publish(source: BookSource, retriesLeft: number): void {
    const refusal = this.#refusal(source)
    if (refusal !== '') {
      this.#retries.delete(source)
      return this.#count(refusal, 1)
    }
    const { keeper, name } = source
    this.#copy(source, this.#settings.depth)
    const row = this.#row
    const { minDepthLevels } = this.#settings
    if (row.bidCount < minDepthLevels || row.askCount < minDepthLevels) {
      this.#retries.delete(source)
      return this.#count('shallow', 1)
    }
    // Beyond what the anchor proved a level may be unknown: still published, but counted.
    const bids = keeper.book.trustedCount('bid', row.bidPrices, row.bidCount)
    const asks = keeper.book.trustedCount('ask', row.askPrices, row.askCount)
    if (bids < minDepthLevels || asks < minDepthLevels) this.#count('beyond_trust', 1)
    const message = this.#messageOf(source)
    const subject = new TextEncoder().encode(`${ORDERBOOK}.${name.exchange}.${name.market}.${name.symbol}`)
    const write = (bytes: Uint8Array, offset: number) => writeOrderbook(bytes, offset, this.#settings.form, message)
    if (this.#output.send(subject, this.#time.hi, this.#time.lo, write, orderbookBytesMax(message))) {
      keeper.isUnpublished = false
      this.#retries.delete(source)
      this.#count('published', 1)
    } else if (retriesLeft > 0) {
      this.#retries.set(source, retriesLeft - 1)
      this.#count('retried', 1)
    } else {
      this.#retries.delete(source)
      this.#count('failed', 1)
    }
  }

  #messageOf({ keeper, name, index }: BookSource): OrderbookMessage {
    const row = this.#row
    const collectedMs = Math.floor(elapsedMs(0, 0, keeper.lastHi, keeper.lastLo))
    return {
      name,
      sides: row,
      priceScale: this.#scales.prices[index] as number,
      quantityScale: this.#scales.quantities[index] as number,
      timestampMs: row.eventMs > 0 ? row.eventMs : collectedMs,
      lastUpdateId: row.lastSeq,
      collectedMs,
    }
  }
}
