/**
 * The instruments of the simulated venue: the best known names first, then S001USDT, S002USDT, … COIN-M names end in
 * USD_PERP and trade whole contracts.
 */
import type { Random } from '../../base/random.ts'
import { coinAt } from '../coins.ts'
import type { Opening } from '../protocol.ts'
import type { MarketName } from '../venue.ts'

interface Digits {
  readonly tickScale: number
  readonly quantityScale: number
}

/** digits of the tick and of the quantity: spot, USD-M, COIN-M */
const DIGITS: Readonly<Record<string, readonly [Digits, Digits, Digits]>> = {
  BTC: digits([2, 5], [1, 3], [1, 0]),
  ETH: digits([2, 4], [2, 3], [2, 0]),
  SOL: digits([2, 3], [3, 0], [3, 0]),
  XRP: digits([4, 0], [4, 1], [4, 0]),
}

function digits(...pairs: readonly [number, number][]): [Digits, Digits, Digits] {
  return pairs.map(([tickScale, quantityScale]) => ({ tickScale, quantityScale })) as [Digits, Digits, Digits]
}

/** The nth instrument of a market and where its numbers start. */
export function listing(market: MarketName, index: number, random: Random): Opening {
  const coin = coinAt(index, random)
  const quote = market === 'coinm' ? 'USD' : 'USDT'
  const pair = `${coin.name}${quote}`
  const known = DIGITS[coin.name]?.[market === 'spot' ? 0 : market === 'usdm' ? 1 : 2]
  const priceScale = known?.tickScale ?? coin.tickScale
  const quantityScale = known?.quantityScale ?? (market === 'coinm' ? 0 : coin.quantityScale)
  const tick = 1
  return {
    listing: {
      market,
      pair,
      quote,
      priceScale,
      quantityScale,
      symbol: market === 'coinm' ? `${pair}_PERP` : pair,
      base: coin.name,
      priceDecimals: market === 'spot' ? 8 : market === 'usdm' ? Math.max(2, priceScale) : priceScale,
      quantityDecimals: market === 'spot' ? 8 : quantityScale,
      tickMantissa: tick,
      stepMantissa: 1,
    },
    start: {
      middleTick: Math.round((coin.price * 10 ** priceScale) / tick),
      updateId: market === 'spot' ? 50_000_000_000 + index * 1_000_000 : 5_123_000_000_000 + index * 10_000_000,
      tradeId: market === 'spot' ? 3_735_000_000 + index * 100_000 : 849_000_000 + index * 100_000,
      quantityTypical:
        market === 'coinm' ? 4_000 : Math.max(20, Math.round((200_000 / coin.price) * 10 ** quantityScale)),
    },
  }
}
