/**
 * Times as users write them: ISO 8601 with up to 9 digits of a second, or a number since the epoch whose magnitude tells
 * its unit:
 *
 *   below 10^11   seconds        (until the year 5138)
 *   below 10^14   milliseconds   (from 1973)
 *   below 10^17   microseconds   (from 1973)
 *   else          nanoseconds    (from 1973)
 */

import { shown } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'

export const NS_PER_SECOND = 1_000_000_000n
/** What a DateTime64(9) can hold: up to April 2262. */
const TIME_NS_MAX = 9_223_372_036_000_000_000n

const NUMBER = /^\d{1,19}$/
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?$/

const REMEDY = 'write ISO 8601 (2026-11-21T18:00:00Z, up to 9 digits of a second) or s, ms, µs or ns since the epoch'

/** @param name of the parameter, for the message. @throws HttpFault */
export function timeNs(text: string, name: string): bigint {
  const ns = NUMBER.test(text) ? epochNs(BigInt(text)) : isoNs(text)
  if (ns === undefined || ns < 0n || ns > TIME_NS_MAX)
    throw new HttpFault(400, 'invalid_parameter', `${name} = "${shown(text)}" is no time: ${REMEDY}`, {
      parameter: name,
    })
  return ns
}

function epochNs(value: bigint): bigint {
  if (value < 10n ** 11n) return value * NS_PER_SECOND
  if (value < 10n ** 14n) return value * 1_000_000n
  return value < 10n ** 17n ? value * 1000n : value
}

function isoNs(text: string): bigint | undefined {
  const [, day, minute = '00:00', second = '00', fraction = '', zone = 'Z'] = ISO.exec(text) ?? []
  const ms = Date.parse(`${day}T${minute}:${second}${zone.replace(/^([+-]\d\d):?(\d\d)$/, '$1:$2')}`)
  if (day === undefined || Number.isNaN(ms)) return undefined
  return BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))
}

/** For answers and messages: UTC, digits of a second only where there are any. */
export function isoText(ns: bigint): string {
  const seconds = new Date(Number(ns / NS_PER_SECOND) * 1000).toISOString().slice(0, 19)
  const fraction = String(ns % NS_PER_SECOND)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return `${seconds}${fraction === '' ? '' : `.${fraction}`}Z`
}

export const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b)
export const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)

export interface TimeRange {
  /** inclusive */
  readonly fromNs: bigint | undefined
  /** exclusive */
  readonly toNs: bigint | undefined
}

/** @throws HttpFault when a time is none, or the range is empty. */
export function timeRange({ from, to }: { from?: string; to?: string }): TimeRange {
  const fromNs = from === undefined ? undefined : timeNs(from, 'from')
  const toNs = to === undefined ? undefined : timeNs(to, 'to')
  if (fromNs !== undefined && toNs !== undefined && fromNs >= toNs)
    throw new HttpFault(400, 'invalid_parameter', `from = ${isoText(fromNs)} has to be before to = ${isoText(toNs)}`, {
      parameter: 'from',
    })
  return { fromNs, toNs }
}

/** The same with both ends: up to now, and so long, unless told otherwise. @throws HttpFault */
export function rangeUntilNow(
  query: { from?: string; to?: string },
  nowNs: bigint,
  lengthNs: bigint,
): { readonly fromNs: bigint; readonly toNs: bigint } {
  const { fromNs: given, toNs = nowNs } = timeRange(query)
  const fromNs = given ?? (toNs > lengthNs ? toNs - lengthNs : 0n)
  if (fromNs >= toNs)
    throw new HttpFault(400, 'invalid_parameter', `from = ${isoText(fromNs)} has not come yet: give a to behind it`, {
      parameter: 'from',
    })
  return { fromNs, toNs }
}
