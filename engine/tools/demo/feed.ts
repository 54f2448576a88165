/** What trials of the gateway have in common: they begin when all books are LIVE, and hold the feed against itself alone. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../base/fault.ts'
import { Histogram } from '../../ring/histogram.ts'
import type { Stage } from './stage.ts'
import { hundredths } from './verdict.ts'

const LOOK_MS = 100
const SETTLE_MS = 3_000
const LIVE_MS_MAX = 600_000
/** The feed's p99 with clients may be so much above that without: the clocks of two noisy cores are no better. */
const P99_TIMES_MAX = 1.5
const P99_MS_MORE = 5

export interface FeedFigures {
  readonly events: number
  readonly p50: number
  readonly p99: number
}

/** Whether the feed with something beside it is as it is alone. */
export function isUnchanged(alone: FeedFigures, beside: FeedFigures): boolean {
  return beside.p99 <= Math.max(alone.p99 * P99_TIMES_MAX, alone.p99 + P99_MS_MORE)
}

/** Socket receive → live message handed on, in the collector. */
export async function feedOver({ collector }: Stage, seconds: number): Promise<FeedFigures> {
  const before = Histogram.sum(collector.liveLatencies)
  await sleep(seconds * 1_000)
  return feedSince(collector.liveLatencies, before)
}

export function feedSince(latencies: readonly Histogram[], before: Histogram): FeedFigures {
  const since = Histogram.sum(latencies).since(before)
  const ms = (share: number): number => hundredths(since.percentileNs(share) / 1e6)
  return { events: since.count, p50: ms(0.5), p99: ms(0.99) }
}

export async function until(isSo: () => boolean, msMax: number, what: string): Promise<void> {
  const deadlineMs = performance.now() + msMax
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Fault('TRIAL', `not within ${msMax / 1_000} s: ${what}`)
    await sleep(LOOK_MS)
  }
}

/** Largest resident memory of this process until it is over. */
export async function rssMaxOver(msMax: number, isOver: () => boolean): Promise<number> {
  const deadlineMs = performance.now() + msMax
  let most = 0
  while (performance.now() < deadlineMs) {
    most = Math.max(most, process.memoryUsage.rss())
    if (isOver()) break
    await sleep(LOOK_MS)
  }
  return most
}

/** All books LIVE, then their names, from the gateway. @param key where it asks for one */
export async function namesOfLive(stage: Stage, stop: AbortSignal, key?: string): Promise<string[]> {
  const { collector, engine, venue } = stage
  const isLive = (): boolean => collector.total('books_LIVE') >= collector.bookCount || stop.aborted
  await Promise.race([until(isLive, LIVE_MS_MAX, 'all books LIVE'), engine.failed, venue.over])
  process.stderr.write(`${collector.total('books_LIVE')} of ${collector.bookCount} books LIVE\n`)
  await sleep(SETTLE_MS) // what the start left behind; and the gateway hears of all books once a second
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const answer = await fetch(`${engine.serving?.url}/v1/books`, { headers })
  const { books } = (await answer.json()) as { books: { instrument: string; state: string }[] }
  return books.filter(({ state }) => state === 'LIVE').map(({ instrument }) => instrument)
}
