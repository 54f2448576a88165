import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import * as frame from '../engine/ring/frame.ts'
import { createRing, RingReader } from '../engine/ring/ring.ts'
import { NO_SOURCE, Router, type RouterOptions } from '../engine/route/router.ts'

interface Seen {
  kind: number
  source: number
  generation: number
  extra: number
  hi: number
  lo: number
  text: string
}

const BOUNDS: RouterOptions = { highWaterShare: 0.5, lowWaterShare: 0.25, overflowFramesMax: 6, overflowBytesMax: 380 }

/** A router over rings of 1 KiB, timers that run when the test says so, sockets that only remember. */
function rig(shardCount = 1, options = BOUNDS) {
  const memories = Array.from({ length: shardCount }, () => createRing(1024))
  const readers = memories.map((memory) => new RingReader(memory))
  const warnings: unknown[] = []
  const timers: (() => void)[] = []
  const log = { warn: (...words: unknown[]) => void warnings.push(words) } as unknown as { warn: () => void }
  const router = new Router(memories, new Clock(), log, options, (callback) => void timers.push(callback))
  const flow: string[] = []
  const connect = (source: number, shardIndex = 0): void =>
    router.connect(source, shardIndex, {
      pause: () => void flow.push(`pause ${source}`),
      resume: () => void flow.push(`resume ${source}`),
    })
  const read = (countMax = Number.POSITIVE_INFINITY, shardIndex = 0): Seen[] => {
    const seen: Seen[] = []
    readers[shardIndex]?.drain((kind, bytes, offset, length) => {
      seen.push({
        kind,
        source: frame.source(bytes, offset),
        generation: frame.generation(bytes, offset),
        extra: frame.extra(bytes, offset),
        hi: frame.receivedHi(bytes, offset),
        lo: frame.receivedLo(bytes, offset),
        text: Buffer.from(bytes.subarray(offset, offset + length)).toString(),
      })
    }, countMax)
    return seen
  }
  /** Another reader thread takes over. */
  const replaceReader = (shardIndex: number): void => {
    readers[shardIndex] = new RingReader(memories[shardIndex] as SharedArrayBuffer)
  }
  const runTimers = (): void => {
    for (const callback of timers.splice(0)) callback()
  }
  const stats = (shardIndex = 0) => router.stats[shardIndex] as NonNullable<(typeof router.stats)[number]>
  return { router, connect, read, runTimers, replaceReader, flow, warnings, stats }
}

const text = (word: string): Buffer => Buffer.from(word)

test('router should publish a burst once, in a microtask, with one stamp', async () => {
  const { router, connect, read, stats } = rig()
  connect(3)
  const before = process.hrtime.bigint()
  router.onFrame(3, 7, text('a'))
  router.onFrame(3, 7, text('b'))
  assert.equal(read().length, 0)
  await Promise.resolve()
  const [first, second, ...rest] = read()
  assert.ok(first !== undefined && second !== undefined && rest.length === 0)
  assert.deepEqual([first.kind, first.source, first.generation, first.text], [frame.DATA, 3, 7, 'a'])
  assert.deepEqual([second.text, second.hi, second.lo], ['b', first.hi, first.lo])
  assert.deepEqual([stats().frames, stats().bytes, stats().publishes], [2, 2, 1])
  while (process.hrtime.bigint() - before < 1_000_000n);
  router.onFrame(3, 7, text('c'))
  await Promise.resolve()
  const [third] = read()
  assert.ok(third !== undefined && (third.hi > first.hi || third.lo > first.lo), 'the next burst has a later stamp')
})

test('router should stamp with the time of the day', async () => {
  const { router, connect, read } = rig()
  connect(0)
  router.onFrame(0, 0, text('x'))
  router.endOfBurst()
  const [seen] = read()
  assert.ok(seen !== undefined)
  const ms = Number(((BigInt(seen.hi) << 32n) | BigInt(seen.lo)) / 1_000_000n)
  assert.ok(Math.abs(ms - Date.now()) < 5_000)
})

test('router should give each connection its own shard and every shard the ticks', async () => {
  const { router, connect, read } = rig(2)
  connect(0, 0)
  connect(1, 1)
  router.onFrame(1, 0, text('one'))
  router.onFrame(0, 0, text('zero'))
  router.tick()
  router.drain()
  await Promise.resolve()
  for (const [shardIndex, word] of ['zero', 'one'].entries()) {
    const seen = read(undefined, shardIndex).map(({ kind, source, text }) => [kind, source, text])
    const expected = [
      [frame.DATA, shardIndex, word],
      [frame.TICK, NO_SOURCE, ''],
      [frame.DRAIN, NO_SOURCE, ''],
    ]
    assert.deepEqual(seen, expected)
  }
})

test('router should pass control frames in order with the data', async () => {
  const { router, connect, read } = rig()
  connect(4)
  router.open(4, 1, { connection: 4, instruments: [{ instrument: 2, channels: ['book'] }] })
  router.onFrame(4, 1, text('data'))
  router.snapshot(4, 1, 2, text('{"bids":[]}'))
  router.snapshotFailed(4, 1, 3, 'no weight')
  router.instrument(0, 5, { id: 'x' })
  router.close(4, 1, 'gone')
  await Promise.resolve()
  const seen = read().map(({ kind, generation, extra, text }) => [kind, generation, extra, text])
  assert.deepEqual(seen, [
    [frame.OPEN, 1, 0, '{"connection":4,"instruments":[{"instrument":2,"channels":["book"]}]}'],
    [frame.DATA, 1, 0, 'data'],
    [frame.SNAPSHOT, 1, 2, '{"bids":[]}'],
    [frame.SNAPSHOT_FAILED, 1, 3, 'no weight'],
    [frame.INSTRUMENT, 0, 5, '{"id":"x"}'],
    [frame.CLOSE, 1, 0, 'gone'],
  ])
})

test('router should pause the socket that passes the high-water mark and resume it below the low one', () => {
  const { router, connect, read, runTimers, flow, stats } = rig()
  connect(0)
  connect(1)
  router.onFrame(1, 0, text('small'))
  router.endOfBurst()
  for (let count = 0; count < 6; count++) router.onFrame(0, 0, Buffer.alloc(65)) // 6 x 96
  router.endOfBurst()
  assert.deepEqual(flow, ['pause 0'])
  runTimers()
  assert.deepEqual(flow, ['pause 0'], 'nothing was read yet')
  read(3)
  runTimers()
  assert.deepEqual(flow, ['pause 0'], 'still above the low-water mark')
  read()
  runTimers()
  assert.deepEqual(flow, ['pause 0', 'resume 0'])
  assert.deepEqual([stats().pauses, stats().losses, stats().fillBytesMax], [1, 0, 32 + 6 * 96])
})

test('router should hold what a full ring refuses, in order, and lose nothing within its bounds', () => {
  const { router, connect, read, runTimers, flow, stats } = rig()
  connect(0)
  for (let count = 0; count < 12; count++) router.onFrame(0, 0, text(String(count).padEnd(65))) // 10 fit
  router.endOfBurst()
  router.close(0, 0, 'bye')
  router.endOfBurst()
  assert.deepEqual([stats().overflowed, stats().losses], [3, 0])
  const texts: string[] = []
  for (let round = 0; round < 4; round++) {
    texts.push(...read(4).map((seen) => seen.text.trim()))
    runTimers()
  }
  assert.deepEqual(texts, [...Array.from({ length: 12 }, (_, index) => String(index)), 'bye'])
  assert.deepEqual(flow, ['pause 0', 'resume 0'])
})

test('router should copy what it holds', () => {
  const { router, connect, read, runTimers } = rig()
  connect(0)
  const reused = Buffer.alloc(200, 'a')
  for (let count = 0; count < 5; count++) router.onFrame(0, 0, reused) // 4 fit
  reused.fill('b')
  router.endOfBurst()
  read()
  runTimers()
  assert.equal(read()[0]?.text, 'a'.repeat(200))
})

test('router should write what it can not hold as one LOSS, where the hole is', () => {
  const { router, connect, read, runTimers, stats } = rig()
  connect(0)
  connect(1)
  for (let count = 0; count < 30; count++) router.onFrame(0, 9, text(String(count).padEnd(65))) // 10 fit, 5 wait
  router.onFrame(1, 2, Buffer.alloc(65)) // of another connection: its own LOSS
  router.tick()
  router.tick()
  router.endOfBurst()
  read()
  router.onFrame(0, 9, text('joins the hole'))
  runTimers()
  router.onFrame(0, 9, text('after the hole'))
  router.endOfBurst()
  const seen = read().map(({ kind, source, generation, extra, text }) => [kind, source, generation, extra, text.trim()])
  assert.deepEqual(
    seen.slice(0, 5),
    [10, 11, 12, 13, 14].map((count) => [frame.DATA, 0, 9, 0, String(count)]),
  )
  assert.deepEqual(seen.slice(5), [
    [frame.LOSS, 0, 9, 16, ''],
    [frame.LOSS, 1, 2, 1, ''],
    [frame.TICK, NO_SOURCE, 0, 0, ''],
    [frame.DATA, 0, 9, 0, 'after the hole'],
  ])
  assert.deepEqual([stats().losses, stats().lossFrames, stats().frames], [17, 2, 33])
})

test('router should write a message that is longer than half the ring as a LOSS, and say so', () => {
  const { router, connect, read, flow, warnings, stats } = rig()
  connect(0)
  router.onFrame(0, 1, text('before'))
  router.onFrame(0, 1, Buffer.alloc(600))
  router.onFrame(0, 1, text('after'))
  router.endOfBurst()
  const seen = read().map(({ kind, extra, text }) => [kind, extra, text])
  assert.deepEqual(seen, [
    [frame.DATA, 0, 'before'],
    [frame.LOSS, 1, ''],
    [frame.DATA, 0, 'after'],
  ])
  assert.deepEqual([stats().oversized, stats().losses, warnings.length, flow.length], [1, 1, 1, 0])
})

test('router should turn a snapshot that does not fit into a failed one', () => {
  const { router, connect, read } = rig()
  connect(0)
  router.snapshot(0, 1, 2, Buffer.alloc(600))
  router.endOfBurst()
  const [seen] = read()
  assert.deepEqual([seen?.kind, seen?.generation, seen?.extra], [frame.SNAPSHOT_FAILED, 1, 2])
})

test('router should ignore and count what comes of a connection that it does not know any more', () => {
  const { router, connect, read } = rig()
  connect(0)
  router.disconnect(0)
  router.onFrame(0, 1, text('late'))
  router.close(0, 1, 'late')
  router.endOfBurst()
  assert.equal(read().length, 0)
  assert.equal(router.unroutedFrames, 1)
})

test('router should clear a shard whose worker died: ring, queue and open losses', () => {
  const { router, connect, read, runTimers, replaceReader, flow, stats } = rig()
  connect(0)
  for (let count = 0; count < 20; count++) router.onFrame(0, 0, Buffer.alloc(65)) // 10 fit, 5 wait, 5 lost
  router.endOfBurst()
  const discarded = router.clearShard(0)
  replaceReader(0)
  assert.equal(discarded.dataCount, 20)
  assert.ok(discarded.firstHi > 0)
  assert.deepEqual(flow, ['pause 0', 'resume 0'])
  router.open(0, 0, {})
  router.onFrame(0, 0, text('fresh'))
  router.endOfBurst()
  runTimers()
  assert.deepEqual(
    read().map(({ kind }) => kind),
    [frame.OPEN, frame.DATA],
  )
  assert.deepEqual([stats().restarts, stats().restartLosses], [1, 20])
})

test('router should account for every frame: each is read once in order, or counted in a LOSS at its place', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const int = (below: number): number => Math.floor(random() * below)
  const { router, connect, read, runTimers, stats } = rig()
  const sent = [0, 0, 0]
  const next = [0, 0, 0]
  for (let source = 0; source < 3; source++) connect(source)
  const check = (countMax?: number): void => {
    for (const { kind, source, extra, text } of read(countMax)) {
      if (kind === frame.LOSS) next[source] = (next[source] as number) + extra
      if (kind !== frame.DATA) continue
      assert.equal(Number(text), next[source], `seed ${seed}`)
      next[source] = (next[source] as number) + 1
    }
  }
  let controls = 0
  for (let step = 0; step < 30_000; step++) {
    const source = int(3)
    const choice = random()
    if (choice < 0.6) {
      const count = sent[source] as number
      sent[source] = count + 1
      const length = random() < 0.01 ? 700 : 10 + int(90)
      router.onFrame(source, 1, text(String(count).padEnd(length)))
    } else if (choice < 0.63) {
      controls++
      router.snapshot(source, 1, 0, Buffer.alloc(int(300)))
    } else if (choice < 0.75) router.endOfBurst()
    else if (choice < 0.85) runTimers()
    else check(1 + int(9))
  }
  for (let round = 0; round < 10_000; round++) {
    router.endOfBurst()
    check()
    runTimers()
  }
  assert.deepEqual(next, sent, `seed ${seed}`)
  const { frames, losses, overflowed, oversized } = stats()
  assert.equal(
    frames,
    sent.reduce((sum, count) => sum + count, 0),
  )
  assert.ok(losses > oversized && oversized > 0 && overflowed > 0 && controls > 0, 'every way was taken')
})
