import type { InstrumentName } from '../engine-link.ts'
import type { BookMessage, BookRow } from './book-row.ts'
import { FollowedBook, type HeartbeatBook, type LateBook, SILENT_MS_MAX, type Standing } from './followed-book.ts'
import type { LiveBook } from './live-book.ts'
import type { LiveMessage } from './live-message.ts'
import { idOf } from './subject.ts'

/**
 * All books that the engine has, by what it says of them, and the levels of those that somebody uses. No timers in here:
 * `sweep` is called some times a second.
 *
 * Arithmetic: 1,000 books of 1,000 levels a side take 65 MiB when the levels are dense, 106 MiB with a level every 5 ticks,
 * 700 MiB with one every 50 (measured); those that nobody uses cost an entry of a map. The heartbeats of 1,000 books are 5
 * messages of 20 KB a second: 5 ms.
 */
export interface BooksEvents {
  /** an instrument with a book that was not known before, or one that is gone */
  onKnown(book: FollowedBook): void
  onGone(book: FollowedBook): void
  /** the book is held from now on, or was set anew */
  onSnapshot(book: FollowedBook, live: LiveBook): void
  /** it was behind, and is not any more */
  onCaughtUp(book: FollowedBook, live: LiveBook, late: LateBook): void
  onChange(book: FollowedBook, live: LiveBook, row: BookRow): void
  /** the book is not held any more; what was shown of it is not true from now on */
  onReset(book: FollowedBook, told: Standing): void
  /** it was doubted and is true */
  onProof(book: FollowedBook): void
  wantBook(name: InstrumentName): void
}

/** One line of the list of books. */
export interface BookLine extends Standing {
  readonly id: string
  readonly epoch: number
  readonly lastSeq: number
  /** ms since its worker was last heard */
  readonly ageMs: number
}

export interface Heartbeat {
  readonly run: string
  readonly time_ns: unknown
  readonly books: readonly HeartbeatBook[]
}

/** `isWhole`: what is held is as it was before the messages that are missing. */
interface Loss {
  readonly lost: string
  readonly isWhole: boolean
}

/** A book that nobody uses is kept so long: who reads it every minute does not cost a snapshot each time. */
const KEPT_MS = 60_000
/** The engine answers within some ms; an answer that was lost is asked for again, ever less often. */
const ASK_MS_MIN = 500
const ASK_MS_MAX = 8_000
/** So many a tenth of a second: whole books are the heaviest messages, for the worker, for us and for who gets them. */
const ASKS_A_SWEEP_MAX = 25
/** An instrument that is not collected any more is told to be STALE for so long. */
const GONE_MS = 600_000

export class Books {
  readonly all = new Map<string, FollowedBook>()
  readonly counts = { asks: 0, resets: 0, losses: 0 }
  /** counts what changed in the list of books or in the state of one */
  changes = 0
  readonly #events: BooksEvents
  /** those that are used or held */
  readonly #active = new Set<FollowedBook>()
  /** when each worker was last heard */
  readonly #runs = new Map<string, number>()
  #asksLeft = ASKS_A_SWEEP_MAX

  constructor(events: BooksEvents) {
    this.#events = events
  }

  get heldCount(): number {
    let count = 0
    for (const followed of this.#active) if (followed.book !== undefined) count++
    return count
  }

  /** The book, if messages of it are worth decoding. */
  active(id: string): FollowedBook | undefined {
    const followed = this.all.get(id)
    return followed !== undefined && this.#active.has(followed) ? followed : undefined
  }

  /** Somebody needs the book from now on. Where it is behind it begins anew for all: this one has nothing of it. */
  addUser(followed: FollowedBook, nowMs: number, nowNs: string): void {
    followed.users++
    if (followed.late !== undefined) this.#drop(followed, nowMs)
    this.touch(followed, nowMs, nowNs)
  }

  removeUser(followed: FollowedBook, nowMs: number): void {
    followed.users--
    followed.usedMs = nowMs
  }

  /** Somebody needs it now; it is asked for if it is not here. */
  touch(followed: FollowedBook, nowMs: number, nowNs: string): void {
    followed.usedMs = nowMs
    this.#active.add(followed)
    if (followed.book === undefined && followed.awaitedSinceNs === '0')
      this.#await(followed, 'its levels are being asked for', nowNs)
    this.#ask(followed, nowMs)
  }

  onHeartbeat({ run, time_ns, books }: Heartbeat, nowMs: number): void {
    this.#runs.set(run, nowMs)
    const timeNs = String(time_ns)
    for (const entry of books) this.#beat(entry, run, timeNs, nowMs)
  }

  #beat(entry: HeartbeatBook, run: string, timeNs: string, nowMs: number): void {
    const followed = this.#known(entry, nowMs, timeNs)
    if (followed.run !== run && !this.#mayFollow(followed, run, nowMs, timeNs)) return
    followed.heardMs = nowMs
    followed.heardNs = timeNs
    followed.epoch = Number(entry.book_epoch)
    followed.lastSeq = Number(entry.last_seq)
    this.#stand(followed, { state: entry.state, reason: entry.reason, sinceNs: String(entry.since_ns) }, nowMs, timeNs)
    const wasDoubted = followed.isDoubted
    const lost = followed.doubt(followed.epoch, followed.lastSeq)
    if (lost !== undefined) this.#lose(followed, { lost, isWhole: true }, nowMs, timeNs)
    else if (wasDoubted) this.#events.onProof(followed)
  }

  onState(name: InstrumentName, { run, rows }: LiveMessage, nowMs: number, nowNs: string): void {
    const followed = this.#known(name, nowMs, nowNs)
    if (followed.run !== run && !this.#mayFollow(followed, run, nowMs, nowNs)) return
    for (const row of rows) {
      followed.epoch = Number(row['book_epoch'])
      followed.lastSeq = Number(row['last_seq'])
      const standing = { state: String(row['state']), reason: String(row['reason']), sinceNs: String(row['since_ns']) }
      this.#stand(followed, standing, nowMs, nowNs)
    }
  }

  onSnapshot(name: InstrumentName, { run, rows }: BookMessage, nowMs: number, nowNs: string): void {
    const followed = this.#known(name, nowMs, nowNs)
    if (followed.run !== run && !this.#mayFollow(followed, run, nowMs, nowNs)) return
    if (!this.#active.has(followed)) return
    const { standing } = followed
    for (const row of rows) {
      const { late } = followed
      if (followed.anchor(row)) this.#anchored(followed, followed.book as LiveBook, late)
      else if (followed.book === undefined) {
        if (late !== undefined) this.#tellReset(followed, nowMs)
        this.#lose(followed, { lost: 'levels beyond the bounds of a book', isWhole: false }, nowMs, nowNs)
      }
    }
    if (followed.standing !== standing) this.changes++
  }

  #anchored(followed: FollowedBook, live: LiveBook, late: LateBook | undefined): void {
    const isSame = late !== undefined && late.epoch === live.epoch && late.lastSeq <= live.lastSeq
    if (isSame) this.#events.onCaughtUp(followed, live, late)
    else this.#events.onSnapshot(followed, live)
  }

  onDelta(followed: FollowedBook, { run, number, rows }: BookMessage, nowMs: number, nowNs: string): void {
    if (followed.run !== run && !this.#mayFollow(followed, run, nowMs, nowNs)) return
    const wasDoubted = followed.isDoubted
    const hole = followed.takeNumber(number)
    if (followed.book === undefined) return // the snapshot that is awaited holds these
    if (hole !== undefined) return this.#lose(followed, { lost: hole, isWhole: true }, nowMs, nowNs)
    for (const row of rows) {
      const verdict = followed.apply(row)
      if (verdict === 'applied') this.#events.onChange(followed, followed.book, row)
      else if (verdict !== 'skipped') return this.#lose(followed, verdict, nowMs, nowNs)
    }
    if (wasDoubted && !followed.isDoubted) this.#events.onProof(followed)
  }

  /**
   * Messages may be missing of any book. Which of them are told by their numbers and by heartbeats within a second: to ask
   * for all at once would be a load that makes more of them be missing.
   */
  onBreak(): void {
    for (const followed of this.#active) followed.isDoubted = followed.book !== undefined
  }

  /** Time passes: silence is noticed, answers that did not come are asked for again, what nobody uses is let go. */
  sweep(nowMs: number, nowNs: string): void {
    this.#asksLeft = ASKS_A_SWEEP_MAX
    for (const followed of this.#active) {
      if (followed.isOverdue(nowMs) || (followed.isShown && followed.isSilent(nowMs))) this.#drop(followed, nowMs)
      if (followed.users === 0 && nowMs - followed.usedMs > KEPT_MS) this.#release(followed)
      else if (followed.book === undefined) this.#ask(followed, nowMs, nowNs)
    }
    for (const [run, heardMs] of this.#runs) if (nowMs - heardMs > SILENT_MS_MAX) this.#runs.delete(run)
  }

  /** Lets go of instruments that are not collected any more; once a minute is enough. */
  forgetGone(nowMs: number): void {
    for (const followed of this.all.values()) {
      if (followed.users > 0 || nowMs - followed.heardMs < GONE_MS) continue
      this.#release(followed)
      this.all.delete(followed.id)
      this.changes++
      this.#events.onGone(followed)
    }
  }

  lines(nowMs: number): BookLine[] {
    return [...this.all.values()].map((followed) => ({
      ...(followed.isSilent(nowMs) ? followed.told(nowMs) : followed.standing),
      id: followed.id,
      epoch: followed.epoch,
      lastSeq: followed.lastSeq,
      ageMs: Math.round(nowMs - followed.heardMs),
    }))
  }

  #known(name: InstrumentName, nowMs: number, nowNs: string): FollowedBook {
    const id = idOf(name)
    const known = this.all.get(id)
    if (known !== undefined) return known
    const { exchange, market, symbol } = name
    const followed = new FollowedBook({ exchange, market, symbol }, id, nowMs, nowNs)
    this.all.set(id, followed)
    this.changes++
    this.#events.onKnown(followed)
    return followed
  }

  /**
   * A message of a worker that is not followed in this book. Another collector may have the same instrument: while both are
   * heard, the one that is followed stays. A worker that was not heard yet is taken for the successor of one that died.
   */
  #mayFollow(followed: FollowedBook, run: string, nowMs: number, nowNs: string): boolean {
    if (followed.run !== undefined) {
      if (!followed.isSilent(nowMs) && this.#isHeard(followed.run, nowMs) && this.#isHeard(run, nowMs)) return false
      followed.run = run
      followed.forgetNumber()
      this.#lose(followed, { lost: 'its worker started anew', isWhole: false }, nowMs, nowNs)
    }
    followed.run = run
    return true
  }

  #isHeard(run: string, nowMs: number): boolean {
    return nowMs - (this.#runs.get(run) ?? Number.NEGATIVE_INFINITY) <= SILENT_MS_MAX
  }

  #stand(followed: FollowedBook, standing: Standing, nowMs: number, nowNs: string): void {
    const { state, sinceNs } = followed.standing
    const wasLive = state === 'LIVE'
    if (standing.state !== state || standing.sinceNs !== sinceNs) this.changes++
    followed.standing = standing
    if (standing.state !== 'LIVE') {
      followed.awaitedSinceNs = '0'
      if (followed.isShown) this.#drop(followed, nowMs)
      else if (wasLive && followed.users > 0) this.#events.onReset(followed, followed.told(nowMs))
    } else if (!wasLive && this.#active.has(followed) && followed.book === undefined) {
      this.#await(followed, 'its snapshot is awaited', nowNs)
      followed.asks = 1 // it follows its state by itself; asked for only if it does not come
      followed.askedMs = nowMs
    }
  }

  /** What is held is not true any more, though the engine's may be: it is asked for anew. */
  #lose(followed: FollowedBook, { lost, isWhole }: Loss, nowMs: number, nowNs: string): void {
    this.counts.losses++
    const wasShown = followed.isShown
    if (isWhole) followed.fallBehind(nowMs)
    else followed.drop()
    if (!this.#active.has(followed)) return
    this.#await(followed, lost, nowNs)
    if (wasShown && !followed.isShown) this.#tellReset(followed, nowMs)
    this.#ask(followed, nowMs)
  }

  #drop(followed: FollowedBook, nowMs: number): void {
    followed.drop()
    this.#tellReset(followed, nowMs)
  }

  #tellReset(followed: FollowedBook, nowMs: number): void {
    this.counts.resets++
    this.#events.onReset(followed, followed.told(nowMs))
  }

  #await(followed: FollowedBook, reason: string, nowNs: string): void {
    followed.awaitedSinceNs = nowNs
    followed.awaitedReason = reason
  }

  #ask(followed: FollowedBook, nowMs: number, nowNs?: string): void {
    if (followed.book !== undefined || followed.standing.state !== 'LIVE' || followed.isSilent(nowMs)) return
    if (followed.awaitedSinceNs === '0' && nowNs !== undefined) this.#await(followed, 'it was silent', nowNs)
    const pauseMs = followed.asks === 0 ? 0 : Math.min(ASK_MS_MIN * 2 ** (followed.asks - 1), ASK_MS_MAX)
    if (nowMs - followed.askedMs < pauseMs || this.#asksLeft <= 0) return
    this.#asksLeft--
    followed.asks++
    followed.askedMs = nowMs
    this.counts.asks++
    this.#events.wantBook(followed.name)
  }

  #release(followed: FollowedBook): void {
    followed.release()
    this.#active.delete(followed)
  }
}
