import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import {
  BUCKET_COUNT,
  bucketIndex,
  bucketLastNs,
  HISTOGRAM_BYTES,
  Histogram,
  SUB_COUNT,
  VALUE_NS_MAX,
} from '../engine/ring/histogram.ts'

test('histogram should have the numbers of its drawing', () => {
  assert.deepEqual([SUB_COUNT, BUCKET_COUNT, HISTOGRAM_BYTES], [32, 1248, (3 + 1248) * 8])
  assert.equal(bucketIndex(VALUE_NS_MAX), BUCKET_COUNT - 1)
  assert.equal(bucketLastNs(BUCKET_COUNT - 1), VALUE_NS_MAX)
})

test('buckets should lie side by side without a hole and be narrow', () => {
  for (let index = 0; index < BUCKET_COUNT; index++) {
    const last = bucketLastNs(index)
    const first = index === 0 ? 0 : bucketLastNs(index - 1) + 1
    assert.equal(bucketIndex(last), index)
    assert.equal(bucketIndex(first), index)
    assert.ok(last - first <= first / SUB_COUNT, `bucket ${index}: ${first} to ${last}`)
  }
})

test('histogram should take values outside its range into its outer buckets', () => {
  const histogram = new Histogram()
  for (const value of [-5, Number.NaN, 0, 0.5, VALUE_NS_MAX * 2, Number.POSITIVE_INFINITY]) histogram.record(value)
  assert.equal(histogram.count, 6)
  assert.deepEqual(histogram.buckets([0]).cumulative, [4])
})

test('percentiles should agree with a sorted array', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let run = 0; run < 30; run++) {
    const histogram = new Histogram()
    const values = Array.from({ length: 1 + Math.floor(random() * 3_000) }, () => Math.floor(10 ** (random() * 12)))
    for (const value of values) histogram.record(value)
    values.sort((a, b) => a - b)
    for (const share of [0, 0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = values[Math.max(1, Math.ceil(share * values.length)) - 1] as number
      const got = histogram.percentileNs(share)
      assert.ok(got >= exact && got <= exact * (1 + 1 / SUB_COUNT), `p${share}: ${got} for ${exact}, seed ${seed}`)
    }
    assert.equal(histogram.maxNs, values.at(-1))
    assert.equal(histogram.percentileNs(1), values.at(-1))
    const bounds = [1e3, 1e6, 1e9, 1e12]
    const { cumulative, count, sumNs } = histogram.buckets(bounds)
    assert.equal(count, values.length)
    assert.equal(
      sumNs,
      values.reduce((sum, value) => sum + value, 0),
    )
    bounds.forEach((bound, index) => {
      const low = values.filter((value) => value <= bound * (1 - 1 / SUB_COUNT)).length
      const high = values.filter((value) => value <= bound).length
      const got = cumulative[index] as number
      assert.ok(got >= low && got <= high, `le ${bound}: ${got} is not within ${low} and ${high}, seed ${seed}`)
    })
  }
})

test('histogram should be read by another view of its memory, and forget on reset', () => {
  const writer = new Histogram()
  const reader = new Histogram(writer.memory)
  assert.ok(Number.isNaN(reader.percentileNs(0.5)))
  writer.recordMany(1_000, 10)
  assert.deepEqual([reader.count, reader.percentileNs(0.5), reader.maxNs], [10, 1_000, 1_000])
  writer.reset()
  assert.equal(reader.count, 0)
})
