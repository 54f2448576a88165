/**
 * A stream is one name of one market (`btcusdt@trade`) with the subscribers that hear it. What was once heard and then
 * goes on unheard (every listener gone, or a fault swallowed it) is noted as a loss with its first and last id.
 */
import type { Template } from './messages.ts'
import type { MarketName, StreamKind, StreamName } from './venue.ts'

/** One that hears a stream. */
export interface Subscriber {
  append(prefix: Uint8Array, payload: Uint8Array, length: number): void
}

/** Events of one stream that reached nobody: trade ids, depth or ticker update ids. */
export interface Loss {
  readonly cause: string
  readonly market: MarketName
  readonly symbol: string
  readonly stream: string
  /** the engine's word for it */
  readonly channel: string
  readonly firstId: number
  readonly lastId: number
  readonly count: number
  /** when the first and the last of them happened */
  readonly firstMs: number
  readonly lastMs: number
}

export type FrameFault = 'gap' | 'duplicate' | 'reorder' | 'silent' | 'truncated' | 'corrupt'

/** A fault that waits on a stream for its next frames. */
export interface ArmedFault {
  readonly kind: FrameFault
  /** frames left to it; a silent stream counts time instead */
  left: number
  readonly untilMs: number
  /** ids touched so far, for the log */
  readonly ids: number[]
  readonly onDone: (armed: ArmedFault) => void
}

export interface StreamsOptions {
  readonly onLoss: (loss: Loss) => void
  readonly nowMs: () => number
}

const NOTHING_LOST = { cause: '', firstId: 0, lastId: 0, count: 0, firstMs: 0, lastMs: 0 }

export class Stream {
  readonly market: MarketName
  readonly symbol: string
  readonly kind: StreamKind
  readonly channel: string
  readonly spec: StreamName
  readonly name: string
  /** what wraps a message on a combined connection */
  readonly prefix: Uint8Array
  /** null: its messages are made elsewhere */
  readonly template: Template | null
  readonly subscribers: Subscriber[] = []
  /** somebody has subscribed at least once */
  wasHeard = false
  lastSentId = 0
  lastSentMs = 0
  sentCount = 0
  /** of a stream that is fed by the clock */
  nextMs = 0
  readonly #options: StreamsOptions
  #armed: ArmedFault | null = null
  #held: { payload: Uint8Array; id: number } | null = null
  #lost = { ...NOTHING_LOST }

  constructor(
    spec: StreamName,
    name: string,
    options: StreamsOptions,
    prefix: string,
    template: Template | null = null,
  ) {
    this.spec = spec
    this.market = spec.market
    this.symbol = spec.symbol
    this.kind = spec.kind
    this.channel = spec.channel
    this.name = name
    this.prefix = new Uint8Array(Buffer.from(prefix, 'latin1'))
    this.template = template
    this.#options = options
  }

  join(subscriber: Subscriber): void {
    if (this.subscribers.includes(subscriber)) return
    if (this.subscribers.length === 0) this.#closeLoss() // from here on somebody hears it, whatever comes
    this.subscribers.push(subscriber)
    this.wasHeard = true
  }

  leave(subscriber: Subscriber): void {
    const index = this.subscribers.indexOf(subscriber)
    if (index >= 0) this.subscribers.splice(index, 1)
  }

  /** @returns true when the event went to at least one subscriber (or is held back to follow the next one). */
  deliver(payload: Uint8Array, length: number, id: number): boolean {
    const { subscribers } = this
    if (subscribers.length === 0) {
      if (this.wasHeard) this.#lose('unheard', id)
      return false
    }
    if (this.#armed !== null) return this.#deliverFaulty(this.#armed, payload, length, id)
    this.#send(payload, length, id)
    return true
  }

  get isFaulty(): boolean {
    return this.#armed !== null
  }

  arm(fault: ArmedFault): void {
    this.#disarm()
    this.#armed = fault
  }

  /** Sends what is held back and closes the open loss: at the end of the run. */
  settle(): void {
    this.#disarm()
    this.#closeLoss()
  }

  #send(payload: Uint8Array, length: number, id: number): void {
    if (this.#lost.count > 0) this.#closeLoss()
    const { subscribers } = this
    for (let index = 0; index < subscribers.length; index++) {
      ;(subscribers[index] as Subscriber).append(this.prefix, payload, length)
    }
    this.lastSentId = id
    this.lastSentMs = this.#options.nowMs()
    this.sentCount++
  }

  #deliverFaulty(armed: ArmedFault, payload: Uint8Array, length: number, id: number): boolean {
    if (armed.kind === 'silent' && this.#options.nowMs() >= armed.untilMs) {
      this.#disarm()
      this.#send(payload, length, id)
      return true
    }
    armed.ids.push(id)
    const isSent = this.#strike(armed, payload, length, id)
    if (armed.kind !== 'silent' && --armed.left <= 0) this.#disarm()
    return isSent
  }

  #strike(armed: ArmedFault, payload: Uint8Array, length: number, id: number): boolean {
    switch (armed.kind) {
      case 'gap':
      case 'silent':
        this.#lose(armed.kind, id)
        return false
      case 'duplicate':
        this.#send(payload, length, id)
        this.#append(payload, length)
        return true
      case 'truncated':
        this.#append(payload, length >>> 1)
        this.#lose(armed.kind, id)
        return false
      case 'corrupt':
        this.#append(damaged(payload, length), length)
        this.#lose(armed.kind, id)
        return false
      case 'reorder':
        if (this.#held === null) {
          this.#held = { payload: payload.slice(0, length), id }
          armed.left++ // the pair counts as one
        } else {
          this.#send(payload, length, id)
          this.#sendHeld()
        }
        return true
    }
  }

  #append(payload: Uint8Array, length: number): void {
    for (const subscriber of this.subscribers) subscriber.append(this.prefix, payload, length)
  }

  #sendHeld(): void {
    const held = this.#held
    this.#held = null
    if (held === null) return
    this.#send(held.payload, held.payload.length, held.id)
  }

  #disarm(): void {
    const armed = this.#armed
    this.#armed = null
    this.#sendHeld()
    if (armed !== null) armed.onDone(armed)
  }

  #lose(cause: string, id: number): void {
    if (this.#lost.count > 0 && this.#lost.cause !== cause) this.#closeLoss()
    const nowMs = Math.floor(this.#options.nowMs())
    if (this.#lost.count === 0) this.#lost = { ...NOTHING_LOST, cause, firstId: id, firstMs: nowMs }
    this.#lost.lastId = id
    this.#lost.lastMs = nowMs
    this.#lost.count++
  }

  #closeLoss(): void {
    if (this.#lost.count === 0) return
    const { market, symbol, name, channel } = this
    this.#options.onLoss({ market, symbol, stream: name, channel, ...this.#lost })
    this.#lost = { ...NOTHING_LOST }
  }
}

/** As a note says what became of a connection's streams; the last word: whether nobody hears it any more. */
export function cutStream({ name, lastSentId, symbol, channel, subscribers }: Stream): unknown[] {
  return [name, lastSentId, symbol, channel, subscribers.length === 0]
}

/** A few bytes in the middle are not what they were. */
function damaged(payload: Uint8Array, length: number): Uint8Array {
  const copy = payload.slice(0, length)
  copy.set([91, 34, 123], length >>> 1)
  return copy
}
