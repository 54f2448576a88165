import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Spool, SpoolRecord } from '../spool/spool.ts'
import { type Outcome, type SealedBlock, type Sink, sealedBlock } from './sink.ts'

/**
 * From the spool to a sink: blocks in order, several under way, each until it is acknowledged.
 *
 * What waits, waits in the spool on disk: memory holds the window and nothing else. When a block fails, one block alone
 * tries again with growing pauses while the others wait; the first acknowledgement sets them all free. A block that the
 * sink will never take is given to `setAside` and counted; it does not stop those behind it.
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
  readonly #spool: Spool
  readonly #sink: Sink
  readonly #options: DeliveryOptions
  readonly #random: Random
  readonly #log: Log
  readonly #setAside: (block: SealedBlock | undefined, record: SpoolRecord) => Promise<void>
  readonly #stop = new AbortController()
  readonly #inFlight = new Map<SpoolRecord, SealedBlock>()
  #failures = 0
  #probing = false
  #recovery = signal()
  #room = signal()
  #more = signal()
  #idle = signal()
  #pumping: Promise<void> | undefined

  /** @param setAside keeps a poison block for inspection; it counts as delivered afterwards. */
  constructor(
    spool: Spool,
    sink: Sink,
    options: DeliveryOptions,
    random: Random,
    log: Log,
    setAside: (block: SealedBlock | undefined, record: SpoolRecord) => Promise<void>,
  ) {
    this.#spool = spool
    this.#sink = sink
    this.#options = options
    this.#random = random
    this.#log = log
    this.#setAside = setAside
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
    const block = tryOpen(record.payload)
    if (block !== undefined) this.#inFlight.set(record, block)
    const done =
      block === undefined ? await this.#poisoned(undefined, record) : await this.#sendUntilDone(block, record)
    this.#inFlight.delete(record)
    this.stats.inFlight--
    this.stats.inFlightBytes -= record.payload.length
    if (done) this.#spool.ack(record)
    this.#room.resolve()
    this.#idle.resolve()
    this.#idle = signal()
  }

  async #sendUntilDone(block: SealedBlock, record: SpoolRecord): Promise<boolean> {
    while (!this.#stop.signal.aborted) {
      const outcome: Outcome = await this.#sink.send(block)
      if (outcome !== 'retry') this.#recovered()
      if (outcome === 'acknowledged') {
        this.stats.delivered++
        this.stats.deliveredBytes += record.payload.length
        return true
      }
      if (outcome === 'poison') return this.#poisoned(block, record)
      this.stats.retries++
      await this.#awaitTurn()
    }
    return false
  }

  async #poisoned(block: SealedBlock | undefined, record: SpoolRecord): Promise<boolean> {
    this.stats.poisoned++
    this.#log.error(
      { epoch: record.epoch, blockSeq: record.blockSeq, table: block?.head.table },
      `a block cannot be delivered to ${this.#sink.name} and is set aside`,
    )
    await this.#setAside(block, record)
    return true
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

function tryOpen(payload: Uint8Array): SealedBlock | undefined {
  try {
    return sealedBlock(payload)
  } catch {
    return undefined
  }
}

function signal(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve: () => resolve() }
}
