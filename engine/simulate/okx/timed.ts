/** Channels of OKX that are fed by the clock. */
import type { Random } from '../../base/random.ts'
import type { Desk } from '../desk.ts'
import { barOf, figures, priceText, quantityText, someDesk } from '../desk.ts'
import type { StreamName, StreamPath } from '../venue.ts'

interface Timed {
  readonly channel: string
  readonly everyMs: number
  readonly path: StreamPath
}

export const TIMED: Readonly<Record<string, Timed>> = {
  tickers: { channel: 'tickers', everyMs: 300, path: 'public' },
  'mark-price': { channel: 'mark_prices', everyMs: 1000, path: 'public' },
  'index-tickers': { channel: 'index_prices', everyMs: 500, path: 'public' },
  'funding-rate': { channel: 'funding_rates', everyMs: 30_000, path: 'public' },
  'open-interest': { channel: 'open_interests', everyMs: 3000, path: 'public' },
  'liquidation-orders': { channel: 'liquidations', everyMs: 1000, path: 'public' },
  'opt-summary': { channel: 'tickers', everyMs: 1000, path: 'public' },
  candle1m: { channel: 'klines', everyMs: 1000, path: 'business' },
}

const LIQUIDATION_CHANCE = 0.1
const INSTRUMENT_TYPES: Readonly<Record<string, string>> = {
  spot: 'SPOT',
  swap: 'SWAP',
  futures: 'FUTURES',
  option: 'OPTION',
  index: 'INDEX',
}

export const instType = (market: string): string => INSTRUMENT_TYPES[market] as string

export function speak(
  { word, everyMs = 1000 }: StreamName,
  _name: string,
  desks: readonly Desk[],
  nowMs: number,
  random: Random,
): string | null {
  const desk = desks[0]
  if (desk === undefined) return null
  switch (word) {
    case 'tickers':
      return ticker(desk, nowMs)
    case 'candle1m':
      return candle(desk, nowMs, everyMs)
    case 'liquidation-orders':
      return random() < LIQUIDATION_CHANCE ? liquidation(someDesk(desks, random) ?? desk, nowMs, random) : null
    case 'index-tickers':
      return indexTicker(desk, nowMs)
    default:
      return figure(word, desk, nowMs)
  }
}

const push = (channel: string, symbol: string, data: string): string =>
  `{"arg":{"channel":"${channel}","instId":"${symbol}"},"data":[${data}]}`

export function ticker(desk: Desk, nowMs: number): string {
  const now = figures(desk, nowMs)
  const { symbol, market } = desk.instrument.listing
  return push(
    'tickers',
    symbol,
    `{"instType":"${instType(market)}","instId":"${symbol}","last":"${now.last}","lastSz":"${now.lastQuantity}","askPx":"${now.ask}","askSz":"${now.askQuantity}","bidPx":"${now.bid}","bidSz":"${now.bidQuantity}","open24h":"${now.open}","high24h":"${now.high}","low24h":"${now.low}","sodUtc0":"${now.open}","sodUtc8":"${now.open}","volCcy24h":"${now.turnover}","vol24h":"${now.volume}","ts":"${nowMs}"}`,
  )
}

function indexTicker(desk: Desk, nowMs: number): string {
  desk.instrument.wander()
  const now = figures(desk, nowMs)
  const { symbol } = desk.instrument.listing
  return push(
    'index-tickers',
    symbol,
    `{"instId":"${symbol}","idxPx":"${now.mark}","open24h":"${now.open}","high24h":"${now.high}","low24h":"${now.low}","sodUtc0":"${now.open}","sodUtc8":"${now.open}","ts":"${nowMs}"}`,
  )
}

function candle(desk: Desk, nowMs: number, everyMs: number): string {
  const bar = barOf(desk, nowMs, everyMs)
  const { symbol } = desk.instrument.listing
  const row = [
    bar.openMs,
    bar.open,
    bar.high,
    bar.low,
    bar.close,
    bar.volume,
    bar.volume,
    bar.turnover,
    bar.isClosed ? 1 : 0,
  ]
  return `{"arg":{"channel":"candle1m","instId":"${symbol}"},"data":[[${row.map((cell) => `"${cell}"`).join(',')}]]}`
}

/** Open interest has more digits than a double holds, as the venue has it. */
function figure(word: string, desk: Desk, nowMs: number): string | null {
  const now = figures(desk, nowMs)
  const { symbol, market } = desk.instrument.listing
  const whose = `"instId":"${symbol}","instType":"${instType(market)}"`
  switch (word) {
    case 'mark-price':
      return push(word, symbol, `{${whose},"markPx":"${now.mark}","ts":"${nowMs}"}`)
    case 'open-interest': {
      const oi = `${now.openInterest.split('.')[0]}.99000000000925`
      return push(word, symbol, `{${whose},"oi":"${oi}","oiCcy":"${oi}125","oiUsd":"${oi}0477463","ts":"${nowMs}"}`)
    }
    case 'funding-rate':
      return push(
        word,
        symbol,
        `{"formulaType":"withRate","fundingRate":"${now.fundingRate}","fundingTime":"${now.nextFundingMs}","impactValue":"20000.0000000000000000",${whose},"interestRate":"0.0001000000000000","maxFundingRate":"0.00375","method":"current_period","minFundingRate":"-0.00375","nextFundingRate":"","nextFundingTime":"${now.nextFundingMs + 28_800_000}","premium":"-0.0005333853474351","prevFundingTime":"${now.nextFundingMs - 28_800_000}","settFundingRate":"${now.fundingRate}","settState":"settled","ts":"${nowMs}"}`,
      )
    default:
      return null
  }
}

function liquidation(desk: Desk, nowMs: number, random: Random): string {
  const { instrument } = desk
  const { symbol, pair, market, tickMantissa, stepMantissa } = instrument.listing
  const isLong = random() < 0.5
  const price = priceText(desk, (isLong ? instrument.bestBid : instrument.bestAsk) * tickMantissa)
  const quantity = quantityText(desk, stepMantissa * (1 + Math.floor(random() * 500)))
  const detail = `{"bkLoss":"0","bkPx":"${price}","ccy":"","posSide":"${isLong ? 'long' : 'short'}","side":"${isLong ? 'sell' : 'buy'}","sz":"${quantity}","ts":"${nowMs - 600}"}`
  return `{"arg":{"channel":"liquidation-orders","instType":"${instType(market)}"},"data":[{"details":[${detail}],"instFamily":"${pair}","instId":"${symbol}","instType":"${instType(market)}","uly":"${pair}"}]}`
}
