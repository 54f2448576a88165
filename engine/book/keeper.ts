import { type DepthEvent, LEVELS_MAX, NO_CHECKSUM } from '../record/emit.ts'
import { elapsedMs, type Recorder } from '../record/recorder.ts'
import { BOOK_STATES, GAP_CAUSES, GAP_CHANNELS, type GapCause } from '../record/schema.ts'
import { AheadEvents } from './ahead.ts'
import { Book } from './book.ts'
import { Checksums } from './checksums.ts'
import { AGAIN, APPLY, GAP, IDLE, isTooOld, STALE, type SyncRules } from './chain.ts'
import type { GapLog } from './gap-log.ts'
import { anchorRow, restartRow } from './keeper-rows.ts'
import type { KeeperEvents, KeeperLimits } from './keeper-settings.ts'
import { Refresh } from './refresh.ts'
import { MissingRanges } from './trade-line.ts'
import { type Scales, WaitingEvents } from './waiting.ts'

const BOOK = GAP_CHANNELS.book
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
  /** Whole books that came in the stream and became the book. */
  startedCount = 0
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
  readonly checksums: Checksums
  /** Snapshots asked for since the book was last LIVE. */
  attempts = 0
  readonly #rules: SyncRules
  readonly #limits: KeeperLimits
  readonly #recorder: Recorder
  readonly #gaps: GapLog
  readonly #events: KeeperEvents
  readonly #waiting: WaitingEvents
  /** Last sequence of the stream that arrived, applied or not; −1 before the first. */
  #receivedSeq = -1
  readonly #missing = new MissingRanges()
  readonly #refresh: Refresh
  readonly #ahead = new AheadEvents()
  /** Where the chain stood before the venue set it back; other legs still send from there. */
  #beforeResetSeq = -1
  #isRetired = false

  constructor(
    instrument: number,
    rules: SyncRules,
    limits: KeeperLimits,
    recorder: Recorder,
    gaps: GapLog,
    scales: Scales,
    events: KeeperEvents,
  ) {
    this.instrument = instrument
    this.book = new Book(limits.ladder)
    this.#rules = rules
    this.#limits = limits
    this.#recorder = recorder
    this.#gaps = gaps
    this.#events = events
    this.checksums = new Checksums(scales, events)
    this.#refresh = new Refresh(limits.bufferedFramesMax)
    this.#waiting = new WaitingEvents(instrument, scales, recorder, events)
  }

  get isAnchoredInStream(): boolean {
    return this.#rules.anchor === 'stream'
  }

  get isWaiting(): boolean {
    return this.book.state === BOOK_STATES.BUFFERING || this.book.state === BOOK_STATES.RESYNC
  }

  /** The stream of this book is subscribed anew. */
  begin(): void {
    this.#isRetired = false
    if (this.book.isLive || this.isWaiting) return
    this.#receivedSeq = -1
    this.#missing.clear()
    this.#beforeResetSeq = -1
    this.#move(this.book.state === BOOK_STATES.INIT ? BOOK_STATES.BUFFERING : BOOK_STATES.RESYNC, 'subscribed')
    if (this.#rules.anchor === 'stream') this.#events.awaitSnapshot(this.instrument)
    else this.#want()
  }

  /** No connection carries this book any more, or one does but nothing comes; the next event begins anew. */
  suspend(hi: number, lo: number, detail: string, cause: GapCause = 'disconnect'): void {
    const { state } = this.book
    if (state === BOOK_STATES.INIT) return
    this.#move(BOOK_STATES.GAP, cause)
    this.#refresh.close()
    this.#gaps.open(this.instrument, BOOK, GAP_CAUSES[cause], hi, lo, this.#receivedSeq, 0, detail)
    this.#holdAhead()
    this.#waiting.flush(state, this.book.epoch)
  }

  /** Nobody wants this book any more, or the venue has ended it: no gap, the promise is over. */
  retire(state: typeof BOOK_STATES.INIT | typeof BOOK_STATES.DELISTED): void {
    const before = this.book.state
    this.#refresh.close()
    this.#holdAhead()
    this.#waiting.flush(before, this.book.epoch)
    this.#gaps.close(this.instrument, BOOK, 0)
    this.#receivedSeq = -1
    this.#isRetired = true // what the venue sends until it has heard of it begins nothing
    this.#move(state, state === BOOK_STATES.DELISTED ? 'delisted' : 'removed')
  }

  /** Something of this book's stream is missing or cannot be believed: start again with a snapshot. */
  resync(cause: GapCause, lostCount: number, detail: string): void {
    const { state } = this.book
    if (state === BOOK_STATES.INIT || state === BOOK_STATES.GAP) return
    const wasLive = this.book.isLive
    this.#move(BOOK_STATES.RESYNC, cause)
    this.#refresh.close()
    this.gapCount++
    const from = this.lastHi === 0 ? this.#recorder : { hi: this.lastHi, lo: this.lastLo }
    const { seq } = this.book.chain
    this.#gaps.open(this.instrument, BOOK, GAP_CAUSES[cause], from.hi, from.lo, seq, lostCount, detail)
    this.#events.count('resyncs', 1)
    this.#waiting.flush(state, this.book.epoch)
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
    if (this.#isRetired) return this.#keepUnchained(event, book.state)
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

  /** An event that can be part of no chain. */
  #keepUnchained(event: DepthEvent, state: number): void {
    this.#events.count('unchained', 1)
    this.#recorder.delta(event, state, this.book.epoch, this.#recorder.hi, this.#recorder.lo)
  }

  /** Whether another leg may still have what lies between the book and this event: then it waits. */
  #isAhead(event: DepthEvent): boolean {
    if (!this.book.isLive || this.legCount < 2) return false
    if (event.lastSeq <= this.#beforeResetSeq) {
      this.#events.count('duplicates', 1)
      return true
    }
    return this.#ahead.tryKeep(this.#waiting.copyOf(event, this.#recorder.hi, this.#recorder.lo))
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
      if (this.#waiting.rescale(next)) this.#judge(next.event, next.hi, next.lo)
    }
  }

  /** What came early did not get its turn: it waits like everything else for a snapshot. */
  #holdAhead(): void {
    for (const held of this.#ahead.takeAll()) if (!held.event.isSnapshot) this.#waiting.push(held)
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
    for (const waiting of held) if (!waiting.event.isSnapshot) this.#waiting.push(waiting)
    if (snapshot !== undefined && this.#waiting.rescale(snapshot)) this.#start(snapshot.event)
  }

  /** A whole book in the stream. */
  #receiveSnapshot(event: DepthEvent): void {
    const { book } = this
    if (book.isLive) {
      const isRestart = this.#rules.isRestart?.(event.lastSeq) === true && book.isBefore(event)
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
    this.#waiting.flush(BOOK_STATES.BUFFERING, this.book.epoch, snapshot.lastSeq)
    this.#receivedSeq = Math.max(snapshot.lastSeq, this.#waiting.lastSeq)
    this.#beforeResetSeq = -1
    this.#set(snapshot)
    this.startedCount++
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
    this.#gaps.close(this.instrument, BOOK, snapshot.lastSeq)
    this.#move(BOOK_STATES.LIVE, 'anchored')
    this.#events.anchored(this.instrument, 'anchor')
  }

  /** Holds the book against the venue's own sum, where it sends one. */
  #verify({ checksum }: DepthEvent): void {
    const fault = this.checksums.check(this.#rules, this.book, checksum, this.instrument)
    if (fault !== '') this.resync('checksum', 0, fault)
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
      this.#keepUnchained(event, this.isWaiting ? this.book.state : BOOK_STATES.RESYNC)
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
        this.resync('sequence', 0, `anchored at ${book.chain.seq}, the stream begins at ${event.firstSeq}`)
        this.#receivedSeq = event.lastSeq
        return this.#hold(event, hi, lo)
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
    if (this.#refresh.isOpen) this.#refresh.hold(event)
    if (event.checksum !== NO_CHECKSUM) this.#verify(event)
    if (!hasRoom) this.resync('overflow', 0, 'more price levels than a book may hold')
    else if (book.isCrossed && !this.isPreOpen) {
      if (++book.crossedEvents > this.#limits.crossedEventsMax)
        this.resync('crossed', 0, `best bid >= best ask for ${book.crossedEvents} events`)
    } else book.crossedEvents = 0
  }

  /** Keeps a copy until a snapshot comes. */
  #hold(event: DepthEvent, hi: number, lo: number): void {
    if (this.#waiting.count >= this.#limits.bufferedFramesMax) {
      this.#events.count('buffer_overflows', 1)
      this.#waiting.flush(this.book.state, this.book.epoch)
    }
    this.#waiting.push(this.#waiting.copyOf(event, hi, lo))
  }

  /** The process ends: what waits becomes rows. */
  finish(): void {
    this.#holdAhead()
    this.#waiting.flush(this.book.state, this.book.epoch)
  }

  /** A REST snapshot. @returns whether the book is LIVE now. */
  anchor(snapshot: DepthEvent): boolean {
    const { book } = this
    const first = this.#waiting.firstAfter(snapshot.lastSeq)
    if (first !== undefined && isTooOld(this.#rules, snapshot.lastSeq, first)) {
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
    return this.#refresh.isOpen
  }

  /** The market has come close to the edge of what the anchor proved: asks for a new anchor, LIVE all the while. */
  refresh(nowMs: number): void {
    if (!this.#limits.refreshes || !this.book.isLive || !this.#refresh.tryOpen(nowMs, this.book.chain.seq)) return
    this.#events.wantSnapshot(this.instrument, 0)
  }

  /** No snapshot, or one that is of no use: the book stays as it is, and asks again later. */
  abandonRefresh(): void {
    this.#refresh.abandon()
  }

  /** The answer to `refresh`: the book is built anew from it and from what came since, and goes on where it was. */
  renew(snapshot: DepthEvent): void {
    const { book } = this
    const events = this.#refresh.take(this.#rules, snapshot.lastSeq, book.chain.seq)
    if (events === undefined) return this.#events.count('snapshots_old', 1)
    const { eventMs } = book
    const { seq } = book.chain
    book.reset(seq)
    book.chain.events = 1 // the chain goes on
    book.eventMs = eventMs
    for (const part of [snapshot, ...events]) book.set(part)
    book.trust(snapshot, this.#limits.snapshotLevels)
    this.isChanged = true
    this.#recorder.book(anchorRow(this.instrument, book, book.proven(LEVELS_MAX)))
    this.#events.count('anchors', 1)
    this.#events.anchored(this.instrument, 'refresh')
  }

  /** What waited goes through the chain; a break in it sends the rest back to waiting. */
  #release(): void {
    for (const { event, hi, lo } of this.#waiting.takeAll()) {
      if (this.book.isLive) this.#judge(event, hi, lo)
      else this.#hold(event, hi, lo)
    }
  }

  #want(): void {
    this.#events.wantSnapshot(this.instrument, this.attempts++)
  }

  #move(state: number, reason: string): void {
    const from = this.book.state
    if (from === state) return
    this.book.enter(state, reason, this.#recorder.hi, this.#recorder.lo)
    this.#events.stateChanged(this.instrument, from, state)
    if (!this.isWaiting) this.#events.settled(this.instrument)
  }
}
