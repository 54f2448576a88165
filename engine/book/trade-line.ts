import type { ShortText } from '../scan/short-text.ts'
import { RecentNames } from './recent-names.ts'

/**
 * The ids of one trade stream of one instrument: contiguous, so a jump is a gap, and a smaller id is either a repetition
 * or a late one that was missing. Missing ids are kept as ranges, few of them: what falls out of the list is given up.
 */
const RANGES_MAX = 32

export const NEXT = 0 // the very next id, or the first one ever
export const JUMPED = 1 // ids before this one are missing
export const LATE = 2 // was missing, is here now
export const REPEATED = 3 // is known already
export type IdVerdict = typeof NEXT | typeof JUMPED | typeof LATE | typeof REPEATED

/** Sequences that were skipped, as closed ranges. */
export class MissingRanges {
  readonly #ranges: [number, number][] = []

  add(first: number, last: number): void {
    if (last < first) return
    if (this.#ranges.length === RANGES_MAX) this.#ranges.shift()
    this.#ranges.push([first, last])
  }

  /** Takes [first, last] out of the missing. @returns whether all of it was missing. */
  take(first: number, last: number): boolean {
    const index = this.#ranges.findIndex((range) => range[0] <= first && last <= range[1])
    if (index < 0) return false
    const [rangeFirst, rangeLast] = this.#ranges[index] as [number, number]
    const rest: [number, number][] = []
    if (rangeFirst < first) rest.push([rangeFirst, first - 1])
    if (last < rangeLast) rest.push([last + 1, rangeLast])
    this.#ranges.splice(index, 1, ...rest)
    if (this.#ranges.length > RANGES_MAX) this.#ranges.shift()
    return true
  }

  clear(): void {
    this.#ranges.length = 0
  }
}

export class TradeLine {
  /** The highest id seen, −1 before the first. */
  lastId = -1
  /** When it was received. */
  lastHi = 0
  lastLo = 0
  /** The highest id before the one that jumped. */
  idBeforeJump = -1
  readonly #missing = new MissingRanges()
  /** What two connections may be apart: a second of a wild market. */
  #names: RecentNames | undefined

  /** One trade that is the numbers [firstId, lastId] of the venue's unbroken numbering. */
  see(firstId: number, lastId: number): IdVerdict {
    const before = this.lastId
    if (firstId === before + 1 || before < 0) {
      this.lastId = lastId
      return NEXT
    }
    if (firstId > before) {
      this.#missing.add(before + 1, firstId - 1)
      this.idBeforeJump = before
      this.lastId = lastId
      return JUMPED
    }
    return this.take(firstId, lastId)
  }

  /** As `see`, for what was fetched afterwards: the stream does not move on. */
  take(firstId: number, lastId: number): typeof LATE | typeof REPEATED {
    return this.#missing.take(firstId, lastId) ? LATE : REPEATED
  }

  /** Whether its trades have no numbers, so that none can be told to be missing. */
  get isNamed(): boolean {
    return this.#names !== undefined
  }

  /** A trade of a venue that does not number its trades: only repetitions can be told. */
  seeNamed(name: ShortText): typeof NEXT | typeof REPEATED {
    this.#names ??= new RecentNames()
    return this.#names.tryAdd(name) ? NEXT : REPEATED
  }
}

const RECENT_IDS = 16

/** Update ids from one setting back of the venue to the next: they rise but skip. */
class TickerEra {
  /** When its first ticker was, by the venue. */
  readonly startMs: number
  firstId = Number.POSITIVE_INFINITY
  lastId = -1
  lastMs = 0
  readonly #recent = new Float64Array(RECENT_IDS).fill(-1)
  #next = 0

  constructor(startMs: number) {
    this.startMs = startMs
  }

  has(id: number): boolean {
    return this.#recent.includes(id)
  }

  /** Not among the last few, and older than all of them: whether it was seen cannot be told any more. */
  isOld(id: number): boolean {
    return id < this.#recent.reduce((oldest, recent) => Math.min(oldest, recent))
  }

  /** Later than all of this era, or in its last millisecond and below all that it ever had. */
  isBefore(id: number, ms: number): boolean {
    return !this.has(id) && (ms > this.lastMs || (ms === this.lastMs && ms > 0 && id < this.firstId))
  }

  add(id: number, ms: number): void {
    if (id < this.firstId) this.firstId = id
    if (id > this.lastId) this.lastId = id
    if (ms > this.lastMs) this.lastMs = ms
    this.#recent[this.#next] = id
    this.#next = (this.#next + 1) % RECENT_IDS
  }
}

/**
 * The update ids of book tickers: they rise but skip, so a smaller one is a repetition if it is among the last few, and
 * a late one if it is newer than the oldest of those.
 *
 * A venue may set them back (Bybit begins again with 1, OKX resets after maintenance). Then a smaller id is newer, which
 * its time shows: later than that of every ticker before (in the same millisecond: smaller than every id before). What a connection that lags still brings from before the
 * setting back is earlier than that, and is held against what was known then. Ids without times are never set back.
 */
export class TickerLine {
  #era = new TickerEra(0)
  /** Before the last setting back. */
  #eraBefore: TickerEra | undefined

  /** @param ms when it was, by the engine of the venue rather than by who sends it; 0: it does not say. @returns whether it is new. */
  see(id: number, ms: number): boolean {
    const before = this.#eraBefore
    if (before !== undefined && (ms < this.#era.startMs || (ms === this.#era.startMs && before.has(id))))
      return ms >= before.startMs && isAdded(before, id, ms)
    if (id < this.#era.lastId && this.#era.isBefore(id, ms)) {
      this.#eraBefore = this.#era
      this.#era = new TickerEra(ms)
    }
    return isAdded(this.#era, id, ms)
  }

  get lastId(): number {
    return this.#era.lastId
  }
}

function isAdded(era: TickerEra, id: number, ms: number): boolean {
  if (id <= era.lastId && (era.has(id) || era.isOld(id))) return false
  era.add(id, ms)
  return true
}
