import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { FeedTime } from './timer.ts'

/**
 * How far the clock of a venue is from ours, asked of its REST over and over, as NTP does:
 *
 *   ours    t0 ──────────────► t1        offset = server − (t0 + t1) / 2
 *   theirs         server                wrong by at most (t1 − t0) / 2
 *
 * Of several answers the one with the shortest way there and back counts. It is data for people and for metrics: no
 * stored time is ever changed by it.
 */
export interface ClockOffset {
  /** the venue's clock minus ours */
  readonly offsetMs: number
  /** of the answer that counts; the offset is wrong by at most half of it */
  readonly rttMs: number
  readonly measuredMs: number
}

export interface ClockOffsetOptions {
  readonly exchange: string
  readonly intervalMs: number
  readonly samples: number
  /** beyond this somebody should look */
  readonly warnMs: number
}

export const CLOCK_OFFSET_DEFAULTS = { intervalMs: 600_000, samples: 5, warnMs: 1_000 } as const
/** Two processes that were started together do not ask together for ever. */
const JITTER = 0.1

export interface ClockOffsetSurroundings {
  /** asks the venue for its time, ms since the epoch; calls `onSent` when the question leaves */
  readonly ask: (onSent: () => void) => Promise<number>
  readonly time: FeedTime
  readonly random: Random
  readonly log: Log
  /** told of every measurement, for whoever writes it down */
  readonly onMeasured: (offset: ClockOffset) => void
}

/** @param sentMs @param receivedMs wall time of ours around the question whose answer was `serverMs` */
export function offsetOf(sentMs: number, serverMs: number, receivedMs: number): ClockOffset {
  return {
    offsetMs: serverMs - (sentMs + receivedMs) / 2,
    rttMs: Math.max(0, receivedMs - sentMs),
    measuredMs: receivedMs,
  }
}

export class ClockWatch {
  readonly #options: ClockOffsetOptions
  readonly #around: ClockOffsetSurroundings
  #latest: ClockOffset | undefined
  #cancel: () => void = () => {}
  #isClosed = false

  constructor(options: ClockOffsetOptions, around: ClockOffsetSurroundings) {
    this.#options = options
    this.#around = around
  }

  /** undefined until the venue has answered once */
  get latest(): ClockOffset | undefined {
    return this.#latest
  }

  start(): void {
    void this.#round()
  }

  close(): void {
    this.#isClosed = true
    this.#cancel()
  }

  async #round(): Promise<void> {
    const { exchange, intervalMs, samples } = this.#options
    const { time, random, log } = this.#around
    let best: ClockOffset | undefined
    try {
      for (let sample = 0; sample < samples && !this.#isClosed; sample++) {
        const offset = await this.#ask()
        if (best === undefined || offset.rttMs < best.rttMs) best = offset
      }
    } catch (error) {
      log.debug({ exchange, error: String(error) }, 'the venue did not tell its time')
    }
    if (this.#isClosed) return
    if (best !== undefined) this.#tell(best)
    const delayMs = intervalMs * (1 + JITTER * (random() - 0.5))
    this.#cancel = time.after(delayMs, () => void this.#round())
  }

  async #ask(): Promise<ClockOffset> {
    const { ask, time } = this.#around
    let sentMs = time.nowMs()
    const serverMs = await ask(() => {
      sentMs = time.nowMs()
    })
    if (!Number.isFinite(serverMs)) throw new Error(`server time ${serverMs}`)
    return offsetOf(sentMs, serverMs, time.nowMs())
  }

  #tell(offset: ClockOffset): void {
    const { exchange, warnMs } = this.#options
    this.#latest = offset
    this.#around.onMeasured(offset)
    if (Math.abs(offset.offsetMs) > warnMs)
      this.#around.log.warn({ exchange, ...offset }, 'this clock and the clock of the venue are far apart')
  }
}
