/**
 * The thread of the gateway. It speaks with the main thread over its message port only: questions to the engine go there
 * with a number and come back with it.
 */
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { Clock } from '../engine/base/clock.ts'
import { Fault } from '../engine/base/fault.ts'
import { createLog, type Log, type LogLevel } from '../engine/base/log.ts'
import { GATEWAY_GIVES_WAY, threadGivesWay } from '../engine/base/priority.ts'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import type { GatewaySample } from '../engine/gateway/counts.ts'
import type { EngineLink } from '../engine/gateway/engine-link.ts'
import { startGateway } from '../engine/gateway/gateway.ts'
import type { LiveSource } from '../engine/gateway/live-source.ts'
import type { GatewaySettings } from '../engine/gateway/settings.ts'
import { Peers, PEERS_DEFAULT } from '../engine/gateway/peers.ts'
import { NatsSource } from '../engine/gateway/sources/nats.ts'
import { RingSource } from '../engine/gateway/sources/ring.ts'
import { WholeEngine } from '../engine/gateway/whole-engine.ts'
import { Heartbeat } from '../engine/ring/heartbeat.ts'
import { NatsLink, type NatsOptions } from '../engine/sinks/nats.ts'

export interface ServeSeat {
  readonly role: 'serve'
  readonly anchorNs: bigint
  readonly settings: GatewaySettings
  readonly logLevel: LogLevel
  /** one Int32: PressureStatus.level, written by main */
  readonly pressure: SharedArrayBuffer
  /** where live messages come from */
  readonly live: LiveSeat | undefined
  /** pages of other processes, as they are known at the start of the thread */
  readonly peers: readonly string[]
  /** what those want to hear before they change anything */
  readonly controlKey: string
  /** its one word is this thread's heart */
  readonly heartbeats: SharedArrayBuffer
}

export type LiveSeat =
  /** the collector of this process; `isResumed`: a thread before this one died with it */
  | { readonly from: 'ring'; readonly memory: SharedArrayBuffer; readonly isResumed: boolean }
  /** collectors elsewhere */
  | { readonly from: 'nats'; readonly nats: NatsOptions }

/** What main is asked. */
export type Question = 'status' | 'collected' | 'plan' | 'change' | 'config'

/** Gateway → main. */
export type ServeMessage =
  | { readonly type: 'ready'; readonly port: number; readonly url: string }
  | { readonly type: 'fault'; readonly code: string; readonly message: string; readonly exitCode: number }
  | {
      readonly type: 'ask'
      readonly id: number
      readonly what: Question
      readonly body?: unknown
    }
  | { readonly type: 'wantBook'; readonly exchange: string; readonly market: string; readonly symbol: string }
  | { readonly type: 'counts'; readonly counts: GatewaySample }
  | { readonly type: 'stopped' }

/** Main → gateway. */
export type ServeOrder =
  | { readonly type: 'answer'; readonly id: number; readonly body?: unknown; readonly error?: string }
  /** the pages of other processes: these and no others */
  | { readonly type: 'peers'; readonly urls: readonly string[] }
  | { readonly type: 'stop' }

/** The main thread answers at once or not at all; only for a change it asks the venue what it lists. */
const ANSWER_MS_MAX = 5_000
const CHANGE_MS_MAX = 60_000
const BEAT_MS = 200
const COUNTS_MS = 1_000

class PortLink implements EngineLink {
  readonly #port: MessagePort
  readonly #pressure: Int32Array
  /** where no collector is in this process */
  readonly #elsewhere: NatsSource | undefined
  readonly #waiting = new Map<number, { resolve(body: unknown): void; reject(error: Error): void }>()
  #lastId = 0

  constructor(port: MessagePort, pressure: SharedArrayBuffer, elsewhere: NatsSource | undefined) {
    this.#port = port
    this.#elsewhere = elsewhere
    this.#pressure = new Int32Array(pressure)
  }

  onAnswer({ id, body, error }: ServeOrder & { type: 'answer' }): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(body)
    else waiting?.reject(new Fault('ENGINE', error))
  }

  #ask(what: Question, body?: unknown): Promise<never> {
    const id = ++this.#lastId
    const msMax = what === 'change' ? CHANGE_MS_MAX : ANSWER_MS_MAX
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Fault('ENGINE', `the engine did not answer within ${msMax} ms`))
      }, msMax)
      const settle =
        <Value>(then: (value: Value) => void) =>
        (value: Value): void => {
          clearTimeout(timer)
          then(value)
        }
      this.#waiting.set(id, { resolve: settle(resolve as (body: unknown) => void), reject: settle(reject) })
      this.#port.postMessage({ type: 'ask', id, what, body } satisfies ServeMessage)
    })
  }

  status: EngineLink['status'] = () => this.#ask('status')
  collected: EngineLink['collected'] = () => this.#ask('collected')
  plan: EngineLink['plan'] = () => this.#ask('plan')
  change: EngineLink['change'] = (change) => this.#ask('change', change)
  config: EngineLink['config'] = () => this.#ask('config')
  wantBook: EngineLink['wantBook'] = ({ exchange, market, symbol }) => {
    if (this.#elsewhere !== undefined) this.#elsewhere.wantBook({ exchange, market, symbol })
    else this.#port.postMessage({ type: 'wantBook', exchange, market, symbol } satisfies ServeMessage)
  }
  pressure = (): number => Atomics.load(this.#pressure, 0)
}

function openLive(seat: LiveSeat | undefined, random: Random, log: Log): LiveSource | undefined {
  if (seat === undefined) return undefined
  if (seat.from === 'ring') return new RingSource(seat.memory, seat.isResumed)
  return new NatsSource(new NatsLink(seat.nats, 'marketprism gateway', random, log, 'nothing live until then'))
}

async function main(seat: ServeSeat, port: MessagePort): Promise<void> {
  const say = (message: ServeMessage): void => port.postMessage(message)
  threadGivesWay(GATEWAY_GIVES_WAY)
  const heartbeat = new Heartbeat(seat.heartbeats, 0)
  heartbeat.beat()
  setInterval(() => heartbeat.beat(), BEAT_MS).unref()
  const random = seededRandom(freshSeed())
  const log = createLog(seat.logLevel, 'serve')
  const live = openLive(seat.live, random, log)
  const link = new PortLink(port, seat.pressure, live instanceof NatsSource ? live : undefined)
  const clock = new Clock(seat.anchorNs)
  const peers = new Peers({ ...PEERS_DEFAULT, controlKey: seat.controlKey }, clock, log)
  peers.set(seat.peers)
  const engine = new WholeEngine(link, peers, seat.live?.from === 'ring', clock)
  const context = { settings: seat.settings, clock, random, log, engine }
  try {
    const gateway = await startGateway(context, live)
    port.on('message', (order: ServeOrder) => {
      if (order.type === 'answer') link.onAnswer(order)
      else if (order.type === 'peers') peers.set(order.urls)
      else
        void Promise.all([gateway.close(), peers.close()]).finally(() => {
          say({ type: 'stopped' })
          port.close()
        })
    })
    say({ type: 'ready', port: gateway.port, url: gateway.url })
    setInterval(() => say({ type: 'counts', counts: gateway.counts.sample() }), COUNTS_MS).unref()
  } catch (error) {
    const fault = error instanceof Fault ? error : new Fault('SERVE', String((error as Error)?.stack ?? error))
    say({ type: 'fault', code: fault.code, message: fault.message, exitCode: fault.exitCode })
    process.exit(1) // ends this thread, whatever of the gateway was open already
  }
}

if (!isMainThread && (workerData as ServeSeat | null)?.role === 'serve')
  await main(workerData as ServeSeat, parentPort as MessagePort)
