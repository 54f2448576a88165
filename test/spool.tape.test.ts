import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Fault } from '../engine/base/fault.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { extra, generation, receivedHi, receivedLo, source } from '../engine/ring/frame.ts'
import { createRing, type OnRecord, RingReader, RingWriter } from '../engine/ring/ring.ts'
import { TAPE_FRAME_HEAD_BYTES, TAPE_HEADER_BYTES, TapeReader, TapeWriter, tryPlay } from '../engine/spool/tape.ts'

type Plain = [number, number, number, number, number, number, string]

/** The callback that records what a drain gives. */
function recorderTo(tape: TapeWriter): OnRecord {
  return (kind, bytes, offset, length) => {
    const [sourceOf, generationOf, extraOf] = [source(bytes, offset), generation(bytes, offset), extra(bytes, offset)]
    const [hi, lo] = [receivedHi(bytes, offset), receivedLo(bytes, offset)]
    tape.record(kind, sourceOf, generationOf, extraOf, hi, lo, bytes, offset, length)
  }
}

function readerOf(tape: Uint8Array): TapeReader {
  return new TapeReader((target, position) => {
    const part = tape.subarray(position, Math.min(position + target.length, position + 1_000)) // short reads, too
    target.set(part)
    return part.length
  })
}

function plainFrames(reader: TapeReader): Plain[] {
  const frames: Plain[] = []
  for (const { kind, source, generation, extra, receivedHi, receivedLo, payload } of reader.frames()) {
    frames.push([kind, source, generation, extra, receivedHi, receivedLo, Buffer.from(payload).toString('hex')])
  }
  return frames
}

/** Frames through a real ring onto a tape. */
function record(count: number, seed: number, lengthMax = 400): { frames: Plain[]; tape: Buffer } {
  const random = seededRandom(seed)
  const int = (below: number): number => Math.floor(random() * below)
  const memory = createRing(1 << 20)
  const writer = new RingWriter(memory)
  const reader = new RingReader(memory)
  const parts: Buffer[] = []
  const tape = new TapeWriter((bytes) => parts.push(Buffer.from(bytes)))
  const onRecord = recorderTo(tape)
  const frames: Plain[] = []
  for (let index = 0; index < count; index++) {
    const payload = Buffer.from(Array.from({ length: int(lengthMax) }, () => int(256)))
    const head = [1 + int(9), int(65_536), int(2 ** 32), int(2 ** 32), int(2 ** 32), int(2 ** 32)] as const
    assert.ok(writer.tryWrite(...head, payload))
    frames.push([...head, payload.toString('hex')])
    writer.publish()
    reader.drain(onRecord, 10)
  }
  tape.flush()
  const whole = Buffer.concat(parts)
  assert.equal(tape.frames, count)
  assert.equal(tape.bytes, whole.length)
  return { frames, tape: whole }
}

test('tape should have the numbers of its drawing', () => {
  assert.deepEqual([TAPE_HEADER_BYTES, TAPE_FRAME_HEAD_BYTES], [16, 28])
  const { tape } = record(0, 1)
  assert.equal(tape.subarray(0, 12).toString('latin1'), 'MPTAPE\n\0\x01\0\0\0')
})

test('tape should give back the frames of a ring as they were', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  for (const [count, lengthMax] of [
    [0, 1],
    [3_000, 400],
    [4, 500_000],
  ] as const) {
    const { frames, tape } = record(count, seed, lengthMax)
    const reader = readerOf(tape)
    assert.deepEqual(plainFrames(reader), frames)
    assert.deepEqual([reader.end, reader.goodBytes], ['whole', tape.length])
  }
})

test('tape should play into a ring as it was recorded, and be recorded again byte for byte', () => {
  const { tape } = record(500, 7)
  const memory = createRing(4096)
  const writer = new RingWriter(memory)
  const reader = new RingReader(memory)
  const parts: Buffer[] = []
  const again = new TapeWriter((bytes) => parts.push(Buffer.from(bytes)))
  for (const frame of readerOf(tape).frames()) {
    while (!tryPlay(frame, writer)) {
      writer.publish()
      reader.drain(recorderTo(again), 3)
    }
  }
  writer.publish()
  reader.drain(recorderTo(again), Number.POSITIVE_INFINITY)
  again.flush()
  assert.ok(Buffer.concat(parts).equals(tape))
})

test('tape should give every whole frame when its end is cut off anywhere', () => {
  const { frames, tape } = record(5, 3, 40)
  const ends = [TAPE_HEADER_BYTES]
  for (const [, , , , , , hex] of frames) ends.push((ends.at(-1) as number) + TAPE_FRAME_HEAD_BYTES + hex.length / 2)
  for (let cut = TAPE_HEADER_BYTES; cut <= tape.length; cut++) {
    const reader = readerOf(tape.subarray(0, cut))
    const whole = ends.filter((end) => end <= cut).length - 1
    assert.deepEqual(plainFrames(reader), frames.slice(0, whole))
    assert.deepEqual([reader.end, reader.goodBytes], [ends.includes(cut) ? 'whole' : 'cut', ends[whole]])
  }
})

test('tape should stop before a frame in which any one bit is wrong', () => {
  const { frames, tape } = record(3, 5, 20)
  const secondAt = TAPE_HEADER_BYTES + TAPE_FRAME_HEAD_BYTES + (frames[0] as Plain)[6].length / 2
  const thirdAt = secondAt + TAPE_FRAME_HEAD_BYTES + (frames[1] as Plain)[6].length / 2
  for (let bit = secondAt * 8; bit < thirdAt * 8; bit++) {
    const broken = Buffer.from(tape)
    broken[bit >> 3] = (broken[bit >> 3] as number) ^ (1 << (bit & 7))
    const reader = readerOf(broken)
    assert.deepEqual(plainFrames(reader), frames.slice(0, 1), `bit ${bit}`)
    assert.notEqual(reader.end, 'whole')
    assert.equal(reader.goodBytes, secondAt)
  }
})

test('tape should refuse a file that is none', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('1691452800000 {"e":"trade"}\n'),
    record(0, 1).tape.subarray(0, 15),
  ]) {
    assert.throws(
      () => plainFrames(readerOf(bytes)),
      (error: unknown) => error instanceof Fault && error.code === 'NOT_A_TAPE',
    )
  }
})

test('tape should live in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tape-'))
  try {
    const { frames, tape } = record(2_000, 11)
    const file = openSync(join(folder, 'run.tape'), 'w+')
    writeSync(file, tape)
    const reader = new TapeReader((target, position) => readSync(file, target, 0, target.length, position))
    assert.deepEqual(plainFrames(reader), frames)
    closeSync(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
