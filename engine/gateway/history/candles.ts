/**
 * Candles from trades. Two ways to the same bars:
 *
 *   kept      `trade_bars`, one row a minute, made by the job candles: 1,440 rows are a day of any instrument
 *   counted   from the trades themselves: what is too new to be kept, and bars that minutes do not make up (90s)
 *
 * Kept bars are trusted only after they were proven: the trades that are stored in their range are counted, and have to
 * be as many as the bars say they are made of. Rows are only ever added, so equal counts are equal rows, and the volume is
 * theirs. Where the counts differ (a trade came late, a block came twice and is not merged yet) the minutes that differ
 * are found and counted anew, so the answer is right whatever the job did or did not.
 *
 * Measured (1.4 M bars, 10 M trades, 2 cores, load 5): a day of 1-minute bars kept 17 to 80 ms, its proof 14 ms;
 * counted from 340,000 trades 130 to 350 ms.
 */
import { BAR_VALUES, barsOfBars, barsOfTrades } from '../../record/bars.ts'
import type { TRADE_STREAMS } from '../../record/schema.ts'
import type { InstrumentName } from '../engine-link.ts'
import type { Params, Store } from '../store.ts'
import type { Interval } from './interval.ts'
import { later } from './time.ts'

export type TradeStream = keyof typeof TRADE_STREAMS
/** counted: from the trades, just now · proven: kept, and as many trades are stored as it is made of */
export type VolumeCheck = 'counted' | 'proven' | 'equal' | 'unequal'

export interface Candle {
  readonly open_ns: string
  readonly open: string
  readonly high: string
  readonly low: string
  readonly close: string
  readonly volume: string
  readonly notional: string
  readonly taker_buy_volume: string
  readonly taker_buy_notional: string
  readonly trade_count: number
  readonly match_count: number
  readonly first_trade_id: number
  readonly last_trade_id: number
  readonly first_trade_ns: string
  readonly last_trade_ns: string
}

export interface CandleQuestion {
  readonly instrument: InstrumentName
  readonly interval: Interval
  /** begin of a bar */
  readonly fromNs: bigint
  /** begin of a bar, exclusive */
  readonly toNs: bigint
  /** undefined: trade where there are any, else agg_trade */
  readonly stream: TradeStream | undefined
  readonly signal?: AbortSignal
}

export interface CandleAnswer {
  readonly stream: TradeStream
  readonly candles: readonly Candle[]
  readonly check: VolumeCheck
  /** minutes that were counted anew, because what is kept of them is not what is stored */
  readonly recounted: number
}

const MINUTE_NS = 60_000_000_000n
/** More than these and everything is counted anew. */
const DIRTY_MAX = 5_000

/** What is kept of a range. */
interface Kept {
  readonly stream: TradeStream
  /** end of the last kept minute */
  readonly endNs: bigint
  readonly trades: number
}

export async function candlesOf(store: Store, question: CandleQuestion): Promise<CandleAnswer> {
  const kept = question.interval.isOfMinutes ? await keptOf(store, question) : []
  if (kept.length === 0) return await counted(store, question)
  const stream = question.stream ?? (kept.some((one) => one.stream === 'trade') ? 'trade' : 'agg_trade')
  const keptEndNs = kept.reduce((end, one) => later(end, one.endNs), 0n)
  const trades = kept.reduce((sum, one) => sum + one.trades, 0)
  const [candles, stored] = await Promise.all([
    mixed(store, question, stream, keptEndNs, []),
    countOf(store, question, keptEndNs),
  ])
  if (stored === trades) return { stream, candles, check: 'proven', recounted: 0 }
  const dirty = await dirtyMinutes(store, question, keptEndNs)
  if (dirty.length > DIRTY_MAX) return await counted(store, { ...question, stream })
  const renewed = await mixed(store, question, stream, keptEndNs, dirty)
  return { stream, candles: renewed, check: 'proven', recounted: dirty.length }
}

const IS_INSTRUMENT = (alias: string): string =>
  ['exchange', 'market', 'symbol'].map((column) => `${alias}.${column} = {${column}:String}`).join(' AND ')
const WITHIN = (time: string, from: string, to: string): string =>
  `${time} >= fromUnixTimestamp64Nano({${from}:Int64}) AND ${time} < fromUnixTimestamp64Nano({${to}:Int64})`

function paramsOf({ instrument, fromNs, toNs }: CandleQuestion): Record<string, Params[string]> {
  return { ...instrument, from: fromNs, to: toNs }
}

/** Begin of all that is stored of its trades; the key has them in this order. */
export async function oldestTradeNs(
  store: Store,
  { exchange, market, symbol }: InstrumentName,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const [row] = await store.rows<{ ns: string }>(
    `SELECT toString(toUnixTimestamp64Nano(fact.trade_ns)) AS ns FROM trades AS fact WHERE ${IS_INSTRUMENT('fact')}
     ORDER BY fact.exchange, fact.market, fact.symbol, fact.trade_ns LIMIT 1`,
    { exchange, market, symbol },
    { signal },
  )
  return row === undefined ? undefined : BigInt(row.ns)
}

export async function hasNoTradesBefore(
  store: Store,
  { exchange, market, symbol }: InstrumentName,
  ns: bigint,
  signal: AbortSignal,
): Promise<boolean> {
  const rows = await store.rows(
    `SELECT 1 FROM trades AS fact WHERE ${IS_INSTRUMENT('fact')} AND fact.trade_ns < fromUnixTimestamp64Nano({ns:Int64}) LIMIT 1`,
    { exchange, market, symbol, ns },
    { signal },
  )
  return rows.length === 0
}

/** A row a stream that has bars there. */
async function keptOf(store: Store, question: CandleQuestion): Promise<readonly Kept[]> {
  const rows = await store.rows<{ stream: TradeStream; last: string; trades: number }>(
    `SELECT toString(bar.stream) AS stream, toString(toUnixTimestamp64Nano(max(bar.minute_ns))) AS last, sum(bar.trade_count) AS trades
     FROM trade_bars AS bar FINAL
     WHERE ${IS_INSTRUMENT('bar')} AND ${WITHIN('bar.minute_ns', 'from', 'to')}
     GROUP BY bar.stream`,
    paramsOf(question),
    { signal: question.signal },
  )
  return rows.map(({ stream, last, trades }) => ({ stream, endNs: BigInt(last) + MINUTE_NS, trades }))
}

/** Rows of both streams: the key has the stream behind the time, so it is cheaper not to ask for one. */
async function countOf(store: Store, question: CandleQuestion, endNs: bigint): Promise<number> {
  const [row] = await store.rows<{ trades: number }>(
    `SELECT count() AS trades FROM trades AS fact WHERE ${IS_INSTRUMENT('fact')} AND ${WITHIN('fact.trade_ns', 'from', 'end')}`,
    { ...paramsOf(question), end: endNs },
    { signal: question.signal },
  )
  return row?.trades ?? 0
}

/** Minutes of which not as many trades are stored as are kept. */
async function dirtyMinutes(store: Store, question: CandleQuestion, endNs: bigint): Promise<readonly string[]> {
  const rows = await store.rows<{ minute: string }>(
    `SELECT toString(minute) AS minute FROM (
       SELECT intDiv(toUnixTimestamp64Nano(fact.trade_ns), ${MINUTE_NS}) AS minute, toInt64(count()) AS trades
       FROM trades AS fact WHERE ${IS_INSTRUMENT('fact')} AND ${WITHIN('fact.trade_ns', 'from', 'end')} GROUP BY minute
       UNION ALL
       SELECT intDiv(toUnixTimestamp64Nano(bar.minute_ns), ${MINUTE_NS}) AS minute, -toInt64(bar.trade_count) AS trades
       FROM trade_bars AS bar FINAL WHERE ${IS_INSTRUMENT('bar')} AND ${WITHIN('bar.minute_ns', 'from', 'end')}
     )
     GROUP BY minute HAVING sum(trades) != 0 ORDER BY minute LIMIT ${DIRTY_MAX + 1}`,
    { ...paramsOf(question), end: endNs },
    { signal: question.signal },
  )
  return rows.map(({ minute }) => minute)
}

const VALUES = BAR_VALUES.map(({ name }) => name).join(', ')
const IS_STREAM = `stream = {stream:String}`
const MINUTE_OF_TRADE = `intDiv(toUnixTimestamp64Nano(fact.trade_ns), ${MINUTE_NS}) * ${MINUTE_NS}`

/** Kept minutes but the dirty ones, those counted anew, and what came after the last kept one, as wider bars. */
async function mixed(
  store: Store,
  question: CandleQuestion,
  stream: TradeStream,
  endNs: bigint,
  dirty: readonly string[],
): Promise<readonly Candle[]> {
  const isDirty = (ns: string) => `has({dirty:Array(Int64)}, intDiv(toUnixTimestamp64Nano(${ns}), ${MINUTE_NS}))`
  const clean = dirty.length === 0 ? '' : `AND NOT ${isDirty('bar.minute_ns')}`
  const parts = [
    `SELECT toUnixTimestamp64Nano(bar.minute_ns) AS minute, ${VALUES} FROM trade_bars AS bar FINAL
     WHERE ${IS_INSTRUMENT('bar')} AND bar.${IS_STREAM} AND ${WITHIN('bar.minute_ns', 'from', 'end')} ${clean}`,
  ]
  const minutes = (condition: string): string =>
    `SELECT minute, ${VALUES} FROM (${barsOfTrades(
      { minute: MINUTE_OF_TRADE },
      `trades AS fact FINAL WHERE ${IS_INSTRUMENT('fact')} AND fact.${IS_STREAM} AND ${condition}`,
    )})`
  if (endNs < question.toNs) parts.push(minutes(WITHIN('fact.trade_ns', 'end', 'to')))
  if (dirty.length > 0)
    parts.push(minutes(`${WITHIN('fact.trade_ns', 'first', 'last')} AND ${isDirty('fact.trade_ns')}`))
  const params = { ...paramsOf(question), stream, end: endNs, dirty: dirty.map(Number), ...ends(dirty) }
  const groups = { slot: question.interval.sql('bar.minute') }
  return await ask(store, barsOfBars(groups, 'bar.minute', `(${parts.join('\nUNION ALL\n')}) AS bar`), params, question)
}

/** Where the minutes to count anew lie, so that the key finds them. */
function ends(dirty: readonly string[]): Record<string, bigint> {
  const [first, last] = [dirty[0], dirty.at(-1)]
  if (first === undefined || last === undefined) return {}
  return { first: BigInt(first) * MINUTE_NS, last: (BigInt(last) + 1n) * MINUTE_NS }
}

/** From trades alone. */
async function counted(store: Store, question: CandleQuestion): Promise<CandleAnswer> {
  const slot = question.interval.sql('toUnixTimestamp64Nano(fact.trade_ns)')
  const of = async (stream: TradeStream) => {
    const from = `trades AS fact FINAL WHERE ${IS_INSTRUMENT('fact')} AND fact.${IS_STREAM} AND ${WITHIN('fact.trade_ns', 'from', 'to')}`
    const candles = await ask(store, barsOfTrades({ slot }, from), { ...paramsOf(question), stream }, question)
    return { stream, candles, check: 'counted', recounted: 0 } as const
  }
  if (question.stream !== undefined) return await of(question.stream)
  const trades = await of('trade')
  return trades.candles.length > 0 ? trades : await of('agg_trade')
}

async function ask(store: Store, bars: string, params: Params, { signal }: CandleQuestion): Promise<readonly Candle[]> {
  return await store.rows<Candle>(
    `SELECT toString(slot) AS open_ns, ${BAR_VALUES.map(({ name, type }) => shownAs(name, type)).join(', ')}
     FROM (${bars}) AS bar ORDER BY bar.slot`,
    params,
    { signal },
  )
}

function shownAs(name: string, type: string): string {
  if (type.startsWith('Decimal')) return `toString(bar.${name}) AS ${name}`
  return type.startsWith('DateTime64')
    ? `toString(toUnixTimestamp64Nano(bar.${name})) AS ${name}`
    : `bar.${name} AS ${name}`
}

/**
 * The volume of each bar by another way: the quantities of all its trades, summed as integers.
 * @returns whether every bar has that volume.
 */
export async function sumsAreEqual(store: Store, question: CandleQuestion, answer: CandleAnswer): Promise<boolean> {
  const rows = await store.rows<{ open_ns: string; volume: string }>(
    `SELECT toString(slot) AS open_ns, toString(sum(sum_)) AS volume FROM (
       SELECT ${question.interval.sql('toUnixTimestamp64Nano(fact.trade_ns)')} AS slot, toDecimal256(sum(fact.quantity), 18) AS sum_
       FROM trades AS fact FINAL
       WHERE ${IS_INSTRUMENT('fact')} AND fact.${IS_STREAM} AND ${WITHIN('fact.trade_ns', 'from', 'to')} GROUP BY slot
     ) GROUP BY slot`,
    { ...paramsOf(question), stream: answer.stream },
    { signal: question.signal },
  )
  const sums = new Map(rows.map(({ open_ns, volume }) => [open_ns, volume]))
  return (
    sums.size === answer.candles.length && answer.candles.every(({ open_ns, volume }) => sums.get(open_ns) === volume)
  )
}
