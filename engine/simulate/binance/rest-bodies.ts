/** Bodies of REST answers as the venue writes them. */
import { decimalText } from '../digits.ts'
import type { Instrument } from '../instrument.ts'
import type { Listed } from '../rest-source.ts'

/** The book of this moment, best levels first. */
export function depthBody(instrument: Instrument, limit: number, nowMs: number): string {
  const { listing } = instrument
  const level = (tick: number, quantity: number): string =>
    `["${decimalText(tick * listing.tickMantissa, listing.priceScale, listing.priceDecimals)}","${decimalText(quantity, listing.quantityScale, listing.quantityDecimals)}"]`
  const side = (isBid: boolean): string =>
    instrument
      .levels(isBid)
      .slice(0, limit)
      .map(([tick, quantity]) => level(tick, quantity))
      .join(',')
  const times = listing.market === 'spot' ? '' : `"E":${nowMs},"T":${nowMs},`
  const names = listing.market === 'coinm' ? `"symbol":"${listing.symbol}","pair":"${listing.pair}",` : ''
  return `{"lastUpdateId":${instrument.updateId},${times}${names}"bids":[${side(true)}],"asks":[${side(false)}]}`
}

/** One symbol of exchangeInfo. */
export function symbolEntry({ listing, state, finerDigits }: Listed): Record<string, unknown> {
  const status = state === 'trading' ? 'TRADING' : listing.market === 'spot' ? 'BREAK' : 'SETTLING'
  const isSpot = listing.market === 'spot'
  const digits = (scale: number, decimals: number): number => (isSpot ? decimals : scale)
  const tickSize = decimalText(
    listing.tickMantissa,
    listing.priceScale + finerDigits,
    digits(listing.priceScale + finerDigits, listing.priceDecimals),
  )
  const stepSize = decimalText(
    listing.stepMantissa,
    listing.quantityScale,
    digits(listing.quantityScale, listing.quantityDecimals),
  )
  const filters = [
    { filterType: 'PRICE_FILTER', minPrice: tickSize, maxPrice: '1000000', tickSize },
    { filterType: 'LOT_SIZE', minQty: stepSize, maxQty: '1000000', stepSize },
  ]
  const assets = { baseAsset: listing.base, quoteAsset: listing.quote }
  if (isSpot) {
    const precisions = { baseAssetPrecision: 8, quotePrecision: 8, quoteAssetPrecision: 8 }
    return {
      symbol: listing.symbol,
      status,
      ...assets,
      ...precisions,
      isSpotTradingAllowed: true,
      filters,
      permissions: ['SPOT'],
    }
  }
  const contract = {
    symbol: listing.symbol,
    pair: listing.pair,
    contractType: 'PERPETUAL',
    deliveryDate: 4_133_404_800_000,
    onboardDate: 1_569_398_400_000,
    ...assets,
    pricePrecision: listing.priceDecimals,
    quantityPrecision: listing.quantityDecimals,
    underlyingType: 'COIN',
    filters,
  }
  if (listing.market === 'usdm') return { ...contract, status, marginAsset: listing.quote }
  return {
    ...contract,
    contractStatus: status,
    contractSize: contractSize(listing.base),
    marginAsset: listing.base,
  }
}

export const contractSize = (base: string): number => (base === 'BTC' ? 100 : 10)
