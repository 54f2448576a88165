import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentNames } from '../engine/book/recent-names.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { ShortText } from '../engine/scan/short-text.ts'

const REMEMBERED = 512

/** As a parser hands it over: from somewhere in a memory that has other bytes around it. */
function named(name: string, into: ShortText, offset: number): ShortText {
  const encoded = new TextEncoder().encode(name)
  const memory = new Uint8Array(offset + encoded.length + 8).fill(0xa5)
  memory.set(encoded, offset)
  into.copy(new DataView(memory.buffer), offset, offset + encoded.length)
  return into
}

test('recent names should know the last 512, whole, whatever their lengths', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  const names = new RecentNames()
  const oracle: string[] = []
  const text = new ShortText()
  // few letters, so that names differ in one place, in their length or not at all
  for (let round = 0; round < 20_000; round++) {
    const length = random() < 0.01 ? 70 + Math.floor(random() * 70) : 1 + Math.floor(random() * 12)
    const name = Array.from({ length }, () => 'ab-'[Math.floor(random() * 3)]).join('')
    const isNew = !oracle.includes(name)
    if (isNew) oracle.push(name)
    if (oracle.length > REMEMBERED) oracle.shift()
    assert.equal(names.tryAdd(named(name, text, round % 5)), isNew, `seed ${seed}, round ${round}, ${name}`)
  }
})

test('short text should be the text that it was made from, of bytes or of a string', () => {
  const text = new ShortText()
  for (const name of ['2f6b', 'a', '', '5f000000-0000-4000-8000-000200000003', 'x'.repeat(200), 'ü-7', 'abcde']) {
    assert.equal(named(name, text, 3).text, name)
    const words = [...text.words.subarray(0, text.wordCount)]
    text.text = name
    assert.deepEqual([text.text, [...text.words.subarray(0, text.wordCount)]], [name, words])
  }
})
