/** The requests that a client may send over the socket, and the venue's answers. */
import type { Connection } from '../connection.ts'
import type { Session } from '../protocol.ts'

type RequestId = string | number | null

const METHODS = 'SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY'
const ID_LENGTH_MAX = 36

export function answerRequest(session: Session, connection: Connection, text: string): void {
  const answer = answerTo(session, connection, text)
  if (answer !== null && connection.open) connection.say(answer)
}

/** @returns the answer to send, or null when the request closed the connection. */
function answerTo(session: Session, connection: Connection, text: string): string | null {
  let request: { method?: unknown; params?: unknown; id?: unknown }
  try {
    request = JSON.parse(text)
  } catch {
    return refusal(3, 'Invalid JSON: expected value at line 1 column 1')
  }
  if (typeof request !== 'object' || request === null) return refusal(2, 'Invalid request: expected an object')
  const { method, params, id } = request
  if (!isRequestId(id)) return refusal(2, 'Invalid request: request ID must be an unsigned integer')
  switch (method) {
    case 'SUBSCRIBE':
      if (!isNames(params)) return refusal(2, 'Invalid request: params must be an array of strings', id)
      return subscribe(session, connection, params, id)
    case 'UNSUBSCRIBE':
      if (!isNames(params)) return refusal(2, 'Invalid request: params must be an array of strings', id)
      session.unsubscribe(connection, params)
      return result(null, id)
    case 'LIST_SUBSCRIPTIONS':
      return result([...connection.streams.keys()], id)
    case 'SET_PROPERTY':
    case 'GET_PROPERTY':
      return answerProperty(connection, method, params, id)
    default:
      return refusal(2, `Invalid request: unknown variant \`${String(method)}\`, expected one of ${METHODS}`, id)
  }
}

/** A name that does not exist is accepted, and silent for ever. */
function subscribe(session: Session, connection: Connection, names: string[], id: RequestId): string | null {
  for (const name of names) {
    const became = session.subscribe(connection, name)
    if (became === 'closed') return null
    if (became === 'refused') return refusal(2, `Invalid request: stream ${name} is not available`, id)
  }
  return result(null, id)
}

function answerProperty(connection: Connection, method: string, params: unknown, id: RequestId): string {
  const [name, value] = Array.isArray(params) ? params : []
  if (typeof name !== 'string') return refusal(2, 'Invalid request: property name must be a string', id)
  if (name !== 'combined') return refusal(0, 'Unknown property', id)
  if (method === 'GET_PROPERTY') return result(connection.combined, id)
  if (typeof value !== 'boolean') return refusal(1, 'Invalid value type: expected Boolean', id)
  connection.combined = value
  return result(null, id)
}

const isNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((name) => typeof name === 'string')

const isRequestId = (id: unknown): id is RequestId =>
  id === null || Number.isSafeInteger(id) || (typeof id === 'string' && id.length <= ID_LENGTH_MAX)

const result = (value: unknown, id: RequestId): string => JSON.stringify({ result: value, id })

const refusal = (code: number, msg: string, id?: RequestId): string =>
  JSON.stringify(id === undefined ? { error: { code, msg } } : { error: { code, msg }, id })
