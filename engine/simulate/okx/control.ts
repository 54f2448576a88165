/** Requests of OKX over the socket, and how a connection is kept alive. */
import type { Connection } from '../connection.ts'
import type { Session } from '../protocol.ts'

const IDLE_MS_MAX = 30_000
const REQUESTS_PER_HOUR_MAX = 480
const HOUR_MS = 3_600_000
const REQUEST_BYTES_MAX = 64 * 1024
const IDLE_CODE = 4004

interface Argument {
  readonly channel?: unknown
  readonly instId?: unknown
  readonly instType?: unknown
}

export function answer(session: Session, connection: Connection, text: string): void {
  if (text === 'ping') return connection.say('pong')
  let request: { id?: unknown; op?: unknown; args?: unknown }
  try {
    request = JSON.parse(text)
  } catch {
    return refuse(connection, undefined, '60012', `Illegal request: ${text.slice(0, 80)}`)
  }
  const { op, args } = request
  const id = typeof request.id === 'string' ? request.id : undefined
  if (text.length > REQUEST_BYTES_MAX || !Array.isArray(args) || (op !== 'subscribe' && op !== 'unsubscribe'))
    return refuse(connection, id, '60012', `Illegal request: ${text.slice(0, 80)}`)
  if (!countRequest(session, connection)) return refuse(connection, id, '60014', 'Requests too frequent.')
  for (const arg of args as Argument[]) {
    if (!connection.open) return
    if (op === 'subscribe') subscribe(session, connection, id, arg)
    else {
      session.unsubscribe(connection, [nameOf(arg)])
      connection.say(acknowledgement('unsubscribe', id, arg, connection))
    }
  }
}

function subscribe(session: Session, connection: Connection, id: string | undefined, arg: Argument): void {
  const became = session.subscribe(connection, nameOf(arg))
  if (became === 'closed') return
  if (became !== 'accepted') {
    const words = Object.entries(arg).map(([key, value]) => `${key}:${String(value)}`)
    return refuse(
      connection,
      id,
      '60018',
      `Wrong URL or ${words.join(',')} doesn't exist. Please use the correct URL, channel and parameters referring to API document.`,
      arg,
    )
  }
  connection.say(acknowledgement('subscribe', id, arg, connection))
  session.greet(connection, nameOf(arg))
}

const nameOf = ({ channel, instId, instType }: Argument): string => `${String(channel)}:${String(instId ?? instType)}`

const withId = (id: string | undefined): string => (id === undefined ? '' : `"id":${JSON.stringify(id)},`)
const connectionId = (connection: Connection): string => (0x51ab0000 + connection.index).toString(16)

function acknowledgement(event: string, id: string | undefined, arg: Argument, connection: Connection): string {
  return `{${withId(id)}"event":"${event}","arg":${JSON.stringify(arg)},"connId":"${connectionId(connection)}"}`
}

function refuse(connection: Connection, id: string | undefined, code: string, msg: string, arg?: Argument): void {
  const named = arg === undefined ? '' : `"arg":${JSON.stringify(arg)},`
  connection.say(
    `{${withId(id)}"event":"error",${named}"code":"${code}","msg":${JSON.stringify(msg)},"connId":"${connectionId(connection)}"}`,
  )
}

/** "480 times per hour" for subscribe, unsubscribe and login of a connection. */
function countRequest(session: Session, connection: Connection): boolean {
  const { requestTimes } = connection
  const now = session.nowMs()
  while (requestTimes.length > 0 && now - (requestTimes[0] as number) > HOUR_MS) requestTimes.shift()
  requestTimes.push(now)
  return !session.limitsEnforced || requestTimes.length <= REQUESTS_PER_HOUR_MAX
}

/** "the connection will break automatically if … data has not been pushed for more than 30 seconds" */
export function beat(session: Session, connection: Connection, nowMs: number): void {
  const quietMs = nowMs - Math.max(connection.lastHeardMs, connection.lastPushedMs)
  if (quietMs > IDLE_MS_MAX * session.heartbeatScale) session.close(connection, IDLE_CODE, 'No data received in 30s.')
}

export function shutdownNotice(_nowMs: number, connection: Connection): string {
  return `{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"${connectionId(connection)}"}`
}
