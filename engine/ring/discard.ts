import { DATA, receivedHi, receivedLo } from './frame.ts'
import { RingReader } from './ring.ts'

/** What was thrown away with a frame ring. */
export interface DiscardedFrames {
  dataCount: number
  /** receive time of the oldest record of the ring; 0, 0 when it was empty */
  firstHi: number
  firstLo: number
}

/** Empties a frame ring whose reader thread is dead. The calling thread is the reader for this moment. */
export function discardFrames(memory: SharedArrayBuffer): DiscardedFrames {
  const discarded: DiscardedFrames = { dataCount: 0, firstHi: 0, firstLo: 0 }
  let isFirst = true
  new RingReader(memory).drain((kind, bytes, offset) => {
    if (kind === DATA) discarded.dataCount++
    if (!isFirst) return
    isFirst = false
    discarded.firstHi = receivedHi(bytes, offset)
    discarded.firstLo = receivedLo(bytes, offset)
  }, Number.POSITIVE_INFINITY)
  return discarded
}
