import { WebSocketServer } from 'ws'
import type { GatewayContext } from '../context.ts'
import { HttpFault } from '../http-fault.ts'
import type { Visit } from '../security/principal.ts'
import type { LiveSettings } from '../settings.ts'
import { refuseUpgrade } from '../upgrades.ts'
import { CLOSE_GOING_AWAY, REASON_CHARS_MAX, type Seat, type Session, STOP_MS_MAX } from './session.ts'
import { type ClientLimits, StreamClient } from './stream-client.ts'
import { TardisClient } from './tardis-client.ts'
import { TARDIS_ENCODING } from './tardis-messages.ts'
import { readOptions } from './tardis-options.ts'
import { ENCODINGS, type Encoding, FORMATS, type Format } from './topic.ts'

const STREAM_PATH = '/v1/stream'
/** As tardis-machine has it, so that its clients find it. */
const TARDIS_PATH = '/ws-stream-normalized'
/** tardis-machine ends so whatever it cannot do. */
const CLOSE_BAD_OPTIONS = 1011
/** A thousand patterns of 60 characters. */
const REQUEST_BYTES_MAX = 64 * 1024

/** Pings go with heartbeats; a client that misses two is gone. Who has to bring a key does so at once. */
const PATIENCE = { heartbeatMs: 10_000, silenceMsMax: 25_000, authMsMax: 5_000 }

/** The paths that take WebSockets. @returns what ends all connections. */
export function addStreams({ upgrades, clock, live }: GatewayContext, settings: LiveSettings): () => void {
  const limits: ClientLimits = { ...settings, ...PATIENCE }
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: REQUEST_BYTES_MAX,
    clientTracking: false,
  })
  const sessions = new Set<Session>()
  const now = { ms: () => clock.monotonicMs(), ns: () => String(clock.nowNs()) }
  const take = (visit: Visit, encoding: Encoding, seat: (given: Seat) => Session | undefined): void =>
    server.handleUpgrade(visit.request, visit.socket, visit.head, (ws) => {
      const session = seat({ visit, ws, socket: visit.socket, encoding })
      if (session === undefined) return
      sessions.add(session)
      ws.once('close', () => sessions.delete(session))
    })
  upgrades.add(STREAM_PATH, { mayAuthenticateLater: true }, (visit) => {
    const format = formatOf(visit)
    if (format instanceof HttpFault) return refuseUpgrade(visit.socket, format)
    take(visit, ENCODINGS[format], (seat) => new StreamClient(seat, live, limits, now).session)
  })
  upgrades.add(TARDIS_PATH, { mayAuthenticateLater: false }, (visit) => {
    const wishes = readOptions(queryOf(visit).get('options'))
    take(visit, TARDIS_ENCODING, (seat) => {
      if (typeof wishes === 'object') return new TardisClient(seat, live, limits, now, wishes).session
      seat.ws.close(CLOSE_BAD_OPTIONS, wishes.slice(0, REASON_CHARS_MAX))
      return undefined
    })
  })
  return () => {
    for (const session of sessions) session.close(CLOSE_GOING_AWAY, 'the gateway stops', STOP_MS_MAX)
  }
}

const queryOf = ({ request }: Visit): URLSearchParams => new URL(request.url ?? '', 'ws://gateway').searchParams

function formatOf(visit: Visit): Format | HttpFault {
  const query = queryOf(visit)
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
