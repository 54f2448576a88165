/**
 * Kept bars are what their trades are: `trade_bars` against the trades, each once, `trade_hour_bars` against `trade_bars`.
 *
 * The job that keeps them comes after the store, so a minute that differs is wrong only when the job was there since:
 * when the bar, or by ten minutes any bar of the exchange, was computed after the last block of that minute was stored.
 * Others wait for the job, and are counted. Of hours only those are looked at that count (see record/bars.ts).
 */
import { differingHours, HOUR_NS, MARKS_OF_HOURS } from '../../record/bars.ts'
import { type AuditStore, askRows, type Finding, FINDINGS_MAX, within } from './store.ts'

const TABLES = ['trade_bars', 'trade_hour_bars', 'trade_hours']
/** A run of the job takes so long at most, together with the pause before it. */
const RUN_SECONDS = 600

export interface KeptBars {
  readonly findings: Finding[]
  /** minutes of which trades were stored since they were computed */
  readonly waiting: number
}

/** The days of which bars are kept, the oldest first. */
export async function daysOfBars(store: AuditStore): Promise<number[]> {
  const there = await askRows<{ name: string }>(
    store,
    'SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN ({tables:Array(String)})',
    { tables: TABLES },
  )
  if (there.length < TABLES.length) return [] // a store that was made by an earlier version
  const rows = await askRows<{ day: number }>(
    store,
    `SELECT DISTINCT toYYYYMMDD(minute_ns) AS day FROM trade_bars WHERE ${within('minute_ns')}`,
  )
  return rows.map(({ day }) => day).sort((a, b) => a - b)
}

const KEY = 'exchange, market, symbol, stream'

interface DifferingMinute extends Finding {
  readonly exchange: string
  readonly minute: string
  /** when the job was there last, as far as its bars tell; ns */
  readonly passed: string
  readonly key: string
}

export async function wrongMinutes(store: AuditStore, day: number): Promise<KeptBars> {
  const ofDay = (time: string) => `toYYYYMMDD(${time}) = ${day} AND ${within(time)}`
  const rows = await askRows<DifferingMinute>(
    store,
    `SELECT 'trade_bars' AS table, ${KEY}, toString(minute) AS minute, toString(bar_volume) AS bar_volume, toString(traded) AS traded,
       bar_trades, trades, toString(greatest(computed, newest - ${RUN_SECONDS} * 1000000000)) AS passed,
       concat(exchange, ' ', market, ' ', symbol, ' ', toString(stream), ' ', toString(toUnixTimestamp(minute))) AS key
     FROM (
       SELECT ${KEY}, minute, sum(bar_trades_) AS bar_trades, sum(trades_) AS trades, sum(bar_volume_) AS bar_volume, sum(traded_) AS traded,
         max(computed_) AS computed, sum(bar_notional_) AS bar_notional, sum(worth_) AS worth
       FROM (
         SELECT ${KEY}, toStartOfMinute(minute_ns) AS minute, trade_count AS bar_trades_, volume AS bar_volume_, notional AS bar_notional_,
           toUInt64(0) AS trades_, toDecimal256(0, 18) AS traded_, toDecimal256(0, 36) AS worth_, toUnixTimestamp64Nano(computed_ns) AS computed_
         FROM trade_bars FINAL WHERE ${ofDay('minute_ns')}
         UNION ALL
         SELECT ${KEY}, toStartOfMinute(trade_ns) AS minute, toUInt64(0), toDecimal256(0, 18), toDecimal256(0, 36), count(), sum(last_.1), sum(last_.2), toInt64(0)
         FROM (
           SELECT t.exchange AS exchange, t.market AS market, t.symbol AS symbol, t.trade_ns AS trade_ns, t.stream AS stream,
             argMax((t.quantity, t.notional), t.received_ns) AS last_
           FROM trades AS t WHERE ${ofDay('t.trade_ns')}
           GROUP BY t.exchange, t.market, t.symbol, t.trade_ns, t.stream, t.trade_id, t.venue_trade_id
         ) GROUP BY ${KEY}, minute
       ) GROUP BY ${KEY}, minute HAVING bar_trades != trades OR bar_volume != traded OR bar_notional != worth
     ) AS m
     INNER JOIN (SELECT exchange, max(toUnixTimestamp64Nano(computed_ns)) AS newest FROM trade_bars GROUP BY exchange) AS job ON job.exchange = m.exchange
     ORDER BY ${KEY}, minute LIMIT ${FINDINGS_MAX}`,
  )
  if (rows.length === 0) return { findings: [], waiting: 0 }
  const stored = await storedTimes(store, rows, ofDay('trade_ns'))
  const isWrong = ({ key, passed }: DifferingMinute) => BigInt(passed) > (stored.get(key) ?? 0n)
  const wrong = rows.filter(isWrong)
  return {
    findings: wrong.map(({ key: _key, passed: _passed, ...finding }) => finding),
    waiting: rows.length - wrong.length,
  }
}

/** When the last block of each minute was stored. */
async function storedTimes(
  store: AuditStore,
  minutes: readonly DifferingMinute[],
  ofDay: string,
): Promise<ReadonlyMap<string, bigint>> {
  const rows = await askRows<{ key: string; stored: string }>(
    store,
    `SELECT key, toString(max(toUnixTimestamp64Nano(b.stored_ns))) AS stored FROM (
       SELECT DISTINCT producer, epoch, block_seq,
         concat(exchange, ' ', market, ' ', symbol, ' ', toString(stream), ' ', toString(toUnixTimestamp(toStartOfMinute(trade_ns)))) AS key
       FROM trades WHERE ${ofDay} AND key IN ({keys:Array(String)})
     ) AS t INNER JOIN blocks AS b ON b.producer = t.producer AND b.epoch = t.epoch AND b.block_seq = t.block_seq
     GROUP BY key`,
    { keys: minutes.map(({ key }) => key) },
  )
  return new Map(rows.map(({ key, stored }) => [key, BigInt(stored)]))
}

/** @param nowNs marks that were made later may belong to what was not there yet */
export async function wrongHours(store: AuditStore, day: number, nowNs: bigint): Promise<Finding[]> {
  const ofDay = (time: string) => `toYYYYMMDD(${time}) = ${day} AND ${within(time)}`
  const rows = await askRows<Finding & { hour: string }>(
    store,
    `SELECT 'trade_hour_bars' AS table, ${KEY}, toString(hour) AS hour, toString(trades) AS trades_missing, toString(volume) AS volume_missing
     FROM (${differingHours(ofDay('minute_ns'), ofDay('hour_ns'))}) ORDER BY ${KEY}, hour LIMIT ${FINDINGS_MAX}`,
  )
  if (rows.length === 0) return []
  const marks = await askRows<{ hour: string }>(
    store,
    `SELECT toString(intDiv(toUnixTimestamp64Nano(hour_ns), ${HOUR_NS})) AS hour FROM (${MARKS_OF_HOURS(ofDay('hour_ns'))})
     GROUP BY hour_ns HAVING countIf(state = 'open') = 0 AND max(marked) < fromUnixTimestamp64Nano({now:Int64})`,
    { now: String(nowNs) },
  )
  const made = new Set(marks.map(({ hour }) => hour))
  return rows
    .filter(({ hour }) => made.has(hour))
    .map((row) => ({ ...row, hour: new Date((Number(row.hour) * Number(HOUR_NS)) / 1e6).toISOString() }))
}
