import { extra, LIVE } from '../../ring/frame.ts'
import { EventIdle, IDLE_DEFAULT } from '../../ring/idle.ts'
import { RingReader } from '../../ring/ring.ts'
import type { LiveSource } from '../live-source.ts'

/**
 * Live messages of the collector in this process, through a ring of shared memory that the sink worker writes. It never
 * waits for room: what it had to drop is told by EXTRA of the next record, and there is one a second at least.
 *
 * Arithmetic: a record is copied out once, 0.2 µs; 256 of them a turn leave the event loop to requests every few ms.
 */
const RECORDS_PER_TURN_MAX = 256
const SUBJECT_HEAD_BYTES = 2

export class RingSource implements LiveSource {
  lost = 0
  readonly #reader: RingReader
  #drops = 0
  #idle: EventIdle | undefined
  #running: Promise<void> | undefined
  #isClosed = false

  /** @param isResumed a thread before this one died: what it left unread is thrown away */
  constructor(memory: SharedArrayBuffer, isResumed: boolean) {
    this.#reader = new RingReader(memory)
    if (!isResumed) return
    this.#reader.drain((_, bytes, offset) => {
      this.#drops = extra(bytes, offset)
    }, Number.POSITIVE_INFINITY)
  }

  start(onMessage: (subject: string, bytes: Uint8Array) => void, onBreak: (reason: string) => void): void {
    this.#idle = new EventIdle(IDLE_DEFAULT, [this.#reader])
    this.#running = this.#run(this.#idle, onMessage, onBreak)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#idle?.close()
    await this.#running
  }

  /** @param drops of all time; a worker that was started anew may know of fewer */
  #lose(drops: number): string {
    const lost = Math.max(0, (drops - this.#drops) | 0)
    this.#drops = drops
    this.lost += lost
    return `${lost} live messages found no room: the gateway is too slow for all of them`
  }

  async #run(
    idle: EventIdle,
    onMessage: (subject: string, bytes: Uint8Array) => void,
    onBreak: (reason: string) => void,
  ): Promise<void> {
    const onRecord = (kind: number, bytes: Uint8Array, offset: number, length: number): void => {
      if (kind !== LIVE) return
      const drops = extra(bytes, offset)
      if (drops !== this.#drops) onBreak(this.#lose(drops))
      // The whole payload, for it lies at a multiple of 8: shared memory is copied by words only then.
      const copy = Buffer.allocUnsafe(length)
      copy.set(bytes.subarray(offset, offset + length))
      const start = SUBJECT_HEAD_BYTES + copy.readUInt16LE(0)
      onMessage(copy.toString('utf8', SUBJECT_HEAD_BYTES, start), copy.subarray(start))
    }
    while (!this.#isClosed) {
      const count = this.#reader.drain(onRecord, RECORDS_PER_TURN_MAX)
      await (count === 0 ? idle.wait() : new Promise((resolve) => setImmediate(resolve)))
    }
  }
}
