/**
 * The REST half of one host: refusals, bans and delays are the same for all venues; paths, weights and bodies are the
 * protocol's. Weight is counted per window for the whole host (all clients share one address here); over the limit the
 * venue answers 429 with Retry-After, and whoever goes on asking is banned with 418.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Protocol } from './protocol.ts'
import type { Answer, RestSource } from './rest-source.ts'
import type { MarketName } from './venue.ts'

export interface RestOptions {
  readonly protocol: Protocol
  readonly market: MarketName
  readonly source: (market: MarketName) => RestSource | undefined
  readonly nowMs: () => number
  readonly weightWindowMs: number
  readonly weightMax: number
  /** refused requests before the ban */
  readonly refusalsBeforeBan: number
  readonly banMs: number
}

export interface RestStats {
  requests: number
  refused429: number
  refused418: number
}

/** What faults may switch on; `untilMs` is compared with the clock. */
interface RestFaults {
  refuse: { status: 429 | 418; untilMs: number } | null
  slow: { ms: number; untilMs: number } | null
  stale: { bodies: Map<string, string>; left: number } | null
  /** answers 500 */
  broken: { untilMs: number } | null
}

export class RestVenue {
  readonly stats: RestStats = { requests: 0, refused429: 0, refused418: 0 }
  readonly faults: RestFaults = { refuse: null, slow: null, stale: null, broken: null }
  readonly #options: RestOptions
  #windowStartMs = 0
  #weight = 0
  #refusals = 0
  #bannedUntilMs = 0

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** Keeps the present depth answers; the next `count` depth requests get those, however late they come. */
  async armStale(symbols: readonly string[], count: number): Promise<void> {
    const bodies = new Map<string, string>()
    const source = this.#options.source(this.#options.market)
    for (const symbol of symbols) {
      const body = await source?.depth(symbol, 1000)
      if (body !== undefined) bodies.set(symbol, body)
    }
    this.faults.stale = { bodies, left: count }
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.stats.requests++
    const url = new URL(request.url ?? '/', 'http://simulated')
    const { status, body, headers } = this.#refusal() ?? (await this.#route(url))
    const { slow } = this.faults
    if (slow !== null && this.#options.nowMs() < slow.untilMs) await new Promise((done) => setTimeout(done, slow.ms))
    response.writeHead(status, {
      'Content-Type': 'application/json;charset=UTF-8',
      ...this.#options.protocol.restHeaders(this.#weight),
      ...headers,
    })
    response.end(body)
  }

  #refusal(): Answer | null {
    const nowMs = this.#options.nowMs()
    const { refuse, broken } = this.faults
    if (refuse !== null && nowMs < refuse.untilMs) return this.#refuse(refuse.status, refuse.untilMs - nowMs)
    if (nowMs < this.#bannedUntilMs) return this.#refuse(418, this.#bannedUntilMs - nowMs)
    return broken !== null && nowMs < broken.untilMs ? { status: 500, body: '<html>Internal Server Error' } : null
  }

  #refuse(status: 429 | 418, waitMs: number): Answer {
    if (status === 429) this.stats.refused429++
    else this.stats.refused418++
    const { weightMax, nowMs, protocol } = this.#options
    const headers = { 'Retry-After': String(Math.max(1, Math.ceil(waitMs / 1000))) }
    return { headers, ...protocol.refusal(status, waitMs, { nowMs: nowMs(), weightMax }) }
  }

  /** Charges the ledger. @returns the refusal, when the window's weight is used up. */
  #charge(weight: number): Answer | null {
    const { nowMs, weightWindowMs, weightMax, refusalsBeforeBan, banMs } = this.#options
    const now = nowMs()
    if (now - this.#windowStartMs >= weightWindowMs) {
      this.#windowStartMs = now - (now % weightWindowMs)
      this.#weight = 0
      this.#refusals = 0
    }
    this.#weight += weight
    if (this.#weight <= weightMax) return null
    if (++this.#refusals > refusalsBeforeBan) {
      this.#bannedUntilMs = now + banMs
      return this.#refuse(418, banMs)
    }
    return this.#refuse(429, this.#windowStartMs + weightWindowMs - now)
  }

  async #route(url: URL): Promise<Answer> {
    const { protocol, market, source, nowMs, weightMax } = this.#options
    const route = protocol.route({
      path: url.pathname,
      query: url.searchParams,
      market,
      nowMs: Math.floor(nowMs()),
      weightMax,
      source,
      stale: (symbol) => this.#staleBody(symbol),
    })
    if (route === null) return { status: 404, body: '{"code":-1,"msg":"no such path"}' }
    return this.#charge(route.weight) ?? route.answer()
  }

  #staleBody(symbol: string): string | undefined {
    const { stale } = this.faults
    const body = stale?.bodies.get(symbol)
    if (stale === null || body === undefined) return undefined
    if (--stale.left <= 0) this.faults.stale = null
    return body
  }
}
