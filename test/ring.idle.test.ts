import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Heartbeat, createHeartbeats } from '../engine/ring/heartbeat.ts'
import {
  awaitRoom,
  BlockingIdle,
  EventIdle,
  IDLE_DEFAULT,
  type IdleOptions,
  type IdlePolicy,
} from '../engine/ring/idle.ts'
import { PARKED_OFFSET } from '../engine/ring/layout.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'

const PAYLOAD = new Uint8Array(8)
const POLICIES: IdlePolicy[] = ['spin', 'park', 'sleep']

function options(policy: IdlePolicy, beatMs: number): IdleOptions {
  return { policy, beatMs, sleepMs: 1, spinLooks: 10 }
}

function pair() {
  const memory = createRing(1024)
  return { memory, writer: new RingWriter(memory), reader: new RingReader(memory) }
}

test('blocking idle should return within its beat when nothing comes', () => {
  for (const policy of POLICIES) {
    const started = performance.now()
    new BlockingIdle(options(policy, 20)).wait(pair().reader)
    assert.ok(performance.now() - started < 2_000, policy)
  }
})

test('blocking idle should not wait when there is something or the ring is stopped', () => {
  for (const policy of ['spin', 'park'] as const) {
    const idle = new BlockingIdle(options(policy, 60_000))
    const { writer, reader } = pair()
    writer.tryWrite(1, 0, 0, 0, 0, 0, PAYLOAD)
    writer.publish()
    const started = performance.now()
    idle.wait(reader)
    reader.drain(() => {}, 1)
    writer.stop()
    idle.wait(reader)
    assert.ok(performance.now() - started < 5_000, policy)
  }
})

test('park should leave the flag down and give each park its own number', () => {
  const { memory, reader } = pair()
  const parked = new Int32Array(memory, PARKED_OFFSET, 1)
  const seen = new Set<number>()
  for (let round = 0; round < 5; round++) {
    reader.park(0)
    const ticket = parked[0] as number
    assert.equal(ticket & 1, 0)
    seen.add(ticket)
  }
  assert.equal(seen.size, 5)
  parked[0] = -1 // the last number before the wrap
  reader.park(0)
  assert.equal((parked[0] as number) & 1, 0)
})

test('event idle should wake for each of several rings, more than once', async () => {
  const pairs = [pair(), pair(), pair()]
  const idle = new EventIdle(
    options('park', 60_000),
    pairs.map(({ reader }) => reader),
  )
  for (let round = 0; round < 12; round++) {
    const { writer, reader } = pairs[(round * 2) % 3] as ReturnType<typeof pair>
    setImmediate(() => {
      writer.tryWrite(1, 0, 0, 0, 0, 0, PAYLOAD)
      writer.publish()
    })
    while (reader.drain(() => {}, 10) === 0) await idle.wait()
  }
  idle.close()
})

test('event idle should end a wait by stop, by wake, by its beat and by close', async () => {
  const { writer, reader } = pair()
  const patient = new EventIdle(options('park', 60_000), [reader])
  setImmediate(() => patient.wake())
  await patient.wait()
  setImmediate(() => writer.stop())
  await patient.wait()
  const waiting = new EventIdle(options('park', 60_000), [pair().reader])
  setImmediate(() => waiting.close())
  await waiting.wait()
  patient.close()
  for (const policy of POLICIES) {
    const idle = new EventIdle(options(policy, 10), [pair().reader])
    await idle.wait()
    idle.close()
  }
})

test('event idle should keep its process alive while it waits, and let it end when closed', () => {
  const script = `
    const { createRing, RingReader } = await import(${JSON.stringify(new URL('../engine/ring/ring.js', import.meta.url))})
    const { EventIdle } = await import(${JSON.stringify(new URL('../engine/ring/idle.js', import.meta.url))})
    const idle = new EventIdle({ policy: 'park', beatMs: 30, sleepMs: 1, spinLooks: 0 }, [new RingReader(createRing(1024))])
    for (let round = 0; round < 3; round++) await idle.wait()
    console.log('waited')
    idle.close()`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 30_000,
  })
  assert.deepEqual([child.stdout, child.status], ['waited\n', 0], child.stderr)
})

test('await room should publish, beat, and be over when the reader has made room', () => {
  const { memory, writer } = pair()
  while (writer.tryWrite(1, 0, 0, 0, 0, 0, PAYLOAD)); // and nothing published: only the wait can free it
  const reader = new RingReader(memory)
  let beats = 0
  while (!writer.tryWrite(1, 0, 0, 0, 0, 0, new Uint8Array(100))) {
    const isAlive = awaitRoom(writer, () => {
      if (++beats === 3) reader.drain(() => {}, 4)
    })
    assert.equal(isAlive, true)
  }
  assert.equal(beats, 3)
})

test('await room should give up when the ring is stopped', () => {
  const { writer, reader } = pair()
  reader.stop()
  assert.equal(
    awaitRoom(writer, () => {}),
    false,
  )
})

test('heartbeats should count each worker on its own line', () => {
  const memory = createHeartbeats(2)
  assert.equal(memory.byteLength, 256)
  const [first, second] = [new Heartbeat(memory, 0), new Heartbeat(memory, 1)]
  first.beat()
  first.beat()
  second.beat()
  assert.deepEqual([first.count(), second.count()], [2, 1])
  second.reset()
  assert.deepEqual([first.count(), second.count()], [2, 0])
})

test('default idle policy should never spin', () => {
  assert.equal(IDLE_DEFAULT.policy, 'park')
  assert.equal(IDLE_DEFAULT.spinLooks, 0)
})
