import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA, WANT_RESUBSCRIBE } from '../engine/ring/frame.ts'
import { summarise } from '../workers/shard-summary.ts'
import { shardRig } from './support/shard-rig.ts'

/** Books of OKX through the shard: what the venue's exceptions do to them. */
const ID = 'okx.spot.BTC-USDT'
const rigOf = () => shardRig({ exchange: 'okx', market: 'spot', learnUnknown: true, live: false })
type Rig = ReturnType<typeof rigOf>

function book(rig: Rig, prevSeqId: number, seqId: number, bids: string[][], asks: string[][] = [], checksum = 0): void {
  const rows = (levels: string[][]) => levels.map((level) => [...level, '0', '1'])
  rig.frame(DATA, {
    arg: { channel: 'books', instId: 'BTC-USDT' },
    action: prevSeqId === -1 ? 'snapshot' : 'update',
    data: [{ asks: rows(asks), bids: rows(bids), ts: String(1_790_000_000_000 + seqId), checksum, seqId, prevSeqId }],
  })
}
const now = (rig: Rig) => summarise(rig.shard).instruments[ID]
function rows(rig: Rig, table: string): Record<string, unknown>[] {
  rig.finish()
  return rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))]).filter((row) => row['table'] === table)
}

test('okx book should stay LIVE through keep-alive and reset, as the official example has them', () => {
  const rig = rigOf()
  book(rig, -1, 10, [['100', '1']], [['101', '1']])
  book(rig, 10, 15, [['100', '2']])
  book(rig, 15, 15, [])
  book(rig, 15, 3, [['99', '4']])
  book(rig, 3, 5, [['100', '0']])
  const got = now(rig)
  assert.deepEqual([got?.state, got?.lastSeq, got?.bids, got?.asks], ['LIVE', '5', [['99', '4']], [['101', '1']]])
  assert.deepEqual([got?.applied, got?.gaps, rig.count('keep_alives'), rig.count('rejected')], [4, 0, 1, 0])
  assert.deepEqual(
    rows(rig, 'book_deltas').map((row) => [row['prev_seq'], row['last_seq'], row['state']]),
    [
      ['10', '15', 'LIVE'],
      ['15', '3', 'LIVE'],
      ['3', '5', 'LIVE'],
    ],
  )
})

test('okx book should leave LIVE at a jump, ask for its stream anew and start from the next snapshot', () => {
  const rig = rigOf()
  book(rig, -1, 10, [['100', '1']], [['101', '1']])
  book(rig, 12, 15, [['100', '2']])
  assert.equal(now(rig)?.state, 'RESYNC')
  assert.ok(rig.requests.some(({ kind }) => kind === WANT_RESUBSCRIBE))
  book(rig, -1, 20, [['98', '1']], [['102', '3']])
  book(rig, 20, 22, [['98', '2']])
  const got = now(rig)
  assert.deepEqual([got?.state, got?.lastSeq, got?.bids, got?.asks], ['LIVE', '22', [['98', '2']], [['102', '3']]])
  assert.deepEqual(
    rows(rig, 'gaps').map((row) => [row['channel'], row['cause'], row['status']]),
    [
      ['book', 'sequence', 'open'],
      ['book', 'sequence', 'closed'],
    ],
  )
})

test('okx book should leave LIVE when it does not sum to what the venue says', () => {
  const rig = rigOf()
  // python3: zlib.crc32(b'100:1:101:1') and zlib.crc32(b'100:2:101:1'), signed
  book(rig, -1, 10, [['100', '1']], [['101', '1']], 1189976625)
  book(rig, 10, 11, [['100', '2']], [], 1996849324)
  assert.deepEqual([now(rig)?.state, rig.count('checksums_good'), rig.count('checksums_bad')], ['LIVE', 2, 0])
  book(rig, 11, 12, [['100', '3']], [], 1996849324)
  assert.deepEqual([now(rig)?.state, rig.count('checksums_bad')], ['RESYNC', 1])
  assert.deepEqual(
    rows(rig, 'gaps').map((row) => row['cause']),
    ['checksum'],
  )
})

test('okx index tickers among the frames of a pair of the same name should be of the index', () => {
  for (const market of ['', 'spot']) {
    const rig = shardRig({ exchange: 'okx', market, learnUnknown: true, live: false })
    book(rig, -1, 10, [['100', '1']], [['101', '1']])
    indexTicker(rig, '100.25')
    rig.frame(DATA, { arg: { channel: 'index-tickers', instId: 'BTC-USDT' }, data: [{ instId: 'BTC-USDT', ts: 'x' }] })
    const told = rows(rig, 'index_prices').map((row) => [row['instrument'], row['index_price']])
    assert.deepEqual(told, [['okx.index.BTC-USDT', '100.25']], `market '${market}'`)
    const lost = rows(rig, 'gaps').filter((row) => row['channel'] === 'index_prices')
    assert.ok(lost.length > 0, 'the refused frame is a gap')
    assert.ok(
      lost.every((row) => row['instrument'] === 'okx.index.BTC-USDT'),
      'a gap of the index',
    )
  }
})

function indexTicker(rig: Rig, idxPx: string): void {
  const [channel, instId] = ['index-tickers', 'BTC-USDT']
  rig.frame(DATA, { arg: { channel, instId }, data: [{ instId, idxPx, ts: '1790000000500' }] })
}
