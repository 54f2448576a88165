/** Whether a server is only away, which time may mend, or whether somebody has to correct something. */

const AWAY_CODES: ReadonlySet<string> = new Set([
  // nobody listens there, or no packet comes back
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN'],
  // the name is not known: at a boot the network, or the container of that name, comes later
  ...['ENOTFOUND', 'EAI_AGAIN'],
  // the words of the NATS client
  ...['CONNECTION_REFUSED', 'CONNECTION_TIMEOUT', 'CONNECTION_CLOSED', 'DISCONNECT', 'TIMEOUT'],
])
/** A cluster of NATS that has not found together yet: JSClusterNotAvail, JSClusterNotLeader. */
const NO_QUORUM_CODES: readonly unknown[] = [10008, 10009]
/** The client of ClickHouse gives no code to it. */
const CLICKHOUSE_TIMEOUT = 'Timeout error.'

export function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code = '', api_error: api } = error as { code?: string; api_error?: { err_code?: number } }
  if (AWAY_CODES.has(code) || NO_QUORUM_CODES.includes(api?.err_code)) return true
  return error.message === CLICKHOUSE_TIMEOUT || isAway(error.cause)
}
