import { decimal, text, time, word } from './schema-columns.ts'
import type { Cell, KindTableName, Table } from './schema-columns.ts'

/**
 * The tables of everything that is neither trade nor book: some thousand rows a second at most. Their numbers are exact
 * decimals of any size, NULL where the venue does not say; their rows come from `Emit.row`, typed by this file.
 */

export const KLINE_INTERVALS = {
  '1s': 1, '1m': 2, '3m': 3, '5m': 4, '10m': 5, '15m': 6, '30m': 7, '1h': 8, '2h': 9, '3h': 10, '4h': 11, '6h': 12,
  '8h': 13, '12h': 14, '1d': 15, '2d': 16, '3d': 17, '1w': 18, '1M': 19, '3M': 20,
} as const
export type KlineInterval = keyof typeof KLINE_INTERVALS
/** Side of the order that closed the position: a long is liquidated by a sell. */
export const LIQUIDATION_SIDES = { buy: 1, sell: 2 } as const
export const RATIO_SCOPES = { all_accounts: 1, top_accounts: 2, top_positions: 3 } as const
export const RATIO_PERIODS = {
  '5m': 1, '15m': 2, '30m': 3, '1h': 4, '2h': 5, '4h': 6, '6h': 7, '12h': 8, '1d': 9,
} as const
export const KIND_WORDS = { unknown: 0, spot: 1, perpetual: 2, future: 3, option: 4, index: 5, other: 6 } as const
export const OPTION_TYPES = { none: 0, call: 1, put: 2 } as const
export const TRADING_WORDS = { closed: 0, trading: 1, pre_open: 2 } as const

const event = time('event_ns', "the venue's time of this value, 0 where it sends none")

/** A table whose columns are typed. */
interface KindTable<Name extends KindTableName, Live extends string | null, Columns extends readonly Cell<string, unknown>[]>
  extends Table {
  readonly name: Name
  readonly liveType: Live
  readonly columns: Columns
}

function table<
  const Name extends KindTableName,
  const Live extends string | null,
  const Columns extends readonly Cell<string, unknown>[],
>(
  name: Name,
  liveType: Live,
  comment: string,
  orderBy: readonly (Columns[number]['name'] | 'received_ns')[],
  columns: Columns,
): KindTable<Name, Live, Columns> {
  return { name, version: 1, liveType, comment, columns, aliases: [], orderBy }
}

const KLINES = table('klines', 'kline', 'Closed bars as the venue sent them', ['interval', 'open_ns'], [
  event,
  word('interval', KLINE_INTERVALS, 'length of the bar'),
  time('open_ns', 'begin of the bar'),
  time('close_ns', 'its last instant, as the venue says it; else begin of the next bar'),
  decimal('open', ''), decimal('high', ''), decimal('low', ''), decimal('close', ''),
  decimal('volume', "in the venue's unit of quantity"),
  decimal('base_volume', 'in base currency, where the venue says it apart'),
  decimal('quote_volume', 'in quote currency'),
  decimal('taker_buy_volume', "of it, bought by takers, in the venue's unit"),
  decimal('taker_buy_base_volume', 'the same in base currency, where the venue says it apart'),
  decimal('taker_buy_quote_volume', 'the same in quote currency'),
  decimal('trade_count', ''),
])

const TICKERS = table('tickers', 'ticker', 'Rolling 24 h statistics; of options also greeks and implied volatilities', ['event_ns', 'received_ns'], [
  event,
  decimal('last_price', ''), decimal('last_quantity', ''),
  decimal('open_price', '24 h ago'), decimal('high_price', ''), decimal('low_price', ''),
  decimal('price_change', 'of 24 h'), decimal('price_change_percent', ''), decimal('average_price', 'weighted by volume'),
  decimal('volume', "of 24 h, in the venue's unit of quantity"), decimal('base_volume', 'in base currency, where said apart'),
  decimal('quote_volume', 'in quote currency'),
  decimal('trade_count', 'of 24 h'),
  decimal('bid_price', ''), decimal('bid_quantity', ''), decimal('ask_price', ''), decimal('ask_quantity', ''),
  decimal('settlement_price', ''), decimal('price_min', 'lowest price that orders may have'), decimal('price_max', ''),
  decimal('delta', 'greeks of options'), decimal('gamma', ''), decimal('theta', ''), decimal('vega', ''), decimal('rho', ''),
  decimal('mark_iv', 'implied volatility, as the venue writes it'), decimal('bid_iv', ''), decimal('ask_iv', ''),
  decimal('underlying_price', ''), text('underlying', 'what that is the price of'), decimal('interest_rate', ''),
])

const MARK_PRICES = table('mark_prices', 'mark_price', 'Mark prices', ['event_ns', 'received_ns'], [
  event, decimal('mark_price', ''), decimal('settle_price', 'estimated settlement price'),
  decimal('average_price', 'moving average that the venue computes the mark price with'),
])

const INDEX_PRICES = table('index_prices', 'index_price', 'Index prices', ['event_ns', 'received_ns'], [
  event, decimal('index_price', ''),
])

const FUNDING_RATES = table('funding_rates', 'funding_rate', 'Funding of perpetuals', ['event_ns', 'received_ns'], [
  event,
  decimal('funding_rate', 'of the running period'),
  time('funding_ns', 'when it is paid; 0 where the venue pays continuously'),
  decimal('next_funding_rate', 'predicted for the period after'), time('next_funding_ns', 'end of that period'),
  decimal('funding_rate_8h', 'of the last 8 hours (Deribit)'),
  decimal('settled_rate', 'that was paid last'), decimal('interest_rate', ''), decimal('premium', ''),
  decimal('rate_min', 'bounds'), decimal('rate_max', ''), decimal('interval_hours', ''),
])

const OPEN_INTERESTS = table('open_interests', 'open_interest', 'Open interest', ['event_ns', 'received_ns'], [
  event, decimal('open_interest', "in the venue's unit of quantity"),
  decimal('base_open_interest', 'in base currency'), decimal('quote_open_interest', 'in quote currency or USD'),
])

const LIQUIDATIONS = table('liquidations', 'liquidation', 'Liquidation orders; most venues send a sample', ['event_ns', 'side', 'price', 'quantity', 'venue_id'], [
  event,
  time('liquidation_ns', "the matching engine's time, 0 where the venue sends none"),
  word('side', LIQUIDATION_SIDES, 'of the order: sell closes a long'),
  decimal('price', 'of the order; bankruptcy price where that is what the venue sends'),
  decimal('average_price', 'at which it was filled'),
  decimal('quantity', "in the venue's unit"), decimal('filled_quantity', ''),
  text('status', "the venue's word"), text('venue_id', 'id or other mark that tells two of one instant apart'),
])

const LONG_SHORT_RATIOS = table('long_short_ratios', 'long_short_ratio', 'Accounts or positions long against short', ['scope', 'period', 'event_ns'], [
  event,
  word('scope', RATIO_SCOPES, 'who is counted'), word('period', RATIO_PERIODS, 'over which'),
  decimal('ratio', 'long / short'), decimal('long_share', ''), decimal('short_share', ''),
])

const VOLATILITY_INDICES = table('volatility_indices', 'volatility_index', 'Implied volatility indices', ['event_ns', 'received_ns'], [
  event, decimal('volatility', ''),
])

const INSTRUMENTS = table('instruments', 'instrument', 'What each instrument is; a new row whenever something of it changed', ['received_ns'], [
  event,
  word('kind', KIND_WORDS, ''), text('status', "the venue's word; REMOVED: not collected any more"), word('trading', TRADING_WORDS, 'what that word means'),
  text('base', ''), text('quote', ''), text('settle', 'what profit is paid in'), text('underlying', ''),
  time('expiry_ns', '0: never'), decimal('strike', ''), word('option_type', OPTION_TYPES, ''),
  decimal('contract_size', 'what quantity 1 is worth in contract_unit; NULL: quantities are in base currency'),
  text('contract_unit', ''), decimal('tick_size', ''), decimal('lot_size', ''),
  decimal('price_digits', 'digits after the point'), decimal('quantity_digits', ''),
])

/** Status of an instrument that is not collected any more, though the venue has it. */
export const INSTRUMENT_REMOVED = 'REMOVED'

export const KIND_TABLES = [
  KLINES, TICKERS, MARK_PRICES, INDEX_PRICES, FUNDING_RATES, OPEN_INTERESTS, LIQUIDATIONS, LONG_SHORT_RATIOS,
  VOLATILITY_INDICES, INSTRUMENTS,
] as const

type TableOf<Name extends KindTableName> = Extract<(typeof KIND_TABLES)[number], { name: Name }>
type CellsOf<Columns extends readonly Cell<string, unknown>[]> = {
  [C in Columns[number] as C['name']]?: C extends Cell<string, infer Value> ? Exclude<Value, undefined> : never
}

/** One row of such a table; what is left out is NULL, 0 or empty. `id` columns and times are bigint, decimals text. */
export type KindRow<Name extends KindTableName> = CellsOf<TableOf<Name>['columns']>
