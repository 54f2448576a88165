import type { Clock } from '../engine/base/clock.ts'
import type { Log } from '../engine/base/log.ts'
import type { Random } from '../engine/base/random.ts'
import { WANT_BOOK_SUBJECT } from '../engine/record/streams.ts'
import { LIVE, PUBLICATION, receivedHi, receivedLo } from '../engine/ring/frame.ts'
import { Histogram } from '../engine/ring/histogram.ts'
import { RingWriter } from '../engine/ring/ring.ts'
import { LivePublisher } from '../engine/sinks/live-publisher.ts'
import { NatsLink, type NatsOptions } from '../engine/sinks/nats.ts'

/**
 * The live path of the sink worker: what book workers sent goes on at once or not at all.
 *
 *   batch ring ─► LIVE        ─► ring of the gateway, where this process serves
 *              │              └► NATS, where there is one and live.enabled
 *              └► PUBLICATION ─► NATS
 *
 * Arithmetic: 20,000 messages/s; a copy from ring to ring is 0.2 µs, a publish 1 µs.
 */
export interface SinkLiveSettings {
  /** for live messages and publications */
  readonly nats?: NatsOptions
  /** whether LIVE goes to NATS, too */
  readonly isPublished: boolean
  /** memory of the ring that the gateway reads */
  readonly gateway?: SharedArrayBuffer
  /** memories of the histograms receive → message handed on, one a shard */
  readonly latencies: readonly SharedArrayBuffer[]
}

/** What the sink worker shares with it. */
export interface SinkLiveSurroundings {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** records between two calls of `endOfDrain` */
  readonly recordsMax: number
  /** messages that found no room for the gateway in earlier lives of the worker */
  readonly dropsBefore: number
  /** Somebody elsewhere wants these books, `{exchange}.{market}.{symbol}`. */
  onWanted(books: readonly string[]): void
}

/** Wants of this time are told to the main thread in one message. */
const WANTS_GATHERED_MS = 20
/** More books than a process has; what floods us beyond is thrown away. */
const WANTS_MAX = 10_000
const WANT_BYTES_MAX = 1_024
const RECORD_BYTES = 64 * 1024
const SUBJECT_HEAD_BYTES = 2
const NOTHING_PUBLISHED = { published: 0, publishedBytes: 0, dropped: 0 }

export class SinkLive {
  readonly #clock: Clock
  readonly #onWanted: (books: readonly string[]) => void
  readonly #link: NatsLink | undefined
  readonly #publisher: LivePublisher | undefined
  readonly #isPublished: boolean
  readonly #gateway: RingWriter | undefined
  readonly #latencies: readonly Histogram[]
  readonly #stamps: { hi: Float64Array; lo: Float64Array; count: number }
  #given = 0
  #notGiven: number
  /** A record out of the ring, whole and from 0 on: shared memory is copied by words only then. */
  #record = new Uint8Array(RECORD_BYTES)
  #wants = new Set<string>()

  constructor(settings: SinkLiveSettings, around: SinkLiveSurroundings) {
    const { nats, gateway, latencies, isPublished } = settings
    const { clock, random, log, recordsMax, dropsBefore, onWanted } = around
    this.#clock = clock
    this.#onWanted = onWanted
    this.#isPublished = isPublished
    this.#latencies = latencies.map((memory) => new Histogram(memory))
    this.#stamps = { hi: new Float64Array(recordsMax), lo: new Float64Array(recordsMax), count: 0 }
    this.#notGiven = dropsBefore
    if (gateway !== undefined) this.#gateway = new RingWriter(gateway)
    if (nats === undefined) return
    this.#link = new NatsLink(nats, 'marketprism live', random, log, 'live messages are dropped')
    this.#publisher = new LivePublisher(this.#link)
    if (isPublished) this.#link.listen([WANT_BOOK_SUBJECT], (_, bytes) => this.#want(bytes))
    this.#link.start()
  }

  /** counters of the sink worker */
  values(): { live: number; liveBytes: number; liveDropped: number; gatewayLive: number; gatewayDropped: number } {
    const { published, publishedBytes, dropped } = this.#publisher?.stats ?? NOTHING_PUBLISHED
    const gateway = { gatewayLive: this.#given, gatewayDropped: this.#notGiven }
    return { live: published, liveBytes: publishedBytes, liveDropped: dropped, ...gateway }
  }

  /** One record of a batch ring. */
  take(kind: typeof LIVE | typeof PUBLICATION, bytes: Uint8Array, offset: number, length: number): void {
    const isGiven = kind === LIVE && this.#give(bytes, offset, length)
    const isSent = (kind === PUBLICATION || this.#isPublished) && this.#publish(bytes, offset, length)
    if (!isGiven && !isSent) return
    const stamps = this.#stamps
    stamps.hi[stamps.count] = receivedHi(bytes, offset)
    stamps.lo[stamps.count] = receivedLo(bytes, offset)
    stamps.count++
  }

  /** What was taken since the last call came from this shard. */
  endOfDrain(shard: number): void {
    this.#gateway?.publish()
    this.#publisher?.flush()
    if (this.#stamps.count > 0) this.#flushStamps(this.#latencies[shard] as Histogram)
  }

  async close(): Promise<void> {
    await this.#link?.close()
  }

  /** Into the gateway's ring, or nowhere: it never holds anything up. */
  #give(bytes: Uint8Array, offset: number, length: number): boolean {
    const ring = this.#gateway
    if (ring === undefined) return false
    const [hi, lo] = [receivedHi(bytes, offset), receivedLo(bytes, offset)]
    const drops = this.#notGiven >>> 0
    const hasRoom = length <= ring.payloadBytesMax
    const isGiven = hasRoom && ring.tryWrite(LIVE, 0, 0, drops, hi, lo, bytes, offset, length)
    if (isGiven) this.#given++
    else this.#notGiven++
    return isGiven
  }

  #publish(bytes: Uint8Array, offset: number, length: number): boolean {
    if (this.#publisher === undefined) return false
    if (this.#record.length < length) this.#record = new Uint8Array(2 ** Math.ceil(Math.log2(length)))
    const record = this.#record
    record.set(bytes.subarray(offset, offset + length))
    const start = SUBJECT_HEAD_BYTES + ((record[0] as number) | ((record[1] as number) << 8))
    return this.#publisher.tryPublish(record.subarray(SUBJECT_HEAD_BYTES, start), record.subarray(start, length))
  }

  #flushStamps(latency: Histogram): void {
    const { hi, lo, count } = this.#stamps
    this.#stamps.count = 0
    const now = this.#clock.stamp()
    for (let index = 0; index < count; index++)
      latency.record((now.hi - (hi[index] as number)) * 2 ** 32 + (now.lo - (lo[index] as number)))
  }

  #want(bytes: Uint8Array): void {
    const book = bytes.length > WANT_BYTES_MAX ? undefined : wantedBook(bytes)
    if (book === undefined || this.#wants.size >= WANTS_MAX) return
    if (this.#wants.size === 0) setTimeout(() => this.#tellWants(), WANTS_GATHERED_MS)
    this.#wants.add(book)
  }

  #tellWants(): void {
    const books = [...this.#wants]
    this.#wants = new Set()
    this.#onWanted(books)
  }
}

/** The instrument of a message on WANT_BOOK_SUBJECT; undefined where it is none: everybody may send there. */
function wantedBook(bytes: Uint8Array): string | undefined {
  try {
    const { exchange, market, symbol } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>
    const isName = [exchange, market, symbol].every((part) => typeof part === 'string' && part !== '')
    return isName ? `${exchange}.${market}.${symbol}` : undefined
  } catch {
    return undefined
  }
}
