import type { Dispatcher } from 'undici'
import { backoffMs } from '../base/backoff.ts'
import { Fault } from '../base/fault.ts'
import type { Random } from '../base/random.ts'
import type { RestRequest } from '../exchanges/exchange.ts'
import { restDispatcher } from './proxy.ts'
import type { FeedTime } from './timer.ts'
import type { Grant, Priority, WeightLedger } from './weight.ts'

/**
 * REST of one market. Every try is paid for in the ledger, has a deadline of its own, and reads at most so many bytes.
 * Redirects are not followed: an API host that redirects is not the API host. What is worth another try (network, 5xx,
 * over the limit) is tried again with jitter; what is not (4xx, not JSON, too long) fails at once with its reason.
 */

export interface RestOptions {
  readonly market: string
  /** scheme, host and port */
  readonly base: string
  /** empty: straight out */
  readonly proxy?: string | undefined
  readonly usedWeightHeader: string
  readonly connectionsMax: number
  readonly tryTimeoutMs: number
  /** from the first try that was sent; waiting for weight before it does not count */
  readonly totalTimeoutMs: number
  readonly triesMax: number
  readonly bodyBytesMax: number
  readonly backoffFloorMs: number
  readonly backoffCapMs: number
}

export const REST_DEFAULTS = {
  connectionsMax: 4,
  tryTimeoutMs: 10_000,
  totalTimeoutMs: 30_000,
  triesMax: 3,
  bodyBytesMax: 32 * 1024 * 1024, // exchangeInfo of spot is about 15 MB
  backoffFloorMs: 250,
  backoffCapMs: 5_000,
} as const

export interface RestSurroundings {
  readonly ledger: WeightLedger
  readonly time: FeedTime
  readonly random: Random
}

export interface RestStats {
  sent: number
  answered: number
  failed: number
  retried: number
  bodyBytes: number
}

/** One try went wrong; `isFinal` when another would be no better. */
class TryFault extends Fault {
  readonly isFinal: boolean

  constructor(code: string, message: string, isFinal: boolean) {
    super(code, message)
    this.isFinal = isFinal
  }
}

/** Without Retry-After: 429 lasts to the end of the minute at most, a first ban (418) 2 minutes, a refused address (403: Bybit, a firewall) 10. */
const LIMITED_MS = 60_000
const BANNED_MS = 120_000
const FORBIDDEN_MS = 600_000
const UNTOLD_MS: ReadonlyMap<number, number> = new Map([
  [429, LIMITED_MS],
  [418, BANNED_MS],
  [403, FORBIDDEN_MS],
])
const MS_PER_SECOND = 1_000

export class RestClient {
  readonly options: RestOptions
  readonly stats: RestStats = { sent: 0, answered: 0, failed: 0, retried: 0, bodyBytes: 0 }
  readonly #around: RestSurroundings
  readonly #dispatcher: Dispatcher
  readonly #origin: string

  constructor(options: RestOptions, around: RestSurroundings) {
    this.options = options
    this.#around = around
    this.#origin = new URL(options.base).origin
    this.#dispatcher = restDispatcher(options.proxy, {
      connections: options.connectionsMax,
      pipelining: 1,
      connectTimeout: options.tryTimeoutMs,
      headersTimeout: options.tryTimeoutMs,
      bodyTimeout: options.tryTimeoutMs,
    })
  }

  /** @param onSent called when a try leaves, after its wait for weight. Rejects with a Fault that names the reason. */
  async get(request: RestRequest, priority: Priority, onSent: () => void = () => {}): Promise<Buffer> {
    const { ledger, time, random } = this.#around
    let deadlineMs = Number.POSITIVE_INFINITY
    for (let attempt = 0; ; attempt++) {
      const grant = await ledger.acquire(this.options.market, request.weight, priority)
      if (attempt === 0) deadlineMs = time.monotonicMs() + this.options.totalTimeoutMs
      try {
        onSent()
        return await this.#try(request, grant, deadlineMs - time.monotonicMs())
      } catch (error) {
        const fault = asFault(error, this.#origin + request.path)
        const delayMs = backoffMs(attempt, this.options.backoffFloorMs, this.options.backoffCapMs, random)
        const startMs = Math.max(time.monotonicMs() + delayMs, time.monotonicMs() + ledger.bannedUntilMs - time.nowMs())
        if (fault.isFinal || attempt + 1 >= this.options.triesMax || startMs >= deadlineMs) {
          this.stats.failed++
          throw fault
        }
        this.stats.retried++
        await new Promise<void>((resolve) => time.after(delayMs, resolve))
      }
    }
  }

  async text(request: RestRequest, priority: Priority): Promise<string> {
    return (await this.get(request, priority)).toString('utf8')
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy()
  }

  async #try(request: RestRequest, grant: Grant, leftMs: number): Promise<Buffer> {
    const { options } = this
    const { time } = this.#around
    const stop = new AbortController()
    const tryMs = Math.max(1, Math.min(options.tryTimeoutMs, leftMs))
    const cancel = time.after(tryMs, () =>
      stop.abort(
        new TryFault(
          'REST_TIMEOUT',
          `${this.#origin}${request.path}: no whole answer in ${Math.round(tryMs)} ms`,
          false,
        ),
      ),
    )
    this.stats.sent++
    try {
      const answer = await this.#dispatcher.request({
        origin: this.#origin,
        path: request.path,
        method: 'GET',
        headers: { accept: 'application/json' },
        signal: stop.signal,
      })
      this.#account(answer, grant)
      const body = await readBody(answer, options.bodyBytesMax, this.#origin + request.path)
      this.#check(answer, body, request)
      this.stats.answered++
      this.stats.bodyBytes += body.length
      return body
    } finally {
      cancel()
    }
  }

  /** The venue's bookkeeping is in the head of every answer, good or bad. */
  #account(answer: Dispatcher.ResponseData, grant: Grant): void {
    const used = Number(headerOf(answer, this.options.usedWeightHeader))
    if (Number.isFinite(used) && used > 0) this.#around.ledger.observe(grant, used)
    const untoldMs = UNTOLD_MS.get(answer.statusCode)
    if (untoldMs === undefined) return
    const retryAfterSeconds = Number(headerOf(answer, 'retry-after'))
    const isTold = Number.isFinite(retryAfterSeconds) && retryAfterSeconds > 0
    this.#around.ledger.ban(isTold ? retryAfterSeconds * MS_PER_SECOND : untoldMs)
  }

  #check(answer: Dispatcher.ResponseData, body: Buffer, request: RestRequest): void {
    const { statusCode } = answer
    const where = `${this.#origin}${request.path}`
    if (statusCode === 200) {
      const type = headerOf(answer, 'content-type')
      if (/^application\/(?:[\w.-]+\+)?json\b/i.test(type)) return
      throw new TryFault(
        'REST_NOT_JSON',
        `${where}: answered ${type === '' ? 'without content type' : type.slice(0, 64)}, expected JSON`,
        true,
      )
    }
    const text = body.toString('utf8', 0, 200).replace(/\s+/g, ' ')
    if (statusCode >= 300 && statusCode < 400) {
      throw new TryFault(
        'REST_REDIRECT',
        `${where}: redirects to ${headerOf(answer, 'location').slice(0, 200)}, which is not followed`,
        true,
      )
    }
    if (UNTOLD_MS.has(statusCode)) {
      const untilMs = this.#around.ledger.bannedUntilMs
      throw new TryFault(
        'REST_LIMITED',
        `${where}: ${statusCode}, no request to this venue before ${new Date(untilMs).toISOString()}`,
        false,
      )
    }
    throw new TryFault('REST_STATUS', `${where}: ${statusCode} ${text}`, statusCode < 500 && statusCode !== 408)
  }
}

async function readBody(answer: Dispatcher.ResponseData, bytesMax: number, where: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    // leaving the loop destroys the body and with it the connection
    if (bytes > bytesMax) throw new TryFault('REST_BODY_TOO_LONG', `${where}: body exceeds ${bytesMax} bytes`, true)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

function headerOf(answer: Dispatcher.ResponseData, name: string): string {
  const value = answer.headers[name]
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

function asFault(error: unknown, where: string): TryFault {
  if (error instanceof TryFault) return error
  const { code, message } = error as { code?: string; message?: string }
  const what = [code, message ?? String(error)].filter((part) => part !== undefined).join(' ')
  return new TryFault('REST_UNREACHABLE', `${where}: ${what}; check the network, the REST URL and the proxy`, false)
}
