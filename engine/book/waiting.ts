import type { DepthEvent } from '../record/emit.ts'
import type { Recorder } from '../record/recorder.ts'
import { HeldDepth } from './held-depth.ts'
import type { KeeperEvents } from './keeper-settings.ts'

/** Scales of all instruments of a shard, by index. */
export interface Scales {
  readonly prices: Uint8Array
  readonly quantities: Uint8Array
}

/** What waits for a snapshot. Whatever happens to it, each event becomes one row in the end. */
export class WaitingEvents {
  readonly #instrument: number
  readonly #scales: Scales
  readonly #recorder: Recorder
  readonly #events: KeeperEvents
  #held: HeldDepth[] = []

  constructor(instrument: number, scales: Scales, recorder: Recorder, events: KeeperEvents) {
    this.#instrument = instrument
    this.#scales = scales
    this.#recorder = recorder
    this.#events = events
  }

  get count(): number {
    return this.#held.length
  }

  /** A copy, at the scales of now. */
  copyOf(event: DepthEvent, hi: number, lo: number): HeldDepth {
    const { prices, quantities } = this.#scales
    return new HeldDepth(event, hi, lo, prices[this.#instrument] as number, quantities[this.#instrument] as number)
  }

  push(held: HeldDepth): void {
    this.#held.push(held)
  }

  /** The highest sequence that waits, −1 when nothing does. */
  get lastSeq(): number {
    return Math.max(-1, ...this.#held.map(({ event }) => event.lastSeq))
  }

  /** The first that ends behind this sequence. */
  firstAfter(seq: number): DepthEvent | undefined {
    return this.#held.find(({ event }) => event.lastSeq > seq)?.event
  }

  /** Takes all out, brought to the scales of now. */
  takeAll(): readonly HeldDepth[] {
    const held = this.#held
    this.#held = []
    return held.filter((one) => this.rescale(one))
  }

  /** Nothing will anchor what waits (up to this sequence): it becomes rows as it is. */
  flush(state: number, epoch: number, lastSeq = Number.POSITIVE_INFINITY): void {
    if (this.#held.length === 0) return
    const rows = this.#held.filter(({ event }) => event.lastSeq <= lastSeq)
    this.#held = this.#held.filter(({ event }) => event.lastSeq > lastSeq)
    this.#events.count('unchained', rows.length)
    for (const held of rows) if (this.rescale(held)) this.#recorder.delta(held.event, state, epoch, held.hi, held.lo)
  }

  rescale(held: HeldDepth): boolean {
    const { prices, quantities } = this.#scales
    return held.rescale(prices[this.#instrument] as number, quantities[this.#instrument] as number)
  }
}
