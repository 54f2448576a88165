import { Unpackr } from 'msgpackr'
import { assert } from '../base/assert.ts'

/** What a sink needs of a block: who it is, and its columns as they are. No row is decoded; bins are views on the bytes. */
export interface OpenBlock {
  readonly head: SinkHead
  /** name → `[type, bytes]` or `[type, ends, bytes]` */
  readonly columns: ReadonlyMap<string, ColumnBytes>
}

export interface SinkHead {
  readonly producer: string
  readonly epoch: bigint
  readonly blockSeq: bigint
  readonly table: string
  readonly version: number
  readonly exchange: string
  readonly rows: number
  readonly firstReceivedNs: bigint
  readonly lastReceivedNs: bigint
  readonly instruments: readonly string[]
}

export interface ColumnBytes {
  readonly type: string
  /** cumulative UInt64 row ends of an array or string column */
  readonly ends: Uint8Array | undefined
  readonly bytes: Uint8Array
}

const FORMAT = 1
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'bigint' })

/** @throws when the bytes are no block of format 1. */
export function openBlock(payload: Uint8Array): OpenBlock {
  const map = unpackr.unpack(payload) as Map<string, unknown>
  assert(map instanceof Map, 'a block is a msgpack map')
  assert(map.get('format') === FORMAT, `block format ${String(map.get('format'))} is not ${FORMAT}`)
  const head: SinkHead = {
    producer: text(map, 'producer'),
    epoch: BigInt(map.get('epoch') as bigint | number),
    blockSeq: BigInt(map.get('block_seq') as bigint | number),
    table: text(map, 'table'),
    version: Number(map.get('version')),
    exchange: text(map, 'exchange'),
    rows: Number(map.get('rows')),
    firstReceivedNs: BigInt(map.get('first_received_ns') as bigint | number),
    lastReceivedNs: BigInt(map.get('last_received_ns') as bigint | number),
    instruments: map.get('instruments') as string[],
  }
  const columns = new Map<string, ColumnBytes>()
  for (const [name, parts] of map.get('columns') as Map<string, [string, Uint8Array, Uint8Array?]>) {
    const [type, first, second] = parts
    columns.set(
      name,
      second === undefined ? { type, ends: undefined, bytes: first } : { type, ends: first, bytes: second },
    )
  }
  return { head, columns }
}

function text(map: Map<string, unknown>, key: string): string {
  const value = map.get(key)
  assert(typeof value === 'string', `block without ${key}`)
  return value
}
