import type { SubscribeFrame } from '../exchanges/exchange.ts'
import type { FeedTime } from './timer.ts'

export interface SubscriberOptions {
  readonly time: FeedTime
  readonly send: (text: string) => void
  /** between two messages: the venue counts them */
  readonly spacingMs: number
  readonly ackTimeoutMs: number
  /** the socket is paused: an acknowledgement may lie unread in the kernel */
  readonly isPaused: () => boolean
  readonly onComplete: () => void
  readonly onFault: (reason: string) => void
}

interface Waiting {
  readonly cancel: () => void
  /** tokens not yet acknowledged */
  readonly missing: Set<string>
}

/** Missing acknowledgements are asked for once more, then the socket is given up. */
const SENDS_MAX = 2

/**
 * The subscribing of one socket: sends the frames one by one below the venue's message rate and checks that each is
 * acknowledged. A frame is answered or sent again or fatal; there is no fourth way.
 */
export class Subscriber {
  readonly #frames: readonly SubscribeFrame[]
  readonly #options: SubscriberOptions
  readonly #waiting: Map<number, Waiting> = new Map() // by id of the frame
  #cancelNext: () => void = () => {}
  #sentCount = 0
  #nextId: number
  #isStopped = false

  constructor(frames: readonly SubscribeFrame[], options: SubscriberOptions) {
    this.#frames = frames
    this.#options = options
    this.#nextId = Math.max(0, ...frames.map((frame) => frame.id)) + 1
  }

  start(): void {
    this.#sendNext()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelNext()
    for (const { cancel } of this.#waiting.values()) cancel()
    this.#waiting.clear()
  }

  /** An id that no frame of this socket has used. */
  takeId(): number {
    return this.#nextId++
  }

  acknowledge(tokens: readonly string[]): void {
    for (const [id, { cancel, missing }] of this.#waiting) {
      for (const token of tokens) missing.delete(token)
      if (missing.size > 0) continue
      cancel()
      this.#waiting.delete(id)
    }
    if (this.#waiting.size === 0 && this.#sentCount === this.#frames.length) this.#options.onComplete()
  }

  #sendNext(): void {
    const frame = this.#frames[this.#sentCount]
    if (frame === undefined) return
    this.#sentCount++
    this.#send(frame, 1)
    if (!this.#isStopped) this.#cancelNext = this.#options.time.after(this.#options.spacingMs, () => this.#sendNext())
  }

  #send(frame: SubscribeFrame, sends: number): void {
    this.#expect(frame, sends)
    this.#options.send(frame.text)
  }

  #expect(frame: SubscribeFrame, sends: number): void {
    const { time, ackTimeoutMs, isPaused, onFault } = this.#options
    const dueMs = time.monotonicMs() + ackTimeoutMs
    const cancel = time.after(ackTimeoutMs, () => {
      // we did not listen, or this thread is late itself: the answer may be there, so wait once more
      if (isPaused() || time.monotonicMs() - dueMs > ackTimeoutMs / 2) return this.#expect(frame, sends)
      if (sends >= SENDS_MAX) return onFault(`ACK_MISSING id ${frame.id}, sent ${sends} times`)
      this.#send(frame, sends + 1)
    })
    this.#waiting.set(frame.id, { cancel, missing: this.#waiting.get(frame.id)?.missing ?? new Set(frame.tokens) })
  }
}
