/**
 * What was really sent, written down without any part of the engine: totals, final books, and on request one file a
 * table in ClickHouse's RowBinary format (numbers little-endian, strings with their length before them), its structure
 * beside it in `<table>.json`, so that any SQL engine can join it with what arrived:
 *
 *   trades.rowbinary · book_tickers.rowbinary · book_deltas.rowbinary · faults.ndjson (faults and losses)
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Listing } from './instrument.ts'
import type { Fields, Levels } from './messages.ts'
import type { TruthTable } from './row-file.ts'
import { RowFile } from './row-file.ts'
import type { Loss } from './streams.ts'
import type { ExchangeName, MarketName } from './venue.ts'

export interface Totals {
  trades: number
  agg_trades: number
  book_deltas: number
  book_tickers: number
}

export type TruthBook = {
  readonly lastSeq: number
  readonly bids: [number, number][]
  readonly asks: [number, number][]
}

export interface InstrumentTruth {
  readonly market: MarketName
  readonly symbol: string
  readonly priceScale: number
  readonly quantityScale: number
  readonly sent: Totals
  /** exact sum of the sent trades' quantity mantissas (stream `trade`) */
  readonly tradeQuantity: number
  readonly firstTradeId: number
  readonly lastTradeId: number
}

/** What is known of one instrument; the market hands it to each call, so that no lookup is needed. */
export interface Ledger {
  readonly listing: Listing
  readonly key: Uint8Array
  readonly sent: Totals
  /** the book as the sent depth events leave it, price mantissa → quantity mantissa */
  readonly bids: Map<number, number>
  readonly asks: Map<number, number>
  lastSeq: number
  tradeQuantity: number
  firstTradeId: number
  lastTradeId: number
}

/** losses and notes kept in memory */
const KEPT_MAX = 20_000

export class Truth {
  readonly ledgers: Ledger[] = []
  /** the first ones; `lossCount` counts all, and faults.ndjson has all */
  readonly losses: Loss[] = []
  readonly notes: Record<string, unknown>[] = []
  lossCount = 0
  /** messages of streams that are fed by the clock, by channel */
  readonly kinds: Record<string, number> = {}
  readonly #directory: string | null
  readonly #files: Record<TruthTable, RowFile> | null
  readonly #log: number | null

  /** @param directory where the files go; null keeps totals and books only. */
  constructor(directory: string | null) {
    this.#directory = directory
    if (directory !== null) makeDirectory(directory)
    this.#files =
      directory === null
        ? null
        : {
            trades: new RowFile(directory, 'trades'),
            book_tickers: new RowFile(directory, 'book_tickers'),
            book_deltas: new RowFile(directory, 'book_deltas'),
          }
    this.#log = directory === null ? null : openSync(join(directory, 'faults.ndjson'), 'w')
  }

  /** @param bids ticks and quantities of the book before the first event, as REST would say it; likewise `asks`. */
  open(
    exchange: ExchangeName,
    listing: Listing,
    bids: readonly [number, number][],
    asks: readonly [number, number][],
    lastSeq = 0,
  ): Ledger {
    const sent = { trades: 0, agg_trades: 0, book_deltas: 0, book_tickers: 0 }
    const priced = (side: readonly [number, number][]) =>
      new Map(side.map(([tick, quantity]) => [tick * listing.tickMantissa, quantity]))
    const ledger: Ledger = {
      listing,
      key: rowKey(exchange, listing),
      sent,
      bids: priced(bids),
      asks: priced(asks),
      lastSeq,
      tradeQuantity: 0,
      firstTradeId: 0,
      lastTradeId: 0,
    }
    this.ledgers.push(ledger)
    return ledger
  }

  trade(ledger: Ledger, stream: 'trade' | 'agg_trade', fields: Fields): void {
    if (stream === 'trade') {
      ledger.sent.trades++
      ledger.tradeQuantity += fields.quantity
      if (ledger.firstTradeId === 0) ledger.firstTradeId = fields.id
      ledger.lastTradeId = fields.id
    } else {
      ledger.sent.agg_trades++
    }
    const file = this.#files?.trades
    if (file === undefined) return
    file.begin(ledger.key)
    file.byte(stream === 'trade' ? 1 : 2)
    file.byte(ledger.listing.priceScale)
    file.byte(ledger.listing.quantityScale)
    file.byte(fields.buyerIsMaker ? 2 : 1) // the taker's side
    file.integer(fields.id)
    file.integer(fields.price)
    file.integer(fields.quantity)
    file.integer(fields.tradeMs)
  }

  ticker(ledger: Ledger, fields: Fields): void {
    ledger.sent.book_tickers++
    const file = this.#files?.book_tickers
    if (file === undefined) return
    file.begin(ledger.key)
    file.byte(ledger.listing.priceScale)
    file.byte(ledger.listing.quantityScale)
    file.integer(fields.lastSeq)
    file.integer(fields.eventMs)
    file.integer(fields.bidPrice)
    file.integer(fields.bidQuantity)
    file.integer(fields.askPrice)
    file.integer(fields.askQuantity)
  }

  delta(ledger: Ledger, fields: Fields): void {
    ledger.sent.book_deltas++
    const file = this.#files?.book_deltas
    if (file === undefined) return
    file.begin(ledger.key)
    file.byte(ledger.listing.priceScale)
    file.byte(ledger.listing.quantityScale)
    file.integer(fields.firstSeq)
    file.integer(fields.lastSeq)
    file.count(fields.bids.count)
    file.count(fields.asks.count)
    for (const side of [fields.bids, fields.asks]) {
      file.integer(sum(side.prices, side.count))
      file.integer(sum(side.quantities, side.count))
    }
  }

  /** The venue's book moves on whether or not anybody hears it. */
  apply(ledger: Ledger, fields: Fields): void {
    applySide(ledger.bids, fields.bids)
    applySide(ledger.asks, fields.asks)
    ledger.lastSeq = fields.lastSeq
  }

  countKind(channel: string): void {
    this.kinds[channel] = (this.kinds[channel] ?? 0) + 1
  }

  loss(loss: Loss): void {
    this.lossCount++
    if (this.losses.length < KEPT_MAX) this.losses.push(loss)
    this.#write({ loss })
  }

  /** A fault that was injected, or a connection that ended: anything that explains what the other side saw. */
  note(note: Record<string, unknown>): void {
    if (this.notes.length < KEPT_MAX) this.notes.push(note)
    this.#write(note)
  }

  totals(): Totals {
    const all = { trades: 0, agg_trades: 0, book_deltas: 0, book_tickers: 0 }
    for (const { sent } of this.ledgers) {
      all.trades += sent.trades
      all.agg_trades += sent.agg_trades
      all.book_deltas += sent.book_deltas
      all.book_tickers += sent.book_tickers
    }
    return all
  }

  instruments(): InstrumentTruth[] {
    return this.ledgers.map(({ listing, sent, tradeQuantity, firstTradeId, lastTradeId }) => ({
      market: listing.market,
      symbol: listing.symbol,
      priceScale: listing.priceScale,
      quantityScale: listing.quantityScale,
      sent: { ...sent },
      tradeQuantity,
      firstTradeId,
      lastTradeId,
    }))
  }

  /** Price and quantity mantissas, best first. */
  book(market: MarketName, symbol: string): TruthBook | null {
    const ledger = this.ledgers.find(({ listing }) => listing.market === market && listing.symbol === symbol)
    if (ledger === undefined) return null
    return {
      lastSeq: ledger.lastSeq,
      bids: [...ledger.bids].sort((left, right) => right[0] - left[0]),
      asks: [...ledger.asks].sort((left, right) => left[0] - right[0]),
    }
  }

  flush(): void {
    if (this.#files !== null) for (const file of Object.values(this.#files)) file.flush()
  }

  /** Writes totals and final books and closes the files. */
  close(): void {
    if (this.#directory === null || this.#files === null) return
    for (const file of Object.values(this.#files)) file.close()
    if (this.#log !== null) closeSync(this.#log)
    const books = this.ledgers.map(({ listing: { market, symbol, priceScale, quantityScale } }) => ({
      market,
      symbol,
      priceScale,
      quantityScale,
      ...this.book(market, symbol),
    }))
    const summary = { totals: this.totals(), instruments: this.instruments(), losses: this.lossCount }
    writeFileSync(join(this.#directory, 'totals.json'), `${JSON.stringify(summary)}\n`)
    writeFileSync(join(this.#directory, 'books.ndjson'), `${books.map((book) => JSON.stringify(book)).join('\n')}\n`)
  }

  #write(record: Record<string, unknown>): void {
    if (this.#log !== null) writeSync(this.#log, `${JSON.stringify(record)}\n`)
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    throw new Fault(
      'TRUTH',
      `the truth directory ${directory} can not be made (${code}): give another with --truth`,
      EXIT_USAGE,
    )
  }
}

function rowKey(exchange: ExchangeName, { market, symbol }: Listing): Uint8Array {
  const words = [exchange, market, symbol].map((word) =>
    Buffer.concat([Buffer.from([word.length]), Buffer.from(word, 'latin1')]),
  )
  return new Uint8Array(Buffer.concat(words))
}

function sum(values: Float64Array, count: number): number {
  let total = 0
  for (let index = 0; index < count; index++) total += values[index] as number
  return total
}

function applySide(side: Map<number, number>, levels: Levels): void {
  for (let index = 0; index < levels.count; index++) {
    const quantity = levels.quantities[index] as number
    if (quantity === 0) side.delete(levels.prices[index] as number)
    else side.set(levels.prices[index] as number, quantity)
  }
}
