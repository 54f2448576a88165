/**
 * Reads recordings: lines of `<local time> <json>`, plain or gzip, where the JSON is a combined frame
 * (`{"stream":…,"data":…}`) or the body of a REST depth answer at the place where it arrived. The local time is in
 * ns, µs or ms since the epoch, told by its digits.
 */
import { createReadStream, openSync, readSync, closeSync } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { MarketName } from './venue.ts'

/** One line, not yet parsed beyond its envelope. */
export interface RecordedLine {
  readonly localMs: number
  /** stream name, or null for a REST depth body */
  readonly stream: string | null
  /** the bytes of `data`, or the depth body, as they were (latin1) */
  readonly text: string
}

/** Lines of one chunk of the file; `broken` counts what is none. */
export interface RecordedChunk {
  readonly lines: RecordedLine[]
  readonly broken: number
}

const GZIP_MAGIC = 0x8b1f
const CHUNK_BYTES = 256 * 1024
const LINE_CHARS_MAX = 16 * 1024 * 1024

export async function* readRecording(path: string): AsyncGenerator<RecordedChunk> {
  const isPacked = isGzip(path)
  const raw = createReadStream(path, { highWaterMark: CHUNK_BYTES })
  const bytes = isPacked ? raw.pipe(createGunzip()) : raw
  raw.on('error', (error) => bytes.destroy(error))
  let rest = ''
  for await (const chunk of bytes) {
    const pieces = (rest + (chunk as Buffer).toString('latin1')).split('\n')
    rest = pieces.pop() ?? ''
    if (rest.length > LINE_CHARS_MAX)
      throw new Fault(
        'RECORDING_LINE',
        `${path} has a line of more than 16 MiB; give a recording of lines "<time> <json>"`,
        EXIT_USAGE,
      )
    yield parseLines(pieces)
  }
  if (rest !== '') yield parseLines([rest])
}

function isGzip(path: string): boolean {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    throw new Fault(
      'RECORDING_MISSING',
      `the recording ${path} can not be read (${(error as Error).message}); give the path of a recording`,
      EXIT_USAGE,
    )
  }
  const magic = Buffer.alloc(2)
  readSync(file, magic, 0, 2, 0)
  closeSync(file)
  return magic.readUInt16LE() === GZIP_MAGIC
}

function parseLines(texts: readonly string[]): RecordedChunk {
  const lines: RecordedLine[] = []
  let broken = 0
  for (const text of texts) {
    if (text === '') continue
    const line = parseLine(text)
    if (line === null) broken++
    else lines.push(line)
  }
  return { lines, broken }
}

const FRAME = /^\{"stream":\s*"([^"]+)",\s*"data":\s*/

function parseLine(text: string): RecordedLine | null {
  const space = text.indexOf(' ')
  const localMs = toMs(text.slice(0, space))
  if (space < 1 || Number.isNaN(localMs)) return null
  const json = text.slice(space + 1).trimEnd()
  if (!json.endsWith('}')) return null
  const frame = FRAME.exec(json)
  if (frame !== null) return { localMs, stream: frame[1] as string, text: json.slice(frame[0].length, -1) }
  return json.startsWith('{"lastUpdateId"') ? { localMs, stream: null, text: json } : null
}

function toMs(digits: string): number {
  if (!/^\d{13,19}$/.test(digits)) return Number.NaN
  const divisor = digits.length >= 19 ? 1e6 : digits.length >= 16 ? 1e3 : 1
  return Number(digits) / divisor
}

/** From names and keys: COIN-M symbols have an underscore, futures depth has `pu`, futures trades have `X`. */
export function guessMarket(line: RecordedLine): MarketName | null {
  if (line.stream === null) {
    if (line.text.includes('"pair"')) return 'coinm'
    return null
  }
  if (!/@(trade|depth|bookTicker|aggTrade)/.test(line.stream)) return null
  if (line.stream.includes('_')) return 'coinm'
  if (/@depth/.test(line.stream)) return line.text.includes('"pu":') ? 'usdm' : 'spot'
  if (/@bookTicker/.test(line.stream)) return line.text.includes('"E":') ? 'usdm' : 'spot'
  return line.text.includes('"M":') ? 'spot' : 'usdm'
}
