import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BookPublisher, type BookSource } from '../engine/book/publisher.ts'
import { SHARD_DEFAULTS } from '../workers/shard.ts'

const BOOKS = 200
const INTERVAL_MS = 1_000
/** Of the first tick, and at least of each after it. */
const AT_ONCE = 16

test('publisher should spread the books of an interval over it, each once, and leave none out', () => {
  let turns = 0
  const publisher = new BookPublisher(
    { intervalMs: 3_600_000, depth: 1, checkpointSeconds: 0 },
    { ...SHARD_DEFAULTS.publisher, intervalMs: INTERVAL_MS },
    { hi: 0, lo: 0 },
    { prices: new Uint8Array(BOOKS), quantities: new Uint8Array(BOOKS) },
    { send: () => true },
    (outcome, by) => {
      if (outcome === 'not_live') turns += by // books that are not LIVE are refused, and counted when their turn comes
    },
  )
  const source = { keeper: { book: { isLive: false } } } as unknown as BookSource
  const sources = Array.from({ length: BOOKS }, () => ({ ...source }))
  const turnsAt = (ms: number): number => {
    publisher.tick(ms, sources, true)
    return turns
  }
  assert.equal(turnsAt(500), 0, 'the interval in which it starts is not whole')
  assert.equal(turnsAt(INTERVAL_MS), AT_ONCE)
  assert.equal(turnsAt(INTERVAL_MS + 50), 2 * AT_ONCE)
  assert.equal(turnsAt(INTERVAL_MS + 400), BOOKS / 2, 'half of them after half of the share')
  assert.equal(turnsAt(INTERVAL_MS + 800), BOOKS)
  assert.equal(turnsAt(INTERVAL_MS + 950), BOOKS, 'each once')
  assert.equal(turnsAt(2 * INTERVAL_MS), BOOKS + AT_ONCE)
  assert.equal(turnsAt(3 * INTERVAL_MS), 2 * BOOKS + AT_ONCE, 'a tick that comes late leaves none out')
})
