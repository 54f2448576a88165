import { elapsedMs, type Recorder } from '../engine/record/recorder.ts'
import { WANT_SNAPSHOT } from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import type { Connections } from './shard-connections.ts'
import type { ShardCounts } from './shard-counters.ts'

/**
 * The questions for REST snapshots: which are out, and which have to be asked again and when. The first and the second
 * go out at once, later ones at a tick, each after twice the time.
 */
const PROMPT_ATTEMPTS = 2
const AGAIN_MS_MIN = 100
const AGAIN_MS_MAX = 10_000
const NOTHING = new Uint8Array(0)

export class SnapshotQuestions {
  readonly #requests: RingWriter
  readonly #connections: Connections
  readonly #recorder: Recorder
  readonly #counts: ShardCounts
  readonly #frameHead: () => { source: number; generation: number }
  /** Generation that each open question named, by instrument. */
  readonly #asked = new Map<number, number>()
  /** When to ask again, frame time in ms, by instrument. */
  readonly #againMs = new Map<number, number>()

  /** @param frameHead connection and generation of the frame in hand, for books of connections that were never announced. */
  constructor(
    requests: RingWriter,
    connections: Connections,
    recorder: Recorder,
    counts: ShardCounts,
    frameHead: () => { source: number; generation: number },
  ) {
    this.#requests = requests
    this.#connections = connections
    this.#recorder = recorder
    this.#counts = counts
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

  /** Frame time in ms since the epoch. */
  nowMs(): number {
    return elapsedMs(0, 0, this.#recorder.hi, this.#recorder.lo)
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
    const { hi, lo } = this.#recorder
    if (this.#requests.tryWrite(WANT_SNAPSHOT, source, generation, instrument, hi, lo, NOTHING))
      this.#counts.add('snapshots_wanted', 1)
    else this.#againMs.set(instrument, 0)
  }
}
