/**
 * The REST half of one market: the venue's paths, weights, errors and bans. Weight is counted per window for the whole
 * market (all clients share one address here); over the limit the venue answers 429 with Retry-After, and whoever goes
 * on asking is banned with 418.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { VenueMarket } from './venue.ts'
import { depthWeight } from './venue.ts'

/** What the market (seeded or recorded) has to say to REST. */
export interface RestSource {
  /** symbols part of exchangeInfo */
  symbols(): unknown[]
  /** body of a depth answer; undefined: no such symbol. A promise: the answer is held until it may be given. */
  depth(symbol: string, limit: number): string | Promise<string> | undefined
  /** the last `limit` trades, or those from `fromId` on; undefined: no such symbol */
  trades(symbol: string, limit: number, fromId: number | null): RestTrade[] | undefined
}

export interface RestTrade {
  readonly id: number
  readonly price: string
  readonly quantity: string
  readonly timeMs: number
  readonly buyerIsMaker: boolean
}

export interface RestOptions {
  readonly market: VenueMarket
  readonly source: RestSource
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
  depthRequests: number
}

/** What faults may switch on; `untilMs` is compared with the clock. */
interface RestFaults {
  refuse: { status: 429 | 418; untilMs: number } | null
  slow: { ms: number; untilMs: number } | null
  stale: { bodies: Map<string, string>; left: number } | null
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers?: Record<string, string>
}

const DEPTH_LIMIT_MAX = 5000
const TOO_MANY = -1003

export class RestVenue {
  readonly stats: RestStats = { requests: 0, refused429: 0, refused418: 0, depthRequests: 0 }
  readonly faults: RestFaults = { refuse: null, slow: null, stale: null }
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
    for (const symbol of symbols) {
      const body = await this.#options.source.depth(symbol, 1000)
      if (body !== undefined) bodies.set(symbol, body)
    }
    this.faults.stale = { bodies, left: count }
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.stats.requests++
    const url = new URL(request.url ?? '/', 'http://simulated')
    const refusal = this.#refusal()
    const { status, body, headers } = refusal ?? (await this.#route(url))
    const { slow } = this.faults
    if (slow !== null && this.#options.nowMs() < slow.untilMs) await new Promise((done) => setTimeout(done, slow.ms))
    response.writeHead(status, {
      'Content-Type': 'application/json;charset=UTF-8',
      'X-MBX-USED-WEIGHT': String(this.#weight),
      'X-MBX-USED-WEIGHT-1M': String(this.#weight),
      ...headers,
    })
    response.end(body)
  }

  #refusal(): Answer | null {
    const nowMs = this.#options.nowMs()
    const { refuse } = this.faults
    if (refuse !== null && nowMs < refuse.untilMs) return this.#refuse(refuse.status, refuse.untilMs - nowMs)
    if (nowMs < this.#bannedUntilMs) return this.#refuse(418, this.#bannedUntilMs - nowMs)
    return null
  }

  #refuse(status: 429 | 418, waitMs: number): Answer {
    if (status === 429) this.stats.refused429++
    else this.stats.refused418++
    const { weightMax, nowMs } = this.#options
    const msg =
      status === 429
        ? `Too many requests; current limit is ${weightMax} request weight per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.`
        : `Way too much request weight used; IP banned until ${Math.round(nowMs() + waitMs)}. Please use WebSocket Streams for live updates to avoid bans.`
    const headers = { 'Retry-After': String(Math.max(1, Math.ceil(waitMs / 1000))) }
    return { status, body: JSON.stringify({ code: TOO_MANY, msg }), headers }
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
    const { restPath, weights } = this.#options.market
    if (!url.pathname.startsWith(`${restPath}/`)) return { status: 404, body: '{"code":-1,"msg":"no such path"}' }
    switch (url.pathname.slice(restPath.length + 1)) {
      case 'ping':
        return this.#charge(1) ?? ok('{}')
      case 'time':
        return this.#charge(1) ?? ok(`{"serverTime":${Math.floor(this.#options.nowMs())}}`)
      case 'exchangeInfo':
        return this.#charge(weights.exchangeInfo) ?? ok(JSON.stringify(this.#exchangeInfo()))
      case 'depth':
        return this.#depth(url.searchParams)
      case 'trades':
        return this.#trades(url.searchParams, weights.trades, false)
      case 'historicalTrades':
        return this.#trades(url.searchParams, weights.historicalTrades, false)
      case 'aggTrades':
        return this.#trades(url.searchParams, weights.aggTrades, true)
      default:
        return { status: 404, body: '{"code":-1,"msg":"no such path"}' }
    }
  }

  #exchangeInfo(): unknown {
    const { market, weightMax, source, nowMs } = this.#options
    return {
      timezone: 'UTC',
      serverTime: Math.floor(nowMs()),
      rateLimits: [{ rateLimitType: 'REQUEST_WEIGHT', interval: 'MINUTE', intervalNum: 1, limit: weightMax }],
      exchangeFilters: [],
      ...(market.name === 'usdm' ? { futuresType: 'U_MARGINED' } : {}),
      symbols: source.symbols(),
    }
  }

  async #depth(query: URLSearchParams): Promise<Answer> {
    this.stats.depthRequests++
    const { market, source } = this.#options
    const symbol = query.get('symbol')
    if (symbol === null) return refuseParameter('symbol')
    const limit = Number(query.get('limit') ?? market.depthLimitDefault)
    const weight = depthWeight(market, limit)
    if (weight === null) return bad(-4021, `'${limit}' is not valid depth limit.`)
    const refusal = this.#charge(weight)
    if (refusal !== null) return refusal
    const body = this.#staleBody(symbol) ?? (await source.depth(symbol, Math.min(limit, DEPTH_LIMIT_MAX)))
    return body === undefined ? bad(-1121, 'Invalid symbol.') : ok(body)
  }

  #staleBody(symbol: string): string | undefined {
    const { stale } = this.faults
    const body = stale?.bodies.get(symbol)
    if (stale === null || body === undefined) return undefined
    if (--stale.left <= 0) this.faults.stale = null
    return body
  }

  #trades(query: URLSearchParams, weight: number, aggregate: boolean): Answer {
    const symbol = query.get('symbol')
    if (symbol === null) return refuseParameter('symbol')
    const refusal = this.#charge(weight)
    if (refusal !== null) return refusal
    const limit = Math.min(1000, Math.max(1, Number(query.get('limit') ?? 500) || 500))
    const fromText = query.get('fromId')
    const trades = this.#options.source.trades(symbol, limit, fromText === null ? null : Number(fromText))
    if (trades === undefined) return bad(-1121, 'Invalid symbol.')
    return ok(JSON.stringify(trades.map((trade) => (aggregate ? this.#aggTrade(trade) : this.#trade(trade)))))
  }

  #trade(trade: RestTrade): unknown {
    const plain = {
      id: trade.id,
      price: trade.price,
      qty: trade.quantity,
      time: trade.timeMs,
      isBuyerMaker: trade.buyerIsMaker,
    }
    return this.#options.market.name === 'spot' ? { ...plain, isBestMatch: true } : plain
  }

  /** Over REST each fill is an aggregate of its own here: the trade ids are what a repair looks for. */
  #aggTrade(trade: RestTrade): unknown {
    const { id, price: p, quantity: q, timeMs: T, buyerIsMaker: m } = trade
    return { a: id, p, q, f: id, l: id, T, m, ...(this.#options.market.name === 'spot' ? { M: true } : {}) }
  }
}

const ok = (body: string): Answer => ({ status: 200, body })
const bad = (code: number, msg: string): Answer => ({ status: 400, body: JSON.stringify({ code, msg }) })
const refuseParameter = (name: string): Answer =>
  bad(-1102, `Mandatory parameter '${name}' was not sent, was empty/null, or malformed.`)
