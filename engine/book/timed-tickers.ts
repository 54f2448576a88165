import type { TickerEvent } from '../record/emit.ts'

/**
 * Book tickers without ids (Deribit), which several connections may bring: known by time and values. One connection may
 * bring the same top twice within a millisecond, with another between them; so a ticker is a copy only of one that this
 * connection has not brought yet, and each connection is counted for itself:
 *
 *   first    A B A          three rows
 *   second     B A          a copy of B, and one of the first A, for it has brought none
 *
 * The same top twice in a row is a repetition. What is older than all that is remembered cannot be told and is dropped.
 */
const REMEMBERED = 64
/** Three legs, each while it is replaced. */
const CARRIERS_MAX = 6

const NOTHING = -1
/** Time and four values. */
const FACTS = 5

export class TimedTickers {
  /** A ring: what was told last, oldest first from `#nextPlace` on. */
  readonly #facts = new Float64Array(REMEMBERED * FACTS).fill(NOTHING)
  /** By place in the ring: a bit for each connection that brought it. */
  readonly #broughtBy = new Uint8Array(REMEMBERED)
  readonly #carriers = new Float64Array(CARRIERS_MAX).fill(NOTHING)
  /** By carrier: the place in the ring of what it brought last. */
  readonly #lastPlace = new Int16Array(CARRIERS_MAX).fill(NOTHING)
  #nextPlace = 0
  /** Who was first with what is remembered newest, and with how many in a row: alone with all, nothing can be a copy. */
  #runner = NOTHING
  #runLength = 0
  #filledCount = 0
  #nextCarrier = 0
  #newestMs = 0

  /** @param carrier the connection that brought it: any number that is its own. @returns whether it is new. */
  see(event: TickerEvent, carrier: number): boolean {
    const index = this.#indexOf(carrier)
    const last = this.#lastPlace[index] as number
    if (last !== NOTHING && this.#isAt(last, event)) return false
    if (event.eventMs <= this.#newestMs) {
      const isAlone = index === this.#runner && this.#runLength === this.#filledCount
      const copied = isAlone ? NOTHING : this.#placeOf(event, 1 << index)
      if (copied !== NOTHING) {
        this.#brought(copied, index)
        return false
      }
      if (event.eventMs < this.#newestMs && event.eventMs < this.#oldestMs()) return false
    }
    this.#remember(event, index)
    return true
  }

  /** The oldest such ticker that this carrier has not brought. */
  #placeOf(event: TickerEvent, bit: number): number {
    for (let at = 0; at < REMEMBERED; at++) {
      const place = (this.#nextPlace + at) % REMEMBERED
      if (((this.#broughtBy[place] as number) & bit) === 0 && this.#isAt(place, event)) return place
    }
    return NOTHING
  }

  #isAt(place: number, { eventMs, bidPrice, bidQuantity, askPrice, askQuantity }: TickerEvent): boolean {
    const facts = this.#facts
    const at = place * FACTS
    return (
      facts[at] === eventMs &&
      facts[at + 1] === bidPrice &&
      facts[at + 2] === bidQuantity &&
      facts[at + 3] === askPrice &&
      facts[at + 4] === askQuantity
    )
  }

  /** −1 as long as the ring is not full. */
  #oldestMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY
    for (let at = 0; at < this.#facts.length; at += FACTS) oldestMs = Math.min(oldestMs, this.#facts[at] as number)
    return oldestMs
  }

  #remember({ eventMs, bidPrice, bidQuantity, askPrice, askQuantity }: TickerEvent, index: number): void {
    const place = this.#nextPlace
    this.#nextPlace = (place + 1) % REMEMBERED
    this.#filledCount = Math.min(this.#filledCount + 1, REMEMBERED)
    this.#runLength = index === this.#runner ? Math.min(this.#runLength + 1, REMEMBERED) : 1
    this.#runner = index
    const facts = this.#facts
    const at = place * FACTS
    facts[at] = eventMs
    facts[at + 1] = bidPrice
    facts[at + 2] = bidQuantity
    facts[at + 3] = askPrice
    facts[at + 4] = askQuantity
    const lastPlace = this.#lastPlace
    for (let carrier = 0; carrier < CARRIERS_MAX; carrier++)
      if (lastPlace[carrier] === place) lastPlace[carrier] = NOTHING
    this.#broughtBy[place] = 0
    this.#brought(place, index)
    if (eventMs > this.#newestMs) this.#newestMs = eventMs
  }

  #brought(place: number, index: number): void {
    this.#broughtBy[place] = (this.#broughtBy[place] as number) | (1 << index)
    this.#lastPlace[index] = place
  }

  #indexOf(carrier: number): number {
    const carriers = this.#carriers
    for (let index = 0; index < CARRIERS_MAX; index++) if (carriers[index] === carrier) return index
    return this.#newCarrier(carrier)
  }

  /** Takes the place of the carrier that came longest ago. */
  #newCarrier(carrier: number): number {
    const index = this.#nextCarrier
    this.#nextCarrier = (index + 1) % CARRIERS_MAX
    if (index === this.#runner) this.#runner = NOTHING
    this.#carriers[index] = carrier
    this.#lastPlace[index] = NOTHING
    for (let place = 0; place < REMEMBERED; place++)
      this.#broughtBy[place] = (this.#broughtBy[place] as number) & ~(1 << index)
    return index
  }
}
