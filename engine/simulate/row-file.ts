/**
 * Tables of the truth in ClickHouse's RowBinary format: values one after the other in the order of the structure,
 * numbers little-endian, a string as its length in one byte and its characters.
 */
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const KEY = [
  ['exchange', 'LowCardinality(String)'],
  ['market', 'LowCardinality(String)'],
  ['symbol', 'LowCardinality(String)'],
] as const
const SCALES = [
  ['price_scale', 'UInt8'],
  ['quantity_scale', 'UInt8'],
] as const

export const TRUTH_TABLES = {
  trades: [
    ...KEY,
    ['stream', `Enum8('trade' = 1, 'agg_trade' = 2)`],
    ...SCALES,
    ['side', `Enum8('buy' = 1, 'sell' = 2)`],
    ['trade_id', 'UInt64'],
    ['price_mantissa', 'Int64'],
    ['quantity_mantissa', 'Int64'],
    ['trade_ms', 'Int64'],
  ],
  book_tickers: [
    ...KEY,
    ...SCALES,
    ['update_id', 'UInt64'],
    ['event_ms', 'Int64'],
    ['bid_price', 'Int64'],
    ['bid_quantity', 'Int64'],
    ['ask_price', 'Int64'],
    ['ask_quantity', 'Int64'],
  ],
  book_deltas: [
    ...KEY,
    ...SCALES,
    ['first_seq', 'UInt64'],
    ['last_seq', 'UInt64'],
    ['bid_levels', 'UInt32'],
    ['ask_levels', 'UInt32'],
    ['bid_price_sum', 'Int64'],
    ['bid_quantity_sum', 'Int64'],
    ['ask_price_sum', 'Int64'],
    ['ask_quantity_sum', 'Int64'],
  ],
} as const

export type TruthTable = keyof typeof TRUTH_TABLES

const CHUNK_BYTES = 1 << 20
const ROW_BYTES_MAX = 512

/** Appends RowBinary rows to one file through one buffer. */
export class RowFile {
  readonly #file: number
  readonly #bytes = new Uint8Array(CHUNK_BYTES)
  readonly #view = new DataView(this.#bytes.buffer)
  #used = 0

  constructor(directory: string, table: TruthTable) {
    const structure = TRUTH_TABLES[table].map(([name, type]) => ({ name, type }))
    const description = { table, format: 'RowBinary', file: `${table}.rowbinary`, structure }
    writeFileSync(join(directory, `${table}.json`), `${JSON.stringify(description, null, 2)}\n`)
    this.#file = openSync(join(directory, `${table}.rowbinary`), 'w')
  }

  begin(key: Uint8Array): void {
    if (this.#used + ROW_BYTES_MAX > CHUNK_BYTES) this.flush()
    this.#bytes.set(key, this.#used)
    this.#used += key.length
  }

  byte(value: number): void {
    this.#bytes[this.#used++] = value
  }

  count(value: number): void {
    this.#view.setUint32(this.#used, value, true)
    this.#used += 4
  }

  /** An exact non-negative integer below 2^53. */
  integer(value: number): void {
    this.#view.setUint32(this.#used, value >>> 0, true)
    this.#view.setUint32(this.#used + 4, Math.floor(value / 4_294_967_296), true)
    this.#used += 8
  }

  flush(): void {
    let written = 0
    while (written < this.#used) written += writeSync(this.#file, this.#bytes, written, this.#used - written)
    this.#used = 0
  }

  close(): void {
    this.flush()
    closeSync(this.#file)
  }
}
