/**
 * Amounts in the base currency. The tables keep the venue's unit; a contract's worth stands in `instruments`, so a view
 * joins the newest row of each instrument:
 *
 *   contract_size is NULL          quantities are in the base currency already
 *   contract_unit is the base      base_quantity = quantity × contract_size                (linear: OKX BTC-USDT-SWAP)
 *   contract_unit is another       base_quantity = quantity × contract_size / price        (inverse: BTCUSD_PERP, BTC-PERPETUAL)
 *   the instrument is unknown      base_quantity is NULL: nothing is guessed
 *
 * Products are exact to 18 digits after the point, quotients are cut there.
 */
import { createHash } from 'node:crypto'
import { SCALE_MAX, type Table } from './schema-columns.ts'
import { tableNamed } from './schema.ts'
import { quotedName, quotedText, storedColumns } from './tables.ts'

export interface StoredView {
  readonly name: string
  /** tells one definition from another; the server keeps it as the view's comment */
  readonly comment: string
  readonly create: string
}

interface BaseAmount {
  /** of the view, in the base currency */
  readonly name: string
  readonly quantity: string
  readonly price: string
}

/** Tables with amounts, and what is worth knowing of them in base currency. */
const BASE_AMOUNTS: readonly { readonly table: Table; readonly amounts: readonly BaseAmount[] }[] = [
  { table: tableNamed('trades'), amounts: [{ name: 'base_quantity', quantity: 'quantity', price: 'price' }] },
  {
    table: tableNamed('book_tickers'),
    amounts: [
      { name: 'bid_base_quantity', quantity: 'bid_quantity', price: 'bid_price' },
      { name: 'ask_base_quantity', quantity: 'ask_quantity', price: 'ask_price' },
    ],
  },
  { table: tableNamed('liquidations'), amounts: [{ name: 'base_quantity', quantity: 'quantity', price: 'price' }] },
]

const DEFINITION_DIGITS = 12

/** Every view of the product; they need the tables. */
export function storedViews(database: string): readonly StoredView[] {
  return BASE_AMOUNTS.map(({ table, amounts }) => {
    const name = `${table.name}_in_base`
    const select = selectInBase(table, amounts, database)
    const definition = createHash('sha256').update(select).digest('hex').slice(0, DEFINITION_DIGITS)
    const comment = `${table.comment}; amounts in base currency too (definition ${definition})`
    const target = `${quotedName(database)}.${quotedName(name)}`
    return { name, comment, create: `CREATE OR REPLACE VIEW ${target} AS\n${select}\nCOMMENT ${quotedText(comment)}` }
  })
}

function selectInBase(table: Table, amounts: readonly BaseAmount[], database: string): string {
  const own = [...storedColumns(table), ...table.aliases].map(({ name }) => `fact.${name} AS ${name}`)
  const of = (name: string): string => `${quotedName(database)}.${quotedName(name)}`
  return [
    'SELECT',
    `  ${own.join(', ')},`,
    '  instrument.facts.1 AS base, instrument.facts.2 AS quote,',
    '  instrument.facts.3 AS contract_size, instrument.facts.4 AS contract_unit,',
    `  ${amounts.map((amount) => `${inBase(amount)} AS ${amount.name}`).join(',\n  ')}`,
    `FROM ${of(table.name)} AS fact`,
    'LEFT JOIN',
    '(',
    '  SELECT exchange, market, symbol, 1 AS is_known,',
    '    argMax(tuple(base, quote, contract_size, contract_unit), received_ns) AS facts',
    `  FROM ${of('instruments')} GROUP BY exchange, market, symbol`,
    ') AS instrument USING (exchange, market, symbol)',
  ].join('\n')
}

function inBase({ quantity, price }: BaseAmount): string {
  const amount = `toDecimal256(fact.${quantity}, ${SCALE_MAX})`
  const worth = `${amount} * toDecimal256(assumeNotNull(instrument.facts.3), ${SCALE_MAX})`
  const hasPrice = `ifNull(fact.${price}, 0) != 0`
  // the divisor is computed for every row, chosen or not
  const divisor = `toDecimal256(if(${hasPrice}, assumeNotNull(fact.${price}), 1), ${SCALE_MAX})`
  return [
    'multiIf(',
    'instrument.is_known = 0, NULL, ',
    `isNull(instrument.facts.3), ${amount}, `,
    `instrument.facts.4 = instrument.facts.1, toDecimal256(${worth}, ${SCALE_MAX}), `,
    `${hasPrice}, divideDecimal(${worth}, ${divisor}, ${SCALE_MAX}), `,
    'NULL)',
  ].join('')
}
