import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFaults } from '../engine/simulate/faults.ts'
import { protocolOf } from '../engine/simulate/protocols.ts'
import { EXCHANGE_NAMES } from '../engine/simulate/venue.ts'
import type { VenueNote } from '../engine/tools/demo/notes.ts'
import { disturbancesOf, judge, type JudgedRow, lossesOf } from '../engine/tools/faults/judge.ts'
import { ALL_KINDS, faultPlay, isPossible } from '../engine/tools/faults/script.ts'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'

/** The trial of faults: what its judge says of losses and rows, what its script holds, and a short run of it. */
const AT_MS = 1_790_000_000_000
const ROW: JudgedRow = {
  lateMs: 1_500,
  exchange: 'okx',
  market: 'spot',
  symbol: 'BTC-USDT',
  channel: 'trades',
  cause: 'sequence',
  status: 'closed',
  detail: '',
  from_seq: '100',
  to_seq: '104',
  from_ms: String(AT_MS),
  to_ms: String(AT_MS + 50),
}
const LOSS = {
  market: 'spot',
  symbol: 'BTC-USDT',
  stream: 'trades:BTC-USDT',
  channel: 'trades',
  cause: 'gap',
  firstId: 101,
  lastId: 103,
  count: 3,
  firstMs: AT_MS + 10,
  lastMs: AT_MS + 20,
}

function unmatched(notes: readonly VenueNote[], rows: readonly JudgedRow[]): [losses: number, rows: number] {
  const { lossesWithoutRow, rowsWithoutCause } = judge(lossesOf('okx', notes), disturbancesOf('okx', notes), rows)
  return [lossesWithoutRow.length, rowsWithoutCause.length]
}

test('judge of faults should match a loss with the row that holds it, and miss either when it is hidden', () => {
  assert.deepEqual(unmatched([{ loss: LOSS }], [ROW]), [0, 0])
  assert.deepEqual(unmatched([{ loss: LOSS }], []), [1, 0])
  assert.deepEqual(unmatched([], [ROW]), [0, 1])
})

test('judge of faults should not take a row of another instrument, channel, place or time for that of a loss', () => {
  const others: Partial<JudgedRow>[] = [
    { symbol: 'ETH-USDT' },
    { channel: 'book' },
    { market: 'swap' },
    { exchange: 'bybit' },
    { from_seq: '200', to_seq: '300', from_ms: String(AT_MS + 9_000), to_ms: String(AT_MS + 9_100) },
    { from_seq: '0', to_seq: '0', from_ms: String(AT_MS - 9_000), to_ms: String(AT_MS - 8_000) },
  ]
  for (const other of others)
    assert.deepEqual(unmatched([{ loss: LOSS }], [{ ...ROW, ...other }]), [1, 1], JSON.stringify(other))
  const partial = { ...LOSS, lastId: 109, lastMs: AT_MS + 900 }
  assert.deepEqual(unmatched([{ loss: partial }], [ROW]), [1, 0], 'a row that holds only some of it')
  const next = { ...ROW, from_seq: '104', to_seq: '110', from_ms: ROW.to_ms, to_ms: String(AT_MS + 60) }
  assert.deepEqual(unmatched([{ loss: partial }], [next, ROW]), [0, 0], 'two rows without a number between them')
  assert.deepEqual(unmatched([{ loss: partial }], [{ ...next, from_seq: '105' }, ROW]), [1, 0], 'a number between them')
})

test('judge of faults should let a closed socket explain rows of the streams that nobody else carries', () => {
  const cut = (isUnheard: boolean) => [['trades:BTC-USDT', 100, 'BTC-USDT', 'trades', isUnheard]]
  const closed = { closed: 3, by: 'fault', market: 'spot', timeMs: AT_MS + 5 }
  assert.deepEqual(unmatched([{ ...closed, streams: cut(true) }], [ROW]), [0, 0])
  assert.deepEqual(unmatched([{ ...closed, streams: cut(false) }], [ROW]), [0, 1])
  assert.deepEqual(unmatched([{ ...closed, timeMs: AT_MS - 60_000, streams: cut(true) }], [ROW]), [0, 1])
})

test('script of faults should hold every fault of the simulator at every venue that can have it', () => {
  for (const venue of EXCHANGE_NAMES) {
    for (const seed of [1, 2]) {
      const { faults, seconds } = faultPlay(venue, seed, [])
      const kinds = new Set(faults.map(({ kind }) => kind))
      assert.deepEqual(
        ALL_KINDS.filter((kind) => isPossible(kind, venue) !== kinds.has(kind)),
        [],
        venue,
      )
      assert.ok(seconds <= 200, `${seconds} s`)
      const markets = Object.keys(protocolOf(venue).markets)
      assert.equal(parseFaults(JSON.stringify(faults), markets).length, faults.length)
    }
  }
})

interface FaultsResult {
  injected: number
  gapRows: number
  unmatched: number
  booksEqual: boolean
  missing: number
  doubled: number
  wrong: number
  notStruck: number
  booksCompared: number
  controls: { withoutRows: number; withoutNotes: number }
}

test('faults should end with every loss a row, every row caused and every book equal, and see it when either is hidden', async (t) => {
  const words = ['--venues', 'okx,bybit', '--only', 'gap,truncated,reset,close', '--rate', '1500', '--instruments', '4']
  const ended = await runCli(['faults', '--json', '--data', temporaryDirectory(t), ...words])
  assert.equal(ended.code, 0, ended.stderr)
  const result = lastJson<FaultsResult>(ended)
  const { unmatched: none, booksEqual, missing, doubled, wrong, notStruck } = result
  assert.deepEqual([none, booksEqual, missing, doubled, wrong, notStruck], [0, true, 0, 0, 0, 0], ended.stderr)
  assert.ok(result.injected > 5 && result.gapRows > 5 && result.booksCompared === 4, JSON.stringify(result))
  assert.equal(result.controls.withoutRows, result.injected)
  assert.equal(result.controls.withoutNotes, result.gapRows)
})
