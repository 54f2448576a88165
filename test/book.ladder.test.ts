import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { LADDER_LIMITS, Ladder, NO_PRICE } from '../engine/book/ladder.ts'
import type { LadderLimits, LadderSide } from '../engine/book/ladder.ts'

/** The naive book: a Map, sorted when asked. */
function sorted(model: ReadonlyMap<number, number>, side: LadderSide): [number, number][] {
  return [...model].sort(([left], [right]) => (side === 'bid' ? right - left : left - right))
}

function assertSame(ladder: Ladder, model: ReadonlyMap<number, number>, side: LadderSide, seed: number): void {
  const expected = sorted(model, side)
  const { prices, quantities } = ladder.levels()
  assert.deepEqual(
    Array.from(prices, (price, index) => [price, quantities[index]]),
    expected,
    `seed ${seed}`,
  )
  assert.equal(ladder.levelCount, model.size, `seed ${seed}`)
  assert.equal(ladder.best, expected[0]?.[0] ?? NO_PRICE, `seed ${seed}`)
}

function runModel(seed: number, side: LadderSide, limits: LadderLimits, span: number, steps: number): void {
  const random = seededRandom(seed)
  const ladder = new Ladder(side, limits)
  const model = new Map<number, number>()
  let middle = Math.floor(random() * 1e6) + 1000
  for (let step = 0; step < steps; step++) {
    middle += Math.floor((random() - 0.5) * 20)
    const far = random() < 0.05
    const price = far
      ? Math.floor(random() * 2 ** (10 + random() * 42))
      : Math.max(0, middle + Math.floor((random() - 0.5) * span))
    const isKnown = random() < 0.4 && model.size > 0
    const chosen = isKnown ? ([...model.keys()][Math.floor(random() * model.size)] as number) : price
    const quantity = random() < 0.45 ? 0 : Math.floor(random() * 1e9) + 1
    const isSet =
      random() < 0.5
        ? ladder.set(chosen, quantity)
        : ladder.setAll(Float64Array.of(chosen, chosen), Float64Array.of(quantity === 0 ? 7 : 0, quantity), 2)
    if (isSet) {
      if (quantity === 0) model.delete(chosen)
      else model.set(chosen, quantity)
    }
    assert.equal(ladder.get(chosen), model.get(chosen) ?? 0, `seed ${seed}`)
    if (step % 50 === 0) assertSame(ladder, model, side, seed)
    if (step % 997 === 996) {
      const factor = random() < 0.5 ? 10 : 1
      const fits = [...model.keys()].every((key) => key * factor <= Number.MAX_SAFE_INTEGER)
      if (!fits) continue
      assert.ok(ladder.rescalePrices(factor), `seed ${seed}`)
      const before = [...model]
      model.clear()
      for (const [key, value] of before) model.set(key * factor, value)
      middle *= factor
    }
  }
  assertSame(ladder, model, side, seed)
  ladder.clear()
  assertSame(ladder, new Map(), side, seed)
}

const SHRUNK: LadderLimits = { directoryPagesMax: 16, pagesMax: 6, farLevelsMax: 4096 }
const seed = freshSeed()
for (const side of ['bid', 'ask'] as const) {
  test(`ladder of ${side}s should equal a sorted map under random changes`, (t) => {
    t.diagnostic(`seed ${seed}`)
    runModel(seed, side, LADDER_LIMITS, 2000, 6000)
  })
  test(`ladder of ${side}s should stay right when directory and pages are exhausted`, (t) => {
    t.diagnostic(`seed ${seed + 1}`)
    runModel(seed + 1, side, SHRUNK, 4000, 6000)
  })
}

test('ladder should refuse a level beyond its bounds and change nothing', () => {
  const ladder = new Ladder('ask', { directoryPagesMax: 1, pagesMax: 1, farLevelsMax: 2 })
  for (const price of [10, 1000, 2000]) assert.equal(ladder.set(price, 1), true)
  assert.equal(ladder.set(3000, 1), false)
  assert.equal(ladder.levelCount, 3)
  assert.equal(ladder.set(1000, 0), true)
  assert.equal(ladder.set(3000, 1), true)
  assert.deepEqual([...ladder.levels().prices], [10, 2000, 3000])
})

test('ladder should find the next best within a page, in the next page and beyond', () => {
  const ladder = new Ladder('bid')
  for (const price of [5, 256, 511, 512, 100_000]) ladder.set(price, 7)
  for (const expected of [100_000, 512, 511, 256, 5]) {
    assert.equal(ladder.best, expected)
    ladder.set(expected, 0)
  }
  assert.equal(ladder.best, NO_PRICE)
})

test('ladder should copy no more levels than asked', () => {
  const ladder = new Ladder('ask')
  for (let price = 0; price < 700; price++) ladder.set(price, price + 1)
  const prices = new Float64Array(400)
  const quantities = new Float64Array(400)
  assert.equal(ladder.copyTop(400, prices, quantities), 400)
  assert.deepEqual([prices[0], prices[399], quantities[399]], [0, 399, 400])
  assert.equal(ladder.copyTop(3, prices, quantities), 3)
})
