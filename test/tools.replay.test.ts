import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { ReplayAnswer } from '../engine/tools/replay.ts'
import { answerOf, recordingFiles, replay, replayed } from './support/recordings.ts'

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

const spotDepth = (symbol: string, first: number, last: number, price: string) =>
  `{"stream":"${symbol.toLowerCase()}@depth@100ms","data":{"e":"depthUpdate","E":1633998512068,"s":"${symbol}","U":${first},"u":${last},"b":[["${price}","1.50"]],"a":[]}}`
const spotBook = (lastUpdateId: number, price: string) =>
  `{"lastUpdateId":${lastUpdateId},"bids":[["${price}","2.00"]],"asks":[["${price}9","3.00"]]}`
const asked = (symbol: string, time: string, body: string) =>
  `https://api.example/api/v3/depth?symbol=${symbol}&limit=1000 -> ${time}: ${body}`
const SOCKET = 'wss://stream.example/stream?streams=aaausdt@depth@100ms/bbbusdt@depth@100ms'

test('replay of a capture should give each answer of REST to the book that its URL names', async (t) => {
  const folder = await scratch(t)
  const frames = [
    `${SOCKET} <-> 1633998512.0`,
    `1633998512.1: ${spotDepth('AAAUSDT', 8, 9, '1.4')}`,
    `1633998512.2: ${spotDepth('BBBUSDT', 18, 19, '2.4')}`,
    `1633998512.5: ${spotDepth('AAAUSDT', 10, 12, '1.3')}`,
    `1633998512.6: ${spotDepth('BBBUSDT', 20, 21, '2.3')}`,
  ]
  // The body does not say whose it is; the book of the first symbol waits for its own, which comes last.
  const answers = [
    asked('BBBUSDT', '1633998512.3', spotBook(20, '2.4')),
    asked('AAAUSDT', '1633998512.45', spotBook(10, '1.4')),
  ]
  await writeFile(join(folder, 'X.ws.1.0'), frames.join('\n'))
  await writeFile(join(folder, 'X.http.0.0'), answers.join('\n'))
  const files = [join(folder, 'X.ws.1.0'), join(folder, 'X.http.0.0')]
  const { messages, rejected, instruments } = await answerOf(...files, '--market', 'binance.spot')
  assert.deepEqual([messages, rejected], [6, 0])
  assert.deepEqual(
    Object.entries(instruments).map(([id, { state, lastSeq, bids, applied, stale, gaps, kinds }]) => ({
      id,
      state,
      lastSeq,
      bids,
      applied,
      stale,
      gaps,
      deltas: kinds['book_deltas'],
    })),
    [
      {
        id: 'binance.spot.AAAUSDT',
        state: 'LIVE',
        lastSeq: '12',
        bids: [
          ['1.4', '2'],
          ['1.3', '1.5'],
        ],
        applied: 1,
        stale: 1,
        gaps: 0,
        deltas: 2,
      },
      {
        id: 'binance.spot.BBBUSDT',
        state: 'LIVE',
        lastSeq: '21',
        bids: [
          ['2.4', '2'],
          ['2.3', '1.5'],
        ],
        applied: 1,
        stale: 1,
        gaps: 0,
        deltas: 2,
      },
    ],
  )
})

test('replay of a capture should see that a socket was opened again: a gap, and a new start of its book', async (t) => {
  const file = join(await scratch(t), 'X.ws.1.0')
  const lines = [
    `${SOCKET} <-> 1633998512.0`,
    `1633998512.1: ${spotDepth('AAAUSDT', 8, 9, '1.4')}`,
    asked('AAAUSDT', '1633998512.2', spotBook(9, '1.4')),
    `1633998512.3: ${spotDepth('AAAUSDT', 10, 11, '1.3')}`,
    `${SOCKET} <-> 1633998514.0`,
    `1633998514.1: ${spotDepth('AAAUSDT', 50, 51, '1.2')}`,
    asked('AAAUSDT', '1633998514.2', spotBook(51, '1.2')),
    `1633998514.3: ${spotDepth('AAAUSDT', 52, 53, '1.1')}`,
  ]
  await writeFile(file, lines.join('\n'))
  const { answer, rows } = await replayed(file, '--market', 'binance.spot')
  const found = answer.instruments['binance.spot.AAAUSDT']
  assert.deepEqual([found?.state, found?.lastSeq, found?.kinds['gaps']], ['LIVE', '53', 2])
  assert.deepEqual(found?.bids, [
    ['1.2', '2'],
    ['1.1', '1.5'],
  ])
  const gaps = rows.filter((row) => row['table'] === 'gaps')
  assert.deepEqual(
    gaps.map(({ cause, status, from_ns, to_seq }) => ({ cause, status, from_ns, to_seq })),
    [
      { cause: 'disconnect', status: 'open', from_ns: '1633998512300000000', to_seq: '0' },
      { cause: 'disconnect', status: 'closed', from_ns: '1633998512300000000', to_seq: '51' },
    ],
  )
})
