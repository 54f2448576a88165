import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { TickerLine } from '../engine/book/trade-line.ts'

/** Update ids of book tickers, [id, ms]: which of them are new. */
function seen(line: TickerLine, tickers: readonly (readonly [number, number])[]): boolean[] {
  return tickers.map(([id, ms]) => line.see(id, ms))
}
/** Ids that rise by `step` from `first`, 10 ms apart from `ms` on. */
const run = (first: number, count: number, ms: number, step = 1) =>
  Array.from({ length: count }, (_, at) => [first + at * step, ms + 10 * at] as const)
const all = (count: number, value: boolean) => new Array<boolean>(count).fill(value)

test('ticker line should go on when the venue sets its ids back without a word', () => {
  const line = new TickerLine()
  assert.deepEqual(seen(line, run(5_000, 40, 1_000)), all(40, true))
  assert.deepEqual(seen(line, run(3, 40, 2_000, 2)), all(40, true))
  assert.equal(line.lastId, 81)
})

test('ticker line should see ids set back within a millisecond', () => {
  const line = new TickerLine()
  seen(line, run(5_000, 40, 1_000))
  assert.deepEqual(
    seen(line, [
      [5_040, 2_000],
      [3, 2_000],
      [5, 2_000],
      [5_040, 2_000],
      [3, 2_000],
      [7, 2_001],
    ]),
    [true, true, true, false, false, true],
  )
})

test('ticker line should know what a connection that lags brings from before the ids were set back', () => {
  const line = new TickerLine()
  const before = run(5_000, 40, 1_000)
  const after = run(1, 40, 2_000)
  seen(line, before)
  assert.deepEqual(seen(line, after.slice(0, 20)), all(20, true))
  assert.deepEqual(seen(line, before.slice(20)), all(20, false), 'the other connection, before')
  assert.deepEqual(seen(line, after.slice(4, 20)), all(16, false), 'the other connection, after')
  assert.equal(line.lastId, 20, 'not pushed up again')
  assert.deepEqual(seen(line, after.slice(20)), all(20, true))
})

test('ticker line should take a ticker that only the connection that lags has, from before the ids were set back', () => {
  const line = new TickerLine()
  seen(line, run(5_000, 20, 1_000, 2))
  seen(line, run(1, 3, 2_000))
  assert.deepEqual(
    seen(line, [
      [5_037, 1_185],
      [5_037, 1_185],
    ]),
    [true, false],
  )
  assert.equal(line.lastId, 3)
})

test('ticker line should never take ids without times for set back', () => {
  const line = new TickerLine()
  seen(
    line,
    run(100, 20, 0).map(([id]) => [id, 0] as const),
  )
  assert.deepEqual(
    seen(line, [
      [50, 0],
      [119, 0],
      [120, 0],
    ]),
    [false, false, true],
  )
})

test('ticker line should take a repetition after a pause for one, whatever its time', () => {
  const line = new TickerLine()
  assert.deepEqual(
    seen(line, [
      [7, 1_000],
      [8, 1_100],
      [8, 4_100],
      [7, 5_000],
      [9, 5_100],
    ]),
    [true, true, false, false, true],
  )
})

test('ticker line should give every ticker of several lagging connections once, through many settings back', (t) => {
  const seed = (Date.now() % 0x7fffffff) | 0
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 200; round++) {
    const stream: (readonly [number, number])[] = []
    let [id, ms] = [Math.floor(random() * 1e6), 1_000]
    for (let at = 0; at < 400; at++) {
      ms += 1 + Math.floor(random() * 50)
      id = at % 40 === 39 && random() < 0.5 ? 1 + Math.floor(random() * 3) : id + 1 + Math.floor(random() * 5)
      stream.push([id, ms])
    }
    const line = new TickerLine()
    const places = [0, 0, 0]
    const got = new Array<number>(stream.length).fill(0)
    // no connection is further behind the first than the last few ids that are remembered
    while (places.some((place) => place < stream.length)) {
      const leg = Math.floor(random() * places.length)
      const place = places[leg] as number
      if (place >= stream.length || place - Math.min(...places) >= 15) continue
      places[leg] = place + 1
      const [eachId, eachMs] = stream[place] as readonly [number, number]
      if (line.see(eachId, eachMs)) got[place] = (got[place] as number) + 1
    }
    assert.deepEqual(got, new Array<number>(stream.length).fill(1), `round ${round}`)
  }
})
