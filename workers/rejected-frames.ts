/** The last refused frames, for inspection: few, and of a long one only its beginning. */
const FRAMES_MAX = 64
const FRAME_BYTES_MAX = 4096

export interface RejectedFrame {
  readonly reason: string
  readonly source: number
  readonly generation: number
  readonly receivedNs: string
  readonly bytes: number
  /** The beginning, one character a byte. */
  readonly text: string
}

export class RejectedFrames {
  readonly #frames: RejectedFrame[] = []
  #untold = 0

  keep(
    reason: string,
    source: number,
    generation: number,
    receivedNs: bigint,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): void {
    if (this.#frames.length === FRAMES_MAX) this.#frames.shift()
    const text = Buffer.from(bytes.subarray(offset, offset + Math.min(length, FRAME_BYTES_MAX))).toString('latin1')
    this.#untold = Math.min(this.#untold + 1, FRAMES_MAX)
    this.#frames.push({ reason, source, generation, receivedNs: receivedNs.toString(), bytes: length, text })
  }

  list(): readonly RejectedFrame[] {
    return this.#frames
  }

  /** Those kept since the last call, the newest of them if there were too many. */
  takeNew(): readonly RejectedFrame[] {
    const fresh = this.#untold === 0 ? [] : this.#frames.slice(-this.#untold)
    this.#untold = 0
    return fresh
  }
}
