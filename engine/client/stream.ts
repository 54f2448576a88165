/**
 * `/v1/stream` as an iterator that survives: it connects again and continues after the last message that came.
 *
 *   for await (const message of connectStream({ url, patterns: ['trade.binance.*.BTC*'] })) …
 *
 * A reader that is slower than the stream is waited for: the socket is not read meanwhile, so that the gateway conflates
 * what it may and closes the connection when that does not help. Nothing grows here beyond `queueMax` messages.
 */
import { Unpackr } from 'msgpackr'
import { backoffMs } from '../base/backoff.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import type { ControlMessage, StreamMessage } from './messages.ts'

/** The part of a WebSocket that is used: that of the browser, of Node 22, of `ws`. */
export interface StreamSocket {
  binaryType: string
  onopen: ((event: never) => void) | null
  onmessage: ((event: { readonly data: unknown }) => void) | null
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null
  onerror: ((event: { readonly message?: string }) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
  /** `ws` has these two */
  pause?(): void
  resume?(): void
}

export interface StreamOptions {
  /** of the gateway, e.g. http://127.0.0.1:9480 */
  readonly url: string
  /** `type.exchange.market.symbol`, `*` inside a word, `>` for the rest; type `book` is a verified book */
  readonly patterns: readonly string[]
  /** API key, where the gateway wants one */
  readonly key?: string
  /** on the wire; default json */
  readonly format?: 'json' | 'msgpack'
  /** levels a side of books; default: all */
  readonly depth?: number
  /** continue after this message of an earlier stream (`lastSeq`) */
  readonly from?: string
  /** messages that wait for the reader; default 10,000 */
  readonly queueMax?: number
  /** ends the stream */
  readonly signal?: AbortSignal
  /** default: that of the platform, else the package `ws` */
  readonly socket?: (url: string) => StreamSocket | Promise<StreamSocket>
}

/** The gateway says no, and will say it again: the stream ends. */
export class StreamRefusal extends Error {
  override readonly name = 'StreamRefusal'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export interface MarketStream extends AsyncIterable<StreamMessage> {
  /** of the message that was read last; '' before the first */
  readonly lastSeq: string
  /** of the frame that it came in */
  readonly lastBytes: number
  subscribe(patterns: readonly string[], depth?: number): void
  unsubscribe(patterns: readonly string[]): void
  close(): void
}

const QUEUE_MAX = 10_000
const BACKOFF_FLOOR_MS = 250
const BACKOFF_CAP_MS = 10_000
/** The gateway speaks every 10 s. */
const SILENCE_MS_MAX = 30_000
/** The gateway closes who has no good key, or says too much. */
const CLOSE_POLICY = 1008
/** Who said too much, or came too often, comes back later: what is wanted is asked for in a few messages then. */
const TOO_MUCH = /^more than \d+ messages a second/
const TOO_MUCH_MS = 2_000
/** Of all that the gateway refuses only these may be allowed a moment later. */
const PASSING_CODES = ['too_many_requests', 'too_many_connections', 'overloaded']
/** As `ws` says it; 408 and 429 may be allowed a moment later. */
const FINAL_STATUS = /Unexpected server response: (4(?!08|29)\d\d)/
const BOOK_WORD = 'book.'
/** Of one message: the gateway takes 1,000, and 64 KiB. */
const PATTERNS_MAX = 500
const PATTERN_CHARS_MAX = 32 * 1024

const UNPACKR = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'string' })

export function connectStream(options: StreamOptions): MarketStream {
  return new Stream(options)
}

class Stream implements MarketStream {
  readonly #options: StreamOptions
  readonly #url: string
  readonly #random = seededRandom(freshSeed())
  /** pattern → levels a side */
  readonly #patterns = new Map<string, number | undefined>()
  readonly #queue: { readonly message: StreamMessage; readonly bytes: number }[] = []
  readonly #queueMax: number
  #read = 0
  #socket: StreamSocket | undefined
  #isOpen = false
  #isPaused = false
  #isEnded = false
  #failure: Error | undefined
  /** of the last message that came */
  #cameSeq: string
  /** questions for what was missed that are not answered yet, and how many there were */
  #resumesLeft = 0
  #resumes = 0
  /** the gateway said no, but may say yes later */
  #isPutOff = false
  #attempt = 0
  #requestId = 0
  /** of the last question of this connection; 0: all are answered */
  #awaitedId = 0
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  #silenceTimer: ReturnType<typeof setTimeout> | undefined
  #wake: () => void = () => {}
  lastSeq = ''
  lastBytes = 0

  constructor(options: StreamOptions) {
    this.#options = options
    this.#url = streamUrl(options)
    this.#queueMax = options.queueMax ?? QUEUE_MAX
    this.#cameSeq = options.from ?? ''
    for (const pattern of options.patterns) this.#patterns.set(pattern, options.depth)
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    if (options.signal?.aborted === true) this.close()
    else void this.#connect()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamMessage, void, undefined> {
    try {
      for (;;) {
        const message = this.#next()
        if (message !== undefined) yield message
        else if (this.#failure !== undefined) throw this.#failure
        else if (this.#isEnded) return
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.close()
    }
  }

  subscribe(patterns: readonly string[], depth = this.#options.depth): void {
    for (const pattern of patterns) this.#patterns.set(pattern, depth)
    if (this.#isOpen) for (const some of pieces(patterns)) this.#ask(some, depth)
  }

  unsubscribe(patterns: readonly string[]): void {
    for (const pattern of patterns) this.#patterns.delete(pattern)
    if (this.#isOpen) for (const some of pieces(patterns)) this.#say({ op: 'unsubscribe', patterns: some })
  }

  close(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#silenceTimer)
    this.#socket?.close(1000)
    this.#wake()
  }

  /** The queue is shifted in one go, not once a message. */
  #next(): StreamMessage | undefined {
    const next = this.#queue[this.#read]
    if (next === undefined) return undefined
    const { message } = next
    this.lastBytes = next.bytes
    if (++this.#read === this.#queue.length) {
      this.#queue.length = 0
      this.#read = 0
    }
    if ('seq' in message) this.lastSeq = message.seq
    if (this.#isPaused && this.#queue.length - this.#read < this.#queueMax / 2) this.#unpause()
    return message
  }

  #push(message: StreamMessage, bytes = 0): void {
    this.#queue.push({ message, bytes })
    if (!this.#isPaused && this.#queue.length - this.#read >= this.#queueMax) this.#pause()
    this.#wake()
  }

  #pause(): void {
    this.#isPaused = true
    clearTimeout(this.#silenceTimer)
    const socket = this.#socket
    if (socket?.pause !== undefined) socket.pause()
    else socket?.close(4000, 'the reader is too slow') // connected again when it has read
  }

  #unpause(): void {
    this.#isPaused = false
    if (this.#socket === undefined) void this.#connect()
    else {
      this.#socket.resume?.()
      this.#heard()
    }
  }

  async #connect(): Promise<void> {
    let socket: StreamSocket
    try {
      socket = await (this.#options.socket ?? platformSocket)(this.#url)
    } catch (error) {
      return this.#fail(error as Error)
    }
    if (this.#isEnded) return socket.close()
    this.#socket = socket
    let trouble = ''
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.#onOpen()
    socket.onmessage = ({ data }) => this.#onData(data)
    socket.onerror = ({ message = '' }) => {
      trouble = message
    }
    socket.onclose = ({ code, reason }) => this.#onClose(code, reason === '' ? trouble : reason)
    this.#heard()
  }

  #onOpen(): void {
    this.#isOpen = true
    const { key } = this.#options
    if (key !== undefined && key !== '') this.#say({ op: 'auth', key })
    this.#askAll()
  }

  /** Messages of rows continue where they ended; books come whole, in each depth. */
  #askAll(): void {
    const byDepth = new Map<number | undefined, string[]>()
    const rows: string[] = []
    for (const [pattern, depth] of this.#patterns) {
      if (!pattern.startsWith(BOOK_WORD)) rows.push(pattern)
      else byDepth.set(depth, [...(byDepth.get(depth) ?? []), pattern])
    }
    const parts = pieces(rows)
    this.#resumes = this.#cameSeq === '' ? 0 : parts.length
    this.#resumesLeft = this.#resumes
    for (const some of parts) this.#ask(some, undefined, this.#cameSeq)
    for (const [depth, patterns] of byDepth) for (const some of pieces(patterns)) this.#ask(some, depth)
    this.#awaitedId = this.#requestId
    if (this.#patterns.size === 0) this.#opened()
  }

  #opened(): void {
    this.#awaitedId = 0
    this.#attempt = 0 // a gateway that takes and drops connections is left alone, too
    this.#push({ type: 'connection', state: 'open', reason: this.#url })
  }

  #ask(patterns: readonly string[], depth: number | undefined, from = ''): void {
    this.#say({
      op: 'subscribe',
      id: ++this.#requestId,
      patterns,
      ...(depth === undefined ? {} : { depth }),
      ...(from === '' ? {} : { from }),
    })
  }

  #say(request: object): void {
    this.#socket?.send(JSON.stringify(request))
  }

  #onData(data: unknown): void {
    this.#heard()
    const packed = typeof data === 'string' ? undefined : new Uint8Array(data as ArrayBuffer)
    const message = (packed === undefined ? JSON.parse(data as string) : UNPACKR.unpack(packed)) as
      | StreamMessage
      | ControlMessage
    if ('op' in message) return this.#onControl(message)
    // while several parts are made up for, what came of one says nothing of the others
    const isNext = this.#resumesLeft === 0 || (this.#resumes === 1 && 'rows' in message)
    if ('seq' in message && isNext) this.#cameSeq = message.seq
    this.#push(message, packed === undefined ? (data as string).length : packed.length)
  }

  #onControl({ op, id, code = '', message = '', seq }: ControlMessage): void {
    if (op === 'subscribed' && id === this.#awaitedId) this.#opened()
    if (op === 'error' && code === 'resume_expired') this.#resumed('gap', message)
    else if (op === 'error' && PASSING_CODES.includes(code)) this.#isPutOff = true
    else if (op === 'error') return this.#fail(new StreamRefusal(code, message))
    else if (op === 'resumed') this.#resumed('resumed', '')
    if (seq !== undefined && this.#resumesLeft === 0) this.#cameSeq = seq // a quiet stream continues at the newest, too
  }

  #resumed(state: 'resumed' | 'gap', reason: string): void {
    if (this.#resumesLeft > 0) this.#resumesLeft--
    if (state === 'gap' || this.#resumesLeft === 0) this.#push({ type: 'connection', state, reason })
  }

  #heard(): void {
    clearTimeout(this.#silenceTimer)
    if (this.#isPaused) return
    this.#silenceTimer = setTimeout(() => this.#socket?.close(4001, 'silent'), SILENCE_MS_MAX)
  }

  #onClose(code: number, reason: string): void {
    const wasOpen = this.#isOpen
    this.#socket = undefined
    this.#isOpen = false
    clearTimeout(this.#silenceTimer)
    if (this.#isEnded) return
    const isPutOff = this.#isPutOff || TOO_MUCH.test(reason)
    this.#isPutOff = false
    if (code === CLOSE_POLICY && !isPutOff) return this.#fail(new StreamRefusal('refused', reason))
    const status = FINAL_STATUS.exec(reason)?.[1]
    if (!wasOpen && status !== undefined)
      return this.#fail(new StreamRefusal(status, `${this.#url} answers ${status}: check the URL and the key`))
    if (wasOpen || this.#attempt === 0)
      this.#push({ type: 'connection', state: 'closed', reason: reason === '' ? `code ${code}` : reason })
    if (this.#isPaused) return
    const pauseMs = backoffMs(this.#attempt++, BACKOFF_FLOOR_MS, BACKOFF_CAP_MS, this.#random)
    const delayMs = isPutOff ? TOO_MUCH_MS + pauseMs : pauseMs
    this.#retryTimer = setTimeout(() => void this.#connect(), delayMs)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.close()
  }
}

/** Patterns in as few messages as the gateway takes. */
function pieces(patterns: readonly string[]): string[][] {
  const parts: string[][] = []
  let chars = 0
  for (const pattern of patterns) {
    const last = parts.at(-1)
    if (last === undefined || last.length === PATTERNS_MAX || chars + pattern.length > PATTERN_CHARS_MAX) {
      parts.push([pattern])
      chars = pattern.length
    } else {
      last.push(pattern)
      chars += pattern.length
    }
  }
  return parts
}

/** http://host:9480 → ws://host:9480/v1/stream?format=… */
function streamUrl({ url, format = 'json' }: StreamOptions): string {
  const target = new URL(url)
  target.protocol = target.protocol.replace(/^http/, 'ws')
  target.pathname = target.pathname.replace(/\/?(v1\/stream)?$/, '/v1/stream')
  target.searchParams.set('format', format)
  return target.href
}

async function platformSocket(url: string): Promise<StreamSocket> {
  const { WebSocket: own } = globalThis as { WebSocket?: new (url: string) => StreamSocket }
  // that of Node cannot be paused
  const isNode = 'process' in globalThis
  if (own !== undefined && !isNode) return new own(url)
  const { WebSocket } = await import('ws')
  return new WebSocket(url, { perMessageDeflate: false }) as unknown as StreamSocket
}
