import { attemptAfter } from '../engine/feed/connection.ts'
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import { test } from 'node:test'
import type WebSocket from 'ws'
import { socketAgent } from '../engine/feed/proxy.ts'
import { until } from './support/feed-time.ts'
import { startConnectProxy, startSocksProxy } from './support/proxies.ts'
import { acknowledge, observe, QUICK, startVenue } from './support/venue.ts'

const frame = (n: number, pad = ''): string => `{"stream":"btcusdt@depth@0ms","data":{"n":${n},"pad":"${pad}"}}`

/** The raw socket under a server's WebSocket: `_socket` is private to ws, and only a test may look. */
const rawSocket = (socket: WebSocket): Socket => (socket as unknown as { _socket: Socket })._socket

test('connection should subscribe, announce itself once and deliver frames byte for byte', async () => {
  const asked: unknown[] = []
  const venue = await startVenue({
    onRequest: (socket, request) => {
      asked.push(request)
      acknowledge(socket, request)
      socket.send(frame(1))
      socket.send(frame(2))
    },
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('two frames', () => seen.frames.length === 2)
  assert.deepEqual(asked, [{ method: 'SUBSCRIBE', params: ['btcusdt@depth@0ms', 'btcusdt@bookTicker'], id: 1 }])
  assert.deepEqual(
    seen.frames.map((each) => each.text),
    [frame(1), frame(2)],
  )
  assert.equal(seen.log[0], 'open 1')
  assert.equal(seen.connection.state, 'open')
  seen.connection.stop()
  assert.equal(seen.log.at(-1), 'close 1 STOPPED')
  await until('no socket', () => seen.stats.openSockets === 0 && venue.server.clients.size === 0)
  await venue.close()
})

test('connection should announce itself before a frame that overtakes the acknowledgement', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => {
      socket.send(frame(1))
      acknowledge(socket, request)
    },
  })
  const seen = observe(venue.url)
  seen.onFrame = () => seen.log.push('frame')
  seen.connection.start()
  await until('a frame', () => seen.log.includes('frame'))
  assert.ok(seen.log.indexOf('open 1') < seen.log.indexOf('frame'))
  assert.equal(seen.log.filter((line) => line === 'open 1').length, 1)
  seen.connection.stop()
  await venue.close()
})

test('connection should split many streams into frames below the message rate', async () => {
  const ids: number[] = []
  const atMs: number[] = []
  const venue = await startVenue({
    onRequest: (socket, request) => {
      ids.push(request.id)
      atMs.push(performance.now())
      acknowledge(socket, request)
    },
  })
  const streams = Array.from({ length: 450 }, (_, index) => `s${index}usdt@trade`)
  const seen = observe(venue.url, {
    streams,
    clientMessagesPerSecondMax: 11,
    timing: { ...QUICK, ackTimeoutMs: 1_000, probeAfterMs: 10_000 },
  })
  seen.connection.start()
  await until('open', () => seen.connection.state === 'open')
  assert.deepEqual(ids, [1, 2, 3])
  assert.ok((atMs[2] as number) - (atMs[0] as number) >= 190, 'two gaps of 100 ms')
  seen.connection.stop()
  await venue.close()
})

test('connection should ask again for a missing acknowledgement, then give the socket up', async () => {
  const ids: number[] = []
  const venue = await startVenue({ onRequest: (_socket, request) => ids.push(request.id) })
  const seen = observe(venue.url, { timing: { ...QUICK, probeAfterMs: 10_000 } })
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.match(seen.connection.lastReason, /^ACK_MISSING/)
  assert.deepEqual(ids.slice(0, 2), [1, 1])
  assert.deepEqual(seen.log, [], 'a generation that never opened is neither opened nor closed')
  seen.connection.stop()
  await venue.close()
})

for (const answer of [{ error: { code: 2, msg: 'Invalid request' } }, { code: 2, msg: 'Invalid request' }]) {
  test(`connection should reconnect when the venue refuses with ${JSON.stringify(answer)}`, async () => {
    const venue = await startVenue({
      onRequest: (socket, request) => socket.send(JSON.stringify({ ...answer, id: request.id })),
    })
    const seen = observe(venue.url)
    seen.connection.start()
    await until('a reconnect', () => seen.connection.generation >= 2)
    assert.equal(seen.connection.lastReason, 'SUBSCRIBE_REFUSED 2 Invalid request')
    seen.connection.stop()
    await venue.close()
  })
}

test('connection should take a venue that answers no question for dead', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => request.method === 'SUBSCRIBE' && acknowledge(socket, request),
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.equal(
    seen.log.find((line) => line.startsWith('close 1')),
    'close 1 SILENT',
  )
  assert.ok(seen.stats.probes >= 1)
  seen.connection.stop()
  await venue.close()
})

test('connection should not blame a quiet venue that answers', async () => {
  const venue = await startVenue({ onRequest: acknowledge })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('three probes', () => seen.stats.probes >= 3)
  assert.equal(seen.connection.generation, 1)
  seen.connection.stop()
  await venue.close()
})

test('connection should subscribe anew when answers come but data does not', async () => {
  const venue = await startVenue({ onRequest: acknowledge })
  const seen = observe(venue.url, { timing: { ...QUICK, dataSilenceMsMax: 150 } })
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.equal(
    seen.log.find((line) => line.startsWith('close 1')),
    'close 1 NO_DATA',
  )
  seen.connection.stop()
  await venue.close()
})

test('connection should leave a half-open socket within its deadlines', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      rawSocket(socket).pause() // neither reads nor writes from here on
    },
  })
  const seen = observe(venue.url)
  const startMs = performance.now()
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.ok(performance.now() - startMs < 5_000)
  assert.equal(
    seen.log.find((line) => line.startsWith('close 1')),
    'close 1 SILENT',
  )
  assert.ok(seen.stats.openSockets <= 1)
  seen.connection.stop()
  await venue.close()
})

test('connection should echo the payload of a ping', async () => {
  const pongs: string[] = []
  const venue = await startVenue({
    onConnection: (socket) => {
      socket.on('pong', (payload) => pongs.push(payload.toString()))
      socket.ping('1732181234567')
    },
    onRequest: acknowledge,
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('a pong', () => pongs.length > 0)
  assert.deepEqual(pongs, ['1732181234567'])
  seen.connection.stop()
  await venue.close()
})

test('connection should send unsolicited pongs only where the heartbeat says so', async () => {
  for (const [unsolicitedPongMs, expected] of [
    [30, true],
    [0, false],
  ] as const) {
    let pongCount = 0
    const venue = await startVenue({
      onConnection: (socket) => socket.on('pong', () => pongCount++),
      onRequest: acknowledge,
    })
    const heartbeat = { serverPingMs: 180_000, pongDeadlineMs: 600_000, unsolicitedPongMs }
    const seen = observe(venue.url, { heartbeat })
    seen.connection.start()
    await until('probes', () => seen.stats.probes >= 2)
    assert.equal(pongCount > 0, expected)
    seen.connection.stop()
    await venue.close()
  }
})

test('connection should survive 1,000 closes of every kind with one socket at a time and none left', async () => {
  const kinds: ((socket: WebSocket) => void)[] = [
    (socket) => socket.close(1001),
    (socket) => socket.terminate(),
    (socket) => rawSocket(socket).resetAndDestroy(),
    (socket) => rawSocket(socket).end(Buffer.from([0x88, 0x02, 0x03, 0xe8])),
    (socket) => rawSocket(socket).write(Buffer.from([0xff, 0xff, 0xff])), // not WebSocket at all
  ]
  let socketsMax = 0
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      socket.send(frame(venue.connectionCount))
      kinds[venue.connectionCount % kinds.length]?.(socket)
    },
  })
  const seen = observe(venue.url)
  seen.onFrame = () => {
    socketsMax = Math.max(socketsMax, seen.stats.openSockets)
  }
  seen.connection.start()
  await until('1,000 generations', () => seen.connection.generation > 1_000, 60_000)
  seen.connection.stop()
  await until('no socket on either side', () => seen.stats.openSockets === 0 && venue.server.clients.size === 0)
  assert.equal(seen.stats.connects, seen.connection.generation)
  assert.equal(seen.stats.closes, seen.stats.connects)
  assert.ok(socketsMax <= 2, `${socketsMax} sockets at once`) // the one that closes and its successor
  const opens = seen.log.filter((line) => line.startsWith('open')).length
  const closes = seen.log.filter((line) => line.startsWith('close')).length
  assert.equal(opens, closes)
  assert.ok(opens >= 990, `${opens} generations opened`)
  const reasons = [...seen.stats.closeReasons.keys()]
  for (const reason of ['CLOSED_BY_PEER', 'WS_ERR_UNEXPECTED_RSV_2_3'])
    assert.ok(reasons.includes(reason), `${reasons}`)
  await venue.close()
})

test('connection should deliver nothing of a generation after its close, even from the middle of a burst', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      const raw = rawSocket(socket)
      raw.cork()
      for (let n = 0; n < 500; n++) socket.send(frame(n))
      raw.uncork()
    },
  })
  const seen = observe(venue.url)
  seen.onFrame = (generation) => {
    const delivered = seen.frames.filter((each) => each.generation === generation).length
    if (generation < 20 && delivered === 50) seen.connection.reconnect(generation, 'ASKED')
  }
  seen.connection.start()
  await until('20 generations', () => seen.frames.some((each) => each.generation === 20))
  for (let generation = 1; generation < 20; generation++) {
    assert.equal(seen.frames.filter((each) => each.generation === generation).length, 50)
  }
  seen.connection.reconnect(3, 'LATE') // an old generation asks in vain
  assert.equal(seen.connection.generation, 20)
  seen.connection.stop()
  await venue.close()
})

test('connection should close on a frame that exceeds its bound', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      socket.send(frame(1, 'x'.repeat(70_000)))
    },
  })
  const seen = observe(venue.url)
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.match(seen.connection.lastReason, /^WS_ERR_UNSUPPORTED_MESSAGE_LENGTH/)
  assert.equal(seen.frames.length, 0)
  seen.connection.stop()
  await venue.close()
})

test('connection should stop reading while paused and lose nothing', async () => {
  const count = 20_000
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      for (let n = 0; n < count; n++) socket.send(frame(n))
    },
  })
  const seen = observe(venue.url, { timing: { ...QUICK, ackTimeoutMs: 5_000 } })
  seen.onFrame = () => {
    if (seen.frames.length === 100) seen.connection.pause()
  }
  seen.connection.start()
  await until('the pause', () => seen.connection.isPaused)
  await new Promise((resolve) => setTimeout(resolve, 400)) // longer than probe and its deadline
  const whilePaused = seen.frames.length
  assert.ok(whilePaused < count / 2, `${whilePaused} frames came through a paused socket`)
  assert.equal(seen.connection.generation, 1)
  seen.connection.resume()
  await until('every frame', () => seen.frames.length === count)
  assert.deepEqual(seen.frames.at(-1), { generation: 1, text: frame(count - 1) })
  seen.connection.stop()
  await venue.close()
})

test('connection should not ask again for an acknowledgement that waits behind a pause', async () => {
  let subscribeCount = 0
  const venue = await startVenue({
    onRequest: (socket, request) => {
      if (request.method === 'SUBSCRIBE') subscribeCount++
      socket.send(frame(1))
      setTimeout(() => acknowledge(socket, request), 20)
    },
  })
  const seen = observe(venue.url)
  seen.onFrame = () => seen.connection.pause()
  seen.connection.start()
  await until('the pause', () => seen.connection.isPaused)
  await new Promise((resolve) => setTimeout(resolve, 300)) // five deadlines
  assert.equal(subscribeCount, 1)
  assert.equal(seen.connection.generation, 1)
  seen.connection.resume()
  seen.connection.stop()
  await venue.close()
})

test('connection should back off exponentially and start over only after a healthy life', async () => {
  for (const [healthyAfterMs, expected] of [
    [60_000, [10, 20, 40, 80, 80]],
    [0, [10, 10, 10, 10, 10]],
  ] as const) {
    const venue = await startVenue({
      onRequest: (socket, request) => {
        acknowledge(socket, request)
        setTimeout(() => socket.terminate(), 5)
      },
    })
    const delays: number[] = []
    const real = (await import('./support/feed-time.ts')).machineTime
    const time = {
      ...real,
      after: (delayMs: number, run: () => void) => {
        if ([10, 20, 40, 80].includes(delayMs)) delays.push(delayMs)
        return real.after(delayMs, run)
      },
    }
    const timing = { ...QUICK, backoffFloorMs: 10, backoffCapMs: 80, healthyAfterMs, watchIntervalMs: 37 }
    const seen = observe(venue.url, { timing }, { random: () => 1, time })
    seen.connection.start()
    await until('six generations', () => seen.connection.generation >= 6)
    assert.deepEqual(delays.slice(0, 5), expected)
    seen.connection.stop()
    await venue.close()
  }
})

test('connection should survive handshakes that are refused, redirected or never answered', async () => {
  let requestCount = 0
  let redirectedCount = 0
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    if (request.url === '/elsewhere') redirectedCount++
    requestCount++
    if (requestCount % 3 === 0) socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
    else if (requestCount % 3 === 1)
      socket.end('HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const seen = observe(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/stream`)
  seen.connection.start()
  await until('seven attempts', () => seen.connection.generation >= 7)
  seen.connection.stop()
  await until('no socket', () => seen.stats.openSockets === 0)
  assert.equal(redirectedCount, 0)
  assert.deepEqual(seen.log, [])
  server.closeAllConnections()
  server.close()
})

test('connection should keep trying while nobody listens', async () => {
  const probe = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => probe.once('listening', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  const seen = observe(`ws://127.0.0.1:${port}/stream`)
  seen.connection.start()
  await until('five attempts', () => seen.connection.generation >= 5)
  assert.match(seen.connection.lastReason, /^ECONNREFUSED/)
  seen.connection.stop()
  await until('no socket', () => seen.stats.openSockets === 0)
})

test('connection should not wait for a peer that says goodbye and stays', async () => {
  const venue = await startVenue({
    onRequest: (socket, request) => {
      acknowledge(socket, request)
      if (venue.connectionCount === 1) rawSocket(socket).write(Buffer.from([0x88, 0x02, 0x03, 0xe8]))
      rawSocket(socket).removeAllListeners('data') // hears nothing any more, closes nothing
    },
  })
  const seen = observe(venue.url, { timing: { ...QUICK, probeAfterMs: 10_000 } })
  const startMs = performance.now()
  seen.connection.start()
  await until('a reconnect', () => seen.connection.generation >= 2)
  assert.ok(performance.now() - startMs < 8_000, 'before the probe finds out')
  seen.connection.stop()
  await venue.close()
})

for (const [name, start] of [
  ['SOCKS5', startSocksProxy],
  ['HTTP CONNECT', startConnectProxy],
] as const) {
  test(`connection should go through a ${name} proxy`, async () => {
    const venue = await startVenue({
      onRequest: (socket, request) => {
        acknowledge(socket, request)
        socket.send(frame(1))
      },
    })
    const proxy = await start()
    const seen = observe(venue.url, { agent: socketAgent(proxy.url) })
    seen.connection.start()
    await until('a frame', () => seen.frames.length === 1)
    assert.deepEqual(proxy.targets, [new URL(venue.url).host])
    seen.connection.stop()
    await until('no socket', () => seen.stats.openSockets === 0)
    await proxy.close()
    await venue.close()
  })
}

test('connection should forget a step of its backoff for each healthy 5 s of 60, and all of them after 60', () => {
  const cases = [
    [0, 7],
    [4_999, 7],
    [5_000, 6],
    [16_000, 4],
    [40_000, 0],
    [60_000, 0],
  ] as const
  for (const [healthyMs, expected] of cases)
    assert.equal(attemptAfter(7, healthyMs, 60_000), expected, `${healthyMs} ms`)
  assert.equal(attemptAfter(100, 59_999, 60_000), 89)
  assert.equal(attemptAfter(100, 60_000, 60_000), 0)
})
