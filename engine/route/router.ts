/**
 * From sockets to rings, on the main thread. A connection has one shard for life, so the router reads no byte of a
 * message: it stamps the receive time and copies.
 *
 * Arithmetic: the bare `ws` client takes 900 ns a message. A stamp costs 65-70 ns, a copy of 400 bytes with its record
 * head 50-70 ns. `ws` emits all messages of one read of the socket in one go, so a burst is one read: its messages share
 * one stamp (the moment when the first of them was handed over) and one publish, in a microtask right after the read.
 *
 * Back-pressure: when a burst leaves the ring fuller than the high-water mark, or found no room, its socket is paused
 * (TCP then tells the exchange). A paused socket is looked at every RESUME_LOOK_MS and resumed below the low-water mark.
 * What a paused socket had already read waits in the lane's bounded queue; see lane.ts for what happens beyond that.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { DiscardedFrames } from '../ring/discard.ts'
import {
  BOOK_WANTED,
  CLOSE,
  DOWN,
  DRAIN,
  INSTRUMENT,
  JOIN,
  OPEN,
  PART,
  POLL,
  REMOVE,
  SNAPSHOT,
  SNAPSHOT_FAILED,
  TICK,
  TRADES,
  TRADES_FAILED,
} from '../ring/frame.ts'
import { Lane, type LaneStats } from './lane.ts'

export interface RouterOptions {
  /** pause a socket that leaves its ring fuller than this share */
  readonly highWaterShare: number
  /** resume when the ring is emptier than this share */
  readonly lowWaterShare: number
  /** frames that a lane holds beside a full ring */
  readonly overflowFramesMax: number
  readonly overflowBytesMax: number
}

/**
 * Half a ring of 8 MiB is room for one read (64 KiB) of 64 more sockets after the first pause. The queue has to hold
 * about one read a socket too, when all of them come at a full ring.
 */
export const ROUTER_DEFAULT: RouterOptions = {
  highWaterShare: 0.5,
  lowWaterShare: 0.25,
  overflowFramesMax: 65_536,
  overflowBytesMax: 16 * 1024 * 1024,
}

/** How the router holds a socket back; both are harmless when called twice or on a closed socket. */
export interface SocketFlow {
  pause(): void
  resume(): void
}

/** Runs `callback` once after `ms`. */
export type Later = (callback: () => void, ms: number) => void

interface Route {
  readonly lane: Lane
  readonly flow: SocketFlow
  isPaused: boolean
}

/** Source of frames that belong to no connection (TICK, DRAIN, INSTRUMENT). */
export const NO_SOURCE = 65_535
const RESUME_LOOK_MS = 2
const RESOLVED = Promise.resolve()
const NO_PAYLOAD = new Uint8Array(0)
const TEXT = new TextEncoder()

export class Router {
  /** messages of connections that were not connected, or not any more */
  unroutedFrames = 0
  readonly #lanes: readonly Lane[]
  readonly #routes: (Route | undefined)[] = []
  readonly #clock: Clock
  readonly #options: RouterOptions
  readonly #log: Pick<Log, 'warn'>
  readonly #later: Later
  readonly #endOfBurst = (): void => this.endOfBurst()
  readonly #lookForRoom = (): void => this.#resumeWhereRoom()
  #isBurst = false
  #isLooking = false
  #burstRoute: Route | undefined

  constructor(
    frameRings: readonly SharedArrayBuffer[],
    clock: Clock,
    log: Pick<Log, 'warn'>,
    options: RouterOptions = ROUTER_DEFAULT,
    later: Later = setTimeout,
  ) {
    assert(
      0 < options.lowWaterShare && options.lowWaterShare < options.highWaterShare && options.highWaterShare <= 1,
      `water marks ${options.lowWaterShare} and ${options.highWaterShare} are not in order`,
    )
    const bounds = { framesMax: options.overflowFramesMax, bytesMax: options.overflowBytesMax }
    this.#lanes = frameRings.map((memory, index) => new Lane(index, memory, bounds))
    this.#clock = clock
    this.#options = options
    this.#log = log
    this.#later = later
  }

  /** Live counters, one object a shard. */
  get stats(): readonly Readonly<LaneStats>[] {
    return this.#lanes.map((lane) => lane.stats)
  }

  /** Gives a connection its shard. Again with the same `source` replaces the old socket's flow. */
  connect(source: number, shardIndex: number, flow: SocketFlow): void {
    assert(source >= 0 && source < NO_SOURCE, `connection index ${source} does not fit into 16 bits`)
    this.#routes[source] = { lane: this.#lane(shardIndex), flow, isPaused: false }
  }

  /** After `close()`: whatever the socket still says is ignored. */
  disconnect(source: number): void {
    if (this.#burstRoute === this.#routes[source]) this.#burstRoute = undefined
    this.#routes[source] = undefined
  }

  /** One message of a socket. The bytes are copied before this returns. */
  onFrame(source: number, generation: number, data: Uint8Array): void {
    const route = this.#routes[source]
    if (route === undefined) {
      this.unroutedFrames++
      return
    }
    if (!this.#isBurst) this.#beginBurst()
    this.#burstRoute = route
    if (!route.lane.tryData(source, generation, this.#clock.now, data)) this.#onRefused(route, source, data)
  }

  /** The socket of this generation is open and its subscriptions are acknowledged. */
  open(source: number, generation: number, payload: object): void {
    this.#control(source, OPEN, generation, 0, TEXT.encode(JSON.stringify(payload)))
  }

  close(source: number, generation: number, reason: string): void {
    this.#control(source, CLOSE, generation, 0, TEXT.encode(reason))
  }

  /** The answer to WANT_SNAPSHOT. */
  snapshot(source: number, generation: number, instrumentIndex: number, body: Uint8Array): void {
    this.#control(source, SNAPSHOT, generation, instrumentIndex, body)
  }

  snapshotFailed(source: number, generation: number, instrumentIndex: number, reason: string): void {
    this.#control(source, SNAPSHOT_FAILED, generation, instrumentIndex, TEXT.encode(reason))
  }

  /** An open socket carries more than its OPEN said, or less; or all that it should carry is acknowledged. */
  join(source: number, generation: number, payload: object): void {
    this.#control(source, JOIN, generation, 0, TEXT.encode(JSON.stringify(payload)))
  }

  part(source: number, generation: number, payload: object): void {
    this.#control(source, PART, generation, 0, TEXT.encode(JSON.stringify(payload)))
  }

  /** The answer to WANT_TRADES. @param channel 0 trades, 1 agg_trades */
  trades(source: number, generation: number, instrumentIndex: number, channel: number, body: Uint8Array): void {
    const payload = new Uint8Array(1 + body.length)
    payload[0] = channel
    payload.set(body, 1)
    this.#control(source, TRADES, generation, instrumentIndex, payload)
  }

  tradesFailed(source: number, generation: number, instrumentIndex: number, reason: string): void {
    this.#control(source, TRADES_FAILED, generation, instrumentIndex, TEXT.encode(reason))
  }

  /** The body of a poll. It belongs to no connection. */
  poll(shardIndex: number, instrumentIndex: number, name: string, body: Uint8Array): void {
    const payload = new Uint8Array(1 + name.length + body.length)
    assert(name.length < 256, `a poll has the name ${name}`)
    payload[0] = name.length
    payload.set(TEXT.encode(name), 1)
    payload.set(body, 1 + name.length)
    this.#toLane(this.#lane(shardIndex), POLL, NO_SOURCE, 0, instrumentIndex, payload)
  }

  /** An instrument that is not collected any more; its index stays taken. */
  remove(shardIndex: number, instrumentIndex: number, reason: string): void {
    this.#toLane(this.#lane(shardIndex), REMOVE, NO_SOURCE, 0, instrumentIndex, TEXT.encode(reason))
  }

  /** Somebody wants the whole book of an instrument on the live path. */
  wantBook(shardIndex: number, instrumentIndex: number): void {
    this.#toLane(this.#lane(shardIndex), BOOK_WANTED, NO_SOURCE, 0, instrumentIndex, NO_PAYLOAD)
  }

  /** The collector did not run for a time; told to every shard, or to one, before anything is open. */
  down(notice: object, shardIndex?: number): void {
    const payload = TEXT.encode(JSON.stringify(notice))
    const lanes = shardIndex === undefined ? this.#lanes : [this.#lane(shardIndex)]
    for (const lane of lanes) this.#toLane(lane, DOWN, NO_SOURCE, 0, 0, payload)
  }

  /** Time passes, on every shard. */
  tick(): void {
    for (const lane of this.#lanes) this.#toLane(lane, TICK, NO_SOURCE, 0, 0, NO_PAYLOAD)
  }

  /** Orderly stop: every shard seals what it has and answers DRAINED. */
  drain(): void {
    for (const lane of this.#lanes) this.#toLane(lane, DRAIN, NO_SOURCE, 0, 0, NO_PAYLOAD)
  }

  /** An instrument that was added at run time, or one that is known and has changed. */
  instrument(shardIndex: number, instrumentIndex: number, instrument: object): void {
    const payload = TEXT.encode(JSON.stringify(instrument))
    this.#toLane(this.#lane(shardIndex), INSTRUMENT, NO_SOURCE, 0, instrumentIndex, payload)
  }

  /**
   * Empties a shard between two lives of its worker: what stands in its ring and queue is discarded. The caller then
   * sends OPEN for every open connection of the shard again, before any data.
   */
  clearShard(shardIndex: number): DiscardedFrames {
    const discarded = this.#lane(shardIndex).clear()
    this.#resumeWhereRoom()
    return discarded
  }

  /** Whether frames wait beside a full ring. */
  get isOverflowing(): boolean {
    return this.#lanes.some((lane) => lane.isOverflowing)
  }

  /** Publishes. Called by itself after each burst; a caller that feeds without an event loop calls it. */
  endOfBurst(): void {
    this.#isBurst = false
    const route = this.#burstRoute
    this.#burstRoute = undefined
    for (const lane of this.#lanes) {
      const heldBytes = lane.flush()
      if (route?.lane === lane && heldBytes > lane.capacityBytes * this.#options.highWaterShare) this.#pause(route)
      if (lane.isOverflowing) this.#lookLater()
    }
  }

  #beginBurst(): void {
    this.#isBurst = true
    this.#clock.stamp()
    void RESOLVED.then(this.#endOfBurst)
  }

  #control(source: number, kind: number, generation: number, extra: number, payload: Uint8Array): void {
    const route = this.#routes[source]
    if (route !== undefined) this.#toLane(route.lane, kind, source, generation, extra, payload)
  }

  #toLane(lane: Lane, kind: number, source: number, generation: number, extra: number, payload: Uint8Array): void {
    if (!this.#isBurst) this.#beginBurst()
    lane.control(kind, source, generation, extra, this.#clock.now, payload)
  }

  #onRefused(route: Route, source: number, data: Uint8Array): void {
    const { lane } = route
    if (data.length > lane.payloadBytesMax) {
      this.#log.warn(
        { source, shard: lane.index, bytes: data.length, bytesMax: lane.payloadBytesMax },
        'a message is longer than half the frame ring: counted as lost',
      )
      return // pausing would not help
    }
    this.#pause(route)
  }

  #pause(route: Route): void {
    if (!route.isPaused) {
      route.isPaused = true
      route.lane.stats.pauses++
      route.flow.pause()
    }
    this.#lookLater()
  }

  #lookLater(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.#later(this.#lookForRoom, RESUME_LOOK_MS)
  }

  #resumeWhereRoom(): void {
    this.#isLooking = false
    const isRoomy = this.#lanes.map(
      (lane) => lane.flush() < lane.capacityBytes * this.#options.lowWaterShare && !lane.isOverflowing,
    )
    for (const route of this.#routes) {
      if (route?.isPaused !== true) continue
      if (isRoomy[route.lane.index] !== true) {
        this.#lookLater()
        continue
      }
      route.isPaused = false
      route.flow.resume()
    }
    if (this.isOverflowing) this.#lookLater()
  }

  #lane(shardIndex: number): Lane {
    const lane = this.#lanes[shardIndex]
    assert(lane !== undefined, `no shard ${shardIndex} of ${this.#lanes.length}`)
    return lane
  }
}
