/**
 * Every table of the product, once. Columns, encoder, decoder, DDL, JetStream streams, subjects and the NDJSON of
 * `replay --rows` are all derived from this file; nothing else names a column.
 *
 * A column has a storage type (what the bytes of a block are) and may have a ClickHouse type that reads the same bytes
 * (an Int64 of nanoseconds is a DateTime64(9)). Prices and quantities are integers: value = mantissa / 10^scale.
 *
 * For plain SQL each of them has an ALIAS, computed when read: Decimal(76, 18), so that price * quantity is an exact
 * Decimal(76, 36) whose sum has room for 10^40. Measured (4 M rows, 1 thread, chDB 26.7, 2 noisy cores):
 *
 *   stored form of the price         B/row (price, quantity)   max(price)   sum(price * quantity)
 *   Int64 mantissa + this alias      1.05   1.45               119 ms       153 ms
 *   the same, table of powers        1.05   1.45               108–157      180–187
 *   the same as Decimal(38, 18)      1.05   1.45                85          wrong without a word: the product overflows
 *   Decimal(38, 18) stored           4.30   3.22                62          150 (widened by hand; wrong if not)
 *   Decimal(18, 8) stored            1.60   3.17                 –          error: overflow
 *   Float64 stored (Gorilla)         4.70   2.82                 –           99 (last digits wrong)
 *
 * OHLCV a minute of all rows: 377 ms with the alias, 303 ms with stored decimals.
 */

import type { Alias, Column, Table, TableName } from './schema-columns.ts'
import {
  count, exactAlias, exactListAlias, id, price, prices, quantities, quantity, SCALE_MAX, scale, text, time, word,
} from './schema-columns.ts'
import { KIND_TABLES } from './schema-kinds.ts'

export const TRADE_STREAMS = { trade: 1, agg_trade: 2 } as const
/** How a trade row came here. */
export const TRADE_ORIGINS = { stream: 0, repaired: 1 } as const
/** Who of a trade was liquidated, where the venue says it (Deribit). */
export const TRADE_LIQUIDATIONS = { none: 0, maker: 1, taker: 2, both: 3 } as const
export const SIDES = { buy: 1, sell: 2 } as const
/** One word a state, everywhere: code, metric label, row, log, README. */
export const BOOK_STATES = { INIT: 0, BUFFERING: 1, LIVE: 2, GAP: 3, RESYNC: 4, STALE: 5, PRE_OPEN: 6, DELISTED: 7 } as const
export type BookState = keyof typeof BOOK_STATES
export const SNAPSHOT_KINDS = { periodic: 1, anchor: 2, checkpoint: 3 } as const
/** Why data may be missing. */
export const GAP_CAUSES = {
  disconnect: 1, // the socket closed
  sequence: 2, // the venue's chain broke
  loss: 3, // our ring was full (back-pressure reached the socket and did not suffice)
  worker_restart: 4, // a book worker crashed or hung
  rejected: 5, // a frame of this instrument could not be read
  collector_down: 6, // the process was not running
  overflow: 7, // a buffer of ours (frames awaiting a snapshot) was full
  silent: 8, // subscribed, connected, but nothing came
  crossed: 9, // best bid >= best ask and it stayed
  reset: 10, // the venue started its book anew
  checksum: 11, // the book does not sum to what the venue says
  spool_corrupt: 12, // blocks that were accepted are damaged on the disk of the collector
} as const
export type GapCause = keyof typeof GAP_CAUSES
export const GAP_CHANNELS = {
  book: 1, trades: 2, book_tickers: 3, klines: 4, tickers: 5, mark_prices: 6, index_prices: 7, funding_rates: 8,
  open_interests: 9, liquidations: 10, long_short_ratios: 11, volatility_indices: 12,
} as const
export type GapChannel = keyof typeof GAP_CHANNELS
export const GAP_STATUSES = { open: 1, closed: 2, repaired: 3 } as const

const LEVEL_ALIASES: readonly Alias[] = [
  exactListAlias('bid_prices', 'bid_price_mantissas', 'price_scale'),
  exactListAlias('bid_quantities', 'bid_quantity_mantissas', 'quantity_scale'),
  exactListAlias('ask_prices', 'ask_price_mantissas', 'price_scale'),
  exactListAlias('ask_quantities', 'ask_quantity_mantissas', 'quantity_scale'),
]

const PRICE_SCALE = scale('price_scale', 'price = mantissa / 10^price_scale')
const QUANTITY_SCALE = scale('quantity_scale', 'quantity = mantissa / 10^quantity_scale')

/**
 * Every fact row starts with these. `instrument` is an index into the block's list of instruments
 * (`{exchange}.{market}.{symbol}`); the store turns it into the three LowCardinality columns exchange, market, symbol.
 */
export const ROW_HEAD: readonly Column[] = [
  { name: 'instrument', type: 'UInt16', meaning: 'plain', codec: 'ZSTD(1)', comment: 'index into the instruments of the block' },
  time('received_ns', 'when the bytes left the socket, on this machine'),
]

/** Columns that the store adds to every fact row from the head of its block. */
export const ROW_IDENTITY = [
  { name: 'producer', clickhouse: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: 'which collector' },
  { name: 'epoch', clickhouse: 'UInt64', codec: 'ZSTD(1)', comment: 'which boot of that collector' },
  { name: 'block_seq', clickhouse: 'UInt64', codec: 'Delta(8), ZSTD(1)', comment: 'which block of that boot' },
  { name: 'row_in_block', clickhouse: 'UInt32', codec: 'Delta(4), ZSTD(1)', comment: 'which row of that block' },
] as const

/**
 * Columns of `blocks`, the ledger: one row a block, written by the store with the block's rows. It is no block itself, so
 * its columns are given as ClickHouse has them.
 */
export const BLOCK_LEDGER = [
  ...ROW_IDENTITY.slice(0, 3),
  { name: 'table', clickhouse: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: 'which fact table' },
  { name: 'layout', clickhouse: 'UInt16', codec: 'ZSTD(1)', comment: 'version of its layout in the block' },
  { name: 'exchange', clickhouse: 'LowCardinality(String)', codec: 'ZSTD(1)', comment: 'all rows of a block are of one exchange' },
  { name: 'rows', clickhouse: 'UInt32', codec: 'T64, ZSTD(1)', comment: 'rows in the block' },
  { name: 'bytes', clickhouse: 'UInt32', codec: 'T64, ZSTD(1)', comment: 'bytes of the block' },
  { name: 'crc32', clickhouse: 'UInt32', codec: 'ZSTD(1)', comment: 'of those bytes' },
  { name: 'first_received_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'received_ns of its first row' },
  { name: 'last_received_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'received_ns of its last row' },
  { name: 'encoded_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when its book worker had encoded it; 0: not known' },
  { name: 'sealed_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when the sink worker took it from the ring; 0: not known' },
  { name: 'durable_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when the spool had it on disk; 0: not known' },
  { name: 'published_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when it was given to JetStream, or to ClickHouse directly; 0: not known' },
  { name: 'taken_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when the store took it; 0: not known' },
  { name: 'stored_ns', clickhouse: `DateTime64(9, 'UTC')`, codec: 'Delta(8), ZSTD(1)', comment: 'when the store had its rows acknowledged' },
] as const

/** Tables of the hot path; their names and columns are types, too. */
const HOT_TABLES = [
  {
    name: 'trades', version: 2, liveType: 'trade',
    comment: 'Public trades, one row a match (stream trade) or a run of matches of one taker order at one price (agg_trade)',
    columns: [
      time('event_ns', "the venue's time of sending"),
      time('trade_ns', "the venue's time of the match"),
      word('stream', TRADE_STREAMS, 'the id spaces of trade and agg_trade differ'),
      id('trade_id', "the venue's id in this stream; 0 where it is no number below 2^53"),
      id('first_trade_id', 'first match of the run (= trade_id for stream trade)'),
      id('last_trade_id', 'last match of the run (= trade_id for stream trade)'),
      price('price_mantissa', 'price as an integer'),
      quantity('quantity_mantissa', "quantity in the venue's unit as an integer"),
      PRICE_SCALE, QUANTITY_SCALE,
      word('side', SIDES, 'side of the taker'),
      id('seq', "the last match's place in the venue's own unbroken numbering; 0 where it has none"),
      text('venue_trade_id', 'the id as text, where it is no number below 2^53; else empty'),
      word('origin', TRADE_ORIGINS, 'repaired: missed on the stream, fetched afterwards'),
      word('liquidation', TRADE_LIQUIDATIONS, 'who was liquidated, where the venue says it'),
    ],
    aliases: [
      exactAlias('price', 'price_mantissa', 'price_scale'),
      exactAlias('quantity', 'quantity_mantissa', 'quantity_scale'),
      // in the venue's units: for contracts of a fixed worth (Binance COIN-M) it is not money
      { name: 'notional', clickhouse: `Decimal(76, ${2 * SCALE_MAX})`, expression: 'price * quantity' },
    ],
    orderBy: ['trade_ns', 'stream', 'trade_id', 'venue_trade_id'],
  },
  {
    name: 'book_deltas', version: 1, liveType: 'book_delta',
    comment: 'Changes of order books as the venue sent them: absolute quantities, 0 deletes the level',
    columns: [
      time('event_ns', "the venue's time of sending"),
      time('transaction_ns', "the matching engine's time; equal to event_ns where the venue sends none"),
      id('first_seq', 'first update of the event'),
      id('last_seq', 'last update of the event'),
      id('prev_seq', 'last update of the event before, 0 where the venue sends none'),
      count('book_epoch', 'UInt32', 'raised at every anchor: deltas of one epoch with state LIVE continue its anchor'),
      word('state', BOOK_STATES, 'LIVE: part of a proven chain; else not applied to the book'),
      prices('bid_price_mantissas', 'changed bid levels'),
      quantities('bid_quantity_mantissas', 'their new quantities'),
      prices('ask_price_mantissas', 'changed ask levels'),
      quantities('ask_quantity_mantissas', 'their new quantities'),
      PRICE_SCALE, QUANTITY_SCALE,
    ],
    aliases: LEVEL_ALIASES,
    orderBy: ['last_seq', 'first_seq', 'event_ns'], // a venue that starts its book anew uses its numbers again
  },
  {
    name: 'book_snapshots', version: 1, liveType: null, // the book publisher has its own live form
    comment: 'Order books: the top levels every interval (periodic, only when changed), every anchor in full, and checkpoints',
    columns: [
      time('event_ns', "the venue's time of the last event in the book, 0 when it sent none"),
      word('kind', SNAPSHOT_KINDS, 'anchor: what a chain starts from; checkpoint: the book every few minutes; both as far down as it is proven'),
      id('last_seq', 'the book is the fold of everything up to here'),
      count('book_epoch', 'UInt32', 'see book_deltas'),
      count('bid_levels', 'UInt32', 'levels in the whole book'),
      count('ask_levels', 'UInt32', 'levels in the whole book'),
      prices('bid_price_mantissas', 'best first'),
      quantities('bid_quantity_mantissas', ''),
      prices('ask_price_mantissas', 'best first'),
      quantities('ask_quantity_mantissas', ''),
      PRICE_SCALE, QUANTITY_SCALE,
    ],
    aliases: LEVEL_ALIASES,
    orderBy: ['last_seq', 'kind', 'received_ns'],
  },
  {
    name: 'book_tickers', version: 1, liveType: 'book_ticker',
    comment: 'Best bid and ask as the venue sent them',
    columns: [
      time('event_ns', "the venue's time of sending, 0 where it sends none (Binance spot)"),
      time('transaction_ns', "the matching engine's time, 0 where the venue sends none"),
      id('update_id', "the venue's book update id"),
      price('bid_price_mantissa', ''), quantity('bid_quantity_mantissa', ''),
      price('ask_price_mantissa', ''), quantity('ask_quantity_mantissa', ''),
      PRICE_SCALE, QUANTITY_SCALE,
    ],
    aliases: [
      exactAlias('bid_price', 'bid_price_mantissa', 'price_scale'),
      exactAlias('bid_quantity', 'bid_quantity_mantissa', 'quantity_scale'),
      exactAlias('ask_price', 'ask_price_mantissa', 'price_scale'),
      exactAlias('ask_quantity', 'ask_quantity_mantissa', 'quantity_scale'),
    ],
    // Several without an id (Deribit) may have come in one packet, at one received_ns, and the same top may be back in it:
    // only their places tell them apart.
    orderBy: ['update_id', 'received_ns', 'producer', 'epoch', 'block_seq', 'row_in_block'],
  },
  {
    name: 'gaps', version: 1, liveType: 'gap',
    comment: 'Every interval in which something may be missing. Read with FINAL: a closed gap replaces its open row',
    columns: [
      word('channel', GAP_CHANNELS, 'what may be missing'),
      word('cause', GAP_CAUSES, 'why'),
      word('status', GAP_STATUSES, 'closed: the channel delivers again; repaired: what was missing was fetched and is in the table'),
      time('from_ns', 'last proof that nothing was missing, on this machine'),
      time('to_ns', 'first proof that the channel delivers again; 0 while open'),
      id('from_seq', 'last sequence or id before, 0 if unknown'),
      id('to_seq', 'first sequence or id after, 0 while open or if unknown'),
      id('lost_count', 'frames known to be lost, 0 if unknown'),
      text('detail', 'for people'),
    ],
    aliases: [],
    orderBy: ['channel', 'cause', 'from_ns', 'from_seq'], // several in one packet begin at one received_ns
  },
] as const satisfies readonly Table[]

export const TABLES: readonly Table[] = [...HOT_TABLES, ...KIND_TABLES]
/** Every table of blocks, with its columns. */
export type AnyTable = (typeof HOT_TABLES)[number] | (typeof KIND_TABLES)[number]

export function tableNamed(name: TableName): Table {
  const table = TABLES.find((candidate) => candidate.name === name)
  if (table === undefined) throw new Error(`no table ${name} in the schema`)
  return table
}

/** Head and own columns of a block of this table, in the order of the block. */
export function blockColumns(table: Table): readonly Column[] {
  return [...ROW_HEAD, ...table.columns]
}
