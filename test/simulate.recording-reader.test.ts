import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { joinNs } from '../engine/base/clock.ts'
import { Recording, type RecordedMessage } from '../engine/simulate/recording.ts'

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-recording-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function readAll(recording: Recording): Promise<RecordedMessage[]> {
  const messages: RecordedMessage[] = []
  for await (const chunk of recording.chunks()) messages.push(...chunk)
  return messages
}

const text = (message: RecordedMessage | undefined) => Buffer.from(message?.bytes ?? []).toString()
const ns = (message: RecordedMessage | undefined) => joinNs(message?.receivedHi ?? 0, message?.receivedLo ?? 0)

test('recording should know ns from µs by the digits of the local time', async (t) => {
  const file = join(await scratch(t), 'a')
  await writeFile(file, '1723161255030314667 {"a":1}\n1680652700423575 {"b": 2}\r\n\n   \n')
  const messages = await readAll(new Recording([file]))
  assert.deepEqual(messages.map(text), ['{"a":1}', '{"b": 2}'])
  assert.deepEqual(messages.map(ns), [1723161255030314667n, 1680652700423575000n])
})

test('recording should turn every local time into the same words as BigInt', async (t) => {
  const folder = await scratch(t)
  const seed = (Date.now() % 0x7fffffff) | 0
  t.diagnostic(`seed ${seed}`)
  const time = fc.bigInt(10n ** 18n, 9_223_372_036_854_775_807n)
  await fc.assert(
    fc.asyncProperty(fc.array(time, { minLength: 1, maxLength: 50 }), async (times) => {
      const file = join(folder, 'times')
      await writeFile(file, times.map((one) => `${one} {}`).join('\n'))
      assert.deepEqual((await readAll(new Recording([file]))).map(ns), times)
    }),
    { seed, numRuns: 50 },
  )
})

test('recording should read several files, plain and gzip whatever their names, as one', async (t) => {
  const folder = await scratch(t)
  await writeFile(join(folder, 'first.txt'), '1723161255030314667 {"n":1}\n1723161255030314668 {"n":2}')
  await writeFile(join(folder, 'second'), gzipSync('1723161255030314669 {"n":3}\n'))
  const recording = new Recording([join(folder, 'first.txt'), join(folder, 'second')])
  assert.deepEqual((await readAll(recording)).map(text), ['{"n":1}', '{"n":2}', '{"n":3}'])
  assert.equal(recording.lineCount, 3)
  assert.equal(recording.brokenCount, 0)
})

test('recording should join lines that lie across chunks', async (t) => {
  const folder = await scratch(t)
  const bodies = Array.from({ length: 60 }, (_, n) => `{"n":${n},"fill":"${'x'.repeat((n * 7919) % 90_000)}"}`)
  await writeFile(join(folder, 'long'), bodies.map((body, n) => `172316125503031${1000 + n} ${body}\n`).join(''))
  assert.deepEqual((await readAll(new Recording([join(folder, 'long')]))).map(text), bodies)
})

test('recording should count a broken line with its number and reason, and go on', async (t) => {
  const file = join(await scratch(t), 'broken')
  const lines = [
    '1723161255030314667 {"n":1}',
    'not a line',
    '17231612550303 {}',
    '1723161255030314668',
    '1723161255030314669 ',
    '1723161255030314670 {"n":2}',
  ]
  await writeFile(file, lines.join('\n'))
  const recording = new Recording([file])
  assert.deepEqual((await readAll(recording)).map(text), ['{"n":1}', '{"n":2}'])
  assert.equal(recording.lineCount, 6)
  assert.deepEqual(
    recording.broken.map(({ line, reason }) => [line, reason]),
    [
      [2, 'no local time at the start of the line'],
      [3, 'local time of 14 digits is neither ns (19) nor µs (16)'],
      [4, 'no space after the local time'],
      [5, 'no message after the local time'],
    ],
  )
})

test('recording should drop a line that is longer than its bound without holding it', async (t) => {
  const file = join(await scratch(t), 'huge')
  await writeFile(
    file,
    `1723161255030314667 {"n":1}\n1723161255030314668 ${'y'.repeat(5_000_000)}\n1723161255030314669 {"n":2}\n`,
  )
  const recording = new Recording([file], { lineBytesMax: 1024 })
  assert.deepEqual((await readAll(recording)).map(text), ['{"n":1}', '{"n":2}'])
  assert.deepEqual(recording.broken, [{ file, line: 2, reason: 'line of 5000020 bytes is longer than 1024' }])
})

test('recording should give what a cut off gzip file still holds, and say where it ends', async (t) => {
  const file = join(await scratch(t), 'cut.gz')
  const lines = Array.from({ length: 20_000 }, (_, n) => `17231612550303${10000 + n} {"n":${(n * 2654435761) % 1e9}}\n`)
  const whole = gzipSync(lines.join(''))
  await writeFile(file, whole.subarray(0, whole.length >> 1))
  const recording = new Recording([file])
  const messages = await readAll(recording)
  assert.ok(messages.length > 5000 && messages.length < 20_000, `${messages.length} messages`)
  assert.equal(recording.brokenCount, 1)
  assert.match(recording.broken[0]?.reason ?? '', /gzip data broken or cut off/)
})

test('recording should name the file that is not there before it reads any other', async (t) => {
  const file = join(await scratch(t), 'there')
  await writeFile(file, '1723161255030314667 {}\n')
  await assert.rejects(readAll(new Recording([file, '/nowhere/x.gz'])), {
    code: 'RECORDING_MISSING',
    message: /\/nowhere\/x\.gz/,
    exitCode: 2,
  })
})
