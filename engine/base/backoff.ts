import type { Random } from './random.ts'

/**
 * Full-jitter exponential backoff: a uniform share of min(cap, floor × 2^attempt), so that many sockets cut at once do
 * not come back at once. `attempt` counts from 0.
 */
export function backoffMs(attempt: number, floorMs: number, capMs: number, random: Random): number {
  const ceiling = Math.min(capMs, floorMs * 2 ** Math.min(attempt, 30))
  return Math.max(1, Math.floor(random() * ceiling))
}
