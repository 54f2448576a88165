import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DATA, extra, generation, receivedHi, receivedLo, source } from '../engine/ring/frame.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'

test('ring should give back payload and head whatever the alignment of the source', (t) => {
  const seed = (Date.now() % 0x7fffffff) | 0
  t.diagnostic(`seed ${seed}`)
  const record = fc.record({
    shift: fc.nat(17),
    length: fc.nat(200),
    part: fc.nat(9),
    words: fc.tuple(fc.nat(0xffff), fc.nat(0xffffffff), fc.nat(0xffffffff), fc.nat(0xffffffff), fc.nat(0xffffffff)),
  })
  fc.assert(
    fc.property(fc.array(record, { maxLength: 60 }), (records) => {
      const memory = createRing(1024)
      const writer = new RingWriter(memory)
      const reader = new RingReader(memory)
      for (const { shift, length, part, words } of records) {
        const slab = Uint8Array.from({ length: 256 }, (_, at) => (at * 31 + length) & 0xff)
        const payload = slab.subarray(shift, shift + length)
        const from = Math.min(part, length)
        const [from16, gen, more, hi, lo] = words
        assert.ok(writer.tryWrite(DATA, from16, gen, more, hi, lo, payload, from, length - from))
        writer.publish()
        let seen = 0
        reader.drain((kind, bytes, offset, count) => {
          seen++
          assert.equal(kind, DATA)
          assert.deepEqual(bytes.slice(offset, offset + count), payload.slice(from))
          const heads = [source, generation, extra, receivedHi, receivedLo].map((read) => read(bytes, offset))
          assert.deepEqual(heads, words)
        }, 10)
        assert.equal(seen, 1)
        assert.equal(writer.fillBytes(), 0)
      }
    }),
    { seed, numRuns: 200 },
  )
})

test('ring should place a payload as its source lies, so that it is copied by words', () => {
  const memory = createRing(1024)
  const writer = new RingWriter(memory)
  const reader = new RingReader(memory)
  for (let shift = 0; shift < 8; shift++)
    writer.tryWrite(DATA, 0, 0, 0, 0, 0, new Uint8Array(64).subarray(shift, shift + 9))
  writer.publish()
  const skews: number[] = []
  reader.drain((_kind, bytes, offset) => skews.push((bytes.byteOffset + offset) % 8), 10)
  assert.deepEqual(skews, [0, 1, 2, 3, 4, 5, 6, 7])
})

test('ring should take a payload of its longest length at every alignment, and none that is longer', () => {
  for (let shift = 0; shift < 8; shift++) {
    const writer = new RingWriter(createRing(1024))
    const slab = new Uint8Array(1024)
    const longest = writer.payloadBytesMax
    assert.ok(writer.tryWrite(DATA, 0, 0, 0, 0, 0, slab.subarray(shift, shift + longest)))
    assert.throws(
      () => writer.tryWrite(DATA, 0, 0, 0, 0, 0, slab.subarray(shift, shift + longest + 2)),
      /longer than half/,
    )
  }
})
