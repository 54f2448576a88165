/**
 * How whole a channel of an instrument is, as intervals that follow one another:
 *
 *   missing        nothing is stored of it: before the first row, after what the collectors of the exchange have stored
 *                  so far, while nobody collected it (collected.ts), and in gaps in which nothing came (disconnect,
 *                  collector_down, worker_restart, silent, spool_corrupt); of books every gap: the book was not LIVE
 *   degraded       something came and something is missing: all other gaps, open or closed, and around blocks that are
 *                  not stored (yet)
 *   backfilled     a gap whose rows were fetched afterwards (status repaired)
 *   unverifiable   no gap is known, and the venue numbers nothing by which one could be seen
 *   complete       no gap is known, and there would be one: books (their chains), trades with a venue's own numbering
 *
 * Where several hold, the first of this list counts.
 */
import { GAP_CHANNELS, type GapChannel } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import type { InstrumentName } from '../engine-link.ts'
import type { Store } from '../store.ts'
import type { History, Order } from './facts.ts'
import { Collected } from './collected.ts'
import { type GapSpan, gapsOver } from './gap-rows.ts'
import { earlier, later } from './time.ts'

export const COVERAGE_STATES = ['missing', 'degraded', 'backfilled', 'unverifiable', 'complete'] as const
export type CoverageState = (typeof COVERAGE_STATES)[number]

export interface CoverageInterval {
  readonly from_ns: string
  readonly to_ns: string
  readonly state: CoverageState
  /** causes of gaps, `no_rows` before the first row, `not_collected` while nobody wanted it, `not_stored` after the last block, and around one that is missing */
  readonly reasons: readonly string[]
}

export interface ChannelCoverage {
  readonly channel: GapChannel
  readonly first_received_ns: string | null
  readonly intervals: readonly CoverageInterval[]
  /** seconds in each state, as decimal text */
  readonly seconds: Readonly<Record<CoverageState, string>>
}

const SILENT_CAUSES = ['disconnect', 'collector_down', 'worker_restart', 'silent', 'spool_corrupt']

/** A span in which something holds. */
export interface Span {
  readonly fromNs: bigint
  readonly toNs: bigint
  readonly state: CoverageState
  readonly reason: string
}

export const tableOf = (channel: GapChannel): TableName => (channel === 'book' ? 'book_snapshots' : channel)
export const CHANNELS = Object.keys(GAP_CHANNELS) as GapChannel[]

export async function coverageOf(
  store: Store,
  history: History,
  instrument: InstrumentName,
  channels: readonly GapChannel[],
  fromNs: bigint,
  toNs: bigint,
  signal?: AbortSignal,
): Promise<ChannelCoverage[]> {
  const [gaps, collected] = await Promise.all([
    gapsOver(store, instrument, undefined, fromNs, toNs, signal),
    Collected.of(store, instrument, signal),
  ])
  const { storedNs } = collected
  const holes = await collected.holes({ fromNs, toNs }, signal)
  const edge = async (channel: GapChannel, order: Order) => {
    const range = { fromNs: undefined, toNs: undefined }
    const question = { instrument, range, order, limit: 1, cursor: undefined, equal: {}, signal }
    const { rows } = await history.page(tableOf(channel), question)
    return rows[0]
  }
  const found: ChannelCoverage[] = []
  for (const channel of channels) {
    const [first, last] = await Promise.all([edge(channel, 'asc'), edge(channel, 'desc')])
    const isNumbered = channel === 'book' || (channel === 'trades' && Number(last?.['seq'] ?? 0) > 0)
    const firstNs = first === undefined ? undefined : BigInt(first['received_ns'] as string)
    const own = gaps.filter((gap) => gap.channel === channel)
    const without = await collected.without(channel, tableOf(channel), own, signal)
    const intervals = sweep(fromNs, toNs, isNumbered ? 'complete' : 'unverifiable', [
      ...own.map(spanOf),
      ...holes.map((span) => ({ ...span, state: 'degraded' as const, reason: 'not_stored' })),
      ...without.map((span) => ({
        fromNs: later(span.fromNs, firstNs ?? 0n),
        toNs: earlier(span.toNs, storedNs),
        state: 'missing' as const,
        reason: 'not_collected',
      })),
      { fromNs: 0n, toNs: firstNs ?? toNs, state: 'missing', reason: 'no_rows' },
      { fromNs: storedNs, toNs, state: 'missing', reason: 'not_stored' },
    ])
    found.push({
      channel,
      first_received_ns: firstNs === undefined ? null : String(firstNs),
      intervals,
      seconds: secondsOf(intervals),
    })
  }
  return found
}

function spanOf({ channel, cause, status, fromNs, toNs }: GapSpan): Span {
  const isSilent = channel === 'book' || SILENT_CAUSES.includes(cause)
  const state = status === 'repaired' ? 'backfilled' : isSilent ? 'missing' : 'degraded'
  return { fromNs, toNs, state, reason: cause }
}

/** Cuts [from, to) where any span begins or ends; neighbours that say the same become one. */
export function sweep(fromNs: bigint, toNs: bigint, base: CoverageState, spans: readonly Span[]): CoverageInterval[] {
  const within = spans
    .map((span) => ({ ...span, fromNs: later(span.fromNs, fromNs), toNs: earlier(span.toNs, toNs) }))
    .filter((span) => span.fromNs < span.toNs)
  const cuts = [...new Set([fromNs, toNs, ...within.flatMap((span) => [span.fromNs, span.toNs])])]
  cuts.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const intervals: CoverageInterval[] = []
  for (let index = 0; index + 1 < cuts.length; index++) {
    const [start, end] = [cuts[index] as bigint, cuts[index + 1] as bigint]
    const over = within.filter((span) => span.fromNs <= start && span.toNs >= end)
    const state = COVERAGE_STATES.find((one) => over.some((span) => span.state === one)) ?? base
    const reasons = [...new Set(over.filter((span) => span.state === state).map(({ reason }) => reason))].sort()
    const before = intervals.at(-1)
    if (before?.state === state && before.reasons.join() === reasons.join())
      intervals[intervals.length - 1] = { ...before, to_ns: String(end) }
    else intervals.push({ from_ns: String(start), to_ns: String(end), state, reasons })
  }
  return intervals
}

function secondsOf(intervals: readonly CoverageInterval[]): Record<CoverageState, string> {
  const of = (state: CoverageState): string => {
    const ns = intervals
      .filter((one) => one.state === state)
      .reduce((sum, { from_ns, to_ns }) => sum + BigInt(to_ns) - BigInt(from_ns), 0n)
    const fraction = String(ns % 1_000_000_000n)
      .padStart(9, '0')
      .replace(/0+$/, '')
    return `${ns / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
  }
  return Object.fromEntries(COVERAGE_STATES.map((state) => [state, of(state)])) as Record<CoverageState, string>
}
