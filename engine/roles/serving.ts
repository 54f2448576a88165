/** The gateway's thread, and the answers to what it asks of this process. */
import type { Clock } from '../base/clock.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { GatewaySample } from '../gateway/counts.ts'
import type { LiveSeat, Question, ServeMessage, ServeOrder } from '../../workers/serve-worker.ts'
import type { Collector } from './collector.ts'
import type { EngineAnswers } from './engine-answers.ts'
import { gatewaySettings } from './gateway-settings.ts'
import { ServeThread } from './serve-thread.ts'
import type { Servers } from './servers.ts'

export class Serving {
  readonly #thread: ServeThread
  readonly #collector: Collector | undefined
  readonly #answers: EngineAnswers
  #counts: GatewaySample | undefined
  #peers: readonly string[] = []

  static async start(
    run: Run,
    servers: Servers,
    collector: Collector | undefined,
    answers: EngineAnswers,
    clock: Clock,
  ): Promise<Serving> {
    const serving = new Serving(run, servers, collector, answers, clock)
    try {
      await serving.#thread.start()
    } catch (error) {
      await serving.stop()
      throw error
    }
    return serving
  }

  private constructor(
    { config, log, version }: Run,
    servers: Servers,
    collector: Collector | undefined,
    answers: EngineAnswers,
    clock: Clock,
  ) {
    this.#collector = collector
    this.#answers = answers
    const pressure = collector?.pressure.memory ?? new SharedArrayBuffer(4)
    const settings = gatewaySettings(config, version, servers, collector !== undefined)
    this.#thread = new ServeThread({
      seatOf: ({ isResumed, port = settings.port }) => ({
        anchorNs: clock.anchorNs,
        settings: { ...settings, port },
        logLevel: config.log.level,
        pressure,
        live: liveSeat(servers, collector, isResumed),
        peers: this.#peers,
        controlKey: config.observe.controlKey,
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

  /** The pages of other processes: these and no others. */
  setPeers(urls: readonly string[]): void {
    this.#peers = urls
    this.#thread.post({ type: 'peers', urls })
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
    switch (what) {
      case 'status':
        return [this.#answers.status()]
      case 'collected':
        return this.#answers.collected()
      case 'plan':
        return this.#answers.plan()
      case 'config':
        return this.#answers.config()
      case 'change':
        return this.#answers.change(body)
    }
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
