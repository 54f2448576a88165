import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'

/**
 * The trials of rotation and scale, short: four simulated venues with their limits, the whole engine, every row compared
 * with what was sent. Nothing here is measured by the clock; how long a start takes is held in route.estimate.test.ts.
 */
interface RotationFigures {
  seconds: number
  rotations: number
  sockets: number
  generationsMin: number
  gapRows: number
  missing: number
  doubled: number
  wrong: number
  rejected: number
  events: number
}

test('rotation should replace every socket of four venues while it delivers, without a gap or a double', async (t) => {
  const data = temporaryDirectory(t)
  const words = ['--seconds', '22', '--life', '20', '--rate', '1000', '--instruments', '9', '--delivery', 'direct']
  const ended = await runCli(['rotation', '--json', '--data', data, '--set', 'batch.ageMs=1000', ...words])
  const figures = lastJson<RotationFigures>(ended)
  const { gapRows, missing, doubled, wrong, rejected } = figures
  assert.deepEqual([gapRows, missing, doubled, wrong, rejected], [0, 0, 0, 0, 0], ended.stderr)
  // each socket was replaced, most of them by the time that the market ended
  assert.ok(figures.sockets >= 10 && figures.generationsMin >= 2, JSON.stringify(figures))
  assert.ok(figures.rotations >= figures.sockets / 2, JSON.stringify(figures))
  assert.ok(figures.events > 10_000)
  assert.equal(ended.code, 0, ended.stderr)
})

interface ScaleFigures {
  instruments: number
  live: number
  sockets: number
  predictedSeconds: number
  measuredSeconds: number
  missing: number
  doubled: number
  wrong: number
  rejected: number
}

test('scale should bring every book of four venues LIVE within their limits, and lose nothing meanwhile', async (t) => {
  const data = temporaryDirectory(t)
  const words = ['--instruments', '60', '--rate', '1000', '--seconds', '3', '--delivery', 'direct']
  const ended = await runCli(['scale', '--json', '--data', data, '--set', 'batch.ageMs=1000', ...words])
  const figures = lastJson<ScaleFigures>(ended)
  assert.deepEqual([figures.instruments, figures.live], [60, 60], ended.stderr)
  const { missing, doubled, wrong, rejected } = figures
  assert.deepEqual([missing, doubled, wrong, rejected], [0, 0, 0, 0], ended.stderr)
  assert.ok(figures.sockets >= 10 && figures.predictedSeconds > 0 && figures.measuredSeconds > 0)
  assert.ok(ended.code === 0 || ended.code === 1, 'a machine that does other things starts later than planned')
})

test('trials should refuse what they cannot do, with usage', async () => {
  for (const words of [
    ['rotation', '--life', '1'],
    ['scale', '--venues', 'kraken'],
  ]) {
    const ended = await runCli(words)
    assert.equal(ended.code, 2, ended.stderr)
    assert.match(ended.stderr, /Allowed is/)
  }
})
