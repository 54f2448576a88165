/** The end of a demo: what came, how fast, how late, what was wrong. */
import Table from 'cli-table3'
import type { Histogram } from '../../ring/histogram.ts'
import type { Meter, Tally } from './meter.ts'

const KIB = 1024

export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

function latencyOf(histogram: Histogram): Latency | null {
  if (histogram.count === 0) return null
  const ms = (ns: number): number => Math.round(ns / 1e4) / 100
  return { p50: ms(histogram.percentileNs(0.5)), p99: ms(histogram.percentileNs(0.99)), max: ms(histogram.maxNs) }
}

export function summaryObject(meter: Meter, from: string, seconds: number) {
  const { total, types, subjects, latency, lost, errors, notices } = meter
  return {
    from,
    seconds: Math.round(seconds * 1000) / 1000,
    subjects: subjects.size,
    ...total,
    rowsPerSecond: Math.round(total.rows / seconds),
    bytesPerSecond: Math.round(total.bytes / seconds),
    latencyMs: latencyOf(latency),
    lost,
    errors,
    notices,
    types: Object.fromEntries(
      [...types].map(([type, { messages, rows, bytes, latency: own }]) => [
        type,
        { messages, rows, bytes, latencyMs: latencyOf(own) },
      ]),
    ),
  }
}

export function summaryTable(meter: Meter, from: string, seconds: number): string {
  const table = new Table({
    head: ['type', 'messages', 'rows', 'rows/s', 'KiB/s', 'p50 ms', 'p99 ms', 'max ms'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right'],
  })
  const line = (name: string, { messages, rows, bytes }: Tally, histogram: Histogram): void => {
    const late = latencyOf(histogram)
    table.push([
      name,
      messages,
      rows,
      (rows / seconds).toFixed(0),
      (bytes / KIB / seconds).toFixed(0),
      ...(late === null ? ['–', '–', '–'] : [late.p50, late.p99, late.max].map((ms) => ms.toFixed(2))),
    ])
  }
  for (const [type, own] of [...meter.types].sort(([a], [b]) => a.localeCompare(b))) line(type, own, own.latency)
  line('all', meter.total, meter.latency)
  const { lost, errors, subjects, notices } = meter
  return [
    `${from}, ${seconds.toFixed(1)} s, ${subjects.size} subjects`,
    table.toString(),
    'latency: from the socket of the collector (received_ns) to here, by the clocks of both machines',
    `lost ${lost}, unreadable ${errors}${notices.length === 0 ? '' : `\n${notices.join('\n')}`}`,
  ].join('\n')
}
