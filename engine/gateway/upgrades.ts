import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { HttpFault } from './http-fault.ts'
import { withoutKeys } from './security/keys.ts'
import type { Visit } from './security/principal.ts'

export interface UpgradeOptions {
  /** the first message may bring the key (a browser cannot set headers) */
  readonly mayAuthenticateLater: boolean
}

export interface UpgradeRoute extends UpgradeOptions {
  readonly take: (visit: Visit) => void
}

/** Which path takes WebSockets. The door (security/door.ts) looks at each before it is handed over. */
export class Upgrades {
  readonly #routes = new Map<string, UpgradeRoute>()

  add(path: string, options: UpgradeOptions, take: (visit: Visit) => void): void {
    this.#routes.set(path, { ...options, take })
  }

  find(request: IncomingMessage): UpgradeRoute | undefined {
    return this.#routes.get((request.url ?? '').split('?', 1)[0] ?? '')
  }
}

/** Says no to a WebSocket that is not one yet. */
export function refuseUpgrade(socket: Duplex, { status, body, retryAfterSeconds }: HttpFault): void {
  const text = withoutKeys(JSON.stringify(body))
  const later = retryAfterSeconds === undefined ? '' : `retry-after: ${retryAfterSeconds}\r\n`
  const challenge = status === 401 ? 'www-authenticate: Bearer realm="marketprism"\r\n' : ''
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\nconnection: close\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\n${later}${challenge}\r\n${text}`,
  )
}
