import { type DepthEvent, LEVELS_MAX, type RejectReason } from '../../record/emit.ts'
import { DecimalScanner } from '../../scan/decimal.ts'
import { JsonCursor } from '../../scan/json.ts'

/**
 * The values of one frame by key, whatever their order: one pass over the whole text checks that it is JSON and notes
 * where each known value starts; the values are read from there. The first thing that is wrong is kept as `refusal`.
 */
const QUOTE = 34
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const COMMA = 44
export const ABSENT = -1
const FAILED = -2

/** Keys of one letter have the slot of its code, the longer ones that matter the slots below all letters. */
const SLOTS = 128
const LONG_KEYS: ReadonlyMap<string, number> = new Map(
  ['pu', 'lastUpdateId', 'bids', 'asks', 'symbol', 'result', 'id', 'error', 'code'].map((key, slot) => [key, slot]),
)

/** Slot of a key, or −1 for one that nobody asks for. */
function slotOf(key: string): number {
  if (key.length !== 1) return LONG_KEYS.get(key) ?? -1
  const code = key.charCodeAt(0)
  return code >= 32 && code < SLOTS ? code : -1
}

export class FrameValues {
  readonly json = new JsonCursor()
  readonly scan = new DecimalScanner()
  bytes: Uint8Array = new Uint8Array(0)
  refusal: RejectReason = 'syntax'
  /** Which scale was too small, when the refusal is `precision`. */
  wideningKind: 'price' | 'quantity' = 'price'
  readonly #offsets = new Int32Array(SLOTS)
  readonly #priceScales: Uint8Array
  readonly #quantityScales: Uint8Array

  constructor(priceScales: Uint8Array, quantityScales: Uint8Array) {
    this.#priceScales = priceScales
    this.#quantityScales = quantityScales
  }

  refuse(reason: RejectReason): false {
    this.refusal = reason
    return false
  }

  /** Notes where the values of an object are; its `{` is next. @returns offset of the value of `data`, ABSENT without, or −2 after a failure. */
  #index(): number {
    const json = this.json
    const values = this.#offsets.fill(ABSENT)
    let dataOffset = ABSENT
    if (!json.expect(OPEN_BRACE)) return this.#indexFailed()
    for (let isFirst = true; json.member(isFirst); isFirst = false) {
      const key = json.text()
      json.peek()
      const slot = slotOf(key)
      if (key === 'data') {
        if (dataOffset !== ABSENT) return this.#indexFailed('duplicate_key')
        dataOffset = json.at
      } else if (slot >= 0) {
        if (values[slot] !== ABSENT) return this.#indexFailed('duplicate_key')
        values[slot] = json.at
      }
      if (!json.skip()) return this.#indexFailed()
    }
    return json.failure === 'none' ? dataOffset : this.#indexFailed()
  }

  #indexFailed(reason?: RejectReason): number {
    const { failure } = this.json
    this.refuse(reason ?? (failure === 'none' ? 'syntax' : failure))
    return FAILED
  }

  /** Indexes the event: the frame itself, or what is under `data`. */
  indexFrame(offset: number, length: number): boolean {
    const json = this.json
    json.begin(this.bytes, offset, length)
    if (json.isDone()) return this.refuse('empty')
    const dataOffset = this.#index()
    if (dataOffset === FAILED) return false
    if (!json.isDone()) return this.refuse('syntax')
    if (dataOffset === ABSENT) return true
    json.begin(this.bytes, dataOffset, offset + length - dataOffset)
    if (json.peek() !== OPEN_BRACE) return this.refuse('type')
    return this.#index() !== FAILED
  }

  offsetOf(key: string): number {
    return this.#offsets[slotOf(key)] as number
  }

  /** A string value, or null (type). */
  word(at: number): string | null {
    const json = this.json
    json.at = at
    if (this.bytes[at] !== QUOTE || !json.string()) {
      this.refuse('type')
      return null
    }
    return json.text()
  }

  missing(): -1 {
    this.refuse('missing_key')
    return ABSENT
  }

  /** A non-negative integer under this key, or NaN. */
  integer(key: string): number {
    const at = this.offsetOf(key)
    if (at < 0) return this.missing() + Number.NaN
    const value = this.scan.integer(this.bytes, at)
    if (Number.isNaN(value)) this.refuse(this.scan.refusal === 'overflow' ? 'overflow' : 'type')
    else if (!endsValue(this.bytes[this.scan.at] as number)) return this.refuse('type') || Number.NaN
    return value
  }

  /** As `integer`; `fallback` when the key is absent. */
  integerOr(key: string, fallback: number): number {
    return this.offsetOf(key) < 0 ? fallback : this.integer(key)
  }

  /** A decimal in quotes at this offset, or NaN; `scan.at` is behind the closing quote then. */
  #decimalAt(at: number, kind: 'price' | 'quantity', scale: number): number {
    if (this.bytes[at] !== QUOTE) return this.refuse('type') || Number.NaN
    this.wideningKind = kind
    const value = this.scan.decimal(this.bytes, at + 1, scale)
    if (Number.isNaN(value))
      return this.refuse(this.scan.refusal === 'none' ? 'number' : this.scan.refusal) || Number.NaN
    if (this.bytes[this.scan.at++] !== QUOTE) return this.refuse('number') || Number.NaN
    return value
  }

  decimal(key: string, kind: 'price' | 'quantity', instrument: number): number {
    const at = this.offsetOf(key)
    if (at < 0) return this.missing() + Number.NaN
    return this.#decimalAt(at, kind, this.#scale(kind, instrument))
  }

  #scale(kind: 'price' | 'quantity', instrument: number): number {
    return (kind === 'price' ? this.#priceScales[instrument] : this.#quantityScales[instrument]) as number
  }

  boolean(key: string): boolean | null {
    const at = this.offsetOf(key)
    if (at < 0) return this.missing() === ABSENT ? null : null
    const byte = this.bytes[at]
    if (byte === 116) return true
    if (byte === 102) return false
    this.refuse('type')
    return null
  }

  /** Reads a list of levels into one side of the event. */
  levels(key: string, event: DepthEvent, isBid: boolean): boolean {
    const at = this.offsetOf(key)
    if (at < 0) return this.refuse('missing_key')
    const json = this.json
    json.at = at
    if (json.peek() !== OPEN_BRACKET) return this.refuse('type')
    json.at++
    const priceScale = this.#scale('price', event.instrument)
    const quantityScale = this.#scale('quantity', event.instrument)
    let count = 0
    if (json.peek() === CLOSE_BRACKET) json.at++
    else {
      for (;;) {
        if (count >= LEVELS_MAX) return this.refuse('levels')
        if (count >= (isBid ? event.bidPrices : event.askPrices).length) isBid ? event.growBids() : event.growAsks()
        const price = this.#element(OPEN_BRACKET, 'price', priceScale)
        const quantity = price >= 0 ? this.#element(COMMA, 'quantity', quantityScale) : Number.NaN
        if (!(quantity >= 0)) return false
        // Venues have appended members to a level before (a count, an empty list): they are skipped.
        while (json.peek() === COMMA) {
          json.at++
          json.skip()
        }
        if (!json.expect(CLOSE_BRACKET)) return this.refuse('type')
        const prices = isBid ? event.bidPrices : event.askPrices
        const quantities = isBid ? event.bidQuantities : event.askQuantities
        prices[count] = price
        quantities[count++] = quantity
        const next = json.peek()
        json.at++
        if (next === CLOSE_BRACKET) break
        if (next !== COMMA) return this.refuse('type')
      }
    }
    if (isBid) event.bidCount = count
    else event.askCount = count
    return true
  }

  /** The next member of a level behind `opener`. */
  #element(opener: number, kind: 'price' | 'quantity', scale: number): number {
    if (!this.json.expect(opener)) return this.refuse('type') || Number.NaN
    this.json.peek()
    const value = this.#decimalAt(this.json.at, kind, scale)
    this.json.at = this.scan.at
    return value
  }
}

/** What may follow a number: `,`, `}`, `]` or whitespace; a fraction or an exponent is another type. */
function endsValue(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte <= 32
}
