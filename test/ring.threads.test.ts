import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { extra, generation, receivedLo, source } from '../engine/ring/frame.ts'
import { HEAD_OFFSET, TAIL_OFFSET } from '../engine/ring/layout.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'
import type { PeerTask } from './support/ring-peer.ts'

const PEER = new URL(`./support/ring-peer${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)

function ringNearWrap(capacityBytes: number): SharedArrayBuffer {
  const memory = createRing(capacityBytes)
  const words = new Int32Array(memory)
  words[TAIL_OFFSET >> 2] = -4096
  words[HEAD_OFFSET >> 2] = -4096
  return memory
}

/** Reads `count` records that a peer thread writes; returns how many did not come as they were written. */
async function readFromPeer(task: PeerTask['task'], count: number, seed: number): Promise<number> {
  const memory = ringNearWrap(2048)
  const peer = new Worker(PEER, { workerData: { task, memory, count, seed } satisfies PeerTask })
  const exited = once(peer, 'exit')
  const reader = new RingReader(memory)
  const random = seededRandom(seed)
  let wrong = 0
  let seen = 0
  const deadline = performance.now() + 60_000
  while (seen < count && wrong === 0) {
    assert.ok(performance.now() < deadline, `only ${seen} of ${count} records came, seed ${seed}`)
    const given = reader.drain(
      (kind, bytes, offset, length) => {
        const expectedLength = Math.floor(random() * 300)
        random() // the peer's choice to publish
        const isRight =
          length === expectedLength &&
          kind === 1 + (seen % 9) &&
          extra(bytes, offset) === seen &&
          source(bytes, offset) === (seen & 0xffff) &&
          receivedLo(bytes, offset) === length &&
          generation(bytes, offset) === crc32(bytes.subarray(offset, offset + length))
        if (!isRight) wrong++
        seen++
      },
      1 + (seen % 7),
    )
    if (given === 0) await reader.parkAsync()
  }
  if (wrong > 0) await peer.terminate()
  await exited
  return wrong
}

test('ring should pass records of random length between two threads unchanged', { timeout: 90_000 }, async () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  assert.equal(await readFromPeer('write', 150_000, seed), 0, `seed ${seed}`)
})

test('ring test should notice a writer that publishes before the payload is complete (canary)', {
  timeout: 90_000,
}, async () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  assert.notEqual(await readFromPeer('write too early', 150_000, seed), 0, `seed ${seed}`)
})

test('ring should lose no wake-up in many rounds of parking on both sides', { timeout: 90_000 }, async () => {
  const count = 20_000
  const memory = createRing(1024)
  const back = createRing(1024)
  const peer = new Worker(PEER, { workerData: { task: 'echo', memory, back, count, seed: 0 } satisfies PeerTask })
  const exited = once(peer, 'exit')
  const writer = new RingWriter(memory)
  const reader = new RingReader(back)
  // Nothing but the wake-up of each single record can carry the test on: the peer parks for 60 s, this side for ever.
  const keepAlive = setTimeout(() => {}, 90_000)
  const payload = Uint8Array.of(1)
  let slowest = 0
  for (let round = 0; round < count; round++) {
    const started = performance.now()
    assert.ok(writer.tryWrite(1, 0, 0, 0, 0, 0, payload))
    writer.publish()
    while (reader.drain(() => {}, 1) === 0) await reader.parkAsync()
    slowest = Math.max(slowest, performance.now() - started)
  }
  clearTimeout(keepAlive)
  await exited
  assert.ok(slowest < 10_000, `a round took ${slowest} ms`)
})
