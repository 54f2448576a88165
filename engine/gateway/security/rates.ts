/**
 * How often somebody may come: a bucket a name that holds a second's worth and is filled all the time. The same buckets
 * serve requests, WebSockets and their messages, and run on a clock that a test can turn.
 */
interface Bucket {
  tokens: number
  atMs: number
}

/** A flood from many addresses must not fill memory: of so many the one that was not seen for longest is forgotten. */
const BUCKETS_MAX = 10_000

export class Rates {
  readonly #nowMs: () => number
  readonly #buckets = new Map<string, Bucket>()

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** @returns 0 when it may come, else the ms after which it may */
  take(name: string, perSecond: number): number {
    const nowMs = this.#nowMs()
    const bucket = this.#buckets.get(name) ?? { tokens: perSecond, atMs: nowMs }
    bucket.tokens = Math.min(perSecond, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perSecond)
    bucket.atMs = nowMs
    this.#buckets.delete(name) // and to the end: the first of the map is the oldest
    this.#buckets.set(name, bucket)
    if (this.#buckets.size > BUCKETS_MAX) this.#buckets.delete(this.#buckets.keys().next().value as string)
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / perSecond) * 1000)
    bucket.tokens--
    return 0
  }

  get size(): number {
    return this.#buckets.size
  }
}
