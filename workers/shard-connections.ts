import type { Channel } from '../engine/exchanges/exchange.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import type { SymbolTable } from '../engine/scan/symbols.ts'

/** One socket that is open and subscribed: which channels of which instruments it carries. */
export interface Connection {
  readonly source: number
  readonly generation: number
  readonly instruments: readonly { readonly instrument: number; readonly channels: readonly number[] }[]
  readonly table: SymbolTable
  /** Receive time of its last frame: up to here nothing is missing. */
  lastHi: number
  lastLo: number
}

/** What OPEN says. */
export interface OpenNotice {
  readonly connection: number
  readonly instruments: readonly { readonly instrument: number; readonly channels: readonly Channel[] }[]
}

const CHANNEL_OF: Readonly<Record<Channel, number>> = {
  book: GAP_CHANNELS.book,
  trades: GAP_CHANNELS.trades,
  agg_trades: GAP_CHANNELS.trades,
  book_tickers: GAP_CHANNELS.book_tickers,
}

/** Channels as the tables of gaps name them, each once. */
export function gapChannels(channels: readonly Channel[]): readonly number[] {
  return [...new Set(channels.map((channel) => CHANNEL_OF[channel]))]
}

/** The open connections of a shard; two generations of one connection may be open at once. */
export class Connections {
  readonly #open = new Map<number, Connection>()
  /** The last one looked up: frames come in bursts. */
  #last: Connection | undefined

  find(source: number, generation: number): Connection | undefined {
    const last = this.#last
    if (last !== undefined && last.source === source && last.generation === generation) return last
    const found = this.#open.get(keyOf(source, generation))
    if (found !== undefined) this.#last = found
    return found
  }

  add(connection: Connection): void {
    this.#open.set(keyOf(connection.source, connection.generation), connection)
  }

  remove(source: number, generation: number): Connection | undefined {
    const connection = this.#open.get(keyOf(source, generation))
    this.#open.delete(keyOf(source, generation))
    this.#last = undefined
    return connection
  }

  all(): Iterable<Connection> {
    return this.#open.values()
  }
}

function keyOf(source: number, generation: number): number {
  return generation * 65_536 + source
}
