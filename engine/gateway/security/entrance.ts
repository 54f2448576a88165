/** The door (door.ts) in front of Fastify and of WebSockets. */

import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import cors from '@fastify/cors'
import type { FastifyReply, FastifyRequest } from 'fastify'
import helmet from 'helmet'
import { assert } from '../../base/assert.ts'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { HttpFault } from '../http-fault.ts'
import { refuseUpgrade, type UpgradeRoute } from '../upgrades.ts'
import { neighbourhood } from './addresses.ts'
import { AuditLog } from './audit-log.ts'
import type { Door, Knock } from './door.ts'
import { withoutKeys } from './keys.ts'
import { NOBODY, type Principal, type Visit } from './principal.ts'

/** Overload gives up history from this level on (SHED_ORDER: backfill, gateway); what is live goes on. */
const SHED_HISTORY_LEVEL = 2
const SHED_RETRY_S = 10
/** Questions to a store that is slow wait for seconds; of the requests under way they leave so many to what is live. */
const HISTORY_SHARE_MAX = 1 / 2
const HISTORY_RETRY_S = 2
const CORS_MAX_AGE_S = 600
const AUDIT_CHARS_MAX = 2_000

export async function addEntrance(app: App, context: GatewayContext, door: Door): Promise<void> {
  const { counts, engine, settings, log, clock } = context
  const protection = protectionOf(settings.security.tls !== undefined)
  const audit = new AuditLog(settings.security.auditFile, log)
  app.decorateRequest('principal')
  app.decorateRequest('address', '')
  app.removeContentTypeParser('text/plain') // a form of a foreign page can send it without asking
  const historyMax = Math.ceil(settings.security.inFlightMax * HISTORY_SHARE_MAX)
  let historyInFlight = 0
  const enterHistory = ({ raw }: FastifyReply): void => {
    if (engine.pressure() >= SHED_HISTORY_LEVEL) {
      counts.refused.overload++
      const line = 'the engine is overloaded and answers no questions about history; live data go on: ask again'
      throw new HttpFault(503, 'overloaded', line, {}, SHED_RETRY_S)
    }
    if (historyInFlight >= historyMax) {
      counts.refused.in_flight++
      const line = `${historyMax} questions about history are under way; live data go on: ask again`
      throw new HttpFault(503, 'overloaded', line, {}, HISTORY_RETRY_S)
    }
    historyInFlight++
    raw.once('close', () => historyInFlight--)
  }
  app.addHook('onRequest', async (request, reply) => {
    const beganMs = clock.monotonicMs()
    const { url, config } = request.routeOptions // made anew at each look
    const { scope = 'public', isHistory = false } = config
    const kind = isHistory ? 'history' : 'other'
    reply.raw.once('close', () => counts.answered(url, reply.statusCode, kind, clock.monotonicMs() - beganMs))
    reply.headers(protection)
    request.principal = NOBODY
    request.address = door.admit(knockOf(request.raw))
    if (request.method === 'OPTIONS') return // a preflight carries no key
    request.principal = door.identify(request.headers, scope !== 'public')
    door.authorize(request.principal, scope, request.method)
    if (isHistory) enterHistory(reply)
  })
  app.addHook('onResponse', async (request, reply) => {
    if (request.routeOptions.config.scope === 'admin' && request.method !== 'GET') note(audit, context, request, reply)
  })
  app.addHook('onClose', () => audit.written())
  await app.register(cors, {
    origin: (origin, tell) => tell(null, origin !== undefined && settings.security.origins.includes(origin)),
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'accept'],
    exposedHeaders: ['retry-after'],
    maxAge: CORS_MAX_AGE_S,
  })
  addUpgradeDoor(app, context, door)
}

/**
 * Headers that tell a browser what it may do with an answer, the same for all. Helmet puts them together anew for each
 * (40 µs); asked once, they are a part of every answer, refusals of the door included.
 */
function protectionOf(hasTls: boolean): Readonly<Record<string, string>> {
  const answer = new ServerResponse({ method: 'GET' } as IncomingMessage)
  helmet(helmetOptions(hasTls))(answer.req, answer, (fault) => assert(fault === undefined, String(fault)))
  return answer.getHeaders() as Record<string, string>
}

/** Scripts, styles and sockets of our own only; nobody may frame us. */
const helmetOptions = (hasTls: boolean) => ({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      fontSrc: ["'self'"],
      connectSrc: ["'self'"],
      manifestSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  hsts: hasTls ? { maxAge: 31_536_000, includeSubDomains: false } : false,
  frameguard: { action: 'deny' as const },
  // pages of allowed origins read our answers through CORS
  crossOriginResourcePolicy: { policy: 'same-origin' as const },
})

function knockOf(request: IncomingMessage): Knock {
  const { url = '', method = '', headers, socket } = request
  return { url, method, headers, remoteAddress: socket.remoteAddress }
}

function note(audit: AuditLog, { clock }: GatewayContext, request: FastifyRequest, reply: FastifyReply): void {
  const { params, query, body } = request
  const asked = withoutKeys(JSON.stringify({ params, query, body }) ?? '')
  audit.add({
    at: new Date(clock.nowMs()).toISOString(),
    who: request.principal.id,
    from: request.address,
    what: `${request.method} ${request.routeOptions.url ?? ''}`,
    with: asked.length > AUDIT_CHARS_MAX ? `${asked.slice(0, AUDIT_CHARS_MAX)}…` : JSON.parse(asked),
    status: reply.statusCode,
  })
}

function addUpgradeDoor(app: App, context: GatewayContext, door: Door): void {
  const { upgrades, counts, log } = context
  const byClient = new Map<string, number>()
  const bound = context.settings.security.connectionsPerClientMax
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    try {
      const turnedAway = door.turnAway(request)
      if (turnedAway !== undefined) throw turnedAway
      const address = door.admit(knockOf(request))
      const route = upgrades.find(request)
      if (route === undefined) throw new HttpFault(404, 'not_found', 'no WebSocket is here: /v1/stream')
      const countKey = ({ id }: Principal): void => countIn(byClient, `key ${id}`, bound, counts, socket)
      const visit = visitOf(door, route, { request, socket, head, address }, countKey)
      countIn(byClient, `address ${neighbourhood(visit.address)}`, bound, counts, socket)
      if (visit.principal !== undefined) countKey(visit.principal)
      route.take(visit)
    } catch (error) {
      const fault = error instanceof HttpFault ? error : new HttpFault(500, 'internal', 'this is a mistake of ours')
      if (fault !== error) log.error({ reason: String(error) }, 'a WebSocket could not be taken')
      refuseUpgrade(socket, fault)
    }
  })
}

function visitOf(
  door: Door,
  route: UpgradeRoute,
  arrived: Pick<Visit, 'request' | 'socket' | 'head' | 'address'>,
  countKey: (principal: Principal) => void,
): Visit {
  const found = door.identify(arrived.request.headers, !route.mayAuthenticateLater)
  const isKnown = found.id !== NOBODY.id
  if (isKnown) door.authorize(found, 'stream', 'GET')
  let principal = isKnown ? found : undefined
  return {
    ...arrived,
    principal,
    authenticate: (key) => {
      const given = door.authenticate(key)
      door.authorize(given, 'stream', 'GET')
      if (principal === undefined) countKey(given)
      principal = given
      return given
    },
    isStillAllowed: () => principal === undefined || door.isStillAllowed(principal),
  }
}

/** A key that many share, and an address that has many keys, are bounded alike. */
function countIn(
  byClient: Map<string, number>,
  client: string,
  bound: number,
  counts: GatewayContext['counts'],
  socket: Duplex,
): void {
  const count = (byClient.get(client) ?? 0) + 1
  if (count > bound) {
    counts.refused.connections++
    throw new HttpFault(429, 'too_many_connections', `${client} has ${bound} WebSockets: close some`, {}, 1)
  }
  byClient.set(client, count)
  socket.once('close', () => {
    const left = (byClient.get(client) ?? 1) - 1
    if (left === 0) byClient.delete(client)
    else byClient.set(client, left)
  })
}
