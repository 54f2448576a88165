/**
 * What the player wants of a recording of Binance, in any of the formats: each line with its envelope opened. A message is
 * a combined frame (`{"stream":…,"data":…}`) or the body of a REST depth answer at the place where it arrived.
 */
import { ANSWER, CONNECT } from './line-formats.ts'
import type { RecordedMessage } from './recording.ts'
import { Recording } from './recording.ts'
import type { MarketName } from './venue.ts'

/** One line, not yet parsed beyond its envelope. */
export interface RecordedLine {
  readonly localMs: number
  /** stream name, or null for a REST depth body */
  readonly stream: string | null
  /** the bytes of `data`, or the depth body, as they were (latin1) */
  readonly text: string
  /** of an answer: what was asked, where the recording tells it; else empty */
  readonly url: string
}

/** Lines of one chunk of the file; `broken` counts what is none. */
export interface RecordedChunk {
  readonly lines: RecordedLine[]
  readonly broken: number
}

const DEPTH_URL = /\/(api|fapi|dapi)\/v\d\/depth\?/
const MARKET_OF_PATH: Readonly<Record<string, MarketName>> = { api: 'spot', fapi: 'usdm', dapi: 'coinm' }
const FRAME = /^\{"stream":\s*"([^"]+)",\s*"data":\s*/

/** Throws a Fault for a file that is not there. */
export async function* readRecordedLines(path: string): AsyncGenerator<RecordedChunk> {
  const recording = new Recording([path])
  let brokenBefore = 0
  for await (const chunk of recording.chunks()) {
    const messages = chunk.filter(isPlayed)
    const found = messages.map(openEnvelope)
    const lines = found.filter((line) => line !== null)
    const broken = recording.brokenCount - brokenBefore + messages.length - lines.length
    brokenBefore = recording.brokenCount
    yield { lines, broken }
  }
  if (recording.brokenCount > brokenBefore) yield { lines: [], broken: recording.brokenCount - brokenBefore }
}

/** Openings of sockets and lists of instruments are no part of the play. */
function isPlayed({ kind, url }: RecordedMessage): boolean {
  return kind !== CONNECT && (kind !== ANSWER || DEPTH_URL.test(url))
}

function openEnvelope({ receivedHi, receivedLo, bytes, url }: RecordedMessage): RecordedLine | null {
  const localMs = (receivedHi * 2 ** 32 + receivedLo) / 1e6
  const json = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').trimEnd()
  if (!json.endsWith('}')) return null
  const frame = FRAME.exec(json)
  if (frame !== null) return { localMs, stream: frame[1] as string, text: json.slice(frame[0].length, -1), url }
  return json.startsWith('{"lastUpdateId"') ? { localMs, stream: null, text: json, url } : null
}

/** The symbol that a depth answer, or the question for it, names itself. */
export function namedSymbol({ url, text }: RecordedLine): string | undefined {
  return /[?&]symbol=(\w+)/.exec(url)?.[1] ?? /"symbol":\s*"([^"]+)"/.exec(text.slice(0, 200))?.[1]
}

/** From the question, or from names and keys: COIN-M symbols have an underscore, futures depth has `pu`, futures trades have `X`. */
export function guessMarket(line: RecordedLine): MarketName | null {
  if (line.stream === null) {
    const path = DEPTH_URL.exec(line.url)?.[1]
    if (path !== undefined) return MARKET_OF_PATH[path] as MarketName
    if (line.text.includes('"pair"')) return 'coinm'
    return null
  }
  if (!/@(trade|depth|bookTicker|aggTrade)/.test(line.stream)) return null
  if (line.stream.includes('_')) return 'coinm'
  if (/@depth/.test(line.stream)) return line.text.includes('"pu":') ? 'usdm' : 'spot'
  if (/@bookTicker/.test(line.stream)) return line.text.includes('"E":') ? 'usdm' : 'spot'
  return line.text.includes('"M":') ? 'spot' : 'usdm'
}
