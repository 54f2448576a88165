/**
 * `marketprism consume <pattern…>`: what comes in, live. It reads from a gateway, from live subjects of NATS or from blocks
 * of JetStream, as anybody may, and changes nothing.
 */
import type { ReadStream } from 'node:tty'
import { Clock } from '../base/clock.ts'
import { EXIT_MISSED, EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { runningNats } from '../embedded/nats.ts'
import { Pattern } from '../gateway/live/subject.ts'
import { dataDirectory, natsOptions } from '../roles/settings.ts'
import { connectNats } from '../sinks/nats.ts'
import { Blocks } from './consume/blocks.ts'
import { findGateway, GatewayStream } from './consume/gateway.ts'
import { rowLine } from './consume/lines.ts'
import { LiveSubjects } from './consume/live-subjects.ts'
import { Meter } from './consume/meter.ts'
import { Screen } from './consume/screen.ts'
import type { Consumed, ConsumeSink, ConsumeSource } from './consume/source.ts'
import { summaryObject, summaryTable } from './consume/summary.ts'

export const SOURCES = ['gateway', 'nats', 'blocks'] as const
export type SourceName = (typeof SOURCES)[number]

export interface ConsumeOptions {
  readonly patterns: readonly string[]
  readonly from: SourceName
  /** of the gateway or NATS; undefined: the configured, else the one that runs here */
  readonly url: string | undefined
  readonly mode: 'plain' | 'demo' | 'interactive'
  readonly json: boolean
  readonly raw: boolean
  /** rows after which it ends */
  readonly count: number | undefined
  readonly seconds: number | undefined
  readonly depth: number | undefined
}

const DEMO_SECONDS = 10
/** Lines that a slow terminal has not taken; a live stream does not wait for it. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

export async function runConsume(options: ConsumeOptions, run: Run): Promise<void> {
  const patterns = options.patterns.map(patternOf)
  if (options.mode === 'interactive' && !(process.stdout.isTTY && process.stdin.isTTY))
    throw new Fault('NO_TERMINAL', '--interactive needs a terminal: leave it out, or say --demo or --json', EXIT_USAGE)
  const source = await open(options, patterns, run)
  const reader = new Reader(options, source)
  const end = (): void => void reader.end()
  run.stop.addEventListener('abort', end, { once: true })
  try {
    await reader.run()
  } finally {
    run.stop.removeEventListener('abort', end)
    await source.stop()
  }
  reader.conclude()
}

function patternOf(text: string): Pattern {
  const pattern = Pattern.parse(text)
  if (typeof pattern !== 'string') return pattern
  throw new Fault(
    'WRONG_PATTERN',
    `${text}: ${pattern}; e.g. trade.binance.*.BTC*, book.okx.swap.BTC-USDT-SWAP, >`,
    EXIT_USAGE,
  )
}

async function open(
  { from, url, depth }: ConsumeOptions,
  patterns: readonly Pattern[],
  { config }: Run,
): Promise<ConsumeSource> {
  if (from === 'gateway') {
    const options = { url: await findGateway(url, { config }), key: config.consume.key, depth }
    return new GatewayStream(options, patterns)
  }
  const connection = await connectNats(natsOptions(config, url ?? (await natsUrl(config))), 'marketprism consume')
  try {
    return from === 'nats' ? new LiveSubjects(connection, patterns) : new Blocks(connection, patterns)
  } catch (error) {
    await connection.close()
    throw error
  }
}

async function natsUrl(config: Run['config']): Promise<string> {
  if (config.nats.url !== '') return config.nats.url
  const directory = dataDirectory(config, 'nats')
  const running = await runningNats(directory)
  if (running !== undefined) return running.url
  throw new Fault(
    'NO_NATS',
    `no NATS server of ours runs on ${directory}: start an engine (marketprism all), name its directory with --data, a server with --url, or read from a gateway (--from gateway)`,
  )
}

/** What is done with what comes. */
class Reader implements ConsumeSink {
  readonly #options: ConsumeOptions
  readonly #source: ConsumeSource
  readonly #clock = new Clock()
  readonly #meter = new Meter(() => this.#clock.nowNs())
  readonly #startedMs = performance.now()
  readonly #screen: Screen | undefined
  #timer: NodeJS.Timeout | undefined
  #unshown = 0
  #isEnded = false

  constructor(options: ConsumeOptions, source: ConsumeSource) {
    this.#options = options
    this.#source = source
    if (options.mode === 'interactive')
      this.#screen = new Screen(
        this.#meter,
        source.name,
        process.stdin as ReadStream,
        process.stdout,
        () => void this.end(),
      )
  }

  async run(): Promise<void> {
    const { seconds, mode } = this.#options
    const lasting = seconds ?? (mode === 'demo' ? DEMO_SECONDS : undefined)
    if (lasting !== undefined) this.#timer = setTimeout(() => void this.end(), lasting * 1000)
    this.#screen?.start()
    try {
      await this.#source.run(this)
    } finally {
      clearTimeout(this.#timer)
      this.#screen?.stop()
    }
  }

  async end(): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    await this.#source.stop()
  }

  onMessage(message: Consumed): void | Promise<void> {
    if (this.#isEnded) return
    const { count, mode } = this.#options
    const left = count === undefined ? Number.POSITIVE_INFINITY : count - this.#meter.total.rows
    const taken = message.rows.length <= left ? message : { ...message, rows: message.rows.slice(0, left) }
    this.#meter.take(taken)
    if (mode === 'plain') this.#print(taken)
    if (message.rows.length >= left) void this.end()
    if (this.#options.from === 'blocks' && process.stdout.writableNeedDrain)
      return new Promise((resolve) => process.stdout.once('drain', resolve))
  }

  onReading(): void {
    if (this.#screen === undefined) process.stderr.write(`marketprism: reading ${this.#source.name}\n`)
  }

  onLost(count: number): void {
    this.#meter.lost += count
  }

  onError(line: string): void {
    this.#meter.errors++
    this.onNotice(line)
  }

  onNotice(line: string): void {
    this.#meter.notices.push(line)
    if (this.#screen === undefined) process.stderr.write(`marketprism: ${line}\n`)
  }

  #print(message: Consumed): void {
    const { json, raw } = this.#options
    if (process.stdout.writableLength > OUTPUT_BYTES_MAX) {
      this.#unshown += message.rows.length
      return
    }
    const { type, exchange, market, symbol, rows } = message
    const lines = raw
      ? [JSON.stringify(message.raw(), withoutBigints)]
      : rows.map((row) =>
          json
            ? JSON.stringify({ type, exchange, market, symbol, ...row })
            : rowLine(type, `${exchange}.${market}.${symbol}`, row),
        )
    process.stdout.write(`${lines.join('\n')}\n`)
  }

  /** @throws Fault when a demo saw nothing */
  conclude(): void {
    const { mode, json, patterns } = this.#options
    const seconds = (performance.now() - this.#startedMs) / 1000
    if (this.#unshown > 0)
      process.stderr.write(`marketprism: ${this.#unshown} rows were not shown: the output is slower than the stream\n`)
    if (mode === 'plain') return
    if (mode === 'demo' && json)
      process.stdout.write(`${JSON.stringify(summaryObject(this.#meter, this.#source.name, seconds))}\n`)
    else process.stdout.write(`${summaryTable(this.#meter, this.#source.name, seconds)}\n`)
    if (mode === 'demo' && this.#meter.total.messages === 0)
      throw new Fault(
        'NOTHING_CAME',
        `nothing came for ${patterns.join(' ')} in ${seconds.toFixed(1)} s: ask with a wider pattern (>), or look whether the engine collects (marketprism verify)`,
        EXIT_MISSED,
      )
  }
}

/** JSON knows no integers of 64 bits: they are text. */
const withoutBigints = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)
