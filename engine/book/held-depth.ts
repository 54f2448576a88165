import type { DepthEvent } from '../record/emit.ts'
import { POWERS_OF_TEN } from '../scan/decimal.ts'

/** A depth event that waits for a snapshot, at the scales of its arrival. */
export class HeldDepth {
  readonly event: DepthEvent
  readonly hi: number
  readonly lo: number
  readonly #priceScale: number
  readonly #quantityScale: number

  constructor(event: DepthEvent, hi: number, lo: number, priceScale: number, quantityScale: number) {
    this.event = copyOf(event)
    this.hi = hi
    this.lo = lo
    this.#priceScale = priceScale
    this.#quantityScale = quantityScale
  }

  /** Brings it to the scales of now, once. @returns false when its numbers do not fit (they fitted when it came, so never in practice). */
  rescale(priceScale: number, quantityScale: number): boolean {
    const { event } = this
    const priceFactor = POWERS_OF_TEN[priceScale - this.#priceScale] as number
    const quantityFactor = POWERS_OF_TEN[quantityScale - this.#quantityScale] as number
    return (
      multiply(event.bidPrices, event.bidCount, priceFactor) &&
      multiply(event.askPrices, event.askCount, priceFactor) &&
      multiply(event.bidQuantities, event.bidCount, quantityFactor) &&
      multiply(event.askQuantities, event.askCount, quantityFactor)
    )
  }
}

/** The parser fills one event again and again: what is kept is a copy. */
export function copyOf(event: DepthEvent): DepthEvent {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(event)), event) as DepthEvent
  copy.bidPrices = event.bidPrices.slice(0, event.bidCount)
  copy.bidQuantities = event.bidQuantities.slice(0, event.bidCount)
  copy.askPrices = event.askPrices.slice(0, event.askCount)
  copy.askQuantities = event.askQuantities.slice(0, event.askCount)
  return copy
}

function multiply(values: Float64Array, count: number, factor: number): boolean {
  if (factor === 1) return true
  for (let index = 0; index < count; index++) {
    values[index] = (values[index] as number) * factor
    if ((values[index] as number) > Number.MAX_SAFE_INTEGER) return false
  }
  return true
}
