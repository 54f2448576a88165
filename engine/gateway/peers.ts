/**
 * Other processes of the engine, asked over HTTP: their pages say how they are, what they collect and by which plan. Found
 * in NATS (sinks/registry.ts) or named by the configuration. Each is asked again and again, so that a question to us never
 * waits for one of them; one that fails is left alone for a while, and what it said is forgotten.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { BREAKER_DEFAULT, Breaker, isRest } from '../sinks/breaker.ts'
import type {
  ChangeAnswer,
  CollectedBy,
  CollectorPlan,
  EngineStatus,
  InstrumentChange,
  InstrumentName,
} from './engine-link.ts'

export interface PeerOptions {
  /** between two questions for the status of one process */
  readonly everyMs: number
  /** from the question to the last byte of its answer */
  readonly answerMsMax: number
  /** a status older than this is none */
  readonly freshMs: number
  /** shared by all processes; '' = nothing is changed in another process */
  readonly controlKey: string
}

export const PEERS_DEFAULT: PeerOptions = { everyMs: 2_000, answerMsMax: 30_000, freshMs: 10_000, controlKey: '' }

/** One that does not answer must not hold back what others said. */
const FIRST_MS_MAX = 1_000
const CONNECTIONS_A_PEER = 4
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

export class Peers {
  readonly #options: PeerOptions
  readonly #clock: Clock
  readonly #log: Log
  readonly #peers = new Map<string, Peer>()
  #turn = 0

  constructor(options: PeerOptions, clock: Clock, log: Log) {
    this.#options = options
    this.#clock = clock
    this.#log = log
  }

  /** These and no others, by the URL of their pages. */
  set(urls: readonly string[]): void {
    const wanted = new Set(urls.map((url) => url.replace(/\/+$/, '')))
    for (const [url, peer] of this.#peers) {
      if (wanted.has(url)) continue
      this.#peers.delete(url)
      void peer.close()
    }
    for (const url of wanted) if (!this.#peers.has(url)) this.#peers.set(url, this.#open(url))
  }

  /** What each said last. @returns at once, but for a moment when some were never asked */
  async statuses(): Promise<EngineStatus[]> {
    const peers = [...this.#peers.values()]
    const asked = Promise.all(peers.map((peer) => peer.first))
    await Promise.race([asked, sleep(FIRST_MS_MAX, undefined, { ref: false })])
    return peers.flatMap((peer) => peer.status ?? [])
  }

  collected(): Promise<CollectedBy[]> {
    return this.#askAll<CollectedBy>('/collected')
  }

  plan(): Promise<CollectorPlan[]> {
    return this.#askAll<CollectorPlan>('/plan')
  }

  /** How many of SHED_ORDER the collectors among them have given up: the highest. */
  pressure(): number {
    return Math.max(0, ...[...this.#peers.values()].map(({ status }) => status?.collector?.pressure.level ?? 0))
  }

  /**
   * What is to go goes everywhere; what is to come goes to one collector of its market, to each in turn where there are
   * several. @throws Fault when no collector can be told
   */
  async change({ add, remove }: InstrumentChange): Promise<ChangeAnswer> {
    if (this.#options.controlKey === '')
      throw new Fault(
        'NO_CONTROL',
        'the collector runs in another process, which takes no orders: set the same observe.controlKey there and here',
      )
    const orders = new Map<Peer, { add: InstrumentName[]; remove: InstrumentName[] }>()
    const refused: string[] = []
    const orderTo = (peer: Peer): { add: InstrumentName[]; remove: InstrumentName[] } => {
      const order = orders.get(peer) ?? { add: [], remove: [] }
      orders.set(peer, order)
      return order
    }
    for (const name of add) {
      const able = this.#collectorsOf(name)
      const peer = able[this.#turn++ % Math.max(1, able.length)]
      if (peer === undefined) refused.push(`${idOf(name)}: no collector of ${name.exchange}.${name.market} is there`)
      else orderTo(peer).add.push(name)
    }
    for (const name of remove) {
      const able = this.#collectorsOf(name)
      if (able.length === 0) refused.push(`${idOf(name)}: no collector of ${name.exchange}.${name.market} is there`)
      for (const peer of able) orderTo(peer).remove.push(name)
    }
    const answers = await Promise.all([...orders].map(([peer, order]) => peer.change(order)))
    return {
      added: answers.flatMap(({ added }) => added),
      removed: answers.flatMap(({ removed }) => removed),
      refused: [...refused, ...answers.flatMap((answer) => answer.refused)],
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()))
    this.#peers.clear()
  }

  #collectorsOf({ exchange, market }: InstrumentName): Peer[] {
    const isOf = (connection: { exchange: string; market: string }): boolean =>
      connection.exchange === exchange && connection.market === market
    return [...this.#peers.values()].filter(({ status }) => status?.collector?.connections.some(isOf) === true)
  }

  async #askAll<Answer>(path: string): Promise<Answer[]> {
    const answers = await Promise.all(
      [...this.#peers.values()].map((peer) => peer.ask<Answer[]>(path).catch(() => [] as Answer[])),
    )
    return answers.flat()
  }

  #open(url: string): Peer {
    return new Peer(url, this.#options, this.#clock, this.#log)
  }
}

const idOf = ({ exchange, market, symbol }: InstrumentName): string => `${exchange}.${market}.${symbol}`

/** One other process. */
class Peer {
  readonly #url: string
  readonly #options: PeerOptions
  readonly #clock: Clock
  readonly #pool: Pool
  readonly #breaker: Breaker
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #status: { readonly said: EngineStatus; readonly atMs: number } | undefined
  /** settles when it has been asked once, whatever came of it */
  readonly first: Promise<void>

  constructor(url: string, options: PeerOptions, clock: Clock, log: Log) {
    this.#url = url
    this.#options = options
    this.#clock = clock
    this.#pool = new Pool(new URL(url).origin, { connections: CONNECTIONS_A_PEER, maxResponseSize: ANSWER_BYTES_MAX })
    this.#breaker = new Breaker(`the process at ${url}`, BREAKER_DEFAULT, (error) => !(error instanceof Refused), log)
    this.first = this.#look()
  }

  /** undefined while it does not answer */
  get status(): EngineStatus | undefined {
    const { said, atMs } = this.#status ?? {}
    return atMs !== undefined && this.#clock.monotonicMs() - atMs <= this.#options.freshMs ? said : undefined
  }

  ask<Answer>(path: string): Promise<Answer> {
    return this.#breaker.run(() => this.#request<Answer>('GET', path))
  }

  async change(change: InstrumentChange): Promise<ChangeAnswer> {
    try {
      return await this.#breaker.run(() => this.#request<ChangeAnswer>('POST', '/change', change))
    } catch (error) {
      const reason = isRest(error) ? 'it is left alone for a while' : (error as Error).message
      throw new Fault('PEER', `the process at ${this.#url} was not changed: ${reason}`)
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#pool.destroy()
  }

  async #look(): Promise<void> {
    try {
      this.#status = { said: await this.ask<EngineStatus>('/status'), atMs: this.#clock.monotonicMs() }
    } catch {
      // the breaker has said so; what it said last goes stale
    }
    if (!this.#stop.signal.aborted) this.#timer = setTimeout(() => void this.#look(), this.#options.everyMs)
  }

  async #request<Answer>(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    const { answerMsMax, controlKey } = this.#options
    const answer = await this.#pool.request({
      method,
      path,
      signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(answerMsMax)]),
      headersTimeout: answerMsMax,
      bodyTimeout: answerMsMax,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json', authorization: `Bearer ${controlKey}` }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    })
    const text = await answer.body.text()
    if (answer.statusCode === 200) return JSON.parse(text) as Answer
    const line = reasonOf(text) ?? `it answers ${answer.statusCode}`
    throw answer.statusCode < 500 ? new Refused(line) : new Error(line)
  }
}

/** It is there and says no: that is no reason to leave it alone. */
class Refused extends Error {}

function reasonOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: unknown }
    return typeof error === 'string' ? error : undefined
  } catch {
    return undefined
  }
}
