import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { ReplayAnswer } from '../engine/tools/replay.ts'
import { assertTruth, type Row, recordingFiles, replayed, type Truth, truthOf } from './support/recordings.ts'

/** The market of a symbol, by the official rule: `BTC-USDT`, `…-SWAP`, `…-YYMMDD`, `…-YYMMDD-strike-C`. */
function idOf(symbol: string): string {
  const parts = symbol.split('-')
  const market = parts.length === 2 ? 'spot' : parts.length === 5 ? 'option' : parts[2] === 'SWAP' ? 'swap' : 'futures'
  return `okx.${market}.${symbol}`
}

const of2021 = (connection: number) => `cryptofeed-history/OKEX.20210722.ws.${connection}.0.gz`
const CAPTURES: readonly (readonly [truth: string, files: readonly string[], lists: number])[] = [
  ['cryptofeed_OKX', ['cryptofeed/OKX.ws.1.0.gz', 'cryptofeed/OKX.0.gz'], 25],
  ['cryptofeed_OKEX_20210722_ws1', [of2021(1)], 0],
  ['cryptofeed_OKEX_20210722_ws2', [of2021(2)], 0],
  ['cryptofeed_OKEX_20210722_ws3', [of2021(3)], 0],
]
/** What the truth files verified, all together. */
const CHECKSUMS = 4662
const goodSums = { count: 0, captures: 0 }

function assertSymbols(answer: ReplayAnswer, truth: Truth): void {
  const ids = Object.keys(truth.symbols).map(idOf).sort()
  assert.deepEqual(Object.keys(answer.instruments).sort(), ids)
}

for (const [name, parts, lists] of CAPTURES) {
  test(`replay of ${name} should give the true books, each proven by the venue's sum of it`, async (t) => {
    const files = recordingFiles(t, ...parts)
    if (files === undefined) return
    const truth = truthOf(name)
    const result = await replayed(...files, '--market', 'okx', '--format', 'cryptofeed')
    assert.equal(result.answer.messages, (truth.recording.ws_messages as number) + lists)
    assert.equal(result.answer.rejected, 0)
    assertSymbols(result.answer, truth)
    for (const [symbol, one] of Object.entries(truth.symbols)) assertTruth(result, idOf(symbol), one)
    assert.equal(result.rows.filter((row) => row['table'] === 'tickers').length, truth.message_counts['tickers'])
    goodSums.captures++
    for (const { checksums } of Object.values(result.answer.instruments)) goodSums.count += checksums?.good ?? 0
  })
}

test('replay should find every checksum of the OKX captures good', (t) => {
  if (goodSums.captures === 0) return t.skip('no recordings')
  assert.deepEqual(goodSums, { count: CHECKSUMS, captures: CAPTURES.length })
})

test('replay of OKX frames of 2026 should follow seqId and know that a checksum of 0 is none', async (t) => {
  const files = recordingFiles(t, 'okx-2026/okx_books_btcusdt_20260824.jsonl')
  if (files === undefined) return
  const truth = truthOf('okx_books_btcusdt_20260824')
  for (const market of ['okx', 'okx.spot']) {
    const result = await replayed(...files, '--market', market, '--format', 'raw')
    assert.equal(result.answer.messages, truth.recording.lines)
    assert.equal(result.answer.rejected, 0)
    assertSymbols(result.answer, truth)
    assertTruth(result, 'okx.spot.BTC-USDT', truth.symbols['BTC-USDT'] as never)
  }
})

test('replay of one capture on three connections should give one stream: nothing missing, nothing twice', async (t) => {
  const files = recordingFiles(t, of2021(1), of2021(2), of2021(3))
  if (files === undefined) return
  const truth = truthOf('cryptofeed_OKEX_20210722_ws1') // the leg that has every update of the others
  for (const order of [files, files.toReversed()]) {
    const result = await replayed(...order, '--market', 'okx')
    assert.equal(result.answer.rejected, 0)
    assertSymbols(result.answer, truth)
    for (const [symbol, one] of Object.entries(truth.symbols)) assertTruth(result, idOf(symbol), one)
    const rowsOf = (table: string) => result.rows.filter((row) => row['table'] === table)
    assert.deepEqual(rowsOf('gaps'), [])
    for (const table of ['book_deltas', 'trades', 'tickers']) assert.deepEqual(twice(rowsOf(table)), [], table)
    assert.equal(rowsOf('trades').length, truth.message_counts['trades'])
    assert.equal(rowsOf('tickers').length, distinct(files, '"channel":"tickers"').size)
  }
})

/** Rows that say what another one said; when we received it is no part of it. */
function twice(rows: readonly Row[]): string[] {
  const seen = new Set<string>()
  return rows
    .map(({ received_ns: _, ...said }) => JSON.stringify(said))
    .filter((said) => seen.size === seen.add(said).size)
}

/** Frames of the captures with this in them, each once, without their local times. */
function distinct(files: readonly string[], what: string): Set<string> {
  const lines = files.flatMap((file) => gunzipSync(readFileSync(file)).toString().split('\n'))
  const frames = lines.filter((line) => line.includes(what) && line.includes('"data":'))
  return new Set(frames.map((line) => line.slice(line.indexOf('{'))))
}

test('replay of OKX should keep an index apart from the pair of its name, on one socket and on several', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-replay-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const frame = (channel: string, ms: number, row: object) =>
    `${ms / 1000}: ${JSON.stringify({ arg: { channel, instId: 'BTC-USDT' }, data: [row] })}`
  const price = (ms: number, idxPx: string) => frame('index-tickers', ms, { instId: 'BTC-USDT', idxPx, ts: String(ms) })
  const trade = (ms: number, tradeId: string) =>
    frame('trades', ms, { instId: 'BTC-USDT', tradeId, px: '100', sz: '1', side: 'buy', ts: String(ms), count: '1' })
  const lines = [price(1_790_000_000_000, '99.5'), trade(1_790_000_000_100, '7'), price(1_790_000_000_200, '99.75')]
  const files = [join(folder, 'OKX.ws.1.0'), join(folder, 'OKX.ws.2.0')] as const
  for (const file of files)
    await writeFile(file, ['wss://ws.okx.com:8443/ws/v5/public <-> 1789999999.5', ...lines, ''].join('\n'))
  for (const some of [files.slice(0, 1), files]) {
    const { answer, rows } = await replayed(...some, '--market', 'okx', '--format', 'cryptofeed')
    assert.equal(answer.rejected, 0)
    const told = rows
      .filter((row) => row['table'] === 'index_prices')
      .map((row) => [row['instrument'], row['index_price']])
    assert.deepEqual(told, [
      ['okx.index.BTC-USDT', '99.5'],
      ['okx.index.BTC-USDT', '99.75'],
    ])
    assert.equal(answer.instruments['okx.spot.BTC-USDT']?.trades.count, 1)
  }
})
