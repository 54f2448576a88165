import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { TimedTickers } from '../engine/book/timed-tickers.ts'
import { TickerEvent } from '../engine/record/emit.ts'

/** A top of book by its time and its bid; the other values are those of every top here. */
function top(eventMs: number, bidPrice: number): TickerEvent {
  const event = new TickerEvent()
  event.eventMs = eventMs
  event.bidPrice = bidPrice
  event.bidQuantity = 5
  event.askPrice = 1_000
  event.askQuantity = 7
  return event
}

const seen = (tickers: TimedTickers, carrier: number, tops: readonly (readonly [number, number])[]): boolean[] =>
  tops.map(([ms, bid]) => tickers.see(top(ms, bid), carrier))

test('timed tickers should give several of one millisecond once, however many connections bring them', () => {
  const tickers = new TimedTickers()
  const burst = [
    [1_000, 10],
    [1_000, 11],
    [1_000, 12],
    [1_001, 12],
  ] as const
  assert.deepEqual(seen(tickers, 1, burst), [true, true, true, true])
  assert.deepEqual(seen(tickers, 2, burst), [false, false, false, false])
  assert.deepEqual(seen(tickers, 3, burst), [false, false, false, false])
})

test('timed tickers should keep a top that is back within its millisecond, from each connection', () => {
  const tickers = new TimedTickers()
  const thereAndBack = [
    [1_000, 10],
    [1_000, 11],
    [1_000, 10],
  ] as const
  assert.deepEqual(seen(tickers, 1, thereAndBack), [true, true, true])
  assert.deepEqual(seen(tickers, 2, thereAndBack), [false, false, false])
  assert.deepEqual(seen(tickers, 2, [[1_000, 11]]), [true], 'the fourth of the second connection')
})

test('timed tickers should take the same top twice in a row for a repetition', () => {
  const tickers = new TimedTickers()
  assert.deepEqual(
    seen(tickers, 1, [
      [1_000, 10],
      [1_000, 10],
      [1_001, 10],
    ]),
    [true, false, true],
  )
})

test('timed tickers should take what only the slower connection has, and drop what is older than all it remembers', () => {
  const tickers = new TimedTickers()
  assert.deepEqual(seen(tickers, 1, [[1_000, 10]]), [true])
  assert.deepEqual(seen(tickers, 2, [[1_010, 11]]), [true], 'a new connection is ahead')
  assert.deepEqual(
    seen(tickers, 1, [
      [1_005, 12],
      [1_010, 11],
    ]),
    [true, false],
  )
  const later = Array.from({ length: 100 }, (_, index) => [2_000 + index, index] as const)
  assert.ok(seen(tickers, 2, later).every(Boolean))
  assert.deepEqual(seen(tickers, 1, [[1_006, 13]]), [false])
})

test('timed tickers should give every top once through connections that lag, end and begin', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 100; round++) {
    let [ms, bid] = [1_000, 50]
    const stream = Array.from({ length: 500 }, () => {
      if (random() < 0.4) ms += 1 + Math.floor(random() * 3)
      bid += random() < 0.5 ? 1 : -1 // so that a top is often back
      return [ms, bid] as const
    })
    const tickers = new TimedTickers()
    // two connections over the whole stream in turn: each ends while its successor delivers
    let carrier = 1
    let places: [carrier: number, at: number, end: number][] = [[carrier++, 0, 500]]
    let told = 0
    let first = 0
    while (places.length > 0) {
      const head = Math.max(...places.map(([, at]) => at))
      if (places.length === 1 && first < 400 && random() < 0.05) {
        ;(places[0] as [number, number, number])[2] = Math.min(500, head + 60)
        places.push([carrier++, Math.max(first, head - Math.floor(random() * 20)), 500])
        first = head
      }
      const turn = places[Math.floor(random() * places.length)] as [number, number, number]
      if (turn[1] - Math.min(...places.map(([, at]) => at)) < 30) {
        if (turn[1] < turn[2]) {
          const [eachMs, eachBid] = stream[turn[1]] as readonly [number, number]
          if (tickers.see(top(eachMs, eachBid), turn[0])) told++
        }
        turn[1]++
      }
      places = places.filter(([, at, end]) => at < end)
    }
    assert.equal(told, stream.length, `seed ${seed}, round ${round}`)
  }
})
