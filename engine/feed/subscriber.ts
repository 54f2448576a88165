import { assert } from '../base/assert.ts'
import type { FeedRules, SubscribeFrame } from '../exchanges/exchange.ts'
import type { FeedTime } from './timer.ts'

export type SubscriberRules = Pick<FeedRules, 'openingFrames' | 'subscribeFrames' | 'unsubscribeFrames'>

export interface SubscriberOptions {
  readonly rules: SubscriberRules
  readonly time: FeedTime
  readonly send: (text: string) => void
  /** between two messages: the venue counts them */
  readonly spacingMs: number
  /** messages in any hour of this socket; infinite where the venue does not count */
  readonly messagesPerHourMax: number
  readonly ackTimeoutMs: number
  /** the socket is paused: an acknowledgement may lie unread in the kernel */
  readonly isPaused: () => boolean
  /** nothing is left to send or to be acknowledged */
  readonly onComplete: () => void
  /** the venue will not send this stream; the others live on */
  readonly onRefused: (stream: string, reason: string) => void
  readonly onFault: (reason: string) => void
}

/** Frames of two kinds are never in flight together: an acknowledgement may name a stream and not say of what. */
type Kind = 'opening' | 'subscribe' | 'unsubscribe'

interface Errand {
  readonly kind: Kind
  readonly frame: SubscribeFrame
  readonly streams: readonly string[]
  /** tokens not yet acknowledged */
  readonly missing: Set<string>
  sends: number
  cancel: () => void
}

/** Missing acknowledgements are asked for once more, then the socket is given up. */
const SENDS_MAX = 2
/** A refused frame is cut in halves until the guilty streams stand alone: 8 levels for 200 streams, some of them at once. */
const CUTS_MAX = 64
const HOUR_MS = 3_600_000

/**
 * What is said to the venue on one socket: first the opening, then subscriptions, later changes of them. The frames go
 * out one by one below the venue's message rate, and each is acknowledged, refused, sent again or fatal; there is no
 * fifth way.
 */
export class Subscriber {
  readonly #options: SubscriberOptions
  readonly #queue: Errand[] = []
  readonly #waiting = new Map<number, Errand>() // by id of the frame
  /** what this socket should carry, less what was refused */
  readonly #carried = new Set<string>()
  readonly #sentMs: number[] = []
  #cancelNext: (() => void) | undefined
  #nextId = 1
  #cutCount = 0
  #isStopped = false

  constructor(options: SubscriberOptions) {
    this.#options = options
  }

  start(streams: readonly string[]): void {
    this.#enqueue('opening', this.#options.rules.openingFrames(this.#nextId, this.#options.time.nowMs()), [])
    this.subscribe(streams)
  }

  subscribe(streams: readonly string[]): void {
    for (const stream of streams) this.#carried.add(stream)
    this.#enqueue('subscribe', this.#options.rules.subscribeFrames(streams, this.#nextId), streams)
    this.#sendNext()
  }

  unsubscribe(streams: readonly string[]): void {
    for (const stream of streams) this.#carried.delete(stream)
    this.#enqueue('unsubscribe', this.#options.rules.unsubscribeFrames(streams, this.#nextId), streams)
    this.#sendNext()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelNext?.()
    for (const { cancel } of this.#waiting.values()) cancel()
    this.#waiting.clear()
    this.#queue.length = 0
  }

  /** An id that no frame of this socket has used. */
  takeId(): number {
    return this.#nextId++
  }

  /** Whether this stream is still to be asked for, so that it starts anew after now. */
  willSubscribe(stream: string): boolean {
    return this.#queue.some(({ kind, streams }) => kind === 'subscribe' && streams.includes(stream))
  }

  /** Messages that may still be sent in this hour. */
  get hourLeft(): number {
    this.#forgetOld()
    return this.#options.messagesPerHourMax - this.#sentMs.length - this.#queue.length
  }

  /** @param answers id of the frame whose whole answer this is: what it leaves out is refused */
  acknowledge(tokens: readonly string[], answers?: number): void {
    for (const errand of this.#waiting.values()) {
      for (const token of tokens) errand.missing.delete(token)
      if (errand.missing.size === 0) this.#settle(errand)
      else if (errand.frame.id === answers) this.#leaveOut(errand)
    }
    this.#goOn()
  }

  /**
   * @param answers id of the frame that is refused as a whole
   * @returns false when no frame waits for any of these.
   */
  refuse(tokens: readonly string[], answers: number | undefined, reason: string): boolean {
    const isGuilty = ({ frame, missing }: Errand): boolean =>
      frame.id === answers || tokens.some((token) => missing.has(token))
    const guilty = [...this.#waiting.values()].filter(isGuilty)
    for (const errand of guilty) {
      if (this.#isStopped) return true
      if (errand.kind === 'opening') this.#options.onFault(`OPENING_REFUSED ${reason}`)
      else if (errand.kind === 'unsubscribe') this.#settle(errand)
      else this.#refuseStreams(errand, tokens, reason)
    }
    this.#goOn()
    return guilty.length > 0
  }

  #leaveOut(errand: Errand): void {
    const left = [...errand.missing]
    if (errand.kind === 'subscribe') this.#refuseStreams(errand, left, 'left out of the answer')
    else this.#settle(errand)
  }

  #refuseStreams(errand: Errand, tokens: readonly string[], reason: string): void {
    const { streams, missing } = errand
    const named = tokens.filter((token) => missing.has(token) && streams.includes(token))
    if (named.length > 0) {
      for (const stream of named) {
        missing.delete(stream)
        this.#giveUp(stream, reason)
      }
      if (missing.size === 0) this.#settle(errand)
      return
    }
    this.#settle(errand)
    if (streams.length === 1) return this.#giveUp(streams[0] as string, reason)
    if (streams.length === 0 || ++this.#cutCount > CUTS_MAX) {
      this.#options.onFault(`SUBSCRIBE_REFUSED ${reason}`)
      return
    }
    const half = Math.ceil(streams.length / 2)
    this.subscribe(streams.slice(0, half))
    if (!this.#isStopped) this.subscribe(streams.slice(half))
  }

  #giveUp(stream: string, reason: string): void {
    if (this.#isStopped) return
    this.#carried.delete(stream)
    if (this.#carried.size > 0) this.#options.onRefused(stream, reason)
    else this.#options.onFault(`SUBSCRIBE_REFUSED ${reason}`)
  }

  #settle(errand: Errand): void {
    errand.cancel()
    this.#waiting.delete(errand.frame.id)
  }

  #goOn(): void {
    if (this.#isStopped) return
    if (this.#waiting.size === 0 && this.#queue.length === 0) this.#options.onComplete()
    else this.#sendNext()
  }

  #enqueue(kind: Kind, frames: readonly SubscribeFrame[], streams: readonly string[]): void {
    for (const frame of frames) {
      assert(frame.id >= this.#nextId, `frame id ${frame.id} is used already`)
      this.#nextId = frame.id + 1
      const missing = new Set(frame.tokens)
      this.#queue.push({ kind, frame, streams: streamsIn(frame, streams), missing, sends: 0, cancel: () => {} })
    }
  }

  #sendNext(): void {
    if (this.#isStopped || this.#cancelNext !== undefined) return
    const errand = this.#queue[0]
    if (errand === undefined) return
    const [inFlight] = this.#waiting.values()
    if (inFlight !== undefined && inFlight.kind !== errand.kind) return // goes on when that is acknowledged
    const waitMs = this.#waitMs()
    if (waitMs > 0) return this.#sendNextAfter(waitMs)
    this.#queue.shift()
    this.#send(errand)
    if (this.#queue.length > 0 && !this.#isStopped) this.#sendNextAfter(this.#options.spacingMs)
  }

  #sendNextAfter(delayMs: number): void {
    this.#cancelNext = this.#options.time.after(delayMs, () => {
      this.#cancelNext = undefined
      this.#sendNext()
    })
  }

  #waitMs(): number {
    const nowMs = this.#forgetOld()
    const { spacingMs, messagesPerHourMax } = this.#options
    const lastMs = this.#sentMs.at(-1)
    const spacedMs = lastMs === undefined ? 0 : lastMs + spacingMs - nowMs
    if (this.#sentMs.length < messagesPerHourMax) return spacedMs
    return Math.max(spacedMs, (this.#sentMs[0] as number) + HOUR_MS - nowMs)
  }

  #forgetOld(): number {
    const nowMs = this.#options.time.monotonicMs()
    const keptFrom = this.#sentMs.findIndex((sentMs) => nowMs - sentMs < HOUR_MS)
    if (keptFrom !== 0) this.#sentMs.splice(0, keptFrom === -1 ? this.#sentMs.length : keptFrom)
    return nowMs
  }

  #send(errand: Errand): void {
    errand.sends++
    this.#sentMs.push(this.#options.time.monotonicMs())
    this.#waiting.set(errand.frame.id, errand)
    this.#expect(errand)
    this.#options.send(errand.frame.text)
  }

  #expect(errand: Errand): void {
    const { time, ackTimeoutMs, isPaused } = this.#options
    const dueMs = time.monotonicMs() + ackTimeoutMs
    errand.cancel = time.after(ackTimeoutMs, () => {
      // we did not listen, or this thread is late itself: the answer may be there, so wait once more
      if (isPaused() || time.monotonicMs() - dueMs > ackTimeoutMs / 2) return this.#expect(errand)
      if (errand.sends < SENDS_MAX) return this.#send(errand)
      this.#giveUpMissing(errand)
    })
  }

  /** A venue that acknowledged the others of the same frame will not send these. */
  #giveUpMissing(errand: Errand): void {
    const { frame, missing, streams, sends } = errand
    const unheard = [...missing]
    const isPartial = missing.size < frame.tokens.length && unheard.every((token) => streams.includes(token))
    if (!isPartial) return this.#options.onFault(`ACK_MISSING id ${frame.id}, sent ${sends} times`)
    this.refuse(unheard, undefined, 'not acknowledged with the others of its frame')
  }
}

/** The streams that a frame asks for: its tokens where these are streams, else what its text names. */
function streamsIn(frame: SubscribeFrame, streams: readonly string[]): readonly string[] {
  const tokens = new Set(frame.tokens)
  const named = streams.filter((stream) => tokens.has(stream))
  return named.length > 0 ? named : streams.filter((stream) => frame.text.includes(JSON.stringify(stream)))
}
