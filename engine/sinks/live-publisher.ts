/**
 * Live messages to NATS: at once or not at all. They are most of what the sink worker does, so the command around each
 * (`PUB subject length␍␊payload␍␊`, https://docs.nats.io/reference/reference-protocols/nats-protocol) is written here, into
 * memory that is used again, and goes to the socket of the client's connection with one write a turn.
 *
 *   record ─► pending (128 KiB, or one larger message) ──flush──► slab ─► socket
 *
 * By way of the client's own `publish` each message is three arrays outside of the heap and a copy of all of them together:
 * 30 MB/s at 10,000 messages/s and 400 books/s, for which V8 collects the whole heap three times a second (7 ms in which
 * nothing live goes out, and twice as much on other threads).
 */
import type { Socket } from 'node:net'
import type { NatsConnection } from 'nats'
import { Slabs } from '../base/slabs.ts'
import { type NatsLink, readySocketOf } from './nats.ts'

export interface LiveStats {
  published: number
  publishedBytes: number
  /** no connection, or a server that does not read */
  dropped: number
}

const PENDING_BYTES = 128 * 1024
const PUB = Buffer.from('PUB ')
const CRLF = Buffer.from('\r\n')
const SPACE = 32
/** The word, two blanks, ten digits, two ends of line. */
const COMMAND_BYTES_MAX = 4 + 2 + 10 + 4

export class LivePublisher {
  readonly stats: LiveStats = { published: 0, publishedBytes: 0, dropped: 0 }
  readonly #link: NatsLink
  readonly #slabs = new Slabs()
  #pending = Buffer.allocUnsafeSlow(PENDING_BYTES)
  #pendingBytes = 0
  #pendingMessages = 0
  #pendingPayloadBytes = 0
  /** bytes given to the client since the last answer of the server to a ping behind them */
  #unconfirmedBytes = 0
  #isConfirming = false

  constructor(link: NatsLink) {
    this.#link = link
  }

  /**
   * Goes out with the next `flush`, or before.
   * @param subject UTF-8 @param payload both are copied
   * @returns false when the message was dropped.
   */
  tryPublish(subject: Uint8Array, payload: Uint8Array): boolean {
    const connection = this.#link.up()
    if (connection === undefined || !this.#hasRoom(connection, payload.length)) {
      this.stats.dropped++
      return false
    }
    const bytes = COMMAND_BYTES_MAX + subject.length + payload.length
    if (this.#pendingBytes + bytes > this.#pending.length) this.#makeRoom(bytes)
    this.#append(subject, payload)
    return true
  }

  #hasRoom(connection: NatsConnection, bytes: number): boolean {
    const payloadBytesMax = connection.info?.max_payload ?? Number.POSITIVE_INFINITY
    const waiting = this.#unconfirmedBytes + this.#pendingPayloadBytes
    return bytes <= payloadBytesMax && waiting + bytes <= this.#link.options.liveBytesMax
  }

  #makeRoom(bytes: number): void {
    this.flush()
    if (bytes > this.#pending.length) this.#pending = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes)))
  }

  #append(subject: Uint8Array, payload: Uint8Array): void {
    const pending = this.#pending
    let at = this.#pendingBytes
    pending.set(PUB, at)
    pending.set(subject, at + PUB.length)
    at += PUB.length + subject.length
    pending[at++] = SPACE
    at += pending.write(`${payload.length}\r\n`, at, 'latin1')
    pending.set(payload, at)
    at += payload.length
    pending.set(CRLF, at)
    this.#pendingBytes = at + CRLF.length
    this.#pendingMessages++
    this.#pendingPayloadBytes += payload.length
  }

  /** Gives to the socket what waits. */
  flush(): void {
    if (this.#pendingMessages === 0) return
    const connection = this.#link.up()
    const socket = connection && readySocketOf(connection)
    if (connection === undefined || socket === undefined) this.stats.dropped += this.#pendingMessages
    else this.#write(connection, socket)
    this.#pendingBytes = 0
    this.#pendingMessages = 0
    this.#pendingPayloadBytes = 0
  }

  #write(connection: NatsConnection, socket: Socket): void {
    const piece = this.#slabs.join([this.#pending.subarray(0, this.#pendingBytes)], this.#pendingBytes)
    socket.write(piece.bytes, piece.done) // a socket that breaks is noticed by the client
    this.stats.published += this.#pendingMessages
    this.stats.publishedBytes += this.#pendingPayloadBytes
    this.#unconfirmedBytes += this.#pendingPayloadBytes
    if (this.#unconfirmedBytes > this.#link.options.liveBytesMax >> 2 && !this.#isConfirming) this.#confirm(connection)
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
