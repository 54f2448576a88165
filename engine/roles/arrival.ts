import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import { isAway } from '../sinks/away.ts'
import { createGate, openGate } from '../sinks/gate.ts'

/**
 * A server that was away at the start. It is asked again for as long as it takes; when it is there, what a start does with it
 * is done, and its gate is opened. What is wrong with it then does not end the process, which may hold what is stored nowhere
 * else: it is told, and tried again.
 */
export interface ArrivalOptions {
  /** `NATS at nats://…` */
  readonly name: string
  /** what becomes of rows until then, for people */
  readonly meanwhile: string
  /** connects, looks, provisions, once; throws when that is not possible */
  readonly prepare: () => Promise<unknown>
}

const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 5_000

export class Arrival {
  readonly gate = createGate()
  readonly #options: ArrivalOptions
  readonly #log: Log
  readonly #stop = new AbortController()
  #problem: string | undefined
  #waiting: Promise<void> | undefined

  /** @param reason why it could not be used at the start */
  constructor(options: ArrivalOptions, reason: Error, log: Log) {
    this.#options = options
    this.#log = log
    this.#problem = reason.message
    log.warn(`${reason.message}; it is asked again until it is there, ${options.meanwhile}`)
  }

  /** One line; undefined since it is there. */
  get problem(): string | undefined {
    return this.#problem
  }

  start(): void {
    this.#waiting ??= this.#wait()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#waiting
  }

  async #wait(): Promise<void> {
    const { signal } = this.#stop
    const random = seededRandom(freshSeed())
    for (let attempt = 0; this.#problem !== undefined; attempt++) {
      await sleep(RETRY_MS_MIN + backoffMs(attempt, RETRY_MS_MIN, RETRY_MS_MAX, random), undefined, { signal }).catch(
        () => undefined,
      )
      if (signal.aborted) return
      await this.#options.prepare().then(
        () => this.#arrived(),
        (error: Error) => this.#failed(error),
      )
    }
  }

  #arrived(): void {
    this.#problem = undefined
    openGate(this.gate)
    this.#log.warn(`${this.#options.name} is there: what waited goes on`)
  }

  #failed(error: Error): void {
    const { message } = error
    if (!isAway(error) && message !== this.#problem && !this.#stop.signal.aborted)
      this.#log.error(`${this.#options.name} is there and cannot be used (${message}); ${this.#options.meanwhile}`)
    this.#problem = message
  }
}
