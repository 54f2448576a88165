/** The keys that each market of Binance has; only the venue's own limits differ between markets. */
import { choices, flag, integer, list, number, url } from './key.ts'
import * as limits from './limits.ts'

const MIB = 2 ** 20
const PATTERN = /^[A-Za-z0-9_*?-]{1,64}$/
const CHANNELS = ['book', 'trades', 'agg_trades', 'book_tickers'] as const

interface MarketDefaults<Speed extends number> {
  readonly instruments: readonly string[]
  readonly channels: readonly (typeof CHANNELS)[number][]
  readonly streamsPerConnection: number
  readonly depthSpeedsMs: readonly Speed[]
  readonly depthSpeedMs: Speed
  readonly snapshotLimits: readonly number[]
}

export function market<Speed extends number>(defaults: MarketDefaults<Speed>) {
  const speeds = { min: Math.min(...defaults.depthSpeedsMs), max: Math.max(...defaults.depthSpeedsMs) }
  return {
    enabled: flag(true, 'Collect this market.'),
    instruments: list(
      defaults.instruments,
      PATTERN,
      "a list of the venue's symbols; * and ? match",
      'What to collect; a pattern is matched against the venue’s list of tradable symbols at start.',
    ),
    channels: choices(defaults.channels, CHANNELS, 'What to subscribe for each instrument.'),
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
      {
        unit: 'connections',
      },
    ),
    depthSpeedMs: integer(
      defaults.depthSpeedMs,
      speeds,
      'How often the venue sends book changes; 0 is as they happen.',
      {
        unit: 'ms',
        choices: defaults.depthSpeedsMs,
      },
    ),
    restWeightShare: number(
      0.8,
      limits.REST_WEIGHT_SHARE,
      'Share of the venue’s REST weight that we use; other programs may share the address.',
      {
        unit: 'of 1',
      },
    ),
    snapshotLimit: integer(
      1000,
      limits.BOOK_DEPTH,
      'Levels a side of a REST book; deeper costs more weight, and levels beyond it are untrusted.',
      {
        unit: 'levels',
        choices: defaults.snapshotLimits,
      },
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

export const FUTURES = {
  channels: ['book', 'agg_trades', 'book_tickers'],
  streamsPerConnection: 200,
  depthSpeedsMs: [0, 100, 250, 500],
  depthSpeedMs: 0,
  snapshotLimits: [5, 10, 20, 50, 100, 500, 1000],
} as const
