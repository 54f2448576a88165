import { unpack } from 'msgpackr'
import type { Instrument } from '../../engine/exchanges/exchange.ts'
import { Counters } from '../../engine/ring/counters.ts'
import { BLOCK, DRAIN, LIVE, PUBLICATION } from '../../engine/ring/frame.ts'
import { createRing, RingReader, RingWriter } from '../../engine/ring/ring.ts'
import { Shard } from '../../workers/shard.ts'
import { SHARD_DEFAULTS } from '../../workers/shard-settings.ts'
import type { BookShardSettings } from '../../workers/shard-settings.ts'
import { SHARD_COUNTERS } from '../../workers/shard-counters.ts'
import type { ShardCounter } from '../../workers/shard-counters.ts'

interface FrameHead {
  ns?: bigint
  source?: number
  generation?: number
  extra?: number
}

/** A shard between three small rings, fed by hand. */
export interface ShardRig {
  readonly shard: Shard
  /** Every sealed block, unpacked by msgpackr. */
  readonly blocks: Uint8Array[]
  readonly live: { subject: string; message: Uint8Array }[]
  readonly requests: { kind: number; source: number; generation: number; instrument: number }[]
  frame(kind: number, payload: string | object, head?: FrameHead): void
  /** Several frames in one drain. */
  frames(list: readonly { kind: number; payload: string | object; head?: FrameHead }[]): void
  finish(): void
  count(name: ShardCounter): number
}

export function instrumentOf(id: string, priceScale = 2, quantityScale = 3): Instrument {
  const [exchange, market, symbol] = id.split('.') as [string, string, string]
  return { id, exchange, market, symbol, priceScale, quantityScale, status: 'TRADING' }
}

export function shardRig(options: Partial<BookShardSettings> & { ringBytes?: number } = {}): ShardRig {
  const ringBytes = options.ringBytes ?? 1 << 22
  const memories = [createRing(ringBytes), createRing(ringBytes), createRing(1 << 16)] as const
  const writer = new RingWriter(memories[0])
  const inbox = new RingReader(memories[0])
  const batches = new RingReader(memories[1])
  const requestReader = new RingReader(memories[2])
  const counters = new Counters<ShardCounter>(SHARD_COUNTERS)
  const blocks: Uint8Array[] = []
  const live: ShardRig['live'] = []
  const requests: ShardRig['requests'] = []
  const takeBatches = () => {
    batches.drain((kind, bytes, offset, length) => {
      const payload = bytes.slice(offset, offset + length)
      if (kind === BLOCK) blocks.push(payload)
      if (kind === LIVE || kind === PUBLICATION) {
        const end = 2 + ((payload[0] as number) | ((payload[1] as number) << 8))
        live.push({ subject: Buffer.from(payload.subarray(2, end)).toString(), message: payload.slice(end) })
      }
    }, Number.POSITIVE_INFINITY)
    return true
  }
  const settings: BookShardSettings = { ...SHARD_DEFAULTS, market: 'usdm', instruments: [], ...options }
  const shard = new Shard(settings, new RingWriter(memories[1]), new RingWriter(memories[2]), counters, takeBatches)
  let now = 1_723_161_255_000_000_000n
  const run = () => {
    writer.publish()
    inbox.drain((kind, bytes, offset, length) => shard.onFrame(kind, bytes, offset, length), Number.POSITIVE_INFINITY)
    shard.endOfDrain()
    takeBatches()
    requestReader.drain((kind, bytes, offset) => {
      const at = (offset & -8) - 24
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, 24)
      requests.push({
        kind,
        source: view.getUint16(6, true),
        generation: view.getUint32(16, true),
        instrument: view.getUint32(20, true),
      })
    }, Number.POSITIVE_INFINITY)
  }
  const put = (kind: number, payload: string | object, head: FrameHead = {}) => {
    now = head.ns ?? now + 1_000_000n
    const bytes = new TextEncoder().encode(typeof payload === 'string' ? payload : JSON.stringify(payload))
    if (
      !writer.tryWrite(
        kind,
        head.source ?? 0,
        head.generation ?? 1,
        head.extra ?? 0,
        Number(now >> 32n),
        Number(now & 0xffffffffn),
        bytes,
      )
    )
      throw new Error('the frame ring of the rig is full')
  }
  const frame: ShardRig['frame'] = (...one) => {
    put(...one)
    run()
  }
  const frames: ShardRig['frames'] = (list) => {
    for (const { kind, payload, head } of list) put(kind, payload, head)
    run()
  }
  return {
    shard,
    blocks,
    live,
    requests,
    frame,
    frames,
    finish: () => frame(DRAIN, ''),
    count: (name) => counters.read(name),
  }
}

/** A block as msgpackr gives it. */
export function unpacked(block: Uint8Array): Record<string, unknown> {
  return unpack(block) as Record<string, unknown>
}
