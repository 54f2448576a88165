import type { GapRow, Recorder } from '../record/recorder.ts'
import { GAP_STATUSES } from '../record/schema.ts'

/**
 * The intervals in which something may be missing. A gap is open from the anomaly until the channel delivers again;
 * its closing row has the same key and replaces the open one. One open gap for each instrument and channel: whatever
 * goes wrong meanwhile lies within it.
 */
interface OpenGap {
  readonly instrument: number
  readonly channel: number
  readonly cause: number
  readonly fromHi: number
  readonly fromLo: number
  readonly fromSeq: number
  lostCount: number
  readonly detail: string
}

const CHANNELS_MAX = 32

export class GapLog {
  /** Gaps opened so far. */
  openedCount = 0
  readonly #recorder: Recorder
  readonly #open = new Map<number, OpenGap>()

  constructor(recorder: Recorder) {
    this.#recorder = recorder
  }

  isOpen(instrument: number, channel: number): boolean {
    return this.#open.size > 0 && this.#open.has(instrument * CHANNELS_MAX + channel)
  }

  /** @param fromHi,fromLo last proof that nothing was missing. @returns false when a gap is open already. */
  open(
    instrument: number,
    channel: number,
    cause: number,
    fromHi: number,
    fromLo: number,
    fromSeq: number,
    lostCount: number,
    detail: string,
  ): boolean {
    const key = instrument * CHANNELS_MAX + channel
    const known = this.#open.get(key)
    if (known !== undefined) {
      known.lostCount += lostCount
      return false
    }
    const gap: OpenGap = { instrument, channel, cause, fromHi, fromLo, fromSeq, lostCount, detail }
    this.#open.set(key, gap)
    this.openedCount++
    this.#write(gap, GAP_STATUSES.open, 0)
    return true
  }

  /** The channel delivers again, from this sequence on. @returns the closing row, if a gap was open. */
  close(instrument: number, channel: number, toSeq: number): GapRow | undefined {
    const key = instrument * CHANNELS_MAX + channel
    const gap = this.#open.get(key)
    if (gap === undefined) return undefined
    this.#open.delete(key)
    return this.#write(gap, GAP_STATUSES.closed, toSeq)
  }

  /** Nobody waits for this instrument any more (or what seemed missing never was): what is open is over. */
  closeAll(instrument: number, cause?: number): void {
    for (const gap of [...this.#open.values()])
      if (gap.instrument === instrument && (cause === undefined || cause === gap.cause))
        this.close(instrument, gap.channel, 0)
  }

  /** A gap that was over when it was seen. @returns its row. */
  write(gap: GapRow): GapRow {
    this.openedCount++
    this.#recorder.gap(gap)
    return gap
  }

  /** What was missing in this closed gap is in the table now: the row replaces the closing one. */
  repaired(gap: GapRow): void {
    this.#recorder.gap({ ...gap, status: GAP_STATUSES.repaired })
  }

  #write(gap: OpenGap, status: number, toSeq: number): GapRow {
    const isClosed = status === GAP_STATUSES.closed
    const { hi, lo } = this.#recorder
    const row = { ...gap, status, toSeq, toHi: isClosed ? hi : 0, toLo: isClosed ? lo : 0 }
    this.#recorder.gap(row)
    return row
  }
}
