/** Instruments of Bybit: `BTCUSDT` on spot and linear, `BTCUSD` on inverse. */
import type { Random } from '../../base/random.ts'
import { coinAt } from '../coins.ts'
import type { Opening } from '../protocol.ts'
import type { MarketName } from '../venue.ts'

/** The update id of a topic rises by one a message; spot trades have numbers of 19 digits, the others UUIDs. */
export function listing(market: MarketName, index: number, random: Random): Opening {
  const coin = coinAt(index, random)
  const isInverse = market === 'inverse'
  const quote = isInverse ? 'USD' : 'USDT'
  const priceScale = coin.tickScale
  const quantityScale = isInverse ? 0 : coin.quantityScale
  const symbol = `${coin.name}${quote}`
  return {
    listing: {
      market,
      symbol,
      kind: market === 'spot' ? 'spot' : 'perpetual',
      pair: symbol,
      base: coin.name,
      quote,
      settle: isInverse ? coin.name : quote,
      numbering: 'message',
      priceScale,
      quantityScale,
      priceDecimals: market === 'spot' ? priceScale : Math.max(2, priceScale),
      quantityDecimals: quantityScale,
      tickMantissa: 1,
      stepMantissa: 1,
    },
    start: {
      middleTick: Math.round(coin.price * 10 ** priceScale),
      updateId: 20_254_000 + index * 100_000,
      tradeId: 200_000_000 + index * 1_000_000,
      quantityTypical: isInverse ? 40_000 : Math.max(20, Math.round((20_000 / coin.price) * 10 ** quantityScale)),
    },
  }
}
