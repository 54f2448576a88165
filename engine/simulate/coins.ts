/** What the simulated instruments are made of: the best known names first, then S001, S002, … */
import type { Random } from '../base/random.ts'

export interface Coin {
  readonly name: string
  readonly price: number
  /** digits of the tick, and of the quantity in the coin itself */
  readonly tickScale: number
  readonly quantityScale: number
}

const COINS: readonly Coin[] = [
  { name: 'BTC', price: 61_800, tickScale: 1, quantityScale: 4 },
  { name: 'ETH', price: 2_680, tickScale: 2, quantityScale: 4 },
  { name: 'SOL', price: 152, tickScale: 3, quantityScale: 2 },
  { name: 'XRP', price: 0.6, tickScale: 4, quantityScale: 1 },
]

const TICK_SCALE_MAX = 8

export function coinAt(index: number, random: Random): Coin {
  const known = COINS[index]
  if (known !== undefined) return known
  const price = Number((10 ** (random() * 4 - 1)).toPrecision(4))
  return {
    name: `S${String(index - COINS.length + 1).padStart(3, '0')}`,
    price,
    // some 20,000 ticks to the price, as venues do it
    tickScale: Math.min(TICK_SCALE_MAX, Math.max(0, Math.round(Math.log10(20_000 / price)))),
    quantityScale: price > 100 ? 3 : price > 1 ? 1 : 0,
  }
}

const OPTIONS_PER_COIN = 4
/** Its multiples, without their whole part, are spread evenly. */
const GOLDEN = 0.618034

/** The coin of an option: four have the same, so its price must not be drawn again for each. */
export function optionCoinAt(index: number): Coin {
  const coin = Math.floor(index / OPTIONS_PER_COIN)
  return coinAt(coin, () => (coin * GOLDEN) % 1)
}

/** When futures and options of this simulation end: a quarter's last Friday of next year, more than a month away. */
export function expiryMs(nowMs: number): number {
  const year = new Date(nowMs).getUTCFullYear() + 1
  const lastOfMarch = new Date(Date.UTC(year, 2, 31, 8))
  return lastOfMarch.getTime() - ((lastOfMarch.getUTCDay() + 2) % 7) * 86_400_000
}

/** A strike a tenth below the price or above it; whole, and never the same for both. */
export function strikeOf(price: number, isAbove: boolean): number {
  const below = Math.max(1, Math.round(price * 0.9))
  return isAbove ? Math.max(below + 1, Math.round(price * 1.1)) : below
}
