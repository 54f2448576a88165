import { setTimeout as sleep } from 'node:timers/promises'
import type { JetStreamManager } from 'nats'
import type { Log } from '../base/log.ts'
import { BLOCK_STREAM, type ConsumerShape, type StreamOptions } from '../record/streams.ts'
import type { NatsLink } from './nats.ts'
import { isMissing, provisionStreams } from './provision-streams.ts'

/**
 * A NATS that comes back empty (a new disk, a deleted stream) has no stream to publish to, and nobody would make it before
 * the next start. It is made anew here, as at a start: blocks that waited go out, and those that it had and that are not
 * known to be stored are sent again (commit-questions.ts sees that the stream is shorter than what it acknowledged).
 *
 * Who only collects leaves consumers alone as long as there is a stream: the way of sharding is the store's to say.
 */
export interface StreamWatchOptions {
  readonly streams: StreamOptions
  readonly consumers: readonly ConsumerShape[]
  /** whether the blocks are stored from here */
  readonly isStoring: boolean
  readonly lookMs: number
}

export const STREAM_LOOK_MS = 5_000

export class StreamWatch {
  readonly #link: NatsLink
  readonly #options: StreamWatchOptions
  readonly #log: Log
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  #toldProblem = ''

  constructor(link: NatsLink, options: StreamWatchOptions, log: Log) {
    this.#link = link
    this.#options = options
    this.#log = log
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await sleep(this.#options.lookMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#look().catch((error: Error) => this.#tell(error.message))
    }
  }

  async #look(): Promise<void> {
    const manager = await this.#link.up()?.jetstreamManager()
    if (manager === undefined || (await this.#isWhole(manager))) return
    const { streams, consumers } = this.#options
    const { created } = await provisionStreams(manager, streams, ...consumers)
    this.#log.error(
      { created },
      `stream ${BLOCK_STREAM} or its consumer was gone and is made anew: blocks that are not known to be stored are sent again`,
    )
    this.#toldProblem = ''
  }

  async #isWhole(manager: JetStreamManager): Promise<boolean> {
    const { consumers, isStoring } = this.#options
    try {
      await manager.streams.info(BLOCK_STREAM)
      for (const { durable_name } of isStoring ? consumers : [])
        await manager.consumers.info(BLOCK_STREAM, durable_name)
      return true
    } catch (error) {
      if (isMissing(error)) return false
      return true // a server that does not answer is told by who publishes and who reads
    }
  }

  #tell(problem: string): void {
    if (problem !== this.#toldProblem && !this.#stop.signal.aborted)
      this.#log.warn({ error: problem }, `stream ${BLOCK_STREAM} is gone and cannot be made anew`)
    this.#toldProblem = problem
  }
}
