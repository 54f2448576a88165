/**
 * The keys of every market of every exchange. All markets share one set (`market`); a key that only some venues have
 * something for stands with those only, so that setting it elsewhere is an unknown key and not silently ignored.
 */
import { below, choice, choices, flag, integer, type Key, list, number, secret, url } from './key.ts'
import * as limits from './limits.ts'

const MIB = 2 ** 20
const PATTERN = /^!?[\p{L}\p{N}_*?.:,+-]{1,128}$/u

interface MarketDefaults<Channel extends string> {
  readonly enabled?: boolean
  readonly instruments: readonly string[]
  /** what the venue has; a test holds it to the venue's own rules */
  readonly has: readonly Channel[]
  /** what is collected unless told otherwise; absent: all of it */
  readonly channels?: readonly Channel[]
  readonly streamsPerConnection: number
}

function market<const Channel extends string>(defaults: MarketDefaults<Channel>) {
  return {
    enabled: flag(defaults.enabled ?? false, 'Collect this market.'),
    instruments: list(
      defaults.instruments,
      PATTERN,
      'a list of symbols, patterns with * and ?, rules (top:50, top:20:*USDT, perpetual:BTC+ETH), and !… to take away',
      'What to collect of the venue’s list of tradable symbols; a rule is followed at start and every universeSeconds.',
    ),
    channels: choices(defaults.channels ?? defaults.has, defaults.has, 'What to collect for each instrument.'),
    wsUrl: url(
      ['ws', 'wss'],
      'Other host for WebSocket streams (simulator, mirror, market-data-only host); the paths stay.',
    ),
    restUrl: url(['http', 'https'], 'Other host for REST; the paths stay.'),
    streamsPerConnection: integer(
      defaults.streamsPerConnection,
      limits.STREAMS_A_CONNECTION,
      'The plan opens another connection beyond this; the venue’s own ceiling is in its documents.',
      { unit: 'streams' },
    ),
    connections: integer(
      0,
      limits.CONNECTIONS,
      'Open at least this many connections; 0 = as few as the limits allow.',
      { unit: 'connections' },
    ),
    legs: integer(
      1,
      limits.LEGS,
      'Copies of each connection; the first copy of a message wins, so that one socket may fail without a gap.',
      { unit: 'sockets' },
    ),
    lifeSeconds: integer(
      0,
      limits.CONNECTION_LIFE_S,
      'A connection is replaced before it is this old, the new one first; 0 = before the venue would cut it.',
      { unit: 's' },
    ),
    universeSeconds: integer(
      300,
      limits.UNIVERSE_S,
      'How often the instruments are chosen again (listings, delistings, tick sizes); 0 = only at start.',
      { unit: 's' },
    ),
    restWeightShare: number(
      0.8,
      limits.REST_WEIGHT_SHARE,
      'Share of the venue’s REST weight that we use; other programs may share the address.',
      { unit: 'of 1' },
    ),
    proxy: url(
      ['http', 'https', 'socks', 'socks4', 'socks4a', 'socks5', 'socks5h'],
      'Sends sockets and REST of this market through a proxy.',
    ),
    maxPayloadBytes: integer(
      MIB,
      limits.FRAME_PAYLOAD_BYTES,
      'A longer message closes the connection: a bound on memory. The longest in recordings has 60 kB.',
      { unit: 'bytes' },
    ),
    silenceMs: integer(
      30_000,
      limits.SILENCE_MS,
      'Without any frame (ping counts) for this long a connection is taken for dead.',
      { unit: 'ms' },
    ),
  }
}

function depthSpeed(speedsMs: readonly number[], byDefaultMs: number) {
  const range = { min: Math.min(...speedsMs), max: Math.max(...speedsMs) }
  const why = 'How often the venue sends book changes; 0 is as they happen.'
  return { depthSpeedMs: integer(byDefaultMs, range, why, { unit: 'ms', choices: speedsMs }) }
}

function snapshots(levels: readonly number[]) {
  const why = 'Levels a side of a REST book; deeper costs more weight, and levels beyond it are untrusted.'
  return { snapshotLimit: integer(1000, limits.BOOK_DEPTH, why, { unit: 'levels', choices: levels }) }
}

/** Of these every venue here has bars; Deribit has none of 4 h. */
const INTERVALS = ['1m', '3m', '5m', '15m', '30m', '1h', '2h', '6h', '12h', '1d'] as const

function klines() {
  return { klineIntervals: choices(['1m'], INTERVALS, 'Bars to collect; they are stored when they are closed.') }
}

const PERIODS = ['5m', '15m', '30m', '1h', '4h', '1d'] as const

function ratios() {
  return { ratioPeriod: choice('5m', PERIODS, 'Interval of the long/short ratios.') }
}

const TRADED = ['book', 'trades', 'book_tickers', 'klines', 'tickers'] as const
const BINANCE_FUTURES_HAS = [
  'book',
  'trades',
  'agg_trades',
  'book_tickers',
  'klines',
  'tickers',
  'mark_prices',
  'index_prices',
  'funding_rates',
  'open_interests',
  'liquidations',
  'long_short_ratios',
] as const
const BINANCE_FUTURES = {
  enabled: true,
  channels: ['book', 'agg_trades', 'book_tickers'],
  streamsPerConnection: 200,
} as const
const BINANCE_FUTURES_KEYS = {
  ...depthSpeed([0, 100, 250, 500], 0),
  ...snapshots([5, 10, 20, 50, 100, 500, 1000]),
  ...klines(),
  ...ratios(),
}

const BINANCE = {
  ...below('exchanges.binance.spot', {
    ...market({
      enabled: true,
      instruments: ['BTCUSDT', 'ETHUSDT'],
      has: ['book', 'trades', 'agg_trades', 'book_tickers', 'klines', 'tickers'],
      channels: ['book', 'trades', 'book_tickers'],
      streamsPerConnection: 200,
    }),
    ...depthSpeed([100, 1000], 100),
    ...snapshots([100, 500, 1000, 5000]),
    ...klines(),
  }),
  ...below('exchanges.binance.usdm', {
    ...market({ ...BINANCE_FUTURES, instruments: ['BTCUSDT', 'ETHUSDT'], has: BINANCE_FUTURES_HAS }),
    ...BINANCE_FUTURES_KEYS,
    tradePath: choice(
      'public',
      ['public', 'market'],
      'Path that carries `trade`, which the venue does not document (agg_trades always come on `market`).',
    ),
  }),
  ...below('exchanges.binance.coinm', {
    ...market({
      ...BINANCE_FUTURES,
      instruments: ['BTCUSD_PERP', 'ETHUSD_PERP'],
      has: BINANCE_FUTURES_HAS,
    }),
    ...BINANCE_FUTURES_KEYS,
  }),
}

const OKX_STREAMS = { streamsPerConnection: 100 } as const
const OKX_OPTION = [...TRADED, 'mark_prices', 'open_interests', 'liquidations'] as const
const OKX_DERIVATIVE = [...OKX_OPTION, 'long_short_ratios'] as const

function okxStreams() {
  return {
    bookStream: choice(
      'books',
      ['books', 'books-l2-tbt', 'books50-l2-tbt'],
      '`books` is public (400 levels, 100 ms); the other two are every 10 ms and need a login of a high tier.',
    ),
    tradeStream: choice(
      'trades',
      ['trades', 'trades-all'],
      '`trades` has one message a taker order and price, `trades-all` one a match.',
    ),
  }
}

const OKX = {
  ...below('exchanges.okx.spot', {
    ...market({ ...OKX_STREAMS, instruments: ['BTC-USDT', 'ETH-USDT'], has: TRADED }),
    ...okxStreams(),
    ...klines(),
  }),
  ...below('exchanges.okx.swap', {
    ...market({
      ...OKX_STREAMS,
      instruments: ['BTC-USDT-SWAP', 'ETH-USDT-SWAP'],
      has: [...OKX_DERIVATIVE, 'funding_rates'],
    }),
    ...okxStreams(),
    ...klines(),
    ...ratios(),
  }),
  ...below('exchanges.okx.futures', {
    ...market({ ...OKX_STREAMS, instruments: ['future:BTC+ETH'], has: OKX_DERIVATIVE }),
    ...okxStreams(),
    ...klines(),
    ...ratios(),
  }),
  ...below('exchanges.okx.option', {
    ...market({
      ...OKX_STREAMS,
      instruments: ['top:20:BTC-USD-*'],
      has: OKX_OPTION,
    }),
    ...okxStreams(),
    ...klines(),
  }),
  ...below(
    'exchanges.okx.index',
    market({ ...OKX_STREAMS, instruments: ['BTC-USDT', 'ETH-USDT'], has: ['index_prices'] }),
  ),
}

const DERIBIT_STREAMS = { streamsPerConnection: 200 } as const
/** The ticker carries mark and index price, funding and open interest, trades carry the liquidations. */
const DERIBIT_DERIVATIVE = [...TRADED, 'mark_prices', 'index_prices', 'open_interests', 'liquidations'] as const

function deribitInterval() {
  const why = 'How often books, trades and tickers come; `raw` is as they happen and needs credentials.deribit.'
  return { interval: choice('100ms', ['100ms', 'raw', 'agg2'], why) }
}

const DERIBIT = {
  ...below('exchanges.deribit.perpetual', {
    ...market({
      ...DERIBIT_STREAMS,
      instruments: ['BTC-PERPETUAL', 'ETH-PERPETUAL'],
      has: [...DERIBIT_DERIVATIVE, 'funding_rates'],
    }),
    ...deribitInterval(),
    ...klines(),
  }),
  ...below('exchanges.deribit.future', {
    ...market({ ...DERIBIT_STREAMS, instruments: ['future:BTC+ETH'], has: DERIBIT_DERIVATIVE }),
    ...deribitInterval(),
    ...klines(),
  }),
  ...below('exchanges.deribit.option', {
    ...market({ ...DERIBIT_STREAMS, instruments: ['top:20:BTC-*'], has: DERIBIT_DERIVATIVE }),
    ...deribitInterval(),
    ...klines(),
  }),
  ...below('exchanges.deribit.spot', {
    ...market({
      ...DERIBIT_STREAMS,
      instruments: ['BTC_USDC', 'ETH_USDC'],
      has: [...TRADED, 'mark_prices', 'index_prices'],
    }),
    ...deribitInterval(),
    ...klines(),
  }),
  ...below(
    'exchanges.deribit.index',
    market({ ...DERIBIT_STREAMS, instruments: ['btc_usd', 'eth_usd'], has: ['index_prices', 'volatility_indices'] }),
  ),
}

const BYBIT_STREAMS = { streamsPerConnection: 200 } as const
const BYBIT_DERIVATIVE = [
  ...TRADED,
  'mark_prices',
  'index_prices',
  'funding_rates',
  'open_interests',
  'liquidations',
  'long_short_ratios',
] as const

function bybitBooks() {
  const why = 'Levels a side of the book stream: 50 every 20 ms, 200 every 100 ms, 1000 every 200 ms.'
  return { bookDepth: integer(200, { min: 50, max: 1000 }, why, { unit: 'levels', choices: [50, 200, 1000] }) }
}

const BYBIT = {
  ...below('exchanges.bybit.spot', {
    ...market({ ...BYBIT_STREAMS, instruments: ['BTCUSDT', 'ETHUSDT'], has: TRADED }),
    ...bybitBooks(),
    ...klines(),
  }),
  ...below('exchanges.bybit.linear', {
    ...market({ ...BYBIT_STREAMS, instruments: ['BTCUSDT', 'ETHUSDT'], has: BYBIT_DERIVATIVE }),
    ...bybitBooks(),
    ...klines(),
    ...ratios(),
  }),
  ...below('exchanges.bybit.inverse', {
    ...market({ ...BYBIT_STREAMS, instruments: ['BTCUSD', 'ETHUSD'], has: BYBIT_DERIVATIVE }),
    ...bybitBooks(),
    ...klines(),
    ...ratios(),
  }),
}

export const EXCHANGE_KEYS = { ...BINANCE, ...OKX, ...DERIBIT, ...BYBIT } satisfies Record<string, Key<unknown>>

type MarketPathOf<Path> = Path extends `${infer Market}.enabled` ? Market : never
/** `exchanges.okx.swap` */
export type MarketPath = MarketPathOf<keyof typeof EXCHANGE_KEYS>
export const MARKET_PATHS = Object.keys(EXCHANGE_KEYS)
  .filter((path) => path.endsWith('.enabled'))
  .map((path) => path.slice(0, -'.enabled'.length)) as MarketPath[]

/** A login shows nothing that is not public; some venues send more levels or more often to those they know. */
export const CREDENTIAL_KEYS = {
  ...below('credentials.okx', {
    apiKey: secret('For the streams books-l2-tbt and books50-l2-tbt.'),
    secret: secret('Goes with credentials.okx.apiKey.'),
    passphrase: secret('Goes with credentials.okx.apiKey.'),
  }),
  ...below('credentials.deribit', {
    clientId: secret('For the interval `raw`.'),
    clientSecret: secret('Goes with credentials.deribit.clientId.'),
  }),
}
