/**
 * The registry behind /metrics. Nothing is pushed into it: parts of the engine keep plain counters (in shared memory where
 * threads are involved), a role registers functions that read them, and a scrape calls those. So the hot path never
 * meets prom-client.
 */

import type { Metric } from 'prom-client'
import { Registry } from 'prom-client'
import { assert } from '../base/assert.ts'
import type { Histogram } from '../ring/histogram.ts'
import type { MetricName, MetricSpec } from './metric-list.ts'
import { METRICS } from './metric-list.ts'

export type LabelValues = Readonly<Record<string, string>>

export interface Sample {
  readonly labels?: LabelValues
  readonly value: number
}

/** A histogram as read: `cumulative[i]` values were at most `bounds[i]`. */
export interface HistogramSample {
  readonly labels?: LabelValues
  readonly bounds: readonly number[]
  readonly cumulative: readonly number[]
  readonly count: number
  readonly sum: number
}

type Histograms = {
  [Name in MetricName]: (typeof METRICS)[Name]['type'] extends 'histogram' ? Name : never
}[MetricName]
type Plain = Exclude<MetricName, Histograms>

interface Value {
  readonly metricName?: string
  readonly labels: LabelValues
  readonly value: number
}

/** One metric is at most this many series; a scrape stays below a megabyte. */
export const SERIES_MAX = 500

const seriesKey = (labels: LabelValues): string => JSON.stringify(Object.entries(labels).sort())

/** A metric whose values are read when asked; prom-client's registry wants `get()` and no more. */
class PulledMetric {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly labelNames: readonly string[]
  readonly #spec: MetricSpec
  readonly #sources: (() => readonly Value[])[] = []
  readonly #onError: (error: unknown) => void

  constructor(name: string, spec: MetricSpec, onError: (error: unknown) => void) {
    this.name = name
    this.help = spec.help
    this.type = spec.type
    this.labelNames = Object.keys(spec.labels)
    this.#spec = spec
    this.#onError = onError
  }

  add(source: () => readonly Value[]): void {
    this.#sources.push(source)
  }

  /** Values of the same labels from several sources (shards) add up. */
  async get(): Promise<object> {
    const series = new Map<string, Value>()
    for (const zero of this.#zeros()) series.set(seriesKey(zero.labels), zero)
    for (const source of this.#sources) {
      try {
        for (const value of source()) this.#merge(series, value)
      } catch (error) {
        this.#onError(error) // one broken source must not hide all others
      }
    }
    return { name: this.name, help: this.help, type: this.type, aggregator: 'sum', values: [...series.values()] }
  }

  #merge(series: Map<string, Value>, value: Value): void {
    const key = (value.metricName ?? '') + seriesKey(value.labels)
    const before = series.get(key)
    assert(before !== undefined || series.size < SERIES_MAX, `${this.name} has more than ${SERIES_MAX} series`)
    this.#checkLabels(value.labels)
    series.set(key, before === undefined ? value : { ...value, value: before.value + value.value })
  }

  #checkLabels(labels: LabelValues): void {
    for (const [name, value] of Object.entries(labels)) {
      if (name === 'le' && this.type === 'histogram') continue
      const words = this.#spec.labels[name]
      assert(
        words !== undefined && (words === null || words.includes(value)),
        `${this.name} has no label ${name}="${value}"`,
      )
    }
  }

  /** Counters exist at 0 from the first scrape, for every word of their labels; gauges without a source stay absent. */
  #zeros(): Value[] {
    const counts = this.type === 'counter' || (this.type === 'gauge' && this.#sources.length > 0)
    if (!counts || Object.values(this.#spec.labels).some((words) => words === null)) return []
    let combinations: LabelValues[] = [{}]
    for (const [name, words] of Object.entries(this.#spec.labels)) {
      combinations = combinations.flatMap((labels) =>
        (words as readonly string[]).map((word) => ({ ...labels, [name]: word })),
      )
    }
    return combinations.map((labels) => ({ labels, value: 0 }))
  }
}

export class Metrics {
  readonly #registry = new Registry()
  readonly #metrics = new Map<string, PulledMetric>()
  #sourceErrors = 0

  /** @param onError told of a source that throws; the scrape goes on without it. */
  constructor(onError: (metric: string, error: unknown) => void = () => {}) {
    for (const [name, spec] of Object.entries(METRICS)) {
      const metric = new PulledMetric(name, spec, (error) => {
        this.#sourceErrors++
        onError(name, error)
      })
      this.#metrics.set(name, metric)
      this.#registry.registerMetric(metric as unknown as Metric)
    }
    this.source('marketprism_metric_source_errors_total', () => this.#sourceErrors)
  }

  /** Registers where a counter or gauge is read from: one number, or one sample a label set. Several sources add up. */
  source(name: Plain, read: () => number | readonly Sample[]): void {
    this.#metricNamed(name).add(() => {
      const found = read()
      return typeof found === 'number'
        ? [{ labels: {}, value: found }]
        : found.map(({ labels = {}, value }) => ({ labels, value }))
    })
  }

  histogram(name: Histograms, read: () => readonly HistogramSample[]): void {
    this.#metricNamed(name).add(() => read().flatMap((sample) => bucketsOf(name, sample)))
  }

  #metricNamed(name: string): PulledMetric {
    const metric = this.#metrics.get(name)
    assert(metric !== undefined, `no metric ${name}`)
    return metric
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The exposition text. */
  scrape(): Promise<string> {
    return this.#registry.metrics()
  }
}

function bucketsOf(name: string, { labels = {}, bounds, cumulative, count, sum }: HistogramSample): Value[] {
  assert(cumulative.length === bounds.length, `${name}: ${cumulative.length} counts for ${bounds.length} bounds`)
  const bucket = (le: string, value: number): Value => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le },
    value,
  })
  return [
    ...bounds.map((bound, index) => bucket(String(bound), cumulative[index] as number)),
    bucket('+Inf', count),
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}

/** From 100 µs to 10 s; the promises to keep (1 ms, 20 ms) are bounds, so that they can be read off exactly. */
export const LATENCY_BOUNDS_S = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
]

/** A latency histogram in shared memory as a sample for `histogram()`. */
export function latencySample(histogram: Histogram, labels: LabelValues = {}): HistogramSample {
  const { cumulative, count, sumNs } = histogram.buckets(LATENCY_BOUNDS_S.map((bound) => bound * 1e9))
  return { labels, bounds: LATENCY_BOUNDS_S, cumulative, count, sum: sumNs / 1e9 }
}
