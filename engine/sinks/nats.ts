import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  Events,
  headers,
  type JetStreamClient,
  type MsgHdrs,
  type NatsConnection,
  type PubAck,
} from 'nats'
import { backoffMs } from '../base/backoff.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { BLOCK_STREAM, blockSubject, LETTER_HEAD_BYTES_MAX, producerWord } from '../record/streams.ts'
import { type GateMemories, whenOpen } from './gate.ts'
import { hopHeaders } from './hops.ts'
import {
  LARGE_BLOCKS_DEFAULT,
  LARGE_PAYLOAD_BYTES_MIN,
  type LargeBlocksOptions,
  largeHeaders,
  putLargeBlock,
} from './large-blocks.ts'
import { DOUBTED_HEADER, type Outcome, type SealedBlock, type Sink, triedName } from './sink.ts'

/**
 * NATS, the only module that speaks to the `nats` client (with intake.ts, which reads).
 *
 * A link is one connection that is made again and again for as long as the process lives. What cannot be sent while it is
 * down is refused at once: blocks wait in the spool, live messages are dropped and counted. The client's own memory is
 * never used as a queue.
 */
export interface NatsOptions {
  readonly url: string
  readonly user?: string
  readonly password?: string
  readonly token?: string
  /** a file as `nsc` writes it, read at each connect: it may be renewed while we run */
  readonly credsFile?: string
  readonly connectTimeoutMs: number
  readonly retryMsMin: number
  readonly retryMsMax: number
  readonly pingIntervalMs: number
  /** a block that is not acknowledged in this time is sent again with the same id */
  readonly ackTimeoutMs: number
  /** live messages on their way to a server that does not read; beyond that they are dropped */
  readonly liveBytesMax: number
  readonly largeBlocks: LargeBlocksOptions
}

export const NATS_DEFAULT: NatsOptions = {
  url: 'nats://127.0.0.1:4222',
  connectTimeoutMs: 2000,
  retryMsMin: 100,
  retryMsMax: 5000,
  pingIntervalMs: 5000,
  ackTimeoutMs: 5000,
  liveBytesMax: 16 * 1024 * 1024,
  largeBlocks: LARGE_BLOCKS_DEFAULT,
}

const TOLD_AGAIN_MS = 60_000
const NO_BYTES = new Uint8Array(0)
/** Two pings without an answer: the connection is dead. */
const PINGS_UNANSWERED_MAX = 2

function connectionOptions(options: NatsOptions, name: string): ConnectionOptions {
  return {
    servers: options.url,
    name,
    timeout: options.connectTimeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: options.retryMsMin,
    reconnectJitter: options.retryMsMin,
    pingInterval: options.pingIntervalMs,
    maxPingOut: PINGS_UNANSWERED_MAX,
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.credsFile === undefined ? {} : { authenticator: credsAuthenticator(readCreds(options.credsFile)) }),
  }
}

function readCreds(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    throw new Fault(
      'NATS_CREDENTIALS',
      `nats.credsFile = ${path} cannot be read (${code}): give the path of a credentials file`,
      EXIT_CONFIG,
    )
  }
}

/** Headers of a message; a name may have several values. */
export type Headers = Readonly<Record<string, readonly string[]>>

export function headersOf(found: MsgHdrs | undefined): Headers {
  return Object.fromEntries(found ?? [])
}

export function natsHeaders(wanted: Headers): MsgHdrs {
  const made = headers()
  for (const [name, values] of Object.entries(wanted)) for (const value of values) made.append(name, value)
  return made
}

/** Connects once. @throws Fault with one line when that is not possible. */
export async function connectNats(options: NatsOptions, name: string): Promise<NatsConnection> {
  try {
    return await connect(connectionOptions(options, name))
  } catch (error) {
    if (error instanceof Fault) throw error
    throw new Fault('NATS', connectLine(error, options), undefined, { cause: error })
  }
}

function connectLine(error: unknown, options: NatsOptions): string {
  if (error instanceof Fault) return error.message
  const { code = '', message = String(error) } = error as { code?: string; message?: string }
  if (code === 'AUTHORIZATION_VIOLATION' || code === 'AUTHENTICATION_EXPIRED') {
    return `NATS at ${options.url} refuses this user: correct nats.user and nats.password`
  }
  return `NATS at ${options.url} cannot be reached (${code === '' ? message : code}): start it, or correct nats.url`
}

/** The parts of the client's connection that it does not show: package.json has its exact version, and a test looks. */
interface OpenConnection {
  readonly protocol?: {
    readonly connected: boolean
    readonly infoReceived: boolean
    readonly transport?: { readonly socket?: unknown }
  }
}

/**
 * The socket of a connection, for whole commands that are written by hand: they may stand between any two of the client's
 * own. It is ready when the client itself would write to it.
 */
export function readySocketOf(connection: NatsConnection): Socket | undefined {
  const { protocol } = connection as unknown as OpenConnection
  const socket = protocol?.transport?.socket
  const isReady = protocol?.connected === true && protocol.infoReceived
  return isReady && socket instanceof Socket && socket.writable ? socket : undefined
}

export class NatsLink {
  readonly options: NatsOptions
  readonly #name: string
  readonly #meanwhile: string
  readonly #random: Random
  readonly #log: Log
  #connection: NatsConnection | undefined
  #isUp = false
  #trouble: string | undefined
  #running: Promise<void> | undefined
  readonly #stop = new AbortController()
  readonly #whenUp: ((connection: NatsConnection) => void)[] = []
  reconnects = 0
  #toldMs = Number.NEGATIVE_INFINITY
  #untoldCount = 0

  /**
   * @param name what the server shows for this connection
   * @param meanwhile what becomes of its messages while there is none, for people
   */
  constructor(options: NatsOptions, name: string, random: Random, log: Log, meanwhile = 'blocks wait in the spool') {
    this.options = options
    this.#meanwhile = meanwhile
    this.#name = name
    this.#random = random
    this.#log = log
  }

  /** @param gates nothing is connected before these are open */
  start(gates: GateMemories = []): void {
    this.#running ??= whenOpen(gates, this.#stop.signal).then(() => this.#keepConnected())
  }

  /** The connection while it is up, else undefined: then nothing may be given to the client. */
  up(): NatsConnection | undefined {
    return this.#isUp ? this.#connection : undefined
  }

  /** Calls the listener each time the connection comes up, and now if it is. The same connection may come up again. */
  whenUp(listener: (connection: NatsConnection) => void): void {
    this.#whenUp.push(listener)
    const connection = this.up()
    if (connection !== undefined) listener(connection)
  }

  /**
   * Hears these subjects from now on, over every connection that is made.
   * @param onMessage `bytes` are the receiver's to keep
   * @param onAgain they are heard again after a time without: messages may be missing
   */
  listen(
    subjects: readonly string[],
    onMessage: (subject: string, bytes: Uint8Array) => void,
    onAgain: () => void = () => {},
  ): void {
    let heard: NatsConnection | undefined
    this.whenUp((connection) => {
      const isAgain = heard !== undefined
      if (heard !== connection) for (const subject of subjects) this.#subscribe(connection, subject, onMessage)
      heard = connection // the client itself subscribes again when it reconnects
      if (isAgain) onAgain()
    })
  }

  #subscribe(connection: NatsConnection, subject: string, onMessage: (subject: string, bytes: Uint8Array) => void) {
    connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(message.subject, message.data)
        else this.#log.warn(`NATS at ${this.options.url} refuses to give us ${subject} (${error.message})`)
      },
    })
  }

  trouble(): string | undefined {
    return this.#isUp ? undefined : (this.#trouble ?? `NATS at ${this.options.url} is not connected yet`)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#isUp = false
    await this.#connection?.close()
    await this.#running
  }

  async #keepConnected(): Promise<void> {
    for (let attempt = 0; !this.#stop.signal.aborted; ) {
      try {
        const connection = await connect(connectionOptions(this.options, this.#name))
        attempt = 0
        await this.#live(connection)
      } catch (error) {
        this.#down(`${connectLine(error, this.options)}; ${this.#meanwhile}`)
        const pauseMs =
          this.options.retryMsMin + backoffMs(attempt++, this.options.retryMsMin, this.options.retryMsMax, this.#random)
        await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined)
      }
    }
  }

  /** The client reconnects by itself; this returns when it gave up (refused user, closed by us). */
  async #live(connection: NatsConnection): Promise<void> {
    this.#connection = connection
    if (this.#stop.signal.aborted) return connection.close()
    this.#cameUp()
    void this.#watch(connection)
    const error = await connection.closed()
    this.#isUp = false
    this.#connection = undefined
    if (error instanceof Error) throw error
  }

  /** The client does not end this stream when the connection is closed: nobody may wait for it. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === Events.Disconnect)
        this.#down(`NATS at ${this.options.url} is gone: waiting for it; ${this.#meanwhile}`)
      if (status.type === Events.Reconnect) this.#cameUp()
    }
  }

  #cameUp(): void {
    if (this.#trouble !== undefined) {
      this.reconnects++
      if (this.#untoldCount === 0) this.#log.info(`NATS at ${this.options.url} is connected again`)
    }
    this.#trouble = undefined
    this.#isUp = true
    const connection = this.#connection
    if (connection !== undefined) for (const listener of this.#whenUp) listener(connection)
  }

  #down(line: string): void {
    this.#isUp = false
    if (this.#stop.signal.aborted) return
    if (this.#trouble === undefined) this.#tellDown(line)
    this.#trouble = line
  }

  /** A connection that comes and goes is told once a minute, with how often it went in between. */
  #tellDown(line: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#toldMs < TOLD_AGAIN_MS) {
      this.#untoldCount++
      return
    }
    this.#log.warn(this.#untoldCount === 0 ? line : `${line} (it went ${this.#untoldCount} times more in between)`)
    this.#toldMs = nowMs
    this.#untoldCount = 0
  }
}

export interface NatsSinkStats {
  acks: number
  duplicates: number
  timeouts: number
  refused: number
  /** blocks longer than a message may be (large-blocks.ts) */
  large: number
  ackMsMax: number
}

/** Blocks into JetStream: published under their identity, done when the server acknowledged. */
export class NatsSink implements Sink {
  readonly name = 'jetstream'
  readonly stats: NatsSinkStats = { acks: 0, duplicates: 0, timeouts: 0, refused: 0, large: 0, ackMsMax: 0 }
  readonly #link: NatsLink
  readonly #log: Log
  #stream: { connection: NatsConnection; client: JetStreamClient } | undefined
  #trouble: string | undefined
  readonly isTransit = true
  /** where the newest acknowledged block stands in the stream */
  lastSeq = 0

  constructor(link: NatsLink, log: Log) {
    this.#link = link
    this.#log = log
  }

  trouble(): string | undefined {
    return this.#link.trouble() ?? this.#trouble
  }

  /** The client keeps a reference to the payload until it is written: a block's bytes are never reused, so that is safe. */
  async send(block: SealedBlock, againMs = 0): Promise<Outcome> {
    const connection = this.#link.up()
    if (connection === undefined) return 'retry'
    const { max_payload: payloadBytesMax = Number.POSITIVE_INFINITY } = connection.info ?? {}
    if (isTooLong(block, payloadBytesMax) && payloadBytesMax < LARGE_PAYLOAD_BYTES_MIN) {
      return this.#refused(
        `NATS at ${this.#link.options.url} takes ${payloadBytesMax} bytes, a block has ${block.payload.length}: raise max_payload in nats.conf; the block waits in the spool`,
      )
    }
    const startMs = performance.now()
    try {
      block.isDoubted = againMs !== 0
      const name = againMs === 0 ? block.messageId : triedName(block.messageId, againMs)
      const ack = await publishBlock(this.#clientOf(connection), connection, this.#link.options, block, name)
      if (isTooLong(block, payloadBytesMax)) this.stats.large++
      this.stats.acks++
      if (ack.duplicate) this.stats.duplicates++
      this.lastSeq = Math.max(this.lastSeq, ack.seq)
      this.stats.ackMsMax = Math.max(this.stats.ackMsMax, performance.now() - startMs)
      if (this.#trouble !== undefined) this.#log.info(`NATS at ${this.#link.options.url} acknowledges again`)
      this.#trouble = undefined
      return 'acknowledged'
    } catch (error) {
      return this.#failed(error)
    }
  }

  async close(): Promise<void> {
    await this.#link.close()
  }

  #clientOf(connection: NatsConnection): JetStreamClient {
    if (this.#stream?.connection !== connection) this.#stream = { connection, client: connection.jetstream() }
    return this.#stream.client
  }

  #failed(error: unknown): Outcome {
    const {
      code = '',
      message = '',
      api_error: api,
    } = error as { code?: string; message?: string; api_error?: { err_code: number; description: string } }
    const at = `NATS at ${this.#link.options.url}`
    if (code === 'TIMEOUT') {
      this.stats.timeouts++
      return this.#refused(
        `${at} is connected but does not acknowledge: check the disk of its JetStream; blocks wait in the spool`,
      )
    }
    if (code === '503')
      return this.#refused(
        `${at} has no stream ${BLOCK_STREAM}, or JetStream is off: create the stream or start the server with -js; blocks wait in the spool`,
      )
    return this.#refused(
      `${at} refuses blocks (${api === undefined ? `${code} ${message}` : `${api.err_code} ${api.description}`}); blocks wait in the spool`,
    )
  }

  #refused(line: string): Outcome {
    this.stats.refused++
    if (this.#link.up() !== undefined && this.#trouble !== line) this.#log.warn(line)
    this.#trouble = line
    return 'retry'
  }
}

const isTooLong = ({ payload }: SealedBlock, payloadBytesMax: number): boolean =>
  payload.length + LETTER_HEAD_BYTES_MAX > payloadBytesMax

/**
 * A block into the block stream; one that is longer than a message may be becomes an object first and then the message that
 * stands for it, so that whoever reads the message finds the bytes (large-blocks.ts).
 * @param name what the duplicate window knows it by. @throws as the client does
 */
export async function publishBlock(
  client: JetStreamClient,
  connection: NatsConnection,
  { ackTimeoutMs: timeout, largeBlocks }: NatsOptions,
  block: SealedBlock,
  name: string,
): Promise<PubAck> {
  const { payload, messageId, hops, isDoubted } = block
  const publish = (bytes: Uint8Array, note: Headers) =>
    client.publish(subjectOf(block), bytes, {
      ...{ msgID: name, timeout, expect: { streamName: BLOCK_STREAM } },
      headers: natsHeaders({
        ...(hops === undefined ? {} : hopHeaders(hops)),
        ...(isDoubted === true ? { [DOUBTED_HEADER]: ['1'] } : {}),
        ...note,
      }),
    })
  if (!isTooLong(block, connection.info?.max_payload ?? Number.POSITIVE_INFINITY)) return publish(payload, {})
  await putLargeBlock(connection, largeBlocks, {
    ...{ name: messageId, payload, timeoutMs: timeout },
    isAgain: name !== messageId, // what is there was lost, or could not be read
  })
  return publish(NO_BYTES, largeHeaders({ name: messageId, bytes: payload.length }))
}

/** `block.{table}.{exchange}.{producer}` */
export function subjectOf({ head }: SealedBlock): string {
  return `${blockSubject(head.table, head.exchange)}.${producerWord(head.producer)}`
}
