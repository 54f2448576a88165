import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { CLOSE, DATA, INSTRUMENT, JOIN, OPEN } from '../engine/ring/frame.ts'
import { summarise } from '../workers/shard-summary.ts'
import { instrumentOf, shardRig } from './support/shard-rig.ts'

/** Bybit through the shard: a book that starts anew, an instrument that ends. */
const TS = 1_790_000_000_000
const ID = 'bybit.linear.BTCUSDT'
const BTC = { ...instrumentOf(ID, 1, 3), status: 'Trading', isTrading: true }
type Rig = ReturnType<typeof opened>

function opened() {
  const rig = shardRig({ exchange: 'bybit', market: 'linear', live: false, instruments: [BTC] })
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ['book', 'trades', 'book_tickers'] }] })
  return rig
}

function book(rig: Rig, type: 'snapshot' | 'delta', u: number, ts: number, bids: [string, string][]): void {
  const data = { s: 'BTCUSDT', b: bids, a: type === 'snapshot' ? [['101', '1']] : [], u, seq: u + 7_000 }
  rig.frame(DATA, { topic: 'orderbook.200.BTCUSDT', type, ts, data, cts: ts })
}

function rows(rig: Rig, table: string): Record<string, unknown>[] {
  rig.finish()
  return rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))]).filter((row) => row['table'] === table)
}

test('bybit book should start anew with u = 1 in the millisecond of its last change, and take the copy of that for a copy', () => {
  const rig = opened()
  book(rig, 'snapshot', 500, TS, [['99', '1']])
  book(rig, 'delta', 501, TS + 5, [['99', '2']])
  book(rig, 'snapshot', 1, TS + 5, [['98', '3']])
  book(rig, 'snapshot', 1, TS + 5, [['98', '3']])
  book(rig, 'delta', 2, TS + 5, [['97', '1']])
  book(rig, 'snapshot', 1, TS + 5, [['98', '3']])
  const got = summarise(rig.shard).instruments[ID]
  assert.deepEqual([got?.state, got?.lastSeq, got?.bids.length, rig.count('duplicates')], ['LIVE', '2', 2, 2])
  assert.deepEqual(
    rows(rig, 'gaps').map((row) => [row['cause'], row['from_seq'], row['to_seq']]),
    [['reset', '501', '1']],
  )
})

test('an instrument that trades no longer should have no gap that stays open', () => {
  const rig = opened()
  book(rig, 'snapshot', 500, TS, [['99', '1']])
  rig.frame(INSTRUMENT, { ...BTC, status: 'Closed', isTrading: false }, { extra: 0 })
  rig.frame(CLOSE, 'gone')
  rig.frame(
    OPEN,
    { connection: 0, instruments: [{ instrument: 0, channels: ['book', 'trades', 'book_tickers'] }] },
    { generation: 2 },
  )
  rig.frame(JOIN, { connection: 0, instruments: [], isSubscribed: true }, { generation: 2 })
  book(rig, 'snapshot', 500, TS, [['99', '1']])
  const last = new Map(rows(rig, 'gaps').map((row) => [row['channel'], row['status']]))
  assert.deepEqual([...last].sort(), [
    ['book', 'closed'],
    ['book_tickers', 'closed'],
    ['trades', 'closed'],
  ])
})

test('a gap of a channel that speaks only of events should last until its stream is acknowledged', () => {
  const rig = opened()
  const notice = { connection: 0, instruments: [{ instrument: 0, channels: ['book', 'klines', 'liquidations'] }] }
  rig.frame(OPEN, notice, { generation: 2 })
  rig.frame(CLOSE, 'gone', { generation: 2 })
  const ns = 1_790_000_001_000_000_000n
  rig.frame(OPEN, notice, { generation: 3, ns })
  rig.frame(JOIN, { connection: 0, instruments: [], isSubscribed: true }, { generation: 3, ns: ns + 5n })
  const closed = rows(rig, 'gaps').filter(({ status }) => status === 'closed')
  assert.deepEqual(
    closed.map(({ channel, to_ns }) => [channel, to_ns]),
    [
      ['klines', String(ns + 5n)],
      ['liquidations', String(ns + 5n)],
    ],
  )
})
