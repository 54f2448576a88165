import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Book } from '../engine/book/book.ts'
import { APPLY, GAP, IDLE, STALE, type Verdict } from '../engine/book/chain.ts'
import { UnnumberedBooks } from '../engine/exchanges/okx/unnumbered.ts'
import { OKX_SYNC } from '../engine/exchanges/okx/sync.ts'
import { DepthEvent } from '../engine/record/emit.ts'

function verdictAt(seq: number, prevSeqId: number, seqId: number): Verdict {
  return OKX_SYNC.verdict({ seq, events: 1 }, seqId, seqId, prevSeqId)
}

test('okx sync should follow the example of the official page', () => {
  // snapshot 10, then (prevSeqId, seqId)
  let seq = 10
  const steps = [
    [10, 15, APPLY],
    [15, 15, IDLE],
    [15, 3, APPLY],
    [3, 5, APPLY],
  ] as const
  for (const [prevSeqId, seqId, expected] of steps) {
    assert.equal(verdictAt(seq, prevSeqId, seqId), expected, `${prevSeqId} → ${seqId}`)
    assert.equal(OKX_SYNC.continues(seq, seqId, prevSeqId), true)
    seq = seqId
  }
})

test('okx sync should tell copies of another connection from changes that are missing', () => {
  assert.equal(verdictAt(100, 90, 95), STALE)
  assert.equal(verdictAt(100, 95, 100), STALE)
  assert.equal(verdictAt(100, 95, 95), STALE, 'a keep-alive of a slower connection')
  assert.equal(verdictAt(100, 101, 105), GAP)
  assert.equal(verdictAt(100, 95, 105), GAP, 'something else lies before it')
  assert.equal(verdictAt(100, 105, 3), GAP, 'a reset after changes that were missed')
  assert.equal(verdictAt(5_000_000, 10, 15), GAP, 'the numbering began anew, unseen')
})

test('okx checksum should be the CRC32 of the best 25 levels a side as the venue writes them', () => {
  const book = new Book()
  // python3: zlib.crc32(b'3366.1:7:3366.8:9:3366:6:3368:8:3372:8'), signed
  book.bids.set(33661, 700)
  book.bids.set(33660, 600)
  for (const [price, quantity] of [
    [33668, 900],
    [33680, 800],
    [33720, 800],
  ] as const)
    book.asks.set(price, quantity)
  assert.equal(OKX_SYNC.checksumOf?.(book, 1, 2), 1362239393)
  // 30 levels of bids, no asks: bids 100.5, 99.5 … of 0.001, 0.002 …
  const deep = new Book()
  for (let level = 0; level < 30; level++) deep.bids.set(10_050 - 100 * level, level + 1)
  assert.equal(OKX_SYNC.checksumOf?.(deep, 2, 3), 1469960681)
})

function unnumbered(books: UnnumberedBooks, eventMs: number, checksum: number, isSnapshot = false, instrument = 0) {
  const event = new DepthEvent()
  Object.assign(event, { instrument, eventMs, checksum, isSnapshot })
  books.number(event)
  return [event.firstSeq, event.lastSeq, event.prevSeq]
}

test('okx should number frames that have no seqId, and a copy of another connection as the first', () => {
  const books = new UnnumberedBooks()
  assert.deepEqual(unnumbered(books, 100, 7, true), [1, 1, 0])
  assert.deepEqual(unnumbered(books, 110, 8), [2, 2, 1])
  assert.deepEqual(unnumbered(books, 110, 9), [3, 3, 2], 'the same time, another sum')
  assert.deepEqual(unnumbered(books, 110, 8), [2, 2, 1], 'a copy')
  assert.deepEqual(unnumbered(books, 110, 9, true), [3, 3, 0], 'a later connection starts from the book of now')
  assert.deepEqual(unnumbered(books, 120, 7), [4, 4, 3], 'the book is as it was once, at another time')
  assert.deepEqual(unnumbered(books, 100, 7, true, 1), [1, 1, 0], 'each instrument has its own line')
})

test('okx should give no new number to a copy that is older than what it remembers', () => {
  const books = new UnnumberedBooks()
  for (let index = 0; index < 2000; index++) unnumbered(books, 1000 + index, index + 1)
  assert.deepEqual(unnumbered(books, 1000, 1), [0, 0, 0])
  assert.deepEqual(unnumbered(books, 3000, 5), [2001, 2001, 2000])
})
