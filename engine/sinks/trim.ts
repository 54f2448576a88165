import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import type { NatsLink } from './nats.ts'

/**
 * Room in the block stream. It keeps blocks by age, for other readers and for a store that lost its disk, and refuses new
 * ones when it is full; at 100,000 rows/s 4 GiB are full in ten minutes, though nothing waits. So when the stream is
 * fuller than half, what the store has stored is removed, the oldest first; what it has not stored is never touched.
 */
export interface TrimOptions {
  readonly stream: string
  readonly consumers: readonly string[]
  readonly lookMs: number
  readonly fullShare: number
}

export const TRIM_DEFAULT = { lookMs: 5_000, fullShare: 0.5 } as const

export class Trim {
  trimmedBlocks = 0
  readonly #link: NatsLink
  readonly #options: TrimOptions
  readonly #log: Log
  readonly #stop = new AbortController()
  #problem = ''

  constructor(link: NatsLink, options: TrimOptions, log: Log) {
    this.#link = link
    this.#options = options
    this.#log = log
  }

  /** Looks again and again until `stop`. */
  async run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.look().then(
        () => this.#tell(''),
        (error: Error) => this.#tell(error.message),
      )
      await sleep(this.#options.lookMs, undefined, { signal }).catch(() => undefined)
    }
  }

  stop(): void {
    this.#stop.abort()
  }

  /** Once, however long it lasts. */
  #tell(problem: string): void {
    if (problem !== '' && problem !== this.#problem)
      this.#log.warn({ error: problem }, 'the block stream could not be trimmed')
    this.#problem = problem
  }

  /** @returns how many blocks were removed. */
  async look(): Promise<number> {
    const { stream, consumers, fullShare } = this.#options
    const manager = await this.#link.up()?.jetstreamManager()
    if (manager === undefined) return 0
    const { config, state } = await manager.streams.info(stream)
    if (config.max_bytes <= 0 || state.bytes < config.max_bytes * fullShare) return 0
    const infos = await Promise.all(consumers.map((consumer) => manager.consumers.info(stream, consumer)))
    // of a consumer of few subjects the floor is its last block, however old: what it has none of, it is done with
    const floors = infos.map((info) =>
      info.num_pending + info.num_ack_pending === 0 ? state.last_seq : info.ack_floor.stream_seq,
    )
    // half of what is there, by number: the blocks are of like size
    const upTo = Math.min(...floors, state.first_seq + Math.ceil(state.messages / 2))
    if (upTo < state.first_seq) return 0
    const { purged } = await manager.streams.purge(stream, { seq: upTo + 1 })
    this.trimmedBlocks += purged
    this.#log.info({ stream, purged }, 'stored blocks removed from the block stream to make room')
    return purged
  }
}
