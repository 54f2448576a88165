/** Which markets a demo has, and what it asks of each. */
import { surveyRecording } from '../../simulate/survey.ts'
import type { ExchangeName } from '../../simulate/venue.ts'
import { recordingFile } from '../simulate.ts'
import type { MarketPlans } from './venue.ts'

const EVENTS = ['book', 'trades', 'book_tickers'] as const
const KINDS = [...EVENTS, 'klines', 'tickers'] as const
const CONTRACT_KINDS = [...KINDS, 'mark_prices', 'open_interests', 'liquidations'] as const

/** Markets of the demo and what it asks of each. Binance as ever; of the others all that they have. */
const MARKETS: Readonly<Record<ExchangeName, Readonly<Record<string, readonly string[]>>>> = {
  binance: {
    spot: EVENTS,
    usdm: ['book', 'agg_trades', 'book_tickers'],
    coinm: ['book', 'agg_trades', 'book_tickers'],
  },
  okx: { spot: KINDS, swap: [...CONTRACT_KINDS, 'funding_rates', 'long_short_ratios'] },
  deribit: { perpetual: [...CONTRACT_KINDS, 'index_prices', 'funding_rates'], option: CONTRACT_KINDS },
  bybit: { spot: KINDS, linear: [...CONTRACT_KINDS, 'index_prices', 'funding_rates', 'long_short_ratios'] },
}
/** Beside those, one instrument of each index market. */
const INDICES: Readonly<Record<string, readonly string[]>> = {
  'okx.index': ['index_prices'],
  'deribit.index': ['index_prices', 'volatility_indices'],
}
/** Figures of Binance's markets that the simulator has. */
const BINANCE_FIGURES: Readonly<Record<string, readonly string[]>> = {
  'binance.spot': ['tickers'],
  'binance.usdm': ['tickers', 'mark_prices', 'open_interests'],
  'binance.coinm': ['tickers', 'mark_prices', 'open_interests'],
}
const CHANNEL_OF_STREAM: readonly (readonly [RegExp, string])[] = [
  [/@depth(@|$)/, 'book'],
  [/@trade$/, 'trades'],
  [/@aggTrade$/, 'agg_trades'],
  [/@bookTicker$/, 'book_tickers'],
]

/** As many instruments as asked for, spread over the markets of the venues; each has at least one. */
export function spreadOverMarkets(total: number, venues: readonly ExchangeName[]): MarketPlans {
  const keys = venues.flatMap((venue) => Object.keys(MARKETS[venue]).map((market) => `${venue}.${market}`))
  return countedMarkets(
    Object.fromEntries(
      keys.map((key, index) => [key, Math.max(1, Math.floor((total + keys.length - 1 - index) / keys.length))]),
    ),
  )
}

/** With what the page shows besides trades and books; the trials count these and leave out the rest. */
export function withFigures(plans: MarketPlans): MarketPlans {
  return Object.fromEntries(
    Object.entries(plans).map(([key, plan]) => {
      const figures = BINANCE_FIGURES[key] ?? []
      return [key, { ...plan, channels: [...new Set([...plan.channels, ...figures])] }]
    }),
  )
}

/**
 * As many instruments as asked for, half of them at Binance: its books cost REST weight, and with so many the start takes
 * several minutes' budgets, so that its length is not decided by the second at which it begins.
 */
export function halfAtBinance(total: number, venues: readonly ExchangeName[]): MarketPlans {
  const others = venues.filter((venue) => venue !== 'binance')
  if (others.length === 0 || others.length === venues.length) return spreadOverMarkets(total, venues)
  const half = Math.floor(total / 2)
  return { ...spreadOverMarkets(half, ['binance']), ...spreadOverMarkets(total - half, others) }
}

/** @param counts instruments by market; index markets of the same venues come on top */
export function countedMarkets(counts: Readonly<Record<string, number>>): MarketPlans {
  const keys = Object.keys(counts)
  const indices = Object.entries(INDICES).filter(([index]) =>
    keys.some((key) => key.split('.')[0] === index.split('.')[0]),
  )
  return Object.fromEntries([
    ...Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([key, count]) => [key, { count, channels: channelsOf(key) }] as const),
    ...indices.map(([key, channels]) => [key, { count: 1, channels }] as const),
  ])
}

function channelsOf(key: string): readonly string[] {
  const [exchange = '', market = ''] = key.split('.')
  return MARKETS[exchange as ExchangeName]?.[market] ?? []
}

export async function recordedMarkets(recordings: readonly string[]): Promise<MarketPlans> {
  const plans: Record<string, { symbols: ReadonlySet<string>; channels: readonly string[]; depthSpeedMs?: number }> = {}
  for (const text of recordings) {
    const { path, market: given } = recordingFile(text, null)
    const { market, listings, streams } = await surveyRecording(path, given)
    const key = `binance.${market}`
    const found = CHANNEL_OF_STREAM.filter(([pattern]) => streams.some((stream) => pattern.test(stream)))
    const known = plans[key] ?? { symbols: new Set(), channels: [] }
    const channels = [...new Set([...known.channels, ...found.map(([, channel]) => channel)])]
    const speed = streams.map((stream) => /@depth@(\d+)ms$/.exec(stream)?.[1]).find((each) => each !== undefined)
    plans[key] = {
      ...known,
      symbols: new Set([...known.symbols, ...listings.map(({ symbol }) => symbol)]),
      channels,
      ...(speed === undefined ? {} : { depthSpeedMs: Number(speed) }),
    }
  }
  return Object.fromEntries(
    Object.entries(plans).map(([key, { symbols, ...plan }]) => [key, { ...plan, count: symbols.size }]),
  )
}
