/** One WebSocket of a reader: its outbox, whether it is alive and may be here, and how it ends. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Visit } from '../security/principal.ts'
import type { LiveHub, Watched } from './live-hub.ts'
import { Outbox, type OutboxLimits } from './outbox.ts'
import type { Encoding } from './topic.ts'

export interface SessionLimits extends OutboxLimits {
  /** messages of a client a second, over some seconds */
  readonly messagesPerSecond: number
  readonly heartbeatMs: number
  /** neither a message nor an answer to a ping for so long: it is gone */
  readonly silenceMsMax: number
  readonly authMsMax: number
}

export interface Seat {
  readonly visit: Visit
  readonly ws: WebSocket
  readonly socket: Duplex
  readonly encoding: Encoding
}

export interface Now {
  ms(): number
  ns(): string
}

export interface SessionEvents {
  onMessage(payload: Buffer, isBinary: boolean): void
  /** time for a heartbeat */
  onBeat(): void
  /** it is gone */
  onLeave(): void
  /** see Watched */
  pump?(): boolean
}

export const CLOSE_GOING_AWAY = 1001
export const CLOSE_POLICY = 1008
export const CLOSE_SLOW = 1013
/** A close frame has room for 125 bytes, two of them the code. */
export const REASON_CHARS_MAX = 120
/** A burst of messages may be so many seconds' worth. */
const MESSAGE_BURST_S = 5
/** A client that is told to go is waited for so long; one that is told that we stop, for less than the stop may take. */
const CLOSE_MS_MAX = 2_000
export const STOP_MS_MAX = 500

export class Session implements Watched {
  readonly outbox: Outbox
  isAllowed: boolean
  readonly #seat: Seat
  readonly #hub: LiveHub
  readonly #limits: SessionLimits
  readonly #now: Now
  readonly #events: SessionEvents
  readonly #openedMs: number
  #heardMs: number
  #beatMs: number
  #messagesLeft: number
  #messagesMs: number
  #isClosed = false

  constructor(seat: Seat, hub: LiveHub, limits: SessionLimits, now: Now, events: SessionEvents) {
    this.#seat = seat
    this.#hub = hub
    this.#limits = limits
    this.#now = now
    this.#events = events
    this.#openedMs = now.ms()
    this.#heardMs = this.#openedMs
    this.#beatMs = this.#openedMs
    this.#messagesMs = this.#openedMs
    this.#messagesLeft = limits.messagesPerSecond * MESSAGE_BURST_S
    this.isAllowed = seat.visit.principal !== undefined
    this.outbox = new Outbox(seat.socket, seat.encoding, limits, hub.counts, {
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
    ws.on('message', (payload: Buffer, isBinary: boolean) => {
      if (this.#mayAsk()) this.#events.onMessage(payload, isBinary)
    })
    ws.on('ping', () => void this.#mayAsk())
    ws.on('pong', () => {
      this.#heardMs = this.#now.ms()
    })
    ws.on('error', () => {}) // 'close' follows, with the code
    ws.on('close', () => this.#leave())
  }

  #mayAsk(): boolean {
    if (this.#isClosed) return false
    const { messagesPerSecond } = this.#limits
    this.#heardMs = this.#now.ms()
    const earned = ((this.#heardMs - this.#messagesMs) * messagesPerSecond) / 1_000
    this.#messagesMs = this.#heardMs
    this.#messagesLeft = Math.min(messagesPerSecond * MESSAGE_BURST_S, this.#messagesLeft + earned) - 1
    if (this.#messagesLeft >= 0) return true
    this.close(CLOSE_POLICY, `more than ${messagesPerSecond} messages a second`)
    return false
  }

  get queuedBytes(): number {
    return this.outbox.bytes
  }

  pump(): boolean {
    return this.#events.pump?.() ?? false
  }

  look(nowMs: number): void {
    if (this.#isClosed) return
    const { heartbeatMs, silenceMsMax, authMsMax } = this.#limits
    this.outbox.look(nowMs)
    if (nowMs - this.#heardMs > silenceMsMax) return this.close(CLOSE_GOING_AWAY, 'no answer to pings')
    if (!this.isAllowed && nowMs - this.#openedMs > authMsMax) return this.close(CLOSE_POLICY, 'no key came')
    if (nowMs - this.#beatMs < heartbeatMs) return
    this.#beatMs = nowMs
    if (this.isAllowed && !this.#seat.visit.isStillAllowed())
      return this.close(CLOSE_POLICY, 'the key is not valid any more')
    this.#events.onBeat()
    this.#seat.ws.ping()
  }

  /** Says why, and waits a moment for the client to hear it. */
  close(code: number, reason: string, graceMs = CLOSE_MS_MAX): void {
    if (this.#isClosed) return
    const { ws } = this.#seat
    this.outbox.end()
    this.#leave()
    ws.close(code, reason.slice(0, REASON_CHARS_MAX))
    const timer = setTimeout(() => ws.terminate(), graceMs)
    ws.once('close', () => clearTimeout(timer))
  }

  #leave(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#hub.counts.clients--
    this.#hub.unwatch(this)
    this.#events.onLeave()
    this.outbox.close()
  }
}
