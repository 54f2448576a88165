/** `/v1/stream` of a gateway: live rows and verified books, with what was missed in between. */
import { EXIT_CONFIG, Fault } from '../../base/fault.ts'
import { connectStream, type MarketStream, StreamRefusal } from '../../client/stream.ts'
import type { StreamMessage } from '../../client/messages.ts'
import type { Pattern } from '../../gateway/live/subject.ts'
import { anyRows, type Consumed, type ConsumeSink, type ConsumeSource } from './source.ts'

const ASK_MS_MAX = 3_000

export interface GatewayOptions {
  readonly url: string
  readonly key: string
  /** levels a side of books; undefined: all */
  readonly depth: number | undefined
}

/** @throws Fault with the remedy when there is none */
export async function checkGateway({ url }: GatewayOptions): Promise<void> {
  let detail: string
  try {
    const answer = await fetch(new URL('/v1/status', url), { signal: AbortSignal.timeout(ASK_MS_MAX) })
    const body = (await answer.json()) as object | null
    if (body !== null && ('processes' in body || 'error' in body)) return
    detail = 'something else answers there'
  } catch (error) {
    const { cause, message } = error as { cause?: { code?: string; message?: string }; message: string }
    detail = cause?.code ?? cause?.message ?? message
  }
  throw new Fault(
    'NO_GATEWAY',
    `no gateway at ${url} (${detail}): start one (marketprism all, or serve), name it with --url, or read without one by --from nats or --from blocks`,
  )
}

export class GatewayStream implements ConsumeSource {
  readonly name: string
  readonly #options: GatewayOptions
  readonly #patterns: readonly Pattern[]
  #stream: MarketStream | undefined

  constructor(options: GatewayOptions, patterns: readonly Pattern[]) {
    this.#options = options
    this.#patterns = patterns
    this.name = `gateway ${options.url}`
  }

  async run(sink: ConsumeSink): Promise<void> {
    const { url, key, depth } = this.#options
    const patterns = this.#patterns.map(({ text }) => text)
    const stream = connectStream({
      url,
      key,
      patterns,
      format: 'msgpack',
      ...(depth === undefined ? {} : { depth }),
    })
    this.#stream = stream
    try {
      for await (const message of stream) {
        if (message.type === 'connection') tell(message, sink)
        else await sink.onMessage(consumed(message, stream.lastBytes))
      }
    } catch (error) {
      if (!(error instanceof StreamRefusal)) throw error
      const remedy = /key|401/.test(`${error.code} ${error.message}`) ? ': set MARKETPRISM_CONSUME_KEY' : ''
      throw new Fault('REFUSED', `the gateway at ${url} refuses: ${error.message}${remedy}`, EXIT_CONFIG)
    }
  }

  async stop(): Promise<void> {
    this.#stream?.close()
  }
}

function tell({ state, reason }: Extract<StreamMessage, { type: 'connection' }>, sink: ConsumeSink): void {
  if (state === 'open') sink.onReading()
  if (state === 'closed') sink.onNotice(`the connection is closed (${reason}): it is made again`)
  if (state === 'resumed') sink.onNotice('connected again, nothing was missed')
  if (state === 'gap') sink.onNotice(`messages may be missing: ${reason}`)
}

/** A book or its end is one row. */
function consumed(message: Exclude<StreamMessage, { type: 'connection' }>, bytes: number): Consumed {
  const { type, exchange, market, symbol } = message
  const name = { type, exchange, market, symbol, bytes, raw: () => message }
  if ('rows' in message) return { ...name, rows: anyRows(message.rows) }
  const { exchange: _e, market: _m, symbol: _s, type: _t, ...row } = message
  return { ...name, rows: [row] }
}
