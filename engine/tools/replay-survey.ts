import { CHANNELS, type Channel, type Instrument, instrumentId, type ReadRules } from '../exchanges/exchange.ts'
import { DepthEvent, type Emit, type FrameParser, TickerEvent, TradeEvent } from '../record/emit.ts'
import { TRADE_STREAMS } from '../record/schema.ts'
import { type KindTableName, SCALE_MAX } from '../record/schema-columns.ts'
import { NO_SYMBOL, SymbolTable } from '../scan/symbols.ts'
import { ANSWER, FRAME } from '../simulate/line-formats.ts'
import type { Recording } from '../simulate/recording.ts'
import type { Answers } from './replay-answers.ts'

/**
 * The first pass over a capture of several sockets: which instruments it speaks of, how many digits they need, and which
 * channels of them each socket carries. With it the second pass can open each socket as the network does, so that the
 * worker knows that the same stream comes over several of them, and can tell whose a REST answer is.
 */
export interface Survey {
  /** as the answers describe them, else as their symbols tell */
  readonly instruments: readonly Instrument[]
  /** instrument index → channels, by socket */
  readonly connections: ReadonlyMap<number, ReadonlyMap<number, ReadonlySet<Channel>>>
  /** the instrument of a REST snapshot, by what was asked */
  indexOf(url: string): number | undefined
}

const INSTRUMENTS_MAX = 4096
const SYMBOL_BYTES_MAX = 40

export async function surveyCapture(
  recording: Recording,
  rules: ReadRules,
  market: string,
  answers: Answers,
): Promise<Survey> {
  const tally = new Tally(rules, market)
  const listed = new Map<string, Instrument>()
  const snapshots = new Map<string, number>()
  for await (const chunk of recording.chunks()) {
    for (const { kind, bytes, connection, url } of chunk) {
      if (kind === FRAME) tally.frame(connection, bytes)
      else if (kind === ANSWER) {
        const answer = answers.read(url, bytes)
        if (answer === undefined) continue
        if (answer.kind === 'snapshot') snapshots.set(url, tally.instrumentOf(answer.symbol))
        else for (const one of answer.instruments) listed.set(one.id, one)
      }
    }
  }
  return {
    instruments: tally.instruments(listed),
    connections: tally.connections,
    indexOf: (url) => {
      const index = snapshots.get(url)
      return index === NO_SYMBOL ? undefined : index
    },
  }
}

/** The receiving side of a parser that only notes what it was told. */
class Tally implements Emit {
  readonly depth = new DepthEvent()
  readonly trade = new TradeEvent()
  readonly ticker = new TickerEvent()
  readonly priceScales = new Uint8Array(INSTRUMENTS_MAX)
  readonly quantityScales = new Uint8Array(INSTRUMENTS_MAX)
  readonly symbols = new SymbolTable()
  readonly #others = new Map<string, SymbolTable>()
  readonly connections = new Map<number, Map<number, Set<Channel>>>()
  readonly #rules: ReadRules
  readonly #market: string
  readonly #parser: FrameParser
  readonly #names: { readonly market: string; readonly symbol: string }[] = []
  #carried = new Map<number, Set<Channel>>()

  constructor(rules: ReadRules, market: string) {
    this.#rules = rules
    this.#market = market
    this.#parser = rules.parser(this, market)
  }

  frame(connection: number, bytes: Uint8Array): void {
    const carried = this.connections.get(connection)
    this.#carried = carried ?? new Map()
    if (carried === undefined) this.connections.set(connection, this.#carried)
    this.#parser.parse(bytes, 0, bytes.length)
  }

  instruments(listed: ReadonlyMap<string, Instrument>): Instrument[] {
    const { exchange } = this.#rules
    return this.#names.map(({ market, symbol }, index) => {
      const id = instrumentId(exchange, market, symbol)
      const found = listed.get(id) ?? {
        id,
        exchange,
        market,
        symbol,
        priceScale: 0,
        quantityScale: 0,
        status: 'RECORDED',
      }
      return {
        ...found,
        priceScale: Math.max(found.priceScale, this.priceScales[index] as number),
        quantityScale: Math.max(found.quantityScale, this.quantityScales[index] as number),
      }
    })
  }

  find(bytes: Uint8Array, offset: number, end: number): number {
    return this.symbols.find(bytes, offset, end)
  }

  learn(bytes: Uint8Array, offset: number, end: number): number {
    return this.#learn(bytes, offset, end, this.#market)
  }

  instrumentOf(symbol: string, market = this.#market): number {
    const bytes = new TextEncoder().encode(symbol)
    const known = this.#symbolsOf(market).find(bytes, 0, bytes.length)
    return known === NO_SYMBOL ? this.#learn(bytes, 0, bytes.length, market) : known
  }

  #learn(bytes: Uint8Array, offset: number, end: number, place: string): number {
    const symbol = new TextDecoder().decode(bytes.slice(offset, end))
    const market = place === '' ? this.#rules.marketOf(symbol) : place
    if (market === undefined || end - offset > SYMBOL_BYTES_MAX || !/^[A-Za-z0-9._-]+$/.test(symbol)) return NO_SYMBOL
    if (this.#names.length === INSTRUMENTS_MAX) return NO_SYMBOL
    this.#symbolsOf(place).add(symbol, this.#names.length)
    return this.#names.push({ market, symbol }) - 1
  }

  /** What the frames themselves tell apart from the market that is surveyed has a table of its own. */
  #symbolsOf(market: string): SymbolTable {
    if (market === this.#market) return this.symbols
    const others = this.#others.get(market) ?? new SymbolTable()
    this.#others.set(market, others)
    return others
  }

  widen(instrument: number, kind: 'price' | 'quantity', scale: number): boolean {
    if (scale > SCALE_MAX) return false
    const scales = kind === 'price' ? this.priceScales : this.quantityScales
    scales[instrument] = Math.max(scales[instrument] as number, scale)
    return true
  }

  onDepth(): void {
    this.#note(this.depth.instrument, 'book')
  }

  onTrade(): void {
    this.#note(this.trade.instrument, this.trade.stream === TRADE_STREAMS.agg_trade ? 'agg_trades' : 'trades')
  }

  onTicker(): void {
    this.#note(this.ticker.instrument, 'book_tickers')
  }

  row(table: KindTableName, instrument: number): '' {
    const channel = CHANNELS.find((one) => one === table)
    if (channel !== undefined) this.#note(instrument, channel)
    return ''
  }

  #note(instrument: number, channel: Channel): void {
    const channels = this.#carried.get(instrument)
    if (channels === undefined) this.#carried.set(instrument, new Set([channel]))
    else channels.add(channel)
  }
}
