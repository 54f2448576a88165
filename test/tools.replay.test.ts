import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { ReplayAnswer } from '../engine/tools/replay.ts'
import { answerOf, recordingFiles, replay } from './support/recordings.ts'

function recordingOf(t: TestContext, name: string): string | undefined {
  return recordingFiles(t, `hftbacktest/${name}.gz`)?.[0]
}

async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-replay-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test('replay should give the same rows byte for byte, and rows that add up to its answer', async (t) => {
  const file = recordingOf(t, 'spot_ethusdt_20240808')
  if (file === undefined) return
  const folder = await scratch(t)
  const answer = await answerOf(file, '--market', 'binance.spot', '--rows', join(folder, 'first'))
  await answerOf(file, '--market', 'binance.spot', '--rows', join(folder, 'second'))
  const [first, second] = await Promise.all([readFile(join(folder, 'first')), readFile(join(folder, 'second'))])
  assert.ok(first.equals(second))
  const rows = first
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>)
  const instrument = answer.instruments['binance.spot.ETHUSDT']
  const of = (table: string) => rows.filter((row) => row['table'] === table)
  assert.equal(of('trades').length, instrument?.trades.count)
  assert.equal(of('book_tickers').length, instrument?.bookTickers.count)
  assert.equal(of('book_deltas').length, (instrument?.applied ?? 0) + (instrument?.stale ?? 0))
  assert.equal(of('trades').at(-1)?.['trade_id'], instrument?.trades.lastId)
  const last = of('book_snapshots').at(-1) as unknown as { bid_prices: string[]; last_seq: string; kind: string }
  assert.deepEqual(
    [last.kind, last.last_seq, last.bid_prices[0]],
    ['periodic', instrument?.lastSeq, instrument?.bids[0]?.[0]],
  )
})

test('replay should take several files in a row as one recording', async (t) => {
  const file = recordingOf(t, 'cm_ethusd_perp_20240808')
  if (file === undefined) return
  const folder = await scratch(t)
  const lines = gunzipSync(await readFile(file))
    .toString()
    .trimEnd()
    .split('\n')
  const cut = Math.floor(lines.length / 3)
  await writeFile(join(folder, 'first'), lines.slice(0, cut).join('\n'))
  await writeFile(join(folder, 'second'), lines.slice(cut).join('\n'))
  const whole = await answerOf(file, '--market', 'binance.coinm')
  const parts = await answerOf(join(folder, 'first'), join(folder, 'second'), '--market', 'binance.coinm')
  assert.deepEqual(parts, whole)
})

const NS = 1723161255030314000n
const depth = (first: number, last: number, previous: number, price: string) =>
  `{"stream":"xyzusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"XYZUSDT","U":${first},"u":${last},"pu":${previous},"b":[["${price}","1.5"]],"a":[]}}`
const SMALL = [
  '{"lastUpdateId":10,"E":1723161256290,"T":1723161256289,"bids":[["99.9","2"]],"asks":[["100.1","3"]]}',
  depth(9, 12, 8, '99.8'),
  '{"stream":"xyzusdt@trade","data":{"e":"trade","E":1723161256330,"T":1723161256329,"s":"XYZUSDT","t":5,"p":"100.1","q":"0.25","X":"MARKET","m":false}}',
  depth(13, 15, 12, '99.7'),
]
const timed = (messages: readonly string[]) =>
  messages.map((message, at) => `${NS + BigInt(at) * 1_000_000n} ${message}`)

test('replay should anchor a snapshot that comes before any event', async (t) => {
  const file = join(await scratch(t), 'small')
  await writeFile(file, timed(SMALL).join('\n'))
  const answer = await answerOf(file, '--market', 'binance.usdm')
  assert.deepEqual(answer, {
    messages: 4,
    rejected: 0,
    instruments: {
      'binance.usdm.XYZUSDT': {
        state: 'LIVE',
        lastSeq: '15',
        bids: [
          ['99.9', '2'],
          ['99.8', '1.5'],
          ['99.7', '1.5'],
        ],
        asks: [['100.1', '3']],
        applied: 2,
        stale: 0,
        gaps: 0,
        trades: { count: 1, quantity: '0.25', notional: '25.025', firstId: '5', lastId: '5' },
        bookTickers: { count: 0 },
        kinds: { book_deltas: 2, book_snapshots: 2, trades: 1 },
      },
    },
  })
})

test('replay should count broken lines and refused messages, say which, and disturb nothing else', async (t) => {
  const folder = await scratch(t)
  const lines = timed(SMALL)
  const broken = [
    lines[0],
    'no time here',
    lines[1],
    `${NS} {"stream":"xyzusdt@trade","data":{"e":"trade",`,
    lines[2],
    `${NS} ${'x'.repeat(5_000_000)}`,
    lines[3],
  ]
  await writeFile(join(folder, 'clean'), lines.join('\n'))
  await writeFile(join(folder, 'broken'), broken.join('\n'))
  const clean = await answerOf(join(folder, 'clean'), '--market', 'binance.usdm')
  const { stdout, stderr } = await replay(join(folder, 'broken'), '--market', 'binance.usdm', '--json')
  const answer = JSON.parse(stdout) as ReplayAnswer
  assert.deepEqual(answer, { ...clean, messages: 7, rejected: 3 })
  assert.match(stderr, /broken:2: no local time/)
  assert.match(stderr, /broken:6: line of 5000020 bytes is longer/)
  assert.match(stderr, /rejected \(truncated\): 1/)
})

test('replay should name a missing recording, an unknown market and two users of stdout, without a stack', async (t) => {
  const file = join(await scratch(t), 'small')
  await writeFile(file, timed(SMALL).join('\n'))
  const cases: readonly (readonly [string[], RegExp])[] = [
    [['/nowhere/x.gz', '--market', 'binance.usdm'], /recording \/nowhere\/x\.gz is not there/],
    [[file, '--market', 'binance.mars'], /unknown market 'binance\.mars'.*binance\.usdm.*okx, okx\.spot/],
    [[file, '--market', 'binance'], /unknown market 'binance'; allowed are/],
    [[file, '--market', 'mtgox'], /unknown market 'mtgox'.*deribit\.option/],
    [[file, '--market', 'binance.usdm', '--format', 'csv'], /auto, hftbacktest, raw, cryptofeed/],
    [[file], /--market/],
    [[file, '--market', 'binance.usdm', '--json', '--rows', '-'], /both want stdout/],
  ]
  for (const [args, line] of cases) {
    const { code, stdout, stderr } = await replay(...args)
    assert.equal(code, 2, stderr)
    assert.equal(stdout, '')
    assert.match(stderr, line)
    assert.doesNotMatch(stderr, /\n {4}at /)
  }
})

test('replay should write rows to stdout alone with --rows -', async (t) => {
  const file = join(await scratch(t), 'small')
  await writeFile(file, timed(SMALL).join('\n'))
  const { stdout } = await replay(file, '--market', 'binance.usdm', '--rows', '-')
  const rows = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const trade = rows.find((row) => row['table'] === 'trades')
  const wanted = {
    instrument: 'binance.usdm.XYZUSDT',
    price: '100.1',
    quantity: '0.25',
    side: 'buy',
    trade_id: '5',
    trade_ns: '1723161256329000000',
  }
  assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, trade?.[key]])), wanted)
})
