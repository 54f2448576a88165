import { assert } from '../engine/base/assert.ts'
import { GapLog } from '../engine/book/gap-log.ts'
import { READ_RULES } from '../engine/exchanges/index.ts'
import { type FrameTime, Recorder } from '../engine/record/recorder.ts'
import type { ExchangeRecord, InstrumentSlot } from './shard-instruments.ts'
import { type MarketSurroundings, ShardMarket } from './shard-market.ts'
import type { ShardOutput } from './shard-output.ts'
import type { BookShardSettings } from './shard-settings.ts'

/** The exchanges and markets of a shard, made when the first of their instruments is added. */
export class ShardVenues {
  readonly #settings: BookShardSettings
  readonly #time: FrameTime
  readonly #output: ShardOutput
  readonly #around: MarketSurroundings
  readonly #records = new Map<string, ExchangeRecord>()
  readonly #markets = new Map<string, ShardMarket>()

  constructor(settings: BookShardSettings, time: FrameTime, output: ShardOutput, around: MarketSurroundings) {
    this.#settings = settings
    this.#time = time
    this.#output = output
    this.#around = around
  }

  get records(): Iterable<ExchangeRecord> {
    return this.#records.values()
  }

  /** Where rows of an exchange go: one set of open blocks. */
  record(exchange: string): ExchangeRecord {
    const known = this.#records.get(exchange)
    if (known !== undefined) return known
    const { producer, batch, live } = this.#settings
    const { list } = this.#around
    const recorder = new Recorder(
      { producer, exchange, rowsMax: batch.rowsMax, bytesMax: batch.bytesMax },
      (instrument) => (list.slots[instrument] as InstrumentSlot).name.id,
      list.scales.prices,
      list.scales.quantities,
      (block) => this.#output.block(block),
      this.#time,
      (block) => live && this.#output.followLive(block),
    )
    const record = { recorder, gaps: new GapLog(recorder) }
    this.#records.set(exchange, record)
    return record
  }

  market(exchange: string, name: string): ShardMarket {
    const key = `${exchange}.${name}`
    const known = this.#markets.get(key)
    if (known !== undefined) return known
    const rules = READ_RULES.get(exchange)
    assert(rules !== undefined, `no exchange ${exchange}`)
    const market = new ShardMarket(rules, name, this.record(exchange), this.#around)
    this.#markets.set(key, market)
    return market
  }

  /** Of an instrument; of connections that nobody announced when there is none. */
  marketOf(slot: InstrumentSlot | undefined): ShardMarket {
    const settings = this.#settings
    // A recording may mix the markets of an exchange on one connection.
    const isWhole = settings.market === '' && settings.learnUnknown && slot?.name.exchange === settings.exchange
    const { exchange, market } = isWhole ? settings : (slot?.name ?? settings)
    return this.market(exchange, market)
  }
}
