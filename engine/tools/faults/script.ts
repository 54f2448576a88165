/**
 * The fault script of the trial: every fault that the simulator knows, once at every venue that can have it, on an
 * instrument or connection of the seed's choice.
 *
 * Not part of it is what nobody can notice: a message left out of a stream without numbers (tops of books; trades of
 * Bybit). A client that hears the next message cannot know of it, whatever it does; only a second leg can help there.
 */
import { FAULT_KINDS, type FaultKind, type FaultSpec } from '../../simulate/faults.ts'
import type { ExchangeName } from '../../simulate/venue.ts'

/** Why a venue cannot have a fault. */
export const IMPOSSIBLE: Readonly<Partial<Record<FaultKind, Readonly<Partial<Record<ExchangeName, string>>>>>> = {
  reset: { binance: 'never renumbers a book', deribit: 'never renumbers a book' },
  keep_alive: { binance: 'no such message', deribit: 'no such message', bybit: 'no such message' },
  stale_snapshot: {
    okx: 'books start in the stream',
    deribit: 'books start in the stream',
    bybit: 'books start in the stream',
  },
  no_pings: { okx: 'the client pings', deribit: 'the client is asked', bybit: 'the client pings' },
  no_pongs: { okx: 'the client pings', deribit: 'the client is asked', bybit: 'the client pings' },
}

/** Longer than the longest message that the engine takes. */
const HUGE_BYTES = 2 * 1024 * 1024
const SETTLE_SECONDS = 4

type Step = FaultSpec & {
  /** seconds after the scene's begin */
  readonly after?: number
}

/** One fault with what makes it show: seconds until the next scene, the fault, further steps. */
type Scene = readonly [seconds: number, fault: Step, ...more: readonly Step[]]

/** @param trades the word of the venue's numbered trades; null where they have no numbers */
function scenes(trades: string | null, seed: number): readonly Scene[] {
  const later = (after: number, ...steps: readonly Step[]): Step[] => steps.map((step) => ({ ...step, after }))
  const lost: Step[] = [
    { kind: 'gap', stream: 'book' },
    ...(trades === null ? [] : [{ kind: 'gap', stream: trades, count: 3 } as const]),
  ]
  const onEach = (kind: FaultKind): [Step, ...Step[]] => [
    { kind, stream: 'book' },
    { kind, stream: trades ?? 'trades' },
    { kind, stream: 'book_tickers' },
  ]
  const [muted, refused] = seed % 2 === 0 ? ['book', 'book_tickers'] : ['book_tickers', 'book']
  return [
    [2, { kind: 'gap', stream: 'book' }, ...lost.slice(1)],
    [2, ...onEach('duplicate')],
    [2, { kind: 'reorder', stream: 'book' }, { kind: 'reorder', stream: trades ?? 'trades' }],
    [2, ...onEach('truncated')],
    [2, ...onEach('corrupt')],
    [1, { kind: 'malformed' }],
    [1, { kind: 'nested' }],
    [1, { kind: 'unknown' }],
    [1, { kind: 'keep_alive' }],
    [1, { kind: 'reset' }], // one: a second would use the numbers of the first again, and rows are compared by number
    [3, { kind: 'huge', bytes: HUGE_BYTES }],
    [3, { kind: 'broken_frame' }],
    [4, { kind: 'close' }, ...later(2, { kind: 'close', rst: true })],
    [4, { kind: 'close_all' }],
    [14, { kind: 'silent', stream: 'book_tickers', seconds: 12 }, { kind: 'silent', stream: 'book', seconds: 4 }],
    [0, { kind: 'no_pings', seconds: 10 }],
    [12, { kind: 'stall', seconds: 10 }],
    [7, { kind: 'refuse_subscription', stream: refused }, ...later(1, { kind: 'close', stream: refused })],
    [13, { kind: 'mute_subscription', stream: muted }, ...later(1, { kind: 'close', stream: muted })],
    [0, { kind: 'tick_change' }],
    [10, { kind: 'list' }],
    [10, { kind: 'delist' }],
    [7, { kind: 'rest_500', seconds: 3 }, ...later(1, ...lost)],
    [7, { kind: 'rest_slow', seconds: 3, ms: 2_000 }, ...later(1, ...lost)],
    [5, { kind: 'stale_snapshot' }, ...later(1, ...lost)],
    [9, { kind: 'server_shutdown', seconds: 6 }],
    [7, { kind: 'rest_429', seconds: 3 }, ...later(1, ...lost)],
    [9, { kind: 'rest_418', seconds: 3 }, ...later(1, ...lost)],
    [24, { kind: 'no_pongs', market: 'spot', seconds: 22 }],
  ]
}

export interface FaultPlay {
  readonly faults: readonly FaultSpec[]
  /** from the market's start until the last fault is over */
  readonly seconds: number
}

/** @param only kinds; all where it is empty */
export function faultPlay(venue: ExchangeName, seed: number, only: readonly FaultKind[]): FaultPlay {
  const trades = venue === 'bybit' ? null : venue === 'binance' && seed % 2 === 1 ? 'agg_trades' : 'trades'
  const faults: FaultSpec[] = []
  let at = SETTLE_SECONDS
  for (const [seconds, ...steps] of scenes(trades, seed)) {
    const [{ kind }] = steps
    if (!isPossible(kind, venue) || (only.length > 0 && !only.includes(kind))) continue
    faults.push(...steps.map(({ after = 0, ...step }) => ({ at: at + after, ...step })))
    at += seconds
  }
  return { faults, seconds: at + SETTLE_SECONDS }
}

export const isPossible = (kind: FaultKind, venue: ExchangeName): boolean => IMPOSSIBLE[kind]?.[venue] === undefined

export const ALL_KINDS = Object.keys(FAULT_KINDS) as readonly FaultKind[]
