import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertTruth,
  recordingFiles,
  type Replayed,
  replayed,
  type TruthSymbol,
  truthOf,
} from './support/recordings.ts'

/** Every recording of OKX against the truth that a separate script made of it, through ring, worker, book and encoder. */
const CAPTURES = [
  ['cryptofeed/OKX.ws.1.0.gz', 'cryptofeed_OKX', 290],
  ['cryptofeed-history/OKEX.20210722.ws.1.0.gz', 'cryptofeed_OKEX_20210722_ws1', 1504],
  ['cryptofeed-history/OKEX.20210722.ws.2.0.gz', 'cryptofeed_OKEX_20210722_ws2', 1446],
  ['cryptofeed-history/OKEX.20210722.ws.3.0.gz', 'cryptofeed_OKEX_20210722_ws3', 1422],
] as const
const KIND_OF_PARTS: Readonly<Record<number, string>> = { 2: 'spot', 5: 'option' }

function idOf(symbol: string): string {
  const parts = symbol.split('-')
  const market = KIND_OF_PARTS[parts.length] ?? (parts[2] === 'SWAP' ? 'swap' : 'futures')
  return `okx.${market}.${symbol}`
}

function checksumsOf({ answer }: Replayed): { good: number; bad: number; absent: number } {
  const sum = { good: 0, bad: 0, absent: 0 }
  for (const { checksums } of Object.values(answer.instruments)) {
    assert.ok(checksums)
    for (const name of ['good', 'bad', 'absent'] as const) sum[name] += checksums[name]
  }
  return sum
}

let captured = 0
for (const [file, name, sums] of CAPTURES) {
  test(`okx should turn ${name} into the books, trades and checksums of the truth`, async (t) => {
    const files = recordingFiles(t, file)
    if (files === undefined) return
    const truth = truthOf(name)
    const result = await replayed(...files, '--market', 'okx')
    assert.equal(result.answer.messages, truth.recording.ws_messages)
    assert.equal(result.answer.rejected, 0)
    const symbols = Object.keys(truth.symbols)
    assert.deepEqual(Object.keys(result.answer.instruments).sort(), symbols.map(idOf).sort())
    for (const symbol of symbols) assertTruth(result, idOf(symbol), truth.symbols[symbol] as TruthSymbol)
    assert.deepEqual(checksumsOf(result), { good: sums, bad: 0, absent: 0 })
    const tickers = result.rows.filter((row) => row['table'] === 'tickers')
    assert.equal(tickers.length, truth.message_counts['tickers'])
    captured += sums
  })
}

test('okx should have verified 4,662 checksums of 4,662', (t) => {
  if (captured === 0) return t.skip('no recordings')
  assert.equal(captured, 4662)
})

test('okx should turn the books of 2026, whose checksum is 0, into those of the truth by seqId', async (t) => {
  const files = recordingFiles(t, 'okx-2026/okx_books_btcusdt_20260824.jsonl')
  if (files === undefined) return
  const truth = truthOf('okx_books_btcusdt_20260824')
  const result = await replayed(...files, '--market', 'okx')
  assert.equal(result.answer.rejected, 0)
  assertTruth(result, 'okx.spot.BTC-USDT', truth.symbols['BTC-USDT'] as TruthSymbol)
})

test('okx should make one stream of three connections that carry the same books without numbers', async (t) => {
  const files = recordingFiles(t, ...[1, 2, 3].map((leg) => `cryptofeed-history/OKEX.20210722.ws.${leg}.0.gz`))
  if (files === undefined) return
  // the first connection has all that the others have
  const best = truthOf('cryptofeed_OKEX_20210722_ws1')
  const result = await replayed(...files, '--market', 'okx')
  assert.equal(result.answer.rejected, 0)
  for (const [symbol, truth] of Object.entries(best.symbols)) {
    assertTruth(result, idOf(symbol), truth)
    const own = result.rows.filter((row) => row['instrument'] === idOf(symbol))
    assert.equal(own.filter((row) => row['table'] === 'gaps').length, 0, `${symbol} gaps`)
    const numbers = own.filter((row) => row['table'] === 'book_deltas').map((row) => row['last_seq'])
    assert.equal(new Set(numbers).size, numbers.length, `${symbol}: no change is told twice`)
  }
  assert.deepEqual(checksumsOf(result), { good: 1504, bad: 0, absent: 0 })
})
