/** The gateway's thread may crash and hang as it likes: it is replaced, and nothing else notices. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { seededRandom } from '../engine/base/random.ts'
import { SERVE_THREAD_DEFAULT, ServeThread, type ServeThreadBounds } from '../engine/roles/serve-thread.ts'
import type { ServeSeat } from '../workers/serve-worker.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, until } from './support/embedded.ts'

const WAIT_MS = 30_000
const QUICK: ServeThreadBounds = { ...SERVE_THREAD_DEFAULT, hungMs: 1_500, pauseMsMin: 5, pauseMsMax: 20, stopMs: 300 }
const ENTRY = new URL(`./support/serve-stub${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)

/** @param behaviour of each life, the last for all that follow */
function rig(t: TestContext, behaviour: readonly string[], bounds: Partial<ServeThreadBounds> = {}) {
  const lives: { isResumed: boolean; port: number | undefined }[] = []
  const thread = new ServeThread({
    seatOf: (life) => {
      const version = behaviour[Math.min(lives.length, behaviour.length - 1)] ?? 'sound'
      lives.push(life)
      const settings = { port: life.port ?? 0, version } as ServeSeat['settings']
      const live = { from: 'ring', memory: new SharedArrayBuffer(8), isResumed: life.isResumed } as const
      return { anchorNs: 0n, settings, logLevel: 'silent', pressure: new SharedArrayBuffer(4), live } as never
    },
    clock: new Clock(),
    random: seededRandom(1),
    log: SILENT,
    onMessage: () => {},
    bounds: { ...QUICK, ...bounds },
    entry: ENTRY,
  })
  cleanUp(t, () => thread.stop())
  const order = (body: string) => thread.post({ type: 'answer', id: 1, body })
  const back = (restarts: number) =>
    until(() => thread.isUp && thread.restarts >= restarts, WAIT_MS, `life ${restarts + 1}`)
  return { thread, lives, order, back }
}

test('serve thread should be replaced when it crashes, leaves or hangs, on the port that it had', async (t) => {
  const { thread, lives, order, back } = rig(t, ['sound'])
  await thread.start()
  assert.deepEqual([thread.isUp, thread.url, lives], [true, 'http://first:0', [{ isResumed: false, port: undefined }]])
  let restarts = 0
  for (const body of ['crash', 'exit', 'hang', 'crash']) {
    order(body)
    await back(++restarts)
    assert.deepEqual(lives.at(-1), { isResumed: true, port: 4711 }, body)
    assert.equal(thread.url, 'http://resumed:4711')
  }
})

test('serve thread should be tried again and again when it cannot be started any more', async (t) => {
  const { thread, lives, order, back } = rig(t, ['sound', 'refuses', 'dies', 'refuses', 'sound'])
  await thread.start()
  order('crash')
  await until(() => !thread.isUp, WAIT_MS, 'the death')
  await back(4)
  assert.equal(lives.length, 5)
})

test('serve thread that cannot be started should say why, and leave nothing behind', async (t) => {
  const refused = rig(t, ['refuses'])
  await assert.rejects(refused.thread.start(), { code: 'PORT', message: 'the port is taken', exitCode: 78 })
  const dead = rig(t, ['dies'])
  await assert.rejects(dead.thread.start(), { code: 'SERVE', message: /dead on arrival/ })
  assert.deepEqual([refused.lives.length, dead.lives.length], [1, 1])
})

test('serve thread that does not end should be left behind within the bound, and not come back', async (t) => {
  const deaf = rig(t, ['deaf'])
  await deaf.thread.start()
  await deaf.thread.stop()
  const hung = rig(t, ['sound'], { hungMs: 60_000 })
  await hung.thread.start()
  hung.order('hang')
  await hung.thread.stop()
  const waiting = rig(t, ['sound', 'refuses'], { pauseMsMin: 20_000 })
  await waiting.thread.start()
  waiting.order('crash')
  await until(() => !waiting.thread.isUp, WAIT_MS, 'the death')
  await waiting.thread.stop()
  assert.deepEqual([deaf.lives.length, hung.lives.length, waiting.lives.length], [1, 1, 1])
})
