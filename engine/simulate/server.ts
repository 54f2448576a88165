/** One market of the venue on one loopback port: REST and WebSocket, connections, heartbeats, connection limits. */
import type { IncomingMessage, Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { WebSocketServer } from 'ws'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import { Connection } from './connection.ts'
import { answerRequest } from './control.ts'
import type { RestVenue } from './rest.ts'
import type { Stream } from './streams.ts'
import type { StreamPath, VenueMarket } from './venue.ts'
import { servedOn } from './venue.ts'

export interface ServerOptions {
  readonly market: VenueMarket
  readonly port: number
  readonly host: string
  readonly rest: RestVenue
  /** finds or makes the stream of that name; null: there is none, the subscription stays silent */
  readonly stream: (name: string) => Stream | null
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
const CONNECT_WINDOW_MS = 300_000
const CLIENT_WINDOW_MS = 1000
const CLOSE_WAIT_MS = 1000 // for clients to answer the close frame

export class VenueServer {
  readonly connections = new Set<Connection>()
  /** set by faults */
  pingsOffUntilMs = 0
  pongsIgnoredUntilMs = 0
  connectsTotal = 0
  readonly market: VenueMarket
  readonly rest: RestVenue
  readonly #options: ServerOptions
  readonly #http: Server
  readonly #sockets: WebSocketServer
  readonly #plain = new Set<Socket>()
  #connectTimes: number[] = []
  #heartbeat: NodeJS.Timeout | null = null

  constructor(options: ServerOptions) {
    this.#options = options
    this.market = options.market
    this.rest = options.rest
    this.#http = createServer({ maxHeaderSize: URL_BYTES_MAX }, (request, response) => {
      options.rest.answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message))
    })
    this.#sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: REQUEST_BYTES_MAX,
      autoPong: true,
    })
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head))
    this.#http.on('connection', (socket) => {
      this.#plain.add(socket)
      socket.on('close', () => this.#plain.delete(socket))
    })
  }

  async listen(): Promise<{ ws: string; rest: string }> {
    const { host, port, heartbeatScale, market } = this.#options
    await new Promise<void>((ready, failed) => {
      this.#http.once('error', (error: NodeJS.ErrnoException) => failed(listenFault(error, host, port)))
      this.#http.listen(port, host, ready)
    })
    const everyMs = Math.max(5, Math.min(1000, (market.pingIntervalMs * heartbeatScale) / 4))
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
    const entry = parseEntry(url, this.market.split)
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
    const { limitsEnforced, nowMs, market } = this.#options
    const now = nowMs()
    this.#connectTimes = this.#connectTimes.filter((time) => now - time < CONNECT_WINDOW_MS)
    if (limitsEnforced && this.#connectTimes.length >= market.connectsPer5MinMax) return false
    if (Number.isFinite(market.connectsPer5MinMax)) this.#connectTimes.push(now)
    return true
  }

  #connected(ws: WebSocket, socket: Socket, entry: Entry): void {
    const { nowMs, lifeMs, heartbeatScale } = this.#options
    const connection = new Connection(this.connectsTotal++, entry.path, entry.combined, ws, socket, nowMs())
    this.connections.add(connection)
    const heard: number[] = []
    const count = (): boolean => this.#countMessage(connection, heard)
    ws.on('ping', count)
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
    this.subscribe(connection, entry.streams)
  }

  /** @returns false when the connection asks for more streams than the venue allows (it is then closed). */
  subscribe(connection: Connection, names: readonly string[]): boolean {
    const { stream, tradePath, limitsEnforced, market, onChange } = this.#options
    for (const name of names) {
      if (connection.streams.has(name)) continue
      const found = stream(name)
      const served = found !== null && servedOn(found.kind, connection.path, tradePath) ? found : null
      connection.streams.set(name, served)
      served?.join(connection)
    }
    onChange()
    if (!limitsEnforced || connection.streams.size <= market.streamsMax) return true
    this.drop(connection, POLICY_VIOLATION, `more than ${market.streamsMax} streams`)
    return false
  }

  unsubscribe(connection: Connection, names: readonly string[]): void {
    for (const name of names) {
      connection.streams.get(name)?.leave(connection)
      connection.streams.delete(name)
    }
    this.#options.onChange()
  }

  #request(connection: Connection, text: string): void {
    const answer = answerRequest(this, connection, text)
    if (answer === null || !connection.open) return
    connection.flush() // the answer comes after what was sent before it
    connection.ws.send(answer)
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

interface Entry {
  readonly path: StreamPath
  readonly combined: boolean
  readonly streams: string[]
}

/** `/stream?streams=a/b`, `/ws`, `/ws/a`, on USD-M below `/public` or `/market`; an unrouted USD-M URL hears only /public. */
function parseEntry(url: URL, split: boolean): Entry | null {
  const routed = split ? /^\/(public|market)(\/.*)$/.exec(url.pathname) : null
  const path: StreamPath = routed ? (routed[1] as StreamPath) : split ? 'public' : 'all'
  const rest = routed?.[2] ?? url.pathname
  const names = (text: string): string[] => text.split('/').filter((name) => name !== '')
  if (rest === '/stream') return { path, combined: true, streams: names(url.searchParams.get('streams') ?? '') }
  if (rest === '/ws' || rest.startsWith('/ws/')) return { path, combined: false, streams: names(rest.slice(3)) }
  return null
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
