import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { APPLY, GAP, IDLE, STALE, type SyncRules } from '../engine/book/chain.ts'
import { GapLog } from '../engine/book/gap-log.ts'
import { BookKeeper } from '../engine/book/keeper.ts'
import { KEEPER_LIMITS } from '../engine/book/keeper-settings.ts'
import { decodeBlock, rowsOf, type PlainRow } from '../engine/record/decode.ts'
import { DepthEvent } from '../engine/record/emit.ts'
import { Recorder } from '../engine/record/recorder.ts'

/** A chain by the number before, books in the stream: the rules of three venues, as short as they can be. */
const CHAINED: SyncRules = {
  anchor: 'stream',
  verdict: (chain, _first, lastSeq, prevSeq) => {
    if (prevSeq !== chain.seq) return lastSeq <= chain.seq ? STALE : GAP
    return lastSeq === prevSeq ? IDLE : APPLY
  },
  continues: (seq, _first, prevSeq) => prevSeq === seq,
  isRestart: (lastSeq) => lastSeq === 1,
}

interface Rig {
  readonly keeper: BookKeeper
  readonly wanted: number[]
  rows(table: string): PlainRow[]
  at(ms: number): void
  snapshot(seq: number, bids: readonly (readonly [number, number])[], eventMs?: number): void
  delta(prevSeq: number, lastSeq: number, bids?: readonly (readonly [number, number])[]): void
}

function rig(legCount = 1): Rig {
  const sealed: Uint8Array[] = []
  const scales = { prices: new Uint8Array(1), quantities: new Uint8Array(1) }
  const options = { producer: 'p', exchange: 'x', rowsMax: 10_000, bytesMax: 1 << 24 }
  const recorder = new Recorder(
    options,
    () => 'x.m.S',
    scales.prices,
    scales.quantities,
    (block) => {
      const bytes = new Uint8Array(block.sealedBytesMax())
      sealed.push(bytes.subarray(0, block.encodeInto(bytes, 0)))
    },
  )
  const wanted: number[] = []
  const keeper = new BookKeeper(0, CHAINED, KEEPER_LIMITS, recorder, new GapLog(recorder), scales, {
    wantSnapshot: (_, attempt) => wanted.push(attempt),
    awaitSnapshot: () => {},
    settled: () => {},
    stateChanged: () => {},
    anchored: () => {},
    count: () => {},
  })
  keeper.legCount = legCount
  keeper.begin()
  const event = new DepthEvent()
  const give = (
    isSnapshot: boolean,
    prevSeq: number,
    lastSeq: number,
    bids: readonly (readonly [number, number])[],
  ) => {
    event.isSnapshot = isSnapshot
    event.firstSeq = event.lastSeq = lastSeq
    event.prevSeq = prevSeq
    event.bidCount = bids.length
    bids.forEach(([price, quantity], index) => {
      event.bidPrices[index] = price
      event.bidQuantities[index] = quantity
    })
    keeper.receive(event)
  }
  return {
    keeper,
    wanted,
    rows: (table) => {
      recorder.sealAll()
      return sealed.flatMap((bytes) => [...rowsOf(decodeBlock(bytes))]).filter((row) => row['table'] === table)
    },
    at: (ms) => {
      const ns = BigInt(ms) * 1_000_000n
      recorder.time.hi = Number(ns >> 32n)
      recorder.time.lo = Number(BigInt.asIntN(32, ns))
      keeper.tick()
    },
    snapshot: (seq, bids, eventMs = 0) => {
      event.eventMs = eventMs
      give(true, 0, seq, bids)
    },
    delta: (prevSeq, lastSeq, bids = []) => give(false, prevSeq, lastSeq, bids),
  }
}

const levels = ({ keeper }: Rig): Record<number, number> => {
  const { prices, quantities } = keeper.book.bids.levels()
  return Object.fromEntries(Array.from(prices, (price, index) => [price, quantities[index] as number]))
}

test('book should start with the snapshot in its stream, and again with the next after a break', () => {
  const book = rig()
  book.at(1)
  book.snapshot(10, [[100, 1]])
  book.delta(10, 12, [[101, 2]])
  assert.equal(book.keeper.book.isLive, true)
  assert.deepEqual(book.wanted, [])
  book.delta(13, 15, [[102, 3]])
  assert.equal(book.keeper.book.isLive, false)
  assert.deepEqual(book.wanted, [0], 'the stream is asked for anew')
  book.delta(15, 16, [[103, 1]])
  book.snapshot(20, [[99, 5]])
  book.delta(20, 21, [[98, 1]])
  assert.deepEqual(levels(book), { 98: 1, 99: 5 })
  const gaps = book.rows('gaps').map((row) => [row['cause'], row['status'], row['from_seq'], row['to_seq']])
  assert.deepEqual(gaps, [
    ['sequence', 'open', '12', '0'],
    ['sequence', 'closed', '12', '20'],
  ])
  const states = book.rows('book_deltas').map((row) => `${row['last_seq']} ${row['state']}`)
  assert.deepEqual(states, ['12 LIVE', '15 BUFFERING', '16 BUFFERING', '21 LIVE'])
})

test('book should take a keep-alive for no change, and a chain that the venue sets back for whole', () => {
  const book = rig()
  book.snapshot(100, [[100, 1]])
  book.delta(100, 100)
  book.delta(100, 105, [[101, 1]])
  book.delta(105, 3, [[102, 1]])
  book.delta(3, 4, [[103, 1]])
  assert.deepEqual(levels(book), { 100: 1, 101: 1, 102: 1, 103: 1 })
  assert.deepEqual(book.rows('gaps'), [])
  assert.equal(book.rows('book_deltas').length, 3)
})

test('book should be replaced by an unasked snapshot, and say that something may lie between', () => {
  const book = rig()
  book.snapshot(50, [[100, 1]], 1_000)
  book.snapshot(1, [[200, 2]], 2_000)
  book.delta(1, 2, [[201, 1]])
  assert.deepEqual(levels(book), { 200: 2, 201: 1 })
  const gaps = book.rows('gaps').map((row) => [row['cause'], row['status'], row['from_seq'], row['to_seq']])
  assert.deepEqual(gaps, [['reset', 'closed', '50', '1']])
})

test('book should wait for the slower leg when the faster one is ahead, and then call it a gap', () => {
  const book = rig(2)
  book.at(1_000)
  book.snapshot(10, [[100, 1]])
  book.delta(12, 13, [[103, 1]]) // leg B lost 11..12
  assert.equal(book.keeper.book.isLive, true)
  book.delta(10, 12, [[102, 1]]) // leg A has it
  assert.deepEqual(levels(book), { 100: 1, 102: 1, 103: 1 })
  book.delta(14, 15, [[105, 1]]) // both lost 14
  book.at(2_500)
  assert.equal(book.keeper.book.isLive, true)
  book.at(3_100)
  assert.equal(book.keeper.book.isLive, false)
  assert.deepEqual(book.wanted, [0])
  assert.deepEqual(
    book.rows('gaps').map((row) => [row['cause'], row['status'], row['from_seq']]),
    [['sequence', 'open', '13']],
  )
})

test('book should be one stream whatever two or three legs lose, as long as one of them has it', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const random = seededRandom(seed)
  const whole = (max: number): number => Math.floor(random() * max)
  for (let run = 0; run < 200; run++) {
    const legCount = 2 + whole(2)
    const book = rig(legCount)
    const model = new Map<number, number>()
    const events = Array.from({ length: 60 }, (_, index) => ({
      prev: 100 + 10 * index,
      last: 110 + 10 * index,
      price: 1_000 + whole(20),
      quantity: whole(4),
    }))
    for (const { price, quantity } of events) quantity === 0 ? model.delete(price) : model.set(price, quantity)
    // leg 0 carries all from the start; the others join late, with the snapshot of that moment, and lose some
    const legs = Array.from({ length: legCount }, (_, leg) => ({
      at: leg === 0 ? 0 : whole(50),
      hasJoined: false,
      lossShare: leg === 0 ? 0 : random() * 0.5,
    }))
    const stateAt = (count: number): [number, number][] => {
      const state = new Map<number, number>()
      for (const { price, quantity } of events.slice(0, count))
        quantity === 0 ? state.delete(price) : state.set(price, quantity)
      return [...state]
    }
    let ms = 1_000
    while (legs.some(({ at }) => at < events.length)) {
      ms += whole(20)
      book.at(ms)
      const open = legs.filter(({ at, hasJoined }) => at < events.length && (hasJoined || legs[0] !== undefined))
      const leg = open[whole(open.length)] as (typeof legs)[number]
      if (!leg.hasJoined) {
        if (leg !== legs[0] && legs[0]?.hasJoined === false) continue
        leg.hasJoined = true
        book.snapshot(100 + 10 * leg.at, stateAt(leg.at))
        continue
      }
      const event = events[leg.at++] as (typeof events)[number]
      if (random() >= leg.lossShare) book.delta(event.prev, event.last, [[event.price, event.quantity]])
    }
    const where = `seed ${seed}, run ${run}`
    assert.deepEqual(levels(book), Object.fromEntries([...model].sort(([a], [b]) => b - a)), where)
    assert.deepEqual(book.rows('gaps'), [], where)
    assert.deepEqual(
      book.rows('book_deltas').map((row) => Number(row['last_seq'])),
      events.map(({ last }) => last),
      where,
    )
  }
})
