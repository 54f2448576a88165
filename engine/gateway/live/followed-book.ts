import type { InstrumentName } from '../engine-link.ts'
import type { BookRow } from './book-row.ts'
import { BOOK_SIDES, LiveBook, noLevels, type SideLevels } from './live-book.ts'

/** What is known of a book, whether it is held here or not. */
export interface Standing {
  readonly state: string
  readonly reason: string
  /** ns since the epoch */
  readonly sinceNs: string
}

/** An entry of a heartbeat. */
export interface HeartbeatBook extends InstrumentName {
  readonly state: string
  readonly since_ns: unknown
  readonly reason: string
  readonly book_epoch: number
  readonly last_seq: unknown
}

/** A book that its shard says nothing of for so long is not to be trusted, whatever it was. */
export const SILENT_MS_MAX = 3_000

/**
 * So long readers are not told that messages for the gateway were lost: the engine has the book, and the next snapshot of it
 * becomes the changes that they missed. To them it is a delay.
 */
export const BEHIND_MS_MAX = 1_000

/** Reason of INIT: nobody wants it collected any more. */
const REMOVED = 'removed'

/** What a delta did. `isWhole`: the book is as it was before. */
export type DeltaVerdict = 'applied' | 'skipped' | { readonly lost: string; readonly isWhole: boolean }

/** What readers have of a book of which messages were lost. */
export interface LateBook extends Readonly<Record<'bid' | 'ask', SideLevels>> {
  readonly epoch: number
  readonly lastSeq: number
  readonly priceScale: number
  readonly quantityScale: number
  readonly sinceMs: number
}

/**
 * One book: what the engine says of it, and its levels while somebody uses it. Which of several workers it is followed in
 * is the caller's business (books.ts).
 *
 *   absent ──asked──► awaited ──snapshot──► held ──silence, not LIVE──► awaited or absent
 *                        ▲                   │ ▲
 *                        │                 hole└──snapshot: what changed meanwhile
 *                        └─── 1 s ─────── behind
 *
 * It is held only while: the engine says LIVE, its last heartbeat is younger than 3 s, and every delta since the snapshot
 * has come, by the numbers of its subject.
 */
export class FollowedBook {
  readonly name: InstrumentName
  readonly id: string
  /** the worker whose messages count */
  run: string | undefined
  standing: Standing
  epoch = 0
  lastSeq = 0
  /** when its shard was last heard to have it, ms of the monotonic clock, and ns since the epoch */
  heardMs: number
  heardNs: string
  book: LiveBook | undefined
  /** while it is behind: what its readers have */
  late: LateBook | undefined
  /** Messages may be missing: it is true when the next change follows the last one, or a heartbeat says so. */
  isDoubted = false
  /** who needs it now */
  users = 0
  usedMs = Number.NEGATIVE_INFINITY
  /** since when it is awaited, 0 = it is not */
  awaitedSinceNs = '0'
  /** why it is awaited */
  awaitedReason = ''
  askedMs = Number.NEGATIVE_INFINITY
  asks = 0
  /** number of the last delta message */
  #number: number | undefined
  /** nothing is known of the number before: the venue's own sequence has to prove that nothing is missing */
  #isFirst = false
  /** its ladders, for the next time */
  #spare: LiveBook | undefined
  /** deltas since the snapshot */
  #applied = 0
  /** what a heartbeat said that did not fit, and how many deltas there were then */
  #doubt: { readonly lastSeq: number; readonly applied: number } | undefined

  constructor(name: InstrumentName, id: string, nowMs: number, nowNs: string) {
    this.name = name
    this.id = id
    this.heardMs = nowMs
    this.heardNs = nowNs
    this.standing = { state: 'INIT', reason: '', sinceNs: nowNs }
  }

  isSilent(nowMs: number): boolean {
    return !this.#isOver && nowMs - this.heardMs > SILENT_MS_MAX
  }

  /** Its shard will say nothing of it any more, and that is right. */
  get #isOver(): boolean {
    const { state, reason } = this.standing
    return state === 'DELISTED' || (state === 'INIT' && reason === REMOVED)
  }

  /** What to tell those who ask for it. */
  told(nowMs: number): Standing {
    if (this.isSilent(nowMs)) {
      const reason = `no heartbeat of its worker for ${SILENT_MS_MAX / 1_000} s`
      return { state: 'STALE', reason, sinceNs: this.heardNs }
    }
    if (this.standing.state === 'LIVE' && this.book === undefined && this.awaitedSinceNs !== '0')
      return { state: 'RESYNC', reason: this.awaitedReason, sinceNs: this.awaitedSinceNs }
    return this.standing
  }

  /** The book as its followers have it: if it turns out that something is missing, they are told. */
  held(nowMs: number): LiveBook | undefined {
    return this.standing.state === 'LIVE' && !this.isSilent(nowMs) ? this.book : undefined
  }

  /** The book, only if it is true now. */
  proven(nowMs: number): LiveBook | undefined {
    return this.isDoubted ? undefined : this.held(nowMs)
  }

  /** Readers have it, though it may be behind. */
  get isShown(): boolean {
    return this.book !== undefined || this.late !== undefined
  }

  isOverdue(nowMs: number): boolean {
    return this.late !== undefined && nowMs - this.late.sinceMs > BEHIND_MS_MAX
  }

  drop(): void {
    this.#spare = this.book ?? this.#spare
    this.book = undefined
    this.late = undefined
    this.isDoubted = false
  }

  /** Messages of it were lost on their way to us: what readers have is kept, to tell them what changed. */
  fallBehind(nowMs: number): void {
    const { book } = this
    if (book === undefined) return
    const late = { bid: noLevels(), ask: noLevels() }
    for (const side of BOOK_SIDES) book.copyTop(side, 0, late[side])
    const { epoch, lastSeq, priceScale, quantityScale } = book
    this.drop()
    this.late = { ...late, epoch, lastSeq, priceScale, quantityScale, sinceMs: nowMs }
  }

  /** Its memory goes, too. */
  release(): void {
    this.drop()
    this.#spare = undefined
    this.awaitedSinceNs = '0'
    this.asks = 0
  }

  /** Sets the levels. @returns false when the snapshot says what is held already. */
  anchor(row: BookRow): boolean {
    const { epoch, lastSeq } = row
    this.awaitedSinceNs = '0'
    this.asks = 0
    this.isDoubted = false
    if (this.standing.state !== 'LIVE') this.standing = { state: 'LIVE', reason: '', sinceNs: row.receivedNs } // its book_state was lost
    if (this.book?.epoch === epoch && this.book.lastSeq === lastSeq) return false
    this.book ??= this.#spare ?? new LiveBook()
    this.late = undefined
    this.#applied = 0
    this.#doubt = undefined
    if (!this.book.anchor(row)) this.drop()
    return this.book !== undefined
  }

  /** A message of deltas. @returns undefined when all is well, else what was lost. */
  takeNumber(number: number): string | undefined {
    const before = this.#number
    this.#number = number
    this.#isFirst = before === undefined
    if (before !== undefined && number !== before + 1) return `${number - before - 1} messages of changes are missing`
    if (!this.#isFirst) this.isDoubted = false
    return undefined
  }

  /** Another worker counts anew. */
  forgetNumber(): void {
    this.#number = undefined
  }

  apply(row: BookRow): DeltaVerdict {
    const { book } = this
    if (book === undefined) return 'skipped'
    const { epoch, lastSeq } = row
    if (epoch < book.epoch) return 'skipped'
    // Too old for its anchor, or late: no part of the chain. That the book left LIVE is said by its state, and before.
    if (!row.isLive) return 'skipped'
    if (epoch > book.epoch) return { lost: `changes of epoch ${epoch} without its snapshot`, isWhole: false }
    // Already in the snapshot; a venue that set its numbers back goes on from there, and says so.
    if (this.#applied === 0 && lastSeq <= book.lastSeq && row.prevSeq !== book.lastSeq) return 'skipped'
    if (this.#isFirst && !continues(row, book))
      return { lost: 'changes before the first that came may be missing', isWhole: true }
    if (this.#isFirst) this.isDoubted = false
    this.#isFirst = false
    if (!book.apply(row)) return { lost: 'levels beyond the bounds of a book', isWhole: false }
    this.#applied++
    return 'applied'
  }

  /** @returns what was lost, when two heartbeats in a row say that there is more than came; one if it is doubted anyway. */
  doubt(epoch: number, lastSeq: number): string | undefined {
    const { book } = this
    if (book === undefined) return undefined
    const before = this.#doubt
    this.#doubt = undefined
    if (book.epoch === epoch && book.lastSeq === lastSeq) {
      this.isDoubted = false
      return undefined
    }
    this.#doubt = { lastSeq, applied: this.#applied }
    return this.isDoubted || (before !== undefined && before.applied === this.#applied)
      ? `its worker is at ${lastSeq} of epoch ${epoch}, here it is ${book.lastSeq} of ${book.epoch}`
      : undefined
  }
}

/** Whether an event of the venue follows the book by the venue's own numbers. */
function continues({ firstSeq, prevSeq }: BookRow, { lastSeq }: LiveBook): boolean {
  return prevSeq === lastSeq || firstSeq <= lastSeq + 1
}
