import { Fault } from '../../base/fault.ts'
import type { TradeChannel } from '../../record/emit.ts'
import type { RATIO_PERIODS } from '../../record/schema-kinds.ts'
import type { Instrument, PollRule, RestRequest } from '../exchange.ts'
import type { BinanceMarket } from './endpoints.ts'
import { EXCHANGE, parse, readInstrument } from './instruments.ts'

/** What only REST has: open interest, long/short ratios, missed trades, depth snapshots, the venue's clock. */

export type RatioPeriod = keyof typeof RATIO_PERIODS

const MINUTE_MS = 60_000
const RATIO_PERIOD_MS: Readonly<Record<RatioPeriod, number>> = {
  '5m': 5 * MINUTE_MS,
  '15m': 15 * MINUTE_MS,
  '30m': 30 * MINUTE_MS,
  '1h': 60 * MINUTE_MS,
  '2h': 120 * MINUTE_MS,
  '4h': 240 * MINUTE_MS,
  '6h': 360 * MINUTE_MS,
  '12h': 720 * MINUTE_MS,
  '1d': 1440 * MINUTE_MS,
}
const OPEN_INTEREST_EVERY_MS = MINUTE_MS
/** An answer holds so many periods, so that as many polls may fail in a row before one is missed. It costs nothing. */
const RATIO_LIMIT = 12
/**
 * USDM, "Long/Short Ratio" and its siblings: weight 0, but an own limit of 1,000 requests in 5 minutes an IP. The ledger
 * knows one limit a market, so they are paid for with a 200th part of the minute's weight: 200 a minute are never passed,
 * and what is lost is weight that a start with some thousand books could use.
 */
const USDM_RATIO_WEIGHT = 12
/** COINM, the pages of the same names */
const COINM_RATIO_WEIGHT = 1

/** Name of a poll → the last part of its path; USDM, COINM: pages of these names. */
const RATIOS = {
  top_positions_ratio: 'topLongShortPositionRatio',
  top_accounts_ratio: 'topLongShortAccountRatio',
  all_accounts_ratio: 'globalLongShortAccountRatio',
} as const

/** Polls of a futures market; spot has none. */
export function pollRules(market: BinanceMarket, period: RatioPeriod): readonly PollRule[] {
  return [openInterest(market), ...Object.entries(RATIOS).map(([name, path]) => ratio(market, name, path, period))]
}

/** USDM, COINM "Open Interest". The row has the venue's time. */
function openInterest(market: BinanceMarket): PollRule {
  return {
    name: 'open_interest',
    channel: 'open_interests',
    intervalMs: OPEN_INTEREST_EVERY_MS,
    request: ({ symbol, isTrading }) =>
      isTrading === false
        ? undefined
        : { path: `${market.restPath}/openInterest?symbol=${encodeURIComponent(symbol)}`, weight: 1 },
  }
}

/**
 * The venue gives out a period some minutes after its end (recorded: 2 to 8), so each answer repeats most of the one
 * before; the parser gives a row for what is new or has changed. A changed one replaces the old: the key is the period.
 *
 * COIN-M counts by pair, all its contracts together: the perpetual asks, and has the rows.
 */
function ratio(market: BinanceMarket, scope: string, path: string, period: RatioPeriod): PollRule {
  const isByPair = market.name === 'coinm'
  return {
    name: period === '5m' ? scope : `${scope}_${period}`, // the answer does not name its period
    channel: 'long_short_ratios',
    intervalMs: Math.max(5 * MINUTE_MS, RATIO_PERIOD_MS[period] / 6),
    request: (instrument) => {
      if (instrument.isTrading === false || (isByPair && instrument.kind === 'future')) return undefined
      const whose = isByPair
        ? `pair=${encodeURIComponent(pairOf(instrument))}`
        : `symbol=${encodeURIComponent(instrument.symbol)}`
      return {
        path: `/futures/data/${path}?${whose}&period=${period}&limit=${RATIO_LIMIT}`,
        weight: isByPair ? COINM_RATIO_WEIGHT : USDM_RATIO_WEIGHT,
      }
    },
  }
}

/** `BTCUSD` of `BTCUSD_PERP`. */
function pairOf({ underlying, symbol }: Instrument): string {
  return underlying ?? (symbol.split('_')[0] as string)
}

export function instrumentsRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/exchangeInfo`, weight: market.exchangeInfoWeight }
}

export function snapshotRequest(market: BinanceMarket, symbol: string, depth: number): RestRequest {
  const step = market.depthWeights.find((candidate) => depth <= candidate.depthMax)
  const last = market.depthWeights[market.depthWeights.length - 1]
  if (step === undefined || last === undefined || depth < 1) {
    throw new Fault(
      'SNAPSHOT_DEPTH',
      `snapshot depth ${depth} of ${EXCHANGE}.${market.name}: allowed are 1 to ${last?.depthMax}`,
      78,
    )
  }
  // futures take only the listed depths; the step's own depth costs the same weight as anything below it
  const limit = market.name === 'spot' ? depth : step.depthMax
  return { path: `${market.restPath}/depth?symbol=${encodeURIComponent(symbol)}&limit=${limit}`, weight: step.weight }
}

/** SPOT "24hr ticker price change statistics"; USDM, COINM the page of the same name: all symbols in one answer. */
export function volumesRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/ticker/24hr`, weight: market.name === 'spot' ? 80 : 40 }
}

/** Turnover: `quoteVolume`; COIN-M says `baseVolume`, and `volume` counts contracts of equal worth. */
export function readVolumes(market: string, body: string): ReadonlyMap<string, number> {
  const entries = parse(body, 'ticker/24hr') as { symbol?: string; quoteVolume?: string; volume?: string }[]
  if (!Array.isArray(entries)) throw new Fault('BAD_ANSWER', `ticker/24hr of ${EXCHANGE}.${market}: no list`)
  return new Map(entries.map((entry) => [String(entry.symbol), Number(entry.quoteVolume ?? entry.volume ?? 0)]))
}

/**
 * By number: both take the first one, inclusive, and give at most 1000; data-api.binance.vision does not have them. Old
 * single trades of futures need a key (recorded: code −2014), the last 1000 none: a hole that was just seen lies in them.
 */
export function tradesRequest(
  market: BinanceMarket,
  symbol: string,
  channel: TradeChannel,
  firstSeq: number,
  lastSeq: number,
): RestRequest {
  const isSpot = market.name === 'spot'
  // USDM, COINM "Recent Trades List"
  if (channel === 'trades' && !isSpot)
    return { path: `${market.restPath}/trades?symbol=${encodeURIComponent(symbol)}&limit=1000`, weight: 5 }
  const limit = Math.min(1000, lastSeq - firstSeq + 1)
  const query = `symbol=${encodeURIComponent(symbol)}&fromId=${firstSeq}&limit=${limit}`
  // SPOT "Old trade lookup"
  if (channel === 'trades') return { path: `${market.restPath}/historicalTrades?${query}`, weight: 25 }
  // SPOT, USDM, COINM "Compressed/Aggregate trades list"
  return { path: `${market.restPath}/aggTrades?${query}`, weight: isSpot ? 4 : 20 }
}

export function serverTimeRequest(market: BinanceMarket): RestRequest {
  return { path: `${market.restPath}/time`, weight: 1 }
}

export function readServerTime(body: string): number {
  const time = (parse(body, 'time') as { serverTime?: unknown }).serverTime
  if (typeof time !== 'number' || !Number.isSafeInteger(time))
    throw new Fault('BAD_ANSWER', 'time: no serverTime in the answer')
  return time
}

export function readInstruments(market: BinanceMarket, body: string): Instrument[] {
  const entries = (parse(body, 'exchangeInfo') as { symbols?: unknown }).symbols
  if (!Array.isArray(entries))
    throw new Fault('BAD_ANSWER', `exchangeInfo of ${EXCHANGE}.${market.name}: no symbols in the answer`)
  return entries.map((entry) => readInstrument(market.name, entry))
}
