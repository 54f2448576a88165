import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { CLOSE, DATA, OPEN } from '../engine/ring/frame.ts'
import { RECENT_ROWS, RecentRows } from '../workers/recent-rows.ts'
import { instrumentOf, type ShardRig, shardRig } from './support/shard-rig.ts'

const markPrice = (ms: number, price: string) =>
  `{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":${ms},"s":"BTCUSDT","p":"${price}","P":"1","i":"2","r":"0.0001","T":1723190400000}}`
const notice = (connection: number) => ({
  connection,
  leg: connection,
  instruments: [{ instrument: 0, channels: ['mark_prices'] }],
})

function opened(connections: number): ShardRig {
  const rig = shardRig({ instruments: [instrumentOf('binance.usdm.BTCUSDT')], live: false })
  for (let connection = 0; connection < connections; connection++)
    rig.frame(OPEN, notice(connection), { source: connection })
  return rig
}

function markPrices(rig: ShardRig): unknown[] {
  rig.finish()
  const rows = rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))])
  return rows.filter((row) => row['table'] === 'mark_prices').map((row) => row['mark_price'])
}

test('copies should be one row, whichever connection brings them first and however late', () => {
  const rig = opened(2)
  rig.frame(DATA, markPrice(1, '10.5'), { source: 0 })
  rig.frame(DATA, markPrice(2, '10.6'), { source: 0 })
  rig.frame(DATA, markPrice(1, '10.5'), { source: 1 })
  rig.frame(DATA, markPrice(2, '10.6'), { source: 1 })
  rig.frame(DATA, markPrice(3, '10.7'), { source: 1 })
  rig.frame(DATA, markPrice(3, '10.7'), { source: 0 })
  assert.deepEqual(markPrices(rig), ['10.5', '10.6', '10.7'])
  assert.equal(rig.count('duplicates'), 3 * 3) // a mark price, an index price, a funding rate each
})

test('copies should be known when the second connection opens after the row, as a rotation does', () => {
  const rig = opened(1)
  rig.frame(DATA, markPrice(1, '10.5'), { source: 0 })
  rig.frame(OPEN, notice(1), { source: 1 })
  rig.frame(DATA, markPrice(1, '10.5'), { source: 1 })
  rig.frame(CLOSE, 'rotated', { source: 0 })
  rig.frame(DATA, markPrice(2, '10.6'), { source: 1 })
  assert.deepEqual(markPrices(rig), ['10.5', '10.6'])
})

test('copies should not be looked for on a single connection: what it says twice are two rows', () => {
  const rig = opened(1)
  rig.frame(DATA, markPrice(1, '10.5'), { source: 0 })
  rig.frame(DATA, markPrice(1, '10.5'), { source: 0 })
  assert.deepEqual(markPrices(rig), ['10.5', '10.5'])
})

test('recent rows should tell rows by names and values, and forget the oldest', () => {
  const rows = new RecentRows()
  const distinct = [
    { a: '1', b: null },
    { a: null, b: '1' },
    { a: '1' },
    { b: '1' },
    { a: 1n, b: '2' },
    { a: '11' },
    {},
  ]
  for (const row of distinct) assert.equal(rows.see(row), false, JSON.stringify(Object.entries(row).map(String)))
  for (const row of distinct) assert.equal(rows.see({ ...row }), true)
  for (let n = 0; n < RECENT_ROWS; n++) assert.equal(rows.see({ n }), false)
  assert.equal(rows.see({ a: '1', b: null }), false)
})
