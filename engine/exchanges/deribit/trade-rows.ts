import type { Emit } from '../../record/emit.ts'
import { TRADE_STREAMS } from '../../record/schema.ts'

/** One trade as it was read, before anything of its frame is emitted. */
export interface TradeRow {
  instrument: number
  timeMs: number
  price: number
  quantity: number
  seq: number
  /** 0 where `venueTradeId` has it */
  tradeId: number
  venueTradeId: string
  side: number
  /** a value of TRADE_LIQUIDATIONS */
  liquidation: number
}

/** The trades of one frame: all are read before the first is handed over, so a frame gives all of them or none. */
export class TradeRows {
  count = 0
  readonly #rows: TradeRow[] = []

  clear(): void {
    this.count = 0
  }

  /** The next row, to be filled; rows are used again. */
  next(): TradeRow {
    if (this.count === this.#rows.length) this.#rows.push(emptyRow())
    return this.#rows[this.count++] as TradeRow
  }

  at(index: number): TradeRow {
    return this.#rows[index] as TradeRow
  }

  emit(index: number, emit: Emit): void {
    const row = this.#rows[index] as TradeRow
    const event = emit.trade
    event.instrument = row.instrument
    event.stream = TRADE_STREAMS.trade
    event.eventMs = row.timeMs
    event.tradeMs = row.timeMs
    event.tradeId = row.tradeId
    event.firstTradeId = row.tradeId
    event.lastTradeId = row.tradeId
    event.venueTradeId = row.venueTradeId
    event.firstSeq = row.seq
    event.lastSeq = row.seq
    event.price = row.price
    event.quantity = row.quantity
    event.side = row.side
    event.liquidation = row.liquidation
    event.isFiltered = false
    emit.onTrade()
  }
}

function emptyRow(): TradeRow {
  return {
    instrument: 0,
    timeMs: 0.5,
    price: 0.5,
    quantity: 0.5,
    seq: 0.5,
    tradeId: 0.5,
    venueTradeId: '',
    side: 0,
    liquidation: 0,
  }
}
