import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { discardFrames } from '../engine/ring/discard.ts'
import { DATA, extra, generation, receivedHi, receivedLo, source, TICK } from '../engine/ring/frame.ts'
import * as layout from '../engine/ring/layout.ts'
import { createRing, NO_ROOM, RingReader, RingWriter, recordBytes } from '../engine/ring/ring.ts'

/** A ring whose positions start at `position`, as after that many bytes. */
function ringAt(capacityBytes: number, position: number): SharedArrayBuffer {
  const memory = createRing(capacityBytes)
  const words = new Int32Array(memory)
  words[layout.TAIL_OFFSET >> 2] = position | 0
  words[layout.HEAD_OFFSET >> 2] = position | 0
  return memory
}

function pair(memory: SharedArrayBuffer) {
  return { writer: new RingWriter(memory), reader: new RingReader(memory) }
}

function bytesOf(length: number, first: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (first + index) & 255)
}

const LIMIT = Number.POSITIVE_INFINITY

test('layout should have the numbers of its drawing', () => {
  const { TAIL_OFFSET, HEAD_OFFSET, PARKED_OFFSET, STOP_OFFSET, RECORDS_OFFSET, ...fields } = layout
  assert.deepEqual([TAIL_OFFSET, HEAD_OFFSET, PARKED_OFFSET, STOP_OFFSET, RECORDS_OFFSET], [0, 128, 256, 384, 512])
  assert.deepEqual(
    [
      fields.LENGTH_FIELD,
      fields.KIND_FIELD,
      fields.SOURCE_FIELD,
      fields.RECEIVED_HI_FIELD,
      fields.RECEIVED_LO_FIELD,
      fields.GENERATION_FIELD,
      fields.EXTRA_FIELD,
      fields.RECORD_HEAD_BYTES,
    ],
    [0, 4, 6, 8, 12, 16, 20, 24],
  )
  assert.equal(createRing(1024).byteLength, 512 + 1024)
})

test('ring should hold a record byte for byte as drawn', () => {
  const memory = createRing(1024)
  const { writer } = pair(memory)
  assert.ok(writer.tryWrite(7, 0xabcd, 0x11223344, 0xffffffff, 0x17000000, 0xfedcba98, Uint8Array.of(1, 2, 3)))
  writer.publish()
  const record = Buffer.from(memory).subarray(512, 512 + 32)
  const expected = '03000000' + '07' + '00' + 'cdab' + '00000017' + '98badcfe' + '44332211' + 'ffffffff' + '010203' // fill is free
  assert.equal(record.subarray(0, 27).toString('hex'), expected)
  assert.equal(new Uint32Array(memory)[0], 32)
})

test('ring should give back every field that was written', () => {
  const { writer, reader } = pair(createRing(1024))
  assert.ok(writer.tryWrite(DATA, 65_535, 4_294_967_295, 3_000_000_000, 399_999_999, 4_000_000_000, bytesOf(5, 9)))
  writer.publish()
  const seen: unknown[] = []
  const onRecord = (kind: number, bytes: Uint8Array, offset: number, length: number): void => {
    const head = [source, generation, extra, receivedHi, receivedLo].map((field) => field(bytes, offset))
    seen.push(kind, ...head, [...bytes.subarray(offset, offset + length)])
  }
  assert.equal(reader.drain(onRecord, LIMIT), 1)
  assert.deepEqual(seen, [DATA, 65_535, 4_294_967_295, 3_000_000_000, 399_999_999, 4_000_000_000, [9, 10, 11, 12, 13]])
})

test('ring should show nothing before publish', () => {
  const { writer, reader } = pair(createRing(1024))
  writer.tryWrite(DATA, 0, 0, 0, 0, 0, bytesOf(8, 0))
  assert.equal(reader.hasRecords(), false)
  assert.equal(
    reader.drain(() => {}, LIMIT),
    0,
  )
  assert.equal(writer.fillBytes(), 0)
  assert.equal(writer.heldBytes(), 32)
  assert.equal(writer.publish(), true)
  assert.equal(writer.publish(), false)
  assert.equal(writer.fillBytes(), 32)
  assert.equal(reader.hasRecords(), true)
})

test('ring should fill the end with padding', () => {
  const memory = createRing(1024)
  const { writer, reader } = pair(memory)
  for (let round = 0; round < 2; round++) writer.tryWrite(DATA, 0, 0, 0, 0, 0, bytesOf(376, 0)) // 2 x 400 bytes
  writer.publish()
  reader.drain(() => {}, LIMIT)
  assert.ok(writer.tryWrite(DATA, 0, 0, 0, 0, 0, bytesOf(376, 5))) // 224 bytes left: padding
  writer.publish()
  const words = new Int32Array(memory, 512)
  assert.deepEqual([words[800 / 4], words[804 / 4]], [224 - 8, layout.PADDING])
  assert.equal(writer.heldBytes(), 624)
  const offsets: number[] = []
  reader.drain((_kind, bytes, offset) => offsets.push(offset, bytes[offset] as number), LIMIT)
  assert.deepEqual(offsets, [24, 5])
  assert.equal(writer.heldBytes(), 0)
})

test('ring should refuse when full, write nothing, and accept when there is room again', () => {
  const { writer, reader } = pair(createRing(1024))
  let written = 0
  while (writer.tryWrite(DATA, 0, 0, written, 0, 0, bytesOf(100, written))) written++
  assert.equal(written, 8) // 8 x 128
  assert.equal(writer.heldBytes(), 1024)
  assert.equal(writer.tryReserve(DATA, 0, 0, 0, 0, 0, 0), NO_ROOM)
  writer.publish()
  assert.equal(
    reader.drain(() => {}, 1),
    1,
  )
  assert.equal(writer.tryWrite(DATA, 0, 0, 8, 0, 0, bytesOf(105, 8)), false)
  assert.ok(writer.tryWrite(DATA, 0, 0, 8, 0, 0, bytesOf(104, 8)))
  writer.publish()
  const order: number[] = []
  reader.drain((_kind, bytes, offset) => order.push(extra(bytes, offset)), LIMIT)
  assert.deepEqual(order, [1, 2, 3, 4, 5, 6, 7, 8])
})

test('ring should take a record of half its size at every position when empty, and none that is longer', () => {
  for (let position = 0; position < 1024; position += layout.RECORD_ALIGN_BYTES) {
    const { writer, reader } = pair(ringAt(1024, position))
    assert.equal(writer.payloadBytesMax, 512 - 24)
    assert.ok(writer.tryWrite(DATA, 0, 0, 0, 0, 0, bytesOf(writer.payloadBytesMax, position)), `at ${position}`)
    writer.publish()
    let first = -1
    reader.drain((_kind, bytes, offset) => {
      first = bytes[offset] as number
    }, LIMIT)
    assert.equal(first, position & 255)
    assert.throws(() => writer.tryReserve(DATA, 0, 0, 0, 0, 0, writer.payloadBytesMax + 1), /longer than half the ring/)
  }
})

test('ring should write a part of a payload', () => {
  const { writer, reader } = pair(createRing(1024))
  writer.tryWrite(DATA, 0, 0, 0, 0, 0, bytesOf(20, 0), 5, 3)
  writer.publish()
  let seen: number[] = []
  reader.drain((_kind, bytes, offset, length) => {
    seen = [...bytes.subarray(offset, offset + length)]
  }, LIMIT)
  assert.deepEqual(seen, [5, 6, 7])
})

test('ring should not give a record twice when its reader throws', () => {
  const { writer, reader } = pair(createRing(1024))
  for (let count = 0; count < 3; count++) writer.tryWrite(DATA, 0, 0, count, 0, 0, bytesOf(1, 0))
  writer.publish()
  const seen: number[] = []
  const onRecord = (_kind: number, bytes: Uint8Array, offset: number): void => {
    seen.push(extra(bytes, offset))
    if (seen.length === 2) throw new Error('poison')
  }
  assert.throws(() => reader.drain(onRecord, LIMIT), /poison/)
  assert.equal(writer.heldBytes(), 32)
  reader.drain(onRecord, LIMIT)
  assert.deepEqual(seen, [0, 1, 2])
})

test('ring should go on where the last writer published and the last reader released', () => {
  const memory = ringAt(1024, 2 ** 32 - 64)
  const first = pair(memory)
  first.writer.tryWrite(DATA, 0, 0, 1, 0, 0, bytesOf(1, 0))
  first.writer.tryWrite(DATA, 0, 0, 2, 0, 0, bytesOf(1, 0))
  first.writer.publish()
  first.reader.drain(() => {}, 1)
  first.writer.tryWrite(DATA, 0, 0, 99, 0, 0, bytesOf(1, 0)) // dies before it publishes
  const second = pair(memory)
  second.writer.tryWrite(DATA, 0, 0, 3, 0, 0, bytesOf(1, 0))
  second.writer.publish()
  const order: number[] = []
  second.reader.drain((_kind, bytes, offset) => order.push(extra(bytes, offset)), LIMIT)
  assert.deepEqual(order, [2, 3])
})

test('discard should empty a ring and say what was in it', () => {
  const memory = createRing(1024)
  const { writer } = pair(memory)
  assert.deepEqual(discardFrames(memory), { dataCount: 0, firstHi: 0, firstLo: 0 })
  writer.tryWrite(TICK, 0, 0, 0, 5, 6, bytesOf(0, 0))
  writer.tryWrite(DATA, 0, 0, 0, 5, 7, bytesOf(9, 0))
  writer.tryWrite(DATA, 0, 0, 0, 5, 8, bytesOf(9, 0))
  writer.publish()
  assert.deepEqual(discardFrames(memory), { dataCount: 2, firstHi: 5, firstLo: 6 })
  assert.equal(writer.heldBytes(), 0)
})

test('ring capacity should be a power of two within bounds', () => {
  for (const capacityBytes of [0, 512, 1000, 1536, 2 ** 31])
    assert.throws(() => createRing(capacityBytes), /ring capacity/)
})

test('ring should behave as a queue of arrays with a byte budget, across the wrap of positions', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const int = (below: number): number => Math.floor(random() * below)
  for (let run = 0; run < 40; run++) {
    const capacityBytes = 1024 << int(3)
    const start = (2 ** 32 - int(4 * capacityBytes) * 8) >>> 0
    const memory = ringAt(capacityBytes, start)
    const { writer, reader } = pair(memory)
    const unpublished: number[][] = []
    const visible: number[][] = []
    let heldRecordBytes = 0 // of the model: without padding
    for (let step = 0; step < 1_500; step++) {
      const choice = random()
      if (choice < 0.55) {
        const payload = [...bytesOf(int(random() < 0.1 ? writer.payloadBytesMax + 1 : 90), int(256))]
        const isTaken = writer.tryWrite(1 + int(9), 1, 2, step, 3, 4, Uint8Array.from(payload))
        if (isTaken) {
          unpublished.push([step, ...payload])
          heldRecordBytes += recordBytes(payload.length)
        } else {
          // A refusal is only right when record, padding before it and padding within do not fit.
          const slack = recordBytes(writer.payloadBytesMax) * 2
          assert.ok(heldRecordBytes + recordBytes(payload.length) + slack > capacityBytes, 'refused with room')
          assert.notEqual(unpublished.length + visible.length, 0, 'an empty ring refused')
        }
      } else if (choice < 0.75) {
        writer.publish()
        visible.push(...unpublished.splice(0))
      } else {
        const countMax = 1 + int(12)
        const expected = visible.splice(0, countMax)
        const given: number[][] = []
        const count = reader.drain((_kind, bytes, offset, length) => {
          given.push([extra(bytes, offset), ...bytes.subarray(offset, offset + length)])
        }, countMax)
        assert.equal(count, expected.length)
        assert.deepEqual(given, expected, `seed ${seed}`)
        for (const [, ...payload] of given) heldRecordBytes -= recordBytes(payload.length)
      }
      const held = writer.heldBytes()
      assert.ok(held >= heldRecordBytes && held <= capacityBytes, `held ${held}, model ${heldRecordBytes}`)
    }
  }
})
