import assert from 'node:assert/strict'
import { test } from 'node:test'
import { METRICS } from '../engine/observe/metric-list.ts'
import { latencySample, Metrics, SERIES_MAX } from '../engine/observe/metrics.ts'
import { observeRuntime } from '../engine/observe/runtime.ts'
import { REJECT_REASONS } from '../engine/record/emit.ts'
import { Histogram } from '../engine/ring/histogram.ts'

/** Sample lines of a scrape: `name{labels}` → value. */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

test('metrics should be named marketprism_, by unit, and explained', () => {
  for (const [name, { type, help, labels }] of Object.entries(METRICS)) {
    assert.match(name, /^marketprism_[a-z][a-z0-9_]*$/)
    assert.equal(name.endsWith('_total'), type === 'counter', `${name}: counters and only counters end in _total`)
    assert.ok(help.length > 5, name)
    for (const label of Object.keys(labels)) assert.match(label, /^[a-z]+$/)
    assert.ok(!('symbol' in labels) && !('instrument' in labels), `${name}: a symbol is no label`)
  }
})

test('metrics should have every closed counter at 0 before anything happens', async () => {
  const found = samples(await new Metrics().scrape())
  assert.equal(found.get('marketprism_spool_fsyncs_total'), 0)
  for (const kind of ['book', 'sink', 'store'])
    assert.equal(found.get(`marketprism_worker_restarts_total{kind="${kind}"}`), 0)
  for (const reason of REJECT_REASONS) assert.equal(found.get(`marketprism_rejected_total{reason="${reason}"}`), 0)
  assert.ok(!found.has('marketprism_spool_bytes'), 'a gauge without a source is absent, not 0')
})

test('metrics should pull at each scrape and add up sources of the same labels', async () => {
  const metrics = new Metrics()
  let applied = 5
  metrics.source('marketprism_updates_applied_total', () => [{ labels: { shard: '0' }, value: applied }])
  metrics.source('marketprism_updates_applied_total', () => [{ labels: { shard: '1' }, value: 7 }])
  metrics.source('marketprism_books', () => [{ labels: { state: 'LIVE' }, value: 2 }])
  metrics.source('marketprism_books', () => [{ labels: { state: 'LIVE' }, value: 3 }])
  metrics.source('marketprism_spool_bytes', () => 11)
  let found = samples(await metrics.scrape())
  assert.equal(found.get('marketprism_updates_applied_total{shard="0"}'), 5)
  assert.equal(found.get('marketprism_updates_applied_total{shard="1"}'), 7)
  assert.equal(found.get('marketprism_books{state="LIVE"}'), 5)
  assert.equal(found.get('marketprism_books{state="GAP"}'), 0)
  assert.equal(found.get('marketprism_spool_bytes'), 11)
  applied = 6
  found = samples(await metrics.scrape())
  assert.equal(found.get('marketprism_updates_applied_total{shard="0"}'), 6)
})

test('metrics should make cumulative buckets of a histogram', async () => {
  const metrics = new Metrics()
  metrics.histogram('marketprism_spool_fsync_seconds', () => [
    { bounds: [0.001, 0.01, 0.1], cumulative: [5, 5, 7], count: 8, sum: 1.5 },
  ])
  const found = samples(await metrics.scrape())
  const bucket = (le: string): number | undefined => found.get(`marketprism_spool_fsync_seconds_bucket{le="${le}"}`)
  assert.deepEqual([bucket('0.001'), bucket('0.01'), bucket('0.1'), bucket('+Inf')], [5, 5, 7, 8])
  assert.equal(found.get('marketprism_spool_fsync_seconds_count'), 8)
  assert.equal(found.get('marketprism_spool_fsync_seconds_sum'), 1.5)
})

test('metrics should read a latency histogram of shared memory in seconds', async () => {
  const histogram = new Histogram()
  for (const ms of [0.05, 0.3, 0.3, 7, 30, 20_000]) histogram.record(ms * 1e6)
  const metrics = new Metrics()
  metrics.histogram('marketprism_live_latency_seconds', () => [latencySample(histogram, { shard: '0' })])
  const found = samples(await metrics.scrape())
  const bucket = (le: string): number | undefined =>
    found.get(`marketprism_live_latency_seconds_bucket{shard="0",le="${le}"}`)
  assert.deepEqual([bucket('0.0001'), bucket('0.001'), bucket('0.02'), bucket('10'), bucket('+Inf')], [1, 3, 4, 5, 6])
  assert.ok(Math.abs((found.get('marketprism_live_latency_seconds_sum{shard="0"}') as number) - 20.03765) < 1e-6)
})

test('metrics should survive a source that throws, an unknown label word and too many series, and count them', async () => {
  const errors: string[] = []
  const metrics = new Metrics((name) => errors.push(name))
  metrics.source('marketprism_spool_bytes', () => {
    throw new Error('closed')
  })
  metrics.source('marketprism_books', () => [{ labels: { state: 'BROKEN' }, value: 1 }])
  metrics.source('marketprism_frames_lost_total', () =>
    Array.from({ length: SERIES_MAX + 1 }, (_, index) => ({ labels: { shard: String(index) }, value: 1 })),
  )
  metrics.source('marketprism_spool_segments', () => 3)
  await metrics.scrape()
  const found = samples(await metrics.scrape())
  assert.equal(found.get('marketprism_spool_segments'), 3)
  assert.ok(![...found.keys()].some((name) => name.includes('BROKEN')))
  assert.deepEqual(errors.slice(0, 3).sort(), [
    'marketprism_books',
    'marketprism_frames_lost_total',
    'marketprism_spool_bytes',
  ])
  assert.equal(found.get('marketprism_metric_source_errors_total'), 3) // of the scrape before
})

test('metrics should escape label values', async () => {
  const metrics = new Metrics()
  metrics.source('marketprism_build_info', () => [{ labels: { version: 'a"b\\c\nd' }, value: 1 }])
  assert.match(await metrics.scrape(), /version="a\\"b\\\\c\\nd"\} 1/)
})

test('metrics should show a blocked event loop', async (t) => {
  const metrics = new Metrics()
  t.after(observeRuntime(metrics, '9.9.9', 5000))
  await new Promise((resolve) => setTimeout(resolve, 50)) // the sampling has begun
  const until = performance.now() + 120
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 50))
  const found = samples(await metrics.scrape())
  assert.ok((found.get('marketprism_eventloop_delay_seconds{quantile="1"}') as number) > 0.08)
  assert.equal(found.get('marketprism_build_info{version="9.9.9"}'), 1)
  assert.equal(found.get('marketprism_start_time_seconds'), 5)
  assert.ok((found.get('marketprism_resident_memory_bytes') as number) > 1e7)
})
