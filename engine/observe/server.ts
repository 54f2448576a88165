/**
 * GET /metrics, /health, /livez, /readyz, and what other processes of the engine ask (`offer`): /status and the like, and
 * with a shared secret POST /change. Loopback unless the configuration says otherwise; nothing else is changed or read.
 * Limits are tighter than Node's defaults, so that a client that sends slowly or never (slowloris) cannot hold
 * sockets, and the check of them runs every second instead of every 30.
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'

export interface ObserveServerOptions {
  readonly host: string
  /** 0 = any free port */
  readonly port: number
  readonly headersTimeoutMs?: number
}

/** What other processes may ask of this one. */
export interface Offer {
  /** path → what is answered, as JSON */
  readonly questions: Readonly<Record<string, () => unknown>>
  /** what is done with the body of POST /change */
  readonly change: (body: unknown) => Promise<unknown>
  /** who may; '' = nobody */
  readonly controlKey: string
}

export interface ObserveServer {
  readonly port: number
  /** e.g. http://127.0.0.1:9464 */
  readonly url: string
  /** from now on; before, these paths are not there */
  offer(offer: Offer): void
  close(): Promise<void>
}

const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 15_000
const KEEP_ALIVE_TIMEOUT_MS = 5_000
const CHECK_INTERVAL_MS = 1_000
const HEADER_BYTES_MAX = 8 * 1024
const HEADERS_MAX = 64
/** Scrapers and probes are a handful; more is somebody else. */
const CONNECTIONS_MAX = 64
const REQUESTS_A_SOCKET_MAX = 1_000
const BODY_BYTES_MAX = 64 * 1024

interface Answer {
  readonly code: number
  readonly type: string
  readonly body: string
}

const json = (code: number, value: unknown): Answer => ({
  code,
  type: 'application/json; charset=utf-8',
  body: `${JSON.stringify(value)}\n`,
})

export async function startObserveServer(
  options: ObserveServerOptions,
  metrics: Metrics,
  health: Health,
): Promise<ObserveServer> {
  const headersTimeoutMs = options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS
  let offer: Offer | undefined
  const server = createServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: Math.max(REQUEST_TIMEOUT_MS, headersTimeoutMs),
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, headersTimeoutMs),
      maxHeaderSize: HEADER_BYTES_MAX,
    },
    (request, response) => {
      answer(request, metrics, health, offer).then(
        (found) => send(request, response, found),
        (error: Error) => send(request, response, json(500, { error: error.message })),
      )
    },
  )
  server.maxHeadersCount = HEADERS_MAX
  server.maxConnections = CONNECTIONS_MAX
  server.maxRequestsPerSocket = REQUESTS_A_SOCKET_MAX
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenFault(error, options)))
    server.listen({ host: options.host, port: options.port, exclusive: true }, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    offer: (offered) => {
      offer = offered
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listenFault(error: NodeJS.ErrnoException, { host, port }: ObserveServerOptions): Fault {
  const remedy = 'set MARKETPRISM_OBSERVE_PORT to another port (0 = any free one), or MARKETPRISM_OBSERVE_ENABLED=false'
  if (error.code === 'EADDRINUSE')
    return new Fault('PORT_IN_USE', `port ${port} on ${host} is in use by another program: ${remedy}`, EXIT_CONFIG)
  if (error.code === 'EACCES')
    return new Fault('PORT_REFUSED', `port ${port} on ${host} is not ours to open: ${remedy}`, EXIT_CONFIG)
  return new Fault(
    'LISTEN_FAILED',
    `cannot listen on ${host} port ${port} (${error.code ?? error.message}): check MARKETPRISM_OBSERVE_HOST`,
    EXIT_CONFIG,
  )
}

async function answer(
  request: IncomingMessage,
  metrics: Metrics,
  health: Health,
  offer: Offer | undefined,
): Promise<Answer> {
  if (request.method === 'POST' && offer !== undefined && request.url === '/change') return change(request, offer)
  if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { error: 'only GET' })
  switch (request.url?.split('?', 1)[0]) {
    case '/metrics':
      return { code: 200, type: metrics.contentType, body: await metrics.scrape() }
    case '/health': {
      const report = health.report()
      return json(report.status === 'unhealthy' ? 503 : 200, report)
    }
    case '/livez':
      return aspect(health.ask('liveness'))
    case '/readyz':
      return aspect(health.ask('readiness'))
    default: {
      const read = offer?.questions[request.url ?? '']
      if (read !== undefined) return json(200, read())
      const pages = ['/metrics', '/health', '/livez', '/readyz', ...Object.keys(offer?.questions ?? {})]
      return json(404, { error: 'not here', pages })
    }
  }
}

/** An order of another process. Its secret is looked at before its body is read. */
async function change(request: IncomingMessage, { controlKey, change: make }: Offer): Promise<Answer> {
  if (controlKey === '')
    return json(403, {
      error: 'this process takes no orders: set the same observe.controlKey here and where it is asked',
    })
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
  if (!isEqual(given, controlKey)) return json(401, { error: 'this is not the observe.controlKey of this process' })
  if (request.headers['content-type'] !== 'application/json') return json(415, { error: 'an order is JSON' })
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > BODY_BYTES_MAX) return json(413, { error: `an order has at most ${BODY_BYTES_MAX} bytes` })
    parts.push(part)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch {
    return json(400, { error: 'an order is JSON' })
  }
  return json(200, await make(body))
}

/** In a time that does not depend on where they differ. */
function isEqual(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

const aspect = (report: { ok: boolean }): Answer => json(report.ok ? 200 : 503, report)

function send(request: IncomingMessage, response: ServerResponse, { code, type, body }: Answer): void {
  const headers: Record<string, string | number> = {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  if (code === 405) headers.allow = 'GET, HEAD'
  if (!request.complete && (request.headers['content-length'] ?? request.headers['transfer-encoding']) !== undefined)
    headers.connection = 'close' // we do not read the body
  response.writeHead(code, headers)
  response.end(request.method === 'HEAD' ? undefined : body)
}
