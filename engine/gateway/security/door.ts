/**
 * The door: every request and every WebSocket passes here before anything of its body is read. Refused is, in this order,
 * what comes too often, what would be too much at once (both by turnstile.ts, the cheapest way there is), what is too long,
 * what comes from the wrong place (Host, Origin), and who may not. A loopback gateway without keys lets everybody of the
 * machine read, and nobody change anything.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { GatewayCounts, Refusal } from '../counts.ts'
import { HttpFault } from '../http-fault.ts'
import {
  clientAddress,
  HOST_REFUSED,
  hostName,
  isLoopback,
  isLoopbackForAll,
  isSameOrigin,
  neighbourhood,
} from './addresses.ts'
import { isLocalOnly } from './exposure.ts'
import type { KeyRecord, KeyRing } from './keys.ts'
import { URL_BYTES_MAX } from './listener.ts'
import { NOBODY, type Principal, type RouteScope, type Scope } from './principal.ts'
import type { Rates } from './rates.ts'

export interface DoorSettings {
  readonly host: string
  readonly behindTlsProxy: boolean
  /** pages of these origins may ask, besides our own */
  readonly origins: readonly string[]
  /** names under which we may be asked, besides those of this machine */
  readonly hosts: readonly string[]
  /** whether who needs no key may change things, too */
  readonly localAdmin: boolean
  readonly requestsPerSecond: number
  readonly inFlightMax: number
}

/** What the door sees of a request. */
export interface Knock {
  readonly url: string
  readonly method: string
  readonly headers: IncomingHttpHeaders
  readonly remoteAddress: string | undefined
}

export class Door {
  readonly #settings: DoorSettings
  readonly #keys: KeyRing
  readonly #rates: Rates
  readonly #counts: GatewayCounts
  readonly #isLocal: boolean
  readonly #local: Principal
  readonly #records = new WeakMap<Principal, KeyRecord>()
  readonly #tooOften: HttpFault
  readonly #tooMany: HttpFault

  constructor(settings: DoorSettings, keys: KeyRing, rates: Rates, counts: GatewayCounts) {
    this.#settings = settings
    this.#keys = keys
    this.#rates = rates
    this.#counts = counts
    this.#isLocal = isLocalOnly(settings)
    const scopes: Scope[] = settings.localAdmin && this.#isLocal ? ['read', 'stream', 'admin'] : ['read', 'stream']
    this.#local = { id: 'local', scopes: new Set(scopes) }
    const { requestsPerSecond, inFlightMax } = settings
    this.#tooOften = tooOften('your address', requestsPerSecond, 1) // a bucket of one a second or more is never empty for longer
    this.#tooMany = new HttpFault(503, 'overloaded', `${inFlightMax} requests are under way: ask again`, {}, 1)
  }

  /** What does not depend on what is asked for. @returns always the same refusals, which can be kept ready */
  turnAway({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): HttpFault | undefined {
    const { requestsPerSecond, inFlightMax, behindTlsProxy } = this.#settings
    const client = neighbourhood(clientAddress(socket.remoteAddress, headers, behindTlsProxy))
    if (this.#rates.take(`address ${client}`, requestsPerSecond) > 0) {
      this.#counts.refused.rate++
      return this.#tooOften
    }
    if (this.#counts.inFlight < inFlightMax) return undefined
    this.#counts.refused.in_flight++
    return this.#tooMany
  }

  /** What does not depend on who asks. @returns the client's address. @throws HttpFault */
  admit({ url, headers, remoteAddress }: Knock): string {
    const address = clientAddress(remoteAddress, headers, this.#settings.behindTlsProxy)
    if (url.length > URL_BYTES_MAX)
      throw this.#no(
        'url',
        414,
        'url_too_long',
        `the URL has more than ${URL_BYTES_MAX} characters: ask for less at once`,
      )
    this.#checkHost(headers.host)
    this.#checkOrigin(headers)
    return address
  }

  /** Who it is. @throws HttpFault when a key is given that is not good, or needed and not given */
  identify(headers: IncomingHttpHeaders, isNeeded: boolean): Principal {
    const key = bearer(headers.authorization)
    if (!this.#keys.isUsed) return this.#local
    if (key !== undefined) return this.authenticate(key)
    if (!isNeeded) return NOBODY
    throw this.#no('key', 401, 'key_missing', 'a key is needed: send Authorization: Bearer marketprism_…')
  }

  /** @throws HttpFault */
  authenticate(key: string): Principal {
    if (!this.#keys.isUsed) return this.#local
    const found = this.#keys.find(key)
    if (found === 'unknown') throw this.#no('key', 401, 'key_unknown', 'this key is not known here')
    if (found === 'expired') throw this.#no('key', 401, 'key_expired', 'this key has expired: ask for another')
    const { id, scopes, requestsPerSecond = this.#settings.requestsPerSecond } = found
    this.#checkRate(`key ${id}`, requestsPerSecond, `key ${id}`)
    const principal: Principal = { id, scopes }
    this.#records.set(principal, found)
    return principal
  }

  /** @throws HttpFault when this is not for them */
  authorize(principal: Principal, scope: RouteScope, method: string): void {
    if (scope === 'public' || principal.scopes.has(scope)) return
    if (principal !== this.#local) {
      const line = `this needs a key with scope ${scope}; key ${principal.id} has ${[...principal.scopes].join(', ')}`
      throw this.#no('scope', 403, 'scope_missing', line)
    }
    // the machine's own people may look at everything (no secret is shown); to change something takes a key
    if (this.#isLocal && (method === 'GET' || method === 'HEAD')) return
    const line = `this changes the engine and needs a key with scope ${scope}: marketprism keys create, then serve.keysFile${this.#isLocal ? '; or serve.localAdmin=true' : ''}`
    throw this.#no('scope', 403, 'scope_missing', line)
  }

  /** Whether a key that was good for a WebSocket still is. */
  isStillAllowed(principal: Principal): boolean {
    const record = this.#records.get(principal)
    return record === undefined || this.#keys.isGood(record)
  }

  /** Whether pages of this origin may read our answers. */
  isKnownOrigin(origin: string, host: string | undefined): boolean {
    return this.#settings.origins.includes(origin) || isSameOrigin(origin, host)
  }

  /**
   * A name that leads here without our knowing it is how a foreign page reads a server of this machine (DNS rebinding). What
   * is loopback for every browser cannot be made to lead elsewhere first, so no foreign page can have it as its own name.
   */
  #checkHost(host: string | undefined): void {
    const name = hostName(host)
    const { hosts } = this.#settings
    if (name !== undefined && (isLoopbackForAll(name) || hosts.includes(name))) return
    if (name !== undefined && (this.#isLocal ? isLoopback(name) : hosts.length === 0)) return
    const called = name === undefined ? 'header Host names no host' : `this gateway is not called ${name} (header Host)`
    const remedy = 'call it localhost, 127.0.0.1, [::1] or by a name of serve.hosts, or add the name to serve.hosts'
    throw this.#no('host', HOST_REFUSED.status, HOST_REFUSED.code, `${called}: ${remedy}`)
  }

  /** What no page sent has no Origin; a browser that asks for another page always says which. */
  #checkOrigin({ origin, host, 'sec-fetch-site': site, 'sec-fetch-mode': mode }: IncomingHttpHeaders): void {
    const isForeign =
      origin === undefined ? site === 'cross-site' && mode !== 'navigate' : !this.isKnownOrigin(origin, host)
    if (!isForeign) return
    const line = 'pages of this origin may not ask here: add it to serve.origins'
    throw this.#no('origin', 403, 'origin_not_allowed', line)
  }

  #checkRate(name: string, perSecond: number, whose: string): void {
    const waitMs = this.#rates.take(name, perSecond)
    if (waitMs === 0) return
    this.#counts.refused.rate++
    throw tooOften(whose, perSecond, Math.ceil(waitMs / 1000))
  }

  #no(reason: Refusal, status: number, code: string, line: string): HttpFault {
    this.#counts.refused[reason]++
    return new HttpFault(status, code, line)
  }
}

function tooOften(whose: string, perSecond: number, retryAfterSeconds: number): HttpFault {
  const line = `${whose} may ask ${perSecond} times a second: ask more slowly`
  return new HttpFault(429, 'too_many_requests', line, {}, retryAfterSeconds)
}

function bearer(header: string | undefined): string | undefined {
  return header === undefined ? undefined : (/^Bearer +(\S+)$/i.exec(header)?.[1] ?? '')
}
