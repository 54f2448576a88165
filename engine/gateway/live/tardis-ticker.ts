import type { PublicRow } from '../../record/rows.ts'
import { headText, isoText, timesText } from './tardis-messages.ts'
import type { Outgoing, Receiver, Topic } from './topic.ts'

/** What a derivative_ticker is put together from. */
export const TICKER_TYPES = ['ticker', 'mark_price', 'index_price', 'funding_rate', 'open_interest'] as const

/** Venues that name an index apart: the index of a symbol. */
export const INDEX_MARKETS: Readonly<Record<string, (symbol: string) => string>> = {
  okx: (symbol) => symbol.split('-').slice(0, 2).join('-'),
}

/** Their member → our type and column, in the order of their messages. */
const MEMBERS = [
  ['lastPrice', 'ticker', 'last_price'],
  ['openInterest', 'open_interest', 'open_interest'],
  ['fundingRate', 'funding_rate', 'funding_rate'],
  ['fundingTimestamp', 'funding_rate', 'funding_ns'],
  ['predictedFundingRate', 'funding_rate', 'next_funding_rate'],
  ['indexPrice', 'index_price', 'index_price'],
  ['markPrice', 'mark_price', 'mark_price'],
] as const

interface Ticker {
  readonly topic: Topic
  readonly values: Map<string, string>
}

/** Puts together what comes in parts, and says it whenever something of it changed. */
export class DerivativeTickers implements Receiver {
  readonly #say: (text: string) => void
  /** instrument → what is known */
  readonly #tickers = new Map<string, Ticker>()
  /** index → its price */
  readonly #indices = new Map<string, string>()

  constructor(say: (text: string) => void) {
    this.#say = say
  }

  push({ topic, body }: Outgoing): void {
    if (body.kind !== 'rows') return
    for (const row of body.rows) {
      if (topic.subject.market === 'index') this.#noteIndex(topic, row)
      else if (this.#update(topic, row)) this.#tell(this.#tickerOf(topic), row)
    }
  }

  #tickerOf(topic: Topic): Ticker {
    let ticker = this.#tickers.get(topic.id)
    if (ticker === undefined) {
      ticker = { topic, values: new Map() }
      this.#tickers.set(topic.id, ticker)
    }
    return ticker
  }

  /** @returns whether something is another than before. */
  #update(topic: Topic, row: PublicRow): boolean {
    const { values } = this.#tickerOf(topic)
    let isChanged = false
    for (const [member, type, column] of MEMBERS) {
      const value = type === topic.subject.type ? row[column] : undefined
      if (typeof value !== 'string' || (member === 'fundingTimestamp' && value === '0')) continue
      const text = member === 'fundingTimestamp' ? `"${isoText(value)}"` : value
      isChanged ||= values.get(member) !== text
      values.set(member, text)
    }
    return isChanged
  }

  #noteIndex({ subject }: Topic, row: PublicRow): void {
    const price = row['index_price']
    if (typeof price !== 'string' || this.#indices.get(subject.symbol) === price) return
    this.#indices.set(subject.symbol, price)
    for (const ticker of this.#tickers.values()) {
      const index = INDEX_MARKETS[ticker.topic.subject.exchange]?.(ticker.topic.subject.symbol)
      if (index !== subject.symbol) continue
      ticker.values.set('indexPrice', price)
      this.#tell(ticker, row)
    }
  }

  #tell({ topic, values }: Ticker, row: PublicRow): void {
    const members = MEMBERS.flatMap(([member]) => (values.has(member) ? [`,"${member}":${values.get(member)}`] : []))
    this.#say(`${headText('derivative_ticker', topic)}${members.join('')}${timesText(row['event_ns'], row)}`)
  }
}
