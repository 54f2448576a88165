import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APPLY, GAP, STALE } from '../engine/book/chain.ts'
import { BYBIT_SYNC } from '../engine/exchanges/bybit/sync.ts'

/** One line a case of the venue's steps: where the book is, u of the delta, what it is. */
const CASES: readonly (readonly [string, number, number, number])[] = [
  ['4: u is one more', 100, 101, APPLY],
  ['4: one is missing', 100, 102, GAP],
  ['4: many are missing', 100, 100_000, GAP],
  ['the same again, by another connection', 100, 100, STALE],
  ['older, by another connection', 100, 99, STALE],
  ['3: after a restart u counts from 1', 1, 2, APPLY],
  ['3: what another connection still had from before', 1, 9_000, GAP],
]

for (const [what, seq, u, verdict] of CASES) {
  test(`sync should judge ${u} on ${seq} (${what})`, () => {
    for (const events of [0, 7]) assert.equal(BYBIT_SYNC.verdict({ seq, events }, u, u, 0), verdict)
    assert.equal(BYBIT_SYNC.continues(seq, u, 0), verdict === APPLY)
  })
}

test('sync should know a restart by u = 1 alone, and start books in the stream', () => {
  assert.deepEqual(
    [0, 1, 2].map((u) => BYBIT_SYNC.isRestart?.(u)),
    [false, true, false],
  )
  assert.equal(BYBIT_SYNC.anchor, 'stream')
})
