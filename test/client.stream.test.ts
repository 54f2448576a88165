import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { WebSocket, WebSocketServer } from 'ws'
import {
  compareDecimals,
  connectStream,
  type MarketStream,
  StreamBooks,
  type StreamMessage,
  type StreamOptions,
  StreamRefusal,
  type StreamSocket,
} from '../engine/client/index.ts'
import { hashOfKey } from '../engine/gateway/security/keys.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, temporaryDirectory } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { type Mantissas, ToldSource, ToldWorker } from './support/live.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'
const BIDS: Mantissas = [
  [10_000, 1_000],
  [9_999, 500],
]
const ASKS: Mantissas = [[10_001, 2_000]]

/** A gateway whose engine says what the test wants, and a client of it whose sockets can be cut. */
async function scene(t: TestContext, live: object = {}, options: Partial<StreamOptions> = {}) {
  const source = new ToldSource()
  const limits = {
    resumeBytes: 1 << 20,
    queueBytesMax: 1 << 20,
    stallMsMax: 10_000,
    subscriptionsMax: 100,
    messagesPerSecond: 1_000,
  }
  const { gateway, engine } = await served(t, { live: { ...limits, ...live } }, SILENT, source)
  const sockets: WebSocket[] = []
  const open = (patterns: readonly string[], more: Partial<StreamOptions> = {}): MarketStream => {
    const stream = connectStream({
      url: gateway.url,
      patterns,
      socket: (url) => {
        const socket = new WebSocket(url)
        sockets.push(socket)
        return socket as unknown as StreamSocket
      },
      ...options,
      ...more,
    })
    cleanUp(t, () => stream.close())
    return stream
  }
  return { worker: new ToldWorker(source), gateway, engine, open, cut: () => sockets.at(-1)?.terminate(), sockets }
}

/** Reads one by one, as a program does. */
function reader(stream: MarketStream) {
  const messages = stream[Symbol.asyncIterator]()
  const next = async (): Promise<StreamMessage> => {
    const { value, done } = await Promise.race([
      messages.next(),
      sleep(10_000, undefined, { ref: false }).then(() => assert.fail('nothing came in 10 s')),
    ])
    assert.ok(done !== true, 'the stream has ended')
    return value
  }
  const until = async <Found extends StreamMessage>(
    isIt: (message: StreamMessage) => message is Found,
  ): Promise<Found> => {
    for (;;) {
      const message = await next()
      if (isIt(message)) return message
    }
  }
  const connection = (state: string) =>
    until(
      (message): message is StreamMessage & { type: 'connection' } =>
        message.type === 'connection' && message.state === state,
    )
  const trade = async () => {
    const { rows } = await until((message): message is StreamMessage & { type: 'trade' } => message.type === 'trade')
    return rows[0]
  }
  return { next, until, connection, trade }
}

const settled = () => sleep(60)

for (const format of ['json', 'msgpack'] as const) {
  test(`client stream should bring rows with their types (${format})`, async (t) => {
    const { worker, open } = await scene(t)
    const stream = open(['trade.binance.*.BTC*'], { format })
    const { connection, trade } = reader(stream)
    await connection('open')
    worker.trade(ETH, 1)
    worker.trade(BTC, 2, 6_180_020)
    const row = await trade()
    assert.deepEqual(
      [row?.trade_id, row?.price, row?.side, row?.received_ns],
      [2, '61800.2', 'buy', '1723118400000000000'],
    )
    assert.match(stream.lastSeq, /^\w+-\d+$/)
    assert.ok(stream.lastBytes > 100)
  })
}

test('client stream should continue after the last message when its connection is cut, without a hole and without doubling', async (t) => {
  const { worker, open, cut, sockets } = await scene(t)
  const stream = open(['trade.>'])
  const { connection, trade } = reader(stream)
  await connection('open')
  const seen: (number | undefined)[] = []
  for (let id = 1; id <= 30; id++) {
    worker.trade(BTC, id)
    if (id % 10 === 5) cut()
    if (id % 10 === 0) {
      while (seen.length < id) seen.push((await trade())?.trade_id)
    }
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 30 }, (_, index) => index + 1),
  )
  assert.equal(sockets.length, 4)
})

test('client stream should say that messages may be missing when the gateway does not have them any more', async (t) => {
  const { worker, open, cut } = await scene(t, { resumeBytes: 4_000 })
  const stream = open(['trade.>'])
  const { connection, trade } = reader(stream)
  await connection('open')
  worker.trade(BTC, 1)
  await trade()
  cut()
  for (let id = 2; id < 100; id++) worker.trade(BTC, id)
  assert.match((await connection('gap')).reason, /not kept any more/)
  worker.trade(BTC, 500)
  assert.equal((await trade())?.trade_id, 500)
})

test('client stream should continue an earlier one by its sequence', async (t) => {
  const { worker, open } = await scene(t)
  const first = open(['trade.>'])
  const one = reader(first)
  await one.connection('open')
  worker.trade(BTC, 1)
  await one.trade()
  first.close()
  worker.trade(BTC, 2)
  const second = reader(open(['trade.>'], { from: first.lastSeq }))
  assert.equal((await second.trade())?.trade_id, 2)
})

test('client stream should wait for a reader that is slow, holding no more than its queue', async (t) => {
  const { worker, open } = await scene(t, { queueBytesMax: 1 << 24 })
  const stream = open(['trade.>'], { queueMax: 10 })
  const { connection, trade } = reader(stream)
  await connection('open')
  for (let id = 1; id <= 3_000; id++) worker.trade(BTC, id)
  await sleep(200)
  for (let id = 1; id <= 3_000; id++) assert.equal((await trade())?.trade_id, id)
})

test('client stream should take patterns while it runs, and leave them', async (t) => {
  const { worker, open } = await scene(t)
  const stream = open([`trade.${BTC}`])
  const { connection, trade } = reader(stream)
  await connection('open')
  stream.subscribe([`trade.${ETH}`])
  await settled()
  worker.trade(ETH, 1)
  assert.equal((await trade())?.trade_id, 1)
  stream.unsubscribe([`trade.${ETH}`])
  await settled()
  worker.trade(ETH, 2)
  worker.trade(BTC, 3)
  assert.equal((await trade())?.trade_id, 3)
})

test('client stream should end with the word of the gateway when it is refused', async (t) => {
  const { open } = await scene(t)
  const refused = (code: string, patterns: string[], more: Partial<StreamOptions> = {}) =>
    assert.rejects(
      async () => {
        for await (const _ of open(patterns, more));
      },
      (error) => error instanceof StreamRefusal && error.code === code,
    )
  await refused('bad_pattern', ['trade'])
  const { gateway } = await served(t, {
    security: { keys: { file: '', single: { id: 'k', sha256: '0'.repeat(64), scopes: ['stream'] } } },
  })
  await refused('key_unknown', ['trade.>'], { url: gateway.url, key: 'marketprism_wrong' })
})

test('client stream should come back later when it said too much, and have all that it asked for', async (t) => {
  const { worker, open, sockets } = await scene(t, { messagesPerSecond: 2 })
  const stream = open([`trade.${BTC}`])
  const { connection, trade } = reader(stream)
  await connection('open')
  for (let index = 0; index < 20; index++) stream.subscribe([`ticker.binance.usdm.S${index}`])
  stream.subscribe([`trade.${ETH}`])
  assert.match((await connection('closed')).reason, /^more than 2 messages a second/)
  const closedMs = performance.now()
  await connection('open')
  assert.ok(performance.now() - closedMs > 1_900, 'not at once')
  assert.equal(sockets.length, 2)
  worker.trade(ETH, 1)
  assert.equal((await trade())?.trade_id, 1)
})

test('client stream should come back to a gateway that evicts it, stops or starts anew, and say what it may have missed', async (t) => {
  const first = await scene(t)
  const stream = first.open(['trade.>'])
  const { connection, trade } = reader(stream)
  await connection('open')
  first.worker.trade(BTC, 1)
  first.worker.trade(BTC, 2)
  await trade()
  assert.equal((await trade())?.trade_id, 2)
  const { port } = new URL(first.gateway.url)
  await first.gateway.close()
  await connection('closed')
  // one that is full, then another life of the gateway: what came between is not in its memory
  const full = new WebSocketServer({ port: Number(port), host: '127.0.0.1' })
  await new Promise<void>((resolve) =>
    full.on('connection', (socket) => {
      socket.close(1013, 'it reads too slowly')
      resolve()
    }),
  )
  await new Promise<void>((resolve) => full.close(() => resolve()))
  const source = new ToldSource()
  await served(t, { port: Number(port) }, SILENT, source)
  assert.match((await connection('gap')).reason, /not kept any more/)
  new ToldWorker(source).trade(BTC, 3)
  assert.equal((await trade())?.trade_id, 3)
})

test('client stream should try again while its key comes too often', async (t) => {
  const key = `marketprism_busy_${'k'.repeat(43)}`
  const file = path.join(temporaryDirectory(t), 'keys')
  writeFileSync(file, JSON.stringify({ id: 'busy', sha256: hashOfKey(key), scopes: ['stream'], requestsPerSecond: 1 }))
  const security = { keys: { file, single: undefined } }
  const { gateway } = await served(t, { security }, SILENT, new ToldSource())
  const streams = Array.from({ length: 3 }, () => connectStream({ url: gateway.url, patterns: ['trade.>'], key }))
  for (const stream of streams) cleanUp(t, () => stream.close())
  await Promise.all(streams.map((stream) => reader(stream).connection('open')))
})

test('client stream should ask for more patterns than one message may hold, and continue with all of them', async (t) => {
  const { worker, open, cut } = await scene(t, { subscriptionsMax: 3_000 })
  const others = Array.from(
    { length: 1_500 },
    (_, index) => `trade.binance.spot.SOME_LONG_NAME_THAT_IS_NEVER_HEARD_OF_${index}`,
  )
  const stream = open([`trade.${BTC}`, ...others, `trade.${ETH}`])
  const { connection, trade } = reader(stream)
  await connection('open')
  await settled()
  const seen: string[] = []
  for (let id = 1; id <= 10; id++) {
    worker.trade(BTC, id)
    worker.trade(ETH, 100 + id)
    if (id === 5) cut()
  }
  while (seen.length < 20) seen.push(String((await trade())?.trade_id))
  const ids = (first: number) => Array.from({ length: 10 }, (_, index) => String(first + index))
  assert.deepEqual(
    seen.filter((id) => Number(id) < 100),
    ids(1),
  )
  assert.deepEqual(
    seen.filter((id) => Number(id) > 100),
    ids(101),
  )
})

test('client stream should end when its signal says so, and try again for ever while nobody answers', async (t) => {
  const stop = new AbortController()
  const stream = connectStream({ url: 'http://127.0.0.1:1', patterns: ['>'], signal: stop.signal })
  cleanUp(t, () => stream.close())
  const told: StreamMessage[] = []
  setTimeout(() => stop.abort(), 400)
  for await (const message of stream) told.push(message)
  assert.deepEqual(
    told.map((message) => message.type === 'connection' && message.state),
    ['closed'],
  )
})

test('client books should hold the book of the gateway level for level, and none that is not LIVE', async (t) => {
  const { worker, open, cut, engine } = await scene(t)
  worker.live(BTC, BIDS, ASKS)
  const beating = setInterval(() => worker.heartbeat(), 500) // a silent worker's books are STALE
  cleanUp(t, () => clearInterval(beating))
  const stream = open([`book.${BTC}`])
  const { until, connection } = reader(stream)
  const books = new StreamBooks()
  const next = async (kind: string) =>
    books.apply(
      await until(
        (message): message is StreamMessage & { type: 'book' } => message.type === 'book' && message.kind === kind,
      ),
    )
  const wanted = async (count: number) => {
    while (engine.wanted.length < count) await sleep(10)
    worker.snapshot(BTC, BIDS, ASKS, { lastSeq: 100, epoch: 1, reason: 'wanted' })
  }
  assert.equal(books.get(BTC), undefined)
  await Promise.all([wanted(1), next('snapshot')])
  const book = books.get(BTC)
  assert.deepEqual(
    [book?.isLive, book?.lastSeq, book?.bids(), book?.asks(1)],
    [
      true,
      100,
      [
        ['100', '1'],
        ['99.99', '0.5'],
      ],
      [['100.01', '2']],
    ],
  )
  worker.delta(
    BTC,
    [
      [10_000, 0],
      [9_998, 7],
    ],
    [[10_002, 1]],
    { firstSeq: 101, lastSeq: 105 },
  )
  await next('update')
  assert.deepEqual(
    [book?.lastSeq, book?.bids(), book?.asks()],
    [
      105,
      [
        ['99.99', '0.5'],
        ['99.98', '0.007'],
      ],
      [
        ['100.01', '2'],
        ['100.02', '0.001'],
      ],
    ],
  )
  worker.state(BTC, 'GAP', 'sequence')
  books.apply(
    await until((message): message is StreamMessage & { type: 'book_reset' } => message.type === 'book_reset'),
  )
  assert.deepEqual([book?.isLive, book?.state, book?.reason, book?.bids()], [false, 'GAP', 'sequence', []])
  worker.state(BTC, 'LIVE')
  worker.snapshot(BTC, [[8_000, 1]], [[8_001, 1]], { lastSeq: 300, epoch: 2 })
  await next('snapshot')
  assert.deepEqual([book?.isLive, book?.epoch, book?.bids()], [true, 2, [['80', '0.001']]])
  cut()
  books.apply(await connection('closed'))
  assert.deepEqual([book?.isLive, book?.state], [false, 'STALE'])
  await next('snapshot')
  assert.deepEqual([book?.isLive, book?.bids()], [true, [['80', '0.001']]])
})

test('client books should not apply a change of another epoch', () => {
  const books = new StreamBooks()
  const head = {
    type: 'book',
    exchange: 'a',
    market: 'b',
    symbol: 'c.d',
    seq: 'x-1',
    event_ns: '1',
    received_ns: '2',
  } as const
  books.apply({ ...head, kind: 'update', book_epoch: 1, first_seq: 1, last_seq: 2, bids: [['1', '1']], asks: [] })
  assert.equal(books.get('a.b.c.d')?.isLive, false)
  books.apply({ ...head, kind: 'snapshot', state: 'LIVE', book_epoch: 1, last_seq: 2, bids: [['1', '1']], asks: [] })
  books.apply({ ...head, kind: 'update', book_epoch: 2, first_seq: 3, last_seq: 4, bids: [['1', '0']], asks: [] })
  const book = books.get('a.b.c.d')
  assert.deepEqual([book?.isLive, book?.state, book?.symbol], [false, 'RESYNC', 'c.d'])
  books.apply({ ...head, type: 'book_reset', symbol: 'e', state: 'GAP', reason: 'sequence', since_ns: '3' })
  assert.deepEqual(
    books.all().map(({ symbol, state }) => [symbol, state]),
    [
      ['c.d', 'RESYNC'],
      ['e', 'GAP'],
    ],
  )
})

test('client decimals should be compared as numbers, whatever their length', () => {
  const decimal = fc
    .tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat({ max: 20 }))
    .map(([mantissa, scale]) => ({ mantissa, scale, text: decimalOf(mantissa, scale) }))
  const seed = Number(process.env.TEST_SEED ?? 11)
  fc.assert(
    fc.property(decimal, decimal, (a, b) => {
      const [left, right] = [a.mantissa * 10n ** BigInt(b.scale), b.mantissa * 10n ** BigInt(a.scale)]
      assert.equal(Math.sign(compareDecimals(a.text, b.text)), left < right ? -1 : left > right ? 1 : 0)
    }),
    { seed },
  )
})

/** Without zeros behind: as rows have it. */
function decimalOf(mantissa: bigint, scale: number): string {
  const digits = String(mantissa < 0n ? -mantissa : mantissa).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, '')
  return `${mantissa < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
}
