import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { ClickHouseSink } from './clickhouse.ts'
import type { DeadLetters } from './dead-letters.ts'
import { Intake, type IntakeOptions, type IntakeStats } from './intake.ts'
import type { NatsLink } from './nats.ts'
import { Scale, type ScaleOptions } from './scale.ts'

/**
 * The consumers of the block stream, and their workers: one durable consumer for all blocks, or one an exchange, or one a
 * table; each with as many workers as its backlog asks for (scale.ts). A worker is a window of blocks and the inserts that
 * go with it; all share one sink, so that blocks of one table meet in an insert whichever consumer they came by.
 */
export interface CrewOptions {
  readonly consumers: readonly string[]
  readonly intake: Omit<IntakeOptions, 'consumer'>
  readonly scale: ScaleOptions
  /** how often the backlog is looked at */
  readonly lookMs: number
  /** inserts at once that a worker brings */
  readonly insertsAWorker: number
}

export interface CrewStats extends IntakeStats {
  workers: number
  started: number
  ended: number
}

/** A worker that is not needed any more finishes what it has. */
const END_MS = 30_000

interface Gang {
  readonly consumer: string
  readonly scale: Scale
  readonly workers: Intake[]
  pending: number
}

export class Crew {
  readonly #link: NatsLink
  readonly #sink: ClickHouseSink
  readonly #options: CrewOptions
  readonly #gangs: readonly Gang[]
  readonly #newIntake: (consumer: string) => Intake
  readonly #log: Log
  readonly #stop = new AbortController()
  readonly #ending = new Set<Promise<void>>()
  readonly #gone: Intake[] = []
  #looking: Promise<void> | undefined
  #started = 0

  constructor(
    link: NatsLink,
    sink: ClickHouseSink,
    options: CrewOptions,
    random: Random,
    log: Log,
    letters: DeadLetters,
  ) {
    this.#link = link
    this.#sink = sink
    this.#options = options
    this.#log = log
    this.#newIntake = (consumer) => new Intake(link, sink, { ...options.intake, consumer }, random, log, letters)
    this.#gangs = options.consumers.map((consumer) => ({
      consumer,
      scale: new Scale(options.scale),
      workers: [],
      pending: 0,
    }))
  }

  start(): void {
    for (const gang of this.#gangs) this.#fit(gang, this.#options.scale.workersMin)
    this.#looking ??= this.#keepLooking()
  }

  /** Undefined while all is well. */
  trouble(): string | undefined {
    for (const worker of this.#workers()) {
      const line = worker.trouble()
      if (line !== undefined) return line
    }
    return this.#link.trouble()
  }

  stats(): CrewStats {
    const all = [...this.#workers(), ...this.#gone]
    const sum = (name: keyof IntakeStats) => all.reduce((total, { stats }) => total + stats[name], 0)
    const workers = this.#workers().length
    return {
      received: sum('received'),
      stored: sum('stored'),
      storedRows: sum('storedRows'),
      poisoned: sum('poisoned'),
      retries: sum('retries'),
      inFlight: sum('inFlight'),
      inFlightBytes: sum('inFlightBytes'),
      pending: this.#gangs.reduce((total, { pending }) => total + pending, 0),
      workers,
      started: this.#started,
      ended: this.#started - workers,
    }
  }

  /** Resolves when the consumers have nothing left to give and nothing under way, or when the time is over. */
  async drained(deadlineMs: number): Promise<boolean> {
    const drained = await Promise.all(this.#gangs.map(({ workers }) => workers[0]?.drained(deadlineMs) ?? true))
    return drained.every(Boolean)
  }

  /** Pulls no more and finishes what is under way, at most `deadlineMs`; the rest stays in the stream. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#workers().map((worker) => worker.stop(deadlineMs)))
    await Promise.race([Promise.all(this.#ending), sleep(deadlineMs, undefined, { ref: false })])
    await this.#looking
  }

  #workers(): Intake[] {
    return this.#gangs.flatMap(({ workers }) => workers)
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await sleep(this.#options.lookMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#look().catch(() => undefined) // the link tells when NATS is away
    }
  }

  async #look(): Promise<void> {
    const manager = await this.#link.up()?.jetstreamManager()
    if (manager === undefined) return
    for (const gang of this.#gangs) {
      const { num_pending } = await manager.consumers.info(this.#options.intake.stream, gang.consumer)
      gang.pending = num_pending
      if (this.#stop.signal.aborted) return
      for (const worker of gang.workers) worker.look(num_pending, performance.now())
      this.#fit(gang, gang.scale.look(num_pending, performance.now()))
    }
  }

  #fit(gang: Gang, wanted: number): void {
    const before = gang.workers.length
    while (gang.workers.length < wanted) {
      const worker = this.#newIntake(gang.consumer)
      gang.workers.push(worker)
      this.#started++
      worker.start()
    }
    while (gang.workers.length > wanted) this.#end(gang.workers.pop() as Intake)
    if (gang.workers.length === before) return
    this.#sink.insertsMax = this.#options.insertsAWorker * Math.max(...this.#gangs.map(({ workers }) => workers.length))
    const { consumer, pending } = gang
    if (before > 0) this.#log.warn({ consumer, pending, before, workers: wanted }, 'workers of a consumer changed')
  }

  #end(worker: Intake): void {
    this.#gone.push(worker)
    const ended = worker.stop(END_MS).finally(() => this.#ending.delete(ended))
    this.#ending.add(ended)
  }
}
