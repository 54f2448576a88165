import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unpack } from 'msgpackr'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { SHARD_DEFAULTS } from '../workers/shard-settings.ts'
import { summarise } from '../workers/shard-summary.ts'
import {
  CLOSE,
  DATA,
  DOWN,
  INSTRUMENT,
  LOSS,
  OPEN,
  SNAPSHOT,
  SNAPSHOT_FAILED,
  TICK,
  WANT_SNAPSHOT,
} from '../engine/ring/frame.ts'
import { NO_SOURCE } from '../engine/route/router.ts'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import type { PlainRow } from '../engine/record/decode.ts'
import { instrumentOf, shardRig } from './support/shard-rig.ts'
import type { ShardRig } from './support/shard-rig.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'
const ALL = ['book', 'trades', 'book_tickers']

function opened(options: Parameters<typeof shardRig>[0] = {}): ShardRig {
  const rig = shardRig({ instruments: [instrumentOf(BTC), instrumentOf(ETH)], live: false, ...options })
  rig.frame(OPEN, {
    connection: 0,
    instruments: [
      { instrument: 0, channels: ALL },
      { instrument: 1, channels: ALL },
    ],
  })
  return rig
}

const depth = (
  first: number,
  last: number,
  prev: number,
  bids: string[][] = [['100.00', '1.000']],
  asks: string[][] = [['101.00', '2.000']],
  symbol = 'BTCUSDT',
) =>
  JSON.stringify({
    stream: `${symbol.toLowerCase()}@depth@0ms`,
    data: { e: 'depthUpdate', E: 1000, T: 999, s: symbol, U: first, u: last, pu: prev, b: bids, a: asks },
  })
const trade = (id: number, symbol = 'BTCUSDT', origin = 'MARKET') =>
  JSON.stringify({
    stream: `${symbol.toLowerCase()}@trade`,
    data: { e: 'trade', E: 1, T: 1, s: symbol, t: id, p: '100.00', q: '0.500', X: origin, m: true },
  })
const ticker = (id: number) =>
  JSON.stringify({
    stream: 'btcusdt@bookTicker',
    data: { e: 'bookTicker', u: id, s: 'BTCUSDT', b: '1', B: '1', a: '2', A: '1', T: 1, E: 1 },
  })
const body = (seq: number, bids: string[][] = [['99.00', '5.000']], asks: string[][] = [['102.00', '6.000']]) =>
  JSON.stringify({ lastUpdateId: seq, E: 1, T: 1, bids, asks })
const snapshot = (rig: ShardRig, seq: number, generation = 1) =>
  rig.frame(SNAPSHOT, body(seq), { generation, extra: 0 })

function rows(rig: ShardRig, table?: string): PlainRow[] {
  rig.finish()
  const all = rig.blocks.splice(0).flatMap((block) => [...rowsOf(decodeBlock(block))])
  return table === undefined ? all : all.filter((row) => row['table'] === table)
}

const pick = (list: PlainRow[], ...keys: string[]) => list.map((row) => keys.map((key) => row[key]))
const state = (rig: ShardRig, id = BTC) => summarise(rig.shard).instruments[id]?.state

test('book should ask for a snapshot when it is opened, wait, and be LIVE with it', () => {
  const rig = opened()
  assert.equal(state(rig), 'BUFFERING')
  assert.deepEqual(
    rig.requests.map(({ kind, generation, instrument }) => [kind, generation, instrument]),
    [
      [WANT_SNAPSHOT, 1, 0],
      [WANT_SNAPSHOT, 1, 1],
    ],
  )
  rig.frame(DATA, depth(90, 95, 89))
  rig.frame(DATA, depth(96, 99, 95))
  rig.frame(
    DATA,
    depth(100, 110, 99, [
      ['99.00', '0.000'],
      ['98.50', '3.000'],
    ]),
  )
  assert.equal(state(rig), 'BUFFERING')
  snapshot(rig, 105)
  assert.equal(state(rig), 'LIVE')
  rig.frame(DATA, depth(111, 112, 110, [['98.00', '1.000']], []))
  const got = summarise(rig.shard).instruments[BTC]
  assert.deepEqual(got?.bids, [
    ['98.5', '3'],
    ['98', '1'],
  ])
  assert.deepEqual([got?.applied, got?.stale, got?.gaps, got?.lastSeq], [2, 2, 0, '112'])
  assert.deepEqual(pick(rows(rig, 'book_deltas'), 'first_seq', 'last_seq', 'state', 'book_epoch'), [
    ['90', '95', 'BUFFERING', 1],
    ['96', '99', 'BUFFERING', 1],
    ['100', '110', 'LIVE', 1],
    ['111', '112', 'LIVE', 1],
  ])
})

test('book should keep the receive time of events that waited', () => {
  const rig = opened()
  rig.frame(DATA, depth(100, 110, 99), { ns: 1_723_161_256_000_000_777n })
  rig.frame(SNAPSHOT, body(105), { extra: 0, ns: 1_723_161_257_000_000_000n })
  assert.equal(rows(rig, 'book_deltas')[0]?.['received_ns'], '1723161256000000777')
})

test('book should write every anchor in full', () => {
  const rig = opened()
  snapshot(rig, 105)
  const anchors = rows(rig, 'book_snapshots').filter((row) => row['kind'] === 'anchor')
  assert.deepEqual(pick(anchors, 'last_seq', 'bid_prices', 'ask_quantities', 'bid_levels'), [['105', ['99'], ['6'], 1]])
})

test('book should leave LIVE at a broken chain, say so in a gap row, and come back with a snapshot', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, depth(99, 110, 98))
  rig.frame(DATA, depth(130, 140, 120)) // 111..120 is missing
  assert.equal(state(rig), 'RESYNC')
  assert.equal(state(rig, ETH), 'BUFFERING')
  assert.equal(rig.requests.filter((request) => request.instrument === 0).length, 2)
  rig.frame(DATA, depth(141, 150, 140))
  snapshot(rig, 135)
  assert.equal(state(rig), 'LIVE')
  const all = rows(rig)
  const gaps = all.filter((row) => row['table'] === 'gaps')
  assert.deepEqual(pick(gaps, 'channel', 'cause', 'status', 'from_seq', 'to_seq'), [
    ['book', 'sequence', 'open', '110', '0'],
    ['book', 'sequence', 'closed', '110', '135'],
  ])
  assert.equal(gaps[0]?.['from_ns'], gaps[1]?.['from_ns'])
  assert.notEqual(gaps[1]?.['to_ns'], '0')
  const deltas = all.filter((row) => row['table'] === 'book_deltas')
  assert.deepEqual(pick(deltas, 'last_seq', 'state', 'book_epoch'), [
    ['110', 'LIVE', 1],
    ['140', 'LIVE', 2],
    ['150', 'LIVE', 2],
  ])
})

test('book should drop and count a repeated event', () => {
  const rig = opened()
  snapshot(rig, 100)
  for (const event of [depth(99, 110, 98), depth(99, 110, 98), depth(111, 120, 110), depth(111, 120, 110)])
    rig.frame(DATA, event)
  assert.equal(state(rig), 'LIVE')
  assert.equal(rig.count('duplicates'), 2)
  assert.equal(rows(rig, 'book_deltas').length, 2)
})

test('book should store a late event once, as no part of the chain', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, depth(99, 110, 98))
  rig.frame(DATA, depth(121, 130, 120))
  rig.frame(DATA, depth(111, 120, 110)) // the two came in the wrong order
  rig.frame(DATA, depth(111, 120, 110))
  snapshot(rig, 125)
  assert.equal(state(rig), 'LIVE')
  assert.equal(rig.count('duplicates'), 1)
  assert.deepEqual(pick(rows(rig, 'book_deltas'), 'last_seq', 'state').sort(), [
    ['110', 'LIVE'],
    ['120', 'RESYNC'],
    ['130', 'LIVE'],
  ])
})

test('book should ask again when the snapshot is older than the first event that waits', () => {
  const rig = opened()
  rig.frame(DATA, depth(200, 210, 199))
  snapshot(rig, 150)
  assert.equal(state(rig), 'BUFFERING')
  assert.equal(rig.count('snapshots_old'), 1)
  assert.equal(rig.requests.filter((request) => request.instrument === 0).length, 2)
  snapshot(rig, 205)
  assert.equal(state(rig), 'LIVE')
})

test('book should tell the hole between an anchor that came first and a stream that begins later', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, depth(121, 130, 120))
  assert.equal(state(rig), 'RESYNC')
  snapshot(rig, 125)
  assert.equal(state(rig), 'LIVE')
  assert.deepEqual(pick(rows(rig, 'gaps'), 'channel', 'status', 'from_seq', 'to_seq'), [
    ['book', 'open', '100', '0'],
    ['book', 'closed', '100', '125'],
  ])
})

test('book should ask for nothing while no connection carries it', () => {
  const rig = opened()
  rig.frame(DATA, depth(200, 210, 199))
  for (let attempt = 0; attempt < 3; attempt++) rig.frame(SNAPSHOT_FAILED, 'HTTP 500', { extra: 0 })
  rig.frame(CLOSE, 'gone')
  const asked = rig.requests.length
  for (let seconds = 1; seconds < 60; seconds++)
    rig.frame(TICK, '', { ns: 1_723_161_260_000_000_000n + BigInt(seconds) * 1_000_000_000n, source: 65_535 })
  assert.equal(rig.requests.length, asked)
})

test('book should wait longer and longer between questions', () => {
  const rig = opened()
  rig.frame(DATA, depth(200, 210, 199))
  const asked = () => rig.requests.filter((request) => request.instrument === 0).length
  let ns = 1_723_161_260_000_000_000n
  for (let round = 0; round < 200; round++) {
    rig.frame(SNAPSHOT, body(150), { extra: 0, ns }) // those that nobody asked for are refused
    ns += 50_000_000n
    rig.frame(TICK, '', { ns })
  }
  assert.ok(asked() >= 5 && asked() <= 12, `${asked()} questions in 10 s`)
})

test('book should ask again after a snapshot that failed or cannot be read', () => {
  const rig = opened()
  rig.frame(SNAPSHOT_FAILED, '429', { extra: 0 })
  rig.frame(SNAPSHOT, '{"lastUpdateId":5,"bids":', { extra: 1 })
  assert.equal(rig.count('rejected_truncated'), 1)
  assert.equal(rig.requests.length, 2)
  rig.frame(TICK, '', { ns: 1_723_161_256_000_000_000n })
  assert.deepEqual(
    rig.requests.slice(2).map((request) => request.instrument),
    [0, 1],
  )
})

test('book should refuse the answer to a question of an earlier generation', () => {
  const rig = opened()
  rig.frame(CLOSE, 'bye')
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ALL }] }, { generation: 2 })
  snapshot(rig, 100, 1)
  assert.equal(state(rig), 'RESYNC')
  assert.equal(rig.count('snapshots_unwanted'), 1)
  snapshot(rig, 101, 2)
  assert.equal(state(rig), 'LIVE')
})

test('book should ask only sockets that carry it, whatever opens, closes, fails to parse or falls silent', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const any = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item
  for (let round = 0; round < 60; round++) {
    const instruments = [instrumentOf('okx.spot.BTC-USDT'), instrumentOf('okx.spot.ETH-USDT')]
    const rig = shardRig({ exchange: 'okx', market: 'spot', instruments, live: false })
    const carried = [0, 1].map((instrument) => ({ instrument, channels: ALL }))
    const open = new Set<number>()
    let [ns, youngest, seq] = [1_723_161_256_000_000_000n, 0, 10]
    for (let step = 0; step < 200; step++) {
      ns += BigInt(Math.floor(random() * 5_000)) * 1_000_000n
      const act = random()
      const generation = open.size === 0 ? 0 : any([...open])
      if (act < 0.08 && open.size < 2) {
        open.add(++youngest)
        rig.frame(OPEN, { connection: 7, instruments: carried }, { ns, source: 7, generation: youngest })
      } else if (act < 0.16 && generation > 0) {
        open.delete(generation)
        rig.frame(CLOSE, '1006', { ns, source: 7, generation })
      } else if (act < 0.6 && generation > 0) {
        const prevSeqId = random() < 0.2 ? -1 : random() < 0.2 ? seq - 3 : seq
        const data = [
          { asks: [], bids: [[random() < 0.2 ? '9x' : '99', '1', '0', '1']], ts: '1', seqId: ++seq, prevSeqId },
        ]
        const arg = { channel: 'books', instId: any(['BTC-USDT', 'ETH-USDT']) }
        rig.frame(DATA, { arg, action: prevSeqId < 0 ? 'snapshot' : 'update', data }, { ns, source: 7, generation })
      } else rig.frame(TICK, '', { ns, source: NO_SOURCE, generation: 0 })
      for (const asked of rig.requests.splice(0))
        assert.ok(
          asked.source === 7 && open.has(asked.generation),
          `round ${round}, step ${step}: ${JSON.stringify(asked)}`,
        )
    }
  }
})

test('close should open a gap for each channel of each instrument, closed by what comes first', () => {
  const rig = opened()
  snapshot(rig, 100)
  for (const frame of [depth(99, 110, 98), trade(7), ticker(1)]) rig.frame(DATA, frame)
  rig.frame(CLOSE, '1006')
  assert.equal(state(rig), 'GAP')
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ALL }] }, { generation: 2 })
  assert.equal(state(rig), 'RESYNC')
  rig.frame(DATA, trade(12), { generation: 2 })
  rig.frame(DATA, ticker(9), { generation: 2 })
  snapshot(rig, 300, 2)
  const gaps = rows(rig, 'gaps')
  const of = (instrument: string) =>
    pick(
      gaps.filter((row) => row['instrument'] === instrument),
      'channel',
      'cause',
      'status',
      'from_seq',
      'to_seq',
    )
  assert.deepEqual(of(BTC), [
    ['book', 'disconnect', 'open', '110', '0'],
    ['trades', 'disconnect', 'open', '7', '0'],
    ['book_tickers', 'disconnect', 'open', '1', '0'],
    ['trades', 'disconnect', 'closed', '7', '12'],
    ['book_tickers', 'disconnect', 'closed', '1', '9'],
    ['book', 'disconnect', 'closed', '110', '300'],
  ])
  assert.deepEqual(
    of(ETH).map((row) => row.slice(0, 3)),
    [
      ['book', 'disconnect', 'open'],
      ['trades', 'disconnect', 'open'],
      ['book_tickers', 'disconnect', 'open'],
    ],
  )
})

test('close should keep the book LIVE while another connection carries it', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, depth(99, 110, 98))
  rig.frame(
    OPEN,
    {
      connection: 0,
      instruments: [
        { instrument: 0, channels: ALL },
        { instrument: 1, channels: ALL },
      ],
    },
    { generation: 2 },
  )
  rig.frame(DATA, depth(99, 110, 98), { generation: 2 })
  rig.frame(DATA, depth(111, 120, 110), { generation: 2 })
  rig.frame(DATA, depth(111, 120, 110), { generation: 1 })
  rig.frame(CLOSE, 'rotated', { generation: 1 })
  assert.equal(state(rig), 'LIVE')
  assert.equal(rig.count('duplicates'), 2)
  rig.frame(DATA, depth(121, 130, 120), { generation: 2 })
  assert.equal(rows(rig, 'gaps').length, 0)
})

test('close should open a gap although another connection carries another stream of the channel, but not beside a leg', () => {
  for (const [leg, gaps] of [
    [0, [['trades', 'disconnect', 'open']]],
    [1, []],
  ] as const) {
    const rig = shardRig({ instruments: [instrumentOf(BTC)], live: false })
    const carried = { instruments: [{ instrument: 0, channels: ['trades'] }] }
    rig.frame(OPEN, { connection: 0, ...carried })
    rig.frame(OPEN, { connection: 1, leg, ...carried }, { source: 1 })
    rig.frame(DATA, trade(7))
    rig.frame(CLOSE, '1006')
    assert.deepEqual(pick(rows(rig, 'gaps'), 'channel', 'cause', 'status'), gaps)
  }
})

test('loss should be a gap of each channel and a new snapshot for each book of the connection', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, trade(7))
  rig.frame(LOSS, '', { extra: 42 })
  assert.equal(state(rig), 'RESYNC')
  assert.equal(rig.count('frames_lost'), 42)
  rig.frame(DATA, trade(20))
  const gaps = rows(rig, 'gaps').filter((row) => row['instrument'] === BTC)
  assert.deepEqual(pick(gaps, 'channel', 'cause', 'status', 'lost_count'), [
    ['book', 'loss', 'open', '42'],
    ['trades', 'loss', 'open', '42'],
    ['book_tickers', 'loss', 'open', '42'],
    ['trades', 'loss', 'closed', '42'],
  ])
})

test('a depth frame that cannot be read should cost its own book a resync, and nothing else', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(SNAPSHOT, body(100), { extra: 1 })
  rig.frame(DATA, depth(99, 110, 98).slice(0, -20))
  assert.deepEqual([state(rig), state(rig, ETH)], ['RESYNC', 'LIVE'])
  assert.equal(rig.count('rejected_truncated'), 1)
  const [kept] = summarise(rig.shard).rejectedFrames
  assert.equal(kept?.reason, 'truncated')
  assert.ok(kept?.text.startsWith('{"stream":"btcusdt@depth'))
  rig.frame(DATA, trade(5).slice(0, -20))
  assert.equal(state(rig, ETH), 'LIVE')
  assert.equal(rows(rig, 'gaps')[0]?.['cause'], 'rejected')
})

test('trades should be stored once whatever their order, and a jump of ids should be a gap row', () => {
  const rig = opened()
  for (const id of [10, 11, 14, 14, 12, 12, 11, 13, 15]) rig.frame(DATA, trade(id))
  const all = rows(rig)
  assert.deepEqual(
    pick(
      all.filter((row) => row['table'] === 'trades'),
      'trade_id',
    ).flat(),
    ['10', '11', '14', '12', '13', '15'],
  )
  assert.deepEqual(
    pick(
      all.filter((row) => row['table'] === 'gaps'),
      'channel',
      'cause',
      'status',
      'from_seq',
      'to_seq',
      'lost_count',
    ),
    [
      ['trades', 'sequence', 'closed', '11', '14', '2'],
      ['trades', 'sequence', 'repaired', '11', '14', '2'], // 12 and 13 came late
    ],
  )
  assert.equal(rig.count('duplicates'), 3)
  const { trades } = summarise(rig.shard).instruments[BTC] as { trades: object }
  assert.deepEqual(trades, { count: 6, quantity: '3', notional: '300', firstId: '10', lastId: '15' })
})

test('a fill that is no public match should count for the ids and give no row', () => {
  const rig = opened()
  for (const frame of [trade(10), trade(11, 'BTCUSDT', 'ADL'), trade(12)]) rig.frame(DATA, frame)
  assert.deepEqual(pick(rows(rig), 'trade_id').flat(), ['10', '12'])
  assert.equal(rig.count('ignored_filtered'), 1)
})

test('book tickers should be stored once', () => {
  const rig = opened()
  for (const id of [5, 9, 9, 7, 7, 5, 12]) rig.frame(DATA, ticker(id))
  assert.deepEqual(pick(rows(rig), 'update_id').flat(), ['5', '9', '7', '12'])
})

test('a book that stays crossed should be taken for wrong', () => {
  const rig = opened()
  snapshot(rig, 100)
  rig.frame(DATA, depth(99, 110, 98, [['103.00', '1.000']], [])) // bid 103 >= ask 102
  assert.equal(state(rig), 'LIVE')
  for (let seq = 111; seq < 111 + SHARD_DEFAULTS.keeper.crossedEventsMax; seq++)
    rig.frame(DATA, depth(seq, seq, seq - 1, [['50.00', '1.000']], []))
  assert.equal(state(rig), 'RESYNC')
  assert.equal(rows(rig, 'gaps')[0]?.['cause'], 'crossed')
})

test('what waits when its connection closes or the process ends should become rows', () => {
  const rig = opened()
  rig.frame(DATA, depth(1, 2, 0))
  rig.frame(CLOSE, '1006')
  assert.equal(state(rig), 'GAP')
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ALL }] }, { generation: 2 })
  snapshot(rig, 1, 2) // must not find the event of the connection before
  assert.equal(summarise(rig.shard).instruments[BTC]?.applied, 0)
  rig.frame(LOSS, '', { generation: 2, extra: 1 })
  rig.frame(DATA, depth(9, 10, 8), { generation: 2 })
  assert.deepEqual(pick(rows(rig, 'book_deltas'), 'last_seq', 'state'), [
    ['2', 'BUFFERING'],
    ['10', 'RESYNC'],
  ])
})

test('a book whose market left the depth that its anchor proved should stay LIVE and be counted', () => {
  const rig = opened({
    live: true,
    publisher: { ...SHARD_DEFAULTS.publisher, minDepthLevels: 2 },
    keeper: { ...SHARD_DEFAULTS.keeper, snapshotLevels: 2 },
  })
  const ns = 1_723_161_300_000_000_000n
  const levels = (...prices: number[]) => prices.map((price) => [String(price), '1'])
  rig.frame(TICK, '', { ns })
  rig.frame(SNAPSHOT, body(100, levels(99, 98), levels(101, 102)), { extra: 0, ns })
  rig.frame(DATA, depth(99, 110, 98, [['99', '0'], ...levels(97, 96)], []), { ns })
  rig.frame(TICK, '', { ns: ns + 1_000_000_000n })
  assert.equal(state(rig), 'LIVE')
  assert.deepEqual([rig.count('publish_published'), rig.count('publish_beyond_trust')], [1, 1])
})

test('events that wait should be bounded, and each should still become a row', () => {
  const rig = opened({ keeper: { ...SHARD_DEFAULTS.keeper, bufferedFramesMax: 4 } })
  for (let seq = 1; seq <= 10; seq++) rig.frame(DATA, depth(seq, seq, seq - 1))
  assert.equal(rig.count('buffer_overflows'), 2)
  snapshot(rig, 9)
  assert.equal(state(rig), 'LIVE')
  const deltas = rows(rig, 'book_deltas')
  assert.deepEqual(
    pick(deltas, 'last_seq')
      .flat()
      .map(Number)
      .sort((left, right) => left - right),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  )
  assert.equal(deltas.filter((row) => row['state'] === 'LIVE').length, 2)
})

test('an empty new listing should be anchored without an id and start with its first event', () => {
  const rig = opened()
  snapshot(rig, -1)
  rig.frame(DATA, depth(500, 510, 499))
  assert.deepEqual([state(rig), summarise(rig.shard).instruments[BTC]?.lastSeq], ['LIVE', '510'])
})

test('a wider scale should carry the book, what waits and the totals along', () => {
  const rig = opened()
  rig.frame(DATA, trade(1))
  rig.frame(DATA, depth(90, 105, 89))
  snapshot(rig, 100)
  rig.frame(DATA, depth(106, 107, 105, [['99.12345', '0.00000001']], []))
  const got = summarise(rig.shard).instruments[BTC]
  assert.deepEqual(got?.bids, [
    ['100', '1'],
    ['99.12345', '0.00000001'],
    ['99', '5'],
  ])
  assert.deepEqual(got?.trades.notional, '50')
  assert.deepEqual(pick(rows(rig, 'book_deltas'), 'price_scale', 'quantity_scale', 'bid_prices'), [
    [2, 3, ['100']],
    [5, 8, ['99.12345']],
  ])
})

test('an instrument that is added at run time should be found by its symbol', () => {
  const rig = opened()
  rig.frame(DATA, trade(1, 'SOLUSDT'))
  assert.equal(rig.count('rejected_unknown_symbol'), 1)
  rig.frame(INSTRUMENT, instrumentOf('binance.usdm.SOLUSDT'), { extra: 2 })
  rig.frame(DATA, trade(1, 'SOLUSDT'))
  assert.equal(rows(rig, 'trades').length, 1)
})

test('the same symbol in two markets should be told apart by its connection', () => {
  const rig = shardRig({
    instruments: [instrumentOf('binance.usdm.BTCUSDT'), instrumentOf('binance.spot.BTCUSDT')],
    live: false,
  })
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ['trades'] }] }, { source: 0 })
  rig.frame(OPEN, { connection: 1, instruments: [{ instrument: 1, channels: ['trades'] }] }, { source: 1 })
  for (const source of [1, 0, 1]) rig.frame(DATA, trade(100 + source, 'BTCUSDT'), { source })
  assert.deepEqual(pick(rows(rig), 'instrument', 'trade_id'), [
    ['binance.spot.BTCUSDT', '101'],
    ['binance.usdm.BTCUSDT', '100'],
  ])
})

test('periodic rows should come once an interval and only for books that changed', () => {
  const rig = opened()
  snapshot(rig, 100)
  let ns = 1_723_161_300_000_000_000n
  const tick = (ms: number) => {
    ns += BigInt(ms) * 1_000_000n
    rig.frame(TICK, '', { ns })
  }
  for (let index = 0; index < 100; index++) tick(50)
  rig.frame(DATA, depth(99, 110, 98), { ns })
  for (let index = 0; index < 100; index++) tick(50)
  const periodic = rows(rig, 'book_snapshots').filter((row) => row['kind'] === 'periodic')
  assert.deepEqual(pick(periodic, 'last_seq', 'bid_prices', 'bid_levels'), [
    ['100', ['99'], 1],
    ['110', ['100', '99'], 2],
  ])
})

test('live messages should carry what came since the last drain, by instrument, readable by plain msgpackr', () => {
  const rig = opened({ live: true })
  rig.frame(DATA, trade(7))
  rig.frame(DATA, trade(3, 'ETHUSDT'))
  const trades = rig.live.filter(({ subject }) => subject.startsWith('trade.'))
  assert.deepEqual(
    trades.map((message) => message.subject),
    ['trade.binance.usdm.BTCUSDT', 'trade.binance.usdm.ETHUSDT'],
  )
  const message = unpack(trades[0]?.message as Uint8Array)
  assert.deepEqual(
    [message.type, message.exchange, message.market, message.symbol, message.rows.length],
    ['trade', 'binance', 'usdm', 'BTCUSDT', 1],
  )
  const [row] = message.rows
  assert.deepEqual(
    [row.trade_id, row.price_mantissa, row.quantity_mantissa, row.price_scale, row.side, row.stream],
    [7, 10000, 500, 2, 'sell', 'trade'],
  )
  snapshot(rig, 100)
  rig.frame(DATA, depth(99, 110, 98))
  const delta = unpack(rig.live.at(-1)?.message as Uint8Array)
  assert.deepEqual(
    [delta.type, delta.rows[0].bid_price_mantissas, delta.rows[0].state],
    ['book_delta', [10000], 'LIVE'],
  )
})

test('a book should be published once an interval in the agreed form, and the refusals counted by reason', () => {
  const rig = opened({ live: true, publisher: { ...SHARD_DEFAULTS.publisher, minDepthLevels: 1, maxAgeSeconds: 2 } })
  let ns = 1_723_161_300_000_000_000n
  const second = () => {
    ns += 1_000_000_000n
    rig.frame(TICK, '', { ns })
  }
  second()
  rig.frame(SNAPSHOT, body(100), { extra: 0, ns })
  second()
  const [message] = rig.live.filter(({ subject }) => subject === 'orderbook.binance.usdm.BTCUSDT')
  const book = JSON.parse(Buffer.from(message?.message as Uint8Array).toString())
  assert.deepEqual(Object.keys(book), [
    'exchange_name',
    'symbol_name',
    'bids',
    'asks',
    'timestamp',
    'last_update_id',
    'collected_at',
  ])
  assert.deepEqual(
    [book.exchange_name, book.symbol_name, book.bids, book.last_update_id],
    ['binance', 'BTCUSDT', [{ price: '99', quantity: '5' }], 100],
  )
  second()
  rig.frame(DATA, depth(99, 110, 98), { ns: ns - 500_000_000n })
  ns += 4_000_000_000n
  second()
  assert.deepEqual(
    [
      rig.count('publish_published'),
      rig.count('publish_unchanged'),
      rig.count('publish_too_old'),
      rig.count('publish_not_live'),
      rig.count('publish_missed_intervals'),
      rig.count('publish_on_time'),
    ],
    [1, 1, 1, 3, 4, 3],
  )
})

test('a full batch ring should make the shard wait for room, and lose no block', () => {
  let waits = 0
  const rig = shardRig({
    instruments: [instrumentOf(BTC)],
    live: false,
    ringBytes: 1 << 16,
    batch: { rowsMax: 50, bytesMax: 1 << 14, ageMsMax: 1000 },
  })
  for (let id = 1; id <= 2000; id++) rig.frame(DATA, trade(id))
  waits = rig.blocks.length
  assert.ok(waits >= 39)
  assert.equal(rows(rig, 'trades').length, 2000)
})

test('a worker that replaces a dead one should say so in gap rows', () => {
  const rig = shardRig({ instruments: [instrumentOf(BTC)], live: false })
  rig.shard.restarted(401_000, 5, 'crashed', 2)
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ALL }] })
  rig.frame(DATA, trade(9))
  snapshot(rig, 10)
  const all = rows(rig)
  const of = (table: string) => all.filter((row) => row['table'] === table)
  assert.deepEqual(pick(of('gaps'), 'channel', 'cause', 'status'), [
    ['book', 'worker_restart', 'open'],
    ['trades', 'worker_restart', 'open'],
    ['book_tickers', 'worker_restart', 'open'],
    ['trades', 'worker_restart', 'closed'],
    ['book', 'worker_restart', 'closed'],
  ])
  const epochs = new Set(of('book_snapshots').map((row) => row['book_epoch']))
  assert.deepEqual([...epochs], [2_000_001], 'no epoch of those that died')
})

test('the same frames should give the same blocks, byte for byte', () => {
  const run = () => {
    const rig = opened()
    for (const frame of [depth(90, 99, 89), trade(1), ticker(4), depth(100, 110, 99)]) rig.frame(DATA, frame)
    snapshot(rig, 105)
    rig.finish()
    return rig.blocks.map((block) => Buffer.from(block).toString('hex'))
  }
  assert.deepEqual(run(), run())
})

test('a book near the edge of its depth should be anchored anew without leaving LIVE', () => {
  const rig = opened({ keeper: { ...SHARD_DEFAULTS.keeper, snapshotLevels: 2 } })
  const ns = 1_723_161_300_000_000_000n
  const levels = (...prices: number[]) => prices.map((price) => [String(price), '1'])
  const tick = (seconds: bigint) => rig.frame(TICK, '', { ns: ns + seconds * 1_000_000_000n })
  tick(0n)
  rig.frame(SNAPSHOT, body(100, levels(99, 98), levels(101, 102)), { extra: 0, ns })
  rig.frame(DATA, depth(99, 110, 98, [['99', '0'], ...levels(97)], []), { ns })
  const asked = rig.requests.length
  tick(1n)
  tick(2n)
  assert.equal(rig.requests.length, asked + 1) // one question, however long the answer takes
  // the hidden level 95 was there all the time; what comes while the answer is under way is in both
  rig.frame(DATA, depth(111, 120, 110, levels(96), []), { ns })
  rig.frame(DATA, depth(121, 130, 120, [['98', '0']], []), { ns })
  rig.frame(SNAPSHOT, body(120, levels(98, 97, 96, 95), levels(101, 102)), { extra: 0, ns })
  assert.equal(state(rig), 'LIVE')
  rig.frame(DATA, depth(131, 140, 130, levels(94), []), { ns })
  const got = summarise(rig.shard).instruments[BTC]
  assert.deepEqual(
    got?.bids.map(([price]) => price),
    ['97', '96', '95', '94'],
  )
  assert.deepEqual([got?.state, got?.gaps, got?.lastSeq, got?.applied], ['LIVE', 0, '140', 4])
  const anchors = rows(rig, 'book_snapshots').filter((row) => row.kind === 'anchor')
  assert.deepEqual(pick(anchors, 'last_seq', 'book_epoch', 'bid_prices'), [
    ['100', 1, ['99', '98']],
    ['130', 2, ['97', '96', '95']],
  ])
})

test('a second snapshot that is older than its question should change nothing, and be asked for again later', () => {
  const rig = opened({ keeper: { ...SHARD_DEFAULTS.keeper, snapshotLevels: 2 } })
  const ns = 1_723_161_300_000_000_000n
  const levels = (...prices: number[]) => prices.map((price) => [String(price), '1'])
  const tick = (seconds: bigint) => rig.frame(TICK, '', { ns: ns + seconds * 1_000_000_000n })
  tick(0n)
  rig.frame(SNAPSHOT, body(100, levels(99, 98), levels(101, 102)), { extra: 0, ns })
  rig.frame(DATA, depth(99, 110, 98, [['99', '0'], ...levels(97)], []), { ns })
  tick(1n)
  const asked = rig.requests.length
  rig.frame(SNAPSHOT, body(105, levels(1), levels(2)), { extra: 0, ns })
  assert.deepEqual(
    [state(rig), summarise(rig.shard).instruments[BTC]?.bids],
    [
      'LIVE',
      [
        ['98', '1'],
        ['97', '1'],
      ],
    ],
  )
  for (const second of [5n, 9n]) {
    rig.frame(
      DATA,
      depth(111 + Number(second) * 2, 112 + Number(second) * 2, second === 5n ? 110 : 122, levels(97), []),
      { ns },
    )
    tick(second)
  }
  assert.equal(rig.requests.length, asked)
  rig.frame(DATA, depth(131, 132, 130, levels(97), []), { ns })
  tick(40n)
  assert.equal(rig.requests.length, asked + 1)
})

test('a worker that replaces one which died before its connections opened should write what the collector missed', () => {
  const rig = shardRig({ instruments: [instrumentOf(BTC), instrumentOf(ETH)], live: false })
  rig.shard.restarted(401_000, 5, 'crashed', 2)
  rig.frame(DOWN, { sinceNs: '1723161200000000000', lost: [], connections: [1] })
  rig.frame(OPEN, { connection: 0, instruments: [{ instrument: 0, channels: ['trades'] }] }, { source: 0 })
  rig.frame(OPEN, { connection: 1, instruments: [{ instrument: 1, channels: ['trades'] }] }, { source: 1 })
  assert.deepEqual(pick(rows(rig, 'gaps'), 'instrument', 'cause', 'status'), [
    [BTC, 'worker_restart', 'open'],
    [ETH, 'collector_down', 'open'],
  ])
})

test('what the collector missed should be written for all that a connection will carry, before and once', () => {
  const rig = shardRig({ instruments: [instrumentOf(BTC), instrumentOf(ETH)], live: false })
  const carried = [{ instrument: 0, channels: ['trades', 'book'] }]
  rig.frame(DOWN, { sinceNs: '1723161200000000000', lost: [] })
  rig.frame(DOWN, { lost: [], connections: [0], carried })
  const told = [
    [BTC, 'trades', 'collector_down', 'open'],
    [BTC, 'book', 'collector_down', 'open'],
  ]
  const gaps = () => pick(rows(rig, 'gaps'), 'instrument', 'channel', 'cause', 'status')
  assert.deepEqual(gaps(), told)
  rig.frame(OPEN, { connection: 0, instruments: carried }, { source: 0 })
  rig.frame(OPEN, { connection: 1, instruments: [{ instrument: 1, channels: ['trades'] }] }, { source: 1 })
  assert.deepEqual(gaps(), [[ETH, 'trades', 'collector_down', 'open']])
})

test('blocks that a full spool deletes should be told for all that the connections carry, each time', () => {
  const rig = shardRig({ instruments: [instrumentOf(BTC)], live: false })
  const carried = [{ instrument: 0, channels: ['trades', 'book'] }]
  rig.frame(OPEN, { connection: 0, instruments: carried }, { source: 0 })
  for (const second of [1, 2]) {
    const dropped = {
      fromNs: `172316120${second}000000000`,
      toNs: `172316120${second}500000000`,
      detail: `blocks ${second}`,
    }
    rig.frame(DOWN, { lost: [], dropped, connections: [0], carried })
  }
  assert.deepEqual(pick(rows(rig, 'gaps'), 'channel', 'cause', 'status', 'from_ns', 'to_ns', 'detail'), [
    ...['trades', 'book'].map((channel) => [
      channel,
      'loss',
      'closed',
      '1723161201000000000',
      '1723161201500000000',
      'blocks 1',
    ]),
    ...['trades', 'book'].map((channel) => [
      channel,
      'loss',
      'closed',
      '1723161202000000000',
      '1723161202500000000',
      'blocks 2',
    ]),
  ])
})
