import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebSocket } from 'ws'
import { binanceFeed } from '../engine/exchanges/binance/index.ts'
import type { FeedRules } from '../engine/exchanges/exchange.ts'
import { until } from './support/feed-time.ts'
import { acknowledge, observe, QUICK, startVenue } from './support/venue.ts'

interface Request {
  readonly method: string
  readonly params?: string[]
  readonly id: number
}

const FRAME = '{"stream":"btcusdt@depth@0ms","data":{"n":1}}'

/** Rules whose acknowledgements name streams, as OKX and Deribit have them. */
function byName(overrides: Partial<FeedRules> = {}): FeedRules {
  const binance = binanceFeed()
  const named = (frames: ReturnType<FeedRules['subscribeFrames']>) =>
    frames.map((frame) => ({ ...frame, tokens: (JSON.parse(frame.text) as Request).params ?? [] }))
  return {
    ...binance,
    subscribeFrames: (streams, firstId) => named(binance.subscribeFrames(streams, firstId)),
    unsubscribeFrames: (streams, firstId) => named(binance.unsubscribeFrames(streams, firstId)),
    readControl: (bytes) => {
      const message = JSON.parse(Buffer.from(bytes).toString())
      if ('good' in message) return { kind: 'acknowledged', tokens: message.good, answers: message.answers }
      if ('bad' in message) return { kind: 'refused', tokens: message.bad, reason: 'no such thing' }
      return 'question' in message ? { kind: 'question', answer: message.question } : { kind: 'alive' }
    },
    ...overrides,
  }
}

const good = (socket: WebSocket, names: readonly string[] = [], answers?: number): void =>
  socket.send(JSON.stringify({ good: names, answers }))

test('subscriber should subscribe only after its opening was acknowledged, and answer questions at once', async () => {
  const heard: string[] = []
  const venue = await startVenue({
    onConnection: (socket) => socket.send('{"question":"{\\"method\\":\\"TEST\\",\\"id\\":0}"}'),
    onRequest: (socket, request) => {
      heard.push(request.method)
      const reply = (): void => good(socket, request.method === 'HELLO' ? ['hello'] : request.params)
      setTimeout(reply, request.method === 'HELLO' ? 30 : 0)
    },
  })
  const nows: number[] = []
  const rules = byName({
    openingFrames: (id, nowMs) => {
      nows.push(nowMs)
      return [{ id, text: JSON.stringify({ method: 'HELLO', id }), tokens: ['hello'] }]
    },
  })
  const seen = observe(venue.url, {}, { rules })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual(heard.toSorted(), ['HELLO', 'SUBSCRIBE', 'TEST'])
  assert.equal(heard.at(-1), 'SUBSCRIBE')
  assert.ok(Math.abs((nows[0] ?? 0) - Date.now()) < 5_000, 'wall time')
  seen.connection.stop()
  await venue.close()
})

test('subscriber should give up one refused stream and keep the connection', async () => {
  const venue = await startVenue({
    onRequest: (socket, { params = [] }) => {
      socket.send(JSON.stringify({ bad: ['btcusdt@bookTicker'] }))
      good(socket, params.slice(0, 1))
    },
  })
  const seen = observe(venue.url, {}, { rules: byName() })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual(seen.log, ['refused 1 btcusdt@bookTicker no such thing', 'open 1'])
  assert.deepEqual([...seen.connection.refused], [['btcusdt@bookTicker', 'no such thing']])
  assert.equal(seen.stats.refusals, 1)
  await new Promise((resolve) => setTimeout(resolve, 3 * QUICK.ackTimeoutMs))
  assert.equal(seen.connection.generation, 1)
  seen.connection.stop()
  await venue.close()
})

test('subscriber should fail as before when all is refused, or when nobody is named', async () => {
  for (const bad of [['btcusdt@depth@0ms', 'btcusdt@bookTicker'], []]) {
    const venue = await startVenue({ onRequest: (socket) => socket.send(JSON.stringify({ bad })) })
    const seen = observe(venue.url, {}, { rules: byName() })
    seen.connection.start()
    await until('a reconnect', () => seen.connection.generation >= 2)
    assert.equal(seen.connection.lastReason, 'SUBSCRIBE_REFUSED no such thing')
    seen.connection.stop()
    await venue.close()
  }
})

test('subscriber should refuse what the whole answer to its frame leaves out', async () => {
  const venue = await startVenue({
    onRequest: (socket, { params = [], id }) => good(socket, params.slice(1), id),
  })
  const seen = observe(venue.url, {}, { rules: byName() })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual([...seen.connection.refused.keys()], ['btcusdt@depth@0ms'])
  seen.connection.stop()
  await venue.close()
})

test('subscriber should find the one bad stream of a frame that is refused by its id', async () => {
  const streams = Array.from({ length: 40 }, (_, index) => `s${index}usdt@trade`)
  const granted = new Set<string>()
  let requestCount = 0
  const venue = await startVenue({
    onRequest: (socket, request) => {
      requestCount++
      if (request.params?.includes('s17usdt@trade'))
        return socket.send(JSON.stringify({ id: request.id, error: { code: 2, msg: 'Invalid' } }))
      for (const name of request.params ?? []) granted.add(name)
      acknowledge(socket, request)
    },
  })
  const timing = { ...QUICK, ackTimeoutMs: 2_000 }
  const seen = observe(venue.url, { streams, clientMessagesPerSecondMax: 1_000, timing })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual([...seen.connection.refused], [['s17usdt@trade', '2 Invalid']])
  assert.equal(granted.size, 39)
  assert.ok(requestCount <= 13, `${requestCount} requests`)
  seen.connection.stop()
  await venue.close()
})

test('connection should start streams anew on the open socket, and check that the venue did', async () => {
  const heard: Request[] = []
  const venue = await startVenue({
    onRequest: (socket, request) => {
      if (request.method !== 'LIST_SUBSCRIPTIONS') heard.push(request)
      setTimeout(() => acknowledge(socket, request), 15)
    },
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  seen.connection.resubscribe(1, ['btcusdt@depth@0ms', 'unknown@depth'])
  seen.connection.resubscribe(1, ['btcusdt@depth@0ms']) // another channel of the same stream
  await until('both messages', () => heard.length === 3)
  const words = heard.map(({ method, params, id }) => [method, params, id])
  assert.deepEqual(words, [
    ['SUBSCRIBE', ['btcusdt@depth@0ms', 'btcusdt@bookTicker'], 1],
    ['UNSUBSCRIBE', ['btcusdt@depth@0ms'], 2],
    ['SUBSCRIBE', ['btcusdt@depth@0ms'], 3],
  ])
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(heard.length, 3, 'once for both')
  assert.equal(seen.stats.resubscriptions, 1)
  seen.connection.resubscribe(7, ['btcusdt@depth@0ms'])
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(heard.filter(({ method }) => method === 'UNSUBSCRIBE').length, 1, 'another generation asks in vain')
  assert.deepEqual(seen.log, ['open 1'])
  seen.connection.stop()
  await venue.close()
})

test('connection should take a venue for broken that does not acknowledge a new start', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => request.method === 'SUBSCRIBE' && acknowledge(socket, request),
    onConnection: (socket) => setInterval(() => socket.send(FRAME), 5).unref(),
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  await new Promise((resolve) => setTimeout(resolve, 20))
  seen.connection.resubscribe(1, ['btcusdt@depth@0ms'])
  await until('a close', () => seen.log.some((line) => line.startsWith('close 1')))
  assert.match(seen.log.find((line) => line.startsWith('close 1')) ?? '', /^close 1 ACK_MISSING/)
  seen.connection.stop()
  await venue.close()
})

test('connection should replace its socket when the hour allows no further subscriptions on it', async () => {
  const methods: string[] = []
  const venue = await startVenue({
    onRequest: (socket, request) => {
      methods.push(`${venue.connectionCount} ${request.method}`)
      acknowledge(socket, request)
    },
  })
  const seen = observe(venue.url, { subscribesPerHourMax: 3, clientMessagesPerSecondMax: 1_000 })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  seen.connection.resubscribe(1, ['btcusdt@depth@0ms'])
  await until('the new start', () => methods.filter((method) => method.startsWith('1 ')).length === 3)
  seen.connection.resubscribe(1, ['btcusdt@depth@0ms'])
  await until('the rotation', () => seen.stats.rotations === 1)
  assert.deepEqual(seen.log, ['open 1', 'open 2', 'close 1 ROTATED SUBSCRIBE_BUDGET'])
  assert.ok(methods.includes('2 SUBSCRIBE'))
  seen.connection.stop()
  await venue.close()
})

test('connection should take streams in and out at run time, say nothing of the others, and remember them', async () => {
  const heard: Request[] = []
  const sockets: WebSocket[] = []
  const venue = await startVenue({
    onConnection: (socket) => sockets.push(socket),
    onRequest: (socket, request) => {
      if (request.method !== 'LIST_SUBSCRIPTIONS') heard.push(request)
      acknowledge(socket, request)
    },
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  seen.connection.subscribe(['ethusdt@trade', 'btcusdt@bookTicker'])
  seen.connection.unsubscribe(['btcusdt@depth@0ms', 'unknown@trade'])
  await until('both messages', () => heard.length === 3)
  assert.deepEqual(
    heard.slice(1).map(({ method, params }) => [method, params]),
    [
      ['SUBSCRIBE', ['ethusdt@trade']],
      ['UNSUBSCRIBE', ['btcusdt@depth@0ms']],
    ],
  )
  assert.deepEqual(seen.log, ['open 1'])
  sockets[0]?.terminate()
  await until('the next socket', () => seen.log.includes('open 2'))
  assert.deepEqual(heard.at(-1)?.params, ['btcusdt@bookTicker', 'ethusdt@trade'])
  seen.connection.stop()
  await venue.close()
})

test('connection should subscribe for what was added while it waited for its socket', async () => {
  const heard: Request[] = []
  const venue = await startVenue({
    onRequest: (socket, request) => {
      heard.push(request)
      acknowledge(socket, request)
    },
  })
  const seen = observe(venue.url)
  seen.connection.start(10)
  seen.connection.subscribe(['ethusdt@trade'])
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual(
    heard.map(({ params }) => params),
    [['btcusdt@depth@0ms', 'btcusdt@bookTicker', 'ethusdt@trade']],
  )
  seen.connection.stop()
  await venue.close()
})
