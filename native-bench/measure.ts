import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'

/** Several runs of one thing. A noisy machine only ever makes a run slower: best and median are both worth reading. */
export interface Measured {
  /** items a second, median of the runs */
  readonly rate: number
  readonly best: number
  readonly worst: number
  readonly runCount: number
}

/** @param seconds one value a run */
export function measured(itemCount: number, seconds: readonly number[]): Measured {
  const rates = seconds.map((one) => itemCount / one).sort((a, b) => b - a)
  return { rate: median(rates), best: rates[0] ?? 0, worst: rates.at(-1) ?? 0, runCount: rates.length }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}

/** Runs `once` until there are enough runs; `once` returns the seconds of its timed part, the first is for warming up. */
export async function repeat(runCount: number, once: (run: number) => number | Promise<number>): Promise<number[]> {
  const seconds: number[] = []
  for (let run = 0; run <= runCount; run++) {
    const took = await once(run)
    if (run > 0) seconds.push(took)
  }
  return seconds
}

export interface MachineState {
  readonly cpu: string
  readonly cores: number
  readonly node: string
  /** runnable threads, average of the last minute: above 0 the machine was not ours alone */
  readonly loadBefore: number
  /** share of the time that the hypervisor gave to others, since boot; null where the system does not tell */
  readonly stealShare: number | null
}

export function machineState(): MachineState {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
    stealShare: stealShare(),
  }
}

function stealShare(): number | null {
  try {
    const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1).map(Number) ?? []
    const sum = ticks.reduce((total, one) => total + one, 0)
    return (ticks[7] ?? 0) / sum
  } catch {
    return null
  }
}
