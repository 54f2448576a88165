/** Requests of Deribit over the socket: JSON-RPC 2.0; heartbeats as the client asked for them. */
import type { Connection } from '../connection.ts'
import type { Session } from '../protocol.ts'

type Id = number | string | undefined

const TOO_MANY_REQUESTS = 10028
const HEARTBEAT_SECONDS_MIN = 10
/** "Rate Limits": a subscribe costs 3,000 of 30,000 credits, 10,000 come back a second. */
const SUBSCRIBES_AT_ONCE = 10
const SUBSCRIBES_PER_SECOND = 10 / 3

export function answer(session: Session, connection: Connection, text: string): void {
  let request: { id?: unknown; method?: unknown; params?: { channels?: unknown; interval?: unknown } }
  try {
    request = JSON.parse(text)
  } catch {
    return refuse(connection, undefined, -32700, 'Parse error')
  }
  const id = typeof request.id === 'number' || typeof request.id === 'string' ? request.id : undefined
  const { method, params } = request
  switch (method) {
    case 'public/subscribe':
      return subscribe(session, connection, id, namesOf(params?.channels))
    case 'public/unsubscribe':
      return unsubscribe(session, connection, id, namesOf(params?.channels))
    case 'public/set_heartbeat':
      return setHeartbeat(session, connection, id, Number(params?.interval))
    case 'public/disable_heartbeat':
      connection.heartbeatMs = 0
      return result(connection, id, 'ok')
    case 'public/test':
      connection.answerDueMs = 0
      return result(connection, id, { version: '1.2.26' })
    case 'public/hello':
      return result(connection, id, { version: '1.2.26' })
    case 'public/get_time':
      return result(connection, id, Math.floor(session.nowMs()))
    default:
      return refuse(connection, id, -32601, 'Method not found')
  }
}

const namesOf = (value: unknown): string[] | null =>
  Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : null

/** What does not exist is left out of the answer. */
function subscribe(session: Session, connection: Connection, id: Id, names: string[] | null): void {
  if (names === null) return refuse(connection, id, -32602, 'Invalid params')
  if (!spendCredits(session, connection)) {
    refuse(connection, id, TOO_MANY_REQUESTS, 'too_many_requests')
    return session.close(connection, 1008, 'too_many_requests')
  }
  const accepted: string[] = []
  for (const name of names) {
    const became = session.subscribe(connection, name)
    if (became === 'closed') return
    if (became === 'accepted') accepted.push(name)
  }
  result(connection, id, accepted)
  for (const name of accepted) session.greet(connection, name)
}

function unsubscribe(session: Session, connection: Connection, id: Id, names: string[] | null): void {
  if (names === null) return refuse(connection, id, -32602, 'Invalid params')
  const held = names.filter((name) => connection.streams.has(name))
  session.unsubscribe(connection, held)
  result(connection, id, held)
}

function spendCredits(session: Session, connection: Connection): boolean {
  const { requestTimes } = connection
  const now = session.nowMs()
  const windowMs = (SUBSCRIBES_AT_ONCE / SUBSCRIBES_PER_SECOND) * 1000
  while (requestTimes.length > 0 && now - (requestTimes[0] as number) >= windowMs) requestTimes.shift()
  requestTimes.push(now)
  // ten at once, then as many in any three seconds and those that come back meanwhile
  return !session.limitsEnforced || requestTimes.length <= SUBSCRIBES_AT_ONCE * 2
}

function setHeartbeat(session: Session, connection: Connection, id: Id, seconds: number): void {
  if (!(seconds >= HEARTBEAT_SECONDS_MIN)) return refuse(connection, id, -32602, 'Invalid params')
  connection.heartbeatMs = seconds * 1000
  connection.lastBeatMs = session.nowMs()
  result(connection, id, 'ok')
}

/** Every interval a heartbeat; when the client said nothing meanwhile, a question, and the end if it is not answered. */
export function beat(session: Session, connection: Connection, nowMs: number): void {
  const everyMs = connection.heartbeatMs * session.heartbeatScale
  if (everyMs === 0) return
  if (connection.answerDueMs > 0 && nowMs >= connection.answerDueMs)
    return session.close(connection, 1000, 'heartbeat not answered')
  if (nowMs - connection.lastBeatMs < everyMs) return
  connection.lastBeatMs = nowMs
  connection.say('{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}')
  if (connection.answerDueMs === 0 && nowMs - connection.lastHeardMs >= everyMs / 2) {
    connection.say('{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}')
    connection.answerDueMs = nowMs + everyMs
  }
  connection.flush()
}

const withId = (id: Id): string => (id === undefined ? '' : `"id":${JSON.stringify(id)},`)

function result(connection: Connection, id: Id, value: unknown): void {
  connection.say(
    `{"jsonrpc":"2.0",${withId(id)}"result":${JSON.stringify(value)},"usIn":1700000000000000,"usOut":1700000000000100,"usDiff":100,"testnet":true}`,
  )
}

function refuse(connection: Connection, id: Id, code: number, message: string): void {
  connection.say(`{"jsonrpc":"2.0",${withId(id)}"error":{"code":${code},"message":"${message}"}}`)
}
