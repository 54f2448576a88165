/**
 * What a parser hands over: one reusable record a kind of event, filled in place. Passing doubles as arguments would
 * box each of them; at 1,000,000 events/s that is 100 MB/s of garbage.
 */

/** Levels a side of one event; Binance snapshots have at most 5,000. Bounds the scratch and a block's longest row. */
export const LEVELS_MAX = 8192

/** A change of a book, or a whole one (a REST snapshot): mantissas at the scales of the instrument. */
export class DepthEvent {
  instrument = 0
  eventMs = 0
  transactionMs = 0
  firstSeq = 0
  lastSeq = 0
  prevSeq = 0
  bidCount = 0
  askCount = 0
  bidPrices = new Float64Array(256)
  bidQuantities = new Float64Array(256)
  askPrices = new Float64Array(256)
  askQuantities = new Float64Array(256)

  growBids(): void {
    this.bidPrices = doubled(this.bidPrices)
    this.bidQuantities = doubled(this.bidQuantities)
  }

  growAsks(): void {
    this.askPrices = doubled(this.askPrices)
    this.askQuantities = doubled(this.askQuantities)
  }
}

function doubled(values: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(values.length * 2)
  grown.set(values)
  return grown
}

export class TradeEvent {
  instrument = 0
  /** A value of TRADE_STREAMS. */
  stream = 0
  eventMs = 0
  tradeMs = 0
  tradeId = 0
  firstTradeId = 0
  lastTradeId = 0
  price = 0
  quantity = 0
  /** A value of SIDES, of the taker. */
  side = 0
  /** The id counts for continuity, but this is no public match (insurance fund, ADL): no row. */
  isFiltered = false
}

export class TickerEvent {
  instrument = 0
  eventMs = 0
  transactionMs = 0
  updateId = 0
  bidPrice = 0
  bidQuantity = 0
  askPrice = 0
  askQuantity = 0
}

/** The receiving side of a parser. */
export interface Emit {
  readonly depth: DepthEvent
  readonly trade: TradeEvent
  readonly ticker: TickerEvent
  /** By instrument index. */
  readonly priceScales: Uint8Array
  readonly quantityScales: Uint8Array
  /** What `find` looks in: an answer holds as long as this is the same object. */
  readonly symbols: object
  /** Instrument of the symbol in bytes [offset, end), or −1. */
  find(bytes: Uint8Array, offset: number, end: number): number
  /** As `find`, for a symbol that `find` does not know: may register it. */
  learn(bytes: Uint8Array, offset: number, end: number): number
  /** The instrument needs more digits after the point. @returns false when that is refused. */
  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean
  onDepth(): void
  onTrade(): void
  onTicker(): void
}

/** Why a frame gave no event although it was understood. */
export const IGNORE_REASONS = [
  'control',
  'mark_price',
  'kline',
  'rolling_ticker',
  'force_order',
  'other_event',
  'filtered',
] as const
export type IgnoreReason = (typeof IGNORE_REASONS)[number]

/** Why a frame was refused. */
export const REJECT_REASONS = [
  'empty',
  'truncated',
  'syntax',
  'depth',
  'escape',
  'type',
  'missing_key',
  'duplicate_key',
  'unknown_event',
  'unknown_symbol',
  'number',
  'overflow',
  'precision',
  'levels',
] as const
export type RejectReason = (typeof REJECT_REASONS)[number]

/** What became of one frame; the empty word: its event was handed over. */
export type Outcome = '' | IgnoreReason | RejectReason

export interface FrameParser {
  parse(bytes: Uint8Array, offset: number, length: number): Outcome
  /** The body of a REST depth answer into `into`; the symbol is looked at by the caller. */
  parseSnapshot(bytes: Uint8Array, offset: number, length: number, instrument: number, into: DepthEvent): Outcome
  /** The symbol that a REST depth body names itself, or ''. */
  snapshotSymbol(bytes: Uint8Array, offset: number, length: number): string
  /** After a rejection: the instrument the frame spoke of, or −1, and whether it changed its book, or was a ticker. */
  readonly blamed: { instrument: number; isDepth: boolean; isTicker: boolean }
}
