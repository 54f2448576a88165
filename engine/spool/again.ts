import type { Segment, StoredRecord } from './reader.ts'

/** One block on its way out. */
export interface SpoolRecord {
  readonly epoch: number
  readonly blockSeq: number
  readonly payload: Uint8Array
  readonly segment: Segment
  /** when it was found that who had taken it lost it, or may have, ms since the epoch; 0 for a block that goes out for the first time */
  readonly againMs: number
}

export function recordOf(segment: Segment, { blockSeq, payload }: StoredRecord, againMs: number): SpoolRecord {
  return { epoch: segment.base.epoch, blockSeq, payload, segment, againMs }
}

interface AgainSpan {
  readonly segment: Segment
  firstSeq: number
  lastSeq: number
  readonly ms: number
}

/** Blocks that go out again: spans of numbers; their bytes are found again on the disk. */
export class AgainQueue {
  readonly #read: (segment: Segment, offset: number) => Promise<StoredRecord | undefined>
  readonly #spans: AgainSpan[] = []
  #place: { readonly segment: Segment; readonly seq: number; readonly offset: number } | undefined

  /** @param read the first record at or behind an offset; undefined at the end, and when the segment is gone */
  constructor(read: (segment: Segment, offset: number) => Promise<StoredRecord | undefined>) {
    this.#read = read
  }

  add(segment: Segment, seq: number, ms: number): void {
    const last = this.#spans.at(-1)
    if (last?.segment === segment && last.lastSeq === seq - 1) last.lastSeq = seq
    else this.#spans.push({ segment, firstSeq: seq, lastSeq: seq, ms })
  }

  async next(): Promise<SpoolRecord | undefined> {
    for (let span = this.#spans[0]; span !== undefined; span = this.#spans[0]) {
      const { segment, firstSeq, ms } = span
      const stored = firstSeq > span.lastSeq ? undefined : await this.#seek(segment, firstSeq)
      if (stored === undefined || stored.blockSeq > span.lastSeq) {
        this.#spans.shift()
        continue
      }
      span.firstSeq = stored.blockSeq + 1
      if (!segment.acked.has(stored.blockSeq)) return recordOf(segment, stored, ms)
    }
    return undefined
  }

  /** The first record from this block on; forward from the place of the last one where that is possible. */
  async #seek(segment: Segment, blockSeq: number): Promise<StoredRecord | undefined> {
    const last = this.#place
    let offset = last?.segment === segment && last.seq < blockSeq ? last.offset : 0
    for (;;) {
      const stored = await this.#read(segment, offset)
      if (stored === undefined) return undefined
      offset = stored.nextOffset
      this.#place = { segment, seq: stored.blockSeq, offset }
      if (stored.blockSeq >= blockSeq) return stored
    }
  }
}
