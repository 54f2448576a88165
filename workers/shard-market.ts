import { assert } from '../engine/base/assert.ts'
import type { Cadence } from '../engine/book/cadence.ts'
import type { GapLog } from '../engine/book/gap-log.ts'
import { JUMPED, LATE, REPEATED } from '../engine/book/trade-line.ts'
import type { ReadRules } from '../engine/exchanges/exchange.ts'
import { DepthEvent, NO_SEQ, TickerEvent, TradeEvent } from '../engine/record/emit.ts'
import type { Emit, FrameParser, RejectReason } from '../engine/record/emit.ts'
import type { KindRow } from '../engine/record/schema-kinds.ts'
import type { KindTableName } from '../engine/record/schema-columns.ts'
import { GAP_CAUSES, GAP_CHANNELS, GAP_STATUSES, TRADE_ORIGINS, TRADE_STREAMS } from '../engine/record/schema.ts'
import { ShortText } from '../engine/scan/short-text.ts'
import type { SymbolTable } from '../engine/scan/symbols.ts'
import type { ShardCounts } from './shard-counters.ts'
import type { ExchangeRecord, InstrumentList, InstrumentSlot } from './shard-instruments.ts'
import type { TradeRepairs } from './shard-repairs.ts'

export interface Carrier {
  readonly leg: number
  /** a number that is its own */
  readonly key: number
}

/** Of frames that no connection brought: recordings. */
export const NO_CARRIER: Carrier = { leg: 0, key: 0 }

/** What all markets of a shard share. */
export interface MarketSurroundings {
  readonly list: InstrumentList
  readonly counts: ShardCounts
  readonly repairs: TradeRepairs
  /** Symbols that nobody announced are registered as they come (replay). */
  readonly learnUnknown: boolean
  /** Who delivers how often. */
  readonly cadence: Cadence
  /** The connection whose frame is in hand. */
  carrier: Carrier
  /** A copy of an event was here already, brought by the connection in hand. */
  onDuplicate(): void
}

const KIND_CHANNELS: Readonly<Partial<Record<KindTableName, number>>> = GAP_CHANNELS

/**
 * One market of a shard, as its parser sees it: the events of its frames come in here and become books and rows. A market
 * without a name is a whole exchange: the recordings of some mix their markets on one connection.
 */
export class ShardMarket implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales: Uint8Array
  readonly quantityScales: Uint8Array
  readonly parser: FrameParser
  readonly record: ExchangeRecord
  readonly name: string
  readonly exchange: string
  readonly #rules: ReadRules
  readonly #around: MarketSurroundings
  readonly #table: SymbolTable
  /** Of the trade in hand, where its id is a number. */
  readonly #idName = new ShortText()
  /** What parses now was asked of REST, not sent by the stream. */
  #isRepair = false

  constructor(rules: ReadRules, name: string, record: ExchangeRecord, around: MarketSurroundings) {
    this.exchange = rules.exchange
    this.name = name
    this.record = record
    this.priceScales = around.list.scales.prices
    this.quantityScales = around.list.scales.quantities
    this.#rules = rules
    this.#around = around
    this.#table = around.list.table(rules.exchange, name)
    this.parser = rules.parser(this, name)
  }

  // ---- what the parser asks

  get symbols(): object {
    return this.#table
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.#table.find(bytes, offset, end)
  }

  learn(bytes: Uint8Array, offset: number, end: number): number {
    if (!this.#around.learnUnknown) return -1
    return this.#around.list.learn(this.#rules, this.name, bytes, offset, end)
  }

  instrumentOf(symbol: string, market = this.name): number {
    const { list, learnUnknown } = this.#around
    const bytes = new TextEncoder().encode(symbol)
    const table = market === this.name ? this.#table : list.table(this.exchange, market)
    const known = table.find(bytes, 0, bytes.length)
    return known >= 0 || !learnUnknown ? known : list.learn(this.#rules, market, bytes, 0, bytes.length)
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    this.#around.counts.add('scale_widenings', 1)
    return this.#around.list.widen(instrument, kind, scale)
  }

  // ---- what the parser tells

  onDepth(): void {
    this.#around.cadence.note(this.depth.instrument, GAP_CHANNELS.book, this.#around.carrier.leg)
    this.#slot(this.depth.instrument).keeper.receive(this.depth)
  }

  onTrade(): void {
    const event = this.trade
    const { recorder } = this.record
    this.#around.cadence.note(event.instrument, GAP_CHANNELS.trades, this.#around.carrier.leg)
    const slot = this.#slot(event.instrument)
    const isAgg = event.stream === TRADE_STREAMS.agg_trade
    const line = isAgg ? slot.aggTrades : slot.trades
    const { firstSeq, lastSeq } = event
    if (this.#isRepair) {
      if (line.take(firstSeq, lastSeq) === REPEATED) return
      return this.#lateTrade(slot, TRADE_ORIGINS.repaired)
    }
    const verdict = firstSeq === NO_SEQ ? line.seeNamed(this.#nameOf(event)) : line.see(firstSeq, lastSeq)
    if (verdict === REPEATED) return this.#around.onDuplicate()
    if (verdict === LATE) return this.#lateTrade(slot, TRADE_ORIGINS.stream)
    this.#continueTrades(slot, verdict === JUMPED)
    line.lastHi = recorder.hi
    line.lastLo = recorder.lo
    this.#keepTrade(slot, TRADE_ORIGINS.stream)
  }

  /** A trade that was missing: another connection brought it, or REST. */
  #lateTrade(slot: InstrumentSlot, origin: number): void {
    const { stream, firstSeq, lastSeq } = this.trade
    const channel = stream === TRADE_STREAMS.agg_trade ? 'agg_trades' : 'trades'
    this.#keepTrade(slot, origin)
    this.#around.repairs.fill(slot, channel, firstSeq, lastSeq)
  }

  #keepTrade(slot: InstrumentSlot, origin: number): void {
    const event = this.trade
    if (event.isFiltered) return
    this.#around.counts.trades++
    slot.totals.add(event.tradeId, event.price, event.quantity)
    this.record.recorder.trade(event, origin)
  }

  onTicker(): void {
    const event = this.ticker
    const { gaps, recorder } = this.record
    this.#around.cadence.note(event.instrument, GAP_CHANNELS.book_tickers, this.#around.carrier.leg)
    const slot = this.#slot(event.instrument)
    const { updateId, eventMs, transactionMs } = event
    const ms = transactionMs === 0 ? eventMs : transactionMs
    const isNew =
      updateId === 0 ? slot.timedTickers.see(event, this.#around.carrier.key) : slot.tickers.see(updateId, ms)
    if (!isNew) return this.#around.onDuplicate()
    if (gaps.isOpen(event.instrument, GAP_CHANNELS.book_tickers))
      gaps.close(event.instrument, GAP_CHANNELS.book_tickers, event.updateId)
    slot.tickerCount++
    this.#around.counts.tickers++
    recorder.ticker(event)
  }

  row<Name extends KindTableName>(table: Name, instrument: number, row: KindRow<Name>): '' | RejectReason {
    const { gaps, recorder } = this.record
    const slot = this.#slot(instrument)
    const isCopy = slot.isCopy(table, row)
    const refusal = isCopy ? '' : recorder.row(table, instrument, row)
    if (refusal !== '') return refusal
    const channel = KIND_CHANNELS[table]
    if (channel !== undefined) {
      this.#around.cadence.note(instrument, channel, this.#around.carrier.leg)
      if (gaps.isOpen(instrument, channel)) gaps.close(instrument, channel, 0)
    }
    if (isCopy) {
      this.#around.onDuplicate()
      return ''
    }
    slot.kindRows.set(table, (slot.kindRows.get(table) ?? 0) + 1)
    this.#around.counts.add('kind_rows', 1)
    return ''
  }

  /** The answer to a question for missing trades. */
  parseTrades(channel: 'trades' | 'agg_trades', bytes: Uint8Array, offset: number, length: number, instrument: number) {
    assert(!this.#isRepair, 'a repair within a repair')
    this.#isRepair = true
    try {
      return this.parser.parseTrades(channel, bytes, offset, length, instrument)
    } finally {
      this.#isRepair = false
    }
  }

  /** How a trade of a venue without numbering is told from others. */
  #nameOf({ idText, tradeId }: TradeEvent): ShortText {
    if (idText.length > 0) return idText
    this.#idName.text = String(tradeId)
    return this.#idName
  }

  #slot(instrument: number): InstrumentSlot {
    return this.#around.list.slots[instrument] as InstrumentSlot
  }

  /** The stream goes on: a gap that was open is closed, numbers that were skipped are a hole. */
  #continueTrades(slot: InstrumentSlot, isJump: boolean): void {
    const { gaps } = this.record
    const { trade } = this
    if (gaps.isOpen(slot.index, GAP_CHANNELS.trades)) {
      const gap = gaps.close(slot.index, GAP_CHANNELS.trades, Math.max(0, trade.firstSeq))
      if (gap !== undefined && isJump) this.#missing(slot, gap)
    } else if (isJump) this.#missing(slot, undefined)
  }

  /** Numbers of the venue were skipped. @param gap the one that is written already */
  #missing(slot: InstrumentSlot, gap: ReturnType<GapLog['close']>): void {
    const { recorder } = this.record
    const { trade } = this
    const isAgg = trade.stream === TRADE_STREAMS.agg_trade
    const line = isAgg ? slot.aggTrades : slot.trades
    const firstSeq = line.idBeforeJump + 1
    const lastSeq = trade.firstSeq - 1
    const { hi, lo } = recorder
    this.#around.repairs.add(
      {
        slot,
        channel: isAgg ? 'agg_trades' : 'trades',
        firstSeq,
        lastSeq,
        missingCount: lastSeq - firstSeq + 1,
        isWritten: gap !== undefined,
        hi,
        lo,
        gap: gap ?? {
          instrument: slot.index,
          channel: GAP_CHANNELS.trades,
          cause: GAP_CAUSES.sequence,
          status: GAP_STATUSES.closed,
          fromHi: line.lastHi,
          fromLo: line.lastLo,
          toHi: hi,
          toLo: lo,
          fromSeq: line.idBeforeJump,
          toSeq: trade.firstSeq,
          lostCount: lastSeq - firstSeq + 1,
          detail: isAgg ? 'agg_trade' : 'trade',
        },
      },
      gap === undefined && (slot.coverage[GAP_CHANNELS.trades] as number) > 1,
    )
  }
}
