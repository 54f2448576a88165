/**
 * The socket side: how long a client may take, how much it may send, how many there may be. Node's own bounds are for
 * friends (60 s for headers, 300 s for a request, any number of connections).
 */
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { EXIT_CONFIG, Fault } from '../../base/fault.ts'
import type { Log } from '../../base/log.ts'
import type { GatewayCounts } from '../counts.ts'
import { HttpFault } from '../http-fault.ts'
import { neighbourhood } from './addresses.ts'

export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
}

export interface ListenerOptions {
  readonly tls: TlsFiles | undefined
  readonly connectionsMax: number
  readonly connectionsPerClientMax: number
  /** all clients have the proxy's address then */
  readonly behindTlsProxy: boolean
  /** tests have less patience */
  readonly headersTimeoutMs: number
}

export const BODY_BYTES_MAX = 64 * 1024
export const URL_BYTES_MAX = 2 * 1024
const HEADER_BYTES_MAX = 8 * 1024
const HEADERS_MAX = 64
const REQUEST_TIMEOUT_MS = 15_000
const KEEP_ALIVE_TIMEOUT_MS = 5_000
const IDLE_TIMEOUT_MS = 30_000
const HANDSHAKE_TIMEOUT_MS = 5_000
const CHECK_INTERVAL_MS = 1_000
const REQUESTS_A_SOCKET_MAX = 1_000
const LOOK_MS = 1_000

export function createListener(
  answer: RequestListener,
  options: ListenerOptions,
  counts: GatewayCounts,
  log: Log,
): Server {
  const { headersTimeoutMs, tls } = options
  const bounds: ServerOptions = {
    headersTimeout: headersTimeoutMs,
    requestTimeout: Math.max(REQUEST_TIMEOUT_MS, headersTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, headersTimeoutMs),
    maxHeaderSize: HEADER_BYTES_MAX,
  }
  const server = tls === undefined ? createServer(bounds, answer) : createSecure(bounds, answer, tls, log)
  server.maxHeadersCount = HEADERS_MAX
  server.maxRequestsPerSocket = REQUESTS_A_SOCKET_MAX
  server.maxConnections = options.connectionsMax
  server.setTimeout(IDLE_TIMEOUT_MS) // a WebSocket frees itself of it
  server.on('drop', () => counts.refused.connections++)
  if (!options.behindTlsProxy) boundClients(server, options.connectionsPerClientMax, counts)
  return server
}

function createSecure(bounds: ServerOptions, answer: RequestListener, tls: TlsFiles, log: Log): TlsServer {
  const server = createTlsServer({ ...bounds, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, answer)
  try {
    server.setSecureContext({ ...readTls(tls), minVersion: 'TLSv1.2' })
  } catch (error) {
    if (error instanceof Fault) throw error
    const { code = String(error) } = error as NodeJS.ErrnoException
    const line = `serve.tlsCertFile = ${tls.certFile} and serve.tlsKeyFile = ${tls.keyFile} do not serve (${code}): name a certificate and its key in PEM`
    throw new Fault('TLS', line, EXIT_CONFIG)
  }
  const reread = (): void => {
    try {
      server.setSecureContext({ ...readTls(tls), minVersion: 'TLSv1.2' })
      log.warn({ certFile: tls.certFile }, 'certificate read again')
    } catch (error) {
      log.error({ reason: (error as Error).message }, 'the certificate was not read again; that of before stays')
    }
  }
  const files = [tls.certFile, tls.keyFile]
  for (const file of files) watchFile(file, { interval: LOOK_MS, persistent: false }, reread)
  server.once('close', () => {
    for (const file of files) unwatchFile(file, reread)
  })
  return server
}

function readTls({ certFile, keyFile }: TlsFiles): { cert: Buffer; key: Buffer } {
  const read = (name: string, file: string): Buffer => {
    try {
      return readFileSync(file)
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException
      throw new Fault('TLS', `serve.${name} = ${file} cannot be read (${code}): name a PEM file`, EXIT_CONFIG)
    }
  }
  return { cert: read('tlsCertFile', certFile), key: read('tlsKeyFile', keyFile) }
}

/** One address does not get all connections. */
function boundClients(server: Server, connectionsMax: number, counts: GatewayCounts): void {
  const byClient = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const client = neighbourhood(socket.remoteAddress ?? '')
    const count = (byClient.get(client) ?? 0) + 1
    if (count > connectionsMax) {
      counts.refused.connections++
      socket.destroy()
      return
    }
    byClient.set(client, count)
    socket.once('close', () => {
      const left = (byClient.get(client) ?? 1) - 1
      if (left === 0) byClient.delete(client)
      else byClient.set(client, left)
    })
  })
}

/** What Node could not read as a request: answered in our form where an answer can still be sent. */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket, counts: GatewayCounts): void {
  const [reason, status, text, fault] = malformed(error.code)
  counts.refused[reason]++
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const body = JSON.stringify(fault.body)
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function malformed(code: string | undefined): ['headers' | 'malformed', number, string, HttpFault] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW': {
      const line = `the headers have more than ${HEADER_BYTES_MAX} bytes: send fewer`
      return ['headers', 431, 'Request Header Fields Too Large', new HttpFault(431, 'headers_too_large', line)]
    }
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['malformed', 408, 'Request Timeout', new HttpFault(408, 'too_slow', 'the request did not arrive in time')]
    default:
      return ['malformed', 400, 'Bad Request', new HttpFault(400, 'malformed', 'this is no HTTP request')]
  }
}
