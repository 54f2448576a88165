/**
 * Traded worth over all instruments, from kept bars of one minute; what is younger than the last kept minute of an
 * exchange is counted from its trades. Trades that came late are in it after the next run of the job candles.
 *
 * Quantities of different instruments are not of one unit, and neither are their prices. So what is added up is worth, in
 * the currency in which an instrument is quoted, apart for each currency (see record/views.ts for contracts):
 *
 *   contract_size is NULL          price × quantity                      in the quote currency
 *   contract_unit is the base      price × quantity × contract_size      in the quote currency
 *   contract_unit is another       quantity × contract_size              in that unit
 *   the instrument is unknown      price × quantity                      currency is empty: not to be added to others
 *
 * Where a venue sends trades and aggregates of them, the trades count.
 */
import { barsOfTrades, tradesOnce } from '../../record/bars.ts'
import { HttpFault } from '../http-fault.ts'
import type { Params, Store } from '../store.ts'
import type { Interval } from './interval.ts'

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
/** Received before its own time by more than this is nothing. */
const SKEW_NS = 3_600_000_000_000n

export async function volumesOf(
  store: Store,
  question: VolumeQuestion,
): Promise<{ keptUntil: Record<string, string>; rows: VolumeRow[] }> {
  const { by, interval, exchange, signal } = question
  if (!interval.isOfMinutes)
    throw new HttpFault(400, 'invalid_parameter', `interval = "${interval.text}": whole minutes`, {
      parameter: 'interval',
    })
  const fromNs = interval.startOf(question.fromNs)
  const params: Record<string, Params[string]> = {
    from: fromNs,
    to: question.toNs,
    received: fromNs < SKEW_NS ? 0n : fromNs - SKEW_NS,
  }
  const within = (time: string) =>
    `${time} >= fromUnixTimestamp64Nano({from:Int64}) AND ${time} < fromUnixTimestamp64Nano({to:Int64})`
  const only = exchange === undefined ? '' : 'AND exchange = {exchange:String}'
  if (exchange !== undefined) params.exchange = exchange
  const kept = await store.rows<{ exchange: string; last: string }>(
    `SELECT exchange, toString(toUnixTimestamp64Nano(max(minute_ns))) AS last FROM trade_bars WHERE ${within('minute_ns')} ${only} GROUP BY exchange`,
    params,
    { signal },
  )
  const keptUntil = kept.map(({ exchange: name, last }) => [name, BigInt(last) + MINUTE_NS] as const)
  const young = keptUntil.flatMap(([name, untilNs], index) => {
    params[`kept${index}`] = name
    if (untilNs >= question.toNs) return [] // nothing of it has to be looked for, where an engine would look at every row
    params[`until${index}`] = untilNs
    return [
      `(fact.exchange = {kept${index}:String} AND fact.trade_ns >= fromUnixTimestamp64Nano({until${index}:Int64}) AND fact.received_ns >= fromUnixTimestamp64Nano({until${index}:Int64}) - toIntervalHour(1))`,
    ]
  })
  const others = `fact.exchange NOT IN (${["''", ...keptUntil.map((_, index) => `{kept${index}:String}`)].join(', ')})`
  const inSpan = `${within('fact.trade_ns')} AND fact.received_ns >= fromUnixTimestamp64Nano({received:Int64})
    ${exchange === undefined ? '' : 'AND fact.exchange = {exchange:String}'}`
  const tails = [...(young.length === 0 ? [] : [young.join(' OR ')]), others].map((tail) => `${inSpan} AND (${tail})`)
  const values = 'volume, notional, trade_count'
  const groups = Object.fromEntries([
    ...KEYS.map((name) => [name, `fact.${name}`]),
    ['minute_ns', `intDiv(toUnixTimestamp64Nano(fact.trade_ns), ${MINUTE_NS}) * ${MINUTE_NS}`],
  ])
  const size = 'toDecimal256(assumeNotNull(facts.contract_size), 18)'
  const names = VOLUME_GROUPS[by]
  const rows = await store.rows<VolumeRow>(
    `SELECT toString(slot) AS open_ns, ${names.map((name) => `bar.${name} AS ${name}`).join(', ')},
       multiIf(facts.is_known = 0, '', isNull(facts.contract_size) OR facts.contract_unit = facts.base, facts.quote, facts.contract_unit) AS currency,
       toString(sum(multiIf(facts.is_known = 0 OR isNull(facts.contract_size), toDecimal256(bar.notional, 18),
         facts.contract_unit = facts.base, toDecimal256(toDecimal256(bar.notional, 18) * ${size}, 18),
         toDecimal256(toDecimal256(bar.volume, 18) * ${size}, 18)))) AS quote_volume,
       sum(bar.trade_count) AS trade_count
     FROM (
       SELECT ${KEYS.join(', ')}, slot, sum(volume) AS volume, sum(notional) AS notional, sum(trade_count) AS trade_count,
         min(stream) OVER (PARTITION BY exchange, market, symbol) AS best
       FROM (
         SELECT ${KEYS.join(', ')}, ${interval.sql('minute')} AS slot, ${values} FROM (
           SELECT ${KEYS.join(', ')}, toUnixTimestamp64Nano(minute_ns) AS minute, ${values} FROM trade_bars FINAL WHERE ${within('minute_ns')} ${only}
           UNION ALL
           SELECT ${KEYS.join(', ')}, minute_ns AS minute, ${values} FROM (${barsOfTrades(groups, tradesOnce(...tails))})
         )
       )
       GROUP BY ${KEYS.join(', ')}, slot
     ) AS bar
     LEFT JOIN (
       SELECT exchange, market, symbol, 1 AS is_known, base, quote, contract_size, contract_unit FROM instruments
       ORDER BY received_ns DESC LIMIT 1 BY exchange, market, symbol
     ) AS facts ON bar.exchange = facts.exchange AND bar.market = facts.market AND bar.symbol = facts.symbol
     WHERE bar.stream = bar.best
     GROUP BY slot, currency, ${names.map((name) => `bar.${name}`).join(', ')}
     ORDER BY slot, ${names.join(', ')}, currency`,
    params,
    { signal },
  )
  return { keptUntil: Object.fromEntries(keptUntil.map(([name, untilNs]) => [name, String(untilNs)])), rows }
}
