/**
 * What the engine accepted, read by an outsider: the files of the spool as segment.ts draws them, with a reader of our own
 * and msgpackr for the blocks. None of the engine's code has a word in it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { unpack } from 'msgpackr'

export interface AcceptedBlock {
  readonly producer: string
  readonly epoch: number
  readonly blockSeq: number
  readonly table: string
  readonly rows: number
  readonly crc32: number
}

const HEAD_BYTES = 32
const MAGIC = Buffer.from('MPSR')

/** Every whole record of every segment, in the order of the files. */
export function readAccepted(directory: string): AcceptedBlock[] {
  if (!existsSync(directory)) return []
  const names = readdirSync(directory).filter((name) => name.endsWith('.seg'))
  return names.sort().flatMap((name) => blocksOf(readFileSync(join(directory, name))))
}

function blocksOf(bytes: Buffer): AcceptedBlock[] {
  const blocks: AcceptedBlock[] = []
  for (let at = bytes.indexOf(MAGIC); at >= 0; ) {
    const end = endOfRecord(bytes, at)
    if (end === undefined) {
      at = bytes.indexOf(MAGIC, at + 1)
      continue
    }
    blocks.push(describe(bytes.subarray(at + HEAD_BYTES, end)))
    at = bytes.indexOf(MAGIC, end)
  }
  return blocks
}

/** Undefined where head or payload do not have their checksums. */
function endOfRecord(bytes: Buffer, at: number): number | undefined {
  if (at + HEAD_BYTES > bytes.length) return undefined
  if (crc32(bytes.subarray(at, at + 28)) !== bytes.readUInt32LE(at + 28)) return undefined
  const end = at + HEAD_BYTES + bytes.readUInt32LE(at + 4)
  if (end > bytes.length) return undefined
  const body = crc32(bytes.subarray(at + HEAD_BYTES, end), crc32(bytes.subarray(at, at + 24)))
  return body === bytes.readUInt32LE(at + 24) ? end : undefined
}

function describe(payload: Buffer): AcceptedBlock {
  const block = unpack(payload) as Record<'producer' | 'table', string> &
    Record<'epoch' | 'block_seq' | 'rows', number | bigint>
  return {
    producer: block.producer,
    epoch: Number(block.epoch),
    blockSeq: Number(block.block_seq),
    table: block.table,
    rows: Number(block.rows),
    crc32: crc32(payload),
  }
}

/** What was in the spool at several moments, each block once: none of it may be gone later. */
export class AcceptedBlocks {
  readonly #blocks = new Map<string, AcceptedBlock>()

  look(directory: string): void {
    for (const block of readAccepted(directory))
      this.#blocks.set(`${block.producer}/${block.epoch}/${block.blockSeq}`, block)
  }

  all(): readonly AcceptedBlock[] {
    return [...this.#blocks.values()]
  }
}
