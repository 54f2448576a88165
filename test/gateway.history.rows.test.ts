import assert from 'node:assert/strict'
import { test } from 'node:test'
import { unpack } from 'msgpackr'
import { seededRandom } from '../engine/base/random.ts'
import { publicColumns } from '../engine/record/rows.ts'
import { tableNamed } from '../engine/record/schema.ts'
import type { Row } from './support/blocks.ts'
import { type HistoryRig, historyRig } from './support/history.ts'
import { ToldSource, ToldWorker } from './support/live.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'
const NOON_NS = 1_790_000_000_000_000_000n
const SECOND_NS = 1_000_000_000n

function trade(index: number, more: Row = {}): Row {
  return {
    instrument: 0,
    received_ns: NOON_NS + BigInt(index) * SECOND_NS + 5_000_000n,
    event_ns: NOON_NS + BigInt(index) * SECOND_NS + 1n,
    trade_ns: NOON_NS + BigInt(index) * SECOND_NS,
    stream: 1,
    trade_id: index,
    first_trade_id: index,
    last_trade_id: index,
    price_mantissa: 6_180_020n + BigInt(index),
    quantity_mantissa: 9_007_199_254_740_993n, // beyond 2^53
    price_scale: 2,
    quantity_scale: 8,
    side: 1,
    ...more,
  }
}

test('rows of trades should be exact and have the names of live rows, as JSON and as msgpack', async (t) => {
  const rig = await historyRig(t)
  await rig.put('trades', [BTC], [trade(1), trade(2, { side: 2, venue_trade_id: 'abc', liquidation: 2 })])
  const { status, json, text } = await rig.get(`/v1/trades/${BTC}`)
  assert.equal(status, 200, text)
  assert.deepEqual(json, {
    instrument: BTC,
    rows: [
      {
        received_ns: '1790000002005000000',
        event_ns: '1790000002000000001',
        trade_ns: '1790000002000000000',
        stream: 'trade',
        trade_id: 2,
        first_trade_id: 2,
        last_trade_id: 2,
        price: '61800.22',
        quantity: '90071992.54740993',
        side: 'sell',
        seq: 0,
        venue_trade_id: 'abc',
        origin: 'stream',
        liquidation: 'taker',
      },
      { ...json.rows[1], trade_id: 1, price: '61800.21', side: 'buy' },
    ],
    next_cursor: null,
  })
  assert.deepEqual(
    Object.keys(json.rows[0]),
    publicColumns(tableNamed('trades')).map(({ name }) => name),
  )
  const packed = await fetch(`${rig.url}/v1/trades/${BTC}?format=msgpack`)
  assert.equal(packed.headers.get('content-type'), 'application/vnd.msgpack')
  assert.deepEqual(unpack(Buffer.from(await packed.arrayBuffer())), json)
})

async function allPages(rig: HistoryRig, question: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = []
  for (let cursor = ''; ; ) {
    const { status, json, text } = await rig.get(`${question}${cursor === '' ? '' : `&cursor=${cursor}`}`)
    assert.equal(status, 200, text)
    rows.push(...json.rows)
    if (json.next_cursor === null) return rows
    cursor = json.next_cursor
  }
}

test('pages should hold every row once, in both orders, whatever shares a time or came twice', async (t) => {
  const seed = 1 + (Math.trunc(performance.now() * 1000) % 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const rig = await historyRig(t)
  const rows = Array.from({ length: 400 }, (_, index) => {
    const second = Math.floor(random() * 40) * (random() < 0.1 ? 3_000 : 1) // some are hours away
    return trade(second, { trade_id: index, instrument: random() < 0.3 ? 1 : 0, stream: 1 + Math.floor(random() * 2) })
  })
  for (let at = 0; at < rows.length; at += 100) await rig.put('trades', [BTC, ETH], rows.slice(at, at + 100))
  // the same facts again, received later and with another price: these count
  const again = rows.slice(50, 90).map((row) => ({
    ...row,
    received_ns: (row.received_ns as bigint) + 86_400n * SECOND_NS,
    price_mantissa: 1n,
  }))
  await rig.put(
    'trades',
    [BTC, ETH],
    again.sort((a, b) => Number(a.received_ns - b.received_ns)),
  )
  const oracle = await rig.clickhouse.query(
    `SELECT toString(toUnixTimestamp64Nano(trade_ns)) AS trade_ns, stream, toUInt32(trade_id) AS trade_id, toString(price) AS price
     FROM trades FINAL WHERE symbol = 'BTCUSDT' ORDER BY trades.trade_ns, stream, trades.trade_id`,
  )
  assert.ok(oracle.length > 200 && oracle.some(({ price }) => price === '0.01'))
  const shape = ({ trade_ns, stream, trade_id, price }: Record<string, unknown>) => ({
    trade_ns,
    stream,
    trade_id,
    price,
  })
  for (const limit of [7, 60, 1000]) {
    const ascending = await allPages(rig, `/v1/trades/${BTC}?order=asc&limit=${limit}`)
    assert.deepEqual(ascending.map(shape), oracle)
    const descending = await allPages(rig, `/v1/trades/${BTC}?order=desc&limit=${limit}`)
    assert.deepEqual(descending.map(shape), [...oracle].reverse())
  }
  const from = NOON_NS + 5n * SECOND_NS
  const to = NOON_NS + 20n * SECOND_NS
  const within = oracle.filter(({ trade_ns }) => BigInt(trade_ns as string) >= from && BigInt(trade_ns as string) < to)
  const iso = new Date(Number(from / 1_000_000n)).toISOString()
  for (const range of [
    `from=${from}&to=${to}`,
    `from=${from / 1000n}&to=${to / 1_000_000n}`,
    `from=${iso}&to=${to / SECOND_NS}`,
  ])
    assert.deepEqual((await allPages(rig, `/v1/trades/${BTC}?order=asc&limit=11&${range}`)).map(shape), within)
})

test('a cursor that was forged, changed or used for another question should be refused', async (t) => {
  const rig = await historyRig(t)
  await rig.put('trades', [BTC, ETH], [trade(1), trade(2), trade(3), trade(1, { instrument: 1 })])
  const { json } = await rig.get(`/v1/trades/${BTC}?limit=1`)
  const cursor = json.next_cursor as string
  assert.equal((await rig.get(`/v1/trades/${BTC}?limit=1&cursor=${cursor}`)).json.rows[0].trade_id, 2)
  const middle = cursor.length >> 1
  const changed = cursor.slice(0, middle) + (cursor[middle] === 'A' ? 'B' : 'A') + cursor.slice(middle + 1)
  for (const question of [
    `/v1/trades/${ETH}?limit=1&cursor=${cursor}`,
    `/v1/trades/${BTC}?limit=1&order=asc&cursor=${cursor}`,
    `/v1/trades/${BTC}?cursor=${changed}`,
    `/v1/trades/${BTC}?cursor=${cursor}A`,
    `/v1/trades/${BTC}?cursor=W10`,
    `/v1/book-tickers/${BTC}?cursor=${cursor}`,
  ]) {
    const answer = await rig.get(question)
    assert.equal(answer.status, 400, question)
    assert.equal(answer.json.error.code, 'invalid_cursor', question)
  }
})

test('questions that are none should be refused with the parameter and what is allowed', async (t) => {
  const source = new ToldSource()
  const rig = await historyRig(t, {}, source)
  for (const [question, parameter] of [
    [`/v1/trades/${BTC}?limit=0`, 'limit'],
    [`/v1/trades/${BTC}?limit=10001`, 'limit'],
    [`/v1/trades/${BTC}?limit=ten`, 'limit'],
    [`/v1/trades/${BTC}?order=up`, 'order'],
    [`/v1/trades/${BTC}?from=yesterday`, 'from'],
    [`/v1/trades/${BTC}?from=2026-02-01&to=2026-01-01`, 'from'],
    [`/v1/trades/${BTC}?from=-1`, 'from'],
    [`/v1/trades/BTCUSDT`, 'instrument'],
    [`/v1/trades/a.b.`, 'instrument'],
    [`/v1/long-short-ratios/${BTC}?period=7m`, 'period'],
    [`/v1/gaps?channel=books`, 'channel'],
  ] as const) {
    const { status, json } = await rig.get(question)
    assert.equal(status, 400, question)
    assert.equal(json.error.parameter, parameter, question)
  }
  const unknown = await rig.get(`/v1/trades/${BTC}`)
  assert.equal(unknown.status, 404)
  assert.equal(unknown.json.error.code, 'unknown_instrument')
  new ToldWorker(source).state(BTC, 'LIVE') // it is collected: its first rows are on their way
  for (const list of ['trades', 'funding-rates', 'klines']) {
    const { status, json } = await rig.get(`/v1/${list}/${BTC}${list === 'klines' ? '?interval=1m' : ''}`)
    assert.deepEqual([status, (json.rows ?? json.klines)?.length], [200, 0], list)
  }
})

test('values of users should never become SQL', async (t) => {
  const rig = await historyRig(t)
  await rig.put('trades', [BTC], [trade(1)])
  for (const evil of [
    `x' OR 1=1 --`,
    `x') UNION ALL SELECT 1 --`,
    '{instrument:String}',
    `\\' OR 1`,
    `x\u0000y`,
    '; DROP TABLE trades',
  ]) {
    const symbol = encodeURIComponent(evil)
    const { status } = await rig.get(`/v1/trades/binance.usdm.${symbol}`)
    assert.ok(status === 404 || status === 400, `${evil}: ${status}`)
    const found = await rig.get(`/v1/instruments?symbol=${symbol}`)
    assert.ok(found.status === 400 || found.json.rows.length === 0, evil)
  }
  assert.equal((await rig.get(`/v1/trades/${BTC}`)).json.rows.length, 1)
})

test('instruments should be given as they were told last, narrowed by that, page by page', async (t) => {
  const rig = await historyRig(t)
  const names = Array.from({ length: 5 }, (_, index) => `okx.swap.C${index}-USDT-SWAP`)
  const row = (instrument: number, receivedNs: bigint, trading: number, more: Row = {}): Row => ({
    instrument,
    received_ns: receivedNs,
    event_ns: 0n,
    kind: 2,
    trading,
    status: trading === 1 ? 'live' : 'suspend',
    base: `C${instrument}`,
    quote: 'USDT',
    tick_size: 10n ** 37n,
    ...more,
  })
  await rig.put(
    'instruments',
    names,
    names.map((_, index) => row(index, NOON_NS + BigInt(index), 1)),
  )
  await rig.put('instruments', names, [row(2, NOON_NS + SECOND_NS, 0)])
  const all = (await rig.get('/v1/instruments')).json.rows
  assert.deepEqual(
    all.map(({ symbol }: { symbol: string }) => symbol),
    names.map((name) => name.slice('okx.swap.'.length)),
  )
  assert.deepEqual(
    [all[2].trading, all[2].status, all[2].tick_size, all[2].lot_size],
    ['closed', 'suspend', '0.1', null],
  )
  const trading = (await rig.get('/v1/instruments?trading=trading&exchange=okx')).json.rows
  assert.equal(trading.length, 4) // the older row of C2 said trading
  assert.equal((await rig.get('/v1/instruments?match=c3-')).json.rows.length, 1)
  const pages = await allPages(rig, '/v1/instruments?limit=2')
  assert.deepEqual(pages, all)
})

test('gaps should be told with their last status, for all that overlap a time', async (t) => {
  const rig = await historyRig(t)
  const gap = (fromSecond: number, toSecond: number, status: number, more: Row = {}): Row => ({
    instrument: 0,
    received_ns: NOON_NS + BigInt(Math.max(fromSecond, toSecond)) * SECOND_NS,
    channel: 2,
    cause: 1,
    status,
    from_ns: NOON_NS + BigInt(fromSecond) * SECOND_NS,
    to_ns: toSecond === 0 ? 0n : NOON_NS + BigInt(toSecond) * SECOND_NS,
    detail: 'the socket closed',
    ...more,
  })
  await rig.put('gaps', [BTC, ETH], [gap(10, 0, 1), gap(100, 0, 1, { instrument: 1, channel: 1 })])
  await rig.put('gaps', [BTC, ETH], [gap(10, 20, 2)])
  const rows = async (query: string) => (await rig.get(`/v1/gaps?order=asc&${query}`)).json.rows
  assert.deepEqual(
    (await rows('')).map(({ symbol, status, channel }: Record<string, string>) => [symbol, status, channel]),
    [
      ['BTCUSDT', 'closed', 'trades'],
      ['ETHUSDT', 'open', 'book'],
    ],
  )
  assert.equal((await rows('status=open')).length, 1)
  assert.equal((await rows(`instrument=${BTC}`)).length, 1)
  const at = (second: number) => String(NOON_NS + BigInt(second) * SECOND_NS)
  assert.equal((await rows(`from=${at(20)}&to=${at(30)}`)).length, 0)
  assert.equal((await rows(`from=${at(19)}&to=${at(30)}`)).length, 1)
  assert.equal((await rows(`from=${at(5000)}`)).length, 1) // open: it goes on
  assert.deepEqual(await allPages(rig, '/v1/gaps?order=asc&limit=1'), await rows(''))
})
