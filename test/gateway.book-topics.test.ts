import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type BookRow, bookRowOf } from '../engine/gateway/live/book-row.ts'
import { BookTopics } from '../engine/gateway/live/book-topics.ts'
import type { LateBook } from '../engine/gateway/live/followed-book.ts'
import { LiveBook, noLevels } from '../engine/gateway/live/live-book.ts'
import { BOOK_TYPE, type Outgoing, type Receiver, Topic } from '../engine/gateway/live/topic.ts'

const RUNS = Number(process.env['TEST_RUNS'] ?? 40)
const STEPS = 400
const DEPTHS = [0, 5]

/** What readers have when the next changes are lost. */
function lateOf(live: LiveBook): LateBook {
  const { epoch, lastSeq, priceScale, quantityScale } = live
  const late = { bid: noLevels(), ask: noLevels(), epoch, lastSeq, priceScale, quantityScale, sinceMs: 0 }
  live.copyTop('bid', 0, late.bid)
  live.copyTop('ask', 0, late.ask)
  return late
}

/** A client: the first whole and every change in order, or a mistake. */
class Reader implements Receiver {
  readonly sides = { bids: new Map<string, string>(), asks: new Map<string, string>() }
  lastSeq = 0
  isHeld = false

  push({ body }: Outgoing): void {
    if (body.kind === 'rows' || body.kind === 'lost') return
    if (body.kind === 'reset') {
      this.isHeld = false
      return
    }
    const said = body.kind === 'snapshot' ? body.book : body.change
    if (body.kind === 'snapshot') for (const side of ['bids', 'asks'] as const) this.sides[side].clear()
    else {
      assert.ok(this.isHeld, 'a change comes behind a whole')
      assert.ok(said.last_seq > this.lastSeq, 'changes come in order, each once')
    }
    for (const side of ['bids', 'asks'] as const)
      for (const [price, quantity] of said[side])
        if (quantity === '0') this.sides[side].delete(price)
        else this.sides[side].set(price, quantity)
    this.lastSeq = said.last_seq
    this.isHeld = true
  }
}

test('whoever joins a book at any moment should have it as it is, from a whole made before and the changes since', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const upTo = (limit: number): number => Math.floor(random() * limit)
  let oldWholes = 0
  for (let run = 0; run < RUNS; run++) {
    let seq = 0
    const row = (levels: number): BookRow => {
      const prices = (from: number) => Array.from({ length: levels }, () => from + upTo(30))
      const quantities = () => Array.from({ length: levels }, () => upTo(4))
      seq++
      return bookRowOf({
        ...{ book_epoch: 1, first_seq: seq, last_seq: seq, event_ns: `${seq}`, received_ns: `${seq}` },
        ...{
          price_scale: 1,
          quantity_scale: 0,
          bid_price_mantissas: prices(100),
          bid_quantity_mantissas: quantities(),
        },
        ...{ ask_price_mantissas: prices(200), ask_quantity_mantissas: quantities() },
      })
    }
    const live = new LiveBook()
    assert.ok(live.anchor(row(20)))
    let isHeld = true
    const topics = new BookTopics(() => `b-${seq}`)
    const all = DEPTHS.map((depth) => {
      const topic = new Topic({ type: BOOK_TYPE, exchange: 'binance', market: 'usdm', symbol: 'BTCUSDT' }, depth)
      topics.give(topic, () => (isHeld ? live : undefined))
      return topic
    })
    const readers = all.map((): Reader[] => [])
    for (let step = 0; step < STEPS; step++) {
      const chance = random()
      if (chance < 0.1) {
        const reader = new Reader()
        const which = upTo(DEPTHS.length)
        if (all[which]?.begin().length !== 1) oldWholes++
        topics.greet(all[which] as Topic, reader)
        all[which]?.join(reader)
        readers[which]?.push(reader)
      } else if (chance < 0.12) topics.forgetWholes()
      else if (chance < 0.13) {
        isHeld = false
        topics.reset(all, { state: 'GAP', reason: 'test', sinceNs: '1' })
        assert.deepEqual(all[0]?.begin(), [], 'nothing of a book that is not held')
        assert.ok(live.anchor(row(20)))
        isHeld = true
        topics.anchor(all, live)
      } else if (chance < 0.18) {
        const late = lateOf(live)
        for (let lost = upTo(5); lost > 0; lost--) assert.ok(live.apply(row(upTo(4))))
        topics.catchUp(all, live, late)
      } else if (chance < 0.4) topics.sendChanges()
      else {
        const change = row(1 + upTo(3))
        assert.ok(live.apply(change))
        topics.change(all, live, change)
      }
    }
    topics.sendChanges()
    DEPTHS.forEach((depth, which) => {
      for (const reader of readers[which] ?? [])
        for (const [side, of] of [
          ['bids', 'bid'],
          ['asks', 'ask'],
        ] as const)
          assert.deepEqual(
            [...reader.sides[side]].sort(),
            [...live.levels(of, depth)].sort(),
            `seed ${seed}, depth ${depth}`,
          )
    })
  }
  assert.ok(oldWholes > RUNS, 'wholes made before were used')
})
