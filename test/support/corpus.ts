import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { FeedRules, Instrument, InstrumentKind, ReadRules } from '../../engine/exchanges/exchange.ts'
import { feedRules, READ_RULES } from '../../engine/exchanges/index.ts'
import { decodeBlock } from '../../engine/record/decode.ts'
import { IGNORE_REASONS, type TradeChannel } from '../../engine/record/emit.ts'
import { DATA, POLL, SNAPSHOT } from '../../engine/ring/frame.ts'
import { KindCollector } from './kind-collector.ts'
import { type ShardRig, shardRig } from './shard-rig.ts'

/** One message of the corpus: a frame of a socket, or an answer of REST with what was asked. */
export interface Item {
  readonly name: string
  readonly exchange: string
  /** markets it may be of; the first that knows it is taken */
  readonly markets: readonly string[]
  readonly text: string
  /** path and query of an answer; absent: a frame */
  readonly asked?: string
}

interface Entry {
  readonly file?: string
  readonly kind?: string
  readonly path?: string
  readonly query?: string
  readonly exchange?: string
  readonly raw?: unknown
  readonly body?: unknown
}

const FEEDS = feedRules()
const WHOLE_EXCHANGES = ['okx', 'deribit']
/** Why nothing of ours asks for an answer; the first that fits. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/kline|candle|tradingview_chart/i, 'closed bars come from the stream'],
  [/premiumIndex|mark-price|funding-rate$/, 'mark prices, index prices and funding come from the stream'],
  [/fundingRate|funding-rate-history|funding.history/, 'history: the running rate comes from the stream'],
  [/openInterestHist|open-interest-volume/, 'history: open interest comes from the stream or a poll'],
  [/open-interest$/, 'open interest comes from the stream'],
  [/ticker|index-tickers/, 'tickers come from the stream'],
  [
    /[tT]rades?$|recent-trade|last_trades|block-trades/,
    'trades come from the stream, missed ones are asked for by number',
  ],
  [/depth|books$|order_?book/, 'the book of this venue starts in the stream'],
  [/opt-summary/, 'greeks come from the stream'],
  [/instType=MARGIN|category=option/, 'no market of ours: the same pairs are spot, these options are not collected'],
  [/instrument|exchangeInfo/, 'the lists are asked for as a whole'],
]
const NO_KIND = 'no table is about this'
const OTHER_VENUE = 'no row: this venue is not spoken'

/** Every message under `messages` and `rest`; files of several are taken apart. */
export function corpusItems(root: string): Item[] {
  const files = ['messages', 'rest'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(root, folder, name))
      .filter((path) => /\.jsonl?$/.test(path))
      .sort(),
  )
  return files.flatMap((path) => itemsOf(relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8')))
}

function itemsOf(file: string, text: string): Item[] {
  if (file.endsWith('.jsonl')) {
    const lines = text.split('\n').filter((line) => line.trim() !== '')
    return lines.map((line, at) => frameItem(`${file} line ${at + 1}`, file, line))
  }
  if (/^messages\/jkorf\/|^rest\//.test(file)) {
    return (JSON.parse(text) as Entry[]).map((entry) => entryItem(file, entry))
  }
  return [singleItem(file, text)]
}

function frameItem(name: string, file: string, line: string): Item {
  const entry = JSON.parse(line) as Entry
  const isNoted = entry.exchange !== undefined && entry.raw !== undefined
  const exchange = /binance|okx|deribit|bybit/.exec(isNoted ? (entry.exchange as string) : file)?.[0] ?? ''
  return { name, exchange, markets: frameMarkets(exchange, file), text: isNoted ? JSON.stringify(entry.raw) : line }
}

function entryItem(file: string, entry: Entry): Item {
  const exchange = file.includes('okx') ? 'okx' : 'binance'
  const { path, query = '' } = entry
  const text = JSON.stringify(entry.raw ?? entry.body ?? null)
  const test = /UnitTests\/(?:Endpoints|Subscriptions)\/(.*)\.txt$/.exec(entry.file ?? '')?.[1]
  if (path === undefined)
    return { name: `${file} ${test}`, exchange, markets: frameMarkets(exchange, test ?? ''), text }
  const asked = query === '' ? path : `${path}?${query}`
  return {
    name: test === undefined ? `${file} ${asked}` : `${file} ${test} ${path}`,
    exchange,
    markets: FEEDS.has(exchange) ? Object.keys((FEEDS.get(exchange) as FeedRules).markets) : [],
    text,
    asked,
  }
}

/** Names of the files say what they are: `futures__market_data_json__kline_stream_open`, `http_get_trades`, `ws_ticker_linear`. */
function singleItem(file: string, text: string): Item {
  const [, , venue = '', base = ''] = file.split('/')
  const exchange = FEEDS.has(venue) ? venue : ''
  if (!/^http_|__http_json__/.test(base)) return { name: file, exchange, markets: frameMarkets(exchange, file), text }
  const feed = FEEDS.get(exchange)
  return { name: file, exchange, markets: feed ? restMarkets(exchange, base) : [], text, asked: pathOf(exchange, base) }
}

function frameMarkets(exchange: string, name: string): string[] {
  if (WHOLE_EXCHANGES.includes(exchange)) return ['']
  if (exchange === 'bybit') return ['linear']
  if (exchange !== 'binance') return []
  return [/spot/i.test(name) ? 'spot' : 'usdm']
}

function restMarkets(exchange: string, base: string): string[] {
  const all = Object.keys((FEEDS.get(exchange) as FeedRules).markets)
  const named = all.filter((market) => base.includes(market.replace(/s$/, '')))
  return named.length > 0 ? named : all
}

/** What was asked, where only the name of the file says it: the official path of each. */
const PATHS: Readonly<Record<string, string>> = {
  'binance avg_price': '/api/v3/avgPrice',
  'binance book_ticker': '/api/v3/ticker/bookTicker',
  'binance depth': '/api/v3/depth',
  'binance exchange_info': '/api/v3/exchangeInfo',
  'binance klines': '/api/v3/klines',
  'binance ping': '/api/v3/ping',
  'binance server_time': '/api/v3/time',
  'binance ticker_24hr': '/api/v3/ticker/24hr',
  'binance ticker_price': '/api/v3/ticker/price',
  'binance trades': '/api/v3/trades',
  'bybit funding_history': '/v5/market/funding/history',
  'bybit instruments_inverse': '/v5/market/instruments-info?category=inverse',
  'bybit instruments_linear': '/v5/market/instruments-info?category=linear',
  'bybit instruments_option': '/v5/market/instruments-info?category=option',
  'bybit instruments_spot': '/v5/market/instruments-info?category=spot',
  'bybit klines_linear': '/v5/market/kline',
  'bybit orderbook': '/v5/market/orderbook',
  'bybit trades_recent': '/v5/market/recent-trade',
  'deribit get_expirations': '/api/v2/public/get_expirations',
  'deribit get_instruments': '/api/v2/public/get_instruments',
  'deribit get_instrument': '/api/v2/public/get_instrument',
  'deribit get_last_trades': '/api/v2/public/get_last_trades_by_instrument',
  'deribit get_order_book': '/api/v2/public/get_order_book',
  'deribit get_time': '/api/v2/public/get_time',
  'deribit get_tradingview_chart_data': '/api/v2/public/get_tradingview_chart_data',
  'deribit test': '/api/v2/public/test',
  'okx candlesticks': '/api/v5/market/candles',
  'okx funding_rate_history': '/api/v5/public/funding-rate-history',
  'okx index_price': '/api/v5/market/index-tickers',
  'okx instruments_futures': '/api/v5/public/instruments?instType=FUTURES',
  'okx instruments_margin': '/api/v5/public/instruments?instType=MARGIN',
  'okx instruments_option': '/api/v5/public/instruments?instType=OPTION',
  'okx instruments_spot': '/api/v5/public/instruments?instType=SPOT',
  'okx instruments_swap': '/api/v5/public/instruments?instType=SWAP',
  'okx mark_price': '/api/v5/public/mark-price',
  'okx option_summary': '/api/v5/public/opt-summary',
  'okx order_book': '/api/v5/market/books',
  'okx trades': '/api/v5/market/trades',
}

function pathOf(exchange: string, base: string): string {
  const name = base
    .replace(/^.*http_(json__)?(get_)?/, exchange === 'deribit' ? '$2' : '')
    .replace(/(_response)?\.json$/, '')
  const key = Object.keys(PATHS)
    .filter((one) => `${exchange} ${name}`.startsWith(one))
    .sort((a, b) => b.length - a.length)[0]
  return key === undefined ? `/${name}` : (PATHS[key] as string)
}

/** What becomes of it: rows by table, or why there is none. */
export function outcomeOf(item: Item): string {
  const feed = FEEDS.get(item.exchange)
  if (feed === undefined) return OTHER_VENUE
  if (item.asked === undefined) {
    const rig = shardRig({ exchange: item.exchange, market: item.markets[0] ?? '', learnUnknown: true, live: false })
    rig.frame(DATA, item.text)
    return resultOf(rig)
  }
  for (const market of item.markets) {
    const found = answerOutcome(feed, market, item, item.asked)
    if (found !== undefined) return found
  }
  const path = item.asked.replace(/\?(?!instType=MARGIN|category=option).*$/, '')
  return `no row: ${REASONS.find(([pattern]) => pattern.test(path))?.[1] ?? NO_KIND}`
}

function answerOutcome(feed: FeedRules, market: string, { text }: Item, asked: string): string | undefined {
  const instrument = instrumentFor(feed.exchange, market, asked, text)
  const { polls, snapshotDepth } = feed.markets[market] as FeedRules['markets'][string]
  const isFor = (path: string | undefined) => path !== undefined && isSameQuestion(path, asked, instrument.symbol)
  const frame = (kind: number, payload: string): string => {
    const rig = shardRig({
      exchange: feed.exchange,
      market,
      instruments: [instrument],
      learnUnknown: true,
      live: false,
    })
    rig.frame(kind, payload)
    return resultOf(rig)
  }
  if (isFor(feed.instrumentsRequest(market).path))
    return told(() => `${feed.readInstruments(market, text).length} instruments`)
  const poll = polls.find((rule) => isFor(rule.request(instrument)?.path))
  if (poll !== undefined)
    return `poll ${poll.name}: ${frame(POLL, `${String.fromCharCode(poll.name.length)}${poll.name}${text}`)}`
  if (snapshotDepth > 0 && isFor(feed.snapshotRequest(market, instrument.symbol, snapshotDepth).path))
    return `snapshot: ${frame(SNAPSHOT, text)}`
  for (const channel of ['trades', 'agg_trades'] as const)
    if (isFor(feed.tradesRequest(market, instrument.symbol, channel, 1, 2)?.path))
      return `missed trades: ${missedTrades(instrument, channel, text)}`
  if (isFor(volumesPath(feed, market))) return told(() => `${feed.readVolumes(market, text).size} turnovers`)
  if (isFor(feed.serverTimeRequest(market).path)) return told(() => `time ${feed.readServerTime(text)}`)
  return undefined
}

/** Markets of indices have no turnover to ask for. */
function volumesPath(feed: FeedRules, market: string): string | undefined {
  try {
    return feed.volumesRequest(market).path
  } catch {
    return undefined
  }
}

function told(read: () => string): string {
  try {
    return read()
  } catch (error) {
    return `refused: ${(error as Error).message}`
  }
}

/** The same path, and no parameter that both have says something else; the symbol is not looked at. */
function isSameQuestion(ours: string, theirs: string, symbol: string): boolean {
  // The ratio of a currency has the form of the ratio of a contract, which is what we ask for.
  const alike = theirs.replace(/(\/long-short-account-ratio)$/, '$1-contract')
  const [a, b] = [new URL(ours, 'https://venue'), new URL(alike, 'https://venue')]
  if (a.pathname !== b.pathname) return false
  for (const name of ['symbol', 'pair'])
    if (a.searchParams.has(name) !== b.searchParams.has(name) && b.searchParams.size > 0) return false
  return [...a.searchParams].every(([name, value]) => {
    const other = b.searchParams.get(name)
    return other === null || other === value || value === symbol || !['category', 'instType'].includes(name)
  })
}

const KINDS: Readonly<Record<string, InstrumentKind>> = {
  spot: 'spot',
  usdm: 'perpetual',
  coinm: 'perpetual',
  swap: 'perpetual',
  linear: 'perpetual',
  inverse: 'perpetual',
  perpetual: 'perpetual',
  future: 'future',
  futures: 'future',
  option: 'option',
  index: 'index',
}

/** An instrument that the answer may be of. */
function instrumentFor(exchange: string, market: string, asked: string, text: string): Instrument {
  const query = new URL(asked, 'https://venue').searchParams
  const said = /"(?:symbol|instId|instrument_name)":\s*"([^"]+)"/.exec(text)?.[1]
  const inverse = { coinm: 'BTCUSD_PERP', inverse: 'BTCUSD' }[market]
  const dashed = {
    swap: 'BTC-USDT-SWAP',
    futures: 'BTC-USDT-250328',
    option: 'BTC-USD-250328-90000-C',
    perpetual: 'BTC-PERPETUAL',
  }[market]
  const usual =
    inverse ?? dashed ?? (exchange === 'okx' ? 'BTC-USDT' : exchange === 'deribit' ? 'BTC-PERPETUAL' : 'BTCUSDT')
  const symbol = query.get('symbol') ?? said ?? usual
  return {
    id: `${exchange}.${market}.${symbol}`,
    exchange,
    market,
    symbol,
    priceScale: 0,
    quantityScale: 0,
    status: 'TRADING',
    kind: KINDS[market] ?? 'other',
    base: /^[A-Z]{3}/.exec(symbol)?.[0] ?? 'BTC',
    quote: inverse === undefined ? 'USDT' : 'USD',
    underlying: inverse === undefined ? 'BTCUSDT' : 'BTCUSD',
  }
}

function resultOf(rig: ShardRig): string {
  rig.finish()
  const counts = new Map<string, number>()
  for (const bytes of rig.blocks) {
    const { head } = decodeBlock(bytes)
    counts.set(head.table, (counts.get(head.table) ?? 0) + head.rows)
  }
  counts.delete('instruments') // of the instrument that the test announced
  const rows = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([table, count]) => `${count} ${table}`)
  const refused = rig.shard.rejected.list().map(({ reason }) => `refused: ${reason}`)
  const ignored = rows.length + refused.length === 0 ? [`no row: ${ignoredReason(rig)}`] : []
  return [...rows, ...refused, ...ignored].join(', ')
}

function ignoredReason(rig: ShardRig): string {
  return IGNORE_REASONS.find((reason) => rig.count(`ignored_${reason}`) > 0) ?? 'nothing in it'
}

/** Only what fills a hole becomes a row, so the events are counted. */
function missedTrades({ exchange, market, symbol }: Instrument, channel: TradeChannel, text: string): string {
  const collector = new KindCollector()
  const parser = (READ_RULES.get(exchange) as ReadRules).parser(collector, market)
  const bytes = new TextEncoder().encode(text)
  const outcome = parser.parseTrades(channel, bytes, 0, bytes.length, collector.instrumentOf(symbol))
  return outcome === '' ? `${collector.trades.length} trades` : `refused: ${outcome}`
}
