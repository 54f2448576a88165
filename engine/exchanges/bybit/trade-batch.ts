import { LEVELS_MAX, type TradeEvent } from '../../record/emit.ts'
import { asciiText } from '../../scan/json.ts'
import type { WordScanner } from '../../scan/words.ts'

const SAFE_DIGITS_MAX = 16

/** The trades of one frame, until all of it was read. The venue puts up to 1,024 in one ("Public Trade"). */
export class TradeBatch {
  count = 0
  tradeMs = new Float64Array(64)
  prices = new Float64Array(64)
  quantities = new Float64Array(64)
  sides = new Uint8Array(64)
  idOffsets = new Int32Array(64)
  idEnds = new Int32Array(64)

  /** @returns false when a frame may have no more. */
  tryGrow(): boolean {
    const length = this.tradeMs.length * 2
    if (length > LEVELS_MAX) return false
    this.tradeMs = grown(this.tradeMs, new Float64Array(length))
    this.prices = grown(this.prices, new Float64Array(length))
    this.quantities = grown(this.quantities, new Float64Array(length))
    this.sides = grown(this.sides, new Uint8Array(length))
    this.idOffsets = grown(this.idOffsets, new Int32Array(length))
    this.idEnds = grown(this.idEnds, new Int32Array(length))
    return true
  }

  /** The id of a trade from its bytes. */
  setId(trade: TradeEvent, index: number, { view, bytes }: WordScanner): void {
    const offset = this.idOffsets[index] as number
    const end = this.idEnds[index] as number
    if (end - offset <= SAFE_DIGITS_MAX) return setTradeId(trade, asciiText(bytes, offset, end))
    trade.tradeId = 0
    trade.firstTradeId = 0
    trade.lastTradeId = 0
    trade.idText.copy(view, offset, end)
  }
}

/** Derivatives have UUIDs, spot numbers of 19 digits: an id is a number only where it is one below 2^53. */
export function setTradeId(trade: TradeEvent, id: string): void {
  const number = id.length <= SAFE_DIGITS_MAX && /^[1-9]\d*$/.test(id) ? Number(id) : 0
  const isNumber = number > 0 && Number.isSafeInteger(number)
  trade.tradeId = isNumber ? number : 0
  trade.firstTradeId = trade.tradeId
  trade.lastTradeId = trade.tradeId
  trade.venueTradeId = isNumber ? '' : id
}

function grown<Values extends Float64Array | Int32Array | Uint8Array>(from: Values, to: Values): Values {
  to.set(from)
  return to
}
