/** Time as the feed needs it: handed in, so that tests can turn the clock. */
export interface FeedTime {
  /** ms that never step back, for deadlines and intervals */
  monotonicMs(): number
  /** ms since the epoch, for what the venue counts in wall-clock minutes */
  nowMs(): number
  /** Runs once after `delayMs`. @returns a function that cancels it. */
  after(delayMs: number, run: () => void): () => void
}

/** The machine's own time. `clock` is the process's one clock (base/clock.ts). */
export function realTime(clock: { monotonicMs(): number; nowMs(): number }): FeedTime {
  return {
    monotonicMs: () => clock.monotonicMs(),
    nowMs: () => clock.nowMs(),
    after: (delayMs, run) => {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
  }
}
