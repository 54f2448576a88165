import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { unpack } from 'msgpackr'
import { KEEPER_LIMITS } from '../engine/book/keeper-settings.ts'
import { READ_RULES } from '../engine/exchanges/index.ts'
import { BLOCK, DATA, DRAIN, TICK } from '../engine/ring/frame.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'
import type { RecordedMessage } from '../engine/simulate/recording.ts'
import { type BookShardSettings, SHARD_DEFAULTS } from '../workers/shard.ts'
import { check } from './bench.ts'
import type { BenchMessages } from './messages.ts'
import { siblingUrl } from './paths.ts'
import type { PipelineAnswer, PipelineRun } from './pipeline-worker.ts'

/** Head, skew, rounding and the TICKs, a message. */
const AROUND_BYTES = 64
/** Takes all blocks of a pass: this thread only has to look at them afterwards. */
const BATCH_RING_BYTES = 64 << 20
const REQUEST_RING_BYTES = 64 << 10
/** At a million messages a second TICKs are rare; the recorded five minutes pass in a tenth of a second. */
const TICK_MS = 1000
const HI_MS = 4294967296 / 1e6

export const PIPELINE_BATCH = { rowsMax: 8192, bytesMax: 1 << 20, ageMsMax: 10_000 }
/** The product's default: twenty levels a side once a second of the recording; the peers make no such rows. */
export const PIPELINE_SNAPSHOTS = { intervalMs: 1000, depth: 20, checkpointSeconds: 0 }

export interface RowCounts {
  trades: number
  book_tickers: number
  book_deltas: number
}

export interface OwnPass {
  readonly answer: PipelineAnswer
  readonly rows: RowCounts
}

/** Our side: the worker thread stays for all passes, as the processes of the peers do. */
export class OwnPipeline {
  readonly #worker: Worker
  readonly #recording: BenchMessages
  readonly #settings: BookShardSettings
  readonly #batches = createRing(BATCH_RING_BYTES) // one for all passes, as in the product: fresh memory is paid for by its first writer

  private constructor(worker: Worker, recording: BenchMessages) {
    this.#worker = worker
    this.#recording = recording
    const { exchange, market } = recording.venue
    const { instrument } = recording
    // Where the book starts in the stream, nothing but frames lies in the ring, and the shard can run as a live one does.
    const isLive = instrument !== undefined && READ_RULES.get(exchange)?.sync(market).anchor === 'stream'
    this.#settings = {
      ...SHARD_DEFAULTS,
      exchange,
      market,
      instruments: isLive ? [instrument] : [],
      learnUnknown: !isLive,
      producer: 'bench',
      batch: PIPELINE_BATCH,
      snapshots: PIPELINE_SNAPSHOTS,
      live: false,
      publishes: false,
      keeper: KEEPER_LIMITS,
    }
  }

  static async start(recording: BenchMessages): Promise<OwnPipeline> {
    const worker = new Worker(siblingUrl(import.meta.url, 'pipeline-worker'))
    await once(worker, 'message')
    return new OwnPipeline(worker, recording)
  }

  async pass(): Promise<OwnPass> {
    const { messages, byteCount } = this.#recording
    const run: PipelineRun = {
      frames: createRing(2 ** Math.ceil(Math.log2(byteCount + messages.length * AROUND_BYTES))),
      batches: this.#batches,
      requests: createRing(REQUEST_RING_BYTES),
      settings: this.#settings,
    }
    feed(new RingWriter(run.frames), messages)
    const answered = once(this.#worker, 'message')
    this.#worker.postMessage(run)
    const [answer] = (await answered) as [PipelineAnswer]
    return { answer, rows: rowsIn(new RingReader(run.batches)) }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

function feed(writer: RingWriter, messages: readonly RecordedMessage[]): void {
  const nothing = new Uint8Array(0)
  const write = (kind: number, hi: number, lo: number, payload: Uint8Array) => {
    check(writer.tryWrite(kind, 0, 1, 0, hi, lo, payload), 'pipeline: the ring is too small for the recording')
  }
  let nextTickMs = 0
  for (const { receivedHi, receivedLo, bytes } of messages) {
    const nowMs = receivedHi * HI_MS + receivedLo / 1e6
    if (nowMs >= nextTickMs) {
      write(TICK, receivedHi, receivedLo, nothing)
      nextTickMs = nowMs + TICK_MS
    }
    write(DATA, receivedHi, receivedLo, bytes)
  }
  const last = messages.at(-1)
  write(DRAIN, last?.receivedHi ?? 0, last?.receivedLo ?? 0, nothing)
  writer.publish()
}

/** Rows of all blocks, read by plain msgpackr. */
function rowsIn(reader: RingReader): RowCounts {
  const rows: RowCounts = { trades: 0, book_tickers: 0, book_deltas: 0 }
  reader.drain((kind, bytes, offset, length) => {
    if (kind !== BLOCK) return
    const block = unpack(bytes.slice(offset, offset + length)) as { table: keyof RowCounts; rows: number }
    rows[block.table] += block.rows
  }, Number.POSITIVE_INFINITY)
  return rows
}
