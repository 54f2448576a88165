import { DepthEvent, TickerEvent, TradeEvent } from '../../engine/record/emit.ts'
import type { Emit, RejectReason } from '../../engine/record/emit.ts'
import type { KindTableName } from '../../engine/record/schema-columns.ts'
import type { KindRow } from '../../engine/record/schema-kinds.ts'

const INSTRUMENTS_MAX = 256

/** Keeps what a parser hands over as plain objects, numbers as text; learns every symbol it is asked for. */
export class KindCollector implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(INSTRUMENTS_MAX)
  readonly quantityScales = new Uint8Array(INSTRUMENTS_MAX)
  readonly names: string[] = []
  readonly rows: { table: KindTableName; symbol: string; row: Record<string, unknown> }[] = []
  readonly trades: Record<string, unknown>[] = []
  readonly tickers: Record<string, unknown>[] = []
  readonly depths: { symbol: string; bids: string[][]; asks: string[][] }[] = []

  get symbols(): object {
    return this.names
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.names.indexOf(Buffer.from(bytes.subarray(offset, end)).toString())
  }

  learn(bytes: Uint8Array, offset: number, end: number): number {
    return this.instrumentOf(Buffer.from(bytes.subarray(offset, end)).toString())
  }

  instrumentOf(symbol: string): number {
    const known = this.names.indexOf(symbol)
    if (known >= 0) return known
    return this.names.length < INSTRUMENTS_MAX ? this.names.push(symbol) - 1 : -1
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    ;(kind === 'price' ? this.priceScales : this.quantityScales)[instrument] = scale
    return true
  }

  row<Name extends KindTableName>(table: Name, instrument: number, row: KindRow<Name>): '' | RejectReason {
    this.rows.push({ table, symbol: this.names[instrument] as string, row })
    return ''
  }

  onTrade(): void {
    const { instrument, price, quantity, ...rest } = this.trade
    const symbol = this.names[instrument]
    this.trades.push({
      symbol,
      ...rest,
      venueTradeId: this.trade.venueTradeId,
      price: this.#price(instrument, price),
      quantity: this.#size(instrument, quantity),
    })
  }

  onTicker(): void {
    const { instrument, updateId, bidPrice, bidQuantity, askPrice, askQuantity } = this.ticker
    this.tickers.push({
      symbol: this.names[instrument],
      updateId,
      bid: [this.#price(instrument, bidPrice), this.#size(instrument, bidQuantity)],
      ask: [this.#price(instrument, askPrice), this.#size(instrument, askQuantity)],
    })
  }

  onDepth(): void {
    const { instrument, bidPrices, bidQuantities, bidCount, askPrices, askQuantities, askCount } = this.depth
    const side = (prices: Float64Array, quantities: Float64Array, count: number) =>
      Array.from({ length: count }, (_, at) => [
        this.#price(instrument, prices[at] as number),
        this.#size(instrument, quantities[at] as number),
      ])
    this.depths.push({
      symbol: this.names[instrument] as string,
      bids: side(bidPrices, bidQuantities, bidCount),
      asks: side(askPrices, askQuantities, askCount),
    })
  }

  #price(instrument: number, mantissa: number): string {
    return shown(mantissa, this.priceScales[instrument] as number)
  }

  #size(instrument: number, mantissa: number): string {
    return shown(mantissa, this.quantityScales[instrument] as number)
  }
}

function shown(mantissa: number, scale: number): string {
  const digits = String(mantissa).padStart(scale + 1, '0')
  return plain(scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`)
}

/** `0.190` → `0.19`: the same number, one text. */
export function plain(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}
