import { assert } from '../base/assert.ts'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { FeedRules } from '../exchanges/exchange.ts'
import type { ConnectBudget } from './connects.ts'
import { Link, type LinkEvents, type LinkOptions, type LinkState, type LinkTiming } from './link.ts'
import { lifeMs, Rotation, ROTATION_TIMING, type RotationTiming, type VenueSockets } from './rotate.ts'
import type { FeedTime } from './timer.ts'

/**
 * One connection of the plan: the only owner of its sockets for its whole life, over all reconnects. Each socket is one
 * generation (link.ts). There is one, or two while it is replaced (rotate.ts); a socket is destroyed before its successor
 * is asked for unless the successor is to take over from it, and nothing of an ended generation is ever delivered.
 *
 *   start ─► waiting ─► connecting ─► subscribing ─► open ─┐──── life over, shutdown notice: a second socket beside it
 *              ▲   backoff, connect budget                 │ any fault: terminate, onClose
 *              └───────────────────────────────────────────┘
 */

export interface ConnectionOptions extends LinkOptions {
  readonly streams: readonly string[]
  /** the venue closes it after this; 0: it does not */
  readonly connectionLifeMsMax: number
  readonly timing: ConnectionTiming
  /** legs of one group are not replaced at the same time; absent: the name */
  readonly group?: string
}

export interface ConnectionTiming extends LinkTiming, RotationTiming {
  readonly backoffFloorMs: number
  readonly backoffCapMs: number
  /** a connection that lived this long starts again at the first step of the backoff */
  readonly healthyAfterMs: number
}

export const CONNECTION_TIMING: ConnectionTiming = {
  ...ROTATION_TIMING,
  handshakeTimeoutMs: 10_000,
  ackTimeoutMs: 5_000,
  probeAfterMs: 10_000,
  probeTimeoutMs: 5_000,
  dataSilenceMsMax: 60_000,
  backoffFloorMs: 500,
  backoffCapMs: 30_000,
  healthyAfterMs: 60_000,
  watchIntervalMs: 1_000,
}

export interface ConnectionEvents {
  /** subscribed, and nothing of this generation was delivered before; another generation may be open still */
  onOpen(generation: number): void
  /** the venue has acknowledged all that this generation asked for; again after each change */
  onSubscribed?(generation: number): void
  /** the bytes are the socket's own memory: copy what is kept */
  onFrame(generation: number, bytes: Uint8Array): void
  /** only after an `onOpen` of the same generation */
  onClose(generation: number, reason: string): void
  /** the venue will not send this stream; it is asked for again on the next socket */
  onRefused?(generation: number, stream: string, reason: string): void
}

/** What the connections of one process share. */
export interface ConnectionSurroundings {
  readonly time: FeedTime
  readonly random: Random
  readonly log: Log
  readonly budget: ConnectBudget
  readonly sockets: VenueSockets
  readonly stats: FeedStats
}

/** Sums over all connections; `openSockets` exceeds the number of connections in the plan by those being replaced. */
export interface FeedStats {
  openSockets: number
  connects: number
  opens: number
  closes: number
  probes: number
  /** sockets that were replaced while they lived, and attempts that came to nothing */
  rotations: number
  rotationFailures: number
  /** streams that the venue would not send */
  refusals: number
  /** streams asked for anew on an open socket */
  resubscriptions: number
  /** by the first word of the reason */
  readonly closeReasons: Map<string, number>
}

export function feedStats(): FeedStats {
  return {
    openSockets: 0,
    connects: 0,
    opens: 0,
    closes: 0,
    probes: 0,
    rotations: 0,
    rotationFailures: 0,
    refusals: 0,
    resubscriptions: 0,
    closeReasons: new Map(),
  }
}

export type ConnectionState = 'idle' | 'waiting' | LinkState

/** A step of the backoff is forgotten for each part of this many of the healthy time, all of them after the whole of it. */
const HEALTHY_STEPS = 12

/**
 * A venue that refuses us must be left alone longer and longer; one that served us well and then closed should be asked
 * again soon, or books stay down for half a minute because of closes that were minutes apart.
 */
export function attemptAfter(attempt: number, healthyMs: number, healthyAfterMs: number): number {
  if (healthyMs >= healthyAfterMs) return 0
  return Math.max(0, attempt - Math.floor((healthyMs * HEALTHY_STEPS) / healthyAfterMs))
}

export class Connection {
  readonly options: ConnectionOptions
  readonly #rules: FeedRules
  readonly #events: ConnectionEvents
  readonly #around: ConnectionSurroundings
  readonly #group: string
  readonly #streams: Set<string>
  readonly #rotation: Rotation

  #rest: 'idle' | 'waiting' = 'idle'
  #generation = 0
  #current: Link | undefined
  /** its successor, while it is being replaced */
  #next: Link | undefined
  #isRotating = false
  #attempt = 0
  #cancelConnect: () => void = () => {}
  #lastReason = ''
  #dataSilenceFactor = 1
  #pastFrameCount = 0

  constructor(options: ConnectionOptions, rules: FeedRules, events: ConnectionEvents, around: ConnectionSurroundings) {
    assert(options.streams.length > 0, `connection ${options.name} has no streams`)
    this.options = options
    this.#rules = rules
    this.#events = events
    this.#around = around
    this.#group = options.group ?? options.name
    this.#streams = new Set(options.streams)
    this.#rotation = new Rotation(options.timing, around.random)
  }

  get state(): ConnectionState {
    return this.#current?.state ?? this.#rest
  }

  /** of the youngest socket */
  get generation(): number {
    return this.#generation
  }

  get frameCount(): number {
    return this.#pastFrameCount + (this.#current?.frameCount ?? 0) + (this.#next?.frameCount ?? 0)
  }

  get isPaused(): boolean {
    return this.#current?.isPaused ?? false
  }

  get isRotating(): boolean {
    return this.#isRotating
  }

  get lastReason(): string {
    return this.#lastReason
  }

  get streams(): ReadonlySet<string> {
    return this.#streams
  }

  /** Streams that the venue will not send on the present socket, with its reason. */
  get refused(): ReadonlyMap<string, string> {
    return this.#current?.refused ?? NONE_REFUSED
  }

  start(delayMs = 0): void {
    assert(this.state === 'idle', `connection ${this.options.name} was started already`)
    this.#connectAfter(delayMs)
  }

  /** Ends for good; the sockets are destroyed at once, nothing waits for the venue's close frame. */
  stop(): void {
    this.#cancelConnect()
    this.#endRotation()
    for (const link of [this.#next, this.#current]) if (link !== undefined) this.#end(link, 'STOPPED')
    this.#current = this.#next = undefined
    this.#rest = 'idle'
  }

  /** Replaces the socket of this generation, if it is still there. */
  reconnect(generation: number, reason: string): void {
    const link = this.#linkOf(generation)
    if (link !== undefined) this.#onFailed(link, reason)
  }

  /** Takes another socket first, then ends the present one; at once, or as soon as it may. */
  rotate(reason: string): void {
    this.#rotation.want(reason)
    this.#tryRotate()
  }

  /** Further streams, on the open socket; those that are there are not touched. */
  subscribe(streams: readonly string[]): void {
    const added = streams.filter((stream) => !this.#streams.has(stream))
    for (const stream of added) this.#streams.add(stream)
    if (added.length > 0) this.#say((link) => link.subscribe(added))
  }

  unsubscribe(streams: readonly string[]): void {
    const removed = streams.filter((stream) => this.#streams.delete(stream))
    if (removed.length > 0) this.#say((link) => link.unsubscribe(removed))
  }

  /** These streams start anew on the socket of this generation; a later one has started them anew itself. */
  resubscribe(generation: number, streams: readonly string[]): void {
    const link = this.#linkOf(generation)
    // one stream may bring several channels, each of which asks
    const own = streams.filter((stream) => this.#streams.has(stream) && link?.willSubscribe(stream) === false)
    if (link === undefined || own.length === 0) return
    this.#around.stats.resubscriptions += own.length
    if (link.hourLeft < this.#messageCount(own)) return this.rotate('SUBSCRIBE_BUDGET')
    link.unsubscribe(own)
    link.subscribe(own)
  }

  /** Stops reading: the kernel's buffer fills and TCP tells the venue. Frames of the piece in hand still come. */
  pause(): void {
    this.#current?.pause()
    this.#next?.pause()
  }

  resume(): void {
    this.#current?.resume()
    this.#next?.resume()
  }

  /** On every socket that the venue still lets speak in this hour; otherwise a fresh one says it. */
  #say(say: (link: Link) => void): void {
    for (const link of [this.#current, this.#next]) {
      if (link === undefined) continue
      if (link.hourLeft >= 1) say(link)
      else if (link === this.#next) this.#onFailed(link, 'SUBSCRIBE_BUDGET')
      else this.rotate('SUBSCRIBE_BUDGET')
    }
  }

  #messageCount(streams: readonly string[]): number {
    return this.#rules.unsubscribeFrames(streams, 1).length + this.#rules.subscribeFrames(streams, 1).length
  }

  #linkOf(generation: number): Link | undefined {
    return [this.#current, this.#next].find((link) => link?.generation === generation)
  }

  #connectAfter(delayMs: number): void {
    this.#rest = 'waiting'
    this.#whenAllowed(delayMs, () => {
      this.#current = this.#makeLink()
    })
  }

  /** Attempts of all connections of an address stand in one queue. */
  #whenAllowed(delayMs: number, connect: () => void): void {
    const { time, budget } = this.#around
    this.#cancelConnect = time.after(delayMs, () => {
      const queueMs = budget.reserveMs(time.monotonicMs())
      if (queueMs <= 0) return connect()
      this.#cancelConnect = time.after(queueMs, connect)
    })
  }

  #makeLink(): Link {
    const { options } = this
    const { time, random, log, stats, sockets } = this.#around
    const { overlapMs, ackTimeoutMs, handshakeTimeoutMs } = options.timing
    stats.connects++
    stats.openSockets++
    sockets.openCount++
    const birth = {
      generation: ++this.#generation,
      bornMs: time.monotonicMs(),
      streams: () => [...this.#streams],
      lifeMs: lifeMs(options.connectionLifeMsMax, overlapMs + ackTimeoutMs + handshakeTimeoutMs, random),
      dataSilenceFactor: this.#current?.dataSilenceFactor ?? this.#dataSilenceFactor,
    }
    return new Link(options, birth, this.#rules, this.#linkEvents(), { time, log })
  }

  #linkEvents(): LinkEvents {
    const { stats, sockets } = this.#around
    return {
      onAnnounced: (link) => this.#onAnnounced(link),
      onSubscribed: ({ generation }) => this.#events.onSubscribed?.(generation),
      onFrame: (generation, bytes) => this.#events.onFrame(generation, bytes),
      onRefused: (link, stream, reason) => this.#onRefused(link, stream, reason),
      onFailing: (link, reason) => (link === this.#next ? this.#onFailed(link, reason) : this.rotate(reason)),
      onProbe: () => void stats.probes++,
      onWatched: (link) => this.#onWatched(link),
      onFailed: (link, reason) => this.#onFailed(link, reason),
      onGone: () => {
        stats.openSockets--
        sockets.openCount--
      },
    }
  }

  #onAnnounced({ generation }: Link): void {
    this.#around.stats.opens++
    this.#around.log.info({ connection: this.options.name, generation }, 'connection open')
    this.#events.onOpen(generation)
  }

  #onRefused({ generation }: Link, stream: string, reason: string): void {
    this.#around.stats.refusals++
    this.#around.log.warn({ connection: this.options.name, generation, stream, reason }, 'stream refused')
    this.#events.onRefused?.(generation, stream, reason)
  }

  #onWatched(link: Link): void {
    if (link === this.#current) this.#tryRotate()
    else this.#judgeNext(link)
  }

  #tryRotate(): void {
    const { time, sockets } = this.#around
    const isReady = this.state === 'open' && !this.#isRotating && !this.isPaused
    if (!isReady || !this.#rotation.isDue(time.monotonicMs()) || !sockets.tryRotate(this.#group)) return
    this.#isRotating = true
    this.#whenAllowed(0, () => {
      sockets.begun(this.#group)
      this.#next = this.#makeLink()
    })
  }

  #judgeNext(next: Link): void {
    const old = this.#current
    assert(old !== undefined && next === this.#next, `connection ${this.options.name} has nothing to replace`)
    const verdict = this.#rotation.judge(this.#around.time.monotonicMs(), old, next)
    if (verdict === 'SILENT') return this.#onFailed(next, 'ROTATION_SILENT')
    if (verdict === 'WAIT') return
    this.#around.stats.rotations++
    const reason = `ROTATED ${this.#rotation.reason}`
    this.#succeed(next)
    this.#end(old, reason)
    const { name } = this.options
    this.#around.log.info(
      { connection: name, from: old.generation, to: next.generation, reason },
      'connection replaced',
    )
  }

  #succeed(next: Link): void {
    this.#endRotation()
    this.#rotation.over()
    this.#current = next
    this.#next = undefined
  }

  #endRotation(): void {
    if (!this.#isRotating) return
    this.#isRotating = false
    this.#around.sockets.rotated(this.#group)
  }

  #onFailed(link: Link, reason: string): void {
    if (link === this.#next) return this.#failNext(link, reason)
    if (link !== this.#current) return
    const { timing } = this.options
    const { time, random } = this.#around
    const next = this.#next
    if (next !== undefined) {
      this.#succeed(next)
      this.#end(link, reason)
      if (next.isAnnounced && next.subscribedMs === undefined) this.#interrupted(next, reason)
      return this.#lost(link, reason, 0)
    }
    const healthyMs = link.isAnnounced ? time.monotonicMs() - link.birth.bornMs : 0
    this.#cancelConnect() // of a successor that waits for its turn
    this.#endRotation()
    this.#rotation.over()
    this.#current = undefined
    this.#rest = 'waiting'
    this.#dataSilenceFactor = link.dataSilenceFactor
    this.#attempt = attemptAfter(this.#attempt, healthyMs, timing.healthyAfterMs)
    this.#end(link, reason)
    if (this.#rest !== 'waiting') return // stopped by whom it was told
    const delayMs = backoffMs(this.#attempt, timing.backoffFloorMs, timing.backoffCapMs, random)
    this.#attempt++
    this.#lost(link, reason, delayMs)
    this.#connectAfter(delayMs)
  }

  /** Some streams of the successor delivered and spoke for all; those not acknowledged yet miss what the old one had. */
  #interrupted({ generation }: Link, reason: string): void {
    this.#events.onClose(generation, reason)
    this.#events.onOpen(generation)
  }

  /** The socket that was to take over did not come up: the old one goes on. */
  #failNext(link: Link, reason: string): void {
    this.#next = undefined
    this.#endRotation()
    this.#around.stats.rotationFailures++
    const againMs = this.#rotation.failed(this.#around.time.monotonicMs())
    this.#end(link, reason)
    const { name } = this.options
    this.#around.log.warn({ connection: name, generation: link.generation, reason, againMs }, 'connection not replaced')
  }

  #lost({ generation, birth }: Link, reason: string, delayMs: number): void {
    const livedMs = this.#around.time.monotonicMs() - birth.bornMs
    this.#around.log.warn({ connection: this.options.name, generation, reason, livedMs, delayMs }, 'connection lost')
  }

  /** Destroys the socket and forgets it; whatever it still emits is of an old generation. */
  #end(link: Link, reason: string): void {
    const { stats } = this.#around
    link.end()
    this.#pastFrameCount += link.frameCount
    this.#lastReason = reason
    const word = reason.split(' ', 1)[0] as string
    stats.closes++
    stats.closeReasons.set(word, (stats.closeReasons.get(word) ?? 0) + 1)
    if (link.isAnnounced) this.#events.onClose(link.generation, reason)
  }
}

const NONE_REFUSED: ReadonlyMap<string, string> = new Map()
