import { blockColumns, tableNamed } from '../../engine/record/schema.ts'
import type { Column, TableName } from '../../engine/record/schema-columns.ts'

/**
 * Blocks for tests, written byte by byte from the description of the format, without the product's encoder: so that a
 * sink is checked against the format and not against our own reading of it.
 */
export type CellValue = number | bigint | string | null | readonly bigint[]
export type Row = Readonly<Record<string, CellValue>>

export interface BlockOptions {
  readonly table: TableName
  readonly rows: readonly Row[]
  readonly instruments: readonly string[]
  readonly epoch?: bigint
  readonly blockSeq?: bigint
  readonly producer?: string
}

export function buildBlock(options: BlockOptions): Buffer {
  const { table, rows, instruments, epoch = 0n, blockSeq = 0n, producer = 'test' } = options
  const received = rows.map((row) => row.received_ns as bigint).sort((a, b) => (a < b ? -1 : 1))
  const first = received[0] as bigint
  const last = received.at(-1) as bigint
  const day = Number(new Date(Number(first / 1_000_000n)).toISOString().slice(0, 10).replaceAll('-', ''))
  const columns = blockColumns(tableNamed(table))
  return Buffer.concat([
    Buffer.from([0x80 | 13]),
    str('epoch'),
    uint64(epoch),
    str('block_seq'),
    uint64(blockSeq),
    str('format'),
    Buffer.from([1]),
    str('producer'),
    str(producer),
    str('table'),
    str(table),
    str('version'),
    Buffer.from([1]),
    str('exchange'),
    str((instruments[0] as string).split('.')[0] as string),
    str('rows'),
    uint32(rows.length),
    str('day'),
    uint32(day),
    str('first_received_ns'),
    int64(first),
    str('last_received_ns'),
    int64(last),
    str('instruments'),
    array(instruments.map(str)),
    str('columns'),
    Buffer.from([0xde, columns.length >> 8, columns.length & 255]),
    ...columns.flatMap((column) => [
      str(column.name),
      storedColumn(
        column,
        rows.map((row) => row[column.name] ?? (column.type === 'String' ? '' : column.type === 'Decimal' ? null : 0)),
      ),
    ]),
  ])
}

function storedColumn(column: Column, values: readonly CellValue[]): Buffer {
  if (column.type === 'String') {
    const texts = values.map((value) => Buffer.from(value as string))
    return array([str(column.type), bin(ends(texts.map((text) => text.length))), bin(Buffer.concat(texts))])
  }
  if (column.type === 'Array(Int64)') {
    const lists = values as readonly (readonly bigint[])[]
    return array([
      str(column.type),
      bin(ends(lists.map((list) => list.length))),
      bin(Buffer.concat(lists.flat().map((value) => little(value, 8)))),
    ])
  }
  if (column.type === 'Decimal') {
    const numbers = values as readonly (bigint | null | undefined)[]
    return array([
      str(column.type),
      bin(Buffer.from(numbers.map((number) => (number == null ? 1 : 0)))),
      bin(Buffer.concat(numbers.map((number) => little(number ?? 0n, 32)))),
    ])
  }
  const bytes = { UInt8: 1, UInt16: 2, UInt32: 4, UInt64: 8, Int64: 8 }[column.type]
  return array([
    str(column.type),
    bin(Buffer.concat(values.map((value) => little(BigInt(value as number | bigint), bytes)))),
  ])
}

function ends(lengths: readonly number[]): Buffer {
  let end = 0n
  return Buffer.concat(
    lengths.map((length) => {
      end += BigInt(length)
      return little(end, 8)
    }),
  )
}

function little(value: bigint, bytes: number): Buffer {
  const buffer = Buffer.alloc(Math.max(8, bytes))
  for (let at = 0; at < buffer.length; at += 8) buffer.writeBigUInt64LE(BigInt.asUintN(64, value >> BigInt(8 * at)), at)
  return buffer.subarray(0, bytes)
}

function str(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.length < 32) return Buffer.concat([Buffer.from([0xa0 | bytes.length]), bytes])
  return Buffer.concat([Buffer.from([0xd9, bytes.length]), bytes])
}

function bin(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5)
  head[0] = 0xc6
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

function array(items: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([0xdc, items.length >> 8, items.length & 255]), ...items])
}

function uint64(value: bigint): Buffer {
  const buffer = Buffer.alloc(9, 0xcf)
  buffer.writeBigUInt64BE(value, 1)
  return buffer
}

function int64(value: bigint): Buffer {
  const buffer = Buffer.alloc(9, 0xd3)
  buffer.writeBigInt64BE(value, 1)
  return buffer
}

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(5, 0xce)
  buffer.writeUInt32BE(value, 1)
  return buffer
}

/** Rows of trades of two instruments, ids counting up from `firstId`. */
export function tradeRows(count: number, firstId: number, atNs = 1_790_000_000_000_000_000n): Row[] {
  return Array.from({ length: count }, (_, index) => {
    const id = firstId + index
    return {
      instrument: id % 2,
      received_ns: atNs + BigInt(id),
      event_ns: atNs - 1_000_000n + BigInt(id),
      trade_ns: atNs - 2_000_000n + BigInt(id),
      stream: 1 + (id % 2),
      trade_id: id,
      first_trade_id: id,
      last_trade_id: id + (id % 3),
      price_mantissa: 6_180_020n + BigInt(id % 1000),
      quantity_mantissa: BigInt(id % 977) * 9_007_199_254_741n, // beyond 2^53 on purpose
      price_scale: 2,
      quantity_scale: 8,
      side: 1 + (id % 2),
    }
  })
}

export const TRADE_INSTRUMENTS = ['binance.usdm.BTCUSDT', 'binance.coinm.ETHUSD_PERP'] as const
