import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pressure, PRESSURE_DEFAULT, type PressureSigns } from '../engine/roles/pressure.ts'

const CALM: PressureSigns = {
  framesShare: 0,
  batchesShare: 0,
  spoolShare: 0,
  isSpoolShort: false,
  pausedSockets: 0,
  loopDelayMs: 0,
}

function rig() {
  const seen = { signs: CALM, nowMs: 0, levels: [] as number[], lines: [] as string[] }
  const pressure = new Pressure(
    PRESSURE_DEFAULT,
    () => seen.signs,
    (level) => seen.levels.push(level),
    () => seen.nowMs,
    { warn: (...words: unknown[]) => void seen.lines.push(String(words.at(-1))) } as never,
  )
  const look = (signs: Partial<PressureSigns>, seconds = PRESSURE_DEFAULT.lookMs / 1000): number => {
    seen.signs = { ...CALM, ...signs }
    seen.nowMs += seconds * 1000
    pressure.look()
    return pressure.level
  }
  return { pressure, seen, look }
}

test('pressure should give up backfill first, then the gateway, then candles, however hard it comes', () => {
  const { pressure, seen, look } = rig()
  const worst = { framesShare: 1, pausedSockets: 3, isSpoolShort: true, loopDelayMs: 5_000 }
  assert.deepEqual([look(worst), look(worst), look(worst), look(worst)], [1, 2, 3, 3])
  assert.deepEqual(seen.levels, [1, 2, 3])
  assert.deepEqual(
    seen.lines.map((line) => /^overload: (\w+( \w+)?)/.exec(line)?.[1]),
    ['backfill waits', 'the gateway', 'candles are'],
  )
  assert.deepEqual(pressure.shed, { backfill: 1, gateway: 1, candles: 1 })
  assert.equal(new Int32Array(pressure.memory)[0], 3, 'other threads read it')
})

test('pressure should fall one step after each calm of the hold, and not for a wave in between', () => {
  const { pressure, seen, look } = rig()
  for (let looks = 0; looks < 3; looks++) look({ pausedSockets: 1 })
  assert.equal(look({}), 3)
  assert.equal(look({}, 4.9), 3)
  assert.equal(look({}, 0.1), 2)
  assert.equal(look({}, 0.1), 2, 'each step waits for its own calm')
  assert.equal(look({ framesShare: 0.4 }), 2, 'what asks for this level begins the wait anew')
  assert.equal(look({}, 4.9), 2)
  assert.equal(look({}, 5), 1)
  look({})
  assert.equal(look({}, 5), 0)
  assert.deepEqual(seen.levels, [1, 2, 3, 2, 1, 0])
  assert.deepEqual(seen.lines.slice(3), [
    'overload: candles goes on again',
    'overload: gateway goes on again',
    'overload: backfill goes on again',
  ])
  assert.deepEqual(pressure.status(), { level: 0, reasons: [] })
})

test('pressure should take each sign by its own marks, the highest counts, and say which it was', () => {
  const settled = (signs: Partial<PressureSigns>): number => {
    const { look } = rig()
    return [0, 0, 0, 0].map(() => look(signs)).at(-1) as number
  }
  assert.deepEqual(
    [0.19, 0.2, 0.34, 0.35, 0.5].map((framesShare) => settled({ framesShare })),
    [0, 1, 1, 2, 3],
  )
  assert.deepEqual(
    [0.24, 0.25, 0.5, 0.75].map((batchesShare) => settled({ batchesShare })),
    [0, 1, 2, 3],
  )
  assert.deepEqual(
    [0.49, 0.5, 0.7, 0.85].map((spoolShare) => settled({ spoolShare })),
    [0, 1, 2, 3],
  )
  assert.deepEqual(
    [49, 50, 150, 500].map((loopDelayMs) => settled({ loopDelayMs })),
    [0, 1, 2, 3],
  )
  assert.equal(settled({ pausedSockets: 1 }), 3)
  assert.equal(settled({ isSpoolShort: true }), 3)
  const { pressure, look } = rig()
  look({ spoolShare: 0.5, framesShare: 0.2 })
  assert.deepEqual(pressure.status().reasons, [
    'a book worker is behind: its frame ring is 20 % full',
    '50 % of the spool is not delivered',
  ])
})
