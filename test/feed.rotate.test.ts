import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { lifeMs, VenueSockets } from '../engine/feed/rotate.ts'
import { cleanUp } from './support/clean-up.ts'
import { until } from './support/feed-time.ts'
import { acknowledge, observe, type Observed, QUICK } from './support/venue.ts'

const SHUTDOWN = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'

/** A venue that numbers its events and sends each to every subscribed socket, as venues do; `delayMs` makes a path slow. */
interface Ticker {
  readonly url: string
  readonly sockets: Set<WebSocket>
  connectionCount: number
  sentSeq: number
  /** handshakes are answered with 503 */
  isRefusing: boolean
  delayMs: (connection: number) => number
  isMute: (connection: number) => boolean
  acknowledges: boolean
}

async function startTicker(t: TestContext): Promise<Ticker> {
  const http = createServer()
  const server = new WebSocketServer({ noServer: true })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const subscribed = new Map<WebSocket, number>()
  const timer = setInterval(() => {
    const text = `{"stream":"btcusdt@depth@0ms","data":{"seq":${++ticker.sentSeq}}}`
    for (const [socket, connection] of subscribed) {
      if (ticker.isMute(connection)) continue
      const delayMs = ticker.delayMs(connection)
      if (delayMs === 0) socket.send(text)
      else setTimeout(() => socket.send(text), delayMs)
    }
  }, 1)
  const ticker: Ticker = {
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/stream`,
    sockets: new Set(),
    connectionCount: 0,
    sentSeq: 0,
    isRefusing: false,
    delayMs: () => 0,
    isMute: () => false,
    acknowledges: true,
  }
  cleanUp(t, () => {
    clearInterval(timer)
    for (const socket of ticker.sockets) socket.terminate()
    http.close()
  })
  http.on('upgrade', (request, raw, head) => {
    if (ticker.isRefusing) return raw.end('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n')
    server.handleUpgrade(request, raw, head, (socket) => {
      const connection = ++ticker.connectionCount
      ticker.sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        ticker.sockets.delete(socket)
        subscribed.delete(socket)
      })
      socket.on('message', (bytes) => {
        const message = JSON.parse(bytes.toString())
        if (message.method === 'SUBSCRIBE') subscribed.set(socket, connection)
        if (ticker.acknowledges) acknowledge(socket, message)
      })
    })
  })
  return ticker
}

const seqOf = (text: string): number => JSON.parse(text).data.seq

/** Every number from the first to the last was delivered by some generation. */
function assertComplete(seen: Observed): void {
  const seqs = new Set(seen.frames.map(({ text }) => seqOf(text)))
  const sorted = [...seqs].sort((a, b) => a - b)
  const first = sorted[0] as number
  const missing = sorted.filter((seq, index) => seq !== first + index)
  assert.deepEqual(missing.slice(0, 5), [], `${seqs.size} of ${(sorted.at(-1) as number) - first + 1} numbers`)
}

/** Opens before closes, and never a frame of a generation outside of its own. */
function watchOrder(seen: Observed): { readonly violations: string[] } {
  const violations: string[] = []
  seen.onFrame = (generation) => {
    const isOpen = seen.log.includes(`open ${generation}`)
    const isClosed = seen.log.some((line) => line.startsWith(`close ${generation} `))
    if (!isOpen || isClosed) violations.push(`frame of generation ${generation}`)
  }
  return { violations }
}

test('rotation should lose no frame, over many lives, and deliver nothing of an ended socket', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url, { connectionLifeMsMax: 400 })
  const { violations } = watchOrder(seen)
  seen.connection.start()
  await until('eight rotations', () => seen.stats.rotations >= 8, 20_000)
  seen.connection.stop()
  assertComplete(seen)
  assert.deepEqual(violations, [])
  for (let generation = 1; generation <= 8; generation++) {
    const opened = seen.log.indexOf(`open ${generation + 1}`)
    const closed = seen.log.indexOf(`close ${generation} ROTATED LIFE_OVER`)
    assert.ok(opened !== -1 && closed > opened, `generation ${generation}: ${seen.log.join(', ')}`)
  }
  await until('no socket', () => seen.stats.openSockets === 0 && ticker.sockets.size === 0)
})

test('rotation should lose nothing when the new path is slower than the old, or faster', async (t) => {
  for (const slow of [1, 2]) {
    const ticker = await startTicker(t)
    ticker.delayMs = (connection) => (connection === slow ? 20 : 0)
    const seen = observe(ticker.url)
    seen.connection.start()
    await until('frames', () => seen.frames.length > 20)
    seen.connection.rotate('ASKED')
    await until('the rotation', () => seen.stats.rotations === 1)
    const count = seen.frames.length
    await until('frames of the new socket', () => seen.frames.length > count + 30)
    seen.connection.stop()
    assertComplete(seen)
  }
})

test('rotation should follow a notice of the venue that it will close', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url)
  seen.connection.start()
  await until('frames', () => seen.frames.length > 5)
  for (const socket of ticker.sockets) socket.send(SHUTDOWN)
  await until('the rotation', () => seen.stats.rotations === 1)
  assert.deepEqual(seen.log, ['open 1', 'open 2', 'close 1 ROTATED SHUTDOWN_NOTICE'])
  seen.connection.stop()
  assertComplete(seen)
})

test('rotation should leave the old socket alone while the new one is refused, and try again', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url)
  seen.connection.start()
  await until('frames', () => seen.frames.length > 5)
  ticker.isRefusing = true
  seen.connection.rotate('ASKED')
  await until('three failures', () => seen.stats.rotationFailures >= 3)
  assert.deepEqual(seen.log, ['open 1'])
  assert.equal(seen.connection.state, 'open')
  ticker.isRefusing = false
  await until('the rotation', () => seen.stats.rotations === 1)
  seen.connection.stop()
  assertComplete(seen)
})

test('rotation should give up after many refusals; the end of the old socket is then an ordinary close', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url)
  seen.connection.start()
  await until('frames', () => seen.frames.length > 5)
  ticker.isRefusing = true
  seen.connection.rotate('ASKED')
  await until('the last failure', () => seen.stats.rotationFailures >= 20)
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(seen.stats.rotationFailures, 20)
  ticker.isRefusing = false
  for (const socket of ticker.sockets) socket.close(1001)
  await until('the next generation', () => seen.log.length === 3)
  assert.deepEqual(seen.log.slice(0, 2), ['open 1', 'close 1 CLOSED_BY_PEER 1001'])
  assert.match(seen.log[2] as string, /^open /)
  seen.connection.stop()
})

test('rotation should hand over at once when the old socket ends before the overlap', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url, { timing: { ...QUICK, overlapMs: 60_000 } })
  seen.connection.start()
  await until('frames', () => seen.frames.length > 5)
  seen.connection.rotate('ASKED')
  await until('both', () => seen.log.includes('open 2'))
  const [old] = ticker.sockets
  old?.close(1001)
  await until('the close', () => seen.log.length === 3)
  assert.deepEqual(seen.log, ['open 1', 'open 2', 'close 1 CLOSED_BY_PEER 1001'])
  assert.equal(seen.connection.state, 'open')
  const count = seen.frames.length
  await until('frames', () => seen.frames.length > count + 20)
  assert.equal(seen.stats.connects, 2)
  seen.connection.stop()
  assertComplete(seen)
})

test('rotation should tell a loss when the old socket ends before the new one has everything', async (t) => {
  const ticker = await startTicker(t)
  const seen = observe(ticker.url, { timing: { ...QUICK, overlapMs: 60_000, ackTimeoutMs: 60_000 } })
  seen.connection.start()
  await until('all is acknowledged', () => seen.stats.opens === 1 && seen.frames.length > 5)
  ticker.acknowledges = false
  seen.connection.rotate('ASKED')
  await until('some stream of the new one', () => seen.log.includes('open 2'))
  const [old] = ticker.sockets
  old?.close(1001)
  await until('the close', () => seen.log.length === 5)
  const reason = 'CLOSED_BY_PEER 1001'
  assert.deepEqual(seen.log, ['open 1', 'open 2', `close 1 ${reason}`, `close 2 ${reason}`, 'open 2'])
  seen.connection.stop()
})

test('rotation should not trust a new socket that delivers nothing while the old one does', async (t) => {
  const ticker = await startTicker(t)
  ticker.isMute = (connection) => connection === 2
  const seen = observe(ticker.url)
  seen.connection.start()
  await until('frames', () => seen.frames.length > 5)
  seen.connection.rotate('ASKED')
  await until('the rotation', () => seen.stats.rotations === 1)
  const lines = seen.log.map((line) => line.replace(/ASKED$/, ''))
  assert.deepEqual(lines, ['open 1', 'open 2', 'close 2 ROTATION_SILENT', 'open 3', 'close 1 ROTATED '])
  seen.connection.stop()
  assertComplete(seen)
})

test('rotation should replace legs of one connection one after the other, and keep to the sockets of the venue', async (t) => {
  const ticker = await startTicker(t)
  const sockets = new VenueSockets(4)
  const legs = [0, 1].map(() => observe(ticker.url, { group: 'one' }, { sockets }))
  const other = observe(ticker.url, { group: 'two' }, { sockets })
  const all = [...legs, other]
  for (const seen of all) seen.connection.start()
  await until('frames', () => all.every((seen) => seen.frames.length > 5))
  let together = 0
  let socketsMax = 0
  for (const seen of all) {
    seen.onFrame = () => {
      if (legs.every(({ connection }) => connection.isRotating)) together++
      socketsMax = Math.max(socketsMax, sockets.openCount)
    }
    seen.connection.rotate('ASKED')
  }
  await until('all rotations', () => all.every((seen) => seen.stats.rotations === 1))
  assert.equal(together, 0)
  assert.equal(socketsMax, 4)
  for (const seen of all) seen.connection.stop()
  await until('no socket', () => sockets.openCount === 0)
  assert.equal(sockets.rotatingCount, 0)
})

test('lives should be spread over the last part of what the venue allows and leave time for the rotation', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const dayMs = 86_400_000
  const lives = Array.from({ length: 1_000 }, () => lifeMs(dayMs, 20_000, random)).sort((a, b) => a - b)
  assert.ok((lives[0] as number) >= 0.9 * dayMs && (lives[999] as number) <= 0.97 * dayMs)
  const closest = Math.max(...lives.slice(20).map((life, index) => 20 / (life - (lives[index] as number))))
  assert.ok(closest < 20 / 5_000, 'never twenty of a thousand within five seconds')
  for (let round = 0; round < 100; round++) {
    const compressed = lifeMs(30_000, 20_000, random)
    assert.ok(compressed > 10_000 && compressed <= 20_000, `${compressed}`)
  }
  assert.equal(lifeMs(0, 20_000, random), Number.POSITIVE_INFINITY)
})
