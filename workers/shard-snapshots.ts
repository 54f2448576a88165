import { elapsedMs, type FrameTime } from '../engine/record/recorder.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import { WANT_RESUBSCRIBE, WANT_SNAPSHOT } from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import type { Connections } from './shard-connections.ts'
import type { ShardCounts } from './shard-counters.ts'

/**
 * The questions for snapshots: which are out, and which have to be asked again and when. The first and the second
 * go out at once, later ones at a tick, each after twice the time. A venue whose books start in the stream is asked to
 * send the stream of that book anew; a snapshot that does not come is asked for again.
 */
const PROMPT_ATTEMPTS = 2
const AGAIN_MS_MIN = 100
const AGAIN_MS_MAX = 10_000
/** A stream that was subscribed starts with a snapshot within this. */
const STREAM_ANSWER_MS = 5_000
const NOTHING = new Uint8Array(0)
const BOOK = Uint8Array.of(GAP_CHANNELS.book)

export class SnapshotQuestions {
  readonly #requests: RingWriter
  readonly #connections: Connections
  readonly #time: FrameTime
  readonly #counts: ShardCounts
  /** Whether the books of an instrument start in the stream. */
  readonly #isInStream: (instrument: number) => boolean
  readonly #frameHead: () => { source: number; generation: number }
  /** Generation that each open question named, by instrument. */
  readonly #asked = new Map<number, number>()
  /** When to ask again, frame time in ms, by instrument. */
  readonly #againMs = new Map<number, number>()

  /** @param frameHead connection and generation of the frame in hand, for books of connections that were never announced. */
  constructor(
    requests: RingWriter,
    connections: Connections,
    time: FrameTime,
    counts: ShardCounts,
    isInStream: (instrument: number) => boolean,
    frameHead: () => { source: number; generation: number },
  ) {
    this.#requests = requests
    this.#connections = connections
    this.#time = time
    this.#counts = counts
    this.#isInStream = isInStream
    this.#frameHead = frameHead
  }

  want(instrument: number, attempt: number): void {
    if (attempt < PROMPT_ATTEMPTS) this.#ask(instrument)
    else this.wantLater(instrument, attempt)
  }

  wantLater(instrument: number, attempt: number): void {
    const waitMs = Math.min(AGAIN_MS_MAX, AGAIN_MS_MIN * 2 ** Math.min(attempt, 20))
    this.#againMs.set(instrument, this.nowMs() + waitMs)
  }

  /** A snapshot comes by itself; if not, the stream is asked for anew. */
  await(instrument: number): void {
    this.#againMs.set(instrument, this.nowMs() + STREAM_ANSWER_MS)
  }

  /** The book has what it needed. */
  settled(instrument: number): void {
    this.#againMs.delete(instrument)
    this.#asked.delete(instrument)
  }

  /** Frame time in ms since the epoch. */
  nowMs(): number {
    return elapsedMs(0, 0, this.#time.hi, this.#time.lo)
  }

  tick(): void {
    const nowMs = this.nowMs()
    for (const [instrument, dueMs] of this.#againMs) if (nowMs >= dueMs) this.#ask(instrument)
  }

  /** Whether this is the answer to an open question; answers of earlier generations say nothing about the stream of now. */
  isAwaited(instrument: number, generation: number): boolean {
    return this.#asked.get(instrument) === generation
  }

  answered(instrument: number): void {
    this.#asked.delete(instrument)
  }

  /** When there is no room for the question it goes out at the next tick. */
  #ask(instrument: number): void {
    this.#againMs.delete(instrument)
    const { source, generation } = this.#connections.carrierOf(instrument) ?? this.#frameHead()
    this.#asked.set(instrument, generation)
    const { hi, lo } = this.#time
    const isInStream = this.#isInStream(instrument)
    const kind = isInStream ? WANT_RESUBSCRIBE : WANT_SNAPSHOT
    if (!this.#requests.tryWrite(kind, source, generation, instrument, hi, lo, isInStream ? BOOK : NOTHING))
      this.#againMs.set(instrument, 0)
    else {
      this.#counts.add(isInStream ? 'resubscribes_wanted' : 'snapshots_wanted', 1)
      if (isInStream) this.await(instrument)
    }
  }
}
