import { BinanceParser } from '../engine/exchanges/binance/parse.ts'
import { DepthEvent, type Emit, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured, repeat } from './measure.ts'
import { textOf } from './messages.ts'

/** Counts and adds up what a parser hands over; nothing is kept. */
class Tally implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(1)
  readonly quantityScales = new Uint8Array(1)
  readonly #symbol: Uint8Array
  levels = 0
  trades = 0
  tickers = 0
  ids = 0

  constructor(symbol: string) {
    this.#symbol = new TextEncoder().encode(symbol)
  }

  get symbols(): object {
    return this.#symbol
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    if (end - offset !== this.#symbol.length) return -1
    for (let at = offset; at < end; at++) if (bytes[at] !== this.#symbol[at - offset]) return -1
    return 0
  }

  learn(): number {
    return -1
  }

  widen(_instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    scales[0] = scale
    return true
  }

  instrumentOf(): number {
    return 0
  }

  row(): '' {
    return ''
  }

  onDepth(): void {
    this.levels += this.depth.bidCount + this.depth.askCount
    this.ids += this.depth.lastSeq % 1000
  }

  onTrade(): void {
    this.trades++
    this.ids += this.trade.tradeId % 1000
  }

  onTicker(): void {
    this.tickers++
    this.ids += this.ticker.updateId % 1000
  }
}

interface Frame {
  data: { e?: string; u: number; t: number; b: unknown[]; a: unknown[] }
}

/** Frame bytes → events, no book, no rows; JSON.parse of the same frames is the oracle. */
export async function scan({ recording, runCount }: BenchContext): Promise<BenchResult> {
  const frames = recording.messages.filter((message) => message.bytes[2] === 's'.charCodeAt(0))
  const expected = { levels: 0, trades: 0, tickers: 0, ids: 0 }
  for (const frame of frames) {
    const { data } = JSON.parse(textOf(frame)) as Frame
    expected.ids += (data.e === 'trade' ? data.t : data.u) % 1000
    if (data.e === 'depthUpdate') expected.levels += data.b.length + data.a.length
    else if (data.e === 'trade') expected.trades++
    else expected.tickers++
  }
  const seconds = await repeat(runCount, () => {
    const tally = new Tally(recording.symbol)
    const parser = new BinanceParser(tally, 'usdm')
    const start = performance.now()
    for (const { bytes } of frames) parser.parse(bytes, 0, bytes.length)
    const took = (performance.now() - start) / 1000
    for (const [what, count] of Object.entries(expected)) {
      const seen = tally[what as keyof typeof expected]
      check(seen === count, `scan: ${what} ${seen}, JSON.parse finds ${count}`)
    }
    return took
  })
  return { ...measured(frames.length, seconds), unit: 'messages/s', ratios: {}, others: {}, notes: [] }
}
