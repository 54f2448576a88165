/**
 * The thread of the gateway. It speaks with the main thread over its message port only: questions to the engine go there
 * with a number and come back with it.
 */
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { Clock } from '../engine/base/clock.ts'
import { Fault } from '../engine/base/fault.ts'
import { createLog, type LogLevel } from '../engine/base/log.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import type { EngineLink } from '../engine/gateway/engine-link.ts'
import { startGateway } from '../engine/gateway/gateway.ts'
import type { GatewaySettings } from '../engine/gateway/settings.ts'

export interface ServeSeat {
  readonly role: 'serve'
  readonly anchorNs: bigint
  readonly settings: GatewaySettings
  readonly logLevel: LogLevel
  /** one Int32: PressureStatus.level, written by main */
  readonly pressure: SharedArrayBuffer
}

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
  | { readonly type: 'stopped' }

/** Main → gateway. */
export type ServeOrder =
  | { readonly type: 'answer'; readonly id: number; readonly body?: unknown; readonly error?: string }
  | { readonly type: 'stop' }

/** The main thread answers at once or not at all. */
const ANSWER_MS_MAX = 5_000

class PortLink implements EngineLink {
  readonly #port: MessagePort
  readonly #pressure: Int32Array
  readonly #waiting = new Map<number, { resolve(body: unknown): void; reject(error: Error): void }>()
  #lastId = 0

  constructor(port: MessagePort, pressure: SharedArrayBuffer) {
    this.#port = port
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
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Fault('ENGINE', `the engine did not answer within ${ANSWER_MS_MAX} ms`))
      }, ANSWER_MS_MAX)
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
  wantBook: EngineLink['wantBook'] = (name) =>
    this.#port.postMessage({ type: 'wantBook', ...name } satisfies ServeMessage)
  pressure = (): number => Atomics.load(this.#pressure, 0)
}

async function main(seat: ServeSeat, port: MessagePort): Promise<void> {
  const say = (message: ServeMessage): void => port.postMessage(message)
  const link = new PortLink(port, seat.pressure)
  const context = {
    settings: seat.settings,
    clock: new Clock(seat.anchorNs),
    random: seededRandom(freshSeed()),
    log: createLog(seat.logLevel, 'serve'),
    engine: link,
  }
  try {
    const gateway = await startGateway(context, undefined)
    port.on('message', (order: ServeOrder) => {
      if (order.type === 'answer') link.onAnswer(order)
      else
        void gateway.close().finally(() => {
          say({ type: 'stopped' })
          port.close()
        })
    })
    say({ type: 'ready', port: gateway.port, url: gateway.url })
  } catch (error) {
    const fault = error instanceof Fault ? error : new Fault('SERVE', String((error as Error)?.stack ?? error))
    say({ type: 'fault', code: fault.code, message: fault.message, exitCode: fault.exitCode })
  }
}

if (!isMainThread && (workerData as ServeSeat | null)?.role === 'serve')
  await main(workerData as ServeSeat, parentPort as MessagePort)
