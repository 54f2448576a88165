/**
 * The formats that recordings come in: what one line says.
 *
 *   hftbacktest   <ns or µs> <message>                  one socket; REST depth bodies stand between its frames
 *   raw           <message>                             one socket; no local time, so the venue's own time stands for it
 *   cryptofeed    <s>: <message>                        one socket a file, text as its raw data collection writes it
 *                 <url> <-> <s>                         … connected
 *                 <url> <- <s>: <message>               … sent by the client
 *                 <url> -> <s>: <body>                  answer of REST
 *                 configuration: <json>                 what the client wanted, in words of its own
 */
export const FORMATS = ['hftbacktest', 'raw', 'cryptofeed'] as const
export type Format = (typeof FORMATS)[number]

/** What a line is. `NOTE`: nothing that came from the venue. */
export const FRAME = 1
export const ANSWER = 2
export const CONNECT = 3
export const NOTE = 4
export type LineKind = typeof FRAME | typeof ANSWER | typeof CONNECT | typeof NOTE

/** Reads the lines of one file; after `read` gave null the fields speak of that line. */
export interface LineReader {
  kind: LineKind
  timeHi: number
  timeLo: number
  /** of an answer: what was asked */
  url: string
  bytes: Uint8Array
  /** @returns why the line cannot be read, or null. */
  read(line: Uint8Array): string | null
}

const SPACE = 32
const POINT = 46
const COLON = 58
const DIGIT_0 = 48
const DIGIT_9 = 57
const NS_DIGITS = 19
const US_DIGITS = 16
const SECOND_DIGITS = 10
const FRACTION_DIGITS = 9
const TWO16 = 65536
const TWO32 = 4294967296
const NOTHING = new Uint8Array(0)

const SIGNS: readonly (readonly [Format, RegExp])[] = [
  ['hftbacktest', /^\d{16}(\d{3})? /],
  ['cryptofeed', /^(\d{10}(\.\d+)?: |(wss?|https?):\/\/|configuration: )/],
  ['raw', /^\s*[[{]/],
]

/** @param text the beginning of a file. @returns undefined when no line of it is of a known format. */
export function detectFormat(text: string): Format | undefined {
  for (const line of text.split('\n')) {
    const found = SIGNS.find(([, sign]) => sign.test(line))
    if (found !== undefined) return found[0]
  }
  return undefined
}

export function lineReader(format: Format): LineReader {
  switch (format) {
    case 'hftbacktest':
      return new TimedLine()
    case 'cryptofeed':
      return new CapturedLine()
    case 'raw':
      return new RawLine()
  }
}

class Line {
  kind: LineKind = FRAME
  timeHi = 0
  timeLo = 0
  url = ''
  bytes: Uint8Array = NOTHING

  /** ns since the epoch as two words; 10^9 × 34 bits goes through two halves. */
  protected setTime(seconds: number, restNs: number): void {
    const upper = Math.floor(seconds / TWO16) * 1e9 // counts 2^16
    const lower = (upper % TWO16) * TWO16 + (seconds % TWO16) * 1e9 + restNs
    this.timeHi = Math.floor(upper / TWO16) + Math.floor(lower / TWO32)
    this.timeLo = lower % TWO32
  }
}

class TimedLine extends Line implements LineReader {
  read(line: Uint8Array): string | null {
    const digits = digitsFrom(line, 0)
    if (digits === 0) return 'no local time at the start of the line'
    if (digits !== NS_DIGITS && digits !== US_DIGITS)
      return `local time of ${digits} digits is neither ns (19) nor µs (16)`
    if (line[digits] !== SPACE) return 'no space after the local time'
    if (digits + 1 === line.length) return 'no message after the local time'
    const rest = numberOf(line, SECOND_DIGITS, digits)
    this.setTime(numberOf(line, 0, SECOND_DIGITS), digits === US_DIGITS ? rest * 1000 : rest)
    this.bytes = line.subarray(digits + 1)
    return null
  }
}

const URL_LINE = /^((?:wss?|https?):\/\/\S+) (<->|<-|->) /
/** A URL names the streams of a connection: 200 of them with 40 characters. */
const URL_BYTES_MAX = 16_384

/** Times are Python floats in seconds: as many digits as the float needs to be told from its neighbours. */
class CapturedLine extends Line implements LineReader {
  read(line: Uint8Array): string | null {
    const first = line[0] as number
    if (first >= DIGIT_0 && first <= DIGIT_9) {
      this.kind = FRAME
      this.url = ''
      return this.#message(line, 0)
    }
    const head = Buffer.from(line.buffer, line.byteOffset, Math.min(line.length, URL_BYTES_MAX)).toString('latin1')
    if (head.startsWith('configuration: ')) {
      this.kind = NOTE
      return null
    }
    const found = URL_LINE.exec(head)
    if (found === null) return 'neither a local time nor a URL at the start of the line'
    const [all, url, arrow] = found as unknown as [string, string, string]
    this.url = url
    this.kind = arrow === '->' ? ANSWER : arrow === '<->' ? CONNECT : NOTE
    return this.#message(line, all.length)
  }

  #message(line: Uint8Array, from: number): string | null {
    const point = digitsFrom(line, from)
    if (point - from !== SECOND_DIGITS) return `local time of ${point - from} digits is not in seconds (10)`
    const end = line[point] === POINT ? digitsFrom(line, point + 1) : point
    const exactEnd = Math.min(end, point + 1 + FRACTION_DIGITS)
    const fraction = end === point ? 0 : numberOf(line, point + 1, exactEnd)
    this.setTime(numberOf(line, from, point), fraction * 10 ** (FRACTION_DIGITS - Math.max(0, exactEnd - point - 1)))
    this.bytes = NOTHING
    if (this.kind === CONNECT) return end === line.length ? null : 'something after the time of the connection'
    if (line[end] !== COLON || line[end + 1] !== SPACE) return 'no colon and space after the local time'
    if (end + 2 === line.length) return 'no message after the local time'
    this.bytes = line.subarray(end + 2)
    return null
  }
}

/** The names that venues have for the time of a message, in ms. */
const VENUE_TIME = /"(?:ts|E|timestamp|T)":\s*"?(\d{13})\b/

class RawLine extends Line implements LineReader {
  read(line: Uint8Array): string | null {
    const text = Buffer.from(line.buffer, line.byteOffset, line.length).toString('latin1')
    const found = VENUE_TIME.exec(text)?.[1]
    this.bytes = line
    if (found === undefined) return null // as late as the line before
    const { timeHi, timeLo } = this
    this.setTime(Number(found.slice(0, SECOND_DIGITS)), Number(found.slice(SECOND_DIGITS)) * 1e6)
    if (this.timeHi < timeHi || (this.timeHi === timeHi && this.timeLo < timeLo)) {
      this.timeHi = timeHi // receive times do not go back
      this.timeLo = timeLo
    }
    return null
  }
}

/** @returns the offset behind the digits that begin at `from`. */
function digitsFrom(line: Uint8Array, from: number): number {
  let at = from
  while (at < line.length && (line[at] as number) >= DIGIT_0 && (line[at] as number) <= DIGIT_9) at++
  return at
}

function numberOf(line: Uint8Array, from: number, to: number): number {
  let value = 0
  for (let at = from; at < to; at++) value = value * 10 + ((line[at] as number) - DIGIT_0)
  return value
}
