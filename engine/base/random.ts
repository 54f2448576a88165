/** A seeded generator (mulberry32). Every random choice of simulator, tests and backoff comes in through this type. */
export type Random = () => number

/** @returns uniform doubles in [0, 1); the same seed gives the same sequence. */
export function seededRandom(seed: number): Random {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A seed for runs that were not given one; print it, so that the run can be repeated. */
export function freshSeed(): number {
  return (Math.random() * 0x7fffffff) | 0
}
