import { createHash } from 'node:crypto'
import { type Hops, NO_HOPS } from './hops.ts'
import { type NativeBlock, NativeWriter } from './native.ts'
import type { SealedBlock } from './sink.ts'

/** The rows of the table `blocks`: one a block, inserted after the block's rows, the mark that it is committed. */

const HOP_COLUMNS: readonly (readonly [string, (hops: Hops) => bigint])[] = [
  ['encoded_ns', (hops) => hops.encodedNs],
  ['sealed_ns', (hops) => hops.sealedNs],
  ['durable_ns', (hops) => hops.durableNs],
  ['published_ns', (hops) => hops.publishedNs],
  ['taken_ns', (hops) => hops.takenNs],
]

/** Of all the blocks in it: a used token swallows other rows. */
export function marksToken(blocks: readonly SealedBlock[]): string {
  const hash = createHash('sha256')
  for (const block of blocks) hash.update(block.messageId)
  return `marks:${hash.digest('hex')}`
}

/** The rows of `blocks` for these blocks. */
export function encodeMarks(blocks: readonly SealedBlock[], storedNs: bigint): NativeBlock {
  const writer = new NativeWriter(blocks.length)
  writer.strings(
    'producer',
    blocks.map((block) => block.head.producer),
  )
  writer.uint64(
    'epoch',
    BigUint64Array.from(blocks, (block) => block.head.epoch),
  )
  writer.uint64(
    'block_seq',
    BigUint64Array.from(blocks, (block) => block.head.blockSeq),
  )
  writer.strings(
    'table',
    blocks.map((block) => block.head.table),
  )
  writer.uint16(
    'layout',
    Uint16Array.from(blocks, (block) => block.head.version),
  )
  writer.strings(
    'exchange',
    blocks.map((block) => block.head.exchange),
  )
  writer.uint32(
    'rows',
    Uint32Array.from(blocks, (block) => block.head.rows),
  )
  writer.uint32(
    'bytes',
    Uint32Array.from(blocks, (block) => block.payload.length),
  )
  writer.uint32(
    'crc32',
    Uint32Array.from(blocks, (block) => block.crc32),
  )
  writer.times(
    'first_received_ns',
    BigInt64Array.from(blocks, (block) => block.head.firstReceivedNs),
  )
  writer.times(
    'last_received_ns',
    BigInt64Array.from(blocks, (block) => block.head.lastReceivedNs),
  )
  const hops = blocks.map((block) => block.hops ?? NO_HOPS)
  for (const [name, read] of HOP_COLUMNS) writer.times(name, BigInt64Array.from(hops, read))
  writer.times('stored_ns', new BigInt64Array(blocks.length).fill(storedNs))
  return writer.finish()
}
