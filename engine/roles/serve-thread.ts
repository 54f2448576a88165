/**
 * The gateway's thread as the engine keeps it: it may crash or hang as it likes, that ends and slows nothing else. A dead one
 * is replaced after a pause that grows with every death; the port and whoever asks stay the same.
 */
import { backoffMs } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { createHeartbeats, Heartbeat } from '../ring/heartbeat.ts'
import { workerUrl } from '../../workers/pool.ts'
import type { ServeMessage, ServeOrder, ServeSeat } from '../../workers/serve-worker.ts'
import { WorkerSlot } from '../../workers/slot.ts'

/** What each life of the thread is given beside its heart. */
export type SeatOf = (life: {
  readonly isResumed: boolean
  readonly port: number | undefined
}) => Omit<ServeSeat, 'role' | 'heartbeats'>

export interface ServeThreadOptions {
  readonly seatOf: SeatOf
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly onMessage: (message: ServeMessage) => void
  readonly bounds?: ServeThreadBounds
  /** entry point of the thread */
  readonly entry?: URL
}

export interface ServeThreadBounds {
  /**
   * A loop that stands still for so long hangs: more than the longest answer takes to be put together, and more than a
   * machine with no time for it makes of a second. To end a thread by force while it reads sockets aborts the whole process
   * (Node 20: its HTTP parser takes an object that is being ended for granted), so it is done to one that is surely lost.
   */
  readonly hungMs: number
  /** modules take their time to load on a busy machine */
  readonly startMs: number
  readonly pauseMsMin: number
  readonly pauseMsMax: number
  /** a thread that lived for so long was sound: the pause begins anew */
  readonly soundMs: number
  /** time to end by itself, clients included */
  readonly stopMs: number
}

export const SERVE_THREAD_DEFAULT: ServeThreadBounds = {
  hungMs: 60_000,
  startMs: 60_000,
  pauseMsMin: 500,
  pauseMsMax: 30_000,
  soundMs: 60_000,
  stopMs: 4_000,
}

const WATCHES_PER_BOUND = 8

export class ServeThread {
  readonly #options: ServeThreadOptions
  readonly #bounds: ServeThreadBounds
  readonly #heartbeats = createHeartbeats(1)
  readonly #slot: WorkerSlot
  #ready: { resolve(): void; reject(error: Error): void } | undefined
  #port: number | undefined
  #url = ''
  #isUp = false
  #startedMs = 0
  #deaths = 0
  #isStopping = false
  #fault: Fault | undefined
  #waiting: NodeJS.Timeout | undefined
  #watching: NodeJS.Timeout | undefined
  /** threads that were started in the place of dead ones */
  restarts = 0

  constructor(options: ServeThreadOptions) {
    const { clock, bounds = SERVE_THREAD_DEFAULT, entry = workerUrl('serve-worker') } = options
    this.#options = options
    this.#bounds = bounds
    this.#slot = new WorkerSlot({
      name: 'gateway',
      url: entry,
      heartbeat: new Heartbeat(this.#heartbeats, 0),
      // each death comes here: the pause before the next life is ours
      bounds: { hungMs: bounds.hungMs, startMs: bounds.startMs, restartsMax: 0, restartWindowMs: 0 },
      nowMs: () => clock.monotonicMs(),
      events: {
        onLost: () => undefined,
        onRestarted: () => {},
        onGiveUp: (_, reason, detail) => this.#onDeath(`${reason}: ${detail}`),
        onMessage: (message) => this.#onMessage(message as ServeMessage),
      },
    })
  }

  /** Resolves when it listens. @throws Fault what hinders it: at the start a person is there to mend it */
  start(): Promise<void> {
    const { clock } = this.#options
    let watchedMs = clock.monotonicMs()
    this.#watching = setInterval(() => {
      const now = clock.monotonicMs()
      this.#slot.watch(now - watchedMs)
      watchedMs = now
    }, this.#bounds.hungMs / WATCHES_PER_BOUND)
    return new Promise((resolve, reject) => {
      this.#ready = { resolve, reject }
      this.#begin()
    })
  }

  get url(): string {
    return this.#url
  }

  /** Whether it listens. */
  get isUp(): boolean {
    return this.#isUp
  }

  post(order: ServeOrder): void {
    this.#slot.post(order)
  }

  /** Asks it to end. One that does not is left behind, for force could abort the process whose last rows are on their way. */
  async stop(): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#waiting)
    clearInterval(this.#watching)
    this.#slot.ending()
    this.post({ type: 'stop' })
    if (!(await this.#slot.endedByItself(this.#bounds.stopMs)))
      this.#options.log.warn(
        { stopMs: this.#bounds.stopMs },
        'the gateway did not end in time and goes with the process',
      )
  }

  #begin(): void {
    this.#startedMs = this.#options.clock.monotonicMs()
    this.#fault = undefined
    const life = { isResumed: this.restarts > 0, port: this.#port }
    const seat: ServeSeat = { role: 'serve', heartbeats: this.#heartbeats, ...this.#options.seatOf(life) }
    this.#slot.start(seat)
  }

  #onMessage(message: ServeMessage): void {
    if (message.type === 'ready') {
      this.#isUp = true
      this.#port = message.port
      this.#url = message.url
      if (this.#ready === undefined) this.#options.log.warn({ url: message.url }, 'the gateway is back')
      this.#ready?.resolve()
      this.#ready = undefined
    } else if (message.type === 'fault') {
      this.#fault = new Fault(message.code, message.message, message.exitCode)
    } else this.#options.onMessage(message)
  }

  #onDeath(detail: string): void {
    const { clock, random, log } = this.#options
    const wasUp = this.#isUp
    this.#isUp = false
    if (this.#isStopping) return
    const reason = this.#fault?.message ?? detail
    if (this.#ready !== undefined) {
      clearInterval(this.#watching)
      this.#ready.reject(this.#fault ?? new Fault('SERVE', `the gateway could not be started (${detail})`))
      return
    }
    if (wasUp && clock.monotonicMs() - this.#startedMs > this.#bounds.soundMs) this.#deaths = 0
    const { pauseMsMin, pauseMsMax } = this.#bounds
    const pauseMs = pauseMsMin + backoffMs(this.#deaths++, pauseMsMin, pauseMsMax, random)
    log.error({ reason, pauseMs: Math.round(pauseMs) }, 'the gateway died and is started anew; the engine goes on')
    this.#waiting = setTimeout(() => {
      this.restarts++
      this.#begin()
    }, pauseMs)
  }
}
