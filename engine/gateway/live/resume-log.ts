/**
 * The last live messages, so that a client that was away for a moment misses nothing. One memory, written round and round:
 *
 *   +------------------------------+--------------------------------------+
 *   |  newest ... up to here       |  oldest, overwritten next ...        |
 *   +------------------------------+--------------------------------------+
 *                                  ^ at
 *
 * Message n stands in entry n mod entries: where it begins, its length, its topic. A message is whole: one that does not
 * fit before the end begins at 0.
 *
 * Arithmetic: 10,000 messages/s of 350 bytes: 64 MiB are 19 s; a copy of 350 bytes costs 60 ns.
 */
const MESSAGE_BYTES_EXPECTED = 128

export class ResumeLog {
  readonly #bytes: Buffer
  readonly #starts: Uint32Array
  readonly #lengths: Uint32Array
  readonly #topics: Uint32Array
  readonly #mask: number
  #at = 0
  #first = 1
  #last = 0

  /** @param bytes 0: nothing is kept */
  constructor(bytes: number) {
    const entries = 2 ** Math.ceil(Math.log2(Math.max(2, bytes / MESSAGE_BYTES_EXPECTED)))
    this.#bytes = Buffer.allocUnsafeSlow(bytes)
    this.#starts = new Uint32Array(entries)
    this.#lengths = new Uint32Array(entries)
    this.#topics = new Uint32Array(entries)
    this.#mask = entries - 1
  }

  /** The oldest number that is still there; one above `last` when nothing is. */
  get first(): number {
    return this.#first
  }

  get last(): number {
    return this.#last
  }

  append(topic: number, message: Uint8Array): void {
    const { length } = message
    const number = ++this.#last
    if (length > this.#bytes.length) {
      this.#first = number + 1 // a hole cannot be told: what is older is of no use either
      return
    }
    if (this.#at + length > this.#bytes.length) {
      this.#release((start) => start >= this.#at)
      this.#at = 0
    }
    const end = this.#at + length
    this.#release((start) => start >= this.#at && start < end)
    if (number - this.#first > this.#mask) this.#first++
    const entry = number & this.#mask
    this.#bytes.set(message, this.#at)
    this.#starts[entry] = this.#at
    this.#lengths[entry] = length
    this.#topics[entry] = topic
    this.#at = end
  }

  /** Forgets the oldest as long as they begin in the place that is needed. */
  #release(isInTheWay: (start: number) => boolean): void {
    while (this.#first < this.#last && isInTheWay(this.#starts[this.#first & this.#mask] as number)) this.#first++
  }

  topicOf(number: number): number {
    return this.#topics[number & this.#mask] as number
  }

  /** Valid until the next append. */
  bytesOf(number: number): Uint8Array {
    const entry = number & this.#mask
    const start = this.#starts[entry] as number
    return this.#bytes.subarray(start, start + (this.#lengths[entry] as number))
  }
}
