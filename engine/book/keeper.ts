import { type DepthEvent, NO_CHECKSUM } from '../record/emit.ts'
import { elapsedMs, type Recorder } from '../record/recorder.ts'
import { BOOK_STATES, GAP_CAUSES, GAP_CHANNELS } from '../record/schema.ts'
import type { GapCause } from '../record/schema.ts'
import { AheadEvents } from './ahead.ts'
import { Book } from './book.ts'
import { AGAIN, APPLY, GAP, IDLE, STALE } from './chain.ts'
import type { SyncRules } from './chain.ts'
import type { GapLog } from './gap-log.ts'
import { anchorRow, restartRow } from './keeper-rows.ts'
import { copyOf, HeldDepth } from './held-depth.ts'
import type { KeeperEvents, KeeperLimits } from './keeper-settings.ts'
import { Refresh } from './refresh.ts'
import { MissingRanges } from './trade-line.ts'

/** A book asks for a second snapshot at most this often; after each that was of no use it waits twice as long. */
const REFRESH_MS_MIN = 10_000
const REFRESH_DOUBLINGS_MAX = 6

/** How long an event that one leg brought early waits for what another leg still has. */
const LEG_WAIT_MS = 2_000

/**
 * One instrument's book from the first event to the last: which state it is in, what waits for a snapshot, when to ask
 * for one.
 *
 *            begin            anchor                     chain broken, loss, rejected frame, crossed
 *    INIT ----------> BUFFERING ----------> LIVE --------------------------------------------------> RESYNC
 *                          \                 |  \                                                      |
 *                           \                |   closed                                                |  anchor
 *                            `--- closed ----+----------> GAP --- begin ---> RESYNC ------------------>+---> LIVE
 *
 * Whatever the anomaly, the first effect is that the book leaves LIVE; rows, counters and requests come after.
 * Every depth event that arrives becomes one row: at once when LIVE, else when its fate is known. An event that cannot be
 * part of a chain keeps the word BUFFERING or RESYNC in its row.
 */
export class BookKeeper {
  readonly book: Book
  readonly instrument: number
  appliedCount = 0
  staleCount = 0
  gapCount = 0
  /** Whether the book changed since the last row of kind periodic; the publisher has its own. */
  isChanged = false
  isUnpublished = false
  /** Receive time of the last event that was applied, or of the anchor. */
  lastHi = 0
  lastLo = 0
  /** Open connections that carry this book. */
  legCount = 0
  /** Orders are taken but nothing trades: best bid above best ask is normal. */
  isPreOpen = false
  checksumsGood = 0
  checksumsBad = 0
  /** Snapshots asked for since the book was last LIVE. */
  attempts = 0
  readonly #rules: SyncRules
  readonly #limits: KeeperLimits
  readonly #recorder: Recorder
  readonly #gaps: GapLog
  readonly #events: KeeperEvents
  readonly #priceScales: Uint8Array
  readonly #quantityScales: Uint8Array
  #buffer: HeldDepth[] = []
  /** Last sequence of the stream that arrived, applied or not; −1 before the first. */
  #receivedSeq = -1
  readonly #missing = new MissingRanges()
  #refresh: Refresh | undefined
  readonly #ahead = new AheadEvents()
  /** Where the chain stood before the venue set it back; other legs still send from there. */
  #beforeResetSeq = -1
  #refreshFromMs = 0
  #refreshFailures = 0

  constructor(
    instrument: number,
    rules: SyncRules,
    limits: KeeperLimits,
    recorder: Recorder,
    gaps: GapLog,
    scales: { prices: Uint8Array; quantities: Uint8Array },
    events: KeeperEvents,
  ) {
    this.instrument = instrument
    this.book = new Book(limits.ladder)
    this.#rules = rules
    this.#limits = limits
    this.#recorder = recorder
    this.#gaps = gaps
    this.#priceScales = scales.prices
    this.#quantityScales = scales.quantities
    this.#events = events
  }

  get isAnchoredInStream(): boolean {
    return this.#rules.anchor === 'stream'
  }

  get isWaiting(): boolean {
    return this.book.state === BOOK_STATES.BUFFERING || this.book.state === BOOK_STATES.RESYNC
  }

  /** The stream of this book is subscribed anew. */
  begin(): void {
    if (this.book.isLive || this.isWaiting) return
    this.#receivedSeq = -1
    this.#missing.clear()
    this.#beforeResetSeq = -1
    this.#move(this.book.state === BOOK_STATES.INIT ? BOOK_STATES.BUFFERING : BOOK_STATES.RESYNC)
    if (this.#rules.anchor === 'stream') this.#events.awaitSnapshot(this.instrument)
    else this.#want()
  }

  /** No connection carries this book any more, or one does but nothing comes; the next event begins anew. */
  suspend(hi: number, lo: number, detail: string, cause: GapCause = 'disconnect'): void {
    const { state } = this.book
    if (state === BOOK_STATES.INIT) return
    this.#move(BOOK_STATES.GAP)
    this.#refresh = undefined
    this.#gaps.open(this.instrument, GAP_CHANNELS.book, GAP_CAUSES[cause], hi, lo, this.#receivedSeq, 0, detail)
    this.#holdAhead()
    this.#flushBuffer(state)
  }

  /** Nobody wants this book any more, or the venue has ended it: no gap, the promise is over. */
  retire(state: typeof BOOK_STATES.INIT | typeof BOOK_STATES.DELISTED): void {
    const before = this.book.state
    this.#refresh = undefined
    this.#holdAhead()
    this.#flushBuffer(before)
    this.#gaps.close(this.instrument, GAP_CHANNELS.book, 0)
    this.#receivedSeq = -1
    this.#move(state)
    this.#events.anchored(this.instrument) // no question is open any more
  }

  /** Something of this book's stream is missing or cannot be believed: start again with a snapshot. */
  resync(cause: GapCause, lostCount: number, detail: string): void {
    const { state } = this.book
    if (state === BOOK_STATES.INIT || state === BOOK_STATES.GAP) return
    const wasLive = this.book.isLive
    this.#move(BOOK_STATES.RESYNC)
    this.#refresh = undefined
    this.gapCount++
    const from = this.lastHi === 0 ? this.#recorder : { hi: this.lastHi, lo: this.lastLo }
    this.#gaps.open(
      this.instrument,
      GAP_CHANNELS.book,
      GAP_CAUSES[cause],
      from.hi,
      from.lo,
      this.book.chain.seq,
      lostCount,
      detail,
    )
    this.#events.count('resyncs', 1)
    this.#flushBuffer(state)
    this.#receivedSeq = -1
    if (wasLive) this.#want() // else one is on its way
  }

  /** Widens the book with its instrument. */
  rescale(priceFactor: number, quantityFactor: number): void {
    this.abandonRefresh() // what it holds is at the old scales
    if (!this.book.rescale(priceFactor, quantityFactor))
      this.resync('overflow', 0, 'the book does not fit the wider scale')
  }

  /** One depth event, as the parser filled it in. */
  receive(event: DepthEvent): void {
    const { book } = this
    if (book.state === BOOK_STATES.DELISTED) return this.#receiveLast(event)
    if (event.isSnapshot) return this.#receiveSnapshot(event)
    if (
      book.isLive &&
      this.#rules.continues(this.#receivedSeq, event.firstSeq, event.prevSeq) &&
      (event.lastSeq > this.#receivedSeq || this.#rules.anchor === 'stream')
    ) {
      // The usual way: it follows what arrived before. The anchor may still be newer than it.
      if (event.lastSeq < this.#receivedSeq) this.#setBack(this.#receivedSeq)
      this.#receivedSeq = event.lastSeq
      this.#judge(event, this.#recorder.hi, this.#recorder.lo)
      if (this.#ahead.count > 0) this.#catchUp()
      return
    }
    if (book.state === BOOK_STATES.INIT || book.state === BOOK_STATES.GAP) this.begin()
    if (this.#receivedSeq < 0) this.#receivedSeq = event.lastSeq
    else if (event.lastSeq <= this.#receivedSeq) return this.#receiveOld(event)
    else if (this.#isAhead(event)) return
    else {
      const seq = this.#receivedSeq
      this.#receivedSeq = event.lastSeq
      if (!this.#rules.continues(seq, event.firstSeq, event.prevSeq)) this.#jump(seq, event)
    }
    if (this.book.isLive) this.#judge(event, this.#recorder.hi, this.#recorder.lo)
    else this.#hold(event, this.#recorder.hi, this.#recorder.lo)
  }

  /** What still comes of an instrument that is no more. */
  #receiveLast(event: DepthEvent): void {
    const { hi, lo } = this.#recorder
    this.#events.count('unchained', 1)
    this.#recorder.delta(event, BOOK_STATES.DELISTED, this.book.epoch, hi, lo)
  }

  /** Whether another leg may still have what lies between the book and this event: then it waits. */
  #isAhead(event: DepthEvent): boolean {
    if (!this.book.isLive || this.legCount < 2) return false
    if (event.lastSeq <= this.#beforeResetSeq) {
      this.#events.count('duplicates', 1)
      return true
    }
    const { instrument } = this
    const scales = [this.#priceScales[instrument] as number, this.#quantityScales[instrument] as number] as const
    return this.#ahead.tryKeep(event, this.#recorder.hi, this.#recorder.lo, ...scales)
  }

  /** The venue counts from a smaller number on; the chain is whole. */
  #setBack(seq: number): void {
    this.#beforeResetSeq = seq
    this.#events.count('resets', 1)
  }

  /** The book moved: what came early may continue it now. */
  #catchUp(): void {
    const onKnown = (): void => this.#events.count('duplicates', 1)
    for (;;) {
      const next = this.book.isLive ? this.#ahead.takeNext(this.#rules, this.book.chain.seq, onKnown) : undefined
      if (next === undefined) return
      this.#receivedSeq = Math.max(this.#receivedSeq, next.event.lastSeq)
      if (this.#rescaleHeld(next)) this.#judge(next.event, next.hi, next.lo)
    }
  }

  /** What came early did not get its turn: it waits like everything else for a snapshot. */
  #holdAhead(): void {
    for (const held of this.#ahead.takeAll()) if (!held.event.isSnapshot) this.#buffer.push(held)
  }

  /** Time passes. */
  tick(): void {
    const { oldest } = this.#ahead
    if (oldest === undefined) return
    const { hi, lo } = this.#recorder
    if (elapsedMs(oldest.hi, oldest.lo, hi, lo) < LEG_WAIT_MS) return
    const held = this.#ahead.takeAll()
    const snapshot = held.find(({ event }) => event.isSnapshot && event.lastSeq > this.book.chain.seq)
    this.resync('sequence', 0, `${this.book.chain.seq}, no connection has what came before ${oldest.event.firstSeq}`)
    for (const waiting of held) if (!waiting.event.isSnapshot) this.#buffer.push(waiting)
    if (snapshot !== undefined && this.#rescaleHeld(snapshot)) this.#start(snapshot.event)
  }

  /** A whole book in the stream. */
  #receiveSnapshot(event: DepthEvent): void {
    const { book } = this
    if (book.isLive) {
      const isRestart = this.#rules.isRestart?.(event.lastSeq) === true && event.eventMs > book.eventMs
      if (event.lastSeq <= book.chain.seq && !isRestart) return this.#events.count('duplicates', 1)
      if (!isRestart && this.#isAhead(event)) return
      this.#noteRestart(event)
    } else if (!this.isWaiting) this.begin()
    this.#start(event)
  }

  /** The venue started its book anew; what happened meanwhile nobody was told. */
  #noteRestart(event: DepthEvent): void {
    const { hi, lo } = this.#recorder
    const from = { hi: this.lastHi, lo: this.lastLo, seq: this.book.chain.seq }
    this.gapCount++
    this.#events.count('resets', 1)
    this.#gaps.write(restartRow(this.instrument, from, { hi, lo, seq: event.lastSeq }))
  }

  /** Anchors the book with a snapshot of the stream. */
  #start(snapshot: DepthEvent): void {
    const isBefore = ({ event }: HeldDepth): boolean => event.lastSeq <= snapshot.lastSeq
    const after = this.#buffer.filter((held) => !isBefore(held))
    this.#buffer = this.#buffer.filter(isBefore)
    this.#flushBuffer(BOOK_STATES.BUFFERING)
    this.#buffer = after
    this.#receivedSeq = Math.max(snapshot.lastSeq, ...after.map(({ event }) => event.lastSeq))
    this.#beforeResetSeq = -1
    this.#set(snapshot)
    this.#verify(snapshot)
    this.#release()
  }

  /** The book becomes this snapshot, and LIVE. */
  #set(snapshot: DepthEvent): void {
    const { book } = this
    book.reset(snapshot.lastSeq)
    book.eventMs = snapshot.eventMs
    book.set(snapshot)
    this.lastHi = this.#recorder.hi
    this.lastLo = this.#recorder.lo
    this.attempts = 0
    this.isChanged = true
    this.isUnpublished = true
    this.#recorder.book(anchorRow(this.instrument, book, snapshot))
    this.#events.count('anchors', 1)
    this.#gaps.close(this.instrument, GAP_CHANNELS.book, snapshot.lastSeq)
    this.#move(BOOK_STATES.LIVE)
    this.#events.anchored(this.instrument)
  }

  /** Holds the book against the venue's own sum, where it sends one. */
  #verify({ checksum }: DepthEvent): void {
    const { instrument, book } = this
    if (checksum === NO_CHECKSUM || this.#rules.checksumOf === undefined) return
    const priceScale = this.#priceScales[instrument] as number
    const sum = this.#rules.checksumOf(book, priceScale, this.#quantityScales[instrument] as number)
    this.#events.count(sum === checksum ? 'checksums_good' : 'checksums_bad', 1)
    if (sum === checksum) this.checksumsGood++
    else {
      this.checksumsBad++
      this.resync('checksum', 0, `the book sums to ${sum}, the venue says ${checksum}`)
    }
  }

  /** The stream itself skipped something. */
  #jump(seq: number, event: DepthEvent): void {
    this.resync('sequence', 0, `${seq} then ${event.firstSeq}..${event.lastSeq}`)
    this.#receivedSeq = event.lastSeq
    this.#missing.add(seq + 1, event.firstSeq - 1)
  }

  /** Not newer than what arrived: late, or a repetition. */
  #receiveOld(event: DepthEvent): void {
    if (this.#missing.take(event.firstSeq, event.lastSeq)) {
      this.#events.count('unchained', 1)
      this.#recorder.delta(
        event,
        this.isWaiting ? this.book.state : BOOK_STATES.RESYNC,
        this.book.epoch,
        this.#recorder.hi,
        this.#recorder.lo,
      )
    } else this.#events.count('duplicates', 1)
  }

  /** Holds an event against the chain of a LIVE book. */
  #judge(event: DepthEvent, hi: number, lo: number): void {
    const { book } = this
    switch (this.#rules.verdict(book.chain, event.firstSeq, event.lastSeq, event.prevSeq)) {
      case APPLY:
        return this.#apply(event, hi, lo)
      case STALE:
        this.staleCount++
        this.#events.count('stale', 1)
        return this.#recorder.delta(event, BOOK_STATES.BUFFERING, book.epoch, hi, lo)
      case GAP:
        this.resync('sequence', 0, `${book.chain.seq} then ${event.firstSeq}..${event.lastSeq}`)
        this.#receivedSeq = event.lastSeq
        return this.#hold(event, hi, lo)
      case IDLE:
        return this.#events.count('keep_alives', 1)
      case AGAIN:
        this.#events.count('snapshots_old', 1)
        this.#move(BOOK_STATES.RESYNC)
        this.#hold(event, hi, lo)
        return this.#want()
    }
  }

  #apply(event: DepthEvent, hi: number, lo: number): void {
    const { book } = this
    const hasRoom = book.set(event)
    book.chain.seq = event.lastSeq
    book.chain.events++
    book.eventMs = event.eventMs
    this.lastHi = hi
    this.lastLo = lo
    this.isChanged = true
    this.isUnpublished = true
    this.attempts = 0
    this.appliedCount++
    this.#events.count('applied', 1)
    this.#recorder.delta(event, BOOK_STATES.LIVE, book.epoch, hi, lo)
    if (this.#refresh !== undefined) this.#holdForRefresh(this.#refresh, event)
    if (event.checksum !== NO_CHECKSUM) this.#verify(event)
    if (!hasRoom) this.resync('overflow', 0, 'more price levels than a book may hold')
    else if (book.isCrossed && !this.isPreOpen) {
      if (++book.crossedEvents > this.#limits.crossedEventsMax)
        this.resync('crossed', 0, `best bid >= best ask for ${book.crossedEvents} events`)
    } else book.crossedEvents = 0
  }

  /** Keeps a copy until a snapshot comes. */
  #hold(event: DepthEvent, hi: number, lo: number): void {
    if (this.#buffer.length >= this.#limits.bufferedFramesMax) {
      this.#events.count('buffer_overflows', 1)
      this.#flushBuffer(this.book.state)
    }
    const priceScale = this.#priceScales[this.instrument] as number
    const quantityScale = this.#quantityScales[this.instrument] as number
    this.#buffer.push(new HeldDepth(event, hi, lo, priceScale, quantityScale))
  }

  /** Nothing will anchor what waits: it becomes rows as it is. */
  #flushBuffer(state: number): void {
    const waiting = this.#buffer
    this.#buffer = []
    this.#events.count('unchained', waiting.length)
    for (const held of waiting)
      if (this.#rescaleHeld(held)) this.#recorder.delta(held.event, state, this.book.epoch, held.hi, held.lo)
  }

  /** The process ends: what waits becomes rows. */
  finish(): void {
    if (this.#buffer.length > 0) this.#flushBuffer(this.book.state)
  }

  #rescaleHeld(held: HeldDepth): boolean {
    const { instrument } = this
    return held.rescale(this.#priceScales[instrument] as number, this.#quantityScales[instrument] as number)
  }

  /** A REST snapshot. @returns whether the book is LIVE now. */
  anchor(snapshot: DepthEvent): boolean {
    const { book } = this
    const first = this.#buffer.find((held) => held.event.lastSeq > snapshot.lastSeq)
    if (first !== undefined && this.#isTooOld(snapshot, first.event)) {
      this.#events.count('snapshots_old', 1)
      this.#want()
      return false
    }
    const { attempts } = this
    this.#set(snapshot)
    this.attempts = attempts // until an event proves that the stream continues it
    book.trust(snapshot, this.#limits.snapshotLevels)
    this.#release()
    return book.isLive
  }

  get isRefreshing(): boolean {
    return this.#refresh !== undefined
  }

  /** The market has come close to the edge of what the anchor proved: asks for a new anchor, LIVE all the while. */
  refresh(nowMs: number): void {
    if (!this.#limits.refreshes || !this.book.isLive || this.#refresh !== undefined || nowMs < this.#refreshFromMs)
      return
    this.#refreshFromMs = nowMs + REFRESH_MS_MIN * 2 ** this.#refreshFailures
    this.#refresh = new Refresh(this.book.chain.seq)
    this.#events.wantSnapshot(this.instrument, 0)
  }

  /** No snapshot, or one that is of no use: the book stays as it is, and asks again later. */
  abandonRefresh(): void {
    if (this.#refresh === undefined) return
    this.#refresh = undefined
    this.#refreshFailures = Math.min(this.#refreshFailures + 1, REFRESH_DOUBLINGS_MAX)
  }

  /** The answer to `refresh`: the book is built anew from it and from what came since, and goes on where it was. */
  renew(snapshot: DepthEvent): void {
    const { book } = this
    const events = this.#refresh?.continuation(this.#rules, snapshot.lastSeq)
    if (events === undefined || (events.length === 0 && snapshot.lastSeq !== book.chain.seq)) {
      this.#events.count('snapshots_old', 1)
      return this.abandonRefresh()
    }
    this.#refresh = undefined
    this.#refreshFailures = 0
    const { eventMs } = book
    const { seq } = book.chain
    book.reset(seq)
    book.chain.events = 1 // the chain goes on
    book.eventMs = eventMs
    for (const part of [snapshot, ...events]) book.set(part)
    book.trust(snapshot, this.#limits.snapshotLevels)
    this.isChanged = true
    this.#recorder.book(anchorRow(this.instrument, book, book.whole()))
    this.#events.count('anchors', 1)
  }

  #holdForRefresh(refresh: Refresh, event: DepthEvent): void {
    if (refresh.eventCount >= this.#limits.bufferedFramesMax) this.abandonRefresh()
    else refresh.hold(copyOf(event))
  }

  /** What waited goes through the chain; a break in it sends the rest back to waiting. */
  #release(): void {
    const waiting = this.#buffer
    this.#buffer = []
    for (const held of waiting) {
      if (!this.#rescaleHeld(held)) continue
      if (this.book.isLive) this.#judge(held.event, held.hi, held.lo)
      else this.#hold(held.event, held.hi, held.lo)
    }
  }

  #isTooOld(snapshot: DepthEvent, first: DepthEvent): boolean {
    return (
      this.#rules.verdict({ seq: snapshot.lastSeq, events: 0 }, first.firstSeq, first.lastSeq, first.prevSeq) === AGAIN
    )
  }

  #want(): void {
    this.#events.wantSnapshot(this.instrument, this.attempts++)
  }

  #move(state: number): void {
    const from = this.book.state
    if (from === state) return
    this.book.state = state
    this.#events.stateChanged(this.instrument, from, state)
  }
}
