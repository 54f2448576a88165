/**
 * SELECT lists that give rows as users see them (rows.ts), in four forms of the same values:
 *
 *   text       for JSON and msgpack: times as decimal text
 *   cells      for CSV: the same, lists as JSON
 *   columnar   for Parquet and Arrow: times as Int64 of ns; exact decimals stay text, as no reader keeps 76 digits
 *   plain      for the pages of facts: as the engine itself writes them, which is the same text but for times (`nsText`).
 *              Every function of a list is planned for each question anew: 3 ms for those of trades
 */

import { type PublicColumn, publicColumns } from '../../record/rows.ts'
import type { Table } from '../../record/schema-columns.ts'

export type SelectForm = 'text' | 'cells' | 'columnar' | 'plain'

/** @param of prefix of the columns, e.g. `fact.` */
export function selectList(table: Pick<Table, 'columns'>, form: SelectForm = 'text'): string {
  return publicColumns(table)
    .map((column) => `${expression(column, form)} AS ${column.name}`)
    .join(', ')
}

/**
 * A name of the list hides the column of the same name, and everything behind it (WHERE, ORDER BY) would see text: so the
 * list is applied to rows that were chosen before, under names of their own.
 */
function expression(column: PublicColumn, form: SelectForm): string {
  const from = (name: string) => `fact.${name}`
  switch (column.form) {
    case 'scaled':
      return form === 'plain' ? from(column.name) : `toString(${from(column.name)})`
    case 'levels': {
      const side = column.name.slice(0, -1)
      const pair = '(price, quantity) -> [toString(price), toString(quantity)]'
      const levels = `arrayMap(${pair}, ${from(`${side}_prices`)}, ${from(`${side}_quantities`)})`
      return form === 'cells' ? `toJSONString(${levels})` : levels
    }
    case 'time': {
      if (form === 'plain') return from(column.name)
      const ns = `toUnixTimestamp64Nano(${from(column.name)})`
      return form === 'columnar' ? ns : `toString(${ns})`
    }
    case 'decimal':
    case 'word':
      return form === 'plain' ? from(column.name) : `toString(${from(column.name)})`
    default:
      return from(column.name)
  }
}

/** A time of the form plain, seconds with nine digits behind the point, as text of ns. */
export function nsText(seconds: string): string {
  const digits = seconds.replace('.', '')
  return digits.startsWith('0') ? String(BigInt(digits)) : digits
}
