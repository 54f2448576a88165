/**
 * Latency histogram in shared memory: one writer thread records, any thread reads.
 *
 *   byte 0      8         16         24
 *        +------+---------+----------+---------------------------- - -+
 *        | SUM  | MAXIMUM | reserved | buckets, one double each        |
 *        +------+---------+----------+---------------------------- - -+
 *
 * Log-linear buckets: each power of two is cut into SUB_COUNT equal parts, so a bucket is at most 1/SUB_COUNT (3.1 %)
 * of its value wide; values below 2 x SUB_COUNT ns are exact. Values are integer ns from 0 to VALUE_NS_MAX (2.4 hours);
 * larger ones go into the last bucket, negative ones (clocks that disagree) into the first.
 *
 *   bucket(v) = v                                                 for v < 32
 *             = 32 x (e - 4) + (v >> (e - 5)) - 32,  2^e <= v     else
 *
 * Arithmetic: 1,248 buckets are 10 KB; to record costs about 10 ns.
 */
import { assert } from '../base/assert.ts'

const SUB_BITS = 5
export const SUB_COUNT = 1 << SUB_BITS
const EXPONENT_MAX = 42
export const VALUE_NS_MAX = 2 ** (EXPONENT_MAX + 1) - 1
export const BUCKET_COUNT = SUB_COUNT * (EXPONENT_MAX - SUB_BITS + 2)
const SUM = 0
const MAXIMUM = 1
const BUCKETS = 3
export const HISTOGRAM_BYTES = (BUCKETS + BUCKET_COUNT) * 8
const TWO31 = 2 ** 31

/** Bucket of a value in ns. */
export function bucketIndex(valueNs: number): number {
  if (!(valueNs >= SUB_COUNT)) return valueNs > 0 ? Math.trunc(valueNs) : 0
  if (valueNs > VALUE_NS_MAX) return BUCKET_COUNT - 1
  const exponent = valueNs < TWO31 ? 31 - Math.clz32(valueNs) : 62 - Math.clz32(Math.floor(valueNs / TWO31))
  // Dividing by a power of two is exact, so this is the shift that 32-bit operators can not do.
  const part = Math.floor(valueNs / 2 ** (exponent - SUB_BITS))
  return SUB_COUNT * (exponent - SUB_BITS + 1) + part - SUB_COUNT
}

/** Largest value that falls into a bucket. */
export function bucketLastNs(index: number): number {
  if (index < SUB_COUNT) return index
  const exponent = Math.floor(index / SUB_COUNT) + SUB_BITS - 1
  return (SUB_COUNT + (index % SUB_COUNT) + 1) * 2 ** (exponent - SUB_BITS) - 1
}

export interface HistogramBuckets {
  /** for each bound: how many values were at most that (bounds inside a bucket count the bucket as above) */
  readonly cumulative: number[]
  readonly count: number
  readonly sumNs: number
}

export class Histogram {
  readonly memory: SharedArrayBuffer
  readonly #values: Float64Array

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(HISTOGRAM_BYTES)) {
    assert(memory.byteLength >= HISTOGRAM_BYTES, `histogram memory of ${memory.byteLength} bytes`)
    this.memory = memory
    this.#values = new Float64Array(memory)
  }

  record(valueNs: number): void {
    this.recordMany(valueNs, 1)
  }

  /** As `count` times `record`. */
  recordMany(valueNs: number, count: number): void {
    const values = this.#values
    const slot = BUCKETS + bucketIndex(valueNs)
    values[slot] = (values[slot] as number) + count
    if (valueNs > 0) values[SUM] = (values[SUM] as number) + valueNs * count
    if (valueNs > (values[MAXIMUM] as number)) values[MAXIMUM] = valueNs
  }

  get count(): number {
    let count = 0
    for (let slot = BUCKETS; slot < BUCKETS + BUCKET_COUNT; slot++) count += this.#values[slot] as number
    return count
  }

  get maxNs(): number {
    return this.#values[MAXIMUM] as number
  }

  /**
   * @param share 0.5 for the median, 0.99 …
   * @returns an upper bound of the value at that rank, at most 3.2 % above it; NaN when nothing was recorded.
   */
  percentileNs(share: number): number {
    const count = this.count
    if (count === 0) return Number.NaN
    const rank = Math.max(1, Math.ceil(share * count))
    let seen = 0
    for (let index = 0; index < BUCKET_COUNT; index++) {
      seen += this.#values[BUCKETS + index] as number
      if (seen >= rank) return Math.min(bucketLastNs(index), this.maxNs)
    }
    return this.maxNs
  }

  /** In the form of Prometheus. @param boundsNs rising upper bounds. */
  buckets(boundsNs: readonly number[]): HistogramBuckets {
    const cumulative: number[] = []
    let seen = 0
    let index = 0
    for (const boundNs of boundsNs) {
      for (; index < BUCKET_COUNT && bucketLastNs(index) <= boundNs; index++)
        seen += this.#values[BUCKETS + index] as number
      cumulative.push(seen)
    }
    for (; index < BUCKET_COUNT; index++) seen += this.#values[BUCKETS + index] as number
    return { cumulative, count: seen, sumNs: this.#values[SUM] as number }
  }

  /** What all of these recorded, in memory of its own. */
  static sum(histograms: readonly Histogram[]): Histogram {
    const sum = new Histogram()
    for (const { memory } of histograms) {
      const values = new Float64Array(memory)
      for (let slot = 0; slot < BUCKETS + BUCKET_COUNT; slot++)
        if (slot !== MAXIMUM) sum.#values[slot] = (sum.#values[slot] as number) + (values[slot] as number)
      sum.#values[MAXIMUM] = Math.max(sum.maxNs, values[MAXIMUM] as number)
    }
    return sum
  }

  /** What was recorded since `before` was made of this by `sum`; its maximum is an upper bound. */
  since(before: Histogram): Histogram {
    const since = new Histogram()
    for (let slot = BUCKETS; slot < BUCKETS + BUCKET_COUNT; slot++) {
      const count = (this.#values[slot] as number) - (before.#values[slot] as number)
      since.#values[slot] = count
      if (count > 0) since.#values[MAXIMUM] = Math.min(bucketLastNs(slot - BUCKETS), this.maxNs)
    }
    since.#values[SUM] = (this.#values[SUM] as number) - (before.#values[SUM] as number)
    return since
  }

  /** Forgets everything. Only the writer may, or anybody while no writer runs. */
  reset(): void {
    this.#values.fill(0)
  }
}
