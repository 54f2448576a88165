/**
 * The worker threads of a collector: N book workers, one sink worker, and the store worker where this process stores.
 *
 *               frames[i]               batches[i]
 *   main ───────────────► book worker i ───────────────► sink worker
 *        ◄───────────────
 *           requests[i]
 *
 * A worker that crashed or hangs is replaced. What a book worker leaves behind: its frame ring is emptied (the next one
 * begins with empty books, and a frame that killed it would kill again), published batches stay valid, unpublished ones
 * never were. What it had drained but not sealed is lost; the next worker is told by `restart` in its `workerData` and
 * writes that as gaps, when the role opens its connections again (`onWorkerRestarted`).
 *
 * Blocks that a dead sink worker had taken and not yet synced are lost, too, and nobody knows which: then all book workers
 * are replaced, so that every book and channel gets its gap.
 *
 * Orderly stop: the role sends DRAIN through the router, then `stop()`: book workers end when their frames are read, the
 * sink worker when the batches are, the store worker on a message.
 */
import type { ResourceLimits } from 'node:worker_threads'
import { type Clock, joinNs } from '../engine/base/clock.ts'
import { Fault } from '../engine/base/fault.ts'
import type { Log } from '../engine/base/log.ts'
import type { DiscardedFrames } from '../engine/ring/discard.ts'
import { createHeartbeats, Heartbeat } from '../engine/ring/heartbeat.ts'
import { EventIdle, type IdleOptions } from '../engine/ring/idle.ts'
import { createRing, type OnRecord, RingReader } from '../engine/ring/ring.ts'
import type { BookSeat, RestartNotice, SinkSeat, StoreSeat } from './loop.ts'
import { type LostReason, type SlotBounds, WorkerSlot } from './slot.ts'

/** URL of a worker's entry point beside this file, compiled (.js) or not (.ts). */
export function workerUrl(name: 'book-worker' | 'sink-worker' | 'store-worker' | 'serve-worker'): URL {
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  return new URL(`./${name}${extension}`, import.meta.url)
}

export interface WorkerOptions {
  readonly url: URL
  /** memory of the worker's Counters, bytes */
  readonly counterBytes: number
  readonly resourceLimits?: ResourceLimits
}

export interface PoolOptions {
  readonly clock: Clock
  readonly log: Pick<Log, 'error' | 'warn'>
  readonly bounds: SlotBounds
  readonly bookIdle: IdleOptions
  /** sink worker, and the request rings on the main thread */
  readonly eventIdle: IdleOptions
  readonly book: WorkerOptions & {
    readonly count: number
    readonly frameRingBytes: number
    readonly batchRingBytes: number
    readonly requestRingBytes: number
    readonly settings: (workerIndex: number) => unknown
  }
  readonly sink: WorkerOptions & { readonly settings: unknown }
  readonly store?: WorkerOptions & { readonly settings: unknown }
}

export type WorkerRole = 'book' | 'sink' | 'store'

export interface PoolEvents {
  /** A record of a worker's request ring; the bytes are the ring's. */
  readonly onRequest: (workerIndex: number, ...record: Parameters<OnRecord>) => void
  /** A book worker is dead: empty what feeds it (`router.clearShard`). */
  readonly clearFrames: (workerIndex: number) => DiscardedFrames
  /** The next worker runs: for a book worker, send OPEN for its connections before any data. */
  readonly onWorkerRestarted: (role: WorkerRole, workerIndex: number, notice: RestartNotice) => void
  /** A worker failed too often; the process should stop in order and leave with this fault. */
  readonly onFault: (fault: Fault) => void
  readonly onMessage: (role: WorkerRole, workerIndex: number, message: unknown) => void
}

export interface WorkerState {
  readonly role: WorkerRole
  readonly workerIndex: number
  readonly isRunning: boolean
  readonly restarts: number
  readonly stillMs: number
}

/** What a worker of role `store` (and any other that reads no ring) gets by message when it should end. */
export const STOP_MESSAGE = 'stop'

const REQUESTS_PER_DRAIN_MAX = 1024
const WATCHES_PER_BOUND = 8
/**
 * The store gives way to all others (base/priority.ts): on a full machine it may stand for seconds without being hung, and a
 * new one in its place would stand, too. Nothing waits for it.
 */
const STORE_HUNG_MS_MIN = 30_000

interface Place {
  readonly role: WorkerRole
  readonly workerIndex: number
  readonly slot: WorkerSlot
}

export class WorkerPool {
  readonly frameRings: readonly SharedArrayBuffer[]
  readonly batchRings: readonly SharedArrayBuffer[]
  readonly requestRings: readonly SharedArrayBuffer[]
  /** memory of the Counters of each worker: book workers, then sink, then store */
  readonly counters: readonly SharedArrayBuffer[]
  readonly #options: PoolOptions
  readonly #events: PoolEvents
  readonly #heartbeats: SharedArrayBuffer
  readonly #requests: readonly RingReader[]
  readonly #places: Place[] = []
  #pumpIdle: EventIdle | undefined
  #watch: NodeJS.Timeout | undefined
  #watchedMs = 0
  #sinkLostNs = 0n
  #isStopping = false

  constructor(options: PoolOptions, events: PoolEvents) {
    const { book, sink, store } = options
    const rings = (bytes: number) => Array.from({ length: book.count }, () => createRing(bytes))
    this.#options = options
    this.#events = events
    this.frameRings = rings(book.frameRingBytes)
    this.batchRings = rings(book.batchRingBytes)
    this.requestRings = rings(book.requestRingBytes)
    this.#requests = this.requestRings.map((memory) => new RingReader(memory))
    this.counters = [
      ...this.frameRings.map(() => new SharedArrayBuffer(book.counterBytes)),
      new SharedArrayBuffer(sink.counterBytes),
      ...(store === undefined ? [] : [new SharedArrayBuffer(store.counterBytes)]),
    ]
    this.#heartbeats = createHeartbeats(book.count + 2)
    for (let index = 0; index < book.count; index++) this.#places.push(this.#place('book', index, book))
    this.#places.push(this.#place('sink', book.count, sink))
    if (store !== undefined) this.#places.push(this.#place('store', book.count + 1, store))
  }

  start(): void {
    for (const { slot, role, workerIndex } of this.#places) slot.start(this.#seat(role, workerIndex))
    void this.#pumpRequests()
    const everyMs = this.#options.bounds.hungMs / WATCHES_PER_BOUND
    this.#watchedMs = this.#options.clock.monotonicMs()
    this.#watch = setInterval(() => {
      const now = this.#options.clock.monotonicMs()
      for (const { slot } of this.#places) slot.watch(now - this.#watchedMs)
      this.#watchedMs = now
    }, everyMs)
  }

  states(): WorkerState[] {
    return this.#places.map(({ role, workerIndex, slot }) => ({
      role,
      workerIndex,
      isRunning: slot.isRunning,
      restarts: slot.restarts,
      stillMs: slot.stillMs,
    }))
  }

  /**
   * Ends all workers, left to right as their data goes: each kind gets `graceMs` to finish, books half of it (they wait
   * for nobody but a full spool), then it is ended by force.
   * @returns names of those that needed force; rows that they held are lost.
   */
  async stop(graceMs: number): Promise<string[]> {
    this.#isStopping = true
    for (const { slot } of this.#places) slot.ending()
    for (const memory of this.frameRings) new RingReader(memory).stop()
    const forced = await this.#end('book', graceMs / 2)
    for (const memory of this.batchRings) new RingReader(memory).stop()
    forced.push(...(await this.#end('sink', graceMs)))
    for (const { role, slot } of this.#places) if (role === 'store') slot.post(STOP_MESSAGE)
    forced.push(...(await this.#end('store', graceMs)))
    clearInterval(this.#watch)
    this.#pumpIdle?.close()
    if (forced.length > 0) this.#options.log.error({ workers: forced, graceMs }, 'workers did not end in time')
    return forced
  }

  async #end(role: WorkerRole, graceMs: number): Promise<string[]> {
    const slots = this.#places.filter((place) => place.role === role).map(({ slot }) => slot)
    const ended = await Promise.all(slots.map((slot) => slot.ended(graceMs)))
    return slots.filter((_, index) => ended[index] === false).map(({ name }) => name)
  }

  #place(role: WorkerRole, workerIndex: number, { url, resourceLimits }: WorkerOptions): Place {
    const name = role === 'book' ? `book worker ${workerIndex}` : `${role} worker`
    let notice: RestartNotice
    const { bounds } = this.#options
    const slot = new WorkerSlot({
      name,
      url,
      resourceLimits,
      heartbeat: new Heartbeat(this.#heartbeats, workerIndex),
      bounds: role === 'store' ? { ...bounds, hungMs: Math.max(bounds.hungMs, STORE_HUNG_MS_MIN) } : bounds,
      nowMs: () => this.#options.clock.monotonicMs(),
      events: {
        onLost: (reason, detail) => {
          notice = this.#clearAfter(role, workerIndex, reason)
          const { framesLost } = notice
          this.#options.log.error({ worker: name, reason, detail, framesLost }, 'worker lost, starting another')
          return this.#seat(role, workerIndex, notice)
        },
        onRestarted: () => {
          this.#events.onWorkerRestarted(role, workerIndex, notice)
          if (role === 'sink') this.#replaceBooks()
        },
        onGiveUp: (restarts, reason, detail) => this.#giveUp(name, restarts, reason, detail),
        onMessage: (message) => this.#events.onMessage(role, workerIndex, message),
      },
    })
    return { role, workerIndex, slot }
  }

  #clearAfter(role: WorkerRole, workerIndex: number, reason: LostReason): RestartNotice {
    const { clock } = this.#options
    const { hi, lo } = clock.stamp()
    const stillNs = BigInt(Math.round((this.#places[workerIndex]?.slot.stillMs ?? 0) * 1e6))
    const lastBeatNs = reason === 'replaced' ? this.#sinkLostNs : joinNs(hi, lo) - stillNs
    if (role === 'sink') this.#sinkLostNs = lastBeatNs
    const notice = {
      reason,
      lives: this.#places[workerIndex]?.slot.restarts ?? 1,
      atHi: hi,
      atLo: lo,
      sinceHi: Number(lastBeatNs >> 32n),
      sinceLo: Number(lastBeatNs & 0xffffffffn),
      framesLost: 0,
    }
    if (role !== 'book') return notice
    this.#requests[workerIndex]?.drain(() => {}, Number.POSITIVE_INFINITY) // wishes of the dead
    const discarded = this.#events.clearFrames(workerIndex)
    // Frames are younger than what a dead sink worker had in its hands.
    const hasFirst = discarded.firstHi !== 0 && reason !== 'replaced'
    return {
      ...notice,
      framesLost: discarded.dataCount,
      sinceHi: hasFirst ? discarded.firstHi : notice.sinceHi,
      sinceLo: hasFirst ? discarded.firstLo : notice.sinceLo,
    }
  }

  #replaceBooks(): void {
    for (const { role, slot } of this.#places) if (role === 'book') slot.replace('the sink worker was lost')
  }

  #giveUp(name: string, restarts: number, reason: LostReason, detail: string): void {
    const { restartWindowMs } = this.#options.bounds
    const fault = new Fault(
      'WORKER_FAILED',
      `${name} ${reason} again after ${restarts} restarts within ${restartWindowMs / 1000} s (${detail}); ` +
        'if memory ran out give it more (resourceLimits) or more workers, else report the log',
    )
    this.#options.log.error({ worker: name, restarts, reason, detail }, 'worker given up')
    this.#events.onFault(fault)
  }

  #seat(role: WorkerRole, workerIndex: number, notice?: RestartNotice): BookSeat | SinkSeat | StoreSeat {
    const { clock, bookIdle, eventIdle, book, sink, store } = this.#options
    const restart = notice === undefined ? {} : { restart: notice }
    const common = {
      workerIndex,
      anchorNs: clock.anchorNs,
      heartbeats: this.#heartbeats,
      counters: this.counters[workerIndex] as SharedArrayBuffer,
      ...restart,
    }
    if (role === 'sink') {
      return { ...common, role, idle: eventIdle, batches: this.batchRings, settings: sink.settings }
    }
    if (role === 'store') return { ...common, role, settings: store?.settings }
    return {
      ...common,
      role,
      idle: bookIdle,
      frames: this.frameRings[workerIndex] as SharedArrayBuffer,
      batches: this.batchRings[workerIndex] as SharedArrayBuffer,
      requests: this.requestRings[workerIndex] as SharedArrayBuffer,
      settings: book.settings(workerIndex),
    }
  }

  async #pumpRequests(): Promise<void> {
    const idle = new EventIdle(this.#options.eventIdle, this.#requests)
    this.#pumpIdle = idle
    const onRecords = this.#requests.map(
      (_, workerIndex): OnRecord =>
        (kind, bytes, offset, length) =>
          this.#events.onRequest(workerIndex, kind, bytes, offset, length),
    )
    while (!this.#isStopping) {
      let count = 0
      for (let index = 0; index < this.#requests.length; index++) {
        count += (this.#requests[index] as RingReader).drain(onRecords[index] as OnRecord, REQUESTS_PER_DRAIN_MAX)
      }
      await (count === 0 ? idle.wait() : new Promise((resolve) => setImmediate(resolve)))
    }
    idle.close()
  }
}
