import type { Agent } from 'node:http'
import type WebSocket from 'ws'
import { assert } from '../base/assert.ts'
import type { Log } from '../base/log.ts'
import type { FeedRules, Heartbeat } from '../exchanges/exchange.ts'
import { type Heard, Liveness, type LivenessTiming } from './liveness.ts'
import { openSocket } from './socket.ts'
import { Subscriber } from './subscriber.ts'
import type { FeedTime } from './timer.ts'

/**
 * One socket from its opening to its end: one generation of a connection. It says the opening, subscribes, watches
 * whether it lives, and hands out what comes; when something is wrong it says so, and its connection ends it.
 *
 * Arithmetic: 100,000 frames/s leave 10 µs each, and ws itself takes most of that. So a data frame costs one compare of
 * a flag, one counter, one or two byte tests, one call. No clock: a watch once a second compares counters.
 */
export interface LinkOptions {
  /** for logs, e.g. `binance.usdm/public#7` */
  readonly name: string
  readonly url: string
  readonly heartbeat: Heartbeat
  readonly clientMessagesPerSecondMax: number
  /** subscribe and unsubscribe messages in any hour; absent where the venue does not count */
  readonly subscribesPerHourMax?: number | undefined
  readonly frameBytesMax: number
  readonly timing: LinkTiming
  /** a proxy; undefined goes straight out */
  readonly agent?: Agent | undefined
}

export interface LinkTiming extends LivenessTiming {
  readonly handshakeTimeoutMs: number
  readonly ackTimeoutMs: number
}

/** What one socket has of its own. */
export interface LinkBirth {
  readonly generation: number
  readonly bornMs: number
  /** asked when the socket is open: what was added or removed meanwhile is in it */
  readonly streams: () => readonly string[]
  /** after this it should be replaced */
  readonly lifeMs: number
  /** what the socket before had come to, see Liveness */
  readonly dataSilenceFactor: number
}

export interface LinkEvents {
  /** before the first data frame or after the last acknowledgement, whichever is first */
  onAnnounced(link: Link): void
  /** all that was asked for until now is acknowledged or refused; comes again when more was asked for */
  onSubscribed(link: Link): void
  onFrame(generation: number, bytes: Uint8Array): void
  onRefused(link: Link, stream: string, reason: string): void
  /** its life is over, or the venue will close it: it works on, but another should be there soon */
  onFailing(link: Link, reason: string): void
  onProbe(): void
  /** once an interval of the watch */
  onWatched(link: Link): void
  /** it is of no use any more: end it */
  onFailed(link: Link, reason: string): void
  /** the socket under it is gone from the system */
  onGone(): void
}

export type LinkState = 'connecting' | 'subscribing' | 'open'

const MS_PER_SECOND = 1_000

export class Link {
  readonly birth: LinkBirth
  readonly #options: LinkOptions
  readonly #rules: FeedRules
  readonly #events: LinkEvents
  readonly #time: FeedTime
  readonly #log: Log
  readonly #socket: WebSocket
  readonly #subscriber: Subscriber
  readonly #liveness: Liveness
  readonly #refused = new Map<string, string>()
  #state: LinkState = 'connecting'
  #subscribedMs: number | undefined
  #cancelWatch: () => void = () => {}
  #isEnded = false

  // written by the hot handler
  #frameCount = 0
  #otherCount = 0

  constructor(
    options: LinkOptions,
    birth: LinkBirth,
    rules: FeedRules,
    events: LinkEvents,
    around: { readonly time: FeedTime; readonly log: Log },
  ) {
    this.birth = birth
    this.#options = options
    this.#rules = rules
    this.#events = events
    this.#time = around.time
    this.#log = around.log
    const canProbe = rules.probeFrame(1) !== undefined
    this.#liveness = new Liveness(options.timing, options.heartbeat, canProbe, birth.dataSilenceFactor)
    this.#socket = openSocket(options)
    this.#subscriber = this.#makeSubscriber()
    this.#listen(this.#socket)
  }

  get generation(): number {
    return this.birth.generation
  }

  get state(): LinkState {
    return this.#state
  }

  get isAnnounced(): boolean {
    return this.#state === 'open'
  }

  get frameCount(): number {
    return this.#frameCount
  }

  get isPaused(): boolean {
    return this.#socket.isPaused
  }

  /** When everything was acknowledged for the first time. */
  get subscribedMs(): number | undefined {
    return this.#subscribedMs
  }

  /** Streams that the venue will not send, with its reason. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refused
  }

  get dataSilenceFactor(): number {
    return this.#liveness.dataSilenceFactor
  }

  /** Subscribe and unsubscribe messages that the venue still allows on this socket in this hour. */
  get hourLeft(): number {
    return this.#subscriber.hourLeft
  }

  /** Whether this stream is still to be asked for, so that it starts anew after now. */
  willSubscribe(stream: string): boolean {
    return this.#subscriber.willSubscribe(stream)
  }

  subscribe(streams: readonly string[]): void {
    for (const stream of streams) this.#refused.delete(stream)
    if (this.#state !== 'connecting') this.#subscriber.subscribe(streams)
  }

  unsubscribe(streams: readonly string[]): void {
    if (this.#state !== 'connecting') this.#subscriber.unsubscribe(streams)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Destroys the socket at once; whatever it still emits is not delivered. */
  end(): void {
    assert(!this.#isEnded, `${this.#options.name} generation ${this.generation} is ended already`)
    this.#isEnded = true
    this.#cancelWatch()
    this.#subscriber.stop()
    this.#socket.terminate()
  }

  #makeSubscriber(): Subscriber {
    const { clientMessagesPerSecondMax, subscribesPerHourMax, timing } = this.#options
    return new Subscriber({
      rules: this.#rules,
      time: this.#time,
      send: (text) => this.#socket.send(text),
      // one message a second is kept free for pongs and probes
      spacingMs: MS_PER_SECOND / Math.max(1, clientMessagesPerSecondMax - 1),
      messagesPerHourMax: subscribesPerHourMax ?? Number.POSITIVE_INFINITY,
      ackTimeoutMs: timing.ackTimeoutMs,
      isPaused: () => this.#socket.isPaused,
      onComplete: () => this.#onComplete(),
      onRefused: (stream, reason) => {
        this.#refused.set(stream, reason)
        this.#events.onRefused(this, stream, reason)
      },
      onFault: (reason) => this.#fail(reason),
    })
  }

  #listen(socket: WebSocket): void {
    const { isControl } = this.#rules
    const events = this.#events
    const { generation } = this.birth
    let fault = ''
    socket.on('open', () => this.#isEnded || this.#begin())
    socket.on('message', (bytes: Buffer) => {
      if (this.#isEnded) return
      if (isControl(bytes) && this.#control(bytes)) return
      this.#frameCount++
      if (this.#state !== 'open') this.#announce()
      events.onFrame(generation, bytes)
    })
    const onOther = (): void => {
      this.#otherCount++
    }
    socket.on('ping', onOther)
    socket.on('pong', onOther)
    socket.on('error', (error: Error & { code?: string }) => {
      fault = `${error.code ?? 'SOCKET_ERROR'} ${error.message}`
      // ws would first say goodbye and wait for the answer
      if (this.#state !== 'connecting') this.#fail(fault)
    })
    socket.on('close', (code: number, text: Buffer) => {
      events.onGone()
      this.#fail(fault === '' ? `CLOSED_BY_PEER ${code} ${text.toString('utf8', 0, 64)}`.trim() : fault)
    })
  }

  #begin(): void {
    this.#state = 'subscribing'
    this.#liveness.begin(this.#time.monotonicMs(), this.#heard(), this.birth.lifeMs)
    this.#subscriber.start(this.birth.streams())
    if (!this.#isEnded) this.#watchNext()
  }

  #announce(): void {
    this.#state = 'open'
    this.#events.onAnnounced(this)
  }

  #onComplete(): void {
    this.#subscribedMs ??= this.#time.monotonicMs()
    if (this.#state !== 'open') this.#announce()
    if (!this.#isEnded) this.#events.onSubscribed(this)
  }

  /** @returns false when the frame was data after all. */
  #control(bytes: Buffer): boolean {
    const control = this.#rules.readControl(bytes)
    if (control === undefined) return false
    this.#otherCount++
    switch (control.kind) {
      case 'acknowledged':
        this.#subscriber.acknowledge(control.tokens, control.answers)
        break
      case 'refused':
        this.#refuse(control.tokens, control.answers, control.reason)
        break
      case 'shutdown':
        this.#events.onFailing(this, 'SHUTDOWN_NOTICE')
        break
      case 'question':
        this.#socket.send(control.answer)
    }
    return true
  }

  #refuse(tokens: readonly string[], answers: number | undefined, reason: string): void {
    if (tokens.length === 0 && answers === undefined) return this.#fail(`SUBSCRIBE_REFUSED ${reason}`)
    if (this.#subscriber.refuse(tokens, answers, reason)) return
    const { name } = this.#options
    this.#log.warn({ connection: name, generation: this.generation, tokens, reason }, 'refused what nobody waits for')
  }

  #watchNext(): void {
    this.#cancelWatch = this.#time.after(this.#options.timing.watchIntervalMs, () => this.#watch())
  }

  #watch(): void {
    const verdict = this.#liveness.check(this.#time.monotonicMs(), this.#heard())
    if (verdict === 'SILENT' || verdict === 'NO_DATA') return this.#fail(verdict)
    if (verdict === 'PROBE') this.#probe()
    else if (verdict === 'PONG') this.#socket.pong()
    else if (verdict === 'LIFE_OVER') this.#events.onFailing(this, verdict)
    this.#events.onWatched(this)
    if (!this.#isEnded) this.#watchNext()
  }

  #heard(): Heard {
    return { frameCount: this.#frameCount, otherCount: this.#otherCount, isPaused: this.#socket.isPaused }
  }

  #probe(): void {
    const frame = this.#rules.probeFrame(this.#subscriber.takeId())
    if (frame === undefined) return
    this.#events.onProbe()
    this.#socket.send(frame.text)
  }

  #fail(reason: string): void {
    if (!this.#isEnded) this.#events.onFailed(this, reason)
  }
}
