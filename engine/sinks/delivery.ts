import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { BlockRange, Spool, SpoolRecord } from '../spool/spool.ts'
import type { DeadLetters } from './dead-letters.ts'
import { type Hops, NO_HOPS } from './hops.ts'
import { openBlock, type Outcome, type Poison, type SealedBlock, type Sink } from './sink.ts'

/**
 * From the spool to a sink: blocks in order, several under way, each until it is acknowledged.
 *
 * What waits, waits in the spool on disk: memory holds the window and nothing else, twice at most (the client of a server
 * that comes back makes one piece of all that it is given at once). When a block fails, one block alone tries again with
 * growing pauses while the others wait; the first acknowledgement sets them all free. A block that the sink will never take
 * becomes a dead letter and is counted; it does not stop those behind it. While nothing takes the letter the block is not
 * acknowledged: it stays in the spool.
 */
export interface DeliveryOptions {
  readonly inFlightCountMax: number
  readonly inFlightBytesMax: number
  readonly retryMsMin: number
  readonly retryMsMax: number
}

export const DELIVERY_DEFAULT: DeliveryOptions = {
  inFlightCountMax: 64,
  inFlightBytesMax: 32 * 1024 * 1024,
  retryMsMin: 200,
  retryMsMax: 10_000,
}

export interface DeliveryStats {
  delivered: number
  deliveredBytes: number
  retries: number
  poisoned: number
  inFlight: number
  inFlightBytes: number
}

/** While a failure lasts, new blocks are tried at this pace, so that one stuck block does not hold the rest for ever. */
const NEW_BLOCK_WHILE_FAILING_MS = 1000

export class Delivery {
  readonly stats: DeliveryStats = {
    delivered: 0,
    deliveredBytes: 0,
    retries: 0,
    poisoned: 0,
    inFlight: 0,
    inFlightBytes: 0,
  }
  /** Where a block has been so far, asked when it is given to the sink. */
  hopsOf: (record: Pick<SpoolRecord, 'epoch' | 'blockSeq'>) => Hops = () => ({ ...NO_HOPS })
  readonly #spool: Spool
  readonly #sink: Sink
  readonly #options: DeliveryOptions
  readonly #random: Random
  readonly #log: Log
  readonly #letters: DeadLetters
  readonly #stop = new AbortController()
  readonly #inFlight = new Map<SpoolRecord, SealedBlock>()
  #failures = 0
  #probing = false
  #recovery = signal()
  #room = signal()
  #more = signal()
  #idle = signal()
  #pumping: Promise<void> | undefined

  /** @param letters keeps a poison block for inspection; it counts as delivered afterwards. */
  constructor(spool: Spool, sink: Sink, options: DeliveryOptions, random: Random, log: Log, letters: DeadLetters) {
    this.#spool = spool
    this.#sink = sink
    this.#options = options
    this.#random = random
    this.#log = log
    this.#letters = letters
  }

  start(): void {
    this.#spool.onDurable = () => {
      this.#more.resolve()
    }
    this.#pumping = this.#pump()
  }

  /** ns since the epoch when the oldest block under way was received; undefined when none is. */
  oldestReceivedNs(): bigint | undefined {
    const oldest = this.#inFlight.values().next()
    return oldest.done === true ? undefined : oldest.value.head.firstReceivedNs
  }

  /** Waits until everything durable is delivered, at most `deadlineMs`, then stops. What is left stays in the spool. */
  async stop(deadlineMs: number): Promise<void> {
    const deadline = sleep(deadlineMs, 'late', { signal: this.#stop.signal }).catch(() => 'late')
    while (this.#spool.stats.unacked > 0) {
      if ((await Promise.race([this.#idle.promise, deadline])) === 'late') break
    }
    this.#stop.abort()
    for (const gate of [this.#recovery, this.#room, this.#more]) gate.resolve()
    await this.#pumping
  }

  async #pump(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (!this.#hasRoom()) {
        this.#room = signal()
        await this.#room.promise
        continue
      }
      if (this.#failures > 0) await this.#pause(NEW_BLOCK_WHILE_FAILING_MS)
      this.#more = signal()
      const record = await this.#spool.next()
      if (record !== undefined) void this.#deliver(record)
      else if (!this.#stop.signal.aborted) await this.#more.promise
    }
  }

  #hasRoom(): boolean {
    return (
      this.stats.inFlight < this.#options.inFlightCountMax && this.stats.inFlightBytes < this.#options.inFlightBytesMax
    )
  }

  async #deliver(record: SpoolRecord): Promise<void> {
    this.stats.inFlight++
    this.stats.inFlightBytes += record.payload.length
    const block = opened(record.payload)
    if (!('reason' in block)) this.#inFlight.set(record, block)
    const done =
      'reason' in block ? await this.#poisoned(undefined, record, block) : await this.#sendUntilDone(block, record)
    this.#inFlight.delete(record)
    this.stats.inFlight--
    this.stats.inFlightBytes -= record.payload.length
    if (done) this.#spool.ack(record)
    if (done && this.#sink.isTransit !== true) this.#spool.commit(onlyThis(record))
    this.#room.resolve()
    this.#idle.resolve()
    this.#idle = signal()
  }

  async #sendUntilDone(block: SealedBlock, record: SpoolRecord): Promise<boolean> {
    while (!this.#stop.signal.aborted) {
      block.hops = this.hopsOf(record)
      const outcome: Outcome = await this.#sink.send(block, record.againMs)
      if (outcome !== 'retry') this.#recovered()
      if (outcome === 'acknowledged') {
        this.stats.delivered++
        this.stats.deliveredBytes += record.payload.length
        return true
      }
      if (outcome !== 'retry') return this.#poisoned(block, record, outcome)
      this.stats.retries++
      await this.#awaitTurn()
    }
    return false
  }

  /** @returns false when the process stops before anything took the letter. */
  async #poisoned(block: SealedBlock | undefined, record: SpoolRecord, poison: Poison): Promise<boolean> {
    const { epoch, blockSeq, payload } = record
    const place = { epoch, blockSeq, table: block?.head.table }
    this.#log.error({ ...place, ...poison }, `a block cannot be delivered to ${this.#sink.name} and is set aside`)
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        await this.#letters.put(block, payload, { ...poison, name: `${epoch}-${blockSeq}` })
        this.stats.poisoned++
        this.#spool.commit(onlyThis(record)) // nobody will ever say that it is stored
        return true
      } catch (error) {
        if (failures === 0) this.#log.error(place, `${(error as Error).message}; the block stays in the spool`)
        const { retryMsMin, retryMsMax } = this.#options
        await sleep(retryMsMin + backoffMs(failures, retryMsMin, retryMsMax, this.#random), undefined, {
          signal: this.#stop.signal,
        }).catch(() => undefined)
      }
    }
    return false
  }

  /** One block at a time sleeps its pause and tries again; the others wait for its luck. */
  async #awaitTurn(): Promise<void> {
    if (this.#probing) return this.#recovery.promise
    this.#probing = true
    const { retryMsMin, retryMsMax } = this.#options
    await sleep(retryMsMin + backoffMs(this.#failures++, retryMsMin, retryMsMax, this.#random), undefined, {
      signal: this.#stop.signal,
    }).catch(() => undefined)
    this.#probing = false
  }

  #recovered(): void {
    this.#failures = 0
    const { resolve } = this.#recovery
    this.#recovery = signal() // a new one: who fails after this must wait again
    resolve()
  }

  async #pause(ms: number): Promise<void> {
    await Promise.race([
      this.#recovery.promise,
      sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined),
    ])
  }
}

function opened(payload: Uint8Array): SealedBlock | Poison {
  try {
    return openBlock(payload)
  } catch (error) {
    return { reason: `these bytes are no block: ${(error as Error).message}`, attempts: 1 }
  }
}

function onlyThis({ epoch, blockSeq }: SpoolRecord): BlockRange {
  return { epoch, firstSeq: blockSeq, lastSeq: blockSeq }
}

function signal(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve: () => resolve() }
}
