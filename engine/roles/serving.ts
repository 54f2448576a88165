/** The gateway's thread, and the answers to what it asks of this process. */
import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { GatewaySample } from '../gateway/counts.ts'
import type { InstrumentChange } from '../gateway/engine-link.ts'
import type { Health } from '../observe/health.ts'
import type { LiveSeat, Question, ServeMessage, ServeOrder } from '../../workers/serve-worker.ts'
import type { Collector } from './collector.ts'
import { collectedAnswer, configAnswer, planAnswer } from './engine-answers.ts'
import { gatewaySettings } from './gateway-settings.ts'
import { ServeThread } from './serve-thread.ts'
import type { Servers } from './servers.ts'
import { StatusReading } from './status.ts'

export class Serving {
  readonly #thread: ServeThread
  readonly #run: Run
  readonly #collector: Collector | undefined
  #counts: GatewaySample | undefined
  readonly #status: StatusReading

  static async start(
    run: Run,
    servers: Servers,
    collector: Collector | undefined,
    health: Health,
    clock: Clock,
  ): Promise<Serving> {
    const serving = new Serving(run, servers, collector, health, clock)
    try {
      await serving.#thread.start()
    } catch (error) {
      await serving.stop()
      throw error
    }
    return serving
  }

  private constructor(run: Run, servers: Servers, collector: Collector | undefined, health: Health, clock: Clock) {
    const { config, log, version } = run
    this.#run = run
    this.#collector = collector
    this.#status = new StatusReading(run, servers, collector, health, clock)
    const pressure = collector?.pressure.memory ?? new SharedArrayBuffer(4)
    const settings = gatewaySettings(config, version, servers, collector !== undefined)
    this.#thread = new ServeThread({
      seatOf: ({ isResumed, port = settings.port }) => ({
        anchorNs: clock.anchorNs,
        settings: { ...settings, port },
        logLevel: config.log.level,
        pressure,
        live: liveSeat(servers, collector, isResumed),
      }),
      clock,
      random: seededRandom(freshSeed()),
      log,
      onMessage: (message) => this.#onMessage(message),
    })
  }

  get url(): string {
    return this.#thread.url
  }

  /** Whether it listens; a thread that died is started anew. */
  get isUp(): boolean {
    return this.#thread.isUp
  }

  get restarts(): number {
    return this.#thread.restarts
  }

  /** what the gateway counted, a second ago at most */
  get counts(): GatewaySample | undefined {
    return this.#counts
  }

  #onMessage(message: ServeMessage): void {
    if (message.type === 'ask') void this.#answer(message)
    else if (message.type === 'counts') this.#counts = message.counts
    else if (message.type === 'wantBook')
      this.#collector?.wantBook(`${message.exchange}.${message.market}.${message.symbol}`)
  }

  async #answer({ id, what, body }: ServeMessage & { type: 'ask' }): Promise<void> {
    const order: ServeOrder = await this.#ask(what, body).then(
      (found) => ({ type: 'answer', id, body: found }),
      (error: Error) => ({ type: 'answer', id, error: error.message }),
    )
    this.#thread.post(order)
  }

  async #ask(what: Question, body: unknown): Promise<unknown> {
    const { config, effective } = this.#run
    const collector = this.#collector
    if (what === 'status') return [this.#status.read()]
    if (what === 'config') return configAnswer(effective)
    if (what === 'collected') return collector === undefined ? [] : [collectedAnswer(config.producer, collector)]
    if (what === 'plan') return collector === undefined ? [] : [planAnswer(config.producer, collector)]
    if (collector === undefined)
      throw new Fault('NO_COLLECTOR', 'no collector runs in this process: ask the one that shall collect it')
    return collector.byHand.change(body as InstrumentChange)
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }
}

/** A collector beside us is heard through shared memory, others over NATS. */
function liveSeat({ nats }: Servers, collector: Collector | undefined, isResumed: boolean): LiveSeat | undefined {
  if (collector?.liveRing !== undefined) return { from: 'ring', memory: collector.liveRing, isResumed }
  return nats === undefined ? undefined : { from: 'nats', nats }
}
