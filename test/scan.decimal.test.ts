import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { DecimalScanner, decimalText } from '../engine/scan/decimal.ts'
import { FixedText, NO_VALUE, WordScanner } from '../engine/scan/words.ts'

const scan = new DecimalScanner()
const bytesOf = (text: string) => new TextEncoder().encode(`${text}"`)

/** The oracle: BigInt arithmetic on the text. null = must be refused. */
function exact(text: string, scale: number): bigint | null {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text)
  if (match === null) return null
  const fraction = (match[2] ?? '').replace(/0+$/, '')
  if (fraction.length > scale) return null
  const value = BigInt(match[1] + fraction.padEnd(scale, '0'))
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? value : null
}

test('decimal should equal BigInt arithmetic on random numbers of every length', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const digits = (count: number) =>
    Array.from({ length: count }, () => (random() < 0.3 ? '0' : String(Math.floor(random() * 10)))).join('')
  for (let round = 0; round < 50_000; round++) {
    const text =
      digits(1 + Math.floor(random() * 18)) + (random() < 0.8 ? `.${digits(1 + Math.floor(random() * 12))}` : '')
    const scale = Math.floor(random() * 12)
    const value = scan.decimal(bytesOf(text), 0, scale)
    const expected = exact(text, scale)
    if (expected === null) assert.ok(Number.isNaN(value), `${text} at ${scale} gave ${value}, seed ${seed}`)
    else assert.equal(BigInt(value), expected, `${text} at ${scale}, seed ${seed}`)
    if (expected !== null) assert.equal(scan.at, text.length, `${text} at ${scale}, seed ${seed}`)
  }
})

test('decimal should say which scale a number needs', () => {
  assert.ok(Number.isNaN(scan.decimal(bytesOf('61800.250100'), 0, 1)))
  assert.equal(scan.refusal, 'precision')
  assert.equal(scan.scaleNeeded, 4)
  assert.equal(scan.decimal(bytesOf('61800.2000000000000000'), 0, 1), 618002)
})

test('decimal should refuse what is no number, with the reason', () => {
  for (const [text, refusal] of [
    ['', 'number'],
    ['.5', 'number'],
    ['5.', 'number'],
    ['-1', 'number'],
    ['x', 'number'],
    ['99999999999999999', 'overflow'],
    ['9007199254740992', 'overflow'],
    ['900719925474099.2', 'overflow'],
  ] as const) {
    assert.ok(Number.isNaN(scan.decimal(bytesOf(text), 0, 1)), text)
    assert.equal(scan.refusal, refusal, text)
  }
  assert.equal(scan.decimal(bytesOf('9007199254740991'), 0, 0), Number.MAX_SAFE_INTEGER)
})

test('decimal should leave an exponent to the caller: the byte behind the number is no quote', () => {
  scan.decimal(bytesOf('1.5e6'), 0, 2)
  assert.equal('1.5e6'[scan.at], 'e')
})

test('integer should read up to 2^53 and refuse beyond', () => {
  for (const value of [0, 7, 123456789, 1234567890, 1_723_161_256_299, 5_123_107_832_006, Number.MAX_SAFE_INTEGER])
    assert.equal(scan.integer(bytesOf(String(value)), 0), value)
  for (const text of ['9007199254740992', '18446744073709551615', '007', '', '-1', 'null'])
    assert.ok(Number.isNaN(scan.integer(bytesOf(text), 0)), text)
})

test('decimal text should be canonical', () => {
  assert.deepEqual(
    [
      decimalText(6180020, 2),
      decimalText(5, 3),
      decimalText(0, 4),
      decimalText(-150n, 2),
      decimalText(1000, 0),
      decimalText(10n ** 20n, 3),
    ],
    ['61800.2', '0.005', '0', '-1.5', '1000', '100000000000000000'],
  )
})

test('decimal text of nothing should be 0 at every scale', () => {
  for (let scale = 0; scale <= 38; scale++)
    for (const nothing of [0, 0n, '0']) assert.equal(decimalText(nothing, scale), '0', `scale ${scale}`)
})

test('words should give what the scanner of bytes gives, or refuse', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const words = new WordScanner()
  const alphabet = '00123456789.99:/,x}\u00ff'
  const bytes = new Uint8Array(64)
  words.begin(bytes)
  for (let round = 0; round < 100_000; round++) {
    const isPlain = random() < 0.7
    const length = 1 + Math.floor(random() * 20)
    const point = random() < 0.8 ? Math.floor(random() * 10) : -1
    bytes.fill(57)
    for (let at = 0; at < length; at++) {
      const plain = at === point ? '.' : String(Math.floor(random() * (random() < 0.3 ? 1 : 10)))
      bytes[at] = (isPlain ? plain : (alphabet[Math.floor(random() * alphabet.length)] as string)).charCodeAt(0)
    }
    bytes[length] = 34
    const text = String.fromCharCode(...bytes.subarray(0, length))
    const scale = Math.floor(random() * 12)
    const integer = scan.integer(bytes, 0)
    assert.equal(words.integer(0), integer >= 0 ? scan.at : NO_VALUE, `${text}, seed ${seed}`)
    if (integer >= 0) assert.equal(words.value, integer, `${text}, seed ${seed}`)
    const decimal = scan.decimal(bytes, 0, scale)
    assert.equal(words.decimal(0, scale), decimal >= 0 ? scan.at : NO_VALUE, `${text} at ${scale}, seed ${seed}`)
    if (decimal >= 0) assert.equal(words.value, decimal, `${text} at ${scale}, seed ${seed}`)
  }
})

test('fixed text should be found where it stands and nowhere else', () => {
  const view = new DataView(new TextEncoder().encode('xx,"ps":"BTCUSD"....').buffer)
  for (const text of [',"ps', ',"ps":', ',"ps":"', ',"ps":"B']) {
    assert.ok(new FixedText(text).isAt(view, 2), text)
    assert.ok(!new FixedText(text).isAt(view, 1), text)
    assert.ok(!new FixedText(`${text.slice(0, -1)}~`).isAt(view, 2), text)
  }
})
