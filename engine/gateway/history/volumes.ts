/**
 * Traded worth over all instruments: bars of one hour where they count (hour-bars.ts), bars of one minute for what they
 * leave, and what is younger than the last kept minute of an exchange is counted from its trades. Trades that came late are
 * in it after the next run of the job candles.
 *
 * Quantities of different instruments are not of one unit, and neither are their prices. So what is added up is worth, in
 * the currency in which an instrument is quoted, apart for each currency (see record/views.ts for contracts):
 *
 *   contract_size is NULL          price × quantity                      in the quote currency
 *   contract_unit is the base      price × quantity × contract_size      in the quote currency
 *   contract_unit is another       quantity × contract_size              in that unit
 *   the instrument is unknown      price × quantity                      currency is empty: not to be added to others
 *
 * Where a venue sends trades and aggregates of them in one interval, the trades count.
 */
import { barsOfTrades, HOUR_NS, MARKS_OF_HOURS, tradesOnce } from '../../record/bars.ts'
import { HttpFault } from '../http-fault.ts'
import type { Params, Store } from '../store.ts'
import type { Interval } from './interval.ts'
import { later } from './time.ts'

export const VOLUME_GROUPS = {
  exchange: ['exchange'],
  market: ['exchange', 'market'],
  instrument: ['exchange', 'market', 'symbol'],
} as const

export interface VolumeQuestion {
  readonly by: keyof typeof VOLUME_GROUPS
  readonly interval: Interval
  readonly exchange: string | undefined
  readonly fromNs: bigint
  readonly toNs: bigint
  readonly signal: AbortSignal
}

export interface VolumeRow {
  open_ns: string
  exchange: string
  market?: string
  symbol?: string
  currency: string
  quote_volume: string
  trade_count: number
}

const MINUTE_NS = 60_000_000_000n
const KEYS = ['exchange', 'market', 'symbol', 'stream']
const VALUES = 'volume, notional, trade_count'
/** Received before its own time by more than this is nothing. */
const SKEW_NS = 3_600_000_000_000n
/** Beyond this a question is cut in two: each trade that is counted is remembered, to be counted once. */
const COUNTED_MAX = 4_000_000
/** What is younger than the last run of the job is never that many. */
const SHORT_NS = 5n * MINUTE_NS
/** Hours that are made anew between two questions are asked for again. */
const ATTEMPTS_MAX = 3

interface Volumes {
  readonly keptUntil: Record<string, string>
  readonly rows: VolumeRow[]
}

/** @param countedMax trades that are counted at once */
export async function volumesOf(store: Store, question: VolumeQuestion, countedMax = COUNTED_MAX): Promise<Volumes> {
  const { interval } = question
  if (!interval.isOfMinutes)
    throw new HttpFault(400, 'invalid_parameter', `interval = "${interval.text}": whole minutes`, {
      parameter: 'interval',
    })
  const asked = { ...question, fromNs: interval.startOf(question.fromNs) }
  for (let attempt = 1; ; attempt++) {
    const hours = await hoursOf(store, asked).catch(noHours)
    const kept = await keptOf(store, asked, hours)
    const middleNs = middleOf(asked)
    if (middleNs !== undefined && (await countOf(store, asked, kept)) > countedMax) {
      const first = await volumesOf(store, { ...asked, toNs: middleNs }, countedMax)
      return joined(first, await volumesOf(store, { ...asked, fromNs: middleNs }, countedMax))
    }
    const rows = await sumsOf(store, asked, kept)
    // trades that were counted may be in an hour that was made anew meanwhile: then they would be counted twice
    const isSteady =
      tailsOf(asked, kept).length === 0 ||
      hours.made.length === 0 ||
      hours.marks === (await hoursOf(store, asked)).marks
    if (!isSteady && attempt < ATTEMPTS_MAX) continue
    if (!isSteady) throw new HttpFault(503, 'bars_change', 'bars of this time are being made anew: ask again', {}, 1)
    return {
      keptUntil: Object.fromEntries([...kept.until].map(([name, untilNs]) => [name, String(untilNs)])),
      rows,
    }
  }
}

/** A begin of a slot, about in the middle. */
function middleOf({ interval, fromNs, toNs }: VolumeQuestion): bigint | undefined {
  const middleNs = interval.startOf(fromNs + (toNs - fromNs) / 2n)
  if (middleNs > fromNs) return middleNs
  const nextNs = interval.after(fromNs, 1)
  return nextNs < toNs ? nextNs : undefined
}

function joined(first: Volumes, second: Volumes): Volumes {
  return { keptUntil: { ...first.keptUntil, ...second.keptUntil }, rows: [...first.rows, ...second.rows] }
}

/** Trades that no bar holds yet: each of them is remembered until the last one is counted (10 M: 500 MiB). */
async function countOf(store: Store, question: VolumeQuestion, kept: Kept): Promise<number> {
  const tails = tailsOf(question, kept)
  const isShort = !kept.hasOthers && [...kept.until.values()].every((untilNs) => untilNs >= question.toNs - SHORT_NS)
  if (tails.length === 0 || isShort) return 0
  const counts = tails.map((tail) => `SELECT count() AS trades FROM trades AS fact WHERE ${tail}`)
  const [row] = await store.rows<{ trades: number }>(
    `SELECT sum(trades) AS trades FROM (${counts.join(' UNION ALL ')})`,
    sumParamsOf(question, kept),
    { signal: question.signal },
  )
  return row?.trades ?? 0
}

interface Hours {
  /** those whose bars count */
  readonly made: readonly bigint[]
  /** tells whether anything of them was changed */
  readonly marks: string
  /** exchange → end of its last minute with trades, as far as bars of hours know */
  readonly until: ReadonlyMap<string, bigint>
}

interface Kept extends Hours {
  /** what hours do not cover, if anything */
  readonly rest: { readonly fromNs: bigint; readonly toNs: bigint } | undefined
  /** whether exchanges that no bar is of have trades */
  readonly hasOthers: boolean
}

const within = (time: string, from = 'from', to = 'to'): string =>
  `${time} >= fromUnixTimestamp64Nano({${from}:Int64}) AND ${time} < fromUnixTimestamp64Nano({${to}:Int64})`

function paramsOf({ fromNs, toNs, exchange }: VolumeQuestion): Record<string, Params[string]> {
  const received = fromNs < SKEW_NS ? 0n : fromNs - SKEW_NS
  return { from: fromNs, to: toNs, received, ...(exchange === undefined ? {} : { exchange }) }
}

const onlyOf = ({ exchange }: VolumeQuestion, alias = ''): string =>
  exchange === undefined ? '' : `AND ${alias}exchange = {exchange:String}`

const NO_HOURS: Hours = { made: [], marks: '', until: new Map() }

/** A store that no collector of this version has written to yet has no bars of hours. */
function noHours(error: unknown): Hours {
  if (error instanceof HttpFault && error.code === 'store_empty') return NO_HOURS
  throw error
}

/** Whole hours of the range whose bars are what their minutes are. */
async function hoursOf(store: Store, question: VolumeQuestion): Promise<Hours> {
  if (!question.interval.isOfHours || question.toNs - question.fromNs < HOUR_NS) return NO_HOURS
  const rows = await store.rows<{ hour: string; at: string; exchange: string; last: string }>(
    `SELECT toString(toUnixTimestamp64Nano(hour_ns)) AS hour, toString(max(marked)) AS at, '' AS exchange, '' AS last
     FROM (${MARKS_OF_HOURS(within('hour_ns'))}) GROUP BY hour_ns HAVING countIf(state = 'open') = 0
     UNION ALL
     SELECT '' AS hour, '' AS at, toString(exchange) AS exchange, toString(toUnixTimestamp64Nano(max(last_trade_ns))) AS last
     FROM trade_hour_bars WHERE ${within('hour_ns')} ${onlyOf(question)} GROUP BY exchange`,
    paramsOf(question),
    { signal: question.signal },
  )
  const made = rows.filter(({ hour }) => hour !== '' && BigInt(hour) + HOUR_NS <= question.toNs)
  made.sort((a, b) => (BigInt(a.hour) < BigInt(b.hour) ? -1 : 1))
  const until = rows.flatMap(({ exchange, last }) => (exchange === '' ? [] : [[exchange, minuteAfter(last)] as const]))
  return {
    made: made.map(({ hour }) => BigInt(hour)),
    marks: made.map(({ hour, at }) => `${hour} ${at}`).join(),
    until: new Map(until),
  }
}

function minuteAfter(lastNs: string): bigint {
  const ns = BigInt(lastNs)
  return ns - (ns % MINUTE_NS) + MINUTE_NS
}

/** What minutes add to the hours, and whether there is anything that neither knows. */
async function keptOf(store: Store, question: VolumeQuestion, hours: Hours): Promise<Kept> {
  const rest = restOf(question, hours.made)
  const names = [...hours.until.keys()]
  const params = { ...paramsOf(question), names, ...(rest && { rest_from: rest.fromNs, rest_to: rest.toNs }) }
  const minutes = `trade_bars WHERE ${within('minute_ns', 'rest_from', 'rest_to')} ${onlyOf(question)}`
  const others = [
    `exchange NOT IN ({names:Array(String)})`,
    ...(rest === undefined ? [] : [`exchange NOT IN (SELECT exchange FROM ${minutes})`]),
  ]
  const parts = [
    `SELECT '' AS exchange, '' AS last FROM (
       SELECT 1 FROM trades AS fact WHERE ${inSpan(question)} AND ${others.join(' AND ')} LIMIT 1)`,
    ...(rest === undefined
      ? []
      : [
          `SELECT toString(exchange) AS exchange, toString(toUnixTimestamp64Nano(max(minute_ns))) AS last FROM ${minutes} GROUP BY exchange`,
        ]),
  ]
  const rows = await store.rows<{ exchange: string; last: string }>(parts.join(' UNION ALL '), params, {
    signal: question.signal,
  })
  const until = new Map(hours.until)
  for (const { exchange, last } of rows)
    if (exchange !== '') until.set(exchange, later(until.get(exchange) ?? 0n, minuteAfter(last)))
  return { ...hours, rest, until, hasOthers: rows.some(({ exchange }) => exchange === '') }
}

/** From the first to the last hour that is not made. */
function restOf({ fromNs, toNs }: VolumeQuestion, made: readonly bigint[]): Kept['rest'] {
  let [low, high] = [fromNs, toNs]
  for (const hour of made) if (hour === low) low += HOUR_NS
  for (const hour of made.toReversed()) if (hour + HOUR_NS === high) high = hour
  return low < high ? { fromNs: low, toNs: high } : undefined
}

const inSpan = (question: VolumeQuestion): string =>
  `${within('fact.trade_ns')} AND fact.received_ns >= fromUnixTimestamp64Nano({received:Int64}) ${onlyOf(question, 'fact.')}`

/** Trades that no bar holds yet, as conditions that exclude each other. */
function tailsOf(question: VolumeQuestion, { until, hasOthers }: Kept): readonly string[] {
  const young = [...until.values()].flatMap((untilNs, index) => {
    if (untilNs >= question.toNs) return [] // nothing of it has to be looked for, where an engine would look at every row
    return [
      `(fact.exchange = {kept${index}:String} AND fact.trade_ns >= fromUnixTimestamp64Nano({until${index}:Int64}) AND fact.received_ns >= fromUnixTimestamp64Nano({until${index}:Int64}) - toIntervalHour(1))`,
    ]
  })
  const others = `fact.exchange NOT IN (${["''", ...[...until.keys()].map((_, index) => `{kept${index}:String}`)].join(', ')})`
  return [...(young.length === 0 ? [] : [young.join(' OR ')]), ...(hasOthers ? [others] : [])].map(
    (tail) => `${inSpan(question)} AND (${tail})`,
  )
}

/** Bars of hours, of minutes where there are none, and of the trades that neither holds: each trade in one of them. */
function barsOf(question: VolumeQuestion, kept: Kept, tails: readonly string[]): string {
  const isOneOf = (time: string): string =>
    `has({made:Array(Int64)}, intDiv(toUnixTimestamp64Nano(${time}), ${HOUR_NS}))`
  const parts: string[] = []
  if (kept.made.length > 0)
    parts.push(
      `SELECT ${KEYS.join(', ')}, toUnixTimestamp64Nano(hour_ns) AS start, ${VALUES} FROM trade_hour_bars FINAL
       WHERE ${within('hour_ns')} AND ${isOneOf('hour_ns')} ${onlyOf(question)}`,
    )
  if (kept.rest !== undefined)
    parts.push(
      // a minute that was computed since belongs to the trades that are counted
      `SELECT ${KEYS.join(', ')}, toUnixTimestamp64Nano(minute_ns) AS start, ${VALUES} FROM trade_bars FINAL
       WHERE ${within('minute_ns', 'rest_from', 'rest_to')} AND NOT ${isOneOf('minute_ns')} ${onlyOf(question)}
         AND intDiv(toUnixTimestamp64Nano(minute_ns), ${MINUTE_NS}) < transform(toString(exchange), {names:Array(String)}, {minutes:Array(Int64)}, toInt64(0))`,
    )
  if (tails.length > 0) {
    const groups = Object.fromEntries([
      ...KEYS.map((name) => [name, `fact.${name}`]),
      ['start', `intDiv(toUnixTimestamp64Nano(fact.trade_ns), ${MINUTE_NS}) * ${MINUTE_NS}`],
    ])
    parts.push(`SELECT ${KEYS.join(', ')}, start, ${VALUES} FROM (${barsOfTrades(groups, tradesOnce(...tails))})`)
  }
  return parts.join(' UNION ALL ')
}

function sumParamsOf(question: VolumeQuestion, kept: Kept): Params {
  const params: Record<string, Params[string]> = {
    ...paramsOf(question),
    made: kept.made.map((hour) => Number(hour / HOUR_NS)),
    ...(kept.rest && { rest_from: kept.rest.fromNs, rest_to: kept.rest.toNs }),
    names: [...kept.until.keys()],
    minutes: [...kept.until.values()].map((untilNs) => Number(untilNs / MINUTE_NS)),
  }
  for (const [index, [name, untilNs]] of [...kept.until].entries()) {
    params[`kept${index}`] = name
    params[`until${index}`] = untilNs
  }
  return params
}

async function sumsOf(store: Store, question: VolumeQuestion, kept: Kept): Promise<VolumeRow[]> {
  const { by, interval, signal } = question
  const tails = tailsOf(question, kept)
  const bars = barsOf(question, kept, tails)
  if (bars === '') return []
  const size = 'toDecimal256(assumeNotNull(facts.contract_size), 18)'
  const names = VOLUME_GROUPS[by]
  return await store.rows<VolumeRow>(
    `SELECT toString(slot) AS open_ns, ${names.map((name) => `bar.${name} AS ${name}`).join(', ')},
       multiIf(facts.is_known = 0, '', isNull(facts.contract_size) OR facts.contract_unit = facts.base, facts.quote, facts.contract_unit) AS currency,
       toString(sum(multiIf(facts.is_known = 0 OR isNull(facts.contract_size), toDecimal256(bar.notional, 18),
         facts.contract_unit = facts.base, toDecimal256(toDecimal256(bar.notional, 18) * ${size}, 18),
         toDecimal256(toDecimal256(bar.volume, 18) * ${size}, 18)))) AS quote_volume,
       sum(bar.trade_count) AS trade_count
     FROM (
       SELECT ${KEYS.join(', ')}, slot, sum(volume) AS volume, sum(notional) AS notional, sum(trade_count) AS trade_count,
         min(stream) OVER (PARTITION BY exchange, market, symbol, slot) AS best
       FROM (SELECT ${KEYS.join(', ')}, ${interval.sql('start')} AS slot, ${VALUES} FROM (${bars}))
       GROUP BY ${KEYS.join(', ')}, slot
     ) AS bar
     LEFT JOIN (
       SELECT exchange, market, symbol, 1 AS is_known, base, quote, contract_size, contract_unit FROM instruments
       ORDER BY received_ns DESC LIMIT 1 BY exchange, market, symbol
     ) AS facts ON bar.exchange = facts.exchange AND bar.market = facts.market AND bar.symbol = facts.symbol
     WHERE bar.stream = bar.best
     GROUP BY slot, currency, ${names.map((name) => `bar.${name}`).join(', ')}
     ORDER BY slot, ${names.join(', ')}, currency`,
    sumParamsOf(question, kept),
    { signal },
  )
}
