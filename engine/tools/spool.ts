import Table from 'cli-table3'
import { EXIT_MISSED, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { dataDirectory } from '../roles/settings.ts'
import { type ExportFormat, exportBlocks } from './spool/export.ts'
import {
  blocksOf,
  type Damage,
  damagesOf,
  type Marks,
  type ReadSegment,
  readMarks,
  readSegments,
  tornBytes,
  tryDecode,
} from './spool/files.ts'
import type { BlockChoice } from './spool/range.ts'
import { replayBlocks } from './spool/replay.ts'

/** `marketprism spool`: what is in the spool, whether it is whole, and ways to get it out. It never changes it. */
export interface SpoolToolOptions extends BlockChoice {
  readonly action: 'ls' | 'verify' | 'export' | 'replay'
  /** of `ls`: every block */
  readonly blocks: boolean
  readonly format: ExportFormat
  readonly out: string
  readonly newToken: boolean
  readonly json: boolean
}

export async function runSpool(options: SpoolToolOptions, run: Run): Promise<void> {
  const { config } = run
  const directory = dataDirectory(config, 'spool', config.spool.directory)
  switch (options.action) {
    case 'ls':
      return await list(directory, options)
    case 'verify':
      return await verify(directory, options.json)
    case 'export': {
      const counts = await exportBlocks(directory, options, options.format, options.out)
      const line = `${counts.blocks} blocks, ${counts.rows} rows, into ${options.out}; ${counts.unreadable} could not be read`
      return print(options.json ? JSON.stringify(counts) : line)
    }
    case 'replay':
      return await replay(directory, options, run)
  }
}

interface SegmentLine {
  readonly segment: string
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly blocks: number
  readonly rows: number
  readonly bytes: number
  /** rows by table */
  readonly tables: Readonly<Record<string, number>>
  readonly firstReceived: string
  readonly lastReceived: string
  /** blocks that the spool knew to be delivered, and stored, when it last wrote that down */
  readonly acknowledged: number
  readonly committed: number
}

interface BlockLine {
  readonly block: string
  readonly segment: string
  readonly offset: number
  readonly bytes: number
  readonly table: string
  readonly exchange: string
  readonly rows: number
  readonly firstReceived: string
  readonly lastReceived: string
  readonly acknowledged: boolean
  readonly committed: boolean
}

async function list(directory: string, options: SpoolToolOptions): Promise<void> {
  const marks = await readMarks(directory)
  const segments: SegmentLine[] = []
  const blocks: BlockLine[] = []
  for await (const segment of readSegments(directory)) {
    const lines = blockLines(segment, marks)
    segments.push(segmentLine(segment, marks, lines))
    if (options.blocks)
      blocks.push(...lines.filter(({ table }) => options.table === undefined || options.table === table))
  }
  if (options.json) return print(JSON.stringify({ directory, segments, ...(options.blocks ? { blocks } : {}) }))
  print(
    `${directory}: ${segments.length} segments, ${sum(segments, 'blocks')} blocks, ${sum(segments, 'rows')} rows, ${sum(segments, 'bytes')} bytes`,
  )
  if (options.blocks) print(tableOf(blocks))
  else
    print(
      tableOf(
        segments.map(({ tables, ...line }) => ({
          ...line,
          tables: Object.entries(tables)
            .map(([name, rows]) => `${name} ${rows}`)
            .join(', '),
        })),
      ),
    )
}

function blockLines(segment: ReadSegment, marks: Marks): BlockLine[] {
  const { name } = segment
  return [...blocksOf(segment)].map((spooled) => {
    const head = tryDecode(spooled)?.head
    const { epoch, blockSeq, offset, payload } = spooled
    return {
      block: `${head?.producer ?? '?'}/${epoch}/${blockSeq}`,
      segment: name,
      offset,
      bytes: payload.length,
      table: head?.table ?? '?',
      exchange: head?.exchange ?? '?',
      rows: head?.rows ?? 0,
      firstReceived: timeOf(head?.firstReceivedNs),
      lastReceived: timeOf(head?.lastReceivedNs),
      acknowledged: blockSeq < Math.max(marks.acked(name), marks.committed(name)),
      committed: blockSeq < marks.committed(name),
    }
  })
}

function segmentLine({ name, base, bytes }: ReadSegment, marks: Marks, blocks: readonly BlockLine[]): SegmentLine {
  const tables: Record<string, number> = {}
  for (const { table, rows } of blocks) tables[table] = (tables[table] ?? 0) + rows
  const times = blocks
    .flatMap((line) => [line.firstReceived, line.lastReceived])
    .filter((time) => time !== '')
    .sort()
  const lastSeq = base.firstSeq + blocks.length - 1
  return {
    segment: name,
    epoch: base.epoch,
    firstSeq: base.firstSeq,
    lastSeq: Number(blocks.at(-1)?.block.split('/').at(-1) ?? lastSeq),
    blocks: blocks.length,
    rows: sum(blocks, 'rows'),
    bytes: bytes.length,
    tables,
    firstReceived: times[0] ?? '',
    lastReceived: times.at(-1) ?? '',
    acknowledged: blocks.filter((line) => line.acknowledged).length,
    committed: marks.committed(name) === 0 ? 0 : blocks.filter((line) => line.committed).length,
  }
}

async function verify(directory: string, asJson: boolean): Promise<void> {
  const damages: Damage[] = []
  const counts = { segments: 0, blocks: 0, bytes: 0, tornBytes: 0 }
  for await (const segment of readSegments(directory)) {
    counts.segments++
    counts.blocks += segment.scan.records.length
    counts.bytes += segment.bytes.length
    counts.tornBytes += tornBytes(segment)
    damages.push(...damagesOf(segment))
  }
  if (asJson) print(JSON.stringify({ directory, ...counts, damages }))
  else {
    for (const { file, offset, bytes, epoch, firstSeq, lastSeq, what } of damages)
      print(
        `${file} at ${offset}, ${bytes} bytes: ${what}${lastSeq < firstSeq ? '' : `; blocks ${epoch}/${firstSeq} to ${epoch}/${lastSeq}`}`,
      )
    const torn =
      counts.tornBytes === 0 ? '' : `; ${counts.tornBytes} bytes at an end are half a record, being written or cut off`
    print(`${directory}: ${counts.segments} segments, ${counts.blocks} blocks, every checksum looked at${torn}`)
  }
  if (damages.length > 0)
    throw new Fault(
      'SPOOL_DAMAGED',
      `${directory} is damaged at ${damages.length} places: check the disk; what can be read can be had with spool export`,
      EXIT_MISSED,
    )
}

async function replay(directory: string, options: SpoolToolOptions, run: Run): Promise<void> {
  const counts = await replayBlocks(directory, options, options.newToken, run)
  const { sent, rows, refused, failed, to } = counts
  const kept = refused === 0 ? '' : `; ${refused} not, for their rows are there and a new token would double them`
  print(options.json ? JSON.stringify(counts) : `${sent} blocks of ${rows} rows sent to ${to}${kept}`)
  const isNarrowed = [options.from, options.to, options.table].some((value) => value !== undefined)
  if (isNarrowed && sent + refused + failed.length === 0)
    throw new Fault(
      'NO_BLOCK',
      `${directory} has none of these blocks: see spool ls; what is stored stays for spool.retainSeconds`,
      EXIT_MISSED,
    )
  if (failed.length === 0) return
  const lines = failed.map(({ block, why }) => `block ${block} was not taken: ${why}`)
  throw new Fault('NOT_REPLAYED', lines.join('\n'), EXIT_MISSED)
}

function tableOf(lines: readonly object[]): string {
  const [first] = lines
  if (first === undefined) return ''
  const table = new Table({ head: Object.keys(first), style: { head: [], border: [], compact: true } })
  for (const line of lines) table.push(Object.values(line).map(String))
  return String(table)
}

function sum<Name extends string>(lines: readonly Readonly<Record<Name, number>>[], name: Name): number {
  return lines.reduce((total, line) => total + line[name], 0)
}

function timeOf(ns: bigint | undefined): string {
  return ns === undefined ? '' : new Date(Number(ns / 1_000_000n)).toISOString()
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
