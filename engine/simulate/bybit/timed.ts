/** Topics of Bybit that are fed by the clock. */
import type { Random } from '../../base/random.ts'
import type { Desk } from '../desk.ts'
import { barOf, figures, priceText, quantityText } from '../desk.ts'
import type { StreamName } from '../venue.ts'

export const TIMED: Readonly<Record<string, { readonly channel: string; readonly everyMs: number }>> = {
  tickers: { channel: 'tickers', everyMs: 500 },
  kline: { channel: 'klines', everyMs: 1000 },
  allLiquidation: { channel: 'liquidations', everyMs: 500 },
}
const LIQUIDATION_CHANCE = 0.05

export function speak(
  { word, everyMs = 1000 }: StreamName,
  name: string,
  desks: readonly Desk[],
  nowMs: number,
  random: Random,
): string | null {
  const desk = desks[0]
  if (desk === undefined) return null
  switch (word) {
    case 'tickers':
      return ticker(name, desk, nowMs, desk.instrument.listing.market === 'spot')
    case 'kline':
      return kline(name, desk, nowMs, everyMs)
    case 'allLiquidation':
      return random() < LIQUIDATION_CHANCE ? liquidation(name, desk, nowMs, random) : null
    default:
      return null
  }
}

/** Derivatives: all of it first, then what changed; what is left out is as it was. Spot sends all of it each time. */
export function ticker(name: string, desk: Desk, nowMs: number, isWhole: boolean): string {
  const now = figures(desk, nowMs)
  const { symbol, market } = desk.instrument.listing
  const cs = desk.instrument.seq
  if (market === 'spot') {
    const body = `"symbol":"${symbol}","lastPrice":"${now.last}","highPrice24h":"${now.high}","lowPrice24h":"${now.low}","prevPrice24h":"${now.open}","volume24h":"${now.volume}","turnover24h":"${now.turnover}","price24hPcnt":"0.0196","usdIndexPrice":"${now.index}"`
    return `{"topic":"${name}","ts":${nowMs},"type":"snapshot","cs":${cs},"data":{${body}}}`
  }
  const quick = `"lastPrice":"${now.last}","markPrice":"${now.mark}","indexPrice":"${now.index}","openInterest":"${now.openInterest}","openInterestValue":"${now.turnover}","turnover24h":"${now.turnover}","volume24h":"${now.volume}"`
  const top = `"bid1Price":"${now.bid}","bid1Size":"${now.bidQuantity}","ask1Price":"${now.ask}","ask1Size":"${now.askQuantity}"`
  const rest = `"tickDirection":"PlusTick","price24hPcnt":"0.017103","prevPrice24h":"${now.open}","highPrice24h":"${now.high}","lowPrice24h":"${now.low}","prevPrice1h":"${now.open}","nextFundingTime":"${now.nextFundingMs}","fundingRate":"${now.fundingRate.slice(0, 9)}","fundingIntervalHour":"8","fundingCap":"0.005"`
  const body = isWhole ? `"symbol":"${symbol}",${rest},${quick},${top}` : `"symbol":"${symbol}",${quick},${top}`
  return `{"topic":"${name}","type":"${isWhole ? 'snapshot' : 'delta'}","data":{${body}},"cs":${cs},"ts":${nowMs}}`
}

function kline(name: string, desk: Desk, nowMs: number, everyMs: number): string {
  const bar = barOf(desk, nowMs, everyMs)
  const row = `{"start":${bar.openMs},"end":${bar.openMs + 59_999},"interval":"1","open":"${bar.open}","close":"${bar.close}","high":"${bar.high}","low":"${bar.low}","volume":"${bar.volume}","turnover":"${bar.turnover}","confirm":${bar.isClosed},"timestamp":${nowMs}}`
  return `{"topic":"${name}","data":[${row}],"ts":${nowMs},"type":"snapshot"}`
}

/** `S` names the position: Buy is a long. */
function liquidation(name: string, desk: Desk, nowMs: number, random: Random): string {
  const { instrument } = desk
  const { symbol, tickMantissa, stepMantissa } = instrument.listing
  const isLong = random() < 0.5
  const price = priceText(desk, (isLong ? instrument.bestBid : instrument.bestAsk) * tickMantissa)
  const quantity = quantityText(desk, stepMantissa * (1 + Math.floor(random() * 500)))
  return `{"topic":"${name}","type":"snapshot","ts":${nowMs},"data":[{"T":${nowMs - 40},"s":"${symbol}","S":"${isLong ? 'Buy' : 'Sell'}","v":"${quantity}","p":"${price}"}]}`
}
