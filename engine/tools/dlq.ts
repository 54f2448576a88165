import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Table from 'cli-table3'
import { Clock } from '../base/clock.ts'
import { EXIT_MISSED, EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { decodeBlock, type PlainRow, rowsOf } from '../record/decode.ts'
import { dataDirectory } from '../roles/settings.ts'
import { ClickHouseSink } from '../sinks/clickhouse.ts'
import { DirectoryLetterBox, type Letter, type LetterBox, StreamLetterBox } from '../sinks/letter-box.ts'
import { type LetterLine, lineOf } from '../sinks/letter-line.ts'
import { openBlock } from '../sinks/sink.ts'
import { type ReachedNats, reachClickHouse, reachNats } from './reach.ts'

/** `marketprism dlq`: blocks that could not be stored, and what to do with them. */
export interface DlqOptions {
  readonly action: 'list' | 'show' | 'replay' | 'drop'
  /** numbers and ranges of them: `3`, `7-9` */
  readonly numbers: readonly string[]
  readonly all: boolean
  readonly table: string | undefined
  readonly exchange: string | undefined
  readonly producer: string | undefined
  /** text that the reason contains */
  readonly reason: string | undefined
  /** of `show`: the bytes of the one letter go here */
  readonly out: string | undefined
  readonly yes: boolean
  readonly json: boolean
}

const ROWS_SHOWN = 3

export async function runDlq(options: DlqOptions, run: Run): Promise<void> {
  const { box, stop, replay } = await openBox(run)
  try {
    const isChosen = choice(options)
    if (options.action === 'list') return await list(box, isChosen, options.json)
    if (!isChosen.isNarrowed && !options.all)
      throw new Fault(
        'NO_LETTERS_NAMED',
        `dlq ${options.action} needs to know which letters: give numbers (3 7-9), a filter such as --table trades, or --all`,
        EXIT_USAGE,
      )
    if (options.action === 'show') return await show(box, isChosen, options)
    if (options.action === 'drop') return await drop(box, isChosen, options)
    return await replayAll(box, isChosen, replay, options.json)
  } finally {
    await stop()
  }
}

type Replay = (letter: Letter) => Promise<string>

/** @returns the letters of NATS where there is NATS, else those of the directory; `replay` says '' or why not. */
async function openBox(run: Run): Promise<{ box: LetterBox; stop(): Promise<void>; replay: Replay }> {
  const nats = await reachNats(run)
  if (nats !== undefined) return openStream(nats)
  const { config } = run
  const directory = join(dataDirectory(config, 'spool', config.spool.directory), 'poison')
  return { box: new DirectoryLetterBox(directory), ...directReplay(run) }
}

async function openStream({ connection, stop }: ReachedNats) {
  try {
    const box = new StreamLetterBox(connection, await connection.jetstreamManager())
    const nowMs = new Clock().nowMs()
    const replay: Replay = async (letter) => {
      if (!letter.subject.startsWith('block.')) return 'it did not come from the block stream: look at it with --out'
      await box.replay(letter, nowMs)
      return ''
    }
    return { box, stop, replay }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Without NATS the block goes where it was going: into ClickHouse, which is opened for the first that asks. */
function directReplay(run: Run): { replay: Replay; stop(): Promise<void> } {
  const clock = new Clock()
  let opened: Promise<{ sink: ClickHouseSink; stop(): Promise<void> }> | undefined
  const open = async () => {
    const { options, stop } = await reachClickHouse(run)
    const sink = new ClickHouseSink(options, () => clock.nowNs(), run.log)
    sink.hurry() // one letter after the other
    return { sink, stop }
  }
  const replay: Replay = async (letter) => {
    const block = openBlock(letter.payload)
    opened ??= open()
    const { sink } = await opened
    const outcome = await sink.send(block)
    if (outcome === 'acknowledged') return ''
    return outcome === 'retry' ? (sink.trouble() ?? 'ClickHouse does not take it now') : outcome.reason
  }
  const stop = async (): Promise<void> => {
    const store = await opened?.catch(() => undefined)
    await store?.sink.close()
    await store?.stop()
  }
  return { replay, stop }
}

interface Choice {
  (line: LetterLine): boolean
  readonly isNarrowed: boolean
  /** letters are called by their numbers, so they should be there */
  readonly isNumbered: boolean
}

function choice(options: DlqOptions): Choice {
  const ranges = options.numbers.map(rangeOf)
  const { table, exchange, producer, reason } = options
  const is = (wanted: string | undefined, found: string) => wanted === undefined || wanted === found
  const takes = (line: LetterLine): boolean =>
    (ranges.length === 0 || ranges.some(([first, last]) => line.number >= first && line.number <= last)) &&
    is(table, line.table) &&
    is(exchange, line.exchange) &&
    is(producer, line.producer) &&
    (reason === undefined || line.reason.includes(reason))
  const isNarrowed = ranges.length > 0 || [table, exchange, producer, reason].some((value) => value !== undefined)
  return Object.assign(takes, { isNarrowed, isNumbered: ranges.length > 0 })
}

function rangeOf(text: string): [number, number] {
  const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? []
  if (first === undefined)
    throw new Fault('WRONG_NUMBER', `${text} is no number of a letter: give 3, or a range such as 7-9`, EXIT_USAGE)
  return [Number(first), Number(last ?? first)]
}

async function* chosen(box: LetterBox, isChosen: Choice): AsyncGenerator<[Letter, LetterLine]> {
  for await (const letter of box.letters()) {
    const line = lineOf(letter)
    if (isChosen(line)) yield [letter, line]
  }
}

async function list(box: LetterBox, isChosen: Choice, asJson: boolean): Promise<void> {
  const lines: LetterLine[] = []
  for await (const [, line] of chosen(box, isChosen)) lines.push(line)
  if (asJson) return print(JSON.stringify({ place: box.place, letters: lines }))
  print(`${box.place}: ${lines.length} letters`)
  if (lines.length === 0) return
  const table = new Table({
    head: ['number', 'since', 'block', 'table', 'rows', 'bytes', 'tries', 'reason'],
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    colWidths: [null, null, 44, null, null, null, null, 70],
  })
  for (const { number, at, block, table: name, rows, bytes, attempts, reason } of lines)
    table.push([number, at, block, name, rows ?? '?', bytes, attempts, reason])
  print(String(table))
}

async function show(box: LetterBox, isChosen: Choice, { json, out }: DlqOptions): Promise<void> {
  let count = 0
  for await (const [letter, line] of chosen(box, isChosen)) {
    if (out !== undefined && count > 0) throw new Fault('ONE_LETTER', '--out takes the bytes of one letter', EXIT_USAGE)
    count++
    if (out !== undefined) await writeFile(out, letter.payload)
    const shown = { ...line, subject: letter.subject, headers: letter.headers, firstRows: firstRows(letter) }
    if (json) print(JSON.stringify(shown))
    else for (const [name, value] of Object.entries(shown)) print(`${name.padEnd(9)} ${textOf(value)}`)
  }
  if (count === 0) throw noLetter(box)
}

function noLetter({ place }: LetterBox): Fault {
  return new Fault('NO_LETTER', `no such letter in ${place}: marketprism dlq list`, EXIT_MISSED)
}

/** Of a block that can be read, what it begins with; else the reason why it cannot be. */
function firstRows({ payload }: Letter): readonly PlainRow[] | string {
  const rows: PlainRow[] = []
  try {
    for (const row of rowsOf(decodeBlock(payload))) if (rows.push(row) >= ROWS_SHOWN) break
    return rows
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`
  }
}

/** One after the other; a letter goes when its block is acknowledged, not before. */
async function replayAll(box: LetterBox, isChosen: Choice, replay: Replay, asJson: boolean): Promise<void> {
  const replayed: number[] = []
  const failed: { number: number; why: string }[] = []
  for await (const [letter, { number }] of chosen(box, isChosen)) {
    const why = await replay(letter).catch((error: Error) => error.message)
    if (why === '') {
      await box.remove(letter)
      replayed.push(number)
    } else failed.push({ number, why })
  }
  if (asJson) print(JSON.stringify({ replayed, failed }))
  else print(`${replayed.length} blocks sent again and their letters removed`)
  if (isChosen.isNumbered && replayed.length + failed.length === 0) throw noLetter(box)
  if (failed.length === 0) return
  const lines = failed.map(({ number, why }) => `letter ${number} stays: ${why}`)
  throw new Fault('NOT_REPLAYED', lines.join('\n'), EXIT_MISSED)
}

async function drop(box: LetterBox, isChosen: Choice, { yes, json }: DlqOptions): Promise<void> {
  const numbers: number[] = []
  for await (const [letter, { number }] of chosen(box, isChosen)) {
    numbers.push(number)
    if (yes) await box.remove(letter)
  }
  if (!yes && numbers.length > 0)
    throw new Fault(
      'NOT_DROPPED',
      `${numbers.length} blocks would be gone for good (${numbers.join(', ')}): say it again with --yes`,
      EXIT_USAGE,
    )
  print(json ? JSON.stringify({ dropped: numbers }) : `${numbers.length} letters dropped`)
  if (isChosen.isNumbered && numbers.length === 0) throw noLetter(box)
}

const textOf = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
