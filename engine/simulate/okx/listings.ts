/** Instruments of OKX: `BTC-USDT`, `BTC-USDT-SWAP`, `BTC-USD-270326`, `BTC-USD-270326-60000-C`; indices are spelt as spot pairs. */
import type { Random } from '../../base/random.ts'
import { coinAt, expiryMs, optionCoinAt, strikeOf } from '../coins.ts'
import type { Listing } from '../instrument.ts'
import type { Opening } from '../protocol.ts'
import type { MarketName } from '../venue.ts'

/** The market that a symbol belongs to; an index looks like a spot pair. */
export function marketOf(symbol: string): MarketName | null {
  const parts = symbol.split('-')
  if (parts.length === 2) return 'spot'
  if (parts.length === 3) return parts[2] === 'SWAP' ? 'swap' : 'futures'
  return parts.length === 5 ? 'option' : null
}

export function listing(market: MarketName, index: number, random: Random, nowMs: number): Opening {
  // two contracts and four options a coin, so that a market of a few instruments has some of each
  const coin = market === 'option' ? optionCoinAt(index) : coinAt(index, random)
  const isSpot = market === 'spot' || market === 'index'
  const quote = market === 'futures' || market === 'option' ? 'USD' : 'USDT'
  const pair = `${coin.name}-${quote}`
  const endMs = expiryMs(nowMs)
  const strike = strikeOf(coin.price, index % 4 >= 2)
  const day = new Date(endMs).toISOString().slice(2, 10).replaceAll('-', '')
  const base: Omit<Listing, 'symbol' | 'priceScale' | 'quantityScale' | 'priceDecimals' | 'quantityDecimals'> = {
    market,
    pair,
    base: coin.name,
    quote,
    style: 'trimmed',
    tickMantissa: 1,
    stepMantissa: 1,
    numbering: 'jumping',
  }
  const priceScale = market === 'option' ? 4 : coin.tickScale
  const quantityScale = isSpot ? 6 : market === 'swap' ? 2 : 0
  const digits = { priceScale, quantityScale, priceDecimals: priceScale, quantityDecimals: quantityScale }
  const start = {
    middleTick: market === 'option' ? 350 + 10 * index : Math.round(coin.price * 10 ** priceScale),
    updateId: 80_274_000_000 + index * 1_000_000 + market.length * 100_000_000,
    tradeId: 734_000_000 + index * 1_000_000,
    quantityTypical: isSpot ? Math.max(20, Math.round((20_000 / coin.price) * 10 ** quantityScale)) : 4_000,
  }
  switch (market) {
    case 'swap':
      return {
        listing: { ...base, ...digits, kind: 'perpetual', symbol: `${pair}-SWAP`, settle: quote, contractSize: '0.01' },
        start,
      }
    case 'futures':
      return {
        listing: {
          ...base,
          ...digits,
          kind: 'future',
          symbol: `${pair}-${day}`,
          settle: coin.name,
          contractSize: '100',
          expiryMs: endMs,
        },
        start,
      }
    case 'option': {
      const symbol = `${pair}-${day}-${strike}-${index % 2 === 0 ? 'C' : 'P'}`
      return {
        listing: {
          ...base,
          ...digits,
          kind: 'option',
          symbol,
          settle: coin.name,
          contractSize: '0.01',
          expiryMs: endMs,
          strike,
        },
        start,
      }
    }
    default:
      return { listing: { ...base, ...digits, kind: market === 'index' ? 'index' : 'spot', symbol: pair }, start }
  }
}
