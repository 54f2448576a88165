import { assert } from '../engine/base/assert.ts'
import { BookKeeper } from '../engine/book/keeper.ts'
import type { KeeperEvents, KeeperLimits } from '../engine/book/keeper-settings.ts'
import { TimedTickers } from '../engine/book/timed-tickers.ts'
import { TickerLine, TradeLine } from '../engine/book/trade-line.ts'
import { TradeTotals } from '../engine/book/trade-totals.ts'
import { instrumentId } from '../engine/exchanges/exchange.ts'
import type { Instrument, ReadRules } from '../engine/exchanges/exchange.ts'
import { READ_RULES } from '../engine/exchanges/index.ts'
import type { KindTableName } from '../engine/record/schema-columns.ts'
import { GAP_CAUSES, GAP_CHANNELS } from '../engine/record/schema.ts'
import { POWERS_OF_TEN } from '../engine/scan/decimal.ts'
import { NO_SYMBOL, SymbolTable } from '../engine/scan/symbols.ts'
import { RecentRows } from './recent-rows.ts'
import type { GapLog } from '../engine/book/gap-log.ts'
import type { Recorder } from '../engine/record/recorder.ts'

/** Instruments of one shard; the index goes into a UInt16 column. */
export const INSTRUMENTS_MAX = 4096
/** Symbols that a replay may register by itself. */
const SYMBOL_BYTES_MAX = 40

/** What the markets of one exchange share: blocks are of one exchange. */
export interface ExchangeRecord {
  readonly recorder: Recorder
  readonly gaps: GapLog
}

const CHANNEL_VALUES_MAX = 32

/** One instrument of the shard: its book and where its streams stand. */
export class InstrumentSlot {
  readonly index: number
  /** As the venue describes it now. */
  name: Instrument
  readonly record: ExchangeRecord
  readonly keeper: BookKeeper
  /** Whether its book is collected; else the keeper is never begun and nobody is told of it. */
  readonly hasBook: boolean
  trades = new TradeLine()
  aggTrades = new TradeLine()
  /** Not collected any more; what still comes is of a stream that is about to end. */
  isRemoved = false
  readonly tickers = new TickerLine()
  #timedTickers: TimedTickers | undefined
  readonly totals = new TradeTotals()
  tickerCount = 0
  tradeGapCount = 0
  /** Rows of the rare kinds so far. */
  readonly kindRows = new Map<KindTableName, number>()
  readonly #recentRows = new Map<KindTableName, RecentRows>()
  /** Open connections that carry each channel, by GAP_CHANNELS value. */
  readonly coverage = new Int32Array(CHANNEL_VALUES_MAX)

  constructor(index: number, name: Instrument, record: ExchangeRecord, keeper: BookKeeper, hasBook: boolean) {
    this.hasBook = hasBook
    this.index = index
    this.name = name
    this.record = record
    this.keeper = keeper
  }

  /** Of a venue whose tickers have no ids. */
  get timedTickers(): TimedTickers {
    this.#timedTickers ??= new TimedTickers()
    return this.#timedTickers
  }

  /** Whether something has to come of it; a recording does not say. */
  get isTrading(): boolean {
    const { isTrading, status } = this.name
    return isTrading ?? (status === 'TRADING' || status === 'RECORDED')
  }

  /** It is collected again: what passed meanwhile was not wanted, so it is not missing. */
  comeBack(): void {
    this.isRemoved = false
    this.trades = new TradeLine()
    this.aggTrades = new TradeLine()
  }

  /** Whether a row of a rare kind is one that another connection brought already. */
  isCopy(table: KindTableName, row: object): boolean {
    const recent = this.#recentRows.get(table) ?? new RecentRows()
    this.#recentRows.set(table, recent)
    // Noted while one connection carries the instrument, too: the next one begins by repeating what was last.
    return recent.see(row) && this.coverage.some((count) => count > 1)
  }

  /** The newest id of a channel's streams, for gap rows. */
  lastId(channel: number): number {
    return channel === GAP_CHANNELS.trades ? Math.max(this.trades.lastId, this.aggTrades.lastId) : this.tickers.lastId
  }
}

/** What the list tells. */
export interface ListEvents extends KeeperEvents {
  added(slot: InstrumentSlot): void
}

/** The instruments of a shard, by index and by the symbol bytes of each market. */
export class InstrumentList {
  readonly slots: InstrumentSlot[] = []
  readonly scales = { prices: new Uint8Array(INSTRUMENTS_MAX), quantities: new Uint8Array(INSTRUMENTS_MAX) }
  readonly #tables = new Map<string, SymbolTable>()
  readonly #limitsOf: (market: string) => KeeperLimits
  readonly #hasBooks: (market: string) => boolean
  readonly #events: ListEvents
  readonly #recordOf: (exchange: string) => ExchangeRecord

  /** @param recordOf where rows of an exchange go @param hasBooks whether books of a market are collected */
  constructor(
    limitsOf: (market: string) => KeeperLimits,
    events: ListEvents,
    recordOf: (exchange: string) => ExchangeRecord,
    hasBooks: (market: string) => boolean,
  ) {
    this.#limitsOf = limitsOf
    this.#hasBooks = hasBooks
    this.#events = events
    this.#recordOf = recordOf
  }

  /** The symbols of one market; of a whole exchange when `market` is empty. */
  table(exchange: string, market: string): SymbolTable {
    const key = `${exchange}.${market}`
    let table = this.#tables.get(key)
    if (table === undefined) {
      table = new SymbolTable()
      this.#tables.set(key, table)
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
      known.name = instrument
      if (known.isRemoved) known.comeBack()
      // that it was silent is explained
      if (!known.isTrading) known.record.gaps.closeAll(index, GAP_CAUSES.silent)
      known.keeper.isPreOpen = instrument.isPreOpen === true
      return known
    }
    this.scales.prices[index] = instrument.priceScale
    this.scales.quantities[index] = instrument.quantityScale
    const { exchange, market, symbol } = instrument
    const rules = READ_RULES.get(exchange)
    assert(rules !== undefined, `instrument ${instrument.id} of an exchange that is not known`)
    const record = this.#recordOf(exchange)
    const place = `${exchange}.${market}`
    const keeper = new BookKeeper(
      index,
      rules.sync(market),
      this.#limitsOf(place),
      record.recorder,
      record.gaps,
      this.scales,
      this.#events,
    )
    keeper.isPreOpen = instrument.isPreOpen === true
    const slot = new InstrumentSlot(index, instrument, record, keeper, this.#hasBooks(place))
    this.slots.push(slot)
    this.#events.added(slot)
    this.table(exchange, market).add(symbol, index)
    return slot
  }

  /** Registers a symbol that a recording speaks of; its scales widen as its numbers come. @returns its index, or NO_SYMBOL. */
  learn(rules: ReadRules, place: string, bytes: Uint8Array, offset: number, end: number): number {
    if (this.slots.length >= INSTRUMENTS_MAX || end - offset > SYMBOL_BYTES_MAX || end === offset) return NO_SYMBOL
    const symbol = new TextDecoder().decode(bytes.slice(offset, end))
    const market = place === '' ? rules.marketOf(symbol) : place
    if (market === undefined || !/^[A-Za-z0-9._-]+$/.test(symbol)) return NO_SYMBOL
    const { exchange } = rules
    const announced = this.table(exchange, market).find(bytes, offset, end)
    const index = announced === NO_SYMBOL ? this.#addRecorded(exchange, market, symbol) : announced
    if (place === '') this.table(exchange, place).add(symbol, index)
    return index
  }

  #addRecorded(exchange: string, market: string, symbol: string): number {
    const id = instrumentId(exchange, market, symbol)
    return this.add({ id, exchange, market, symbol, priceScale: 0, quantityScale: 0, status: 'RECORDED' }).index
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
