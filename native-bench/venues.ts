import { EXCHANGE_DEFAULTS, type ExchangeOptions } from '../engine/exchanges/index.ts'
import type { ExchangeName, MarketName } from '../engine/simulate/venue.ts'

/** What one frame says to plain JSON.parse: the oracle of the benches. */
export interface Found {
  readonly kind: 'book' | 'trades' | 'tickers'
  /** rows of the kind; a book frame is one */
  readonly rows: number
  /** changed levels of a book frame */
  readonly levels: number
  /** a book frame that starts the book: its levels become an anchor, not a row of changes */
  readonly isWhole: boolean
  /** sums over the rows: ids (see `idOf`), quantities of trades */
  readonly ids: number
  readonly quantity: number
}

/** One venue whose hot kinds are benched: one busy perpetual, its book, trades and tops. */
export interface BenchVenue {
  readonly exchange: ExchangeName
  readonly market: MarketName
  /** a real recording under the folder of recordings; null: none is long enough, the simulator makes one */
  readonly recorded: string | null
  /** how the streams are chosen where a peer reads only one of several */
  readonly options: Partial<ExchangeOptions>
  /**
   * What the simulator is told: levels a side at the start, and changes between two book messages, of which many hit the
   * same level. Chosen so that a message has as many levels as a busy instrument's.
   */
  readonly simulated: { readonly bookLevels: number; readonly levelsPerUpdate: number }
  /** undefined: nothing of the hot kinds (a REST body) */
  read(message: never): Found | undefined
}

type Level = readonly unknown[]

const book = (bids: readonly Level[], asks: readonly Level[], id: number, isWhole = false): Found => ({
  kind: 'book',
  rows: 1,
  levels: bids.length + asks.length,
  isWhole,
  ids: id % 1000,
  quantity: 0,
})
const trades = (rows: readonly (readonly [id: string, quantity: unknown])[]): Found => ({
  kind: 'trades',
  rows: rows.length,
  levels: 0,
  isWhole: false,
  ids: rows.reduce((sum, [id]) => sum + idOf(id), 0),
  quantity: rows.reduce((sum, [, quantity]) => sum + Number(quantity), 0),
})
const ticker = (id: number): Found => ({
  kind: 'tickers',
  rows: 1,
  levels: 0,
  isWhole: false,
  ids: id % 1000,
  quantity: 0,
})

/** What enters the check sum: the last digits of a number, the last letter of a text. */
function idOf(id: string): number {
  return /^[1-9]\d{0,14}$/.test(id) ? Number(id) % 1000 : id.charCodeAt(id.length - 1)
}

interface BinanceFrame {
  readonly stream?: string
  readonly data: { e?: string; u: number; t: number; q: string; b: Level[]; a: Level[] }
}

export const BINANCE: BenchVenue = {
  exchange: 'binance',
  market: 'usdm',
  recorded: 'recordings/hftbacktest/usdm_btcusdt_20240808.gz',
  simulated: { bookLevels: 500, levelsPerUpdate: 64 },
  options: {},
  read({ stream, data }: BinanceFrame) {
    if (stream === undefined) return undefined
    if (data.e === 'depthUpdate') return book(data.b, data.a, data.u)
    return data.e === 'trade' ? trades([[String(data.t), data.q]]) : ticker(data.u)
  },
}

interface OkxFrame {
  readonly arg: { channel: string }
  readonly action?: string
  readonly data: readonly { bids: Level[]; asks: Level[]; seqId: number; tradeId: string; sz: string }[]
}

export const OKX: BenchVenue = {
  exchange: 'okx',
  market: 'swap',
  recorded: null,
  simulated: { bookLevels: 150, levelsPerUpdate: 1000 },
  options: {},
  read({ arg, action, data: [row, ...more] }: OkxFrame) {
    if (row === undefined || more.length > 0) return undefined // one row a frame is what these channels send
    if (arg.channel === 'books') return book(row.bids, row.asks, row.seqId, action === 'snapshot')
    return arg.channel === 'bbo-tbt' ? ticker(row.seqId) : trades([[row.tradeId, row.sz]])
  },
}

interface DeribitFrame {
  readonly params: { channel: string; data: unknown }
}

export const DERIBIT: BenchVenue = {
  exchange: 'deribit',
  market: 'perpetual',
  recorded: null,
  simulated: { bookLevels: 500, levelsPerUpdate: 64 },
  options: {},
  read({ params: { channel, data } }: DeribitFrame) {
    if (channel.startsWith('quote.')) return ticker(0)
    if (channel.startsWith('trades.'))
      return trades((data as { trade_id: string; amount: number }[]).map((row) => [row.trade_id, row.amount]))
    const row = data as { type: string; bids: Level[]; asks: Level[]; change_id: number }
    return book(row.bids, row.asks, row.change_id, row.type === 'snapshot')
  },
}

interface BybitFrame {
  readonly topic: string
  readonly type: string
  readonly data: unknown
}

export const BYBIT: BenchVenue = {
  exchange: 'bybit',
  market: 'linear',
  recorded: null,
  simulated: { bookLevels: 50, levelsPerUpdate: 1000 },
  // tardis-dev reads orderbook.50 and no other depth
  options: { bybit: { ...EXCHANGE_DEFAULTS.bybit, linear: { ...EXCHANGE_DEFAULTS.bybit.linear, bookDepth: 50 } } },
  read({ topic, type, data }: BybitFrame) {
    if (topic.startsWith('publicTrade.'))
      return trades((data as { i: string; v: string }[]).map((row) => [row.i, row.v]))
    const row = data as { b: Level[]; a: Level[]; u: number }
    return topic.startsWith('orderbook.1.') ? ticker(row.u) : book(row.b, row.a, row.u, type === 'snapshot')
  },
}
