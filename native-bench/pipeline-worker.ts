/**
 * The book worker of the pipeline bench: the product's shard on a frame ring, with a stopwatch. It stays for all runs, as
 * the peers' processes do, so that the first run warms up the code for the others.
 */
import { readFileSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { Ladder } from '../engine/book/ladder.ts'
import { Counters } from '../engine/ring/counters.ts'
import { DRAIN } from '../engine/ring/frame.ts'
import { RingReader, RingWriter } from '../engine/ring/ring.ts'
import { decimalText } from '../engine/scan/decimal.ts'
import { type BookShardSettings, Shard } from '../workers/shard.ts'
import { SHARD_COUNTERS } from '../workers/shard-counters.ts'

export interface PipelineRun {
  readonly frames: SharedArrayBuffer
  readonly batches: SharedArrayBuffer
  readonly requests: SharedArrayBuffer
  readonly settings: BookShardSettings
}

export interface PipelineAnswer {
  /** seconds in drains that found something: ring, scan, book, columns, blocks */
  readonly busy: number
  /** seconds from the first such drain to the end of the last */
  readonly wall: number
  /** seconds of this thread on a core meanwhile; 0 where the system does not tell */
  readonly cpu: number
  /** the best levels as the rows have them, best first */
  readonly bids: readonly (readonly [price: string, quantity: string])[]
  readonly asks: readonly (readonly [price: string, quantity: string])[]
  readonly priceScale: number
  readonly quantityScale: number
  readonly counts: Readonly<Record<string, number>>
}

const FRAMES_A_DRAIN_MAX = 256
/** As peers/peer.mjs. */
const LEVELS_COMPARED = 20

parentPort?.on('message', (run: PipelineRun) => parentPort?.postMessage(once(run)))
parentPort?.postMessage('ready')

function once({ frames, batches, requests, settings }: PipelineRun): PipelineAnswer {
  const inbox = new RingReader(frames)
  const outbox = new RingWriter(batches)
  const counters = new Counters(SHARD_COUNTERS)
  const shard = new Shard(settings, outbox, new RingWriter(requests), counters, () => true)
  let isOver = false
  const onFrame = (kind: number, bytes: Uint8Array, offset: number, length: number): void => {
    shard.onFrame(kind, bytes, offset, length)
    if (kind === DRAIN) isOver = true
  }
  while (!inbox.hasRecords()) {
    // spins: waking up is not what is measured
  }
  const startCpu = cpuSeconds()
  const start = performance.now()
  let busy = 0
  while (!isOver) {
    const before = performance.now()
    const count = inbox.drain(onFrame, FRAMES_A_DRAIN_MAX)
    if (count === 0) continue
    shard.endOfDrain()
    busy += performance.now() - before
  }
  const wall = (performance.now() - start) / 1000
  const cpu = cpuSeconds() - startCpu
  const slot = shard.list.slots[0]
  if (slot === undefined) throw new Error('the recording has no instrument')
  const priceScale = shard.list.scales.prices[0] ?? 0
  const quantityScale = shard.list.scales.quantities[0] ?? 0
  const prices = new Float64Array(LEVELS_COMPARED)
  const quantities = new Float64Array(LEVELS_COMPARED)
  const best = (side: Ladder) =>
    Array.from(
      { length: side.copyTop(LEVELS_COMPARED, prices, quantities) },
      (_, at) =>
        [decimalText(prices[at] as number, priceScale), decimalText(quantities[at] as number, quantityScale)] as const,
    )
  const { bids, asks } = slot.keeper.book
  return {
    busy: busy / 1000,
    wall,
    cpu,
    bids: best(bids),
    asks: best(asks),
    priceScale,
    quantityScale,
    counts: counters.snapshot(),
  }
}

function cpuSeconds(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e9
  } catch {
    return 0
  }
}
