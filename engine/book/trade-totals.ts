import { decimalText } from '../scan/decimal.ts'

/**
 * Exact totals of an instrument's trades. Sums stay doubles while they are exact and are moved into a BigInt before they
 * could round: one addition and one comparison a trade.
 */
const EXACT_MAX = 2 ** 52

export class TradeTotals {
  count = 0
  firstId = 0
  lastId = 0
  #quantity = 0
  #notional = 0
  #quantitySum = 0n
  #notionalSum = 0n

  add(id: number, price: number, quantity: number): void {
    if (this.count++ === 0) this.firstId = id
    if (id > this.lastId) this.lastId = id
    const notional = price * quantity
    if (notional > EXACT_MAX || quantity > EXACT_MAX) {
      this.#notionalSum += BigInt(price) * BigInt(quantity)
      this.#quantitySum += BigInt(quantity)
      return
    }
    this.#notional += notional
    this.#quantity += quantity
    if (this.#notional > EXACT_MAX || this.#quantity > EXACT_MAX) this.#settle()
  }

  #settle(): void {
    this.#notionalSum += BigInt(this.#notional)
    this.#quantitySum += BigInt(this.#quantity)
    this.#notional = 0
    this.#quantity = 0
  }

  /** The instrument's scales were widened by these powers of ten. */
  rescale(priceFactor: number, quantityFactor: number): void {
    this.#settle()
    this.#quantitySum *= BigInt(quantityFactor)
    this.#notionalSum *= BigInt(quantityFactor) * BigInt(priceFactor)
  }

  quantityText(quantityScale: number): string {
    this.#settle()
    return decimalText(this.#quantitySum, quantityScale)
  }

  notionalText(priceScale: number, quantityScale: number): string {
    this.#settle()
    return decimalText(this.#notionalSum, priceScale + quantityScale)
  }
}
