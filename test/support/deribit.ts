import { DepthEvent, TickerEvent, TradeEvent } from '../../engine/record/emit.ts'
import type { Emit, Outcome } from '../../engine/record/emit.ts'
import { SIDES, TRADE_LIQUIDATIONS } from '../../engine/record/schema.ts'
import { decimalText } from '../../engine/scan/decimal.ts'
import { SymbolTable } from '../../engine/scan/symbols.ts'
import { DeribitParser } from '../../engine/exchanges/deribit/parse.ts'

const wordOf = (words: Readonly<Record<string, number>>, value: number): string =>
  Object.keys(words).find((word) => words[word] === value) ?? '?'

/** Collects what a parser emits as plain objects with canonical decimal texts; learns every symbol. */
export class DeribitCollector implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(64)
  readonly quantityScales = new Uint8Array(64)
  readonly events: Record<string, unknown>[] = []
  readonly names: string[] = []
  scaleMax = 15
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
    if (known >= 0 || this.names.length === 64) return known
    this.#table.add(symbol, this.names.length)
    return this.names.push(symbol) - 1
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    if (scale > this.scaleMax) return false
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    scales[instrument] = scale
    return true
  }

  row(table: string, instrument: number, row: object): '' {
    const said = Object.entries(row).filter(([, value]) => value !== null && value !== undefined)
    this.events.push({ table, symbol: this.names[instrument], ...Object.fromEntries(said) })
    return ''
  }

  onDepth(): void {
    const { instrument, eventMs, transactionMs, isSnapshot, firstSeq, lastSeq, prevSeq, ...depth } = this.depth
    const side = (prices: Float64Array, quantities: Float64Array, count: number) =>
      Array.from({ length: count }, (_, level) => [
        this.#price(instrument, prices[level] as number),
        this.#quantity(instrument, quantities[level] as number),
      ])
    this.events.push({
      table: 'book',
      symbol: this.names[instrument],
      eventMs,
      transactionMs,
      isSnapshot,
      firstSeq,
      lastSeq,
      prevSeq,
      bids: side(depth.bidPrices, depth.bidQuantities, depth.bidCount),
      asks: side(depth.askPrices, depth.askQuantities, depth.askCount),
    })
  }

  onTrade(): void {
    const { trade } = this
    this.events.push({
      table: 'trades',
      symbol: this.names[trade.instrument],
      eventMs: trade.eventMs,
      tradeMs: trade.tradeMs,
      seq: [trade.firstSeq, trade.lastSeq],
      tradeId: trade.tradeId,
      venueTradeId: trade.venueTradeId,
      price: this.#price(trade.instrument, trade.price),
      quantity: this.#quantity(trade.instrument, trade.quantity),
      side: wordOf(SIDES, trade.side),
      liquidation: wordOf(TRADE_LIQUIDATIONS, trade.liquidation),
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

export class DeribitRig {
  readonly collector = new DeribitCollector()
  readonly parser = new DeribitParser(this.collector)

  constructor(symbols: readonly string[] = []) {
    for (const symbol of symbols) this.collector.instrumentOf(symbol)
  }

  /** @param padBehind bytes of the ring behind the frame; few of them, and the parser takes a copy */
  parse(frame: string | Uint8Array, padBehind = 256): { outcome: Outcome; events: Record<string, unknown>[] } {
    this.collector.events.length = 0
    const text = typeof frame === 'string' ? new TextEncoder().encode(frame) : frame
    // other records before and behind it, all of them digits: the worst neighbours of a number
    const bytes = new Uint8Array(8 + text.length + padBehind).fill(57)
    bytes.set(text, 8)
    const outcome = this.parser.parse(bytes, 8, text.length)
    return { outcome, events: [...this.collector.events] }
  }
}
