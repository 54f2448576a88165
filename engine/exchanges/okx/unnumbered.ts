import type { DepthEvent } from '../../record/emit.ts'

/**
 * Books of the time before seqId (captures of 2021 and 2022): numbers for frames that have none, one line an instrument,
 * counted here from 1. Time and checksum of a frame tell it from all others, on every connection that carries it
 * (three connections at once in 2021: no pair came twice on one, each had its partners on the others). So a frame that
 * another connection brought before gets the number that it had then, and everything behind can treat it as a numbered
 * one. A change that was lost is not seen by this count: the checksum shows it.
 */

/** How far a connection may lag behind another: at 100 updates a second, 5 s. A power of two. */
const REMEMBERED = 512

class Line {
  lastSeq = 0
  readonly eventMs = new Float64Array(REMEMBERED)
  readonly checksums = new Float64Array(REMEMBERED)
}

export class UnnumberedBooks {
  readonly #lines = new Map<number, Line>()

  number(event: DepthEvent): void {
    const seq = this.#seqOf(event.instrument, event.eventMs, event.checksum)
    event.firstSeq = seq
    event.lastSeq = seq
    event.prevSeq = event.isSnapshot ? 0 : Math.max(0, seq - 1)
  }

  /** The number of this frame: that of its copy, or the next one. */
  #seqOf(instrument: number, eventMs: number, checksum: number): number {
    const line = this.#lineOf(instrument)
    const oldest = Math.max(1, line.lastSeq - REMEMBERED + 1)
    for (let seq = line.lastSeq; seq >= oldest; seq--) {
      const place = seq % REMEMBERED
      const knownMs = line.eventMs[place] as number
      if (knownMs === eventMs && line.checksums[place] === checksum) return seq
      if (knownMs < eventMs) break // times never fall
    }
    // older than all that is remembered: a copy of something, but nobody knows of what
    if (line.lastSeq >= REMEMBERED && eventMs < (line.eventMs[oldest % REMEMBERED] as number)) return 0
    const seq = ++line.lastSeq
    line.eventMs[seq % REMEMBERED] = eventMs
    line.checksums[seq % REMEMBERED] = checksum
    return seq
  }

  #lineOf(instrument: number): Line {
    const known = this.#lines.get(instrument)
    if (known !== undefined) return known
    const line = new Line()
    this.#lines.set(instrument, line)
    return line
  }
}
