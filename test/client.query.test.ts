import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { instrumentName, query, QueryError, type TradeRow } from '../engine/client/index.ts'
import type { Row } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { historyRig } from './support/history.ts'
import { ToldSource, ToldWorker } from './support/live.ts'

const BTC = 'binance.usdm.BTCUSDT'
const NOON_NS = 1_790_000_000_000_000_000n
const MINUTE_NS = 60_000_000_000n

const trade = (id: number, more: Row = {}): Row => ({
  instrument: 0,
  received_ns: NOON_NS + BigInt(id) * MINUTE_NS,
  event_ns: NOON_NS,
  trade_ns: NOON_NS + BigInt(id) * MINUTE_NS,
  stream: 1,
  trade_id: id,
  first_trade_id: id,
  last_trade_id: id,
  price_mantissa: 6_180_000n + BigInt(id),
  price_scale: 2,
  quantity_mantissa: 9_007_199_254_740_993n,
  quantity_scale: 8,
  side: 1 + (id % 2),
  seq: id,
  ...more,
})

async function answering(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const levels = (bid: bigint, ask: bigint): Row => ({
  bid_price_mantissas: [bid],
  bid_quantity_mantissas: [15n],
  ask_price_mantissas: [ask],
  ask_quantity_mantissas: [20n],
  price_scale: 1,
  quantity_scale: 1,
})

const refusal =
  (status: number, code: string, details: object = {}) =>
  (error: unknown) => {
    assert.ok(error instanceof QueryError, String(error))
    assert.deepEqual([error.status, error.code], [status, code])
    assert.deepEqual({ ...error.details, ...details }, { ...error.details })
    assert.ok(error.message.length > 0 && !error.message.includes('\n'))
    return true
  }

test('client query: rows of a gateway on ClickHouse', async (t) => {
  const { url, put } = await historyRig(t)
  await put(
    'trades',
    [BTC],
    Array.from({ length: 50 }, (_, id) => trade(id + 1)),
  )
  await put(
    'gaps',
    [BTC],
    [{ instrument: 0, received_ns: NOON_NS, channel: 2, cause: 1, status: 2, from_ns: NOON_NS, to_ns: NOON_NS + 5n }],
  )
  const api = query({ url })

  await t.test('query should bring one page, the newest first, with exact text', async () => {
    const { rows, next_cursor } = await api.series('trades', BTC, { limit: 2 })
    const [newest] = rows as readonly [TradeRow]
    assert.deepEqual(
      [rows.length, newest.trade_id, newest.price, newest.quantity, newest.side, newest.trade_ns],
      [2, 50, '61800.5', '90071992.54740993', 'buy', String(NOON_NS + 50n * MINUTE_NS)],
    )
    assert.equal(typeof next_cursor, 'string')
  })

  await t.test('query should bring all rows of a range, each once and in order, whatever the pages', async () => {
    const ids: number[] = []
    const range = { from: NOON_NS + 5n * MINUTE_NS, to: NOON_NS + 40n * MINUTE_NS, limit: 7, order: 'asc' } as const
    for await (const { trade_id } of api.all('trades', BTC, range)) ids.push(trade_id)
    assert.deepEqual(
      ids,
      Array.from({ length: 35 }, (_, index) => index + 5),
    )
    const iso = { ...range, from: new Date(Number(range.from / 1_000_000n)), to: '2026-09-21T16:33:20Z' }
    let count = 0
    for await (const _ of api.all('trades', BTC, { ...iso, to: range.to })) count++
    assert.equal(count, 35)
  })

  await t.test('query should bring bars made of the trades', async () => {
    const bars = []
    for await (const bar of api.allKlines(BTC, {
      interval: '10m',
      from: NOON_NS - 10n * MINUTE_NS,
      to: NOON_NS + 60n * MINUTE_NS,
      order: 'asc',
      limit: 2,
    }))
      bars.push(bar)
    assert.equal(
      bars.reduce((sum, bar) => sum + (bar.trade_count ?? 0), 0),
      50,
    )
    assert.equal(bars.at(-1)?.close, '61800.5')
    const { rows } = await api.klines(BTC, {
      interval: '1m',
      limit: 1,
      to: NOON_NS + 50n * MINUTE_NS + 40_000_000_000n,
    })
    assert.equal(rows.length, 1)
  })

  await t.test('query should bring a table as a file, piece by piece', async () => {
    const range = { from: NOON_NS, to: NOON_NS + 100n * MINUTE_NS, instrument: BTC } as const
    const read = async (format: 'ndjson' | 'parquet') => {
      const pieces: Uint8Array[] = []
      for await (const piece of api.export('trades', { ...range, format })) pieces.push(piece)
      return Buffer.concat(pieces)
    }
    const lines = (await read('ndjson')).toString().trimEnd().split('\n')
    const rows = lines.map((line) => JSON.parse(line) as TradeRow)
    assert.deepEqual(
      rows.map(({ trade_id }) => trade_id),
      Array.from({ length: 50 }, (_, index) => index + 1),
    )
    assert.equal(rows[0]?.quantity, '90071992.54740993')
    assert.equal((await read('parquet')).subarray(0, 4).toString(), 'PAR1')
    await assert.rejects(api.export('trades', { from: 'yesterday' }).next(), refusal(400, 'invalid_parameter'))
  })

  await t.test('query should bring gaps with their instruments', async () => {
    const gaps = []
    for await (const gap of api.gaps({ instrument: BTC })) gaps.push(gap)
    assert.deepEqual(
      gaps.map(({ symbol, channel, cause, status }) => [symbol, channel, cause, status]),
      [['BTCUSDT', 'trades', 'disconnect', 'closed']],
    )
  })

  await t.test('query should bring the book as it was, by a time in any form, or say why there is none', async () => {
    const at = (second: number): bigint => NOON_NS + 10n * MINUTE_NS + BigInt(second) * 1_000_000_000n
    const common = (second: number): Row => ({
      instrument: 0,
      received_ns: at(second),
      event_ns: at(second),
      book_epoch: 1,
    })
    const anchor = { ...common(0), kind: 2, last_seq: 100, bid_levels: 1, ask_levels: 1, ...levels(1000n, 1010n) }
    const delta = (second: number, seq: number, bid: bigint, ask: bigint): Row => ({
      ...common(second),
      first_seq: seq,
      last_seq: seq,
      prev_seq: seq - 1,
      state: 2,
      ...levels(bid, ask),
    })
    await put('book_snapshots', [BTC], [anchor])
    await put('book_deltas', [BTC], [delta(1, 101, 1001n, 1009n), delta(2, 102, 1002n, 1008n)])
    const book = await api.bookAt(BTC, at(1) + 1n)
    assert.deepEqual(book, {
      instrument: BTC,
      time_ns: String(at(1) + 1n),
      state: 'LIVE',
      book_epoch: 1,
      last_seq: 101,
      event_ns: String(at(1)),
      received_ns: String(at(1)),
      start: { kind: 'anchor', received_ns: String(at(0)), last_seq: 100 },
      deltas: 1,
      proven_bids: 2,
      proven_asks: 2,
      bids: [
        ['100.1', '1.5'],
        ['100', '1.5'],
      ],
      asks: [
        ['100.9', '2'],
        ['101', '2'],
      ],
    })
    const date = new Date(Number(at(1) / 1_000_000n) + 500)
    for (const time of [date, date.toISOString(), date.getTime()]) {
      const { last_seq, bids } = await api.bookAt(BTC, time, { depth: 1 })
      assert.deepEqual([last_seq, bids], [101, [['100.1', '1.5']]])
    }
    await assert.rejects(api.bookAt(BTC, at(-1)), refusal(404, 'no_book'))
    await assert.rejects(
      api.bookAt(BTC, new Date('2999-01-01')),
      refusal(400, 'invalid_parameter', { parameter: 'time' }),
    )
  })

  await t.test('query should bring all instruments with their names, whatever the pages', async () => {
    const names = ['binance.spot.A.B', BTC, 'okx.swap.BTC-USDT-SWAP']
    for (const [index, name] of names.entries()) {
      const row = { instrument: 0, received_ns: NOON_NS, event_ns: 0n, kind: 1 + index, trading: 1, status: 'live' }
      await put('instruments', [name], [{ ...row, tick_size: 10n ** 37n }])
    }
    const found = []
    for await (const { exchange, market, symbol, tick_size } of api.instruments({ limit: 2 }))
      found.push({ name: { exchange, market, symbol }, tick_size })
    assert.deepEqual(
      found,
      names.map((name) => ({ name: instrumentName(name), tick_size: '0.1' })),
    )
    assert.deepEqual(instrumentName('binance.spot.A.B'), { exchange: 'binance', market: 'spot', symbol: 'A.B' })
  })

  await t.test('query should say no with the word of the gateway', async () => {
    await assert.rejects(api.series('trades', 'binance.usdm.NOTHING'), refusal(404, 'unknown_instrument'))
    await assert.rejects(
      api.series('trades', BTC, { limit: 0 }),
      refusal(400, 'invalid_parameter', { parameter: 'limit' }),
    )
    await assert.rejects(api.get('/v1/nothing'), refusal(404, 'not_found'))
  })
})

test('client query should bring a live book, and of one that is not LIVE its state, reason and since when', async (t) => {
  const source = new ToldSource()
  const { gateway, engine } = await served(t, {}, SILENT, source)
  const worker = new ToldWorker(source)
  const api = query({ url: gateway.url })
  worker.live(BTC, [[10_000, 1_000]], [[10_001, 2_000]])
  const beating = setInterval(() => worker.heartbeat(), 500) // a silent worker's books are STALE
  cleanUp(t, () => clearInterval(beating))
  const asked = api.book(BTC, { depth: 1 })
  while (engine.wanted.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  worker.snapshot(BTC, [[10_000, 1_000]], [[10_001, 2_000]], { lastSeq: 100, epoch: 1, reason: 'wanted' })
  const book = await asked
  assert.deepEqual(
    [book.state, book.symbol, book.last_seq, book.bids, book.asks],
    ['LIVE', 'BTCUSDT', 100, [['100', '1']], [['100.01', '2']]],
  )
  worker.state(BTC, 'GAP', 'sequence')
  await assert.rejects(
    api.book(BTC),
    refusal(503, 'book_not_live', { state: 'GAP', reason: 'sequence', since_ns: String(worker.nowNs) }),
  )
})

test('client query should bring its key, wait when it asked too often, and end when told', async (t) => {
  let asked = 0
  const url = await answering(t, ({ url: path, headers }, response) => {
    response.setHeader('content-type', 'application/json')
    if (path === '/v1/slow') return
    if (++asked === 1) {
      response.writeHead(429, { 'retry-after': '0' }).end('{"error":{"code":"rate_limited","message":"slower"}}')
      return
    }
    response.end(JSON.stringify({ key: headers.authorization ?? '' }))
  })
  assert.deepEqual(await query({ url, key: 'k' }).get('/v1/any'), { key: 'Bearer k' })
  assert.equal(asked, 2)
  assert.deepEqual(await query({ url }).get('/v1/any'), { key: '' })
  await assert.rejects(query({ url, timeoutMs: 50 }).get('/v1/slow'), /no answer in 50 ms/)
  const stop = new AbortController()
  const slow = query({ url, signal: stop.signal }).get('/v1/slow')
  stop.abort(new Error('enough'))
  await assert.rejects(slow, /enough/)
})

test('client query should say that nobody answers, or that who answers is no gateway', async (t) => {
  await assert.rejects(query({ url: 'http://127.0.0.1:1' }).get('/v1/status'), refusal(0, 'unreachable'))
  const url = await answering(t, (_, response) => void response.writeHead(500).end('<html>'))
  await assert.rejects(query({ url }).get('/v1/status'), refusal(500, 'no_gateway'))
})
