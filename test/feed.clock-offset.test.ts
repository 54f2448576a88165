import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { CLOCK_OFFSET_DEFAULTS, ClockWatch, offsetOf } from '../engine/feed/clock-offset.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

const NOW_MS = 1_793_280_000_000

/** A venue whose clock is `offsetMs` ahead of ours, over paths of so many ms there and back. */
function start(offsetMs: number, paths: readonly (readonly [number, number] | 'broken')[]) {
  const time = new TurnedTime(NOW_MS)
  const warnings: Record<string, unknown>[] = []
  const log = pino(
    { level: 'warn' },
    { write: (line: string) => warnings.push(JSON.parse(line) as Record<string, unknown>) },
  )
  let asked = 0
  const watch = new ClockWatch(
    { ...CLOCK_OFFSET_DEFAULTS, exchange: 'okx' },
    {
      ask: async (onSent) => {
        const path = paths[asked++ % paths.length]
        if (path === undefined || path === 'broken') throw new Error('no answer')
        await new Promise<void>((resolve) => time.after(500, resolve)) // waits for weight: not part of the way
        onSent()
        await new Promise<void>((resolve) => time.after(path[0], resolve))
        const server = time.nowMs() + offsetMs
        await new Promise<void>((resolve) => time.after(path[1], resolve))
        return server
      },
      time,
      random: () => 0.5,
      log,
      onMeasured: () => {},
    },
  )
  watch.start()
  return { watch, time, warnings, askedCount: () => asked }
}

test('clock offset should be the venue minus the middle of the way', () => {
  assert.deepEqual(offsetOf(1_000, 1_250, 1_100), { offsetMs: 200, rttMs: 100, measuredMs: 1_100 })
  assert.deepEqual(offsetOf(1_000, 1_050, 1_100), { offsetMs: 0, rttMs: 100, measuredMs: 1_100 })
})

test('clock offset should count the answer with the shortest way, wrong by at most half of it', async () => {
  const paths = [
    [200, 0],
    [0, 300],
    [21, 19],
    [5, 90],
    [90, 90],
  ] as const
  for (const offsetMs of [-740, 0, 35]) {
    const { watch, time, warnings, askedCount } = start(offsetMs, paths)
    await time.turn(10_000)
    assert.equal(askedCount(), CLOCK_OFFSET_DEFAULTS.samples)
    assert.equal(watch.latest?.rttMs, 40)
    assert.ok(Math.abs((watch.latest?.offsetMs ?? Number.NaN) - offsetMs) <= 20)
    assert.deepEqual(warnings, [])
    watch.close()
  }
})

test('clock offset should warn when clocks are more than a second apart, and measure again and again', async () => {
  const { watch, time, warnings, askedCount } = start(-1_500, [[10, 10]])
  await time.turn(10_000)
  assert.deepEqual(
    warnings.map(({ exchange, offsetMs }) => [exchange, offsetMs]),
    [['okx', -1_500]],
  )
  await time.turn(CLOCK_OFFSET_DEFAULTS.intervalMs)
  assert.equal(askedCount(), 2 * CLOCK_OFFSET_DEFAULTS.samples)
  watch.close()
  await time.turn(2 * CLOCK_OFFSET_DEFAULTS.intervalMs)
  await settle()
  assert.equal(askedCount(), 2 * CLOCK_OFFSET_DEFAULTS.samples, 'closed')
})

test('clock offset should keep what it knows while the venue does not answer, and ask again later', async () => {
  const { watch, time } = start(35, [[10, 10], [10, 10], [10, 10], [10, 10], [10, 10], 'broken', [30, 30]])
  await time.turn(10_000)
  const { latest } = watch
  assert.equal(latest?.offsetMs, 35)
  await time.turn(CLOCK_OFFSET_DEFAULTS.intervalMs)
  assert.equal(watch.latest, latest)
  await time.turn(CLOCK_OFFSET_DEFAULTS.intervalMs)
  assert.ok((watch.latest?.measuredMs ?? 0) > (latest?.measuredMs ?? 0))
  watch.close()
})
