/**
 * Messages in the form of tardis-machine (its documentation: "Data Types"), for clients that were written for it. Numbers
 * are JSON numbers there: their digits are exact on the wire, but a client that reads them as doubles may lose some. Times
 * are ISO 8601 with milliseconds.
 */
import type { Level, PublicRow } from '../../record/rows.ts'
import { textFrame } from './frames.ts'
import { TARDIS_EXCHANGES } from './tardis-options.ts'
import type { Encoding, Outgoing, Topic } from './topic.ts'

/** `{exchange}.{market}` of ours → theirs */
const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(TARDIS_EXCHANGES).flatMap(([name, [exchange, markets]]) =>
    markets.map((market) => [`${exchange}.${market}`, name] as const),
  ),
)

/** Topics that had single trades: their runs of one order say the same again. */
const HAVE_TRADES = new WeakSet<Topic>()
const NOTHING = Buffer.alloc(0)

export const TARDIS_ENCODING: Encoding = {
  slot: 2,
  encode: (message) => {
    const texts = textsOf(message)
    if (texts.length === 0) return NOTHING
    const frames = texts.map(textFrame)
    return frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames)
  },
}

export function tardisExchange({ subject }: Topic): string {
  return NAMES.get(`${subject.exchange}.${subject.market}`) ?? subject.exchange
}

/** The members that all messages begin with. */
export function headText(type: string, topic: Topic): string {
  return `{"type":"${type}","symbol":${JSON.stringify(topic.subject.symbol)},"exchange":"${tardisExchange(topic)}"`
}

function textsOf(message: Outgoing): string[] {
  const { topic, body } = message
  switch (body.kind) {
    case 'rows':
      return body.rows.flatMap((row) => rowText(topic, row) ?? [])
    case 'snapshot':
      return [bookText(topic, true, body.book)]
    case 'update':
      return [bookText(topic, false, body.change)]
    case 'reset':
    case 'lost':
      return [] // told as a disconnect
  }
}

function rowText(topic: Topic, row: PublicRow): string | undefined {
  switch (topic.subject.type) {
    case 'trade':
      return tradeText(topic, row)
    case 'book_ticker':
      return `${headText('book_ticker', topic)},"askAmount":${row['ask_quantity']},"askPrice":${row['ask_price']},"bidPrice":${row['bid_price']},"bidAmount":${row['bid_quantity']}${timesText(row['event_ns'], row)}`
    case 'liquidation':
      return liquidationText(topic, row)
  }
  return undefined
}

function tradeText(topic: Topic, row: PublicRow): string | undefined {
  if (row['stream'] === 'trade') HAVE_TRADES.add(topic)
  else if (HAVE_TRADES.has(topic)) return undefined
  const id = row['venue_trade_id'] === '' ? String(row['trade_id']) : row['venue_trade_id']
  return `${headText('trade', topic)},"id":${JSON.stringify(id)},"price":${row['price']},"amount":${row['quantity']},"side":"${row['side']}"${timesText(row['trade_ns'], row)}`
}

function liquidationText(topic: Topic, row: PublicRow): string | undefined {
  const amount = row['filled_quantity'] ?? row['quantity']
  if (row['price'] === null || amount === null) return undefined
  const id = row['venue_id'] === '' ? '' : `,"id":${JSON.stringify(row['venue_id'])}`
  const ns = row['liquidation_ns'] === '0' ? row['event_ns'] : row['liquidation_ns']
  return `${headText('liquidation', topic)}${id},"price":${row['price']},"amount":${amount},"side":"${row['side']}"${timesText(ns, row)}`
}

interface BookSides {
  readonly event_ns: string
  readonly received_ns: string
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

function bookText(topic: Topic, isSnapshot: boolean, book: BookSides): string {
  return `${headText('book_change', topic)},"isSnapshot":${isSnapshot},"bids":${levelsText(book.bids)},"asks":${levelsText(book.asks)}${timesText(book.event_ns, book)}`
}

export function levelsText(levels: readonly Level[]): string {
  return `[${levels.map(([price, amount]) => `{"price":${price},"amount":${amount}}`).join(',')}]`
}

/** The last two members, and the end. @param ns of the venue; "0": it says none */
export function timesText(ns: unknown, received: { readonly received_ns?: unknown }): string {
  const localTimestamp = isoText(String(received.received_ns))
  const timestamp = ns === undefined || ns === '0' ? localTimestamp : isoText(String(ns))
  return `,"timestamp":"${timestamp}","localTimestamp":"${localTimestamp}"}`
}

const NS_DIGITS_BELOW_MS = 6

export function isoText(ns: string): string {
  return new Date(Number(ns.slice(0, -NS_DIGITS_BELOW_MS))).toISOString()
}
