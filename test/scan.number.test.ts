import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { NumberScanner } from '../engine/scan/number.ts'
import { NO_VALUE, WORD_SLACK_BYTES } from '../engine/scan/words.ts'

function scan(text: string, scale: number): number | undefined {
  const bytes = new TextEncoder().encode(`${text},${'9'.repeat(16)}`)
  const numbers = new NumberScanner()
  numbers.words.begin(bytes)
  const behind = numbers.mantissa(0, scale)
  return behind === text.length ? numbers.value : undefined
}

const GOOD: readonly (readonly [string, number, number])[] = [
  ['77012.0', 1, 770120],
  ['1.0002e6', 0, 1000200],
  ['3.0e6', 0, 3000000],
  ['1.0e3', 2, 100000],
  ['2.8e-4', 5, 28],
  ['2.80E-04', 5, 28],
  ['0.0', 0, 0],
  ['0', 3, 0],
  ['0e-9', 0, 0],
  ['0.0065', 4, 65],
  ['10.0', 0, 10],
  ['12e+2', 0, 1200],
  ['9007199254740991', 0, Number.MAX_SAFE_INTEGER],
  ['1.000000000000000', 0, 1],
  ['100000000000000000000e-20', 0, 1],
]
test('number scanner should read plain and exponent forms exactly', () => {
  for (const [text, scale, mantissa] of GOOD) assert.equal(scan(text, scale), mantissa, `${text} at ${scale}`)
})

test('number scanner should refuse what is no JSON number or has no exact mantissa', () => {
  const bad: readonly (readonly [string, number])[] = [
    ['', 0],
    ['-1', 0],
    ['+1', 0],
    ['.5', 1],
    ['5.', 1],
    ['01', 0],
    ['1e', 0],
    ['1e+', 0],
    ['1.e3', 0],
    ['0.5', 0],
    ['2.8e-4', 4],
    ['1e16', 0],
    ['1e99', 0],
    ['1e999', 0],
    ['9007199254740993', 0],
    ['1.2.3', 3],
    ['NaN', 0],
  ]
  for (const [text, scale] of bad) assert.equal(scan(text, scale), undefined, `${text} at ${scale}`)
})

test('number scanner should give the mantissa that any spelling was made from', () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  for (let round = 0; round < 20_000; round++) {
    const mantissa = Math.floor(random() ** 4 * 1e15)
    const scale = Math.floor(random() * 12)
    const shift = Math.floor(random() * 30) - 15
    // mantissa × 10^-scale, its point moved by `shift` places and the exponent moved back
    const digits = String(mantissa).padStart(scale + shift + 1, '0')
    const places = scale + shift
    const moved =
      places <= 0
        ? `${mantissa === 0 ? '0' : digits + '0'.repeat(-places)}`
        : `${digits.slice(0, digits.length - places)}.${digits.slice(digits.length - places)}`
    const zeros = moved.includes('.') ? '0'.repeat(Math.floor(random() * 4)) : ''
    const text = `${moved}${zeros}${shift === 0 && random() < 0.5 ? '' : `e${shift}`}`
    assert.equal(scan(text, scale), mantissa, `seed ${seed}: ${text} at scale ${scale}`)
  }
})

test('number scanner should skip exactly the numbers of JSON', () => {
  const skip = (text: string): number => {
    const numbers = new NumberScanner()
    numbers.words.begin(new TextEncoder().encode(`${text},${'9'.repeat(WORD_SLACK_BYTES)}`))
    return numbers.skip(0)
  }
  for (const text of ['0', '-0', '-4.467407940520975e-5', '225046781992378368', '1E+9', '0.5', '10']) {
    JSON.parse(text)
    assert.equal(skip(text), text.length, text)
  }
  for (const text of ['', '-', '01', '1.', '.5', '1e', '--1', '1e+', 'x'])
    assert.notEqual(skip(text), text.length === 0 ? 0 : text.length, text)
  assert.equal(skip(''), NO_VALUE)
})
