import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { hashOfKey } from '../engine/gateway/security/keys.ts'
import { served } from './support/gateway.ts'
import { SILENT } from './support/embedded.ts'
import { Listener, type Mantissas, ToldSource, ToldWorker } from './support/live.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'
const BTC_SPOT = 'binance.spot.BTCUSDT'

async function scene(t: TestContext, live: object = {}) {
  const source = new ToldSource()
  const limits = {
    resumeBytes: 1 << 20,
    queueBytesMax: 1 << 20,
    stallMsMax: 10_000,
    subscriptionsMax: 100,
    messagesPerSecond: 1_000,
  }
  const { gateway, engine, get } = await served(t, { live: { ...limits, ...live } }, SILENT, source)
  const open = (path = '/v1/stream', headers: Record<string, string> = {}) =>
    Listener.open(t, gateway.url, path, headers)
  return { source, worker: new ToldWorker(source), engine, gateway, get, open }
}

test('stream should send rows of exact text to those whose pattern fits, in JSON and in msgpack', async (t) => {
  const { worker, open } = await scene(t)
  worker.trade(BTC, 1)
  const [json, packed] = [await open(), await open('/v1/stream?format=msgpack')]
  assert.equal((await json.subscribe(['trade.binance.*.BTC*'])).instruments, 1)
  assert.equal((await packed.subscribe(['trade.>'])).instruments, 1)
  worker.trade(ETH, 2)
  worker.trade(BTC, 3, 6_180_020)
  worker.trade(BTC_SPOT, 4)
  const trade = await json.next(({ type }) => type === 'trade')
  assert.deepEqual([trade.exchange, trade.market, trade.symbol, trade.rows.length], ['binance', 'usdm', 'BTCUSDT', 1])
  assert.deepEqual(
    [trade.rows[0].trade_id, trade.rows[0].price, trade.rows[0].quantity, trade.rows[0].received_ns],
    [3, '61800.2', '1.5', '1723118400000000000'],
  )
  assert.match(trade.seq, /^[a-z0-9]+-\d+$/)
  assert.equal((await json.next(({ type }) => type === 'trade')).market, 'spot')
  const ids = []
  for (let index = 0; index < 3; index++) ids.push((await packed.next(({ type }) => type === 'trade')).rows[0].trade_id)
  assert.deepEqual(ids, [2, 3, 4])
})

test('stream should join a subscription to instruments that come later, and end it when told', async (t) => {
  const { worker, open } = await scene(t)
  const client = await open()
  assert.equal((await client.subscribe(['trade.binance.usdm.BTCUSDT', 'book_ticker.*.*.ETH*'])).instruments, 0)
  worker.trade(BTC, 1)
  worker.quote(BTC, 2)
  worker.quote(ETH, 3)
  assert.equal((await client.next(({ type }) => type !== undefined)).type, 'trade')
  assert.equal((await client.next(({ type }) => type !== undefined)).rows[0].update_id, 3)
  client.send({ op: 'unsubscribe', id: 'u', patterns: ['book_ticker.*.*.ETH*'] })
  await client.next(({ op, id }) => op === 'unsubscribed' && id === 'u')
  worker.quote(ETH, 4)
  worker.trade(BTC, 5)
  assert.equal((await client.next(({ type }) => type !== undefined)).rows[0].trade_id, 5)
})

test('stream should send a book as a snapshot and then its changes, to the last exact level', async (t) => {
  const { worker, engine, open } = await scene(t)
  worker.live(
    BTC,
    [
      [10_000, 1_000],
      [9_999, 500],
    ],
    [[10_001, 2_000]],
  )
  const [first, top] = [await open(), await open()]
  await first.subscribe([`book.${BTC}`])
  await top.subscribe(['book.binance.>'], { depth: 1 })
  await first.until(() => engine.wanted[0], 'request for the book')
  worker.snapshot(
    BTC,
    [
      [10_000, 1_000],
      [9_999, 500],
    ],
    [[10_001, 2_000]],
    { lastSeq: 100, epoch: 1, reason: 'wanted' },
  )
  const whole = await first.next(({ type }) => type === 'book')
  assert.deepEqual(
    [whole.kind, whole.book_epoch, whole.last_seq, whole.state, whole.bids, whole.asks],
    [
      'snapshot',
      1,
      100,
      'LIVE',
      [
        ['100', '1'],
        ['99.99', '0.5'],
      ],
      [['100.01', '2']],
    ],
  )
  assert.deepEqual((await top.next(({ type }) => type === 'book')).bids, [['100', '1']])
  worker.delta(
    BTC,
    [
      [10_000, 0],
      [9_998, 7],
    ],
    [],
    { firstSeq: 101, lastSeq: 105 },
  )
  const change = await first.next(({ type }) => type === 'book')
  assert.deepEqual(
    [change.kind, change.first_seq, change.last_seq, change.bids, change.asks],
    [
      'update',
      101,
      105,
      [
        ['100', '0'],
        ['99.98', '0.007'],
      ],
      [],
    ],
  )
  const best = await top.next(({ type }) => type === 'book')
  assert.deepEqual(
    [best.kind, best.bids, best.asks],
    [
      'update',
      [
        ['100', '0'],
        ['99.99', '0.5'],
      ],
      [],
    ],
  )
})

test('stream should say book_reset when a book leaves LIVE, and send the whole of it when it is back', async (t) => {
  const { worker, open } = await scene(t)
  worker.live(BTC, [[10_000, 1]], [[10_001, 1]])
  const client = await open()
  await client.subscribe([`book.${BTC}`])
  worker.snapshot(BTC, [[10_000, 1]], [[10_001, 1]], { lastSeq: 100, epoch: 1, reason: 'wanted' })
  await client.next(({ kind }) => kind === 'snapshot')
  worker.state(BTC, 'GAP', 'sequence')
  worker.delta(BTC, [[9_000, 1]], [], { firstSeq: 200, lastSeq: 201, state: 'GAP' })
  const reset = await client.next(({ type }) => type === 'book_reset')
  assert.deepEqual([reset.state, reset.reason, reset.symbol], ['GAP', 'sequence', 'BTCUSDT'])
  const late = await open()
  await late.subscribe([`book.${BTC}`])
  assert.equal((await late.next(({ type }) => type === 'book_reset')).state, 'GAP')
  worker.state(BTC, 'LIVE')
  worker.snapshot(BTC, [[8_000, 1]], [[8_001, 1]], { lastSeq: 300, epoch: 2 })
  for (const each of [client, late]) {
    const again = await each.next(({ type }) => type === 'book')
    assert.deepEqual([again.kind, again.book_epoch, again.bids], ['snapshot', 2, [['80', '0.001']]])
  }
})

test('stream should resume after a sequence, without a hole and without doubling, and say when it cannot', async (t) => {
  const { worker, open, source } = await scene(t, { resumeBytes: 40_000 })
  worker.trade(BTC, 1)
  const first = await open()
  await first.subscribe(['trade.>'])
  worker.trade(BTC, 2)
  const { seq } = await first.next(({ type }) => type === 'trade')
  first.ws.terminate()
  for (let id = 3; id <= 20; id++) worker.trade(id % 3 === 0 ? ETH : BTC, id)
  const second = await open()
  await second.subscribe([`trade.${BTC}`], { from: seq })
  worker.trade(BTC, 22)
  const expected = [...Array.from({ length: 18 }, (_, index) => index + 3).filter((id) => id % 3 !== 0), 22]
  const ids: number[] = []
  while (ids.length < expected.length) ids.push((await second.next(({ type }) => type === 'trade')).rows[0].trade_id)
  assert.deepEqual(ids, expected)
  for (let id = 100; id < 400; id++) worker.trade(ETH, id) // more than is kept
  const third = await open()
  await third.subscribe([`trade.${BTC}`], { from: seq, id: 7 })
  assert.equal((await third.next(({ op }) => op === 'error')).code, 'resume_expired')
  worker.trade(BTC, 500)
  assert.equal((await third.next(({ type }) => type === 'trade')).rows[0].trade_id, 500)
  const stranger = await open()
  await stranger.subscribe([`trade.${BTC}`], { from: 'other-5' })
  assert.equal((await stranger.next(({ op }) => op === 'error')).code, 'resume_expired')
  assert.equal(source.lost, 0)
})

test('stream should say what was lost on its way to the gateway, live and to who resumes, and of nobody else', async (t) => {
  const { worker, open } = await scene(t, { resumeBytes: 40_000 })
  const lose = (id: string) => worker.rows('trade', id, [], true)
  worker.trade(BTC, 1)
  lose(BTC) // nobody listened
  const clients = [await open(), await open('/v1/stream?format=msgpack')]
  for (const client of clients) await client.subscribe(['trade.>'])
  worker.trade(BTC, 2)
  for (let count = 0; count < 3; count++) lose(BTC)
  lose(ETH) // the first of it that anybody could know of
  worker.trade(ETH, 3)
  worker.trade(BTC, 4)
  worker.restart('run2')
  worker.trade(BTC, 5) // another run counts anew: what the engine lost is told by rows of gaps
  const wanted = [2, 3, ['trade', 'BTCUSDT', 3], 4, 5]
  const hears = async (client: Listener): Promise<unknown> => {
    const { type, of, messages, symbol, rows } = await client.next(({ op }) => op === undefined)
    return type === 'lost' ? [of, symbol, messages] : rows[0].trade_id
  }
  for (const client of clients) for (const item of wanted) assert.deepEqual(await hears(client), item)
  const resumed = await open()
  const seq = (await clients[0]?.subscribe(['trade.none.>']))?.seq as string
  await resumed.subscribe(['trade.>'], { from: `${seq.split('-')[0]}-1` })
  for (const item of wanted) assert.deepEqual(await hears(resumed), item)
})

test('stream should leave out messages that cannot be read, of whatever type, and go on', async (t) => {
  const { worker, source, open } = await scene(t)
  const clients = [await open(), await open('/v1/stream?format=msgpack')]
  for (const client of clients) await client.subscribe(['trade.>', 'book_state.>', `book.${BTC}`])
  worker.state(BTC, 'LIVE')
  const bad = [Buffer.from([0xc1]), Buffer.from('no msgpack'), Buffer.alloc(0), Buffer.from([0x81, 0xa4])]
  for (const type of ['trade', 'book_state', 'book_delta', 'book_snapshot', 'heartbeat'])
    for (const bytes of bad) source.onMessage(`${type}.${BTC}`, bytes)
  source.say(`trade.${BTC}`, { type: 'trade', rows: 7 })
  worker.trade(BTC, 8)
  for (const client of clients) assert.equal((await client.next(({ type }) => type === 'trade')).rows[0].trade_id, 8)
})

test('stream should refuse what is no request with a word and a line, and go on', async (t) => {
  const { open } = await scene(t, { subscriptionsMax: 3 })
  const client = await open()
  const code = async (message: object | string) => {
    client.ws.send(typeof message === 'string' ? message : JSON.stringify(message))
    const { op, code, message: line } = await client.next(({ op }) => op === 'error')
    assert.equal(op, 'error')
    assert.ok(line.length > 0 && !line.includes('\n'))
    return code
  }
  assert.equal(await code('{'), 'bad_request')
  assert.equal(await code('[]'), 'bad_request')
  assert.equal(await code({ op: 'buy', id: 1 }), 'unknown_op')
  assert.equal(await code({ op: 'subscribe' }), 'bad_request')
  assert.equal(await code({ op: 'subscribe', patterns: ['trade.binance'] }), 'bad_pattern')
  assert.equal(await code({ op: 'subscribe', patterns: ['>.x'] }), 'bad_pattern')
  assert.equal(await code({ op: 'subscribe', patterns: ['trades.>'] }), 'unknown_type')
  assert.equal(await code({ op: 'subscribe', patterns: ['book.>'], depth: 0 }), 'bad_request')
  assert.equal(await code({ op: 'subscribe', patterns: ['trade.>'], from: 'x' }), 'bad_request')
  assert.equal(
    await code({ op: 'subscribe', patterns: ['trade.>', 'ticker.>', 'gap.>', 'kline.>'] }),
    'too_many_subscriptions',
  )
  client.send({ op: 'ping', id: 9 })
  assert.equal((await client.next(({ op }) => op === 'pong')).id, 9)
})

test('stream should bound patterns with wildcards on one connection, and take one that is said twice for one', async (t) => {
  const { worker, open } = await scene(t, { subscriptionsMax: 1_000 })
  const client = await open()
  const many = (count: number) => Array.from({ length: count }, (_, index) => `trade.*.*.A${index}*`)
  assert.equal((await client.subscribe(many(101))).code, 'too_many_subscriptions')
  assert.equal((await client.subscribe(many(100))).op, 'subscribed')
  const exact = `trade.${BTC}`
  assert.equal((await client.subscribe([exact, exact])).op, 'subscribed')
  worker.trade(BTC, 1)
  await client.next(({ type }) => type === 'trade')
  client.send({ op: 'unsubscribe', id: 'u', patterns: [exact] })
  await client.next(({ id }) => id === 'u')
  worker.trade(BTC, 2)
  client.send({ op: 'ping', id: 'p' })
  await client.next(({ id }) => id === 'p')
  assert.deepEqual(
    client.said.filter(({ type }) => type === 'trade'),
    [],
  )
})

test('stream should not mix two depths of one book on a connection', async (t) => {
  const { open } = await scene(t)
  const client = await open()
  assert.equal((await client.subscribe([`book.${BTC}`, 'book.okx.*.A*'], { depth: 5 })).op, 'subscribed')
  for (const pattern of ['book.>', 'book.binance.>', 'book.binance.*.BTC*', 'book.okx.swap.AB', 'book.okx.s*.A*C'])
    assert.equal((await client.subscribe([pattern])).code, 'depth_conflict', pattern)
  for (const pattern of ['book.binance.spot.>', `book.${ETH}`, 'book.okx.swap.BA', 'book.okx.*.B*'])
    assert.equal((await client.subscribe([pattern])).op, 'subscribed', pattern)
  assert.equal((await client.subscribe(['book.binance.usdm.*'], { depth: 5 })).code, 'depth_conflict') // ETH is whole
  assert.equal((await client.subscribe([`book.${BTC}`], { depth: 7 })).op, 'subscribed') // the same one: it is another now
  assert.equal((await client.subscribe(['trade.>', `book.${BTC}`])).op, 'subscribed')
})

test('stream should leave the book of whoever subscribes and unsubscribes all the time as it is', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? freshSeed())
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const below = (bound: number): number => Math.floor(random() * bound)
  const { worker, engine, open } = await scene(t)
  const [bids, asks]: [Mantissas, Mantissas] = [
    [
      [10_000, 1_000],
      [9_999, 500],
      [9_998, 400],
    ],
    [[10_005, 2_000]],
  ]
  const truth = new Map<number, number>(bids)
  worker.live(BTC, bids, asks)
  const beating = setInterval(() => worker.heartbeat(), 500)
  t.after(() => clearInterval(beating))
  const client = await open()
  const pattern = `book.${BTC}`
  await client.subscribe([pattern])
  await client.until(() => engine.wanted[0], 'request for the book')
  worker.snapshot(BTC, bids, asks, { lastSeq: 100, epoch: 1, reason: 'wanted' })
  let seq = 100
  let wanted: number | undefined = 0 // levels; 0 is all, undefined none
  const book = new Map<string, string>()
  const take = (): void => {
    for (const message of client.said.splice(0)) {
      if (message.kind === 'snapshot') book.clear()
      if (message.type !== 'book') continue
      for (const [price, quantity] of message.bids) quantity === '0' ? book.delete(price) : book.set(price, quantity)
    }
  }
  for (let round = 0; round < 15; round++) {
    for (let step = 1 + below(12); step > 0; step--) {
      const choice = below(4)
      if (choice === 0) client.send({ op: 'unsubscribe', patterns: [pattern] })
      if (choice === 1) client.send({ op: 'subscribe', patterns: [pattern], ...(step % 2 === 0 ? { depth: 2 } : {}) })
      if (choice < 2) wanted = choice === 0 ? undefined : step % 2 === 0 ? 2 : 0
      if (choice < 2) continue
      const [price, quantity] = [9_990 + below(12), below(3) * 100]
      if (quantity === 0) truth.delete(price)
      else truth.set(price, quantity)
      worker.delta(BTC, [[price, quantity]], [], { firstSeq: seq + 1, lastSeq: ++seq })
      if (below(3) === 0) await sleep(5)
    }
    client.send({ op: 'ping', id: round })
    await client.until(() => client.said.find(({ op, id }) => op === 'pong' && id === round), 'pong')
    await sleep(60)
    take()
    if (wanted === undefined) continue
    const best = [...truth].sort(([left], [right]) => right - left).slice(0, wanted === 0 ? undefined : wanted)
    const told = best.map(([price, quantity]) => [String(price / 100), String(quantity / 1000)])
    assert.deepEqual(
      [...book].sort(([left], [right]) => Number(right) - Number(left)),
      told,
      `round ${round}, seed ${seed}`,
    )
  }
})

test('stream should close a client that says too much with 1008', async (t) => {
  const { open } = await scene(t, { messagesPerSecond: 2 })
  const client = await open()
  for (let id = 0; id < 30; id++) client.send({ op: 'ping', id })
  const { code, reason } = await client.until(() => client.closed, 'close')
  assert.equal(code, 1008)
  assert.match(reason, /more than 2 messages a second/)
})

test('stream should take no key in its URL and no unknown format', async (t) => {
  const { gateway, open } = await scene(t)
  const refusal = async (path: string) => {
    const ws = new WebSocket(`${gateway.url.replace('http', 'ws')}${path}`)
    const [error] = (await once(ws, 'error')) as [Error]
    return error.message
  }
  assert.match(await refusal('/v1/stream?key=secret'), /400/)
  assert.match(await refusal('/v1/stream?format=xml'), /400/)
  assert.equal((await open('/v1/stream?format=msgpack')).ws.readyState, WebSocket.OPEN)
})

test('stream should evict a client that reads nothing with 1013, and hold no more of it than its bound', async (t) => {
  const { worker, open, gateway } = await scene(t, { queueBytesMax: 64 * 1024 })
  const [stalled, reading] = [await open(), await open()]
  await stalled.subscribe(['trade.>', 'book_ticker.>'])
  await reading.subscribe(['trade.>'])
  const raw = (stalled.ws as unknown as { _socket: { pause(): void; resume(): void } })._socket
  raw.pause()
  let id = 0
  while (gateway.counts.evicted === 0 && id < 200_000) {
    for (let burst = 0; burst < 200; burst++) {
      worker.trade(BTC, ++id)
      worker.quote(BTC, id)
    }
    // the next burst when this one is read by the other: what waits then is the stalled one's
    await reading.until(() => (reading.said.at(-1)?.rows?.[0].trade_id === id ? true : undefined), 'a burst')
    assert.ok(gateway.counts.queuedBytes < 1 << 20)
  }
  assert.equal(gateway.counts.evicted, 1)
  raw.resume()
  const { code, reason } = await stalled.until(() => stalled.closed, 'close')
  assert.equal(code, 1013)
  assert.match(reason, /reads too slowly|read nothing/)
  const ids: number[] = reading.said.filter(({ type }) => type === 'trade').map(({ rows }) => rows[0].trade_id)
  await reading.until(() => (reading.said.at(-1)?.rows?.[0].trade_id === id ? true : undefined), 'last trade')
  assert.ok(
    ids.every((each, index) => index === 0 || each === (ids[index - 1] as number) + 1),
    'the other misses nothing',
  )
})

test('stream should end with 1001 when the gateway stops', async (t) => {
  const { open, gateway } = await scene(t)
  const client = await open()
  await gateway.close()
  assert.equal((await client.until(() => client.closed, 'close')).code, 1001)
})

test('stream should wait for a key in the first message where keys are needed, and close with 1008 for a bad one', async (t) => {
  const newKey = (): string => `marketprism_desk_${randomBytes(32).toString('base64url')}`
  const key = newKey()
  const keys = { file: '', single: { id: 'desk', sha256: hashOfKey(key), scopes: ['stream' as const] } }
  const source = new ToldSource()
  const { gateway } = await served(t, { security: { keys } }, SILENT, source)
  const worker = new ToldWorker(source)
  const open = () => Listener.open(t, gateway.url, '/v1/stream')
  const good = await open()
  assert.equal((await good.subscribe(['trade.>'])).code, 'unauthorized')
  good.send({ op: 'auth', id: 'a', key })
  assert.equal((await good.next(({ op }) => op === 'authenticated')).id, 'a')
  await good.subscribe(['trade.>'])
  worker.trade(BTC, 1)
  assert.equal((await good.next(({ type }) => type === 'trade')).rows[0].trade_id, 1)
  const bad = await open()
  const wrong = newKey()
  bad.send({ op: 'auth', id: 'b', key: wrong })
  const { code, reason } = await bad.until(() => bad.closed, 'close')
  assert.equal(code, 1008)
  const error = bad.said.at(-1) // the last word before the close
  assert.deepEqual([error.op, error.code, error.id, error.message], ['error', 'key_unknown', 'b', reason])
  for (const secret of [key, wrong]) assert.ok(!`${reason}${JSON.stringify(bad.said)}`.includes(secret))
  worker.trade(BTC, 2)
  assert.deepEqual(
    bad.said.filter(({ type }) => type !== undefined),
    [],
  )
})
