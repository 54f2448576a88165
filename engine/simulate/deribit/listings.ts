/** Instruments of Deribit: `BTC-PERPETUAL`, `SOL_USDC-PERPETUAL`, `BTC-26MAR27`, `BTC-26MAR27-60000-C`, `BTC_USDC`, `btc_usd`. */
import type { Random } from '../../base/random.ts'
import { coinAt, expiryMs, optionCoinAt, strikeOf } from '../coins.ts'
import type { Opening } from '../protocol.ts'
import type { MarketName } from '../venue.ts'

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']

export function marketOf(symbol: string): MarketName | null {
  if (/^[a-z0-9]+_[a-z]+$/.test(symbol)) return 'index'
  if (symbol.endsWith('-PERPETUAL')) return 'perpetual'
  const parts = symbol.split('-')
  if (parts.length === 4) return 'option'
  if (parts.length === 2) return 'future'
  return symbol.includes('_') ? 'spot' : null
}

/** Only BTC and ETH have books in the coin itself; the others are settled in USDC. */
const isInverse = (base: string): boolean => base === 'BTC' || base === 'ETH'

export function listing(market: MarketName, index: number, random: Random, nowMs: number): Opening {
  const coin = market === 'option' ? optionCoinAt(index) : coinAt(index, random)
  const base = coin.name
  const inverse = isInverse(base) && market !== 'spot'
  const endMs = expiryMs(nowMs)
  const end = new Date(endMs)
  const day = `${end.getUTCDate()}${MONTHS[end.getUTCMonth()]}${String(end.getUTCFullYear()).slice(2)}`
  const strike = strikeOf(coin.price, index % 4 >= 2)
  const root = inverse ? base : `${base}_USDC`
  const isOption = market === 'option'
  const isCounted = inverse && (market === 'perpetual' || market === 'future') // amounts in USD
  const symbols: Readonly<Record<string, string>> = {
    perpetual: `${root}-PERPETUAL`,
    future: `${root}-${day}`,
    option: `${root}-${day}-${strike}-${index % 2 === 0 ? 'C' : 'P'}`,
    spot: `${base}_USDC`,
    index: `${base.toLowerCase()}_usd`,
  }
  const kinds = { perpetual: 'perpetual', future: 'future', option: 'option', spot: 'spot', index: 'index' } as const
  const priceScale = isOption && inverse ? 4 : coin.tickScale
  const tickMantissa = isOption || base !== 'BTC' ? 1 : 5
  const quantityScale = isCounted ? 0 : isOption ? 1 : coin.quantityScale
  const price = isOption && inverse ? 0.02 : coin.price
  return {
    listing: {
      market,
      symbol: symbols[market] as string,
      kind: kinds[market as keyof typeof kinds],
      pair: `${base.toLowerCase()}_${inverse ? 'usd' : 'usdc'}`,
      base,
      quote: isOption && inverse ? base : inverse ? 'USD' : 'USDC',
      settle: inverse ? base : 'USDC',
      style: 'bare',
      numbering: 'jumping',
      priceScale,
      quantityScale,
      priceDecimals: priceScale,
      quantityDecimals: quantityScale,
      tickMantissa,
      stepMantissa: isCounted ? (base === 'BTC' ? 10 : 1) : 1,
      ...(market === 'future' || isOption ? { expiryMs: endMs } : {}),
      ...(isOption ? { strike } : {}),
    },
    start: {
      middleTick: Math.round((price * 10 ** priceScale) / tickMantissa),
      updateId: 118_850_000_000 + index * 10_000_000 + market.length * 1_000_000_000,
      tradeId: 242_126_000 + index * 1_000_000,
      quantityTypical: isCounted
        ? 120_000
        : isOption
          ? 400
          : Math.max(20, Math.round((20_000 / coin.price) * 10 ** quantityScale)),
    },
  }
}
