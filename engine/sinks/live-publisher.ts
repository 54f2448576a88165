import type { NatsConnection } from 'nats'
import type { NatsLink } from './nats.ts'

export interface LiveStats {
  published: number
  publishedBytes: number
  /** no connection, or a server that does not read */
  dropped: number
}

/** Live messages: at once or not at all. */
export class LivePublisher {
  readonly stats: LiveStats = { published: 0, publishedBytes: 0, dropped: 0 }
  readonly #link: NatsLink
  /** bytes given to the client since the last answer of the server to a ping behind them */
  #unconfirmedBytes = 0
  #isConfirming = false

  constructor(link: NatsLink) {
    this.#link = link
  }

  /** @param payload is the client's from here on. @returns false when the message was dropped. */
  tryPublish(subject: string, payload: Uint8Array): boolean {
    const connection = this.#link.up()
    const bytesMax = this.#link.options.liveBytesMax
    if (connection === undefined || this.#unconfirmedBytes + payload.length > bytesMax) {
      this.stats.dropped++
      return false
    }
    connection.publish(subject, payload)
    this.stats.published++
    this.stats.publishedBytes += payload.length
    this.#unconfirmedBytes += payload.length
    if (this.#unconfirmedBytes > bytesMax >> 2 && !this.#isConfirming) this.#confirm(connection)
    return true
  }

  /** A ping that is answered has pushed everything before it out of the client's memory. */
  #confirm(connection: NatsConnection): void {
    this.#isConfirming = true
    const before = this.#unconfirmedBytes
    const settle = () => {
      this.#isConfirming = false
      this.#unconfirmedBytes -= before
    }
    connection.flush().then(settle, settle)
  }
}
