/**
 * Memory that frames are put together in before they are written: one write a client and tick, and no garbage.
 *
 * Most writes are done when they return; the slab of one that is not (a client that does not read) is busy until it is.
 * So slabs are small: 20 clients that never read hold 20 of them at most, 2.5 MiB.
 */
const SLAB_BYTES = 128 * 1024
/** More than that stay free only after a burst. */
const FREE_SLABS_MAX = 64

/** A piece of a slab; `done` gives it back. */
export interface Piece {
  readonly bytes: Buffer
  readonly done: () => void
}

class Slab {
  readonly bytes = Buffer.allocUnsafeSlow(SLAB_BYTES)
  used = 0
  writes = 0
  readonly done: () => void

  constructor(onFree: (slab: Slab) => void) {
    this.done = () => {
      if (--this.writes === 0) onFree(this)
    }
  }
}

export class Slabs {
  #current: Slab | undefined
  readonly #free: Slab[] = []

  /** Everything in one piece. @param bytes of all frames together */
  join(frames: readonly Buffer[], bytes: number): Piece {
    if (bytes > SLAB_BYTES) return { bytes: Buffer.concat(frames, bytes), done: () => {} }
    const slab = this.#withRoom(bytes)
    const start = slab.used
    for (const frame of frames) {
      slab.bytes.set(frame, slab.used)
      slab.used += frame.length
    }
    slab.writes++
    return { bytes: slab.bytes.subarray(start, slab.used), done: slab.done }
  }

  #withRoom(bytes: number): Slab {
    if (this.#current !== undefined && this.#current.used + bytes <= SLAB_BYTES) return this.#current
    const slab = this.#free.pop() ?? new Slab((freed) => this.#onFree(freed))
    this.#current = slab
    return slab
  }

  #onFree(slab: Slab): void {
    slab.used = 0
    if (slab !== this.#current && this.#free.length < FREE_SLABS_MAX) this.#free.push(slab)
  }
}
