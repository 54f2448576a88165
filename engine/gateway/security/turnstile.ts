/**
 * Before everything else: whoever comes too often, or when too much is under way, hears so at once. Nothing of the request
 * is looked at but where it comes from, and the answers are ready, so that to refuse is the cheapest that the gateway does.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { GatewayCounts } from '../counts.ts'
import type { HttpFault } from '../http-fault.ts'
import type { Door } from './door.ts'

interface Refusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
  /** a text goes out in one write with its headers */
  readonly body: string
}

/** @param origins pages of these may read why */
export function turnstile(
  admit: RequestListener,
  door: Door,
  counts: GatewayCounts,
  origins: readonly string[],
): RequestListener {
  const refusals = new Map<HttpFault, Refusal>()
  return (request, response) => {
    const fault = door.turnAway(request)
    if (fault !== undefined) {
      const refusal = refusals.get(fault) ?? refusalOf(fault)
      refusals.set(fault, refusal)
      counts.turnedAway(fault.status)
      return refuse(request, response, refusal, origins)
    }
    counts.inFlight++
    response.once('close', () => counts.inFlight--)
    admit(request, response)
  }
}

function refuse(
  { headers: { origin } }: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: Refusal,
  origins: readonly string[],
): void {
  const isForeign = origin !== undefined && origins.includes(origin)
  const shared = isForeign
    ? { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'retry-after', vary: 'Origin' }
    : {}
  response.writeHead(status, { ...headers, ...shared }).end(body)
}

function refusalOf({ status, body: said, retryAfterSeconds = 1 }: HttpFault): Refusal {
  const body = JSON.stringify(said)
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'retry-after': retryAfterSeconds,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  return { status, headers, body }
}
