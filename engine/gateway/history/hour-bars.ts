/**
 * Bars of one hour, made of bars of one minute, so that a sum over days adds up 24 rows a day and instrument instead of
 * 1,440. They may count only while they are what their minutes are; and between any two inserts a process may die. So
 * hours have marks, in `trade_hours`:
 *
 *   open   written before a minute of the hour is: from now on whoever asks adds up minutes
 *   made   written after its bars were made anew and held against the minutes: from now on the bars count
 *
 * Every process that runs the job has marks of its own, so two may run: an hour counts when one has made it and none has
 * it open. What a dead one left open is made by another and marked in its name; a living one says again that it has an
 * hour open, long before it is taken for dead.
 *
 * Arithmetic: 1,000 instruments are 60,000 rows an hour, read with FINAL once and held against their bars once: 0.3 s an
 * hour; a hour into which a trade comes late is made once more, after every run that found one.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import {
  BAR_VALUES,
  BAR_VERSION,
  barsOfBars,
  differingHours,
  HOUR_BAR_KEY,
  HOUR_NS,
  MARKS_OF_HOURS,
} from '../../record/bars.ts'
import type { JobStore } from './job-store.ts'

const MINUTE_NS = 60_000_000_000n
const DAY_NS = 24n * HOUR_NS
/** Trades of an hour come for so long after its end; those that come later cost its bars made twice. */
const SETTLE_NS = 2n * MINUTE_NS
/** An hour that stays open is said to be so again. */
const RENEW_NS = 10n * MINUTE_NS
/** Who has not said so for this long is dead: an insert takes 5 min at most, and clocks differ. */
const DEAD_NS = 30n * MINUTE_NS
const ADOPT_NS = 10n * MINUTE_NS

export class HourBars {
  readonly #store: JobStore
  readonly #clock: Clock
  readonly #job = randomUUID()
  /** hours that this job has open → when it said so last */
  readonly #opened = new Map<bigint, bigint>()
  /** hour → dead jobs that have it open */
  readonly #left = new Map<bigint, readonly string[]>()
  #markedNs = 0n
  #adoptedNs = 0n

  constructor(store: JobStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Has to be said before a minute of this span is written. */
  async open(fromNs: bigint, toNs: bigint): Promise<void> {
    const nowNs = this.#clock.nowNs()
    const hours: bigint[] = []
    for (let hour = fromNs - (fromNs % HOUR_NS); hour < toNs; hour += HOUR_NS)
      if ((this.#opened.get(hour) ?? 0n) + RENEW_NS <= nowNs) hours.push(hour)
    await this.#mark(hours, 'open', this.#job)
    for (const hour of hours) this.#opened.set(hour, nowNs)
  }

  /** Makes the bars of hours that are open and over, newest first. @param isEnded asked before each day */
  async make(isEnded: () => boolean): Promise<void> {
    await this.#adopt()
    const overNs = this.#clock.nowNs() - SETTLE_NS
    const days = new Map<bigint, bigint[]>()
    for (const hour of [...this.#opened.keys()].sort((a, b) => (a < b ? 1 : -1))) {
      if (hour + HOUR_NS > overNs) continue
      const day = hour - (hour % DAY_NS)
      days.set(day, [...(days.get(day) ?? []), hour])
    }
    for (const hours of days.values()) {
      if (isEnded()) return
      await this.#makeOf(hours)
    }
  }

  /** Opens the hours of a day whose bars are not what their minutes are. */
  async mend(dayNs: bigint): Promise<void> {
    for (const hour of await this.#differing(dayNs, dayNs + DAY_NS)) await this.open(hour, hour + 1n)
  }

  /** @param hours of one day, newest first */
  async #makeOf(hours: readonly bigint[]): Promise<void> {
    const [fromNs, toNs] = [hours.at(-1) as bigint, (hours[0] as bigint) + HOUR_NS]
    const list = hours.map((hour) => Number(hour / HOUR_NS))
    const names = [...HOUR_BAR_KEY, ...BAR_VALUES].map(({ name }) => name).join(', ')
    const groups = Object.fromEntries(
      HOUR_BAR_KEY.map(({ name }) => [name, name === 'hour_ns' ? 'toStartOfHour(bar.minute_ns)' : `bar.${name}`]),
    )
    const minutes = `trade_bars AS bar FINAL
      WHERE bar.minute_ns >= fromUnixTimestamp64Nano({from:Int64}) AND bar.minute_ns < fromUnixTimestamp64Nano({to:Int64})
        AND has({hours:Array(Int64)}, intDiv(toUnixTimestamp64Nano(bar.minute_ns), ${HOUR_NS}))`
    await this.#store.write(
      `INSERT INTO trade_hour_bars (${names}, ${BAR_VERSION.name})
       SELECT ${names}, fromUnixTimestamp64Nano({now:Int64}) FROM (${barsOfBars(groups, 'bar.minute_ns', minutes)})`,
      { from: String(fromNs), to: String(toNs), hours: list, now: String(this.#clock.nowNs()) },
    )
    const differing = await this.#differing(fromNs, toNs)
    const made = hours.filter((hour) => !differing.has(hour))
    for (const job of new Set(made.flatMap((hour) => this.#left.get(hour) ?? [])))
      await this.#mark(
        made.filter((hour) => this.#left.get(hour)?.includes(job)),
        'made',
        job,
      )
    await this.#mark(made, 'made', this.#job)
    for (const hour of made) {
      this.#opened.delete(hour)
      this.#left.delete(hour)
    }
  }

  async #differing(fromNs: bigint, toNs: bigint): Promise<ReadonlySet<bigint>> {
    const within = (time: string) =>
      `${time} >= fromUnixTimestamp64Nano({from:Int64}) AND ${time} < fromUnixTimestamp64Nano({to:Int64})`
    const rows = await this.#store.rows<{ hour: number }>(
      `SELECT DISTINCT hour FROM (${differingHours(within('minute_ns'), within('hour_ns'))})`,
      { from: String(fromNs), to: String(toNs) },
    )
    return new Set(rows.map(({ hour }) => BigInt(hour) * HOUR_NS))
  }

  /** What dead jobs have left open is ours to make. */
  async #adopt(): Promise<void> {
    const nowNs = this.#clock.nowNs()
    if (nowNs - this.#adoptedNs < ADOPT_NS) return
    const rows = await this.#store.rows<{ hour: string; job: string }>(
      `SELECT toString(toUnixTimestamp64Nano(hour_ns)) AS hour, job FROM (${MARKS_OF_HOURS('1')})
       WHERE state = 'open' AND marked < fromUnixTimestamp64Nano({dead:Int64}) AND job != {job:String}`,
      { dead: String(nowNs - DEAD_NS), job: this.#job },
    )
    for (const { hour: text, job } of rows) {
      const hour = BigInt(text)
      await this.open(hour, hour + 1n)
      this.#left.set(hour, [...(this.#left.get(hour) ?? []).filter((other) => other !== job), job])
    }
    this.#adoptedNs = nowNs
  }

  /** Later marks of a job replace its earlier ones, whatever the clock does. */
  async #mark(hours: readonly bigint[], state: 'open' | 'made', job: string): Promise<void> {
    if (hours.length === 0) return
    const nowNs = this.#clock.nowNs()
    this.#markedNs = nowNs > this.#markedNs ? nowNs : this.#markedNs + 1n
    await this.#store.write(
      `INSERT INTO trade_hours (hour_ns, job, state, marked_ns)
       SELECT fromUnixTimestamp64Nano(arrayJoin({hours:Array(Int64)}) * ${HOUR_NS}), {job:String}, {state:String}, fromUnixTimestamp64Nano({at:Int64})`,
      { hours: hours.map((hour) => Number(hour / HOUR_NS)), job, state, at: String(this.#markedNs) },
    )
  }
}
