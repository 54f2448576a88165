import { type Disk, isFull, readJson, replaceFile } from './disk.ts'
import type { Segment } from './reader.ts'

/**
 * Which blocks are delivered, and which are stored. The truth is in memory; the file ACKED is advice for the next start,
 * two numbers a segment: without it, or with an old one, blocks are delivered once more and found to be known.
 */
const ACKED_FILE = 'ACKED'

interface Advice {
  readonly acked?: Readonly<Record<string, number>>
  readonly committed?: Readonly<Record<string, number>>
}

/** Blocks of the segment that are still to be delivered. */
export function unackedIn(segment: Segment): number {
  return segment.lastSeq + 1 - segment.base.firstSeq - segment.acked.count
}

/** Blocks of the segment of which nobody has said that they are stored. */
export function uncommittedIn(segment: Segment): number {
  return segment.lastSeq + 1 - segment.base.firstSeq - segment.committed.count
}

/** Bytes of the segments with blocks that are still to be delivered. */
export function heldBytesIn(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + (unackedIn(segment) > 0 ? segment.bytes : 0), 0)
}

/** By segment, the first block that was not known to be stored when the file was written. */
export async function committedBelow(disk: Disk): Promise<Readonly<Record<string, number>>> {
  return (await readJson<Advice>(disk, ACKED_FILE))?.committed ?? {}
}

export async function restoreAcked(disk: Disk, segments: readonly Segment[]): Promise<void> {
  const advice = await readJson<Advice>(disk, ACKED_FILE)
  for (const segment of segments) {
    const below = (marks: Advice['acked']) => {
      const mark: unknown = marks?.[segment.name]
      return typeof mark === 'number' ? Math.min(mark, segment.lastSeq + 1) : 0
    }
    segment.acked.raise(Math.max(below(advice?.acked), below(advice?.committed)))
    segment.committed.raise(below(advice?.committed))
  }
}

export async function writeAcked(disk: Disk, segments: readonly Segment[]): Promise<void> {
  const marks = (pick: (segment: Segment) => number) =>
    Object.fromEntries(segments.map((segment) => [segment.name, pick(segment)]))
  const advice: Advice = {
    acked: marks(({ acked }) => acked.below),
    committed: marks(({ committed }) => committed.below),
  }
  try {
    await replaceFile(disk, ACKED_FILE, JSON.stringify(advice))
  } catch (error) {
    if (!isFull(error)) throw error // advice only; the next one will do
  }
}
