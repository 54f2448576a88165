/**
 * `import … from 'marketprism/client'`: what reads data of MarketPrism, without a part of its servers.
 *
 *   decodeBlock     a message of the JetStream stream MARKETPRISM_BLOCKS → columns as typed arrays, exact rows
 *   decodeLive      a message of a live subject → exact rows
 *   connectStream   /v1/stream of a gateway, over every loss of the connection
 *   StreamBooks     books kept from it, each while it is LIVE
 *   query           REST of a gateway: pages, all rows, books, exports
 */
export {
  type BlockIdentity,
  type BlockValues,
  type DecodedBlock,
  decodeBlock,
  type InstrumentName,
  instrumentName,
  type NamedRow,
  type TableName,
} from './block.ts'
export {
  type AnyRowsMessage,
  decodeLive,
  type HeartbeatMessage,
  type LiveMessage,
  type LiveType,
  type LiveTypeRow,
  type OrderbookMessage,
  type RowsMessage,
} from './live.ts'
export { compareDecimals, type KeptBook, StreamBooks } from './books.ts'
export type {
  AnyStreamRows,
  BookResetMessage,
  BookSnapshotMessage,
  BookUpdateMessage,
  ConnectionMessage,
  LostMessage,
  StreamMessage,
  StreamRows,
} from './messages.ts'
export {
  type BookAnswer,
  type Candle,
  type CandleParameters,
  type ExportParameters,
  type Page,
  type Parameters,
  type PastBook,
  type Query,
  QueryError,
  type QueryOptions,
  query,
  type RangeParameters,
  type SeriesName,
  type SeriesRow,
} from './rest.ts'
export { connectStream, type MarketStream, type StreamOptions, StreamRefusal, type StreamSocket } from './stream.ts'
export type { Level, TableRow } from '../record/rows.ts'
export type { BookState, GapCause, GapChannel } from '../record/schema.ts'
import type { TableRow } from '../record/rows.ts'

export type TradeRow = TableRow<'trades'>
export type BookDeltaRow = TableRow<'book_deltas'>
export type BookSnapshotRow = TableRow<'book_snapshots'>
export type BookTickerRow = TableRow<'book_tickers'>
export type GapRow = TableRow<'gaps'>
export type KlineRow = TableRow<'klines'>
export type TickerRow = TableRow<'tickers'>
export type MarkPriceRow = TableRow<'mark_prices'>
export type IndexPriceRow = TableRow<'index_prices'>
export type FundingRateRow = TableRow<'funding_rates'>
export type OpenInterestRow = TableRow<'open_interests'>
export type LiquidationRow = TableRow<'liquidations'>
export type LongShortRatioRow = TableRow<'long_short_ratios'>
export type VolatilityIndexRow = TableRow<'volatility_indices'>
export type InstrumentRow = TableRow<'instruments'>
