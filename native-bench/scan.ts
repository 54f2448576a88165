import { READ_RULES } from '../engine/exchanges/index.ts'
import type { ReadRules } from '../engine/exchanges/exchange.ts'
import { DepthEvent, type Emit, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import type { RecordedMessage } from '../engine/simulate/recording.ts'
import { type Bench, type BenchResult, check } from './bench.ts'
import { type Measured, measured, repeat } from './measure.ts'
import { type BenchMessages, foundIn } from './messages.ts'
import type { BenchVenue, Found } from './venues.ts'

const KINDS: readonly Found['kind'][] = ['book', 'trades', 'tickers']
/** Behind each frame, for scanners that read by words; in a ring that is the head of the next record. */
const ROOM_BYTES = 128

/** Counts and adds up what a parser hands over; nothing is kept. */
class Tally implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(1)
  readonly quantityScales = new Uint8Array(1)
  readonly #symbol: Uint8Array
  levels = 0
  book = 0
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
    this.book++
    this.levels += this.depth.bidCount + this.depth.askCount
    this.ids += this.depth.lastSeq % 1000
  }

  onTrade(): void {
    const { idText, tradeId } = this.trade
    this.trades++
    this.ids += idText.length === 0 ? tradeId % 1000 : (idText.bytes[idText.length - 1] as number)
  }

  onTicker(): void {
    this.tickers++
    this.ids += this.ticker.updateId % 1000
  }
}

/** Frames one behind the other in one memory, as they lie in a ring. */
interface Frames {
  readonly bytes: Uint8Array
  readonly offsets: readonly number[]
  readonly count: number
  /** without the room between them */
  readonly byteCount: number
  readonly expected: { levels: number; ids: number } & Record<Found['kind'], number>
}

/** Frame bytes → events, no book, no rows: all as they came, then each kind alone; JSON.parse of the same is the oracle. */
export function scan(venue: BenchVenue): Bench {
  return async ({ messagesOf, runCount }): Promise<BenchResult> => {
    const recording = await messagesOf(venue)
    const rules = READ_RULES.get(venue.exchange)
    check(rules !== undefined, `scan: no rules of ${venue.exchange}`)
    const all = framesOf(recording)
    const others: Record<string, Measured> = {}
    const notes: string[] = []
    const result = await scanned(all, recording, rules, runCount)
    for (const kind of KINDS) {
      const frames = framesOf(recording, kind)
      const rate = await scanned(frames, recording, rules, runCount)
      others[kind] = rate
      notes.push(noteOf(kind, frames, rate))
    }
    return { ...result, unit: 'messages/s', ratios: {}, others, notes }
  }
}

async function scanned(
  { bytes, offsets, count, expected }: Frames,
  { symbol, venue }: BenchMessages,
  rules: ReadRules,
  runCount: number,
): Promise<Measured> {
  // one parser for all runs, as a worker has one for its life: the scales are learned from the first frames
  const tally = new Tally(symbol)
  const parser = rules.parser(tally, venue.market)
  const seconds = await repeat(runCount, () => {
    Object.assign(tally, { levels: 0, book: 0, trades: 0, tickers: 0, ids: 0 })
    const start = performance.now()
    for (let frame = 0; frame < count; frame++) {
      const offset = offsets[frame] as number
      parser.parse(bytes, offset, (offsets[frame + 1] as number) - ROOM_BYTES - offset)
    }
    const took = (performance.now() - start) / 1000
    for (const [what, wanted] of Object.entries(expected)) {
      const seen = tally[what as keyof typeof expected]
      check(seen === wanted, `scan of ${venue.exchange}: ${what} ${seen}, JSON.parse finds ${wanted}`)
    }
    return took
  })
  return measured(count, seconds)
}

function framesOf({ venue, messages }: BenchMessages, kind?: Found['kind']): Frames {
  const frames: RecordedMessage[] = []
  const expected = { levels: 0, book: 0, trades: 0, tickers: 0, ids: 0 }
  for (const message of messages) {
    const found = foundIn(venue, message)
    if (found === undefined || (kind !== undefined && found.kind !== kind)) continue
    frames.push(message)
    expected[found.kind] += found.rows
    expected.levels += found.levels
    expected.ids += found.ids
  }
  return { ...packed(frames), count: frames.length, expected }
}

function packed(frames: readonly RecordedMessage[]): Pick<Frames, 'bytes' | 'offsets' | 'byteCount'> {
  const offsets = [0]
  for (const { bytes } of frames) offsets.push((offsets.at(-1) as number) + bytes.length + ROOM_BYTES)
  const bytes = new Uint8Array(offsets.at(-1) as number)
  for (const [at, frame] of frames.entries()) bytes.set(frame.bytes, offsets[at] as number)
  return { bytes, offsets, byteCount: bytes.length - ROOM_BYTES * frames.length }
}

function noteOf(kind: Found['kind'], { count, byteCount, expected }: Frames, { rate }: Measured): string {
  const bytes = byteCount / count
  const ns = 1e9 / rate
  const levels = expected.levels / count
  const aLevel = kind === 'book' ? `, ${levels.toFixed(1)} levels, ${(ns / levels).toFixed(1)} ns a level` : ''
  return `${kind}: ${ns.toFixed(0)} ns a message of ${bytes.toFixed(0)} bytes${aLevel}`
}
