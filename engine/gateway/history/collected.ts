/**
 * When a channel of an instrument was not collected at all: no gap tells of it, for nothing was missed that was wanted.
 *
 *   boots      a collector stores from the first to the last of its blocks, and only what it carried: of that it has rows
 *   gaps       the next boot says from when on nothing is known (collector_down): until there the one before has stored all
 *   REMOVED    the status of an instrument from when it was taken from the list; its next row says that it is back
 */
import type { GapChannel } from '../../record/schema.ts'
import type { TableName } from '../../record/schema-columns.ts'
import { INSTRUMENT_REMOVED } from '../../record/schema-kinds.ts'
import type { InstrumentName } from '../engine-link.ts'
import type { Store } from '../store.ts'
import type { GapSpan } from './gap-rows.ts'
import { FOR_EVER_NS } from './gap-rows.ts'
import { later } from './time.ts'

/** Rows of a block are so much older than it at most. */
const BATCH_NS = 10_000_000_000n
/** Blocks that are that far from a time tell nothing of it. */
const LEDGER_NS = 3_600_000_000_000n

export interface Times {
  readonly fromNs: bigint
  readonly toNs: bigint
}

interface Boot extends Times {
  readonly producer: string
  readonly epoch: string
}

/** What was told of an instrument: that it is collected, or no more. */
interface Note {
  readonly producer: string
  readonly epoch: string
  readonly ns: bigint
  readonly isRemoved: boolean
}

const IS_INSTRUMENT = 'exchange = {exchange:String} AND market = {market:String} AND symbol = {symbol:String}'
const ns = (sql: string): string => `toString(toUnixTimestamp64Nano(${sql}))`
const nameOf = ({ producer, epoch }: { readonly producer: string; readonly epoch: string }): string =>
  `${producer}/${epoch}`

/** Which boots there were, and what was told of one instrument. */
export class Collected {
  readonly #store: Store
  readonly #instrument: InstrumentName
  readonly #boots: readonly Boot[]
  readonly #notes: readonly Note[]

  private constructor(store: Store, instrument: InstrumentName, boots: readonly Boot[], notes: readonly Note[]) {
    this.#store = store
    this.#instrument = instrument
    this.#boots = boots
    this.#notes = notes
  }

  static async of(store: Store, instrument: InstrumentName, signal: AbortSignal | undefined): Promise<Collected> {
    const [boots, notes] = await Promise.all([
      store.rows<{ producer: string; epoch: string; first: string; last: string }>(
        `SELECT toString(producer) AS producer, toString(epoch) AS epoch,
           ${ns('min(first_received_ns)')} AS first, ${ns('max(last_received_ns)')} AS last
         FROM blocks WHERE exchange = {exchange:String} GROUP BY producer, epoch ORDER BY last`,
        { exchange: instrument.exchange },
        { signal },
      ),
      store.rows<{ producer: string; epoch: string; at: string; is_removed: 0 | 1 }>(
        `SELECT toString(producer) AS producer, toString(epoch) AS epoch, ${ns('received_ns')} AS at,
           status = '${INSTRUMENT_REMOVED}' AS is_removed
         FROM instruments WHERE ${IS_INSTRUMENT} ORDER BY received_ns`,
        { ...instrument },
        { signal },
      ),
    ])
    return new Collected(
      store,
      instrument,
      boots.map(({ first, last, ...boot }) => ({ ...boot, fromNs: BigInt(first), toNs: BigInt(last) })),
      notes.map(({ at, is_removed, ...note }) => ({ ...note, ns: BigInt(at), isRemoved: is_removed === 1 })),
    )
  }

  /** Up to when the collectors of the exchange have stored what they received. */
  get storedNs(): bigint {
    return this.#boots.reduce((last, { toNs }) => later(last, toNs), 0n)
  }

  /** Times in which nobody collected it, from the first to the last block of the exchange. @param gaps of this channel */
  async without(
    channel: GapChannel,
    table: TableName,
    gaps: readonly GapSpan[],
    signal: AbortSignal | undefined,
  ): Promise<Times[]> {
    const carried = await this.#carried(channel, table, signal)
    const downs = gaps.filter(({ cause }) => cause === 'collector_down')
    const ofBoots = this.#boots
      .filter((boot) => carried.has(nameOf(boot)))
      .flatMap((boot) =>
        this.#spansOf(
          boot,
          downs.map(({ fromNs }) => fromNs),
        ),
      )
    const spans: Times[] = [...ofBoots, ...downs]
    spans.sort((one, other) => (one.fromNs < other.fromNs ? -1 : 1))
    const without: Times[] = []
    let endNs = 0n
    for (const { fromNs, toNs } of [...spans, { fromNs: this.storedNs, toNs: FOR_EVER_NS }]) {
      if (fromNs > endNs) without.push({ fromNs: endNs, toNs: fromNs })
      endNs = later(endNs, toNs)
    }
    return without
  }

  /**
   * Times of which a block may be missing: blocks of a boot are numbered, so a hole tells of one that is on its way, or that
   * became a dead letter. Of which exchange and table it is nobody knows, so it counts for each that the collector has.
   */
  async holes({ fromNs, toNs }: Times, signal: AbortSignal | undefined): Promise<Times[]> {
    const producers = [...new Set(this.#boots.map(({ producer }) => producer))]
    const rows = await this.#store.rows<{ low: string; high: string }>(
      `SELECT ${ns('before_ns')} AS low, ${ns('greatest(sealed_ns, last_received_ns)')} AS high FROM (
         SELECT block_seq, sealed_ns, last_received_ns, lagInFrame(block_seq) OVER boot AS before_seq,
           lagInFrame(last_received_ns) OVER boot AS before_ns
         FROM blocks
         WHERE producer IN ({producers:Array(String)}) AND first_received_ns >= fromUnixTimestamp64Nano({low:Int64})
           AND first_received_ns < fromUnixTimestamp64Nano({high:Int64})
         WINDOW boot AS (PARTITION BY producer, epoch ORDER BY block_seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
       ) WHERE before_seq > 0 AND block_seq > before_seq + 1`,
      { producers, low: fromNs > LEDGER_NS ? fromNs - LEDGER_NS : 0n, high: toNs + LEDGER_NS },
      { signal },
    )
    return rows.map(({ low, high }) => ({ fromNs: BigInt(low) - BATCH_NS, toNs: BigInt(high) }))
  }

  /** Boots that have said anything of this channel. */
  async #carried(channel: GapChannel, table: TableName, signal: AbortSignal | undefined): Promise<ReadonlySet<string>> {
    const rows = await this.#store.rows<{ producer: string; epoch: string }>(
      `SELECT DISTINCT toString(producer) AS producer, toString(epoch) AS epoch FROM ${table} WHERE ${IS_INSTRUMENT}
       UNION DISTINCT
       SELECT toString(producer) AS producer, toString(epoch) AS epoch FROM gaps WHERE ${IS_INSTRUMENT} AND channel = {channel:String}`,
      { ...this.#instrument, channel },
      { signal },
    )
    return new Set(rows.map(nameOf))
  }

  /** When a boot that carries it did so. @param downs from when on a next boot knew nothing */
  #spansOf({ producer, epoch, fromNs, toNs }: Boot, downs: readonly bigint[]): Times[] {
    const notes = this.#notes.filter((note) => note.producer === producer && note.epoch === epoch)
    const nextNs = this.#boots.reduce(
      (next, boot) => (boot.producer === producer && boot.fromNs > toNs && boot.fromNs < next ? boot.fromNs : next),
      FOR_EVER_NS,
    )
    const keptNs = downs.findLast((downNs) => downNs > toNs && downNs <= nextNs) ?? toNs
    const spans: Times[] = []
    let sinceNs: bigint | undefined = notes.find(({ isRemoved }) => !isRemoved)?.ns ?? fromNs
    for (const { ns: atNs, isRemoved } of notes) {
      if (isRemoved && sinceNs !== undefined && atNs > sinceNs) spans.push({ fromNs: sinceNs, toNs: atNs })
      if (isRemoved) sinceNs = undefined
      else sinceNs ??= atNs
    }
    return sinceNs === undefined ? spans : [...spans, { fromNs: sinceNs, toNs: keptNs }]
  }
}
