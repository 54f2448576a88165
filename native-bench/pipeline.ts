import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { unpack } from 'msgpackr'
import { KEEPER_LIMITS } from '../engine/book/keeper-settings.ts'
import { BLOCK, DATA, DRAIN, TICK } from '../engine/ring/frame.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'
import type { RecordedMessage } from '../engine/simulate/recording.ts'
import { type BookShardSettings, SHARD_DEFAULTS } from '../workers/shard.ts'
import { type BenchContext, type BenchResult, check, ratio, WrongAnswer } from './bench.ts'
import { type Measured, measured } from './measure.ts'
import { type BenchMessages, MARKET, textOf } from './messages.ts'
import { siblingUrl } from './paths.ts'
import { type Answer, type PeerInput, buildCeiling, installPeers, peerRate, runCeiling, runPeer } from './peers.ts'
import type { PipelineAnswer, PipelineRun } from './pipeline-worker.ts'

/** Head, skew, rounding and the TICKs, a message. */
const AROUND_BYTES = 64
/** Takes all blocks of a run: this thread only has to look at them afterwards. */
const BATCH_RING_BYTES = 64 << 20
const REQUEST_RING_BYTES = 64 << 10
/** At a million messages a second TICKs are rare; the recorded five minutes pass in a tenth of a second. */
const TICK_MS = 1000
const HI_MS = 4294967296 / 1e6
const CCXT_RUNS_MAX = 3
/** Passes before the watch counts: a pass is too short to compile everything. The peers have as many (peers/peer.mjs), ccxt.pro fewer: its pass takes seconds. */
const WARM_RUNS = 10

const SETTINGS: Omit<BookShardSettings, 'market'> = {
  ...SHARD_DEFAULTS,
  instruments: [],
  learnUnknown: true,
  producer: 'bench',
  batch: { rowsMax: 8192, bytesMax: 1 << 20, ageMsMax: 10_000 },
  // the product's default: twenty levels a side once a second of the recording; the peers make no such rows
  snapshots: { intervalMs: 1000, depth: 20 },
  live: false,
  publishes: false,
  keeper: KEEPER_LIMITS,
}

interface Counts {
  trades: number
  book_tickers: number
  book_deltas: number
}

/**
 * ring → scan → book → columns of blocks, in one worker thread. All messages lie in the ring before the worker begins, as
 * they lie in the memory of the peers: its time is that of this one thread, whatever else runs on few cores. The peers
 * (tardis-dev, ccxt.pro, the C++ ceiling) run in processes of their own; all must end with the same top of book and counts.
 */
export async function pipeline({ recording, runCount, say }: BenchContext): Promise<BenchResult> {
  const expected = countsOf(recording)
  const worker = new Worker(siblingUrl(import.meta.url, 'pipeline-worker'))
  await once(worker, 'message')
  const answers: PipelineAnswer[] = []
  const batches = createRing(BATCH_RING_BYTES) // one for all runs, as in the product: fresh memory is paid for by its first writer
  for (let run = 0; run < WARM_RUNS + runCount; run++) {
    const { answer, rows } = await oneRun(worker, recording, batches)
    for (const table of ['trades', 'book_tickers', 'book_deltas'] as const)
      check(rows[table] === expected[table], `pipeline: ${rows[table]} rows of ${table}, ${expected[table]} messages`)
    check(answer.counts.rejected === 0, `pipeline: ${answer.counts.rejected} messages were rejected`)
    if (run >= WARM_RUNS) answers.push(answer)
  }
  await worker.terminate()
  const last = answers.at(-1) as PipelineAnswer
  const ours = measured(
    recording.messages.length,
    answers.map(({ busy }) => busy),
  )
  const cpu = measured(
    recording.messages.length,
    answers.map(({ cpu, busy }) => cpu || busy),
  )
  const answer: Answer = { bid: last.bid, ask: last.ask, trades: expected.trades, tickers: expected.book_tickers }
  const { others, notes } = await runOthers(
    { file: recording.textFile, symbol: recording.symbol, runCount },
    answer,
    last,
    recording,
    say,
  )
  const ratios = {
    vsTardisDev: ratio(ours, others.tardisDev ?? null),
    vsCcxtPro: ratio(ours, others.ccxtPro ?? null),
    vsCcxtProWatched: ratio(ours, others.ccxtProWatched ?? null),
    vsNative: ratio(ours, others.native ?? null),
  }
  return { ...ours, unit: 'messages/s', ratios, others: { ...others, byCpuTime: cpu }, notes }
}

async function oneRun(
  worker: Worker,
  recording: BenchMessages,
  batches: SharedArrayBuffer,
): Promise<{ answer: PipelineAnswer; rows: Counts }> {
  const { messages, byteCount } = recording
  const run: PipelineRun = {
    frames: createRing(2 ** Math.ceil(Math.log2(byteCount + messages.length * AROUND_BYTES))),
    batches,
    requests: createRing(REQUEST_RING_BYTES),
    settings: { ...SETTINGS, market: MARKET.split('.')[1] as string },
  }
  feed(new RingWriter(run.frames), messages)
  const answered = once(worker, 'message')
  worker.postMessage(run)
  const [answer] = (await answered) as [PipelineAnswer]
  return { answer, rows: rowsIn(new RingReader(run.batches)) }
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
function rowsIn(reader: RingReader): Counts {
  const rows: Counts = { trades: 0, book_tickers: 0, book_deltas: 0 }
  reader.drain((kind, bytes, offset, length) => {
    if (kind !== BLOCK) return
    const block = unpack(bytes.slice(offset, offset + length)) as { table: keyof Counts; rows: number }
    rows[block.table] += block.rows
  }, Number.POSITIVE_INFINITY)
  return rows
}

function countsOf(recording: BenchMessages): Counts {
  const counts: Counts = { trades: 0, book_tickers: 0, book_deltas: 0 }
  for (const message of recording.messages) {
    const { stream } = JSON.parse(textOf(message)) as { stream?: string }
    if (stream?.endsWith('@trade')) counts.trades++
    else if (stream?.endsWith('@bookTicker')) counts.book_tickers++
    else if (stream?.includes('@depth')) counts.book_deltas++
  }
  return counts
}

async function runOthers(
  input: PeerInput,
  answer: Answer,
  last: PipelineAnswer,
  recording: BenchMessages,
  say: (line: string) => void,
): Promise<{ others: Record<string, Measured>; notes: string[] }> {
  const others: Record<string, Measured> = {}
  const notes: string[] = []
  const take = async (name: string, run: () => Promise<Parameters<typeof peerRate>[0]>) => {
    const found = await run()
    others[name] = peerRate(found, answer, recording.messages.length)
    notes.push(`${name}: ${found.peer} ${found.version}`)
  }
  try {
    await installPeers(say)
    await take('tardisDev', () => runPeer('tardis-dev', input))
    const fewer = { ...input, runCount: Math.min(input.runCount, CCXT_RUNS_MAX) }
    await take('ccxtPro', () => runPeer('ccxt-pro', fewer))
    await take('ccxtProWatched', () => runPeer('ccxt-pro', fewer, ['watched']))
  } catch (error) {
    if (error instanceof WrongAnswer) throw error
    notes.push(`no peers: ${(error as Error).message.split('\n', 1)[0]}`)
  }
  const ceiling = await buildCeiling()
  if ('reason' in ceiling) notes.push(ceiling.reason)
  else {
    const { batch, snapshots } = SETTINGS
    const { priceScale, quantityScale } = last
    const settings = {
      ...batch,
      priceScale,
      quantityScale,
      snapshotMs: snapshots.intervalMs,
      snapshotDepth: snapshots.depth,
    }
    await take('native', () => runCeiling(ceiling.program, input, { ...settings, ageMs: batch.ageMsMax }))
  }
  return { others, notes }
}
