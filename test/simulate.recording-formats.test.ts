import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { joinNs } from '../engine/base/clock.ts'
import { ANSWER, CONNECT, type Format, FRAME } from '../engine/simulate/line-formats.ts'
import { Recording, type RecordedMessage } from '../engine/simulate/recording.ts'

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-formats-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function readAll(recording: Recording): Promise<RecordedMessage[]> {
  const messages: RecordedMessage[] = []
  for await (const chunk of recording.chunks()) messages.push(...chunk)
  return messages
}

const text = ({ bytes }: RecordedMessage) => Buffer.from(bytes).toString()
const ns = ({ receivedHi, receivedLo }: RecordedMessage) => joinNs(receivedHi, receivedLo)

/** Digits of a Python float in seconds → ns, by text alone. */
function exactNs(seconds: string): bigint {
  const [whole, fraction = ''] = seconds.split('.') as [string, string?]
  return BigInt(whole + fraction.padEnd(9, '0'))
}

/** Made by Python's zipfile: deflated with a comment behind it, stored, written to a stream (lengths behind the content), and two files. */
const ZIPS = {
  deflated:
    'UEsDBBQAAAAIAGpldV1nFzDvRwAAAHgAAAAGAAAAeC5kYXRhq1YqyS/ITFayUsovSkktSsrPz9Yz1ItQ0lEqKVayMjQ3NjYwNDQyMDCzNNRRSkksSVSyqlbKA8rU1nJVE6nX3ABVrxFQLwBQSwECFAMUAAAACABqZXVdZxcw70cAAAB4AAAABgAAAAAAAAAAAAAAgAEAAAAAeC5kYXRhUEsFBgAAAAABAAEANAAAAGsAAAAfAGEgY29tbWVudCBiZWhpbmQgdGhlIGVuZCByZWNvcmQ=',
  stored:
    'UEsDBBQAAAAAAGpldV1nFzDveAAAAHgAAAAGAAAAeC5kYXRheyJ0b3BpYyI6Im9yZGVyYm9vay4xLlgiLCJ0cyI6MTczMzAxMTIwMDY5MSwiZGF0YSI6eyJuIjoxfX0KeyJ0b3BpYyI6Im9yZGVyYm9vay4xLlgiLCJ0cyI6MTczMzAxMTIwMDcwMSwiZGF0YSI6eyJuIjoyfX0KUEsBAhQDFAAAAAAAamV1XWcXMO94AAAAeAAAAAYAAAAAAAAAAAAAAIABAAAAAHguZGF0YVBLBQYAAAAAAQABADQAAACcAAAAHwBhIGNvbW1lbnQgYmVoaW5kIHRoZSBlbmQgcmVjb3Jk',
  streamed:
    'UEsDBBQACAAIAGpldV0AAAAAAAAAAAAAAAAGAAAAeC5kYXRhq1YqyS/ITFayUsovSkktSsrPz9Yz1ItQ0lEqKVayMjQ3NjYwNDQyMDCzNNRRSkksSVSyqlbKA8rU1nJVE6nX3ABVrxFQLwBQSwcIZxcw70cAAAB4AAAAUEsBAhQDFAAIAAgAamV1XWcXMO9HAAAAeAAAAAYAAAAAAAAAAAAAAIABAAAAAHguZGF0YVBLBQYAAAAAAQABADQAAAB7AAAAAAA=',
} as const
const ZIP_OF_TWO =
  'UEsDBBQAAAAIAGpldV1nFzDvRwAAAHgAAAABAAAAYatWKskvyExWslLKL0pJLUrKz8/WM9SLUNJRKilWsjI0NzY2MDQ0MjAwszTUUUpJLElUsqpWygPK1NZyVROp19wAVa8RUC8AUEsDBBQAAAAIAGpldV1nFzDvRwAAAHgAAAABAAAAYqtWKskvyExWslLKL0pJLUrKz8/WM9SLUNJRKilWsjI0NzY2MDQ0MjAwszTUUUpJLElUsqpWygPK1NZyVROp19wAVa8RUC8AUEsBAhQDFAAAAAgAamV1XWcXMO9HAAAAeAAAAAEAAAAAAAAAAAAAAIABAAAAAGFQSwECFAMUAAAACABqZXVdZxcw70cAAAB4AAAAAQAAAAAAAAAAAAAAgAFmAAAAYlBLBQYAAAAAAgACAF4AAADMAAAAHwBhIGNvbW1lbnQgYmVoaW5kIHRoZSBlbmQgcmVjb3Jk'
const ZIPPED = [
  '{"topic":"orderbook.1.X","ts":1733011200691,"data":{"n":1}}',
  '{"topic":"orderbook.1.X","ts":1733011200701,"data":{"n":2}}',
]

for (const [name, zip] of Object.entries(ZIPS)) {
  test(`recording should read a zip with one file: ${name}`, async (t) => {
    const file = join(await scratch(t), 'x.data.zip')
    await writeFile(file, Buffer.from(zip, 'base64'))
    const messages = await readAll(new Recording([file]))
    assert.deepEqual(messages.map(text), ZIPPED)
    assert.deepEqual(messages.map(ns), [1733011200691000000n, 1733011200701000000n])
  })
}

test('recording should refuse a zip that it cannot read, and say why', async (t) => {
  const folder = await scratch(t)
  const whole = Buffer.from(ZIPS.deflated, 'base64')
  const encrypted = Buffer.from(whole)
  encrypted[whole.indexOf(Buffer.from('PK\x01\x02')) + 8] = 1
  const odd = Buffer.from(whole)
  odd[whole.indexOf(Buffer.from('PK\x01\x02')) + 10] = 14
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from(ZIP_OF_TWO, 'base64'), /it holds 2 files/],
    [whole.subarray(0, whole.length >> 1), /its end is missing/],
    [encrypted, /it is encrypted/],
    [odd, /packed by method 14/],
  ]
  for (const [at, [bytes, message]] of cases.entries()) {
    const file = join(folder, `${at}.zip`)
    await writeFile(file, bytes)
    await assert.rejects(readAll(new Recording([file])), { code: 'RECORDING_ZIP', message, exitCode: 2 })
  }
})

const CAPTURE = [
  'wss://venue.example/ws?streams=a/b <-> 1626993723.424371',
  'wss://venue.example/ws?streams=a/b <- 1626993723.5: {"op":"subscribe"}',
  '1626993723.804318: {"n":1}',
  '1626993724.13: {"n":2}',
  '1626993725: {"n":4}',
  'configuration: {"trades":["A-B"]}',
  '',
]
const ANSWERS = [
  'https://venue.example/depth?symbol=AB&limit=5 -> 1626993724.1311848: {"n":3}',
  'https://venue.example/list -> 1626993725.0: {"n":5}',
  '',
]

test('recording should read a raw capture: frames, connections and answers merged by their times', async (t) => {
  const folder = await scratch(t)
  await writeFile(join(folder, 'x.ws.1.0'), CAPTURE.join('\n'))
  await writeFile(join(folder, 'x.http.0.0'), gzipSync(ANSWERS.join('\n')))
  const recording = new Recording([join(folder, 'x.ws.1.0'), join(folder, 'x.http.0.0')])
  const messages = await readAll(recording)
  assert.equal(await recording.format(), 'cryptofeed')
  assert.deepEqual(
    messages.map((message) => [message.kind, message.connection, text(message), ns(message)]),
    [
      [CONNECT, 0, '', 1626993723424371000n],
      [FRAME, 0, '{"n":1}', 1626993723804318000n],
      [FRAME, 0, '{"n":2}', 1626993724130000000n],
      [ANSWER, 1, '{"n":3}', 1626993724131184800n],
      [FRAME, 0, '{"n":4}', 1626993725000000000n],
      [ANSWER, 1, '{"n":5}', 1626993725000000000n],
    ],
  )
  assert.deepEqual(
    messages.map(({ url }) => url).filter((url) => url.startsWith('https')),
    ['https://venue.example/depth?symbol=AB&limit=5', 'https://venue.example/list'],
  )
  assert.equal(recording.lineCount, 5)
  assert.equal(recording.brokenCount, 0)
})

test('recording should turn Python floats of every length into the ns that their digits say', async (t) => {
  const folder = await scratch(t)
  const seed = (Date.now() % 0x7fffffff) | 0
  t.diagnostic(`seed ${seed}`)
  const time = fc
    .tuple(fc.integer({ min: 1_000_000_000, max: 4_294_967_295 }), fc.stringMatching(/^\d{0,9}$/))
    .map(([seconds, fraction]) => (fraction === '' ? String(seconds) : `${seconds}.${fraction}`))
  await fc.assert(
    fc.asyncProperty(fc.array(time, { minLength: 1, maxLength: 40 }), async (times) => {
      const file = join(folder, 'times')
      await writeFile(file, times.map((one) => `${one}: {}`).join('\n'))
      assert.deepEqual((await readAll(new Recording([file]))).map(ns), times.map(exactNs))
    }),
    { seed, numRuns: 50 },
  )
})

test('recording should merge captures by time, keep the order of each file, and put the earlier file first where times are equal', async (t) => {
  const folder = await scratch(t)
  const seed = (Date.now() % 0x7fffffff) | 0
  t.diagnostic(`seed ${seed}`)
  const file = fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(fc.array(file, { minLength: 2, maxLength: 4 }), async (files) => {
      const sorted = files.map((times) => times.toSorted((a, b) => a - b))
      const names = sorted.map((_, at) => join(folder, `merge-${at}`))
      for (const [at, name] of names.entries())
        await writeFile(
          name,
          (sorted[at] as number[]).map((time, n) => `16269937${10 + time}.5: ${at}/${n}`).join('\n'),
        )
      const expected = sorted
        .flatMap((times, at) => times.map((time, n) => ({ time, at, n })))
        .sort((a, b) => a.time - b.time || a.at - b.at || a.n - b.n)
        .map(({ at, n }) => `${at}/${n}`)
      assert.deepEqual((await readAll(new Recording(names))).map(text), expected)
    }),
    { seed, numRuns: 40 },
  )
})

test('recording should give a raw frame the time of the venue, and lines before the first one its time', async (t) => {
  const file = join(await scratch(t), 'raw.jsonl')
  const lines = [
    '{"event":"subscribe","connId":"1787612486107"}',
    '{"data":[{"asks":[["1787612486999","1"]],"ts":"1787612486107"}]}',
    '{"E": 1787612486207, "lastUpdateId":1007198635033}',
    '{"ts":1787612486007,"note":"the venue may go back, receive times do not"}',
    '{"no":"time"}',
  ]
  await writeFile(file, lines.join('\n'))
  const messages = await readAll(new Recording([file]))
  assert.deepEqual(messages.map(text), lines)
  assert.deepEqual(messages.map(ns), [
    1787612486107000000n,
    1787612486107000000n,
    1787612486207000000n,
    1787612486207000000n,
    1787612486207000000n,
  ])
})

test('recording should count broken lines of a capture with their numbers and reasons', async (t) => {
  const file = join(await scratch(t), 'broken')
  const lines = [
    '1626993723.804318: {"n":1}',
    'nonsense',
    '162699372.8: {}',
    '1626993723.8 {}',
    '1626993723.8: ',
    'wss://venue.example <-> 1626993723.8 and more',
    'https://venue.example/list -> soon: {}',
    '1626993724: {"n":2}',
  ]
  await writeFile(file, lines.join('\n'))
  const recording = new Recording([file])
  assert.deepEqual((await readAll(recording)).map(text), ['{"n":1}', '{"n":2}'])
  assert.deepEqual(
    recording.broken.map(({ line, reason }) => [line, reason]),
    [
      [2, 'neither a local time nor a URL at the start of the line'],
      [3, 'local time of 9 digits is not in seconds (10)'],
      [4, 'no colon and space after the local time'],
      [5, 'no message after the local time'],
      [6, 'something after the time of the connection'],
      [7, 'local time of 0 digits is not in seconds (10)'],
    ],
  )
})

test('recording should know its format from the first lines, take it from the one who asks, and refuse a mixture', async (t) => {
  const folder = await scratch(t)
  const beginnings: readonly (readonly [string, Format])[] = [
    ['\n1723161255030314667 {"n":1}\n', 'hftbacktest'],
    ['1680652700423575 {"n":1}\n', 'hftbacktest'],
    [`wss://venue.example/stream?streams=${'s@depth/'.repeat(3000)} <-> 1626993723.4\n`, 'cryptofeed'],
    ['1626993723.804318: {"n":1}', 'cryptofeed'],
    ['configuration: {}', 'cryptofeed'],
    ['  {"n":1}', 'raw'],
    ['[1,2]', 'raw'],
    ['', 'hftbacktest'],
  ]
  for (const [at, [beginning, format]] of beginnings.entries()) {
    await writeFile(join(folder, `${at}`), beginning)
    assert.equal(await new Recording([join(folder, `${at}`)]).format(), format, beginning.slice(0, 40))
  }
  assert.equal(await new Recording([join(folder, '0')], { format: 'raw' }).format(), 'raw')
  await assert.rejects(readAll(new Recording([join(folder, '0'), join(folder, '3')])), {
    code: 'RECORDING_FORMAT',
    message: /0 is of format hftbacktest, .*3 of format cryptofeed/,
  })
  await writeFile(join(folder, 'prose'), 'once upon a time\n')
  await assert.rejects(readAll(new Recording([join(folder, 'prose')])), {
    code: 'RECORDING_FORMAT',
    message: /no known format: say which with --format/,
    exitCode: 2,
  })
})
