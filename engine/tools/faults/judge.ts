/**
 * Losses of the venue's notes against rows of `gaps`, in both directions. Pure: notes and rows in, what does not fit out.
 *
 *   loss          events that the venue made and that reached nobody (or in pieces): instrument, channel, ids, times
 *   disturbance   a fault that interrupts, reorders or renumbers a stream without losing anything for sure: it explains a
 *                 row of `gaps` (something may be missing), and demands none
 *
 * A loss wants a row of its instrument and channel that holds its ids, or its time. A row wants a loss or a disturbance of
 * its instrument and channel within it.
 */
import type { ExchangeName } from '../../simulate/venue.ts'
import type { GapRow, VenueNote } from '../demo/notes.ts'

export interface Place {
  readonly exchange: ExchangeName
  readonly market: string
  /** '' : all of the market */
  readonly symbol: string
  /** as `gaps` names it; '' : all */
  readonly channel: string
}

export interface InjectedLoss extends Place {
  readonly cause: string
  readonly firstId: number
  readonly lastId: number
  readonly firstMs: number
  readonly lastMs: number
  readonly count: number
}

export interface Disturbance extends Place {
  readonly fault: string
  readonly fromMs: number
  readonly toMs: number
}

/** Event time is the venue's, the row's times are those of receiving: `lateMs` is how much later they may be. */
export type JudgedRow = GapRow & { readonly lateMs: number }

export interface Verdict {
  readonly lossesWithoutRow: readonly InjectedLoss[]
  readonly rowsWithoutCause: readonly JudgedRow[]
}

/** So long after it a fault may still show: streams have to be found silent, books to be anchored. */
const AFTERMATH_MS: Readonly<Record<string, number>> = {
  mute_subscription: 30_000,
  refuse_subscription: 30_000,
  delist: 60_000,
}
const AFTERMATH_USUAL_MS = 2_000

/** One stream that feeds several channels: all of them are gone with it. */
const TICKER_FAMILY = ['tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests']
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  'deribit/tickers': TICKER_FAMILY,
  'bybit/tickers': TICKER_FAMILY,
  'deribit/trades': ['trades', 'liquidations'],
}

export function judge(
  losses: readonly InjectedLoss[],
  disturbances: readonly Disturbance[],
  rows: readonly JudgedRow[],
): Verdict {
  const spans = joined(rows)
  return {
    lossesWithoutRow: losses.filter((loss) => !spans.some((row) => isAt(loss, row) && holds(row, loss))),
    rowsWithoutCause: rows.filter(
      (row) =>
        !losses.some((loss) => isAt(loss, row) && touches(row, loss)) &&
        !disturbances.some((each) => isAt(each, row) && overlaps(row, each.fromMs, each.toMs)),
    ),
  }
}

function isAt({ exchange, market, symbol, channel }: Place, row: JudgedRow): boolean {
  if (row.exchange !== exchange || row.market !== market) return false
  if (symbol !== '' && row.symbol !== symbol) return false
  return channel === '' || row.channel === channel || (FAMILIES[`${exchange}/${channel}`] ?? []).includes(row.channel)
}

/**
 * A row that begins at the very number where another of its stream ends continues it: a connection that ended, and then
 * a stream that began later than the book it was to continue.
 */
function joined(rows: readonly JudgedRow[]): JudgedRow[] {
  const placeOf = ({ exchange, market, symbol, channel }: JudgedRow, seq: string): string =>
    [exchange, market, symbol, channel, seq].join('/')
  const byStart = new Map(
    rows.filter((row) => Number(row.from_seq) > 0).map((row) => [placeOf(row, String(row.from_seq)), row]),
  )
  return rows.map((row) => {
    let span = row
    for (let next = byStart.get(placeOf(row, String(row.to_seq))); next !== undefined && next !== row; ) {
      span = { ...span, to_seq: next.to_seq, to_ms: next.to_ms, status: next.status }
      const after = byStart.get(placeOf(row, String(next.to_seq)))
      next = after === next || Number(next.to_seq) <= Number(next.from_seq) ? undefined : after
    }
    return span
  })
}

/** All of the loss lies in the row: by its ids, else by its time. */
export function holds(row: JudgedRow, { firstId, lastId, firstMs, lastMs }: Omit<InjectedLoss, keyof Place>): boolean {
  const [fromSeq, toSeq] = [Number(row.from_seq), Number(row.to_seq)]
  if (fromSeq > 0 && toSeq > 0 && fromSeq < firstId && lastId <= toSeq) return true
  return fromMs(row) - row.lateMs <= firstMs && lastMs <= toMs(row)
}

function touches(row: JudgedRow, loss: InjectedLoss): boolean {
  const [fromSeq, toSeq] = [Number(row.from_seq), Number(row.to_seq)]
  if (fromSeq > 0 && toSeq > 0 && fromSeq < loss.lastId && loss.firstId <= toSeq) return true
  return overlaps(row, loss.firstMs, loss.lastMs)
}

/** @param from,to of the venue's clock; what happened then was received up to so much later */
function overlaps(row: JudgedRow, from: number, to: number): boolean {
  return fromMs(row) <= to + row.lateMs && from <= toMs(row)
}

const fromMs = (row: JudgedRow): number => Number(row.from_ms)
const toMs = (row: JudgedRow): number => (row.status === 'open' ? Number.POSITIVE_INFINITY : Number(row.to_ms))

const gapChannel = (channel: unknown): string => (channel === 'agg_trades' ? 'trades' : String(channel ?? ''))

/** What the venue notes as lost. */
export function lossesOf(exchange: ExchangeName, notes: readonly VenueNote[]): InjectedLoss[] {
  return notes.flatMap(({ loss }) => {
    if (loss === undefined) return []
    const { channel, ...rest } = loss as Omit<InjectedLoss, 'exchange'>
    return [{ ...rest, exchange, channel: gapChannel(channel) }]
  })
}

/** One stream of a connection that ended or was stalled: nobody else hears it. */
type CutStream = readonly [name: string, lastId: number, symbol: string, channel: string, isUnheard: boolean]

/** What the venue notes as done to streams, without events that were lost in it. */
export function disturbancesOf(exchange: ExchangeName, notes: readonly VenueNote[]): Disturbance[] {
  return notes.flatMap((note): Disturbance[] => {
    const { timeMs, market, symbol, streams } = note
    if (note.missed === true || note.by === 'simulator stopped') return []
    const fault = String(note.fault ?? 'close')
    const fromMs = Number(timeMs)
    const aftermathMs = AFTERMATH_MS[fault] ?? AFTERMATH_USUAL_MS
    const toMs = fromMs + Number(note.seconds ?? 0) * 1_000 + aftermathMs
    const common = { exchange, market: String(market ?? ''), fault, fromMs, toMs }
    if (Array.isArray(streams))
      return (streams as readonly CutStream[])
        .filter(([, , , , isUnheard]) => isUnheard)
        .map(([, , name, channel]) => ({ ...common, symbol: name, channel: gapChannel(channel) }))
    if (typeof symbol !== 'string' || !EXPLAINING.has(fault)) return []
    return [{ ...common, symbol, channel: gapChannel(note.channel) }]
  })
}

/** Faults of one instrument that may leave a row of `gaps` although nothing is lost. */
const EXPLAINING = new Set(['reorder', 'reset', 'silent', 'refuse_subscription', 'mute_subscription', 'delist'])
