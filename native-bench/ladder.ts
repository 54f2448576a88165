import { Ladder } from '../engine/book/ladder.ts'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured, repeat } from './measure.ts'
import { textOf } from './messages.ts'
import { BINANCE } from './venues.ts'

interface Updates {
  readonly bids: readonly [Float64Array, Float64Array]
  readonly asks: readonly [Float64Array, Float64Array]
}

const SCALE = 1e8 // any scale that makes them integers below 2^53 would do; the recorder's prices have two decimals

/** Level updates of the recording's depth events, in order, into two ladders; a plain Map is the oracle. */
export async function ladder({ messagesOf, runCount }: BenchContext): Promise<BenchResult> {
  const recording = await messagesOf(BINANCE)
  const updates = updatesOf(recording.messages.map(textOf))
  const updateCount = updates.bids[0].length + updates.asks[0].length
  const expected = [oracle(updates.bids, 1), oracle(updates.asks, -1)] as const
  const seconds = await repeat(runCount, () => {
    const bids = new Ladder('bid')
    const asks = new Ladder('ask')
    const start = performance.now()
    apply(bids, updates.bids)
    apply(asks, updates.asks)
    const took = (performance.now() - start) / 1000
    check(
      bids.best === expected[0].best && bids.levelCount === expected[0].count,
      'ladder: bids differ from the oracle',
    )
    check(
      asks.best === expected[1].best && asks.levelCount === expected[1].count,
      'ladder: asks differ from the oracle',
    )
    return took
  })
  return { ...measured(updateCount, seconds), unit: 'level updates/s', ratios: {}, others: {}, notes: [] }
}

function apply(side: Ladder, [prices, quantities]: readonly [Float64Array, Float64Array]): void {
  for (let at = 0; at < prices.length; at++) side.set(prices[at] as number, quantities[at] as number)
}

function oracle(
  [prices, quantities]: readonly [Float64Array, Float64Array],
  sign: number,
): { best: number; count: number } {
  const levels = new Map<number, number>()
  prices.forEach((price, at) => {
    if (quantities[at] === 0) levels.delete(price)
    else levels.set(price, quantities[at] as number)
  })
  let best = Number.NEGATIVE_INFINITY
  for (const price of levels.keys()) best = Math.max(best, price * sign)
  return { best: best * sign, count: levels.size }
}

type Level = [string, string]

function updatesOf(texts: readonly string[]): Updates {
  const sides: Record<'b' | 'a', [number[], number[]]> = { b: [[], []], a: [[], []] }
  for (const text of texts) {
    if (!text.includes('depthUpdate') && !text.startsWith('{"lastUpdateId"')) continue
    const message = JSON.parse(text) as { data?: { b: Level[]; a: Level[] }; bids: Level[]; asks: Level[] }
    for (const side of ['b', 'a'] as const) {
      const levels = message.data?.[side] ?? (side === 'b' ? message.bids : message.asks)
      for (const [price, quantity] of levels) {
        sides[side][0].push(Math.round(Number(price) * 100))
        sides[side][1].push(Math.round(Number(quantity) * SCALE))
      }
    }
  }
  const typed = ([prices, quantities]: [number[], number[]]) =>
    [Float64Array.from(prices), Float64Array.from(quantities)] as const
  return { bids: typed(sides.b), asks: typed(sides.a) }
}
