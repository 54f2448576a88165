import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { Jobs } from '../engine/gateway/jobs.ts'
import { SILENT, until } from './support/embedded.ts'

test('jobs should run again and again, never beside themselves, and say how it went', async () => {
  const jobs = new Jobs(new Clock(), SILENT)
  let [inside, most, runs] = [0, 0, 0]
  jobs.add({ name: 'one', about: 'counts', everyMs: 1 }, async () => {
    most = Math.max(most, ++inside)
    await new Promise((resolve) => setTimeout(resolve, 5))
    inside--
    if (++runs === 2) throw new Error('not this time')
    return `run ${runs}`
  })
  await until(() => runs >= 4, 10_000, 'four runs')
  await jobs.close()
  const [status] = jobs.status()
  assert.equal(most, 1)
  assert.equal(status?.failures, 1)
  assert.equal(status?.runs, runs)
  assert.equal(status?.lastOutcome, `run ${runs}`)
  assert.ok((status?.lastDurationMs ?? 0) >= 4 && (status?.lastStartedMs ?? 0) > 0)
  const ended = runs
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(runs, ended, 'none after the end')
})

test('jobs should tell a run under way that the gateway ends, and wait for it', async () => {
  const jobs = new Jobs(new Clock(), SILENT)
  let began = false
  let over = ''
  jobs.add({ name: 'long', about: 'waits', everyMs: 1_000 }, async (signal) => {
    began = true
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    over = 'told'
    return over
  })
  await until(() => began, 10_000, 'the run')
  await jobs.close()
  assert.equal(over, 'told')
})
