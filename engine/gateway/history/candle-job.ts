/**
 * The job `candles`: keeps `trade_bars` what the trades say.
 *
 * Why a job and neither a materialized view nor a projection:
 *   view         sees inserts, not rows: a block that is sent again, or that dies between table and view, is counted twice
 *                or never (sinks/merge.ts asks the table, and cannot ask a view)
 *   projection   is in the part with the rows, but sums duplicates until parts are merged, and is paid for by every insert
 *   this job     computes whole minutes from the rows that are there, so it may run twice, late or never; what it has not
 *                done yet is counted from the trades (candles.ts proves each answer), and under overload it just stops
 *
 * A run looks which blocks of trades were stored since the last one, asks which minutes have trades that came with them,
 * and computes those minutes anew, an hour at a time. The minute that is not over yet is left to the next run. The first
 * run compares what is kept with what is stored, day by day, newest first, and so mends whatever happened while no job
 * ran. Hours whose minutes changed get bars of their own at the end of a run (hour-bars.ts).
 *
 * Arithmetic: 10,000 trades/s are 600,000 rows a run, read twice and grouped once: one CPU second a minute.
 */
import { ClickHouseError } from '@clickhouse/client'
import type { Clock } from '../../base/clock.ts'
import { BAR_KEY, BAR_VALUES, BAR_VERSION, barsOfTrades, HOUR_NS, tradesOnce } from '../../record/bars.ts'
import type { ClickHouseOptions } from '../../sinks/clickhouse.ts'
import type { JobOptions } from '../jobs.ts'
import { HourBars } from './hour-bars.ts'
import { JobStore } from './job-store.ts'
import { earlier, later } from './time.ts'

export const CANDLE_JOB: JobOptions = {
  name: 'candles',
  about: 'computes bars of one minute and of one hour from the trades that were stored since its last run',
  everyMs: 30_000,
}

const MINUTE_NS = 60_000_000_000n
const DAY_NS = 24n * HOUR_NS
/** Marks of blocks become visible a little after their time; and clocks of stores differ. */
const OVERLAP_NS = 5n * MINUTE_NS
/** How much earlier than its trade's own time something may have been received. */
const SKEW_NS = MINUTE_NS
/** Trades that are grouped at once. */
const STRETCH_ROWS_MAX = 1_000_000
const NO_TABLE = ['60', '81']

interface NewBlock {
  readonly id: string
  readonly exchange: string
  readonly first: string
  readonly last: string
  readonly stored: string
}

interface Span {
  readonly exchange: string
  readonly firstNs: bigint
  readonly lastNs: bigint
}

export class CandleJob {
  readonly #store: JobStore
  readonly #hours: HourBars
  readonly #clock: Clock
  readonly #isShed: () => boolean
  /** blocks that were looked at, with the time at which they were stored */
  readonly #seen = new Map<string, bigint>()
  #storedNs: bigint | undefined
  /** exchange → end of the minutes that its last run computed */
  readonly #doneNs = new Map<string, bigint>()

  /** @param isShed under overload nothing is computed */
  constructor(options: ClickHouseOptions, clock: Clock, isShed: () => boolean) {
    this.#store = new JobStore(options)
    this.#hours = new HourBars(this.#store, clock)
    this.#clock = clock
    this.#isShed = isShed
  }

  /** @returns what was done, in a few words. */
  async run(signal: AbortSignal): Promise<string> {
    if (this.#isShed()) return 'given up while the engine is overloaded'
    this.#store.signal = signal
    try {
      const said = this.#storedNs === undefined ? await this.#mend(signal) : await this.#follow(signal)
      await this.#hours.make(() => signal.aborted || this.#isShed())
      return said
    } catch (error) {
      if (error instanceof ClickHouseError && NO_TABLE.includes(error.code)) return 'nothing is stored yet'
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#store.close()
  }

  async #follow(signal: AbortSignal): Promise<string> {
    const blocks = await this.#newBlocks()
    let hours = 0
    for (const span of spansOf(blocks, this.#doneNs)) {
      const renewed = await this.#renew(span, signal)
      if (renewed === undefined) return 'ended; the next run does it again' // its blocks are not seen yet
      hours += renewed
    }
    for (const { id, stored } of blocks) this.#saw(id, BigInt(stored))
    return blocks.length === 0 ? 'no new trades' : `${blocks.length} blocks, minutes of ${hours} hours`
  }

  /** Blocks of trades whose mark was made since the last run. */
  async #newBlocks(): Promise<NewBlock[]> {
    const rows = await this.#store.rows<NewBlock>(
      `SELECT concat(producer, '/', toString(epoch), '/', toString(block_seq)) AS id, exchange,
         toString(toUnixTimestamp64Nano(first_received_ns)) AS first, toString(toUnixTimestamp64Nano(last_received_ns)) AS last,
         toString(toUnixTimestamp64Nano(stored_ns)) AS stored
       FROM blocks WHERE table = 'trades' AND stored_ns >= fromUnixTimestamp64Nano({since:Int64})`,
      { since: String((this.#storedNs ?? 0n) - OVERLAP_NS) },
    )
    return rows.filter(({ id }) => !this.#seen.has(id))
  }

  #saw(id: string, storedNs: bigint): void {
    this.#seen.set(id, storedNs)
    if (storedNs <= (this.#storedNs ?? 0n)) return
    this.#storedNs = storedNs
    for (const [old, atNs] of this.#seen) {
      if (atNs >= storedNs - 2n * OVERLAP_NS) break
      this.#seen.delete(old)
    }
  }

  /** Minutes that have trades received in this span. @returns in how many hours they lie; undefined: not all are done */
  async #renew({ exchange, firstNs, lastNs }: Span, signal: AbortSignal): Promise<number | undefined> {
    const params = { exchange, first: String(firstNs), last: String(lastNs) }
    const came = `exchange = {exchange:String} AND received_ns >= fromUnixTimestamp64Nano({first:Int64})
      AND received_ns <= fromUnixTimestamp64Nano({last:Int64})`
    const hours = await this.#store.rows<{ low: string; high: string }>(
      `SELECT toString(toInt64(toUnixTimestamp(min(toStartOfMinute(trade_ns)))) * 1000000000) AS low,
         toString(toInt64(toUnixTimestamp(max(toStartOfMinute(trade_ns))) + 60) * 1000000000) AS high
       FROM trades WHERE ${came} GROUP BY toStartOfHour(trade_ns) ORDER BY low`,
      params,
    )
    const overNs = this.#overNs()
    for (const { low, high } of hours) {
      if (signal.aborted || this.#isShed()) return undefined
      const end = earlier(BigInt(high), overNs)
      if (end <= BigInt(low)) continue
      const touched = `(fact.market, fact.symbol, toStartOfMinute(fact.trade_ns)) IN (
        SELECT DISTINCT market, symbol, toStartOfMinute(trade_ns) FROM trades WHERE ${came})`
      await this.#compute(`fact.exchange = {exchange:String} AND ${touched}`, BigInt(low), end, params)
    }
    this.#doneNs.set(exchange, overNs)
    return hours.length
  }

  /** End of the last minute that is over. */
  #overNs(): bigint {
    const nowNs = this.#clock.nowNs()
    return nowNs - (nowNs % MINUTE_NS)
  }

  /** Compares what is kept with what is stored, and computes the hours that differ. */
  async #mend(signal: AbortSignal): Promise<string> {
    const beganNs = this.#clock.nowNs()
    let hours = 0
    for (const day of await this.#days()) {
      for (const { fromNs, toNs } of await this.#differing(day * DAY_NS)) {
        if (signal.aborted || this.#isShed()) return `ended after ${hours} hours; the next run goes on`
        const endNs = earlier(toNs, this.#overNs())
        if (endNs > fromNs) await this.#compute('1', fromNs, endNs, {})
        hours += Number((toNs - fromNs) / HOUR_NS)
      }
      await this.#hours.mend(day * DAY_NS)
    }
    this.#storedNs = beganNs
    return `compared all days, computed ${hours} hours`
  }

  /** Those that may have trades, newest first; what was repaired is older than when it was received. */
  async #days(): Promise<bigint[]> {
    const parts = await this.#store.rows<{ day: number }>(
      `SELECT DISTINCT toUInt32(toDate(parseDateTimeBestEffort(partition))) AS day FROM system.parts
       WHERE database = currentDatabase() AND table = 'trades' AND active`,
    )
    const days = new Set(parts.flatMap(({ day }) => [BigInt(day), BigInt(day - 1)]))
    return [...days].sort((a, b) => (a < b ? 1 : -1))
  }

  /** Hours of a day in which a minute differs, newest first; neighbours together as long as they are not too many rows. */
  async #differing(dayNs: bigint): Promise<readonly Stretch[]> {
    const of = (table: string, time: string, trades: string): string =>
      `SELECT exchange, market, symbol, stream, intDiv(toUnixTimestamp64Nano(${time}), ${MINUTE_NS}) AS minute, ${trades} AS trades
       FROM ${table}
       WHERE ${time} >= fromUnixTimestamp64Nano({from:Int64}) AND ${time} < fromUnixTimestamp64Nano({to:Int64})`
    const rows = await this.#store.rows<{ hour: string; stored: number }>(
      `SELECT toString(intDiv(minute, 60)) AS hour, sum(stored_) AS stored FROM (
         SELECT minute, sumIf(trades, trades > 0) AS stored_, sum(trades) != 0 AS differs_ FROM (
           ${of('trades', 'trade_ns', 'toInt64(count())')} GROUP BY exchange, market, symbol, stream, minute
           UNION ALL
           ${of('trade_bars FINAL', 'minute_ns', '-toInt64(trade_count)')}
         ) GROUP BY exchange, market, symbol, stream, minute
       ) GROUP BY hour HAVING max(differs_) = 1 ORDER BY toUInt64(hour) DESC`,
      { from: String(dayNs), to: String(dayNs + DAY_NS) },
    )
    return stretchesOf(rows.map(({ hour, stored }) => ({ fromNs: BigInt(hour) * HOUR_NS, rows: stored })))
  }

  async #compute(condition: string, fromNs: bigint, toNs: bigint, params: Record<string, string>): Promise<void> {
    const names = [...BAR_KEY, ...BAR_VALUES].map(({ name }) => name).join(', ')
    const groups = Object.fromEntries(
      BAR_KEY.map(({ name }) => [name, name === 'minute_ns' ? 'toStartOfMinute(fact.trade_ns)' : `fact.${name}`]),
    )
    const bars = barsOfTrades(
      groups,
      tradesOnce(
        `${condition} AND fact.trade_ns >= fromUnixTimestamp64Nano({from:Int64}) AND fact.trade_ns < fromUnixTimestamp64Nano({to:Int64})`,
      ),
    )
    await this.#hours.open(fromNs, toNs)
    await this.#store.write(
      `INSERT INTO trade_bars (${names}, ${BAR_VERSION.name})
       SELECT ${names}, fromUnixTimestamp64Nano({now:Int64}) FROM (${bars})`,
      { ...params, from: String(fromNs), to: String(toNs), now: String(this.#clock.nowNs()) },
    )
  }
}

interface Stretch {
  readonly fromNs: bigint
  readonly toNs: bigint
}

/** @param hours newest first */
function stretchesOf(hours: readonly { readonly fromNs: bigint; readonly rows: number }[]): readonly Stretch[] {
  const stretches: { fromNs: bigint; toNs: bigint; rows: number }[] = []
  for (const { fromNs, rows } of hours) {
    const last = stretches.at(-1)
    if (last !== undefined && last.fromNs === fromNs + HOUR_NS && last.rows + rows <= STRETCH_ROWS_MAX) {
      last.fromNs = fromNs
      last.rows += rows
    } else stretches.push({ fromNs, toNs: fromNs + HOUR_NS, rows })
  }
  return stretches
}

/** When something was received, by exchange; with the minute that the run before had to leave. */
function spansOf(blocks: readonly NewBlock[], doneNs: ReadonlyMap<string, bigint>): Span[] {
  const spans = new Map<string, Span>()
  for (const { exchange, first, last } of blocks) {
    const left = doneNs.get(exchange)
    const startNs = left === undefined ? BigInt(first) : earlier(BigInt(first), left - SKEW_NS)
    const { firstNs, lastNs } = spans.get(exchange) ?? { firstNs: startNs, lastNs: BigInt(last) }
    spans.set(exchange, { exchange, firstNs: earlier(firstNs, startNs), lastNs: later(lastNs, BigInt(last)) })
  }
  return [...spans.values()]
}
