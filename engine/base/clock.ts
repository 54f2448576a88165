/**
 * The one place that reads wall and monotonic time.
 *
 * All threads of a process share one anchor (wall minus monotonic, taken once by the main thread), so that times taken
 * on different threads can be subtracted. `process.hrtime` counts from the same origin on every thread,
 * `performance.now()` does not; it is cheaper, so each thread measures its own offset once.
 *
 * A time in nanoseconds since the epoch needs 61 bits; a double holds 53. Hot code keeps it as two 32-bit words
 * (hi, lo), the very words that an Int64 column wants.
 */
export interface Stamp {
  hi: number
  lo: number
}

const TWO32 = 4294967296

/** Wall time minus monotonic time, ns. Take it once on the main thread and hand it to the workers. */
export function takeAnchorNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()
}

export class Clock {
  readonly anchorNs: bigint
  readonly #originHi: number
  readonly #originLo: number
  /** The last stamp taken by `stamp()`; read it at once, the next call overwrites it. */
  readonly now: Stamp = { hi: 0, lo: 0 }

  constructor(anchorNs: bigint = takeAnchorNs()) {
    this.anchorNs = anchorNs
    const perfNs = BigInt(Math.round(performance.now() * 1e6))
    const origin = anchorNs + process.hrtime.bigint() - perfNs
    this.#originHi = Number(origin >> 32n)
    this.#originLo = Number(origin & 0xffffffffn)
  }

  /** Stamps the present into `this.now` without allocating. */
  stamp(): Stamp {
    const sum = performance.now() * 1e6 + this.#originLo // < 2^53 for 100 days of uptime
    this.now.hi = this.#originHi + Math.floor(sum / TWO32)
    this.now.lo = sum >>> 0
    return this.now
  }

  /** ns since the epoch. Allocates a BigInt: not for the hot path. */
  nowNs(): bigint {
    return this.anchorNs + process.hrtime.bigint()
  }

  /** ms since the epoch as a double. */
  nowMs(): number {
    return Number(this.nowNs() / 1000n) / 1000
  }

  /** Monotonic ms since process start, for deadlines and intervals. Never steps with the wall clock. */
  monotonicMs(): number {
    return performance.now()
  }
}

/** (hi, lo) words → ns as BigInt. */
export function joinNs(hi: number, lo: number): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo >>> 0)
}
