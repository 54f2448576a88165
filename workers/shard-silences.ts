import type { Silence } from '../engine/book/cadence.ts'
import type { FrameTime } from '../engine/record/recorder.ts'
import { GAP_CAUSES, GAP_CHANNELS } from '../engine/record/schema.ts'
import { WANT_RESUBSCRIBE } from '../engine/ring/frame.ts'
import type { RingWriter } from '../engine/ring/ring.ts'
import type { Connections } from './shard-connections.ts'
import type { ShardCounts } from './shard-counters.ts'
import type { InstrumentList, InstrumentSlot } from './shard-instruments.ts'

/** A stream that should deliver does not: asks for it anew; nothing of it can be believed since it spoke last. */
export class Silences {
  readonly #list: InstrumentList
  readonly #connections: Connections
  readonly #time: FrameTime
  readonly #counts: ShardCounts
  readonly #requests: RingWriter

  constructor(
    list: InstrumentList,
    connections: Connections,
    time: FrameTime,
    counts: ShardCounts,
    requests: RingWriter,
  ) {
    this.#list = list
    this.#connections = connections
    this.#time = time
    this.#counts = counts
    this.#requests = requests
  }

  end({ instrument, channel, leg, silentMs, provenMs, allowedMs }: Silence): void {
    const slot = this.#list.slots[instrument] as InstrumentSlot
    const connection = this.#connections.carrierOf(instrument, channel, leg)
    if (connection === undefined || !slot.isTrading) return
    this.#counts.add('silences', 1)
    const detail = `silent for ${Math.round(silentMs)} ms, ${Math.round(allowedMs)} are usual`
    if ((slot.coverage[channel] as number) < 2) {
      const since = BigInt(Math.floor(provenMs)) * 1_000_000n
      const [hi, lo] = [Number(since >> 32n) | 0, Number(since & 0xffffffffn) | 0]
      if (channel === GAP_CHANNELS.book) slot.keeper.suspend(hi, lo, detail, 'silent')
      else slot.record.gaps.open(instrument, channel, GAP_CAUSES.silent, hi, lo, slot.lastId(channel), 0, detail)
    }
    const { source, generation } = connection
    const { hi, lo } = this.#time
    this.#requests.tryWrite(WANT_RESUBSCRIBE, source, generation, instrument, hi, lo, Uint8Array.of(channel))
  }
}
