/** Streams of Binance that are fed by the clock: bars, 24 h tickers, mark prices, liquidations. */
import type { Random } from '../../base/random.ts'
import type { Desk } from '../desk.ts'
import { barOf, figures, priceText, quantityText, someDesk } from '../desk.ts'
import type { StreamName } from '../venue.ts'

/** By the word behind the symbol. Only bars of a minute are simulated. */
export const TIMED: Readonly<Record<string, { readonly channel: string; readonly everyMs: number }>> = {
  kline_1m: { channel: 'klines', everyMs: 2000 },
  ticker: { channel: 'tickers', everyMs: 1000 },
  miniTicker: { channel: 'tickers', everyMs: 1000 },
  markPrice: { channel: 'mark_prices', everyMs: 3000 },
  'markPrice@1s': { channel: 'mark_prices', everyMs: 1000 },
  forceOrder: { channel: 'liquidations', everyMs: 1000 },
}

const LIQUIDATION_CHANCE = 0.1

export function speak(
  { word, everyMs = 1000, market }: StreamName,
  name: string,
  desks: readonly Desk[],
  nowMs: number,
  random: Random,
): string | null {
  const desk = desks[0]
  if (desk === undefined) return null
  const isSpot = market === 'spot'
  switch (word) {
    case 'kline_1m':
      return kline(desk, nowMs, everyMs)
    case 'ticker':
      return ticker(desk, nowMs, isSpot)
    case 'markPrice':
    case 'markPrice@1s':
      return isSpot ? null : markPrice(desk, nowMs)
    case 'forceOrder':
      return isSpot || random() > LIQUIDATION_CHANCE ? null : forceOrder(someDesk(desks, random) ?? desk, nowMs, random)
    default:
      throw new Error(`nothing is known of ${name}`)
  }
}

function kline(desk: Desk, nowMs: number, everyMs: number): string {
  const { symbol } = desk.instrument.listing
  const bar = barOf(desk, nowMs, everyMs)
  const k = `{"t":${bar.openMs},"T":${bar.openMs + 59_999},"s":"${symbol}","i":"1m","f":-1,"L":-1,"o":"${bar.open}","c":"${bar.close}","h":"${bar.high}","l":"${bar.low}","v":"${bar.volume}","n":${bar.fills},"x":${bar.isClosed},"q":"${bar.turnover}","V":"${bar.volume}","Q":"${bar.turnover}","B":"0"}`
  return `{"e":"kline","E":${nowMs},"s":"${symbol}","k":${k}}`
}

function ticker(desk: Desk, nowMs: number, isSpot: boolean): string {
  const { instrument } = desk
  const now = figures(desk, nowMs)
  const { symbol, pair, market } = instrument.listing
  const top = isSpot ? `"b":"${now.bid}","B":"${now.bidQuantity}","a":"${now.ask}","A":"${now.askQuantity}",` : ''
  const previous = isSpot ? `"x":"${now.open}",` : ''
  return `{"e":"24hrTicker","E":${nowMs},"s":"${symbol}",${market === 'coinm' ? `"ps":"${pair}",` : ''}"p":"0","P":"0.000","w":"${now.last}",${previous}"c":"${now.last}","Q":"${now.lastQuantity}",${top}"o":"${now.open}","h":"${now.high}","l":"${now.low}","v":"${now.volume}","q":"${now.turnover}","O":${nowMs - 86_400_000},"C":${nowMs},"F":${instrument.firstTradeId},"L":${instrument.tradeId},"n":${now.fills}}`
}

/** COIN-M says the index price in it since 2026-06-30. */
function markPrice(desk: Desk, nowMs: number): string {
  const now = figures(desk, nowMs)
  const { symbol } = desk.instrument.listing
  return `{"e":"markPriceUpdate","E":${nowMs},"s":"${symbol}","p":"${now.mark}","ap":"${now.mark}","P":"${now.index}","i":"${now.index}","r":"${now.fundingRate.slice(0, 11)}","T":${now.nextFundingMs},"st":1}`
}

function forceOrder(desk: Desk, nowMs: number, random: Random): string {
  const { instrument } = desk
  const { symbol, pair, market, tickMantissa, stepMantissa } = instrument.listing
  const isSell = random() < 0.5
  const price = priceText(desk, (isSell ? instrument.bestBid : instrument.bestAsk) * tickMantissa)
  const quantity = quantityText(desk, stepMantissa * (1 + Math.floor(random() * 100)))
  const order = `{"s":"${symbol}",${market === 'coinm' ? `"ps":"${pair}",` : ''}"S":"${isSell ? 'SELL' : 'BUY'}","o":"LIMIT","f":"IOC","q":"${quantity}","p":"${price}","ap":"${price}","X":"FILLED","l":"${quantity}","z":"${quantity}","T":${nowMs - 3}}`
  return `{"e":"forceOrder","E":${nowMs},"o":${order}}`
}
