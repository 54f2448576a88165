import { WebSocketServer } from 'ws'
import type { GatewayContext } from '../context.ts'
import { HttpFault } from '../http-fault.ts'
import type { Visit } from '../security/principal.ts'
import type { LiveSettings } from '../settings.ts'
import { refuseUpgrade } from '../upgrades.ts'
import { CLOSE_GOING_AWAY, type ClientLimits, StreamClient } from './stream-client.ts'
import { type Format, FORMATS } from './topic.ts'

const STREAM_PATH = '/v1/stream'
/** A thousand patterns of 60 characters. */
const REQUEST_BYTES_MAX = 64 * 1024

/** Pings go with heartbeats; a client that misses two is gone. Who has to bring a key does so at once. */
const PATIENCE = { heartbeatMs: 10_000, silenceMsMax: 25_000, authMsMax: 5_000 }

/** `/v1/stream`: live messages and books for whoever subscribes. @returns what ends all connections. */
export function addStream({ upgrades, clock, live }: GatewayContext, settings: LiveSettings): () => void {
  const limits: ClientLimits = { ...settings, ...PATIENCE }
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: REQUEST_BYTES_MAX,
    clientTracking: false,
  })
  const clients = new Set<StreamClient>()
  const now = { ms: () => clock.monotonicMs(), ns: () => String(clock.nowNs()) }
  upgrades.add(STREAM_PATH, { mayAuthenticateLater: true }, (visit) => {
    const format = formatOf(visit)
    if (format instanceof HttpFault) return refuseUpgrade(visit.socket, format)
    server.handleUpgrade(visit.request, visit.socket, visit.head, (ws) => {
      const client = new StreamClient({ visit, ws, socket: visit.socket, format }, live, limits, now)
      clients.add(client)
      ws.once('close', () => clients.delete(client))
    })
  })
  return () => {
    for (const client of clients) client.close(CLOSE_GOING_AWAY, 'the gateway stops')
  }
}

function formatOf({ request }: Visit): Format | HttpFault {
  const query = new URL(request.url ?? '', 'ws://gateway').searchParams
  for (const name of query.keys()) {
    if (name === 'key')
      return new HttpFault(
        400,
        'key_in_url',
        'a key in a URL ends up in logs: send it as Authorization: Bearer, or first as {"op":"auth","key":…}',
      )
    if (name !== 'format') return new HttpFault(400, 'unknown_parameter', 'allowed is format', { parameter: 'format' })
  }
  const given = query.get('format') ?? 'json'
  const format = FORMATS.find((known) => known === given)
  return (
    format ??
    new HttpFault(400, 'invalid_parameter', `format: allowed is ${FORMATS.join(', ')}`, { parameter: 'format' })
  )
}
