import { createWriteStream, existsSync } from 'node:fs'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { joinNs } from '../engine/base/clock.ts'
import type { Instrument } from '../engine/exchanges/exchange.ts'
import { Recording, type RecordedMessage } from '../engine/simulate/recording.ts'
import { record } from './record.ts'
import type { BenchVenue, Found } from './venues.ts'

/** The messages of one instrument that the benches of a venue use, in memory, and as a plain file for the peers. */
export interface BenchMessages {
  readonly venue: BenchVenue
  /** what they are, for people */
  readonly source: string
  readonly symbol: string
  /** undefined: of a recording that does not describe it; it is learned from its frames, as `replay` does */
  readonly instrument: Instrument | undefined
  readonly messages: readonly RecordedMessage[]
  readonly byteCount: number
  /** lines of `<ns> <message>` */
  readonly textFile: string
}

const SYMBOL = /"(?:s|instId|instrument_name)":"([A-Z0-9_-]+)"/

/** The messages of each venue, read or made when they are first asked for. */
export class MessageShelf {
  readonly #recordings: string
  readonly #folder: string
  readonly #say: (line: string) => void
  readonly #loaded = new Map<string, BenchMessages>()

  /** @param recordings where real recordings may be; @param folder where plain files go */
  constructor(recordings: string, folder: string, say: (line: string) => void) {
    this.#recordings = recordings
    this.#folder = folder
    this.#say = say
  }

  get loaded(): readonly BenchMessages[] {
    return [...this.#loaded.values()]
  }

  async of(venue: BenchVenue): Promise<BenchMessages> {
    const { exchange } = venue
    const known = this.#loaded.get(exchange)
    if (known !== undefined) return known
    const loaded = await this.#load(venue)
    this.#loaded.set(exchange, loaded)
    const { source, messages, symbol, byteCount } = loaded
    const bytes = (byteCount / messages.length).toFixed(0)
    this.#say(`${source}: ${messages.length} messages of ${symbol}, ${bytes} bytes on average, ${mixOf(loaded)}`)
    return loaded
  }

  async #load(venue: BenchVenue): Promise<BenchMessages> {
    const textFile = join(this.#folder, `${venue.exchange}.txt`)
    if (venue.recorded !== null) {
      const real = join(this.#recordings, venue.recorded)
      if (existsSync(real)) return load(venue, real, undefined, real, textFile)
      this.#say(`no ${real}: the simulator makes a recording`)
    }
    const made = join(this.#folder, `${venue.exchange}-simulated.txt`)
    const { source, instrument } = await record(venue, made, this.#say)
    return load(venue, source, instrument, made, textFile)
  }
}

async function load(
  venue: BenchVenue,
  source: string,
  instrument: Instrument | undefined,
  file: string,
  textFile: string,
): Promise<BenchMessages> {
  const recording = new Recording([file])
  const messages: RecordedMessage[] = []
  for await (const chunk of recording.chunks()) for (const message of chunk) messages.push(message)
  await writeText(textFile, messages)
  const first = messages.find((message) => SYMBOL.test(textOf(message)))
  const symbol = first === undefined ? '' : (SYMBOL.exec(textOf(first))?.[1] ?? '')
  const byteCount = messages.reduce((sum, { bytes }) => sum + bytes.length, 0)
  return { venue, source, symbol, instrument, messages, byteCount, textFile }
}

export function textOf(message: RecordedMessage): string {
  return Buffer.from(message.bytes.buffer, message.bytes.byteOffset, message.bytes.length).toString()
}

/** What JSON.parse finds in a message; undefined: none of the hot kinds. */
export function foundIn(venue: BenchVenue, message: RecordedMessage): Found | undefined {
  return venue.read(JSON.parse(textOf(message)) as never)
}

function mixOf({ venue, messages }: BenchMessages): string {
  const found = messages.map((message) => foundIn(venue, message))
  const books = found.filter((one) => one?.kind === 'book')
  const levels = books.reduce((sum, one) => sum + (one?.levels ?? 0), 0)
  const trades = found.filter((one) => one?.kind === 'trades').length
  const tickers = found.filter((one) => one?.kind === 'tickers').length
  return `${tickers} tops, ${trades} trades, ${books.length} of books with ${(levels / books.length).toFixed(1)} levels`
}

async function writeText(file: string, messages: readonly RecordedMessage[]): Promise<void> {
  const out = createWriteStream(file)
  for (const message of messages) {
    out.write(`${joinNs(message.receivedHi, message.receivedLo)} `)
    out.write(message.bytes)
    if (!out.write('\n')) await new Promise<void>((resolve) => out.once('drain', () => resolve()))
  }
  out.end()
  await finished(out)
}
