/** The gateway's thread, and the answers to what it asks of this process. */
import { Worker } from 'node:worker_threads'
import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Run } from '../base/run.ts'
import type { EngineStatus, InstrumentChange } from '../gateway/engine-link.ts'
import type { Health } from '../observe/health.ts'
import { workerUrl } from '../../workers/pool.ts'
import type { Question, ServeMessage, ServeOrder, ServeSeat } from '../../workers/serve-worker.ts'
import type { Collector } from './collector.ts'
import { collectedAnswer, configAnswer, planAnswer } from './engine-answers.ts'
import { gatewaySettings } from './gateway-settings.ts'
import type { Servers } from './servers.ts'

export class Serving {
  readonly #worker: Worker
  readonly #run: Run
  readonly #collector: Collector | undefined
  readonly #health: Health
  readonly #log: Log
  #url = ''

  static async start(
    run: Run,
    servers: Servers,
    collector: Collector | undefined,
    health: Health,
    clock: Clock,
  ): Promise<Serving> {
    const serving = new Serving(run, servers, collector, health, clock)
    await serving.#ready()
    return serving
  }

  private constructor(run: Run, servers: Servers, collector: Collector | undefined, health: Health, clock: Clock) {
    const { config, log, version } = run
    this.#run = run
    this.#collector = collector
    this.#health = health
    this.#log = log
    const seat: ServeSeat = {
      role: 'serve',
      anchorNs: clock.anchorNs,
      settings: gatewaySettings(config, version, servers, collector !== undefined),
      logLevel: config.log.level,
      pressure: collector?.pressure.memory ?? new SharedArrayBuffer(4),
    }
    this.#worker = new Worker(workerUrl('serve-worker'), { workerData: seat, name: 'serve' })
  }

  get url(): string {
    return this.#url
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#worker.on('message', (message: ServeMessage) => {
        if (message.type === 'ready') {
          this.#url = message.url
          resolve()
        } else if (message.type === 'fault') reject(new Fault(message.code, message.message, message.exitCode))
        else if (message.type === 'ask') void this.#answer(message)
      })
      this.#worker.on('error', (error) => {
        this.#log.error({ reason: String(error) }, 'the gateway failed')
        reject(error)
      })
    })
  }

  async #answer({ id, what, body }: ServeMessage & { type: 'ask' }): Promise<void> {
    const order: ServeOrder = await this.#ask(what, body).then(
      (found) => ({ type: 'answer', id, body: found }),
      (error: Error) => ({ type: 'answer', id, error: error.message }),
    )
    this.#worker.postMessage(order)
  }

  async #ask(what: Question, body: unknown): Promise<unknown> {
    const { config, effective } = this.#run
    const collector = this.#collector
    if (what === 'status') return [this.#status()]
    if (what === 'config') return configAnswer(effective)
    if (what === 'collected') return collector === undefined ? [] : [collectedAnswer(config.producer, collector)]
    if (what === 'plan') return collector === undefined ? [] : [planAnswer(config.producer, collector)]
    throw new Fault('ENGINE', `${what} ${JSON.stringify(body as InstrumentChange)}: nobody answers that here`)
  }

  #status(): EngineStatus {
    const { roles, version, config } = this.#run
    const report = this.#health.report()
    const problems = { ...report.liveness.problems, ...report.readiness.problems, ...report.completeness.problems }
    return {
      name: this.#collector === undefined ? `${process.pid}` : config.producer,
      roles,
      version,
      pid: process.pid,
      startedMs: Date.parse(report.timestamp) - report.uptimeSeconds * 1000,
      health: report.status,
      problems,
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    this.#worker.postMessage({ type: 'stop' } satisfies ServeOrder)
    await ended
  }
}
