/** One host of the venue on one loopback port: REST and WebSocket, connections, heartbeats, connection limits. */
import type { IncomingMessage, Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { WebSocketServer } from 'ws'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { Connection } from './connection.ts'
import type { Protocol, Session, Subscribed } from './protocol.ts'
import type { RestVenue } from './rest.ts'
import type { Stream } from './streams.ts'
import type { Entry, MarketName, StreamPath, VenueMarket } from './venue.ts'

export interface ServerOptions {
  readonly protocol: Protocol
  /** all of them on this port; limits are those of the first */
  readonly markets: readonly VenueMarket[]
  readonly port: number
  readonly host: string
  readonly rest: RestVenue
  /** finds or makes the stream of that name; null: there is none */
  readonly stream: (name: string, path: StreamPath) => Stream | null
  readonly greeting: (stream: Stream) => string | null
  readonly tradePath: 'public' | 'market' | 'both'
  readonly nowMs: () => number
  /** multiplies ping interval, pong deadline and the 24 h life of a connection */
  readonly heartbeatScale: number
  readonly lifeMs: number
  readonly limitsEnforced: boolean
  readonly onChange: () => void
  readonly onClosed: (connection: Connection, code: number, by: string) => void
}

const REQUEST_BYTES_MAX = 64 * 1024
const URL_BYTES_MAX = 128 * 1024
const POLICY_VIOLATION = 1008
const BEAT_MS = 20_000
const CLIENT_WINDOW_MS = 1000
const CLOSE_WAIT_MS = 1000 // for clients to answer the close frame

/** A fault that waits for a subscription. */
export interface SubscriptionFault {
  /** refuse: an error is the answer; mute: it is accepted and nothing comes until it is asked for again */
  readonly kind: 'refuse' | 'mute'
  readonly fits: (stream: Stream) => boolean
  left: number
  readonly onStruck: (stream: Stream, connection: Connection) => void
}

export class VenueServer {
  readonly connections = new Set<Connection>()
  /** set by faults */
  pingsOffUntilMs = 0
  pongsIgnoredUntilMs = 0
  connectsTotal = 0
  readonly subscriptionFaults: SubscriptionFault[] = []
  readonly market: VenueMarket
  readonly marketNames: readonly MarketName[]
  readonly rest: RestVenue
  readonly #options: ServerOptions
  readonly #http: Server
  readonly #sockets: WebSocketServer
  readonly #session: Session
  readonly #plain = new Set<Socket>()
  #connectTimes: number[] = []
  #heartbeat: NodeJS.Timeout | null = null

  constructor(options: ServerOptions) {
    this.#options = options
    this.market = options.markets[0] as VenueMarket
    this.marketNames = options.markets.map(({ name }) => name)
    this.#session = {
      nowMs: options.nowMs,
      heartbeatScale: options.heartbeatScale,
      limitsEnforced: options.limitsEnforced,
      subscribe: (connection, name) => this.#subscribe(connection, name),
      unsubscribe: (connection, names) => this.#unsubscribe(connection, names),
      greet: (connection, name) => this.#greet(connection, name),
      close: (connection, code, reason) => this.drop(connection, code, reason),
    }
    this.rest = options.rest
    this.#http = createServer({ maxHeaderSize: URL_BYTES_MAX }, (request, response) => {
      options.rest.answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message))
    })
    this.#sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: REQUEST_BYTES_MAX,
      autoPong: false, // a mute connection answers no ping either
    })
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head))
    this.#http.on('connection', (socket) => {
      this.#plain.add(socket)
      socket.on('close', () => this.#plain.delete(socket))
    })
  }

  async listen(): Promise<{ ws: string; rest: string }> {
    const { host, port, heartbeatScale } = this.#options
    await new Promise<void>((ready, failed) => {
      this.#http.once('error', (error: NodeJS.ErrnoException) => failed(listenFault(error, host, port)))
      this.#http.listen(port, host, ready)
    })
    const everyMs = Math.max(5, Math.min(1000, ((this.market.pingIntervalMs || BEAT_MS) * heartbeatScale) / 4))
    this.#heartbeat = setInterval(() => this.#beat(), everyMs)
    const address = this.#http.address() as AddressInfo
    return { ws: `ws://${host}:${address.port}`, rest: `http://${host}:${address.port}` }
  }

  async close(): Promise<void> {
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat)
    for (const connection of this.connections) this.drop(connection, 1001, 'simulator stopped')
    const closed = new Promise<void>((done) => this.#http.close(() => done()))
    const deadline = setTimeout(() => {
      for (const socket of this.#plain) socket.destroy()
    }, CLOSE_WAIT_MS)
    await closed
    clearTimeout(deadline)
  }

  /** Ends a connection the way a server does: what was sent arrives, then the close frame. */
  drop(connection: Connection, code: number, reason: string): void {
    connection.flush()
    this.#forget(connection, code, reason)
    connection.ws.close(code, reason)
  }

  /** Cuts a connection: a TCP reset, what is under way is lost. */
  reset(connection: Connection, reason: string): void {
    connection.flush()
    this.#forget(connection, 1006, reason)
    connection.socket.resetAndDestroy()
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const url = new URL(request.url ?? '/', 'http://simulated')
    const entry = this.#options.protocol.entry(url, this.market)
    socket.on('error', () => socket.destroy())
    if (entry === null) {
      refuse(socket, '404 Not Found')
    } else if (!this.#admit()) {
      refuse(socket, '429 Too Many Requests')
    } else {
      socket.setNoDelay(true)
      this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#connected(ws, socket, entry))
    }
  }

  #admit(): boolean {
    const { limitsEnforced, nowMs } = this.#options
    const { connectsMax, connectWindowMs, connectionsMax } = this.market
    const now = nowMs()
    this.#connectTimes = this.#connectTimes.filter((time) => now - time < connectWindowMs)
    if (limitsEnforced && (this.#connectTimes.length >= connectsMax || this.connections.size >= connectionsMax))
      return false
    if (Number.isFinite(connectsMax)) this.#connectTimes.push(now)
    return true
  }

  #connected(ws: WebSocket, socket: Socket, entry: Entry): void {
    const { nowMs, lifeMs, heartbeatScale } = this.#options
    const connection = new Connection(this.connectsTotal++, entry.path, entry.combined, ws, socket, nowMs())
    this.connections.add(connection)
    const heard: number[] = []
    const count = (): boolean => this.#countMessage(connection, heard)
    ws.on('ping', (payload) => {
      if (count() && !connection.isMute) ws.pong(payload)
    })
    ws.on('pong', () => {
      count()
      if (nowMs() < this.pongsIgnoredUntilMs) return
      connection.pongAwaited = false
      connection.lastPongMs = nowMs()
    })
    ws.on('message', (bytes) => {
      if (count()) this.#request(connection, bytes.toString())
    })
    ws.on('error', () => undefined) // a close follows
    const life = setTimeout(
      () => this.drop(connection, 1001, 'connection is 24 hours old'),
      Math.min(lifeMs * heartbeatScale, 2 ** 31 - 1),
    )
    ws.on('close', (code) => {
      clearTimeout(life)
      this.#forget(connection, code, 'client')
    })
    for (const name of entry.streams) if (this.#subscribe(connection, name) === 'closed') return
  }

  #subscribe(connection: Connection, name: string): Subscribed {
    const { stream, tradePath, limitsEnforced, protocol, onChange } = this.#options
    if (connection.streams.has(name)) {
      const known = connection.streams.get(name)
      if (known !== null) return 'accepted'
    }
    const found = stream(name, connection.path)
    const fault = found === null ? undefined : this.#faultFor(found, connection)
    if (fault === 'refuse') return 'refused'
    const served =
      found !== null && fault !== 'mute' && protocol.isServed(found.spec, connection.path, tradePath) ? found : null
    connection.streams.set(name, served)
    served?.join(connection)
    onChange()
    if (limitsEnforced && connection.streams.size > this.market.streamsMax) {
      this.drop(connection, POLICY_VIOLATION, `more than ${this.market.streamsMax} streams`)
      return 'closed'
    }
    return found === null ? 'unknown' : 'accepted'
  }

  #faultFor(stream: Stream, connection: Connection): SubscriptionFault['kind'] | undefined {
    const index = this.subscriptionFaults.findIndex(({ fits }) => fits(stream))
    const fault = this.subscriptionFaults[index]
    if (fault === undefined) return undefined
    if (--fault.left <= 0) this.subscriptionFaults.splice(index, 1)
    fault.onStruck(stream, connection)
    return fault.kind
  }

  #unsubscribe(connection: Connection, names: readonly string[]): void {
    for (const name of names) {
      connection.streams.get(name)?.leave(connection)
      connection.streams.delete(name)
    }
    this.#options.onChange()
  }

  #greet(connection: Connection, name: string): void {
    const stream = connection.streams.get(name)
    if (stream === undefined || stream === null) return
    const text = this.#options.greeting(stream)
    if (text !== null) connection.say(text)
  }

  #request(connection: Connection, text: string): void {
    connection.lastHeardMs = this.#options.nowMs()
    this.#options.protocol.answer(this.#session, connection, text)
    if (connection.open) connection.flush()
  }

  #countMessage(connection: Connection, heard: number[]): boolean {
    if (!this.#options.limitsEnforced || !connection.open) return connection.open
    const now = this.#options.nowMs()
    while (heard.length > 0 && now - (heard[0] as number) >= CLIENT_WINDOW_MS) heard.shift()
    heard.push(now)
    if (heard.length <= this.market.messagesPerSecondMax) return true
    this.drop(connection, POLICY_VIOLATION, 'Too many requests')
    return false
  }

  #beat(): void {
    const { nowMs, heartbeatScale } = this.#options
    const now = nowMs()
    for (const connection of this.connections) {
      if (connection.sentBytes !== connection.sentBytesAtBeat) connection.lastPushedMs = now
      connection.sentBytesAtBeat = connection.sentBytes
      this.#options.protocol.beat(this.#session, connection, now)
      if (!connection.open || connection.isMute || this.market.pingIntervalMs === 0) continue
      const sincePong = now - connection.lastPongMs
      if (connection.pongAwaited && sincePong >= this.market.pongDeadlineMs * heartbeatScale) {
        this.drop(connection, POLICY_VIOLATION, 'Pong timeout')
      } else if (
        now >= this.pingsOffUntilMs &&
        now - connection.lastPingMs >= this.market.pingIntervalMs * heartbeatScale
      ) {
        connection.flush()
        connection.ws.ping(String(Math.floor(now)))
        connection.lastPingMs = now
        if (!connection.pongAwaited) connection.lastPongMs = now // the deadline runs from the first unanswered ping
        connection.pongAwaited = true
      }
    }
  }

  #forget(connection: Connection, code: number, by: string): void {
    if (!connection.open) return
    connection.open = false
    connection.flush() // only gives the block back
    this.connections.delete(connection)
    for (const stream of connection.streams.values()) stream?.leave(connection)
    this.#options.onClosed(connection, code, by)
    this.#options.onChange()
  }
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

function listenFault({ code = 'unknown' }: NodeJS.ErrnoException, host: string, port: number): Fault {
  const why = code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be opened (${code})`
  return new Fault(
    'PORT',
    `port ${port} on ${host} ${why}: give another with --port, or none for any that is free`,
    EXIT_USAGE,
  )
}
