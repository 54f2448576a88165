/**
 * Lengths of bars: a count and s, m, h, d, w or M, e.g. 90s, 7m, 4h, 1d, 1w, 3M. Bars begin at multiples of their length
 * since 1970-01-01 UTC; weeks on Mondays, months (whose length varies) with the calendar.
 */
import { shown } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'

const UNIT_S = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 } as const
/** 1970-01-05 was the first Monday. */
const MONDAY_NS = 4n * 86_400_000_000_000n
const MINUTE_NS = 60_000_000_000n
const HOUR_NS = 60n * MINUTE_NS
const LENGTH_S_MAX = 366 * 86_400
const MONTHS_MAX = 12

export interface Interval {
  readonly text: string
  /** whether bars of one minute make it up */
  readonly isOfMinutes: boolean
  readonly isOfHours: boolean
  /** of a calendar month the shortest */
  readonly lengthNs: bigint
  /** begin of the bar that this time is in */
  startOf(ns: bigint): bigint
  /** begin of the bar that is so many later */
  after(startNs: bigint, bars: number): bigint
  /** `startOf` in SQL, ns as Int64. @param ns SQL of a time as Int64 of ns */
  sql(ns: string): string
}

/** @throws HttpFault */
export function intervalOf(text: string): Interval {
  const [, digits = '', unit = ''] = /^([1-9]\d{0,5})([smhdwM])$/.exec(text) ?? []
  const count = Number(digits)
  if (unit === 'M' && count <= MONTHS_MAX) return months(text, count)
  const seconds = count * (UNIT_S[unit as keyof typeof UNIT_S] ?? 0)
  if (seconds === 0 || seconds > LENGTH_S_MAX)
    throw new HttpFault(
      400,
      'invalid_parameter',
      `interval = "${shown(text)}": a count and s, m, h, d, w or M, a year at most, e.g. 90s, 7m, 4h, 1d, 1w, 1M`,
      { parameter: 'interval' },
    )
  return fixed(text, BigInt(seconds) * 1_000_000_000n, unit === 'w' ? MONDAY_NS : 0n)
}

function fixed(text: string, lengthNs: bigint, offsetNs: bigint): Interval {
  return {
    text,
    isOfMinutes: lengthNs % MINUTE_NS === 0n,
    isOfHours: lengthNs % HOUR_NS === 0n,
    lengthNs,
    startOf: (ns) => {
      const rest = (ns - offsetNs) % lengthNs
      return ns - (rest < 0n ? rest + lengthNs : rest)
    },
    after: (startNs, bars) => startNs + BigInt(bars) * lengthNs,
    sql: (ns) => `${ns} - positiveModulo(${ns} - ${offsetNs}, ${lengthNs})`,
  }
}

function months(text: string, count: number): Interval {
  const monthOf = (ns: bigint): number => {
    const time = new Date(Number(ns / 1_000_000n))
    return time.getUTCFullYear() * 12 + time.getUTCMonth()
  }
  const nsOf = (month: number): bigint => BigInt(Date.UTC(Math.floor(month / 12), month % 12)) * 1_000_000n
  const number = (ns: string) => `toRelativeMonthNum(fromUnixTimestamp64Nano(${ns}, 'UTC')) - 1`
  return {
    text,
    isOfMinutes: true,
    isOfHours: true,
    lengthNs: BigInt(count * 28) * 86_400_000_000_000n,
    startOf: (ns) => nsOf(Math.floor(monthOf(ns) / count) * count),
    after: (startNs, bars) => nsOf(monthOf(startNs) + bars * count),
    sql: (ns) => {
      const month = `(${number(ns)} - modulo(${number(ns)}, ${count}))`
      return `toInt64(toUnixTimestamp(makeDate32(intDiv(${month}, 12), modulo(${month}, 12) + 1, 1))) * 1000000000`
    },
  }
}
