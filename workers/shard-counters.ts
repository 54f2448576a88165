import { IGNORE_REASONS, isRejection, REJECT_REASONS } from '../engine/record/emit.ts'
import type { IgnoreReason, Outcome, RejectReason } from '../engine/record/emit.ts'
import { PUBLISH_OUTCOMES } from '../engine/book/publisher.ts'
import type { PublishOutcome } from '../engine/book/publisher.ts'
import { BOOK_STATES } from '../engine/record/schema.ts'
import type { BookState } from '../engine/record/schema.ts'
import type { Counters } from '../engine/ring/counters.ts'

/** What a book worker counts; bounded, known words, ready to be metric labels. */
const PLAIN = [
  'messages',
  'rejected',
  'ignored',
  'applied',
  'stale',
  'unchained',
  'duplicates',
  'gaps',
  'resyncs',
  'anchors',
  'trades',
  'tickers',
  'snapshots_wanted',
  'snapshots_unwanted',
  'snapshots_old',
  'buffer_overflows',
  'keep_alives',
  'resets',
  'checksums_good',
  'checksums_bad',
  'kind_rows',
  'repairs_wanted',
  'repaired_gaps',
  'resubscribes_wanted',
  'silences',
  'leg_0_messages',
  'leg_1_messages',
  'leg_2_messages',
  'leg_0_duplicates',
  'leg_1_duplicates',
  'leg_2_duplicates',
  'frames_lost',
  'scale_widenings',
  'blocks',
  'block_bytes',
  'rows',
  'live_sent',
  'live_dropped',
] as const

export type ShardCounter =
  | (typeof PLAIN)[number]
  | `ignored_${IgnoreReason}`
  | `rejected_${RejectReason}`
  | `publish_${PublishOutcome}`
  | `books_${BookState}`

export const SHARD_COUNTERS: readonly ShardCounter[] = [
  ...PLAIN,
  ...IGNORE_REASONS.map((reason): ShardCounter => `ignored_${reason}`),
  ...REJECT_REASONS.map((reason): ShardCounter => `rejected_${reason}`),
  ...PUBLISH_OUTCOMES.map((outcome): ShardCounter => `publish_${outcome}`),
  // Gauges: books in each state now.
  ...(Object.keys(BOOK_STATES) as BookState[]).map((state): ShardCounter => `books_${state}`),
]

/** Connections that carry the same streams at once. */
export const LEG_COUNT_MAX = 3

const STATE_NAMES = Object.keys(BOOK_STATES) as BookState[]

/** Counters of one shard. What is counted for each message is a plain field and settles once a drain. */
export class ShardCounts {
  messages = 0
  applied = 0
  trades = 0
  tickers = 0
  /** Frames by leg of their connection. */
  readonly legMessages = new Float64Array(LEG_COUNT_MAX)
  readonly #counters: Counters<ShardCounter>
  readonly #hot: Readonly<Record<'messages' | 'applied' | 'trades' | 'tickers', number>>

  constructor(counters: Counters<ShardCounter>) {
    this.#counters = counters
    for (const state of STATE_NAMES) counters.set(`books_${state}`, 0) // of the worker before this one
    this.#hot = {
      messages: counters.slot('messages'),
      applied: counters.slot('applied'),
      trades: counters.slot('trades'),
      tickers: counters.slot('tickers'),
    }
  }

  add(name: ShardCounter, by: number): void {
    this.#counters.add(name, by)
  }

  /** Counts a frame that gave no event. @returns whether it was rejected (else: ignored). */
  refused(outcome: string): boolean {
    const isRejected = isRejection(outcome as Outcome)
    this.add(isRejected ? 'rejected' : 'ignored', 1)
    this.add((isRejected ? `rejected_${outcome}` : `ignored_${outcome}`) as ShardCounter, 1)
    return isRejected
  }

  stateChanged(from: number, to: number): void {
    this.add(`books_${STATE_NAMES[from] as BookState}`, -1)
    this.add(`books_${STATE_NAMES[to] as BookState}`, 1)
  }

  /** Makes the hot counts visible to other threads. */
  settle(gapCount: number): void {
    this.#counters.set('gaps', gapCount)
    const { messages, applied, trades, tickers } = this.#hot
    this.#counters.addAt(messages, this.messages)
    this.#counters.addAt(applied, this.applied)
    this.#counters.addAt(trades, this.trades)
    this.#counters.addAt(tickers, this.tickers)
    for (let leg = 0; leg < LEG_COUNT_MAX; leg++) {
      const count = this.legMessages[leg] as number
      if (count > 0) this.#counters.add(`leg_${leg as 0 | 1 | 2}_messages`, count)
      this.legMessages[leg] = 0
    }
    this.messages = 0
    this.applied = 0
    this.trades = 0
    this.tickers = 0
  }
}
