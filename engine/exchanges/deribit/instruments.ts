import { Fault } from '../../base/fault.ts'
import { type ExactJson, type ExactRecord, listOf, parseExact, recordOf, textOf } from '../../scan/exact-json.ts'
import { type Instrument, type InstrumentKind, instrumentId } from '../exchange.ts'
import { type DeribitMarket, EXCHANGE } from './endpoints.ts'
import { fractionDigits } from './numbers.ts'

/**
 * "public/get_instruments" and "public/get_index_price_names" → instruments. Amounts of inverse perpetuals and futures are
 * in USD, all others in the base currency: `contract_size` is only the step that orders have.
 */
const DEFAULT_DIGITS = 8
/** Index prices are no mantissas of ours: their rows are exact decimals. */
const INDEX_DIGITS = 2

export function readInstruments(market: DeribitMarket, body: string): Instrument[] {
  const bytes = new TextEncoder().encode(body)
  const entries = listOf(recordOf(parseExact(bytes, 0, bytes.length))?.['result'])
  if (entries === undefined)
    throw new Fault(
      'BAD_ANSWER',
      `instruments of ${EXCHANGE}.${market.name}: no list in the answer: ${body.slice(0, 80)}`,
    )
  return market.kind === '' ? entries.map(readIndex) : entries.flatMap((entry) => readEntry(market, entry))
}

/** Names, or with more about each of them. */
function readIndex(entry: ExactJson): Instrument {
  const symbol = typeof entry === 'string' ? entry : textOf(recordOf(entry)?.['name'])
  if (symbol === null) throw new Fault('BAD_ANSWER', `instruments of ${EXCHANGE}.index: an entry has no name`)
  const [base, quote] = symbol.toUpperCase().split('_')
  return {
    id: instrumentId(EXCHANGE, 'index', symbol),
    exchange: EXCHANGE,
    market: 'index',
    symbol,
    priceScale: INDEX_DIGITS,
    quantityScale: 0,
    status: 'open',
    isTrading: true,
    kind: 'index',
    ...(base === undefined ? {} : { base }),
    ...(quote === undefined ? {} : { quote }),
  }
}

function readEntry(market: DeribitMarket, value: ExactJson): Instrument[] {
  const entry = recordOf(value) ?? {}
  const symbol = textOf(entry['instrument_name'])
  if (symbol === null)
    throw new Fault('BAD_ANSWER', `instruments of ${EXCHANGE}.${market.name}: an entry has no instrument_name`)
  const kind = kindOf(entry)
  if (kind !== market.name) return [] // perpetuals come with the futures; combos are in no market
  const state = textOf(entry['state'])
  const isActive = entry['is_active'] === true
  return [
    {
      id: instrumentId(EXCHANGE, market.name, symbol),
      exchange: EXCHANGE,
      market: market.name,
      symbol,
      priceScale: digits(prices(entry)),
      quantityScale: digits([entry['min_trade_amount'], entry['contract_size']]),
      status: state ?? (isActive ? 'open' : 'inactive'),
      isTrading: isActive && (state === null || state === 'open'),
      kind,
      ...worth(entry, kind),
      ...terms(entry, kind),
    },
  ]
}

function kindOf(entry: ExactRecord): InstrumentKind {
  switch (entry['kind']) {
    case 'future':
      return entry['settlement_period'] === 'perpetual' ? 'perpetual' : 'future'
    case 'option':
      return 'option'
    case 'spot':
      return 'spot'
    default:
      return 'other'
  }
}

function worth(entry: ExactRecord, kind: InstrumentKind): Partial<Instrument> {
  const base = textOf(entry['base_currency'])
  const quote = textOf(entry['quote_currency'])
  const settle = textOf(entry['settlement_currency'])
  const type = textOf(entry['instrument_type'])
  const isFuture = kind === 'perpetual' || kind === 'future'
  // lists of before 2022 had no instrument_type: then all futures were inverse
  const isInverse = isFuture && (type === null ? quote === 'USD' : type === 'reversed')
  return {
    ...(base === null ? {} : { base }),
    ...(quote === null ? {} : { quote }),
    ...(settle === null ? {} : { settle }),
    ...(isInverse && quote !== null ? { contractSize: '1', contractUnit: quote } : {}),
  }
}

function terms(entry: ExactRecord, kind: InstrumentKind): Partial<Instrument> {
  const expiry = textOf(entry['expiration_timestamp'])
  const strike = textOf(entry['strike'])
  const optionType = entry['option_type']
  const tickSize = textOf(entry['tick_size'])
  const lotSize = textOf(entry['min_trade_amount'])
  const underlying = textOf(entry['price_index'])
  // perpetuals and spot "expire" in the year 3000
  const expires = (kind === 'future' || kind === 'option') && expiry !== null && /^\d{1,15}$/.test(expiry)
  return {
    ...(expires ? { expiryMs: Number(expiry) } : {}),
    ...(kind === 'option' && strike !== null ? { strike } : {}),
    ...(optionType === 'call' || optionType === 'put' ? { optionType } : {}),
    ...(tickSize === null ? {} : { tickSize }),
    ...(lotSize === null ? {} : { lotSize }),
    ...(underlying === null ? {} : { underlying }),
  }
}

/** Block trades are finer than the book, and ticks grow with the price: the finest of them. */
function prices(entry: ExactRecord): readonly (ExactJson | undefined)[] {
  const steps = listOf(entry['tick_size_steps']) ?? []
  return [entry['tick_size'], entry['block_trade_tick_size'], ...steps.map((step) => recordOf(step)?.['tick_size'])]
}

function digits(sizes: readonly (ExactJson | undefined)[]): number {
  const known = sizes.map((size) => fractionDigits(textOf(size) ?? '')).filter((count) => count !== undefined)
  return known.length === 0 ? DEFAULT_DIGITS : Math.max(...known)
}
