import type { Agent } from 'node:http'
import type WebSocket from 'ws'
import { assert } from '../base/assert.ts'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { FeedRules, Heartbeat } from '../exchanges/exchange.ts'
import type { ConnectBudget } from './connects.ts'
import { type Heard, Liveness, type LivenessTiming } from './liveness.ts'
import { openSocket } from './socket.ts'
import { Subscriber } from './subscriber.ts'
import type { FeedTime } from './timer.ts'

/**
 * One connection of the plan: the only owner of its socket for its whole life, over all reconnects. Each socket is one
 * generation. A socket is destroyed before its successor is asked for, and a frame of an old generation is never
 * delivered: the handler of each socket compares its own socket with the present one.
 *
 *   start ─► waiting ─► connecting ─► subscribing ─► open ─┐
 *              ▲   backoff, connect budget                 │ any fault: terminate, onClose
 *              └───────────────────────────────────────────┘
 *
 * Arithmetic: 100,000 frames/s leave 10 µs each, and ws itself takes most of that. So a data frame costs one compare of
 * the socket, one counter, one or two byte tests, one call. No clock: a watch once a second compares counters.
 */

export interface ConnectionOptions {
  /** for logs, e.g. `binance.usdm/public#7` */
  readonly name: string
  readonly url: string
  readonly streams: readonly string[]
  readonly heartbeat: Heartbeat
  readonly clientMessagesPerSecondMax: number
  readonly connectionLifeMsMax: number
  readonly frameBytesMax: number
  readonly timing: ConnectionTiming
  /** a proxy; undefined goes straight out */
  readonly agent?: Agent | undefined
}

export interface ConnectionTiming extends LivenessTiming {
  readonly handshakeTimeoutMs: number
  readonly ackTimeoutMs: number
  readonly backoffFloorMs: number
  readonly backoffCapMs: number
  /** a connection that lived this long starts again at the first step of the backoff */
  readonly healthyAfterMs: number
}

export const CONNECTION_TIMING: ConnectionTiming = {
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
  /** subscribed, and nothing of this generation was delivered before */
  onOpen(generation: number): void
  /** the bytes are the socket's own memory: copy what is kept */
  onFrame(generation: number, bytes: Uint8Array): void
  /** only after an `onOpen` of the same generation */
  onClose(generation: number, reason: string): void
}

/** What the connections of one process share. */
export interface ConnectionSurroundings {
  readonly time: FeedTime
  readonly random: Random
  readonly log: Log
  readonly budget: ConnectBudget
  readonly stats: FeedStats
}

/** Sums over all connections; `openSockets` must never exceed the number of connections in the plan. */
export interface FeedStats {
  openSockets: number
  connects: number
  opens: number
  closes: number
  probes: number
  /** by the first word of the reason */
  readonly closeReasons: Map<string, number>
}

export function feedStats(): FeedStats {
  return { openSockets: 0, connects: 0, opens: 0, closes: 0, probes: 0, closeReasons: new Map() }
}

export type ConnectionState = 'idle' | 'waiting' | 'connecting' | 'subscribing' | 'open'

/** A planned end comes at a random point of this last part of the venue's limit, so that sockets do not end together. */
const LIFE_SHARE_MIN = 0.9
const LIFE_SHARE_MAX = 0.97
const MS_PER_SECOND = 1_000

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
  readonly #rules: Pick<FeedRules, 'isControl' | 'readControl' | 'probeFrame' | 'subscribeFrames'>
  readonly #events: ConnectionEvents
  readonly #around: ConnectionSurroundings

  #state: ConnectionState = 'idle'
  #generation = 0
  #socket: WebSocket | undefined
  #subscriber: Subscriber | undefined
  #attempt = 0
  #cancelConnect: () => void = () => {}
  #cancelWatch: () => void = () => {}
  #isAnnounced = false
  #lastReason = ''
  #connectedMs = 0
  readonly #liveness: Liveness

  // written by the hot handler
  #frameCount = 0
  #otherCount = 0

  constructor(options: ConnectionOptions, rules: FeedRules, events: ConnectionEvents, around: ConnectionSurroundings) {
    assert(options.streams.length > 0, `connection ${options.name} has no streams`)
    this.options = options
    this.#rules = rules
    this.#events = events
    this.#around = around
    this.#liveness = new Liveness(options.timing, options.heartbeat, rules.probeFrame(1) !== undefined)
  }

  get state(): ConnectionState {
    return this.#state
  }

  get generation(): number {
    return this.#generation
  }

  get frameCount(): number {
    return this.#frameCount
  }

  get isPaused(): boolean {
    return this.#socket?.isPaused ?? false
  }

  get lastReason(): string {
    return this.#lastReason
  }

  start(): void {
    assert(this.#state === 'idle', `connection ${this.options.name} was started already`)
    this.#connectAfter(0)
  }

  /** Ends for good; the socket is destroyed at once, nothing waits for the venue's close frame. */
  stop(): void {
    this.#cancelConnect()
    if (this.#socket !== undefined) this.#drop('STOPPED')
    this.#state = 'idle'
  }

  /** Replaces the socket, if `generation` is still the present one. */
  reconnect(generation: number, reason: string): void {
    if (generation === this.#generation && this.#socket !== undefined) this.#fail(reason)
  }

  /** Stops reading: the kernel's buffer fills and TCP tells the venue. Frames of the piece in hand still come. */
  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  #connectAfter(delayMs: number): void {
    this.#state = 'waiting'
    this.#cancelConnect = this.#around.time.after(delayMs, () => {
      const queueMs = this.#around.budget.reserveMs(this.#around.time.monotonicMs())
      if (queueMs <= 0) return this.#connect()
      this.#cancelConnect = this.#around.time.after(queueMs, () => this.#connect())
    })
  }

  #connect(): void {
    assert(this.#socket === undefined, `connection ${this.options.name}: the old socket is still there`)
    const { options } = this
    const { time, stats } = this.#around
    this.#state = 'connecting'
    this.#generation++
    this.#isAnnounced = false
    stats.connects++
    stats.openSockets++
    const socket = openSocket(options)
    this.#socket = socket
    this.#connectedMs = time.monotonicMs()
    this.#listen(socket, this.#generation)
  }

  #listen(socket: WebSocket, generation: number): void {
    const events = this.#events
    const { isControl } = this.#rules
    const isPresent = (): boolean => socket === this.#socket
    let fault = ''
    socket.on('open', () => isPresent() && this.#subscribe(socket))
    socket.on('message', (bytes: Buffer) => {
      if (socket !== this.#socket) return // of an old generation
      if (isControl(bytes) && this.#control(bytes)) return
      this.#frameCount++
      if (!this.#isAnnounced) this.#announce()
      events.onFrame(generation, bytes)
    })
    const onOther = (): void => {
      if (isPresent()) this.#otherCount++
    }
    socket.on('ping', onOther)
    socket.on('pong', onOther)
    socket.on('error', (error: Error & { code?: string }) => {
      fault = `${error.code ?? 'SOCKET_ERROR'} ${error.message}`
      // ws would first say goodbye and wait for the answer
      if (isPresent() && this.#state !== 'connecting') this.#fail(fault)
    })
    socket.on('close', (code: number, text: Buffer) => {
      this.#around.stats.openSockets--
      if (isPresent())
        this.#fail(fault === '' ? `CLOSED_BY_PEER ${code} ${text.toString('utf8', 0, 64)}`.trim() : fault)
    })
  }

  #subscribe(socket: WebSocket): void {
    const { options } = this
    const { time, random } = this.#around
    this.#state = 'subscribing'
    const lifeShare = LIFE_SHARE_MIN + random() * (LIFE_SHARE_MAX - LIFE_SHARE_MIN)
    this.#liveness.begin(time.monotonicMs(), this.#heard(), options.connectionLifeMsMax * lifeShare)
    this.#subscriber = new Subscriber(this.#rules.subscribeFrames(options.streams, 1), {
      time,
      send: (text) => socket.send(text),
      // one message a second is kept free for pongs and probes
      spacingMs: MS_PER_SECOND / Math.max(1, options.clientMessagesPerSecondMax - 1),
      ackTimeoutMs: options.timing.ackTimeoutMs,
      isPaused: () => socket.isPaused,
      onComplete: () => this.#announce(),
      onFault: (reason) => this.#fail(reason),
    })
    this.#subscriber.start()
    this.#watchNext()
  }

  /** Before the first data frame or after the last acknowledgement, whichever is first. */
  #announce(): void {
    if (this.#isAnnounced) return
    this.#isAnnounced = true
    this.#state = 'open'
    this.#around.stats.opens++
    this.#around.log.info({ connection: this.options.name, generation: this.#generation }, 'connection open')
    this.#events.onOpen(this.#generation)
  }

  /** @returns false when the frame was data after all. */
  #control(bytes: Buffer): boolean {
    const control = this.#rules.readControl(bytes)
    if (control === undefined) return false
    this.#otherCount++
    if (control.kind === 'acknowledged') this.#subscriber?.acknowledge(control.tokens)
    else if (control.kind === 'refused') this.#fail(`SUBSCRIBE_REFUSED ${control.reason}`)
    else if (control.kind === 'shutdown') this.#fail('SHUTDOWN_NOTICE')
    else if (control.kind === 'question') this.#socket?.send(control.answer)
    return true
  }

  #watchNext(): void {
    this.#cancelWatch = this.#around.time.after(this.options.timing.watchIntervalMs, () => {
      const verdict = this.#liveness.check(this.#around.time.monotonicMs(), this.#heard())
      switch (verdict) {
        case 'WELL':
          return this.#watchNext()
        case 'PROBE':
          this.#probe()
          return this.#watchNext()
        case 'PONG':
          this.#socket?.pong()
          return this.#watchNext()
        default:
          return this.#fail(verdict)
      }
    })
  }

  #heard(): Heard {
    return { frameCount: this.#frameCount, otherCount: this.#otherCount, isPaused: this.isPaused }
  }

  #probe(): void {
    const frame = this.#rules.probeFrame(this.#subscriber?.takeId() ?? 1)
    if (frame === undefined) return
    this.#around.stats.probes++
    this.#socket?.send(frame.text)
  }

  #fail(reason: string): void {
    const { timing } = this.options
    const { time, random, log } = this.#around
    const livedMs = time.monotonicMs() - this.#connectedMs
    const healthyMs = this.#isAnnounced ? livedMs : 0
    this.#attempt = attemptAfter(this.#attempt, healthyMs, timing.healthyAfterMs)
    this.#drop(reason)
    const delayMs = backoffMs(this.#attempt, timing.backoffFloorMs, timing.backoffCapMs, random)
    this.#attempt++
    log.warn(
      { connection: this.options.name, generation: this.#generation, reason, livedMs, delayMs },
      'connection lost',
    )
    this.#connectAfter(delayMs)
  }

  /** Destroys the socket and forgets it; whatever it still emits is of an old generation. */
  #drop(reason: string): void {
    const socket = this.#socket
    assert(socket !== undefined, `connection ${this.options.name} has no socket to drop`)
    this.#socket = undefined
    this.#cancelWatch()
    this.#subscriber?.stop()
    this.#subscriber = undefined
    socket.terminate()
    this.#lastReason = reason
    this.#countClose(reason)
    if (this.#isAnnounced) this.#events.onClose(this.#generation, reason)
    this.#isAnnounced = false
  }

  #countClose(reason: string): void {
    const { stats } = this.#around
    const word = reason.split(' ', 1)[0] as string
    stats.closes++
    stats.closeReasons.set(word, (stats.closeReasons.get(word) ?? 0) + 1)
  }
}
