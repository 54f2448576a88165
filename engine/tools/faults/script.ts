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

type Step = FaultSpec & { readonly kind: FaultKind }

/** Steps that happen at about the same time, and seconds until the next ones. */
type Scene = readonly [seconds: number, ...steps: readonly Step[]]

/** @param trades the word of the venue's numbered trades; null where they have no numbers */
function scenes(trades: string | null, seed: number): readonly Scene[] {
  const skipped: Step[] = trades === null ? [] : [{ kind: 'gap', stream: trades, count: 3 }]
  const broken = (kind: FaultKind): Step[] =>
    ['book', trades ?? 'trades', 'book_tickers'].map((stream) => ({ kind, stream }))
  const bookAndTrades: Step[] = [{ kind: 'gap', stream: 'book' }, ...skipped]
  const [muted, refused] = seed % 2 === 0 ? ['book', 'book_tickers'] : ['book_tickers', 'book']
  return [
    [2, ...bookAndTrades],
    [2, ...broken('duplicate')],
    [2, { kind: 'reorder', stream: 'book' }, { kind: 'reorder', stream: trades ?? 'trades' }],
    [2, ...broken('truncated')],
    [2, ...broken('corrupt')],
    [1, { kind: 'malformed' }],
    [1, { kind: 'nested' }],
    [1, { kind: 'unknown' }],
    [2, { kind: 'keep_alive' }, { kind: 'reset' }],
    [3, { kind: 'huge', bytes: HUGE_BYTES }],
    [3, { kind: 'broken_frame' }],
    [2, { kind: 'close' }],
    [2, { kind: 'close', rst: true }],
    [4, { kind: 'close_all' }],
    [8, { kind: 'silent', stream: 'book_tickers', seconds: 5 }, { kind: 'silent', stream: 'book', seconds: 4 }],
    [12, { kind: 'stall', seconds: 10 }, { kind: 'no_pings', seconds: 10 }],
    [1, { kind: 'refuse_subscription', stream: refused as string }],
    [6, { kind: 'close', stream: refused as string }],
    [1, { kind: 'mute_subscription', stream: muted as string }],
    [12, { kind: 'close', stream: muted as string }],
    [10, { kind: 'list' }, { kind: 'tick_change' }],
    [10, { kind: 'delist' }],
    [1, { kind: 'rest_500', seconds: 3 }],
    [6, ...bookAndTrades],
    [1, { kind: 'rest_slow', seconds: 3, ms: 2_000 }],
    [6, ...bookAndTrades],
    [1, { kind: 'stale_snapshot' }],
    [4, ...bookAndTrades],
    [9, { kind: 'server_shutdown', seconds: 6 }],
    [1, { kind: 'rest_429', seconds: 3 }],
    [6, ...bookAndTrades],
    [1, { kind: 'rest_418', seconds: 3 }],
    [8, ...bookAndTrades],
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
    const wanted = steps.filter(({ kind }) => isPossible(kind, venue) && (only.length === 0 || only.includes(kind)))
    faults.push(...wanted.map((step) => ({ at, ...step })))
    if (wanted.length > 0) at += seconds
  }
  return { faults, seconds: at + SETTLE_SECONDS }
}

export const isPossible = (kind: FaultKind, venue: ExchangeName): boolean => IMPOSSIBLE[kind]?.[venue] === undefined

export const ALL_KINDS = Object.keys(FAULT_KINDS) as readonly FaultKind[]
