import type { InstrumentName } from '../engine-link.ts'
import { shown } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'
import type { Store } from '../store.ts'

/** `binance.usdm.BTCUSDT`: a symbol may have dots of its own. @throws HttpFault */
export function instrumentNamed(text: string): InstrumentName {
  const [, exchange, market, symbol] = /^([a-z0-9_]{1,32})\.([a-z0-9_]{1,32})\.(.{1,128})$/u.exec(text) ?? []
  if (exchange === undefined || market === undefined || symbol === undefined)
    throw new HttpFault(400, 'invalid_parameter', `instrument = "${shown(text)}": write exchange.market.symbol`, {
      parameter: 'instrument',
    })
  return { exchange, market, symbol }
}

export const nameOf = ({ exchange, market, symbol }: InstrumentName): string => `${exchange}.${market}.${symbol}`

/** What is collected now: its first rows may be on their way into the store. */
export interface Collecting {
  nameOf(id: string): InstrumentName | undefined
}

/** An empty answer is one only of an instrument that there is. @throws HttpFault */
export async function assertKnown(store: Store, live: Collecting, name: InstrumentName): Promise<void> {
  if (live.nameOf(nameOf(name)) !== undefined) return
  const is = 'exchange = {exchange:String} AND market = {market:String} AND symbol = {symbol:String}'
  const known = await store.rows(
    ['instruments', 'trades']
      .map((table) => `SELECT 1 FROM (SELECT 1 FROM ${table} WHERE ${is} LIMIT 1)`)
      .join(' UNION ALL '),
    { ...name },
  )
  if (known.length === 0)
    throw new HttpFault(404, 'unknown_instrument', `nothing is stored of ${shown(nameOf(name))}: see /v1/instruments`)
}
