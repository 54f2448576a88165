import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Clock } from '../engine/base/clock.ts'
import type { Fault } from '../engine/base/fault.ts'
import { WANT_SNAPSHOT } from '../engine/ring/frame.ts'
import { IDLE_DEFAULT } from '../engine/ring/idle.ts'
import { Router } from '../engine/route/router.ts'
import type { RestartNotice } from '../workers/loop.ts'
import { type PoolOptions, WorkerPool, type WorkerRole, workerUrl } from '../workers/pool.ts'
import type { SlotBounds } from '../workers/slot.ts'

const EXTENSION = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
const support = (name: string): URL => new URL(`./support/${name}${EXTENSION}`, import.meta.url)
const SILENT = { warn: () => {}, error: () => {} } as unknown as PoolOptions['log']
const BOUNDS: SlotBounds = { hungMs: 600, startMs: 20_000, restartsMax: 3, restartWindowMs: 60_000 }

interface RigOptions {
  readonly count?: number
  readonly settings?: (workerIndex: number) => object
  readonly bounds?: Partial<SlotBounds>
  readonly isStubborn?: boolean
  readonly hasStore?: boolean
  readonly heapMb?: number
}

/** A pool of fixture workers, fed through a real router; everything that happens is a line in `lines`. */
function rig({ count = 1, settings, bounds, isStubborn = false, hasStore = false, heapMb }: RigOptions = {}) {
  const lines: string[] = []
  const faults: Fault[] = []
  const notices: RestartNotice[] = []
  const clock = new Clock()
  const counterBytes = 64
  const pool = new WorkerPool(
    {
      clock,
      log: SILENT,
      bounds: { ...BOUNDS, ...bounds },
      bookIdle: IDLE_DEFAULT,
      eventIdle: IDLE_DEFAULT,
      book: {
        url: support('pool-book'),
        counterBytes,
        count,
        frameRingBytes: 4096,
        batchRingBytes: 4096,
        requestRingBytes: 1024,
        settings: (workerIndex) => ({ word: `w${workerIndex}`, ...settings?.(workerIndex) }),
        ...(heapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMb } }),
      },
      sink: { url: support('pool-sink'), counterBytes, settings: { isStubborn } },
      ...(hasStore ? { store: { url: support('pool-store'), counterBytes, settings: {} } } : {}),
    },
    {
      onRequest: (workerIndex, kind) => lines.push(`request of ${workerIndex}: ${kind}`),
      clearFrames: (workerIndex) => router.clearShard(workerIndex),
      onWorkerRestarted: (role: WorkerRole, workerIndex, notice) => {
        lines.push(`restarted ${role} ${workerIndex}`)
        notices.push(notice)
        if (role === 'book') send('reopened', workerIndex)
      },
      onFault: (fault) => faults.push(fault),
      onMessage: (_role, _workerIndex, message) => lines.push(String(message)),
    },
  )
  const router = new Router(pool.frameRings, clock, SILENT)
  for (let index = 0; index < count; index++) router.connect(index, index, { pause: () => {}, resume: () => {} })
  const send = (word: string, workerIndex = 0): void => {
    router.onFrame(workerIndex, 0, Buffer.from(word))
    router.endOfBurst()
  }
  const seen = async (line: string): Promise<void> => {
    for (const deadline = performance.now() + 20_000; !lines.includes(line); await sleep(5)) {
      if (performance.now() > deadline) assert.fail(`no line "${line}" among ${JSON.stringify(lines)}`)
    }
  }
  pool.start()
  return { pool, router, send, seen, lines, faults, notices, clock }
}

test('worker url should name the file beside the pool, as compiled or not', () => {
  const url = workerUrl('book-worker')
  assert.ok(url.pathname.endsWith(`/workers/book-worker${EXTENSION}`))
  assert.ok(existsSync(fileURLToPath(new URL(`./pool${EXTENSION}`, url))))
})

test('pool should pass frames to books, requests to main, batches to the sink, and end in order', async () => {
  const { pool, router, send, seen, lines } = rig({ count: 2, hasStore: true })
  send('hello', 0)
  send('world', 1)
  send('ask', 1)
  await seen('0 w0 hello')
  await seen('1 w1 world')
  await seen(`request of 1: ${WANT_SNAPSHOT}`)
  assert.deepEqual(
    pool.states().map(({ role, isRunning, restarts }) => `${role} ${isRunning} ${restarts}`),
    ['book true 0', 'book true 0', 'sink true 0', 'store true 0'],
  )
  send('last', 0)
  router.drain()
  router.endOfBurst()
  assert.deepEqual(await pool.stop(10_000), [])
  await sleep(0)
  assert.deepEqual(lines.slice(-2), ['end', 'stopped'])
  for (const line of ['0 w0 last', '0 drained', '1 drained']) assert.ok(lines.includes(line), line)
  assert.ok(pool.states().every(({ isRunning }) => !isRunning))
})

test('pool should stay quiet while workers have nothing to do', async () => {
  const { pool, send, seen, faults } = rig()
  send('first')
  await seen('0 w0 first')
  await sleep(BOUNDS.hungMs * 3)
  send('second')
  await seen('0 w0 second')
  assert.deepEqual([pool.states()[0]?.restarts, pool.states()[1]?.restarts, faults.length], [0, 0, 0])
  await pool.stop(10_000)
})

for (const word of ['crash', 'exit', 'hang', 'oom']) {
  const reason = word === 'hang' ? 'hung' : 'crashed'
  test(`pool should replace a book worker that is told to ${word}, and leave the others alone`, async () => {
    const { pool, send, seen, lines, notices, clock } = rig({ count: 2, ...(word === 'oom' ? { heapMb: 24 } : {}) })
    send('before', 0)
    await seen('0 w0 before')
    const told = clock.nowNs()
    send(word, 0)
    send('lost', 0)
    send('untouched', 1)
    await seen('0 w0 reopened')
    send('after', 0)
    await seen('0 w0 after')
    await seen('1 w1 untouched')
    const told0 = lines.filter((line) => line.startsWith('0 ') || line.startsWith('restarted'))
    // A frame that crashes by throwing is behind the reader already; one that never returned is not.
    const lost = word === 'crash' ? 1 : 2
    assert.deepEqual(told0, [
      '0 w0 before',
      'restarted book 0',
      `0 restarted ${reason} ${lost}`,
      '0 w0 reopened',
      '0 w0 after',
    ])
    const notice = notices[0]
    assert.ok(notice !== undefined && notice.reason === reason && notice.framesLost === lost)
    const at = (BigInt(notice.atHi) << 32n) | BigInt(notice.atLo)
    const since = (BigInt(notice.sinceHi) << 32n) | BigInt(notice.sinceLo)
    assert.ok(since >= told - 1_000_000n && since <= at && at <= clock.nowNs(), 'the gap begins where the worker stood')
    assert.deepEqual(
      pool.states().map(({ restarts }) => restarts),
      [1, 0, 0],
    )
    await pool.stop(10_000)
  })
}

test('pool should keep published batches of a dead worker and forget the unpublished', async () => {
  const { pool, send, seen, lines } = rig()
  send('published')
  send('unpublished')
  await seen('0 w0 reopened')
  assert.ok(lines.includes('0 w0 published'))
  assert.ok(!lines.includes('0 w0 unpublished'))
  await pool.stop(10_000)
})

test('pool should replace all book workers when the sink worker dies, because its unsynced blocks are gone', async () => {
  const { pool, send, seen, lines, notices, faults } = rig({ count: 2, bounds: { restartsMax: 1 } })
  send('sink-crash', 1)
  await seen('0 w0 reopened')
  await seen('1 w1 reopened')
  for (const line of ['restarted sink 2', '0 restarted replaced 0', '1 restarted replaced 0'])
    assert.ok(lines.includes(line))
  const [sink, ...books] = notices
  for (const { sinceHi, sinceLo } of books) assert.deepEqual([sinceHi, sinceLo], [sink?.sinceHi, sink?.sinceLo])
  send('crash', 0) // being replaced did not use up its restart
  for (const deadline = performance.now() + 20_000; pool.states()[0]?.restarts !== 2; await sleep(5)) {
    assert.ok(performance.now() < deadline, JSON.stringify(lines))
  }
  assert.equal(faults.length, 0)
  await pool.stop(10_000)
})

test('pool should give up on a worker that needs a fourth restart within the window', async () => {
  const { pool, faults, lines } = rig({ settings: () => ({ crashAtStart: true }) })
  for (const deadline = performance.now() + 20_000; faults.length === 0 && performance.now() < deadline; )
    await sleep(5)
  assert.equal(faults[0]?.code, 'WORKER_FAILED')
  assert.match(
    faults[0]?.message ?? '',
    /book worker 0 crashed again after 3 restarts within 60 s \(crashed at start\)/,
  )
  assert.equal(lines.filter((line) => line === 'restarted book 0').length, 3)
  await sleep(50)
  assert.equal(faults.length, 1)
  assert.deepEqual(await pool.stop(10_000), [])
})

test('pool should forgive restarts that lie further back than the window', async () => {
  const { pool, send, seen, faults, lines } = rig({ bounds: { restartsMax: 1, restartWindowMs: 1 } })
  for (let round = 1; round <= 3; round++) {
    send('crash')
    send(`round ${round}`)
    for (const deadline = performance.now() + 20_000; pool.states()[0]?.restarts !== round; await sleep(5)) {
      assert.ok(performance.now() < deadline, JSON.stringify(lines))
    }
    await sleep(5)
  }
  send('alive')
  await seen('0 w0 alive')
  assert.equal(faults.length, 0)
  await pool.stop(10_000)
})

test('pool should replace a worker whose loop does not begin in time', async () => {
  const { pool, faults } = rig({ settings: () => ({ muteAtStart: true }), bounds: { startMs: 400, restartsMax: 0 } })
  for (const deadline = performance.now() + 20_000; faults.length === 0 && performance.now() < deadline; )
    await sleep(5)
  assert.match(faults[0]?.message ?? '', /book worker 0 hung again/)
  await pool.stop(10_000)
})

test('pool should end stragglers by force and name them', async () => {
  const { pool, send, seen } = rig({ isStubborn: true, bounds: { hungMs: 60_000 } })
  send('x')
  await seen('0 w0 x')
  send('hang')
  assert.deepEqual(await pool.stop(500), ['book worker 0', 'sink worker'])
  assert.ok(pool.states().every(({ isRunning }) => !isRunning))
})
