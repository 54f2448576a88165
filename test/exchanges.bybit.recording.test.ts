import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'
import { summarise } from '../workers/shard-summary.ts'

/** Books that start in the stream, through the shard; the truth of the recording is by a separate slow script. */
const RECORDINGS = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const ID = 'bybit.linear.BTCUSDT'

const rigOf = () => shardRig({ exchange: 'bybit', market: 'linear', learnUnknown: true, live: false })
type Rig = ReturnType<typeof rigOf>

function rows(rig: Rig, table: string): Record<string, unknown>[] {
  rig.finish()
  return rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))]).filter((row) => row['table'] === table)
}

function book(type: string, u: number, bids: string[][], asks: string[][], depth = 200, engineMs = 0): string {
  const data = { s: 'BTCUSDT', b: bids, a: asks, u, seq: 10 * u }
  return JSON.stringify({
    topic: `orderbook.${depth}.BTCUSDT`,
    type,
    ts: 1_700_000_000_000 + u,
    data,
    cts: 1_700_000_000_000 + engineMs,
  })
}

test('shard should turn bybit_v5_XRPUSDT_ob500 into the book of the truth', (t) => {
  const file = join(RECORDINGS, 'recordings/bybit-v5/2024-12-01_XRPUSDT_ob500.data.gz')
  if (!existsSync(file)) return t.skip(`no recording at ${file}: set MARKETPRISM_RECORDINGS`)
  const truth = JSON.parse(readFileSync(join(RECORDINGS, 'truth/bybit_v5_XRPUSDT_ob500.json'), 'utf8'))
  const expected = truth.symbols.XRPUSDT
  const rig = rigOf()
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trim().split('\n')
  for (const line of lines) rig.frame(DATA, line)
  rig.finish()
  const got = summarise(rig.shard).instruments['bybit.linear.XRPUSDT']
  assert.ok(got)
  assert.equal(lines.length, truth.recording.lines)
  assert.equal(rig.count('rejected'), 0)
  assert.equal(got.state, 'LIVE')
  assert.equal(got.lastSeq, String(expected.last_applied.u))
  assert.equal(got.applied, expected.applied)
  assert.equal(got.gaps, 0)
  assert.deepEqual(got.bids, expected.final.bids)
  assert.deepEqual(got.asks, expected.final.asks)
  const last = rows(rig, 'book_deltas').at(-1)
  assert.equal(last?.['event_ns'], `${expected.last_applied.ts}000000`)
})

test('shard should leave LIVE when a u is missing, and be LIVE again with the next snapshot', () => {
  const rig = rigOf()
  rig.frame(DATA, book('snapshot', 100, [['10', '1']], [['11', '1']]))
  rig.frame(DATA, book('delta', 101, [['10', '2']], []))
  rig.frame(DATA, book('delta', 103, [['10', '3']], []))
  assert.equal(summarise(rig.shard).instruments[ID]?.state, 'RESYNC')
  rig.frame(DATA, book('snapshot', 104, [['10', '7']], [['12', '1']]))
  rig.frame(DATA, book('delta', 105, [['10', '8']], []))
  const got = summarise(rig.shard).instruments[ID]
  assert.deepEqual([got?.state, got?.lastSeq, got?.bids, got?.asks], ['LIVE', '105', [['10', '8']], [['12', '1']]])
  assert.deepEqual(
    rows(rig, 'gaps').map((row) => [row['channel'], row['cause'], row['status']]),
    [
      ['book', 'sequence', 'open'],
      ['book', 'sequence', 'closed'],
    ],
  )
})

test('shard should take u = 1 for a restart of the service, whatever the type says', () => {
  for (const type of ['snapshot', 'delta']) {
    const rig = rigOf()
    rig.frame(DATA, book('snapshot', 100, [['10', '1']], [['11', '1']]))
    rig.frame(DATA, book('delta', 101, [['10', '2']], []))
    const restart = book(type, 1, [['20', '1']], [['21', '1']]).replace(/"ts":\d+/, '"ts":1700000009000')
    rig.frame(DATA, restart)
    rig.frame(DATA, book('delta', 2, [['20', '5']], []))
    const got = summarise(rig.shard).instruments[ID]
    assert.deepEqual([got?.state, got?.lastSeq, got?.bids, got?.asks], ['LIVE', '2', [['20', '5']], [['21', '1']]])
    assert.deepEqual(
      rows(rig, 'gaps').map((row) => row['cause']),
      ['reset'],
    )
  }
})

test('shard should drop what a lagging connection repeats', () => {
  const rig = rigOf()
  rig.frame(DATA, book('snapshot', 100, [['10', '1']], [['11', '1']]))
  rig.frame(DATA, book('delta', 101, [['10', '2']], []))
  rig.frame(DATA, book('delta', 102, [['10', '3']], []))
  rig.frame(DATA, book('delta', 101, [['10', '2']], []))
  rig.frame(DATA, book('snapshot', 102, [['10', '3']], [['11', '1']]))
  const got = summarise(rig.shard).instruments[ID]
  assert.deepEqual([got?.state, got?.lastSeq, got?.bids, got?.gaps], ['LIVE', '102', [['10', '3']], 0])
})

test('shard should write a repeated top of book once, and go on after a restart of the numbering', () => {
  const rig = rigOf()
  const top = (u: number, price: string, engineMs: number) =>
    rig.frame(DATA, book('snapshot', u, [[price, '1']], [['50', '1']], 1, engineMs))
  for (let u = 9000; u < 9020; u++) top(u, '10', u)
  top(9019, '10', 12_000) // three seconds of silence
  top(1, '20', 20_000)
  top(1, '20', 20_000)
  top(9019, '10', 9019) // a connection that lags
  top(1, '20', 20_000)
  top(2, '21', 20_100)
  const got = rows(rig, 'book_tickers').map((row) => [row['update_id'], row['bid_price']])
  assert.deepEqual(got.slice(-3), [
    ['9019', '10'],
    ['1', '20'],
    ['2', '21'],
  ])
  assert.equal(got.length, 22)
  assert.equal(rig.count('duplicates'), 4)
})

test('shard should keep trades without numbers apart by their ids, one row each', () => {
  const rig = rigOf()
  const trade = (id: string) =>
    `{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1700000000005,"data":[{"T":1700000000001,"s":"BTCUSDT","S":"Sell","v":"0.5","p":"20.5","L":"PlusTick","i":"${id}","BT":false,"seq":9}]}`
  for (const id of ['aaaaaaaa-1', 'aaaaaaaa-2', 'aaaaaaaa-1']) rig.frame(DATA, trade(id))
  assert.deepEqual(
    rows(rig, 'trades').map((row) => [row['venue_trade_id'], row['trade_id'], row['seq'], row['price'], row['side']]),
    [
      ['aaaaaaaa-1', '0', '0', '20.5', 'sell'],
      ['aaaaaaaa-2', '0', '0', '20.5', 'sell'],
    ],
  )
})

test('shard should open a gap for a refused book frame and a refused trade, by the topic alone', () => {
  const rig = rigOf()
  rig.frame(DATA, book('snapshot', 100, [['10', '1']], [['11', '1']]))
  rig.frame(DATA, book('delta', 101, [['10', 'x']], []))
  assert.equal(rig.count('rejected'), 1)
  assert.equal(summarise(rig.shard).instruments[ID]?.state, 'RESYNC')
  const trade =
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"T":1,"s":"BTCUSDT","S":"Buy","v":"1","p":"2","i":"ID","BT":false}]}'
  rig.frame(DATA, trade)
  rig.frame(DATA, trade.replace('"p":"2"', '"p":"x"'))
  assert.deepEqual(
    rows(rig, 'gaps').map((row) => [row['channel'], row['cause'], row['status']]),
    [
      ['book', 'rejected', 'open'],
      ['trades', 'rejected', 'open'],
    ],
  )
})
