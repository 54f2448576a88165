import { type Disk, osCode, readJson, replaceFile } from './disk.ts'
import type { Segment } from './reader.ts'

/**
 * Which blocks are delivered. The truth is in memory; the file ACKED is advice for the next start, one number a segment:
 * without it, or with an old one, blocks are delivered once more and found to be known.
 */
const ACKED_FILE = 'ACKED'

export function isAcked(segment: Segment, blockSeq: number): boolean {
  return blockSeq < segment.ackedBelow || segment.acked.has(blockSeq)
}

export function unackedIn(segment: Segment): number {
  return segment.lastSeq + 1 - segment.ackedBelow - segment.acked.size
}

function raiseAckedBelow(segment: Segment, below: number): void {
  for (const seq of segment.acked) if (seq < below) segment.acked.delete(seq)
  segment.ackedBelow = below
  while (segment.acked.delete(segment.ackedBelow)) segment.ackedBelow++
}

export async function restoreAcked(disk: Disk, segments: readonly Segment[]): Promise<void> {
  const advice = await readJson<{ acked?: Record<string, number> }>(disk, ACKED_FILE)
  for (const segment of segments) {
    const below = advice?.acked?.[segment.name]
    if (typeof below === 'number' && below > segment.ackedBelow)
      raiseAckedBelow(segment, Math.min(below, segment.lastSeq + 1))
  }
}

/** The block is delivered; @returns false when that was known. */
export function markAcked(segment: Segment, blockSeq: number): boolean {
  if (isAcked(segment, blockSeq)) return false
  segment.acked.add(blockSeq)
  if (blockSeq === segment.ackedBelow) raiseAckedBelow(segment, blockSeq)
  return true
}

export async function writeAcked(disk: Disk, segments: readonly Segment[]): Promise<void> {
  const acked = Object.fromEntries(segments.map((segment) => [segment.name, segment.ackedBelow]))
  try {
    await replaceFile(disk, ACKED_FILE, JSON.stringify({ acked }))
  } catch (error) {
    if (osCode(error) !== 'ENOSPC' && osCode(error) !== 'EDQUOT') throw error // advice only; the next one will do
  }
}
