import type { Level } from '../../record/rows.ts'
import { decimalText, SCALE_MAX } from '../../scan/decimal.ts'
import type { BookRow, RowLevels } from './book-row.ts'
import { JSON_LEVEL_BYTES_MAX, JsonWriter } from './json-writer.ts'

/** A change of a book: absolute quantities, "0" deletes. */
export interface BookChange {
  readonly book_epoch: number
  readonly first_seq: number
  readonly last_seq: number
  readonly event_ns: string
  readonly received_ns: string
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

export interface BookContent extends Omit<BookChange, 'first_seq'> {
  readonly state: 'LIVE'
}

/** A row of changes as its readers get it: its levels are texts only when somebody wants them as objects. */
export class RowChange implements BookChange {
  readonly #row: BookRow

  constructor(row: BookRow) {
    this.#row = row
  }

  get book_epoch(): number {
    return this.#row.epoch
  }

  get first_seq(): number {
    return this.#row.firstSeq
  }

  get last_seq(): number {
    return this.#row.lastSeq
  }

  get event_ns(): string {
    return this.#row.eventNs
  }

  get received_ns(): string {
    return this.#row.receivedNs
  }

  get bids(): readonly Level[] {
    return this.#levels(this.#row.bid)
  }

  get asks(): readonly Level[] {
    return this.#levels(this.#row.ask)
  }

  #levels({ prices, quantities }: RowLevels): Level[] {
    const { priceScale, quantityScale } = this.#row
    return prices.map((price, index) => [
      decimalText(price, priceScale),
      decimalText(quantities[index] as number, quantityScale),
    ])
  }

  /**
   * The message as a WebSocket frame of JSON, without objects between.
   * @param head JSON up to the text of `seq`
   * @returns undefined when its numbers are beyond those of `JsonWriter`.
   */
  frame(head: Uint8Array, seq: string): Buffer | undefined {
    const { epoch, firstSeq, lastSeq, eventNs, receivedNs, priceScale, quantityScale, bid, ask } = this.#row
    if (!isWritable(this.#row)) return undefined
    const json = WRITER.begin(
      head.length + HEAD_BYTES_MAX + JSON_LEVEL_BYTES_MAX * (bid.prices.length + ask.prices.length),
    )
    json.raw(head)
    json.ascii(
      `${seq}","book_epoch":${epoch},"first_seq":${firstSeq},"last_seq":${lastSeq},"event_ns":"${eventNs}","received_ns":"${receivedNs}","bids":`,
    )
    json.levels(bid.prices, bid.quantities, bid.prices.length, priceScale, quantityScale)
    json.ascii(',"asks":')
    json.levels(ask.prices, ask.quantities, ask.prices.length, priceScale, quantityScale)
    json.ascii('}')
    return json.frame()
  }
}

/** Everything but the head and the levels. */
const HEAD_BYTES_MAX = 512
const WRITER = new JsonWriter()

/** Also of what came by way of objects, where anything may stand. */
function isWritable({ priceScale, quantityScale, bid, ask }: BookRow): boolean {
  const isExact = ({ prices, quantities }: RowLevels): boolean =>
    prices.length === quantities.length && prices.every(Number.isSafeInteger) && quantities.every(Number.isSafeInteger)
  return priceScale <= SCALE_MAX && quantityScale <= SCALE_MAX && isExact(bid) && isExact(ask)
}

/** Several changes of one book as one: the newest quantity of each price. */
export function mergedChange(changes: readonly BookChange[]): BookChange {
  const first = changes[0] as BookChange
  const last = changes.at(-1) as BookChange
  const side = (of: (change: BookChange) => readonly Level[]): Level[] => {
    const levels = new Map<string, Level>()
    for (const change of changes) for (const level of of(change)) levels.set(level[0], level)
    return [...levels.values()]
  }
  return {
    ...last,
    first_seq: first.first_seq,
    bids: side((change) => change.bids),
    asks: side((change) => change.asks),
  }
}
