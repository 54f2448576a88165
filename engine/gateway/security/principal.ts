import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** What a key is good for. `read`: REST; `stream`: WebSocket; `admin`: what changes the engine. */
export const SCOPES = ['read', 'stream', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

/** `public`: what says nothing about the market or the engine (the page's files, the documentation, /livez). */
export type RouteScope = Scope | 'public'

/** Who asks. */
export interface Principal {
  /** of its key; `local` on a loopback gateway without keys, `nobody` where a route asks for none */
  readonly id: string
  readonly scopes: ReadonlySet<Scope>
}

/** Somebody on a public route who gave no key, or a WebSocket that will give one in its first message. */
export const NOBODY: Principal = { id: 'nobody', scopes: new Set() }

/** A WebSocket at the door: address, Origin, Host and limits are checked already. */
export interface Visit {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  /** of the client; behind a trusted proxy what that says */
  readonly address: string
  /** undefined: it has to give a key in its first message, then `authenticate` says who it is */
  readonly principal: Principal | undefined
  /** @throws HttpFault when the key is not good for this */
  authenticate(key: string): Principal
  /** false when its key was taken away or has expired meanwhile: close it with 1008 */
  isStillAllowed(): boolean
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** who may call this route; every route below /v1 has to say it */
    readonly scope?: RouteScope
    /** asks ClickHouse for more than a moment: given up first when the engine is overloaded */
    readonly isHistory?: boolean
  }
  interface FastifyRequest {
    principal: Principal
    /** of the client */
    address: string
  }
}
