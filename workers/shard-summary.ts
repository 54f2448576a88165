import type { Ladder } from '../engine/book/ladder.ts'
import { BOOK_STATES } from '../engine/record/schema.ts'
import { decimalText } from '../engine/scan/decimal.ts'
import type { InstrumentSlot } from './shard-instruments.ts'
import type { RejectedFrame } from './rejected-frames.ts'
import type { Shard } from './shard.ts'

/** What one instrument came to, as `replay --json` prints it: plain data, numbers as canonical decimal strings. */
export interface InstrumentSummary {
  state: string
  lastSeq: string
  bids: [string, string][]
  asks: [string, string][]
  /** events that are part of the book, whole books of the stream among them */
  applied: number
  stale: number
  gaps: number
  trades: { count: number; quantity: string; notional: string; firstId: string; lastId: string }
  bookTickers: { count: number }
  /** rows by table */
  kinds: Record<string, number>
  /** of a venue that sends sums of its books */
  checksums: { good: number; bad: number }
}

export interface ShardSummary {
  instruments: Record<string, InstrumentSummary>
  rejectedFrames: readonly RejectedFrame[]
}

const STATE_NAMES = Object.keys(BOOK_STATES)

export function summarise(shard: Shard): ShardSummary {
  const instruments: Record<string, InstrumentSummary> = {}
  for (const slot of shard.list.slots) instruments[slot.name.id] = instrumentSummary(shard, slot)
  return { instruments, rejectedFrames: shard.rejected.list() }
}

function instrumentSummary(shard: Shard, slot: InstrumentSlot): InstrumentSummary {
  const { keeper, totals, index } = slot
  const priceScale = shard.list.scales.prices[index] as number
  const quantityScale = shard.list.scales.quantities[index] as number
  const levels = (ladder: Ladder): [string, string][] => {
    const { prices, quantities } = ladder.levels()
    return Array.from(prices, (price, level) => [
      decimalText(price, priceScale),
      decimalText(quantities[level] as number, quantityScale),
    ])
  }
  return {
    state: STATE_NAMES[keeper.book.state] as string,
    lastSeq: String(keeper.book.chain.seq),
    bids: levels(keeper.book.bids),
    asks: levels(keeper.book.asks),
    applied: keeper.startedCount + keeper.appliedCount,
    stale: keeper.staleCount,
    gaps: keeper.gapCount + slot.tradeGapCount,
    trades: {
      count: totals.count,
      quantity: totals.quantityText(quantityScale),
      notional: totals.notionalText(priceScale, quantityScale),
      firstId: String(totals.firstId),
      lastId: String(totals.lastId),
    },
    bookTickers: { count: slot.tickerCount },
    kinds: {
      ...(totals.count > 0 ? { trades: totals.count } : {}),
      ...(keeper.appliedCount > 0 ? { book_deltas: keeper.appliedCount } : {}),
      ...(slot.tickerCount > 0 ? { book_tickers: slot.tickerCount } : {}),
      ...Object.fromEntries(slot.kindRows),
    },
    checksums: { good: keeper.checksums.goodCount, bad: keeper.checksums.badCount },
  }
}
