import { Histogram } from '../ring/histogram.ts'
import type { ClickHouseSink } from './clickhouse.ts'
import { NO_HOPS } from './hops.ts'
import type { SealedBlock } from './sink.ts'

/** Every block that this sink stores becomes a sample of each hop. */
export function recordHops(sink: ClickHouseSink, memories: HopMemories): void {
  const histograms = new HopHistograms(memories)
  sink.onStored = (block, storedNs) => histograms.record(block, storedNs)
}

/**
 * Words of the label. `exchange`: venue's time of sending → socket, of the last row; `ring`: socket → read by the book
 * worker, of the frame at which a block was sealed; `encode`: last row received → its block is encoded, so ring, book and the
 * wait for more rows (batch.ageMs); `handover`: → taken by the sink worker; then spool (→ durable), publish (→ given to
 * JetStream), broker (→ store), store (→ its rows are in and marked); `total`: first row received → stored.
 */
export const HOPS = ['exchange', 'ring', 'encode', 'handover', 'spool', 'publish', 'broker', 'store', 'total'] as const
export type Hop = (typeof HOPS)[number]
export type HopMemories = Readonly<Record<Hop, SharedArrayBuffer>>

export function createHopMemories(): HopMemories {
  return Object.fromEntries(HOPS.map((hop) => [hop, new Histogram().memory])) as Record<Hop, SharedArrayBuffer>
}

/** Histograms of the way of blocks, one sample a block and hop. */
export class HopHistograms {
  readonly #histograms: Readonly<Record<Hop, Histogram>>

  constructor(memories: HopMemories) {
    this.#histograms = Object.fromEntries(HOPS.map((hop) => [hop, new Histogram(memories[hop])])) as Record<
      Hop,
      Histogram
    >
  }

  record(block: SealedBlock, storedNs: bigint): void {
    const { head, hops = NO_HOPS } = block
    const { encodedNs, sealedNs, durableNs, publishedNs, takenNs } = hops
    this.#between('exchange', lastTime(block, 'event_ns'), lastTime(block, 'received_ns'))
    this.#between('encode', head.lastReceivedNs, encodedNs)
    this.#between('handover', encodedNs, sealedNs)
    this.#between('spool', sealedNs, durableNs)
    this.#between('publish', durableNs, publishedNs)
    this.#between('broker', publishedNs, takenNs)
    this.#between('store', takenNs, storedNs)
    this.#between('total', head.firstReceivedNs, storedNs)
  }

  /** What the collector alone knows. */
  ring(waitedNs: number): void {
    this.#histograms.ring.record(waitedNs)
  }

  #between(hop: Hop, fromNs: bigint, toNs: bigint): void {
    if (fromNs > 0n && toNs > 0n) this.#histograms[hop].record(Number(toNs - fromNs))
  }
}

function lastTime({ head, columns }: SealedBlock, name: string): bigint {
  const values = columns.get(name)?.values
  if (values === undefined || values.length !== head.rows * 8) return 0n
  return new DataView(values.buffer, values.byteOffset, values.byteLength).getBigInt64((head.rows - 1) * 8, true)
}
