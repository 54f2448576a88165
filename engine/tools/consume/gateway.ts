/** `/v1/stream` of a gateway: live rows and verified books, with what was missed in between. */
import type { Config } from '../../base/config.ts'
import { EXIT_CONFIG, Fault } from '../../base/fault.ts'
import type { Run } from '../../base/run.ts'
import { connectStream, type MarketStream, StreamRefusal } from '../../client/stream.ts'
import type { LostMessage, StreamMessage } from '../../client/messages.ts'
import { runningNats } from '../../embedded/nats.ts'
import type { Pattern } from '../../gateway/live/subject.ts'
import { dataDirectory, natsOptions } from '../../roles/settings.ts'
import { connectNats } from '../../sinks/nats.ts'
import { readRegistry } from '../../sinks/registry.ts'
import { askJson, isGateway } from '../ask-json.ts'
import { anyRows, type Consumed, type ConsumeSink, type ConsumeSource } from './source.ts'

export interface GatewayOptions {
  readonly url: string
  readonly key: string
  /** levels a side of books; undefined: all */
  readonly depth: number | undefined
}

/**
 * The gateway to read from: the one that is named; else the one at the configured port; else one that runs with the engine
 * of this data directory, or with the configured NATS, as it is listed there.
 * @throws Fault with the remedy when there is none
 */
export async function findGateway(named: string | undefined, { config }: Pick<Run, 'config'>): Promise<string> {
  const wanted = named ?? config.consume.url
  const url = wanted === '' ? configuredUrl(config) : wanted
  if (isGateway(await askJson(new URL('/v1/status', url).href))) return url
  if (wanted === '') {
    for (const listed of await listedGateways(config))
      if (isGateway(await askJson(`${listed}/v1/status`))) return listed
  }
  throw new Fault(
    'NO_GATEWAY',
    `no gateway answers at ${url}: start one (marketprism all, or serve), name it with --url, or read without one by --from nats or --from blocks`,
  )
}

function configuredUrl({ serve: { host, port } }: Config): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}

async function listedGateways(config: Config): Promise<readonly string[]> {
  const url = config.nats.url === '' ? (await runningNats(dataDirectory(config, 'nats')))?.url : config.nats.url
  if (url === undefined) return []
  const connection = await connectNats(natsOptions(config, url), 'marketprism consume').catch(() => undefined)
  try {
    const entries = connection === undefined ? [] : await readRegistry(connection)
    return entries.flatMap(({ gateway }) => gateway ?? [])
  } catch {
    return [] // a user who may not look; the caller says what to do
  } finally {
    await connection?.close()
  }
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
        else if (message.type === 'lost') sink.onNotice(lostLine(message))
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

function lostLine({ of, exchange, market, symbol, messages }: LostMessage): string {
  return `${messages} messages of ${of}.${exchange}.${market}.${symbol} were lost on their way to the gateway`
}

/** A book or its end is one row. */
function consumed(message: Exclude<StreamMessage, { type: 'connection' | 'lost' }>, bytes: number): Consumed {
  const { type, exchange, market, symbol } = message
  const name = { type, exchange, market, symbol, bytes, raw: () => message }
  if ('rows' in message) return { ...name, rows: anyRows(message.rows) }
  const { exchange: _e, market: _m, symbol: _s, type: _t, ...row } = message
  return { ...name, rows: [row] }
}
