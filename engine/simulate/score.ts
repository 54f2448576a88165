/** Reads recorded messages for the truth: with `JSON.parse` and plain strings, nothing of the engine. */
import type { Listing } from './instrument.ts'
import type { Fields, Levels } from './messages.ts'
import { createFields, LEVELS_MAX } from './messages.ts'
import type { Stream } from './streams.ts'
import type { Ledger, Truth } from './truth.ts'
import type { MarketName } from './venue.ts'

type Level = readonly [string, string]

/** The union of what the four kinds of message have. `a` and `b` are prices, levels, or an id, by the kind. */
interface Message {
  readonly t?: number
  readonly u?: number
  readonly U?: number
  readonly T?: number
  readonly p?: string
  readonly q?: string
  readonly m?: boolean
  readonly B?: string
  readonly A?: string
  readonly a?: unknown
  readonly b?: unknown
}

interface Page {
  readonly listing: Listing
  readonly ledger: Ledger
  isAnchored: boolean
  /** the last depth events, for a snapshot that comes after events it does not hold yet */
  recent: { lastSeq: number; bids: Level[]; asks: Level[] }[]
}

const RECENT_MAX = 1000

export class Score {
  readonly #truth: Truth
  readonly #listings = new Map<string, Listing>()
  readonly #pages = new Map<string, Page>()
  readonly #fields: Fields = createFields()
  #page: Page | null = null

  constructor(truth: Truth) {
    this.#truth = truth
  }

  /** Adds an instrument; seen in several files, it takes the wider digits. */
  list(listing: Listing): void {
    const key = `${listing.market}/${listing.symbol}`
    const known = this.#listings.get(key)
    const wider = (name: 'priceScale' | 'quantityScale' | 'priceDecimals' | 'quantityDecimals'): number =>
      Math.max(listing[name], known?.[name] ?? 0)
    this.#listings.set(key, {
      ...listing,
      priceScale: wider('priceScale'),
      quantityScale: wider('quantityScale'),
      priceDecimals: wider('priceDecimals'),
      quantityDecimals: wider('quantityDecimals'),
    })
  }

  open(): void {
    for (const [key, listing] of this.#listings) {
      const ledger = this.#truth.open('binance', listing, [], [])
      this.#pages.set(key, { listing, ledger, isAnchored: false, recent: [] })
    }
  }

  listings(market: MarketName): Listing[] {
    return [...this.#listings.values()].filter((listing) => listing.market === market)
  }

  /** Reads one message into the fields. @returns its id (trade id or update id), 0 for other streams. */
  read(market: MarketName, stream: Stream, text: string): number {
    this.#page = this.#pages.get(`${market}/${stream.symbol}`) ?? null
    if (this.#page === null || stream.kind === 'other') return 0
    const { listing } = this.#page
    const message = JSON.parse(text) as Message
    if (stream.kind === 'depth') return this.#readDepth(this.#page, message)
    const fields = this.#fields
    const price = (value: string | undefined): number => toMantissa(value ?? '0', listing.priceScale)
    const quantity = (value: string | undefined): number => toMantissa(value ?? '0', listing.quantityScale)
    if (stream.kind === 'bookTicker') {
      fields.lastSeq = message.u ?? 0
      fields.bidPrice = price(message.b as string)
      fields.bidQuantity = quantity(message.B as unknown as string)
      fields.askPrice = price(message.a as string)
      fields.askQuantity = quantity(message.A as unknown as string)
      return fields.lastSeq
    }
    fields.id = (stream.kind === 'trade' ? message.t : (message.a as number)) ?? 0
    fields.price = price(message.p)
    fields.quantity = quantity(message.q)
    fields.buyerIsMaker = message.m ?? false
    fields.tradeMs = message.T ?? 0
    return fields.id
  }

  /** The message read last was sent. */
  count(stream: Stream): void {
    const page = this.#page
    if (page === null) return
    if (stream.kind === 'trade') this.#truth.trade(page.ledger, 'trade', this.#fields)
    else if (stream.kind === 'aggTrade') this.#truth.trade(page.ledger, 'agg_trade', this.#fields)
    else if (stream.kind === 'bookTicker') this.#truth.ticker(page.ledger, this.#fields)
    else if (stream.kind === 'depth') this.#truth.delta(page.ledger, this.#fields)
  }

  /** A recorded REST answer: the book starts from it, with the events it does not hold yet on top. */
  snapshot(market: MarketName, symbol: string, text: string): void {
    const page = this.#pages.get(`${market}/${symbol}`)
    if (page === undefined) return
    const body = JSON.parse(text) as { lastUpdateId: number; bids: Level[]; asks: Level[] }
    page.ledger.bids.clear()
    page.ledger.asks.clear()
    page.isAnchored = true
    this.#applyLevels(page, body.bids, body.asks)
    page.ledger.lastSeq = body.lastUpdateId
    for (const event of page.recent) this.#applyEvent(page, event)
  }

  #readDepth(page: Page, message: Message): number {
    const fields = this.#fields
    fields.firstSeq = message.U ?? 0
    fields.lastSeq = message.u ?? 0
    const event = { lastSeq: fields.lastSeq, bids: message.b as Level[], asks: message.a as Level[] }
    readLevels(event.bids, page.listing, fields.bids)
    readLevels(event.asks, page.listing, fields.asks)
    page.recent.push(event)
    if (page.recent.length > RECENT_MAX) page.recent = page.recent.slice(-RECENT_MAX / 2)
    if (page.isAnchored) this.#applyEvent(page, event)
    return fields.lastSeq
  }

  #applyEvent(page: Page, event: { lastSeq: number; bids: Level[]; asks: Level[] }): void {
    if (event.lastSeq <= page.ledger.lastSeq) return
    this.#applyLevels(page, event.bids, event.asks)
    page.ledger.lastSeq = event.lastSeq
  }

  #applyLevels(page: Page, bids: readonly Level[], asks: readonly Level[]): void {
    for (const [levels, side] of [
      [bids, page.ledger.bids],
      [asks, page.ledger.asks],
    ] as const) {
      for (const [price, quantity] of levels) {
        const mantissa = toMantissa(quantity, page.listing.quantityScale)
        if (mantissa === 0) side.delete(toMantissa(price, page.listing.priceScale))
        else side.set(toMantissa(price, page.listing.priceScale), mantissa)
      }
    }
  }
}

function readLevels(levels: readonly Level[], listing: Listing, into: Levels): void {
  into.count = Math.min(levels.length, LEVELS_MAX)
  for (let index = 0; index < into.count; index++) {
    const [price, quantity] = levels[index] as Level
    into.prices[index] = toMantissa(price, listing.priceScale)
    into.quantities[index] = toMantissa(quantity, listing.quantityScale)
  }
}

/** `"61800.30"` at scale 1 → 618003. Digits beyond the scale are zeros: the scale was taken from all of them. */
export function toMantissa(text: string, scale: number): number {
  const point = text.indexOf('.')
  if (point < 0) return Number(text) * 10 ** scale
  return Number(text.slice(0, point) + text.slice(point + 1, point + 1 + scale).padEnd(scale, '0'))
}
