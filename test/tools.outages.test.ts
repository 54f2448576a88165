import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'

/** The trial of outages, short: what it counts is held here, what it times is for a quiet machine. */
interface Figures {
  accepted: number
  rows: number
  missing: number
  doubled: number
  wrong: number
  unexplained: number
  away: {
    waitingRows: number
    isDrained: boolean
    rssMiB: { before: number; during: number[]; drain: number; after: number }
  }
  killed: { firstRowSeconds: number }
  stopped: { stopSeconds: number; leftBlocks: number }
}

test('outages should lose and double nothing while NATS is away, and over a kill and a stop under load', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const words = ['--seconds', '1', '--rate', '1500', '--instruments', '3', '--seed', '4']
  const ended = await runCli(['outages', '--json', '--data', temporaryDirectory(t), ...words])
  const figures = lastJson<Figures>(ended)
  const { accepted, rows, missing, doubled, wrong, unexplained, away, killed, stopped } = figures
  assert.deepEqual([missing, doubled, wrong, unexplained], [0, 0, 0, 0], ended.stderr)
  assert.ok(accepted > 4_000 && rows === accepted, JSON.stringify(figures))
  assert.ok(away.waitingRows > 500 && away.isDrained, 'rows waited for NATS, and went')
  const { before, during, drain, after } = away.rssMiB
  assert.ok(Math.min(before, Math.max(...during), drain, after) > 50, `memory: ${JSON.stringify(away.rssMiB)}`)
  assert.ok(killed.firstRowSeconds > 0 && stopped.stopSeconds >= 0 && stopped.leftBlocks >= 0, JSON.stringify(figures))
  assert.ok(ended.code === 0 || ended.code === 1, 'a machine that does other things has other times and memory')
})
