import assert from 'node:assert/strict'
import type { SimulatorHandle } from '../../engine/simulate/simulator.ts'

/** Every book that a simulated venue ever had: what it counts as its own truth, written down change by change. */

/** Price and quantity mantissas; quantity 0 takes the level away. */
type Changes = readonly (readonly [price: number, quantity: number])[]

interface Version {
  readonly seq: number
  /** when the venue made it */
  readonly ms: number
  readonly bids: Changes
  readonly asks: Changes
}

export interface TrueBook {
  /** [price, quantity], best first, exact */
  readonly bids: readonly (readonly string[])[]
  readonly asks: readonly (readonly string[])[]
}

export class TrueBooks {
  readonly id: string
  readonly versions: Version[]
  readonly #scales: readonly [price: number, quantity: number]
  /** the book of the version that was asked for last: times are mostly asked for in order */
  #at = 0
  #bids = new Map<number, number>()
  #asks = new Map<number, number>()

  constructor(id: string, scales: readonly [number, number], first: Version) {
    this.id = id
    this.versions = [first]
    this.#scales = scales
    this.#rewind()
  }

  note(version: Version, seqBefore: number): void {
    const last = this.versions.at(-1) as Version
    // the venue counts anew, and its book is the same
    if (last.seq !== seqBefore) this.versions.push({ seq: seqBefore, ms: last.ms, bids: [], asks: [] })
    this.versions.push(version)
  }

  /** @returns −1 where there never was such a book. @param ms a number may come again after the venue counted anew */
  indexOf(seq: number, ms: number): number {
    return this.versions.findLastIndex((version) => version.seq === seq && version.ms <= ms)
  }

  book(index: number): TrueBook {
    if (index < this.#at) this.#rewind()
    while (this.#at < index) this.#apply(this.versions[++this.#at] as Version)
    return { bids: this.#levels(this.#bids, -1), asks: this.#levels(this.#asks, 1) }
  }

  #rewind(): void {
    this.#at = 0
    this.#bids = new Map()
    this.#asks = new Map()
    this.#apply(this.versions[0] as Version)
  }

  #apply({ bids, asks }: Version): void {
    for (const [side, changes] of [
      [this.#bids, bids],
      [this.#asks, asks],
    ] as const)
      for (const [price, quantity] of changes) {
        if (quantity === 0) side.delete(price)
        else side.set(price, quantity)
      }
  }

  #levels(side: ReadonlyMap<number, number>, sign: 1 | -1): string[][] {
    const [priceScale, quantityScale] = this.#scales
    return [...side]
      .sort(([left], [right]) => sign * (left - right))
      .map(([price, quantity]) => [decimal(price, priceScale), decimal(quantity, quantityScale)])
  }
}

/** Begins to write down; call it before the market starts. */
export function watchBooks(simulator: SimulatorHandle): TrueBooks[] {
  const truth = simulator.truth()
  const ms = Date.now()
  const books = new Map(
    truth.ledgers.map((ledger) => {
      const { market, symbol, priceScale, quantityScale } = ledger.listing
      const first = { seq: ledger.lastSeq, ms, bids: [...ledger.bids], asks: [...ledger.asks] }
      return [ledger, new TrueBooks(`${simulator.exchange}.${market}.${symbol}`, [priceScale, quantityScale], first)]
    }),
  )
  const apply = truth.apply.bind(truth)
  truth.apply = (ledger, fields) => {
    const seqBefore = ledger.lastSeq
    apply(ledger, fields)
    const changes = ({ prices, quantities, count }: (typeof fields)['bids']): Changes =>
      Array.from({ length: count }, (_, index) => [prices[index] as number, quantities[index] as number])
    const book = books.get(ledger)
    assert.ok(book !== undefined, 'an instrument that was listed later')
    const { lastSeq: seq, eventMs } = fields
    book.note({ seq, ms: eventMs, bids: changes(fields.bids), asks: changes(fields.asks) }, seqBefore)
  }
  return [...books.values()]
}

/** 12340 at scale 2 is `123.4`. */
function decimal(mantissa: number, scale: number): string {
  const digits = String(mantissa).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const part = digits.slice(digits.length - scale).replace(/0+$/, '')
  return part === '' ? whole : `${whole}.${part}`
}
