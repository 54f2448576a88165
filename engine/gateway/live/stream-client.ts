/**
 * One client of /v1/stream: what it says, what it gets, when it has to go.
 *
 *   { op: auth | subscribe | unsubscribe | ping }  ─►
 *                                                  ◄─  { op: subscribed | unsubscribed | resumed | pong | heartbeat | error }
 *                                                  ◄─  { type: trade, …, seq, rows } and books
 */
import type { Duplex } from 'node:stream'
import { Packr } from 'msgpackr'
import type { WebSocket } from 'ws'
import type { HttpFault } from '../http-fault.ts'
import type { Visit } from '../security/principal.ts'
import { binaryFrame, textFrame } from './frames.ts'
import type { LiveHub, Watched } from './live-hub.ts'
import { Outbox, type OutboxLimits } from './outbox.ts'
import { Replay } from './replay.ts'
import { readRequest, Refusal, type RequestId, type StreamRequest } from './requests.ts'
import type { Pattern } from './subject.ts'
import { BOOK_TYPE, type Format, type Outgoing, type Receiver } from './topic.ts'

export interface ClientLimits extends OutboxLimits {
  /** patterns of one connection */
  readonly subscriptionsMax: number
  /** messages of a client a second, over some seconds */
  readonly messagesPerSecond: number
  readonly heartbeatMs: number
  /** neither a message nor an answer to a ping for so long: it is gone */
  readonly silenceMsMax: number
  readonly authMsMax: number
}

export const CLOSE_GOING_AWAY = 1001
export const CLOSE_POLICY = 1008
export const CLOSE_SLOW = 1013
/** A burst of messages may be so many seconds' worth. */
const MESSAGE_BURST_S = 5
/** A close frame has room for 125 bytes, two of them the code. */
const REASON_CHARS_MAX = 120
/** A client that is told to go is waited for so long. */
const CLOSE_MS_MAX = 2_000

const PACKR = new Packr({ useRecords: false })

export interface Seat {
  readonly visit: Visit
  readonly ws: WebSocket
  readonly socket: Duplex
  readonly format: Format
}

interface Subscription {
  readonly pattern: Pattern
  readonly depth: number
  /** what it missed is being sent: it is not live yet */
  replay: Replay | undefined
}

export class StreamClient implements Receiver, Watched {
  readonly #seat: Seat
  readonly #hub: LiveHub
  readonly #limits: ClientLimits
  readonly #outbox: Outbox
  readonly #now: { ms(): number; ns(): string }
  readonly #subscriptions = new Map<string, Subscription>()
  #isAllowed: boolean
  #heardMs: number
  #heartbeatMs: number
  #openedMs: number
  #messagesLeft: number
  #messagesMs: number
  #isClosed = false

  constructor(seat: Seat, hub: LiveHub, limits: ClientLimits, now: { ms(): number; ns(): string }) {
    this.#seat = seat
    this.#hub = hub
    this.#limits = limits
    this.#now = now
    this.#openedMs = now.ms()
    this.#heardMs = this.#openedMs
    this.#heartbeatMs = this.#openedMs
    this.#messagesMs = this.#openedMs
    this.#messagesLeft = limits.messagesPerSecond * MESSAGE_BURST_S
    this.#isAllowed = seat.visit.principal !== undefined
    this.#outbox = new Outbox(seat.socket, seat.format, limits, hub.counts, {
      onWaiting: hub.onWaiting,
      onEvict: (reason) => {
        hub.counts.evicted++
        this.close(CLOSE_SLOW, reason)
      },
    })
    this.#listen(seat.ws)
    hub.counts.clients++
    hub.watch(this)
  }

  #listen(ws: WebSocket): void {
    ws.on('message', (payload: Buffer, isBinary: boolean) => this.#onMessage(payload, isBinary))
    ws.on('pong', () => {
      this.#heardMs = this.#now.ms()
    })
    ws.on('error', () => {}) // 'close' follows, with the code
    ws.on('close', () => this.#leave())
  }

  push(message: Outgoing): void {
    this.#outbox.push(message)
  }

  // --- what it says

  #onMessage(payload: Buffer, isBinary: boolean): void {
    if (this.#isClosed) return
    this.#heardMs = this.#now.ms()
    if (!this.#mayAsk()) {
      this.close(CLOSE_POLICY, `more than ${this.#limits.messagesPerSecond} messages a second`)
      return
    }
    try {
      this.#answer(readRequest(payload, isBinary))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#refuse(error.code, error.message, error.id)
    }
  }

  #mayAsk(): boolean {
    const { messagesPerSecond } = this.#limits
    const passedMs = this.#heardMs - this.#messagesMs
    this.#messagesMs = this.#heardMs
    this.#messagesLeft = Math.min(
      messagesPerSecond * MESSAGE_BURST_S,
      this.#messagesLeft + (passedMs * messagesPerSecond) / 1_000,
    )
    return --this.#messagesLeft >= 0
  }

  #answer(request: StreamRequest): void {
    if (request.op === 'auth') return this.#authenticate(request.key, request.id)
    if (!this.#isAllowed) return this.#refuse('unauthorized', 'send {"op":"auth","key":…} first', request.id)
    switch (request.op) {
      case 'ping':
        return this.#say({ op: 'pong', id: request.id, time_ns: this.#now.ns(), seq: this.#hub.seq })
      case 'unsubscribe': {
        for (const { text } of request.patterns) this.#unsubscribe(text)
        return this.#say({ op: 'unsubscribed', id: request.id })
      }
      case 'subscribe':
        return this.#subscribe(request)
    }
  }

  #authenticate(key: string, id: RequestId): void {
    try {
      this.#seat.visit.authenticate(key)
      this.#isAllowed = true
      this.#say({ op: 'authenticated', id })
    } catch (error) {
      const { code = 'unauthorized', message } = error as HttpFault
      this.#refuse(code, message, id)
      this.close(CLOSE_POLICY, message)
    }
  }

  #subscribe({ id, patterns, depth, from }: StreamRequest & { op: 'subscribe' }): void {
    const fresh = patterns.filter(({ text }) => !this.#subscriptions.has(text)).length
    if (this.#subscriptions.size + fresh > this.#limits.subscriptionsMax) {
      const { subscriptionsMax } = this.#limits
      return this.#refuse(
        'too_many_subscriptions',
        `a connection has at most ${subscriptionsMax} patterns: use wildcards`,
        id,
      )
    }
    const missed = patterns.filter((pattern) => pattern.typeWord !== BOOK_TYPE)
    const replay = from === undefined || missed.length === 0 ? undefined : Replay.start(this.#hub, missed, from)
    const instruments = new Set<string>()
    const live: (() => void)[] = []
    for (const pattern of patterns) {
      this.#unsubscribe(pattern.text)
      const waits = replay instanceof Replay && pattern.typeWord !== BOOK_TYPE ? replay : undefined
      this.#subscriptions.set(pattern.text, { pattern, depth: depthOf(pattern, depth), replay: waits })
      for (const instrument of this.#hub.registry.instrumentsOf(pattern)) instruments.add(instrument)
      if (waits === undefined) live.push(() => void this.#hub.subscribe(this, pattern, depthOf(pattern, depth)))
    }
    this.#say({ op: 'subscribed', id, instruments: instruments.size, seq: this.#hub.seq })
    if (typeof replay === 'string') this.#expired(id, from)
    for (const start of live) start()
    if (replay instanceof Replay) this.#hub.pumpFor(this)
  }

  #unsubscribe(text: string): void {
    const known = this.#subscriptions.get(text)
    if (known === undefined) return
    this.#subscriptions.delete(text)
    for (const topic of this.#hub.unsubscribe(this, known.pattern, known.depth)) this.#outbox.forget(topic)
  }

  // --- what it missed

  pump(): boolean {
    for (const replay of this.#replays()) {
      const result = replay.pump(this.#outbox)
      if (result === 'more') continue
      this.#goLive(replay)
      if (result === 'done') this.#say({ op: 'resumed', messages: replay.messages, seq: this.#hub.seq })
      else this.#expired(null, undefined)
    }
    return this.#replays().size > 0
  }

  #replays(): Set<Replay> {
    return new Set([...this.#subscriptions.values()].flatMap(({ replay }) => replay ?? []))
  }

  #goLive(replay: Replay): void {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.replay !== replay) continue
      subscription.replay = undefined
      this.#hub.subscribe(this, subscription.pattern, subscription.depth)
    }
  }

  #expired(id: RequestId, from: string | undefined): void {
    const which = from === undefined ? 'what you missed' : `what came after ${from}`
    this.#refuse('resume_expired', `${which} is not kept any more: ask /v1 for it; the stream goes on live`, id)
  }

  // --- what it is told

  #say(object: object): void {
    const { format } = this.#seat
    const frame = format === 'json' ? textFrame(JSON.stringify(object)) : binaryFrame(PACKR.pack(object))
    this.#outbox.push({ topic: undefined, frame: () => frame })
  }

  #refuse(code: string, message: string, id: RequestId): void {
    this.#say({ op: 'error', code, message, id })
  }

  // --- time

  look(nowMs: number): void {
    if (this.#isClosed) return
    const { heartbeatMs, silenceMsMax, authMsMax } = this.#limits
    this.#outbox.look(nowMs)
    if (nowMs - this.#heardMs > silenceMsMax) return this.close(CLOSE_GOING_AWAY, 'no answer to pings')
    if (!this.#isAllowed && nowMs - this.#openedMs > authMsMax) return this.close(CLOSE_POLICY, 'no key came')
    if (nowMs - this.#heartbeatMs < heartbeatMs) return
    this.#heartbeatMs = nowMs
    if (this.#isAllowed && !this.#seat.visit.isStillAllowed())
      return this.close(CLOSE_POLICY, 'the key is not valid any more')
    this.#say({ op: 'heartbeat', time_ns: this.#now.ns(), seq: this.#hub.seq, conflated: this.#outbox.thinned })
    this.#seat.ws.ping()
  }

  /** Says why, and waits a moment for the client to hear it. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return
    const { ws } = this.#seat
    this.#leave()
    ws.close(code, reason.slice(0, REASON_CHARS_MAX))
    const timer = setTimeout(() => ws.terminate(), CLOSE_MS_MAX)
    ws.once('close', () => clearTimeout(timer))
  }

  #leave(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#hub.counts.clients--
    this.#hub.unwatch(this)
    for (const text of [...this.#subscriptions.keys()]) this.#unsubscribe(text)
    this.#outbox.close()
  }

  get queuedBytes(): number {
    return this.#outbox.bytes
  }
}

const depthOf = (pattern: Pattern, depth: number): number => (pattern.typeWord === BOOK_TYPE ? depth : 0)
