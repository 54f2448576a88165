import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Liveness, type LivenessVerdict } from '../engine/feed/liveness.ts'

const TIMING = { probeAfterMs: 10_000, probeTimeoutMs: 5_000, dataSilenceMsMax: 60_000, watchIntervalMs: 1_000 }
const HEARTBEAT = { serverPingMs: 20_000, pongDeadlineMs: 60_000, unsolicitedPongMs: 0 }
const DAY_MS = 86_400_000

/** Asks every second from `fromMs`. @returns when the first verdict came that is not WELL, and which. */
function firstWord(
  liveness: Liveness,
  fromMs: number,
  untilMs: number,
  frameCount = 0,
  otherCount = 0,
): [number, LivenessVerdict] | undefined {
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 1_000) {
    const verdict = liveness.check(nowMs, { frameCount, otherCount, isPaused: false })
    if (verdict !== 'WELL') return [nowMs, verdict]
  }
  return undefined
}

function begun(canProbe = true, lifeMs = DAY_MS): Liveness {
  const liveness = new Liveness(TIMING, HEARTBEAT, canProbe)
  liveness.begin(0, { frameCount: 0, otherCount: 0, isPaused: false }, lifeMs)
  return liveness
}

test('liveness should ask after silence and give up when no answer comes', () => {
  const liveness = begun()
  assert.deepEqual(firstWord(liveness, 1_000, 99_000), [11_000, 'PROBE'])
  assert.deepEqual(firstWord(liveness, 12_000, 99_000), [17_000, 'SILENT'])
})

test('liveness should take any answer for life, and wait anew', () => {
  const liveness = begun()
  firstWord(liveness, 1_000, 11_000)
  assert.deepEqual(firstWord(liveness, 12_000, 99_000, 0, 1), [23_000, 'PROBE'])
})

test('liveness should not blame the venue for a stall of its own thread', () => {
  const liveness = begun()
  firstWord(liveness, 1_000, 11_000) // asked at 11 s
  assert.equal(
    liveness.check(60_000, { frameCount: 0, otherCount: 0, isPaused: false }),
    'WELL',
    'the answer may lie in the kernel',
  )
  assert.deepEqual(firstWord(liveness, 61_000, 99_000), [64_000, 'SILENT'], 'the deadline runs on from there')
})

test('liveness should count no silence while the socket is paused', () => {
  const liveness = begun()
  for (let nowMs = 1_000; nowMs < 300_000; nowMs += 1_000) {
    assert.equal(liveness.check(nowMs, { frameCount: 0, otherCount: 0, isPaused: true }), 'WELL')
  }
})

test('liveness should double its patience with a quiet subscription, until data comes', () => {
  const liveness = begun()
  const quietMs: number[] = []
  let otherCount = 0
  for (let round = 0; round < 7; round++) {
    if (round === 6) liveness.check(962_000, { frameCount: 3, otherCount, isPaused: false })
    liveness.begin(0, { frameCount: 2, otherCount, isPaused: false }, DAY_MS)
    for (let nowMs = 1_000; ; nowMs += 1_000) {
      if (liveness.check(nowMs, { frameCount: 2, otherCount: ++otherCount, isPaused: false }) !== 'NO_DATA') continue
      quietMs.push(nowMs)
      break
    }
  }
  assert.deepEqual(quietMs, [61_000, 121_000, 241_000, 481_000, 961_000, 961_000, 61_000])
})

test('liveness should go by missed pings where there is no question to ask, and end an old socket', () => {
  assert.deepEqual(firstWord(begun(false), 1_000, 99_000), [41_000, 'SILENT'])
  const liveness = begun(true, 5_000)
  assert.deepEqual(firstWord(liveness, 1_000, 99_000), [6_000, 'LIFE_OVER'])
})
