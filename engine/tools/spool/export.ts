import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rowsOf } from '../../record/decode.ts'
import { encodeNative } from '../../sinks/native.ts'
import { blocksOf, readSegments, tryDecode } from './files.ts'
import { type BlockChoice, blockFilter } from './range.ts'

export type ExportFormat = 'ndjson' | 'native' | 'block'

/**
 * Blocks of a spool into files of a directory:
 *
 *   ndjson   {table}.ndjson     a line a row, exact numbers as text, with the identity of its block
 *   native   {table}.native     for `INSERT INTO {table} FROM INFILE … FORMAT Native`, all columns of the table
 *   block    {epoch}-{seq}.block   the bytes as they are
 *
 * @returns how many blocks and rows were written; blocks that cannot be read are counted apart.
 */
export async function exportBlocks(directory: string, choice: BlockChoice, format: ExportFormat, target: string) {
  const counts = { blocks: 0, rows: 0, unreadable: 0 }
  const isChosen = blockFilter(choice)
  const files = new Files(target, format)
  await mkdir(target, { recursive: true })
  try {
    for await (const segment of readSegments(directory)) {
      for (const spooled of blocksOf(segment)) {
        if (!isChosen(spooled)) continue
        const block = tryDecode(spooled)
        if (choice.table !== undefined && block?.head.table !== choice.table) continue
        if (block === undefined) counts.unreadable++
        if (format === 'block')
          await writeFile(join(target, `${spooled.epoch}-${spooled.blockSeq}.block`), spooled.payload)
        else if (block === undefined) continue
        else if (format === 'native') await files.write(block.head.table, encodeNative([block]).bytes)
        else await files.write(block.head.table, linesOf(block))
        counts.blocks++
        counts.rows += block?.head.rows ?? 0
      }
    }
  } finally {
    await files.close()
  }
  return counts
}

function linesOf(block: Parameters<typeof rowsOf>[0]): string {
  const { producer, epoch, blockSeq } = block.head
  const identity = { producer, epoch: epoch.toString(), block_seq: blockSeq.toString() }
  let text = ''
  let row_in_block = 0
  for (const row of rowsOf(block)) text += `${JSON.stringify({ ...row, ...identity, row_in_block: row_in_block++ })}\n`
  return text
}

/** One open file a table. */
class Files {
  readonly #target: string
  readonly #ending: string
  readonly #open = new Map<string, WriteStream>()

  constructor(target: string, ending: string) {
    this.#target = target
    this.#ending = ending
  }

  async write(table: string, piece: string | Buffer): Promise<void> {
    let file = this.#open.get(table)
    if (file === undefined) {
      file = createWriteStream(join(this.#target, `${table}.${this.#ending}`))
      this.#open.set(table, file)
      await once(file, 'open')
    }
    if (!file.write(piece)) await once(file, 'drain')
  }

  async close(): Promise<void> {
    for (const file of this.#open.values()) {
      file.end()
      await once(file, 'close')
    }
  }
}
