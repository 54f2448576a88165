import { assert } from '../engine/base/assert.ts'
import type { InstrumentList, InstrumentSlot } from './shard-instruments.ts'
import type { TradeRepairs } from './shard-repairs.ts'
import type { ShardVenues } from './shard-venues.ts'

/** Channels by their code in a TRADES frame. */
const TRADE_CHANNEL_CODES = ['trades', 'agg_trades'] as const

/** What REST answered, snapshots aside: polls and missing trades. */
export class RestAnswers {
  readonly #list: InstrumentList
  readonly #venues: ShardVenues
  readonly #repairs: TradeRepairs
  readonly #onRefused: (outcome: string, bytes: Uint8Array, offset: number, length: number) => void

  constructor(
    list: InstrumentList,
    venues: ShardVenues,
    repairs: TradeRepairs,
    onRefused: (outcome: string, bytes: Uint8Array, offset: number, length: number) => void,
  ) {
    this.#list = list
    this.#venues = venues
    this.#repairs = repairs
    this.#onRefused = onRefused
  }

  /** u8 length of the poll's name, the name, the body. */
  poll(bytes: Uint8Array, offset: number, length: number, instrument: number): void {
    const { parser } = this.#venues.marketOf(this.#slot(instrument))
    const bodyOffset = offset + 1 + (bytes[offset] as number)
    const name = Buffer.from(bytes.subarray(offset + 1, bodyOffset)).toString('latin1')
    const bodyBytes = offset + length - bodyOffset
    const outcome = parser.parsePoll(name, bytes, bodyOffset, bodyBytes, instrument)
    if (outcome !== '') this.#onRefused(outcome, bytes, bodyOffset, bodyBytes)
  }

  /** u8 channel, the body. */
  trades(bytes: Uint8Array, offset: number, length: number, instrument: number): void {
    const channel = TRADE_CHANNEL_CODES[bytes[offset] as number]
    assert(channel !== undefined, `trades of channel ${bytes[offset]}`)
    const market = this.#venues.marketOf(this.#slot(instrument))
    const outcome = market.parseTrades(channel, bytes, offset + 1, length - 1, instrument)
    if (outcome !== '') this.#onRefused(outcome, bytes, offset + 1, length - 1)
  }

  tradesFailed(instrument: number): void {
    this.#repairs.giveUp(this.#slot(instrument))
  }

  #slot(instrument: number): InstrumentSlot {
    const slot = this.#list.slots[instrument]
    assert(slot !== undefined, `an answer for instrument ${instrument} of ${this.#list.slots.length}`)
    return slot
  }
}

const DEPTH_BODY = /^\s*\{\s*"lastUpdateId"/
const HEAD_BYTES = 40
const LOWER_L = 108
const SPACE = 32

/**
 * Whether a frame of a recording is the body of a REST depth answer. Only one that may begin so is looked at as text:
 * with `{"l`, or with whitespace before the quote.
 */
export function isDepthBody(bytes: Uint8Array, offset: number): boolean {
  const third = bytes[offset + 2] as number
  const mayBe = third === LOWER_L || (bytes[offset] as number) <= SPACE || (bytes[offset + 1] as number) <= SPACE
  return mayBe && DEPTH_BODY.test(Buffer.from(bytes.subarray(offset, offset + HEAD_BYTES)).toString('latin1'))
}
