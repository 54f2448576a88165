import { assert } from '../engine/base/assert.ts'
import { BookKeeper } from '../engine/book/keeper.ts'
import type { KeeperEvents, KeeperLimits } from '../engine/book/keeper.ts'
import type { GapLog } from '../engine/book/gap-log.ts'
import { TickerLine, TradeLine } from '../engine/book/trade-line.ts'
import { TradeTotals } from '../engine/book/trade-totals.ts'
import { binanceSync } from '../engine/exchanges/binance/sync.ts'
import { instrumentId } from '../engine/exchanges/exchange.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'
import type { Recorder } from '../engine/record/recorder.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import { POWERS_OF_TEN } from '../engine/scan/decimal.ts'
import { NO_SYMBOL, SymbolTable } from '../engine/scan/symbols.ts'

/** Instruments of one shard; the index goes into a UInt16 column. */
export const INSTRUMENTS_MAX = 4096
/** Symbols that a replay may register by itself. */
const SYMBOL_BYTES_MAX = 40

/** One instrument of the shard: its book and where its streams stand. */
export class InstrumentSlot {
  readonly index: number
  readonly name: Instrument
  readonly keeper: BookKeeper
  readonly trades = new TradeLine()
  readonly aggTrades = new TradeLine()
  readonly tickers = new TickerLine()
  readonly totals = new TradeTotals()
  tickerCount = 0
  tradeGapCount = 0
  /** Open connections that carry each channel, by GAP_CHANNELS value. */
  readonly coverage = new Int32Array(8)

  constructor(index: number, name: Instrument, keeper: BookKeeper) {
    this.index = index
    this.name = name
    this.keeper = keeper
  }

  /** The newest id of a channel's streams, for gap rows. */
  lastId(channel: number): number {
    return channel === GAP_CHANNELS.trades ? Math.max(this.trades.lastId, this.aggTrades.lastId) : this.tickers.lastId
  }
}

/** The instruments of a shard, by index and by the symbol bytes of each market. */
export class InstrumentList {
  readonly slots: InstrumentSlot[] = []
  readonly scales = { prices: new Uint8Array(INSTRUMENTS_MAX), quantities: new Uint8Array(INSTRUMENTS_MAX) }
  readonly #tables = new Map<string, SymbolTable>()
  readonly #limits: KeeperLimits
  readonly #events: KeeperEvents
  #recorder!: Recorder
  #gaps!: GapLog

  constructor(limits: KeeperLimits, events: KeeperEvents) {
    this.#limits = limits
    this.#events = events
  }

  /** The recorder needs the names of the list, the keepers of the list need the recorder. */
  attach(recorder: Recorder, gaps: GapLog): void {
    this.#recorder = recorder
    this.#gaps = gaps
  }

  table(market: string): SymbolTable {
    let table = this.#tables.get(market)
    if (table === undefined) {
      table = new SymbolTable()
      this.#tables.set(market, table)
    }
    return table
  }

  /** Adds the next instrument, or brings a known one up to date (its scales only widen). */
  add(instrument: Instrument, index = this.slots.length): InstrumentSlot {
    assert(
      index <= this.slots.length && index < INSTRUMENTS_MAX,
      `instrument ${instrument.id} at index ${index} of ${this.slots.length}`,
    )
    const known = this.slots[index]
    if (known !== undefined) {
      assert(known.name.id === instrument.id, `index ${index} is ${known.name.id}, not ${instrument.id}`)
      this.widen(index, 'price', instrument.priceScale)
      this.widen(index, 'quantity', instrument.quantityScale)
      return known
    }
    this.scales.prices[index] = instrument.priceScale
    this.scales.quantities[index] = instrument.quantityScale
    const rules = binanceSync(instrument.market)
    const keeper = new BookKeeper(index, rules, this.#limits, this.#recorder, this.#gaps, this.scales, this.#events)
    const slot = new InstrumentSlot(index, instrument, keeper)
    this.slots.push(slot)
    this.#events.added(index)
    this.table(instrument.market).add(instrument.symbol, index)
    return slot
  }

  /** Registers a symbol that a recording speaks of; its scales widen as its numbers come. @returns its index, or NO_SYMBOL. */
  learn(exchange: string, market: string, bytes: Uint8Array, offset: number, end: number): number {
    if (this.slots.length >= INSTRUMENTS_MAX || end - offset > SYMBOL_BYTES_MAX || end === offset) return NO_SYMBOL
    const symbol = new TextDecoder().decode(bytes.slice(offset, end))
    if (!/^[A-Za-z0-9_-]+$/.test(symbol)) return NO_SYMBOL
    return this.add({
      id: instrumentId(exchange, market, symbol),
      exchange,
      market,
      symbol,
      priceScale: 0,
      quantityScale: 0,
      status: 'RECORDED',
    }).index
  }

  /** Gives an instrument more digits after the point: what it holds is scaled with it. */
  widen(index: number, kind: 'price' | 'quantity', scale: number): boolean {
    const slot = this.slots[index] as InstrumentSlot
    const scales = kind === 'price' ? this.scales.prices : this.scales.quantities
    const before = scales[index] as number
    if (scale <= before) return true
    const factor = POWERS_OF_TEN[scale - before] as number
    scales[index] = scale
    const [priceFactor, quantityFactor] = kind === 'price' ? [factor, 1] : [1, factor]
    slot.totals.rescale(priceFactor, quantityFactor)
    slot.keeper.rescale(priceFactor, quantityFactor)
    return true
  }
}
