import { EXIT_USAGE, Fault } from '../base/fault.ts'
import {
  type ANSWER,
  CONNECT,
  detectFormat,
  type Format,
  FRAME,
  type LineReader,
  lineReader,
  NOTE,
} from './line-formats.ts'
import { LineCutter } from './line-cutter.ts'
import { openBytes, requireFile } from './recorded-bytes.ts'

/**
 * Reads recordings: text files, plain, gzip or zip, a message a line, in one of the formats of `line-formats.ts`. The
 * message is what the socket or the REST answer said, byte for byte.
 *
 * Files of `hftbacktest` and `raw` in a row are one socket. Files of `cryptofeed` are a socket each (or answers of REST),
 * and are merged by their times.
 *
 * Arithmetic: a message has 150 to 600 bytes, gunzip gives about 300 MB/s, so one core reads about a million messages a
 * second. Lines are cut out of the chunks of the stream without a copy; memory is one chunk a file and the longest line.
 */

/** A message of 1,000 book levels has 50 kB; longer than this is no message. Below half of the smallest ring that replay uses. */
export const LINE_BYTES_MAX = 4 << 20
const BROKEN_LINES_KEPT_MAX = 100
/** Enough for the first line, which may be a URL that names all streams of a connection. */
const DETECT_BYTES = 65_536
/** Of a file without times: lines (acknowledgements) before the first that has one. */
const TIMELESS_LINES_MAX = 1000
const MERGED_CHUNK_MESSAGES = 1024

export interface RecordedMessage {
  /** local receive time, ns since the epoch as two 32-bit words */
  readonly receivedHi: number
  readonly receivedLo: number
  /** FRAME of a socket, ANSWER of REST, or CONNECT (no bytes): that socket opened */
  readonly kind: typeof FRAME | typeof ANSWER | typeof CONNECT
  /** which socket, from 0; of an answer that of its file */
  readonly connection: number
  /** of an answer: what was asked */
  readonly url: string
  /** a view on the chunk it was read with; keeping it keeps the chunk */
  readonly bytes: Uint8Array
}

export interface BrokenLine {
  readonly file: string
  /** physical line of that file, from 1 */
  readonly line: number
  readonly reason: string
}

export interface RecordingOptions {
  readonly lineBytesMax?: number
  /** absent: the first lines tell */
  readonly format?: Format
}

/** Several files as one recording. Counts what it could not read and goes on. */
export class Recording {
  readonly files: readonly string[]
  readonly #lineBytesMax: number
  readonly #given: Format | undefined
  #found: Format | undefined
  /** frames and answers given out, and broken lines */
  lineCount = 0
  brokenCount = 0
  /** the first broken lines; `brokenCount` counts all */
  readonly broken: BrokenLine[] = []

  constructor(files: readonly string[], options: RecordingOptions = {}) {
    this.files = files
    this.#lineBytesMax = options.lineBytesMax ?? LINE_BYTES_MAX
    this.#given = options.format
  }

  /** Messages in the order in which they were received, some at a time. Throws a Fault for a file that is not there. */
  async *chunks(): AsyncGenerator<RecordedMessage[]> {
    await this.requireFiles()
    const format = await this.format()
    if (format === 'cryptofeed') return yield* merged(this.files.map((file, at) => this.#chunksOf(file, at, format)))
    for (const file of this.files) yield* this.#chunksOf(file, 0, format)
  }

  /** @throws Fault for the first file that is not there. */
  async requireFiles(): Promise<void> {
    for (const file of this.files) await requireFile(file)
  }

  /** @throws Fault when the files do not tell, or not the same. */
  async format(): Promise<Format> {
    this.#found ??= this.#given ?? (await detected(this.files))
    return this.#found
  }

  async *#chunksOf(file: string, connection: number, format: Format): AsyncGenerator<RecordedMessage[]> {
    const cutter = new LineCutter(this.#lineBytesMax)
    const reader = lineReader(format)
    const timeless: Uint8Array[] = []
    const take = (messages: RecordedMessage[]) => (line: Uint8Array, number: number, reason: string | null) => {
      if (reason === null && isBlank(line)) return
      const fault = reason ?? reader.read(line)
      if (fault !== null) return this.#break(file, number, fault)
      if (reader.kind === NOTE) return
      if (reader.kind !== CONNECT) this.lineCount++
      if (reader.timeHi === 0 && timeless.length < TIMELESS_LINES_MAX) return void timeless.push(line)
      for (const earlier of timeless.splice(0)) messages.push(messageOf(reader, connection, earlier))
      messages.push(messageOf(reader, connection, reader.bytes))
    }
    const last: RecordedMessage[] = []
    try {
      for await (const chunk of await openBytes(file)) {
        const messages: RecordedMessage[] = []
        cutter.cut(chunk, take(messages))
        if (messages.length > 0) yield messages
      }
      cutter.end(take(last))
    } catch (error) {
      if (!isUnpackError(error)) throw error
      // The writer of a recording may have died: what was read so far counts, the rest is not there.
      this.#break(file, cutter.lineNumber + 1, `gzip data broken or cut off (${error.message})`)
    }
    for (const line of timeless) last.push(messageOf(reader, connection, line))
    if (last.length > 0) yield last
  }

  #break(file: string, line: number, reason: string): void {
    this.lineCount++
    this.brokenCount++
    if (this.broken.length < BROKEN_LINES_KEPT_MAX) this.broken.push({ file, line, reason })
  }
}

function messageOf(reader: LineReader, connection: number, bytes: Uint8Array): RecordedMessage {
  const { timeHi, timeLo, kind, url } = reader
  return {
    receivedHi: timeHi,
    receivedLo: timeLo,
    kind: kind as RecordedMessage['kind'],
    connection,
    url: kind === FRAME ? '' : url,
    bytes,
  }
}

function isUnpackError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')
}

function isBlank(line: Uint8Array): boolean {
  for (const byte of line) if (byte !== 32) return false
  return true
}

async function detected(files: readonly string[]): Promise<Format> {
  const found = new Map<Format, string>()
  for (const file of files) {
    const format = await detectedIn(file)
    if (format !== undefined && !found.has(format)) found.set(format, file)
  }
  const [first, second] = [...found]
  if (second !== undefined)
    throw new Fault(
      'RECORDING_FORMAT',
      `${first?.[1]} is of format ${first?.[0]}, ${second[1]} of format ${second[0]}: replay them one by one`,
      EXIT_USAGE,
    )
  return first?.[0] ?? 'hftbacktest'
}

/** @returns undefined for an empty file. */
async function detectedIn(file: string): Promise<Format | undefined> {
  let text = ''
  try {
    for await (const chunk of await openBytes(file)) {
      text += Buffer.from(chunk).toString('latin1', 0, DETECT_BYTES)
      if (text.length >= DETECT_BYTES) break
    }
  } catch (error) {
    if (!isUnpackError(error)) throw error // said when it is read
  }
  const format = detectFormat(text)
  if (format === undefined && text.trim() !== '')
    throw new Fault(
      'RECORDING_FORMAT',
      `the first lines of ${file} are of no known format: say which with --format, if it is one`,
      EXIT_USAGE,
    )
  return format
}

/** One of the recordings that are merged: its next message. */
interface Head {
  readonly chunks: AsyncGenerator<RecordedMessage[]>
  chunk: RecordedMessage[]
  at: number
}

/** By time; of equal times the earlier file first. Within a file its own order holds, whatever the times. */
async function* merged(sources: readonly AsyncGenerator<RecordedMessage[]>[]): AsyncGenerator<RecordedMessage[]> {
  const heads: Head[] = []
  for (const chunks of sources) {
    const head = { chunks, chunk: [], at: 0 }
    if (await refill(head)) heads.push(head)
  }
  let messages: RecordedMessage[] = []
  while (heads.length > 0) {
    const head = earliest(heads)
    messages.push(head.chunk[head.at++] as RecordedMessage)
    if (messages.length >= MERGED_CHUNK_MESSAGES) {
      yield messages
      messages = []
    }
    if (head.at === head.chunk.length && !(await refill(head))) heads.splice(heads.indexOf(head), 1)
  }
  if (messages.length > 0) yield messages
}

async function refill(head: Head): Promise<boolean> {
  const next = await head.chunks.next()
  if (next.done === true) return false
  head.chunk = next.value
  head.at = 0
  return true
}

function earliest(heads: readonly Head[]): Head {
  let best = heads[0] as Head
  for (const head of heads) {
    const [a, b] = [head.chunk[head.at] as RecordedMessage, best.chunk[best.at] as RecordedMessage]
    if (a.receivedHi < b.receivedHi || (a.receivedHi === b.receivedHi && a.receivedLo < b.receivedLo)) best = head
  }
  return best
}
