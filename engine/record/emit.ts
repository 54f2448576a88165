import { ShortText } from '../scan/short-text.ts'
import type { KindTableName } from './schema-columns.ts'
import type { KindRow } from './schema-kinds.ts'

/**
 * What a parser hands over: one reusable record a kind of event, filled in place. Passing doubles as arguments would
 * box each of them; at 1,000,000 events/s that is 100 MB/s of garbage.
 */

/** Levels a side of one event; Binance snapshots have at most 5,000. Bounds the scratch and a block's longest row. */
export const LEVELS_MAX = 8192

/** No int32: a venue's checksum may be 0, though those that send nothing but 0 (OKX since 2026) mean none. */
export const NO_CHECKSUM = 4294967296

/** The venue has no unbroken numbering of its trades. */
export const NO_SEQ = -1

/** A change of a book, or a whole one (a snapshot): mantissas at the scales of the instrument. */
export class DepthEvent {
  instrument = 0
  /** The whole book: replaces what was there. Of a venue whose books start in the stream (`SyncRules.anchor`). */
  isSnapshot = false
  /** What the venue says its book sums to, int32; NO_CHECKSUM where it says nothing. */
  checksum = NO_CHECKSUM
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
  /** The venue's id, 0 where it is no number below 2^53: `idText` has it then. */
  tradeId = 0
  firstTradeId = 0
  lastTradeId = 0
  /** First and last number of this trade in the venue's unbroken numbering of this stream; a jump is a gap. */
  firstSeq = NO_SEQ
  lastSeq = NO_SEQ
  readonly #idText = new ShortText()
  price = 0
  quantity = 0
  /** A value of SIDES, of the taker. */
  side = 0
  /** The id counts for continuity, but this is no public match (insurance fund, ADL): no row. */
  isFiltered = false
  /** A value of TRADE_LIQUIDATIONS. */
  liquidation = 0

  /** The venue's id where it is no number; else empty. */
  get idText(): ShortText {
    return this.#idText
  }

  /** `idText` as a string, for what is not hot. */
  get venueTradeId(): string {
    return this.#idText.text
  }

  set venueTradeId(id: string) {
    this.#idText.text = id
  }
}

export class TickerEvent {
  instrument = 0
  eventMs = 0
  transactionMs = 0
  /** Rises with every change of the book; 0 where the venue sends none: then the times tell. */
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
  /**
   * Instrument of a symbol as text, known or newly learned, or −1. For rare frames.
   * @param market where the frame tells it and the symbol does not: an index of OKX is spelt as a spot pair
   */
  instrumentOf(symbol: string, market?: string): number
  /** A row of a kind that is neither trade nor book. @returns why it was refused, or ''. */
  row<Name extends KindTableName>(table: Name, instrument: number, row: KindRow<Name>): '' | RejectReason
}

export type TradeChannel = 'trades' | 'agg_trades'

/** Why a frame gave no event although it was understood. */
export const IGNORE_REASONS = [
  'control',
  'kline',
  'rolling_ticker',
  'other_event',
  'filtered',
  'keep_alive',
  'open_kline', // only closed bars become rows
  'unchanged', // nothing in it that a row would say anew
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

const REJECTIONS: ReadonlySet<Outcome> = new Set(REJECT_REASONS)

/** Whether the frame could not be read; else its event was handed over, or nobody wants it. */
export function isRejection(outcome: Outcome): outcome is RejectReason {
  return REJECTIONS.has(outcome)
}

export interface FrameParser {
  parse(bytes: Uint8Array, offset: number, length: number): Outcome
  /** The body of a REST depth answer into `into`; the symbol is looked at by the caller. */
  parseSnapshot(bytes: Uint8Array, offset: number, length: number, instrument: number, into: DepthEvent): Outcome
  /** The symbol that a REST depth body names itself, or ''. */
  snapshotSymbol(bytes: Uint8Array, offset: number, length: number): string
  /** The body of a poll (`PollRule.name`) of this instrument. */
  parsePoll(name: string, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome
  /** The body of a `tradesRequest`: calls `onTrade` for each trade, oldest first. */
  parseTrades(channel: TradeChannel, bytes: Uint8Array, offset: number, length: number, instrument: number): Outcome
  /** After a rejection: the instrument the frame spoke of, or −1, and the channel (a value of GAP_CHANNELS, 0 unknown). */
  readonly blamed: { instrument: number; channel: number }
}
