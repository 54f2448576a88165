/**
 * One client of /v1/stream: what it says, what it gets, when it has to go.
 *
 *   { op: auth | subscribe | unsubscribe | ping }  ─►
 *                                                  ◄─  { op: subscribed | unsubscribed | resumed | pong | heartbeat | error }
 *                                                  ◄─  { type: trade, …, seq, rows } and books
 */
import { Packr } from 'msgpackr'
import type { HttpFault } from '../http-fault.ts'
import { binaryFrame, textFrame } from './frames.ts'
import type { LiveHub } from './live-hub.ts'
import { Replay } from './replay.ts'
import { Refusal, type RequestId, readRequest, type StreamRequest } from './requests.ts'
import { CLOSE_POLICY, type Now, type Seat, Session, type SessionLimits } from './session.ts'
import type { Pattern } from './subject.ts'
import { BOOK_TYPE, ENCODINGS, type Outgoing, type Receiver } from './topic.ts'

export interface ClientLimits extends SessionLimits {
  /** patterns of one connection */
  readonly subscriptionsMax: number
}

/** Each is held against all subjects there are: some ms. */
const WILDCARDS_MAX = 100

const PACKR = new Packr({ useRecords: false })

interface Subscription {
  readonly pattern: Pattern
  readonly depth: number
  /** what it missed is being sent: it is not live yet */
  replay: Replay | undefined
}

export class StreamClient implements Receiver {
  readonly session: Session
  readonly #seat: Seat
  readonly #hub: LiveHub
  readonly #limits: ClientLimits
  readonly #now: Now
  readonly #subscriptions = new Map<string, Subscription>()

  constructor(seat: Seat, hub: LiveHub, limits: ClientLimits, now: Now) {
    this.#seat = seat
    this.#hub = hub
    this.#limits = limits
    this.#now = now
    this.session = new Session(seat, hub, limits, now, {
      onMessage: (payload, isBinary) => this.#onMessage(payload, isBinary),
      onBeat: () => this.#beat(),
      onLeave: () => {
        for (const text of [...this.#subscriptions.keys()]) this.#unsubscribe(text)
      },
      pump: () => this.#pump(),
    })
  }

  push(message: Outgoing): void {
    this.session.outbox.push(message)
  }

  // --- what it says

  #onMessage(payload: Buffer, isBinary: boolean): void {
    try {
      this.#answer(readRequest(payload, isBinary))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#refuse(error.code, error.message, error.id)
    }
  }

  #answer(request: StreamRequest): void {
    if (request.op === 'auth') return this.#authenticate(request.key, request.id)
    if (!this.session.isAllowed) return this.#refuse('unauthorized', 'send {"op":"auth","key":…} first', request.id)
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
      this.session.isAllowed = true
      this.#say({ op: 'authenticated', id })
    } catch (error) {
      const { code = 'unauthorized', message } = error as HttpFault
      this.#refuse(code, message, id)
      this.session.close(CLOSE_POLICY, message)
    }
  }

  #subscribe({ id, patterns, depth, from }: StreamRequest & { op: 'subscribe' }): void {
    const tooMany = this.#tooMany(patterns)
    if (tooMany !== undefined) return this.#refuse('too_many_subscriptions', tooMany, id)
    const conflict = this.#conflict(patterns, depth)
    if (conflict !== undefined) return this.#refuse('depth_conflict', conflict, id)
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
    if (replay instanceof Replay) this.#hub.pumpFor(this.session)
  }

  /** Which bound they are beyond. */
  #tooMany(patterns: readonly Pattern[]): string | undefined {
    const { subscriptionsMax } = this.#limits
    const fresh = patterns.filter(({ text }) => !this.#subscriptions.has(text))
    if (this.#subscriptions.size + fresh.length > subscriptionsMax)
      return `a connection has at most ${subscriptionsMax} patterns: use wildcards`
    const known = [...this.#subscriptions.values()].filter(({ pattern }) => !pattern.isExact)
    if (known.length + fresh.filter(({ isExact }) => !isExact).length > WILDCARDS_MAX)
      return `a connection has at most ${WILDCARDS_MAX} patterns with wildcards: name subjects, or use fewer that say more`
    return undefined
  }

  /** Nothing in a message of a book says of which depth it is: a reader of two would make one wrong book of both. */
  #conflict(patterns: readonly Pattern[], depth: number): string | undefined {
    const texts = new Set(patterns.map(({ text }) => text))
    const others = [...this.#subscriptions.values()].filter(
      (known) => known.pattern.typeWord === BOOK_TYPE && known.depth !== depth && !texts.has(known.pattern.text),
    )
    if (others.length === 0) return undefined
    for (const pattern of patterns) {
      if (pattern.typeWord !== BOOK_TYPE) continue
      const other = others.find((known) => pattern.mayShare(known.pattern))
      if (other !== undefined)
        return `${pattern.text} and ${other.pattern.text} may name the same books in different depths: use a connection for each`
    }
    return undefined
  }

  #unsubscribe(text: string): void {
    const known = this.#subscriptions.get(text)
    if (known === undefined) return
    this.#subscriptions.delete(text)
    for (const topic of this.#hub.unsubscribe(this, known.pattern, known.depth)) this.session.outbox.forget(topic)
  }

  // --- what it missed

  #pump(): boolean {
    for (const replay of this.#replays()) {
      const result = replay.pump(this.session.outbox)
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

  #beat(): void {
    const { thinned } = this.session.outbox
    this.#say({ op: 'heartbeat', time_ns: this.#now.ns(), seq: this.#hub.seq, conflated: thinned })
  }

  #say(object: object): void {
    const frame =
      this.#seat.encoding === ENCODINGS.json ? textFrame(JSON.stringify(object)) : binaryFrame(PACKR.pack(object))
    this.session.outbox.push({ topic: undefined, frame: () => frame })
  }

  #refuse(code: string, message: string, id: RequestId): void {
    this.#say({ op: 'error', code, message, id })
  }
}

const depthOf = (pattern: Pattern, depth: number): number => (pattern.typeWord === BOOK_TYPE ? depth : 0)
