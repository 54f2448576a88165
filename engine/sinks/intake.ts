import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConsumerMessages, JsMsg } from 'nats'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { BLOCK_STREAM, STORE_CONSUMER } from '../record/streams.ts'
import { DAMAGED, type DeadLetters } from './dead-letters.ts'
import { readHops } from './hops.ts'
import { getLargeBlock, type LargeNote, readLargeNote } from './large-blocks.ts'
import { headersOf, type NatsLink } from './nats.ts'
import { DOUBTED_HEADER, openBlock, type Poison, type SealedBlock, type Sink } from './sink.ts'

/**
 * The store: blocks from JetStream into ClickHouse.
 *
 * A durable pull consumer that began with the first message. A block is acknowledged after its rows and its mark are
 * inserted, not before, so whatever is killed in between, the block comes again; its token makes the second insert do
 * nothing. The redelivered flag is not looked at: it is not reliable. No more than the window is pulled, so a slow
 * ClickHouse fills the stream and not this memory. A block that will never be stored is terminated after it is a dead
 * letter, not before: while nothing takes the letter the block stays unacknowledged, and those behind it are stored.
 */
export interface IntakeOptions {
  readonly stream: string
  readonly consumer: string
  readonly inFlightCountMax: number
  readonly inFlightBytesMax: number
  /** blocks that the client may hold beside those in hand, together far below the 64 MiB at which the server cuts a slow reader off */
  readonly pulledCountMax: number
  /** tells the server that a block is still being worked on; well below the consumer's ack_wait */
  readonly workingMs: number
  readonly retryMsMin: number
  readonly retryMsMax: number
  /** when the stream has blocks, none is in hand and none came for so long, the client has lost its pull */
  readonly stallMs: number
}

export const INTAKE_DEFAULT: IntakeOptions = {
  stream: BLOCK_STREAM,
  consumer: STORE_CONSUMER,
  inFlightCountMax: 192,
  inFlightBytesMax: 64 * 1024 * 1024,
  pulledCountMax: 64,
  workingMs: 15_000,
  retryMsMin: 200,
  retryMsMax: 5000,
  stallMs: 30_000,
}

export interface IntakeStats {
  received: number
  stored: number
  storedRows: number
  poisoned: number
  retries: number
  inFlight: number
  inFlightBytes: number
  /** messages of the stream behind the last one received */
  pending: number
}

const DRAIN_LOOK_MS = 50
/** A large block that cannot be read so often is damaged; its collector sends it again. */
const LARGE_TRIES_MAX = 3
/** A pull is renewed this often; half of it is how long a silent server is believed. */
const PULL_MS = 5000

export class Intake {
  readonly stats: IntakeStats = {
    received: 0,
    stored: 0,
    storedRows: 0,
    poisoned: 0,
    retries: 0,
    inFlight: 0,
    inFlightBytes: 0,
    pending: 0,
  }
  readonly #link: NatsLink
  readonly #sink: Sink
  readonly #options: IntakeOptions
  readonly #random: Random
  readonly #log: Log
  readonly #letters: DeadLetters
  readonly #stop = new AbortController()
  readonly #working = new Set<Promise<void>>()
  #failures = 0
  #trouble: string | undefined
  #pulling: Promise<void> | undefined
  #messages: ConsumerMessages | undefined
  /** how many had come when that was last another number, and since when it is this one */
  #seen = { received: 0, sinceMs: Number.POSITIVE_INFINITY }

  constructor(link: NatsLink, sink: Sink, options: IntakeOptions, random: Random, log: Log, letters: DeadLetters) {
    this.#link = link
    this.#sink = sink
    this.#options = options
    this.#random = random
    this.#log = log
    this.#letters = letters
    setMaxListeners(0, this.#stop.signal) // each block that waits to try again listens
  }

  start(): void {
    this.#pulling ??= this.#pull()
  }

  /**
   * Looks whether blocks still come. A stalled store loses nothing, and nobody would notice until the stream is full.
   * @param pending blocks that the consumer has for us. @param nowMs monotonic
   */
  look(pending: number, nowMs: number): void {
    const { received, inFlight } = this.stats
    if (pending === 0 || inFlight > 0 || received !== this.#seen.received || this.#seen.sinceMs > nowMs)
      this.#seen = { received, sinceMs: nowMs }
    const { stallMs, consumer } = this.#options
    if (nowMs - this.#seen.sinceMs < stallMs) return
    this.#seen = { received, sinceMs: nowMs }
    this.#log.error({ consumer, pending, stallMs }, 'no block came though the stream has some: the pull begins anew')
    this.#messages?.stop()
  }

  /** Undefined while all is well. */
  trouble(): string | undefined {
    return this.#link.trouble() ?? this.#trouble ?? this.#sink.trouble()
  }

  /** Resolves when the consumer has nothing left to give and nothing under way, or when the time is over. */
  async drained(deadlineMs: number): Promise<boolean> {
    const deadlineAt = performance.now() + deadlineMs
    while (performance.now() < deadlineAt) {
      const manager = await this.#link.up()?.jetstreamManager()
      const info = await manager?.consumers.info(this.#options.stream, this.#options.consumer).catch(() => undefined)
      if (info !== undefined && info.num_pending === 0 && info.num_ack_pending === 0) return true
      await this.#pause(DRAIN_LOOK_MS)
    }
    return false
  }

  /** Pulls no more and finishes what is under way, at most `deadlineMs`; the rest stays in the stream. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stop.abort()
    const deadline = new AbortController()
    await Promise.race([
      Promise.all(this.#working),
      sleep(deadlineMs, undefined, { signal: deadline.signal }).catch(() => undefined),
    ])
    deadline.abort()
    await this.#pulling
  }

  async #pull(): Promise<void> {
    const { stream, consumer: name } = this.#options
    while (!this.#stop.signal.aborted) {
      const connection = this.#link.up()
      if (connection === undefined) {
        await this.#pause(this.#options.retryMsMin)
        continue
      }
      try {
        const consumer = await connection.jetstream().consumers.get(stream, name)
        // One pull that is kept filled. Pulls that end and begin again lose what is on its way at the seam for ack_wait.
        // Counted in messages: of bytes the client (nats 2.29) never forgets what a pull that was filled by count had left,
        // so that it asks for ever fewer, and at last again and again for less than the next block has: it stalls for good.
        await this.#consume(
          await consumer.consume({
            max_messages: this.#options.pulledCountMax,
            expires: PULL_MS,
            abort_on_missing_resource: true,
          }),
        )
      } catch (error) {
        this.#pullFailed(error)
        await this.#pause(
          this.#options.retryMsMin + backoffMs(2, this.#options.retryMsMin, this.#options.retryMsMax, this.#random),
        )
      }
    }
  }

  async #consume(messages: ConsumerMessages): Promise<void> {
    const { signal } = this.#stop
    const end = (): void => messages.stop()
    signal.addEventListener('abort', end, { once: true })
    this.#messages = messages
    try {
      for await (const message of messages) {
        if (signal.aborted) return
        this.#trouble = undefined
        this.#take(message)
        await this.#room()
      }
    } finally {
      signal.removeEventListener('abort', end)
      messages.stop()
    }
  }

  /** The window is not exceeded; and while blocks fail, those under way try again before another is begun. */
  async #room(): Promise<void> {
    while (!this.#hasRoom()) {
      if (this.#stop.signal.aborted) return
      await Promise.race(this.#working)
    }
  }

  #hasRoom(): boolean {
    const { inFlight, inFlightBytes } = this.stats
    const { inFlightCountMax, inFlightBytesMax } = this.#options
    return inFlight < (this.#failures > 0 ? 1 : inFlightCountMax) && inFlightBytes < inFlightBytesMax
  }

  #take(message: JsMsg): void {
    const bytes = largeNoteOf(message)?.bytes ?? message.data.length
    this.stats.received++
    this.stats.inFlight++
    this.stats.inFlightBytes += bytes
    this.stats.pending = message.info.pending
    const work = this.#store(message).finally(() => {
      this.stats.inFlight--
      this.stats.inFlightBytes -= bytes
      this.#working.delete(work)
    })
    this.#working.add(work)
  }

  async #store(message: JsMsg): Promise<void> {
    const busy = setInterval(() => message.working(), this.#options.workingMs)
    try {
      const payload = await this.#payloadOf(message)
      if (payload === undefined) return message.nak() // we are stopping
      const block = 'reason' in payload ? payload : opened(message, payload)
      if (!('reason' in block)) block.hops = readHops((name) => message.headers?.get(name) ?? '')
      if ('reason' in block) return await this.#poison(undefined, message, block)
      for (;;) {
        const outcome = await this.#sink.send(block)
        if (outcome === 'acknowledged') {
          message.ack()
          this.#failures = 0
          this.stats.stored++
          this.stats.storedRows += block.head.rows
          return
        }
        if (outcome !== 'retry') return await this.#poison(block, message, outcome)
        if (this.#stop.signal.aborted) return message.nak() // it comes again at once, to whoever stores next
        this.stats.retries++
        await this.#pause(
          this.#options.retryMsMin +
            backoffMs(this.#failures++, this.#options.retryMsMin, this.#options.retryMsMax, this.#random),
        )
      }
    } finally {
      clearInterval(busy)
    }
  }

  /** The bytes of the message, or those that it stands for; undefined when we stop first. */
  async #payloadOf(message: JsMsg): Promise<Uint8Array | Poison | undefined> {
    const note = largeNoteOf(message)
    if (note === undefined) return message.data
    const { retryMsMin, retryMsMax } = this.#options
    let reason = ''
    for (let attempts = 0; attempts < LARGE_TRIES_MAX; ) {
      if (this.#stop.signal.aborted) return undefined
      const connection = this.#link.up()
      try {
        if (connection !== undefined) return await getLargeBlock(connection, this.#link.options.largeBlocks, note)
      } catch (error) {
        if (this.#link.up() === connection) attempts++ // else the connection was at fault
        reason = (error as Error).message
      }
      this.stats.retries++
      await this.#pause(retryMsMin + backoffMs(attempts, retryMsMin, retryMsMax, this.#random))
    }
    return { reason: `${DAMAGED}${reason}`, attempts: LARGE_TRIES_MAX }
  }

  async #poison(block: SealedBlock | undefined, message: JsMsg, poison: Poison): Promise<void> {
    const { subject, seq, headers } = message
    const place = { subject, seq }
    this.#log.error({ ...place, ...poison }, 'a message of the block stream cannot be stored and is set aside')
    const origin = { subject, stream: message.info.stream, seq, headers: headersOf(headers) }
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        await this.#letters.put(block, message.data, { ...poison, name: `stream-${seq}`, origin })
        this.stats.poisoned++
        return message.term()
      } catch (error) {
        if (failures === 0)
          this.#log.error(place, `${(error as Error).message}; the message stays in ${this.#options.stream}`)
        const { retryMsMin, retryMsMax } = this.#options
        await this.#pause(retryMsMin + backoffMs(failures, retryMsMin, retryMsMax, this.#random))
      }
    }
    message.nak()
  }

  #pullFailed(error: unknown): void {
    if (this.#stop.signal.aborted || this.#link.up() === undefined) return
    const { message = String(error) } = error as { message?: string }
    const line = `NATS at ${this.#link.options.url} does not give consumer ${this.#options.consumer} of stream ${this.#options.stream} (${message}): the store role makes both within seconds, where it may`
    if (this.#trouble === undefined) this.#log.warn(line)
    this.#trouble = line
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}

function largeNoteOf({ headers }: JsMsg): LargeNote | undefined {
  return readLargeNote((name) => headers?.get(name) ?? '')
}

function opened(message: JsMsg, payload: Uint8Array): SealedBlock | Poison {
  try {
    const block = openBlock(payload, message.headers?.get('Nats-Msg-Id'))
    block.isDoubted = message.headers?.has(DOUBTED_HEADER) === true
    return block
  } catch (error) {
    return { reason: `${DAMAGED}${(error as Error).message}`, attempts: 1 }
  }
}
