/**
 * The instruments of the simulated venue: the best known names first, then S001USDT, S002USDT, … COIN-M names end in
 * USD_PERP and trade whole contracts.
 */
import type { Random } from '../base/random.ts'
import { SCALE_MAX } from './digits.ts'
import type { InstrumentStart, Listing } from './instrument.ts'
import type { MarketName } from './venue.ts'

interface Coin {
  readonly name: string
  readonly price: number
  /** digits of the tick: spot, USD-M, COIN-M */
  readonly tickScale: Readonly<Record<MarketName, number>>
  readonly quantityScale: Readonly<Record<MarketName, number>>
}

const COINS: readonly Coin[] = [
  {
    name: 'BTC',
    price: 61_800,
    tickScale: { spot: 2, usdm: 1, coinm: 1 },
    quantityScale: { spot: 5, usdm: 3, coinm: 0 },
  },
  {
    name: 'ETH',
    price: 2_680,
    tickScale: { spot: 2, usdm: 2, coinm: 2 },
    quantityScale: { spot: 4, usdm: 3, coinm: 0 },
  },
  { name: 'SOL', price: 152, tickScale: { spot: 2, usdm: 3, coinm: 3 }, quantityScale: { spot: 3, usdm: 0, coinm: 0 } },
  { name: 'XRP', price: 0.6, tickScale: { spot: 4, usdm: 4, coinm: 4 }, quantityScale: { spot: 0, usdm: 1, coinm: 0 } },
]

/** Instruments: as many in each market, or a number for each. */
export type InstrumentCounts = number | Readonly<Partial<Record<MarketName, number>>>

export function instrumentCount(counts: InstrumentCounts, market: MarketName): number {
  return typeof counts === 'number' ? counts : (counts[market] ?? 0)
}

/** The nth instrument of a market and where its numbers start. */
export function listing(
  market: MarketName,
  index: number,
  random: Random,
): { listing: Listing; start: InstrumentStart } {
  const coin = COINS[index] ?? inventCoin(index, random)
  const quote = market === 'coinm' ? 'USD' : 'USDT'
  const pair = `${coin.name}${quote}`
  const priceScale = coin.tickScale[market]
  const quantityScale = coin.quantityScale[market]
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

function inventCoin(index: number, random: Random): Coin {
  const price = Number((10 ** (random() * 4 - 1)).toPrecision(4))
  // some 20,000 ticks to the price, as the venue does it
  const tick = Math.min(SCALE_MAX - 1, Math.max(0, Math.round(Math.log10(20_000 / price))))
  const step = price > 100 ? 3 : price > 1 ? 1 : 0
  return {
    name: `S${String(index - COINS.length + 1).padStart(3, '0')}`,
    price,
    tickScale: { spot: tick, usdm: tick, coinm: tick },
    quantityScale: { spot: step, usdm: step, coinm: 0 },
  }
}
