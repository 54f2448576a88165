/** Channels of Deribit that are fed by the clock. Numbers are bare, some with exponents. */
import type { Random } from '../../base/random.ts'
import type { Desk } from '../desk.ts'
import { barOf, figures } from '../desk.ts'
import { bareText } from '../digits.ts'
import type { StreamName } from '../venue.ts'

export const TIMED: Readonly<Record<string, { readonly channel: string; readonly everyMs: number }>> = {
  ticker: { channel: 'tickers', everyMs: 500 },
  chart: { channel: 'klines', everyMs: 1000 },
  deribit_price_index: { channel: 'index_prices', everyMs: 1000 },
  deribit_volatility_index: { channel: 'volatility_indices', everyMs: 1000 },
}

export const notification = (channel: string, data: string): string =>
  `{"jsonrpc":"2.0","method":"subscription","params":{"channel":"${channel}","data":${data}}}`

export function speak(
  { word, everyMs = 1000 }: StreamName,
  name: string,
  desks: readonly Desk[],
  nowMs: number,
  random: Random,
): string | null {
  const desk = desks[0]
  if (desk === undefined) return null
  const { symbol } = desk.instrument.listing
  switch (word) {
    case 'ticker':
      return ticker(name, desk, nowMs)
    case 'chart':
      return chart(name, desk, nowMs, everyMs)
    case 'deribit_price_index':
      desk.instrument.wander()
      return notification(
        name,
        `{"timestamp":${nowMs},"price":${bare(figures(desk, nowMs).index)},"index_name":"${symbol}"}`,
      )
    case 'deribit_volatility_index':
      return notification(
        name,
        `{"timestamp":${nowMs},"volatility":${bareText(4000 + Math.floor(random() * 500), 2)},"index_name":"${symbol}"}`,
      )
    default:
      return null
  }
}

/** Decimal text as a double is printed. */
export function bare(text: string): string {
  const negative = text.startsWith('-')
  const [whole = '0', part = ''] = (negative ? text.slice(1) : text).split('.')
  const digits = part.replace(/0+$/, '').slice(0, 12)
  const mantissa = Number(whole + digits)
  return `${negative && mantissa !== 0 ? '-' : ''}${bareText(mantissa, digits.length)}`
}

export function ticker(name: string, desk: Desk, nowMs: number): string {
  const now = figures(desk, nowMs)
  const { symbol, kind, pair, strike } = desk.instrument.listing
  const volume = `"volume":${now.volume}${kind === 'option' ? '' : `,"volume_usd":${bare(now.turnover)},"volume_notional":${bare(now.turnover)}`}`
  const stats = `"stats":{"high":${now.high},"low":${now.low},"price_change":-0.8525,${volume}}`
  const greeks =
    kind === 'option'
      ? '"greeks":{"delta":0.47736,"gamma":2.8e-4,"vega":18.43602,"theta":-217.49347,"rho":1.31068},'
      : ''
  const bounds = `"last_price":${now.last},"settlement_price":${bare(now.index)},"min_price":${now.low},"max_price":${now.high}`
  const interest = kind === 'spot' ? '' : `"open_interest":${now.openInterest},`
  const funding =
    kind === 'perpetual'
      ? `"interest_value":-4.467407940520975e-5,"current_funding":${bare(now.fundingRate)},"estimated_delivery_price":${bare(now.index)},"funding_8h":-3.1e-6,`
      : kind === 'option'
        ? `"interest_rate":0.0,"estimated_delivery_price":${bare(now.index)},`
        : `"estimated_delivery_price":${bare(now.index)},`
  const volatilities =
    kind === 'option'
      ? `"mark_iv":31.2,"bid_iv":29.57,"ask_iv":33.74,"underlying_price":${bareText(strike ?? 1, 0)},"underlying_index":"${pair}",`
      : ''
  return notification(
    name,
    `{"timestamp":${nowMs},"state":"open",${stats},${greeks}"index_price":${bare(now.index)},"instrument_name":"${symbol}",${bounds},${interest}"mark_price":${bare(now.mark)},${funding}"best_ask_price":${now.ask},"best_bid_price":${now.bid},${volatilities}"best_ask_amount":${now.askQuantity},"best_bid_amount":${now.bidQuantity}}`,
  )
}

/** "chart.trades": the bar at hand; a bar is known to be closed when one with a later `tick` comes. */
export function chart(name: string, desk: Desk, nowMs: number, everyMs: number): string {
  const bar = barOf(desk, nowMs, everyMs)
  return notification(
    name,
    `{"tick":${bar.openMs},"open":${bar.open},"high":${bar.high},"low":${bar.low},"close":${bar.close},"volume":${bar.volume},"cost":${bare(bar.turnover)}}`,
  )
}
