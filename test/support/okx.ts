import { OkxParser } from '../../engine/exchanges/okx/parse.ts'
import { DepthEvent, NO_CHECKSUM, TickerEvent, TradeEvent } from '../../engine/record/emit.ts'
import type { Emit, Outcome } from '../../engine/record/emit.ts'
import { SIDES } from '../../engine/record/schema.ts'
import { decimalText } from '../../engine/scan/decimal.ts'
import { SymbolTable } from '../../engine/scan/symbols.ts'

const SCALE_MAX = 15

export type Told = Readonly<Record<string, unknown>>

/** Keeps what a parser emits as plain objects with numbers as text. */
export class OkxCollector implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(64)
  readonly quantityScales = new Uint8Array(64)
  readonly events: Told[] = []
  readonly names: string[] = []
  isLearning = true
  readonly #table = new SymbolTable()

  get symbols(): object {
    return this.#table
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.#table.find(bytes, offset, end)
  }

  learn(): number {
    return -1
  }

  instrumentOf(symbol: string): number {
    const known = this.names.indexOf(symbol)
    if (known >= 0 || !this.isLearning || this.names.length === 64) return known
    this.#table.add(symbol, this.names.length)
    return this.names.push(symbol) - 1
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    if (scale > SCALE_MAX || scale <= (scales[instrument] as number)) return false
    scales[instrument] = scale
    return true
  }

  row(table: string, instrument: number, row: object): '' {
    const said = Object.entries(row).filter(([, value]) => value !== null && value !== undefined)
    this.events.push({ table, symbol: this.names[instrument], ...Object.fromEntries(said) })
    return ''
  }

  onDepth(): void {
    const { depth } = this
    const { instrument } = depth
    const side = (prices: Float64Array, quantities: Float64Array, count: number) =>
      Array.from({ length: count }, (_, level) => [
        this.#price(instrument, prices[level] as number),
        this.#quantity(instrument, quantities[level] as number),
      ])
    this.events.push({
      table: 'book',
      symbol: this.names[instrument],
      eventMs: depth.eventMs,
      isSnapshot: depth.isSnapshot,
      checksum: depth.checksum === NO_CHECKSUM ? 'none' : depth.checksum,
      seqs: [depth.firstSeq, depth.lastSeq, depth.prevSeq],
      bids: side(depth.bidPrices, depth.bidQuantities, depth.bidCount),
      asks: side(depth.askPrices, depth.askQuantities, depth.askCount),
    })
  }

  onTrade(): void {
    const { trade } = this
    this.events.push({
      table: 'trades',
      symbol: this.names[trade.instrument],
      tradeMs: trade.tradeMs,
      ids: [trade.firstTradeId, trade.lastTradeId, trade.tradeId],
      seqs: [trade.firstSeq, trade.lastSeq],
      venueTradeId: trade.venueTradeId,
      price: this.#price(trade.instrument, trade.price),
      quantity: this.#quantity(trade.instrument, trade.quantity),
      side: trade.side === SIDES.buy ? 'buy' : 'sell',
    })
  }

  onTicker(): void {
    const { ticker } = this
    const { instrument } = ticker
    this.events.push({
      table: 'book_tickers',
      symbol: this.names[instrument],
      eventMs: ticker.eventMs,
      updateId: ticker.updateId,
      bid: [this.#price(instrument, ticker.bidPrice), this.#quantity(instrument, ticker.bidQuantity)],
      ask: [this.#price(instrument, ticker.askPrice), this.#quantity(instrument, ticker.askQuantity)],
    })
  }

  #price(instrument: number, mantissa: number): string {
    return decimalText(mantissa, this.priceScales[instrument] as number)
  }

  #quantity(instrument: number, mantissa: number): string {
    return decimalText(mantissa, this.quantityScales[instrument] as number)
  }
}

export class OkxRig {
  readonly collector = new OkxCollector()
  readonly parser = new OkxParser(this.collector)

  /** One frame, with something else before and behind it in memory. */
  parse(frame: string | Uint8Array): { outcome: Outcome; events: Told[] } {
    const { bytes, offset, length } = inMemory(frame)
    this.collector.events.length = 0
    const outcome = this.parser.parse(bytes, offset, length)
    return { outcome, events: [...this.collector.events] }
  }

  poll(name: string, body: string, symbol: string): { outcome: Outcome; events: Told[] } {
    const { bytes, offset, length } = inMemory(body)
    this.collector.events.length = 0
    const outcome = this.parser.parsePoll(name, bytes, offset, length, this.collector.instrumentOf(symbol))
    return { outcome, events: [...this.collector.events] }
  }

  trades(body: string, symbol: string): { outcome: Outcome; events: Told[] } {
    const { bytes, offset, length } = inMemory(body)
    this.collector.events.length = 0
    const outcome = this.parser.parseTrades('trades', bytes, offset, length, this.collector.instrumentOf(symbol))
    return { outcome, events: [...this.collector.events] }
  }
}

function inMemory(frame: string | Uint8Array): { bytes: Uint8Array; offset: number; length: number } {
  const own = typeof frame === 'string' ? new TextEncoder().encode(frame) : frame
  const bytes = new Uint8Array(own.length + 208).fill(0x39)
  bytes.set(own, 8)
  return { bytes, offset: 8, length: own.length }
}
