import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { EXIT_USAGE, Fault } from '../base/fault.ts'

/**
 * Reads recordings: text files, plain or gzip, of lines `<local time> <message>`. The local time is ns (19 digits) or µs
 * (16 digits) since the epoch, the message is what the socket or the REST answer said, byte for byte.
 *
 * Arithmetic: a message has 150 to 600 bytes, gunzip gives about 300 MB/s, so one core reads about a million messages a
 * second. Lines are cut out of the chunks of the stream without a copy; memory is one chunk and the longest line.
 */

/** A message of 1,000 book levels has 50 kB; longer than this is no message. Below half of the smallest ring that replay uses. */
export const LINE_BYTES_MAX = 4 << 20
const BROKEN_LINES_KEPT_MAX = 100
const READ_CHUNK_BYTES = 1 << 20

export interface RecordedMessage {
  /** local receive time, ns since the epoch as two 32-bit words */
  readonly receivedHi: number
  readonly receivedLo: number
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
}

const NEWLINE = 10
const CARRIAGE_RETURN = 13
const SPACE = 32
const DIGIT_0 = 48
const DIGIT_9 = 57
const GZIP_MAGIC = [0x1f, 0x8b]
const NS_DIGITS = 19
const US_DIGITS = 16
const TWO16 = 65536
const TWO32 = 4294967296

/** Several files in a row as one recording. Counts what it could not read and goes on. */
export class Recording {
  readonly files: readonly string[]
  readonly #lineBytesMax: number
  /** messages given out and broken lines: every line that is not blank */
  lineCount = 0
  brokenCount = 0
  /** the first broken lines; `brokenCount` counts all */
  readonly broken: BrokenLine[] = []

  constructor(files: readonly string[], options: RecordingOptions = {}) {
    this.files = files
    this.#lineBytesMax = options.lineBytesMax ?? LINE_BYTES_MAX
  }

  /** Messages in the order of the files, a chunk of the file at a time. Throws a Fault for a file that is not there. */
  async *chunks(): AsyncGenerator<RecordedMessage[]> {
    await this.requireFiles()
    for (const file of this.files) yield* this.#chunksOf(file)
  }

  /** @throws Fault for the first file that is not there. */
  async requireFiles(): Promise<void> {
    for (const file of this.files) await requireFile(file)
  }

  async *#chunksOf(file: string): AsyncGenerator<RecordedMessage[]> {
    const cutter = new LineCutter(this.#lineBytesMax)
    try {
      for await (const chunk of await openBytes(file)) {
        const messages: RecordedMessage[] = []
        cutter.cut(chunk as Uint8Array, (line, number, reason) => this.#take(messages, file, line, number, reason))
        if (messages.length > 0) yield messages
      }
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || !String(error.code).startsWith('Z_')) throw error
      // The writer of a recording may have died: what was read so far counts, the rest is not there.
      this.#break(file, cutter.lineNumber + 1, `gzip data broken or cut off (${error.message})`)
      return
    }
    const messages: RecordedMessage[] = []
    cutter.end((line, number, reason) => this.#take(messages, file, line, number, reason))
    if (messages.length > 0) yield messages
  }

  #take(messages: RecordedMessage[], file: string, line: Uint8Array, number: number, reason: string | null): void {
    if (reason === null && line.every((byte) => byte === SPACE)) return // blank
    const digits = digitsAtStart(line)
    const fault = reason ?? faultOf(line, digits)
    if (fault !== null) {
      this.#break(file, number, fault)
      return
    }
    this.lineCount++
    timeWords(line, digits)
    messages.push({ receivedHi: timeHi, receivedLo: timeLo, bytes: line.subarray(digits + 1) })
  }

  #break(file: string, line: number, reason: string): void {
    this.lineCount++
    this.brokenCount++
    if (this.broken.length < BROKEN_LINES_KEPT_MAX) this.broken.push({ file, line, reason })
  }
}

type OnLine = (line: Uint8Array, lineNumber: number, reason: string | null) => void

/** Cuts chunks into lines; a line across chunks is joined, one that grows too long is dropped as it comes. */
class LineCutter {
  readonly #lineBytesMax: number
  #parts: Uint8Array[] = []
  #partBytes = 0
  lineNumber = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  cut(chunk: Uint8Array, onLine: OnLine): void {
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      this.#finish(chunk.subarray(from, to), onLine)
      from = to + 1
    }
    this.#keep(chunk.subarray(from))
  }

  end(onLine: OnLine): void {
    if (this.#partBytes > 0) this.#finish(new Uint8Array(0), onLine)
  }

  #keep(part: Uint8Array): void {
    this.#partBytes += part.length
    if (this.#partBytes > this.#lineBytesMax) this.#parts = []
    else if (part.length > 0) this.#parts.push(part)
  }

  #finish(tail: Uint8Array, onLine: OnLine): void {
    this.lineNumber++
    const length = this.#partBytes + tail.length
    if (length > this.#lineBytesMax) {
      onLine(tail, this.lineNumber, `line of ${length} bytes is longer than ${this.#lineBytesMax}`)
    } else if (length > 0) {
      const line = this.#partBytes === 0 ? tail : Buffer.concat([...this.#parts, tail])
      onLine(line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line, this.lineNumber, null)
    }
    this.#parts = []
    this.#partBytes = 0
  }
}

/** Why this line is not `<local time> <message>`, or null when it is. */
function faultOf(line: Uint8Array, digits: number): string | null {
  if (digits === 0) return 'no local time at the start of the line'
  if (digits !== NS_DIGITS && digits !== US_DIGITS)
    return `local time of ${digits} digits is neither ns (19) nor µs (16)`
  if (line[digits] !== SPACE) return 'no space after the local time'
  if (digits + 1 === line.length) return 'no message after the local time'
  return null
}

function digitsAtStart(line: Uint8Array): number {
  let digits = 0
  while (digits < line.length && (line[digits] as number) >= DIGIT_0 && (line[digits] as number) <= DIGIT_9) digits++
  return digits
}

/** What `timeWords` found last; two numbers cannot be returned without an object a line. */
let timeHi = 0
let timeLo = 0

/** Digits of ns or µs → ns as two words. The time is seconds × 10^9 + rest; 10^9 × 34 bits goes through two halves. */
function timeWords(line: Uint8Array, digits: number): void {
  let seconds = 0
  for (let at = 0; at < 10; at++) seconds = seconds * 10 + ((line[at] as number) - DIGIT_0)
  let rest = 0
  for (let at = 10; at < digits; at++) rest = rest * 10 + ((line[at] as number) - DIGIT_0)
  if (digits === US_DIGITS) rest *= 1000
  const upper = Math.floor(seconds / TWO16) * 1e9 // counts 2^16
  const lower = (upper % TWO16) * TWO16 + (seconds % TWO16) * 1e9 + rest
  timeHi = Math.floor(upper / TWO16) + Math.floor(lower / TWO32)
  timeLo = lower % TWO32
}

async function requireFile(file: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null) throw new Fault('RECORDING_MISSING', `recording ${file} is not there: check the path`, EXIT_USAGE)
  if (!found.isFile())
    throw new Fault('RECORDING_MISSING', `recording ${file} is not a file: name the files in it`, EXIT_USAGE)
}

/** The first bytes tell gzip from text, whatever the name says. */
async function openBytes(file: string): Promise<AsyncIterable<unknown>> {
  const handle = await open(file, 'r')
  const head = Buffer.alloc(GZIP_MAGIC.length)
  await handle.read(head, 0, head.length, 0)
  await handle.close()
  const raw = createReadStream(file, { highWaterMark: READ_CHUNK_BYTES })
  if (!GZIP_MAGIC.every((byte, at) => head[at] === byte)) return raw
  const text = createGunzip({ chunkSize: READ_CHUNK_BYTES })
  raw.on('error', (error) => text.destroy(error))
  return raw.pipe(text)
}
