import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AGAIN, APPLY, GAP, STALE } from '../engine/book/chain.ts'
import { FUTURES_SYNC, SPOT_SYNC, futuresVerdict, spotVerdict } from '../engine/exchanges/binance/sync.ts'

const anchored = (seq: number) => ({ seq, events: 0 })
const running = (seq: number) => ({ seq, events: 9 })

test('spot should follow the steps of the venue', () => {
  assert.equal(spotVerdict(anchored(100), 95, 100), STALE) // 4: u <= lastUpdateId
  assert.equal(spotVerdict(anchored(100), 95, 101), APPLY) // 5: U <= lastUpdateId + 1 <= u
  assert.equal(spotVerdict(anchored(100), 101, 101), APPLY)
  assert.equal(spotVerdict(anchored(100), 102, 110), AGAIN) // 3: the snapshot is older than the stream
  assert.equal(spotVerdict(running(100), 101, 105), APPLY) // 6
  assert.equal(spotVerdict(running(100), 102, 105), GAP)
  assert.equal(spotVerdict(running(100), 90, 100), STALE)
})

test('futures should follow the steps of the venue', () => {
  assert.equal(futuresVerdict(anchored(100), 90, 99, 89), STALE) // 4: u < lastUpdateId
  assert.equal(futuresVerdict(anchored(100), 90, 100, 89), APPLY) // 5: u = lastUpdateId is still wanted
  assert.equal(futuresVerdict(anchored(100), 95, 120, 94), APPLY)
  assert.equal(futuresVerdict(anchored(100), 110, 120, 100), APPLY) // pu = lastUpdateId continues it
  assert.equal(futuresVerdict(anchored(100), 110, 120, 105), AGAIN)
  assert.equal(futuresVerdict(running(100), 130, 140, 100), APPLY) // 6: pu, not U
  assert.equal(futuresVerdict(running(100), 101, 140, 99), GAP)
  assert.equal(futuresVerdict(running(100), 90, 100, 89), STALE)
})

test('an empty new listing should start with whatever event comes first', () => {
  assert.equal(spotVerdict(anchored(-1), 500, 510), APPLY)
  assert.equal(futuresVerdict(anchored(-1), 500, 510, 499), APPLY)
})

test('a stream should be known to continue, whatever the book', () => {
  assert.equal(SPOT_SYNC.continues(100, 101, 0), true)
  assert.equal(SPOT_SYNC.continues(100, 102, 0), false)
  assert.equal(FUTURES_SYNC.continues(100, 150, 100), true)
  assert.equal(FUTURES_SYNC.continues(100, 101, 99), false)
})
