import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { type WebSocket, WebSocketServer } from 'ws'
import { binanceFeed } from '../../engine/exchanges/binance/index.ts'
import { ConnectBudget } from '../../engine/feed/connects.ts'
import {
  CONNECTION_TIMING,
  Connection,
  type ConnectionOptions,
  type ConnectionTiming,
  feedStats,
} from '../../engine/feed/connection.ts'
import { VenueSockets } from '../../engine/feed/rotate.ts'
import type { FeedRules } from '../../engine/exchanges/exchange.ts'
import { cleanUpAtEnd } from './clean-up.ts'
import { machineTime } from './feed-time.ts'

/** A venue on loopback: a bare WebSocket server whose behaviour the test writes. */
export interface Venue {
  readonly url: string
  readonly server: WebSocketServer
  connectionCount: number
  close(): Promise<void>
}

export interface VenueBehaviour {
  readonly onConnection?: (socket: WebSocket, count: number) => void
  readonly onRequest?: (socket: WebSocket, request: { method: string; params?: string[]; id: number }) => void
}

export function acknowledge(socket: WebSocket, request: { id: number }): void {
  socket.send(JSON.stringify({ result: null, id: request.id }))
}

export async function startVenue(behaviour: VenueBehaviour): Promise<Venue> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await new Promise<void>((resolve) => server.once('listening', resolve))
  cleanUpAtEnd(() => venue.close())
  const venue: Venue = {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/stream`,
    server,
    connectionCount: 0,
    close: () => {
      for (const client of server.clients) client.terminate()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  server.on('connection', (socket) => {
    venue.connectionCount++
    socket.on('error', () => {})
    socket.on('message', (bytes) => behaviour.onRequest?.(socket, JSON.parse(bytes.toString())))
    behaviour.onConnection?.(socket, venue.connectionCount)
  })
  return venue
}

/** A connection with everything it does written down. */
export interface Observed {
  readonly connection: Connection
  readonly stats: ReturnType<typeof feedStats>
  readonly frames: { generation: number; text: string }[]
  readonly log: string[]
  onFrame: ((generation: number, bytes: Uint8Array) => void) | undefined
}

export const QUICK: ConnectionTiming = {
  ...CONNECTION_TIMING,
  handshakeTimeoutMs: 300,
  ackTimeoutMs: 60,
  probeAfterMs: 100,
  probeTimeoutMs: 80,
  dataSilenceMsMax: 60_000,
  backoffFloorMs: 2,
  backoffCapMs: 4,
  watchIntervalMs: 10,
  overlapMs: 40,
  rotationFloorMs: 2,
  rotationCapMs: 4,
}

export function observe(
  url: string,
  options: Partial<ConnectionOptions> = {},
  around: { random?: () => number; time?: typeof machineTime; sockets?: VenueSockets; rules?: FeedRules } = {},
): Observed {
  const stats = feedStats()
  const observed: Omit<Observed, 'connection'> = { stats, frames: [], log: [], onFrame: undefined }
  const connection = new Connection(
    {
      name: 'binance.usdm/public#0',
      url,
      streams: ['btcusdt@depth@0ms', 'btcusdt@bookTicker'],
      heartbeat: { serverPingMs: 180_000, pongDeadlineMs: 600_000, unsolicitedPongMs: 0 },
      clientMessagesPerSecondMax: 10,
      connectionLifeMsMax: 86_400_000,
      frameBytesMax: 64 * 1024,
      timing: QUICK,
      agent: undefined,
      ...options,
    },
    around.rules ?? binanceFeed(),
    {
      onOpen: (generation) => observed.log.push(`open ${generation}`),
      onFrame: (generation, bytes) => {
        observed.frames.push({ generation, text: Buffer.from(bytes).toString() })
        observed.onFrame?.(generation, bytes)
      },
      onClose: (generation, reason) => observed.log.push(`close ${generation} ${reason}`),
      onRefused: (generation, stream, reason) => observed.log.push(`refused ${generation} ${stream} ${reason}`),
    },
    {
      time: around.time ?? machineTime,
      random: around.random ?? Math.random,
      log: pino({ level: 'silent' }),
      budget: new ConnectBudget({ connectsMax: 5_000, windowMs: 1_000, spacingMs: 0 }),
      sockets: around.sockets ?? new VenueSockets(),
      stats,
    },
  )
  cleanUpAtEnd(() => connection.stop())
  return Object.assign(observed, { connection })
}
