import { createWriteStream, existsSync } from 'node:fs'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { joinNs } from '../engine/base/clock.ts'
import { Recording, type RecordedMessage } from '../engine/simulate/recording.ts'
import { record } from './record.ts'

/** The messages that every bench uses: one USD-M instrument, in memory, and as a plain file for the peers. */
export interface BenchMessages {
  /** what they are, for people */
  readonly source: string
  readonly symbol: string
  readonly messages: readonly RecordedMessage[]
  readonly byteCount: number
  /** lines of `<ns> <message>` */
  readonly textFile: string
}

export const MARKET = 'binance.usdm'
const RECORDED = { path: 'recordings/hftbacktest/usdm_btcusdt_20240808.gz' }
const SYMBOL = /"s":"([A-Z0-9_]+)"/

/** @param recordingsFolder where real recordings may be; @param folder where the plain file goes */
export async function loadMessages(
  recordingsFolder: string,
  folder: string,
  say: (line: string) => void,
): Promise<BenchMessages> {
  const real = join(recordingsFolder, RECORDED.path)
  if (existsSync(real)) return load(real, real, folder)
  say(`no ${real}: the simulator makes a recording`)
  const made = join(folder, 'simulated.txt')
  return load(await record(made, say), made, folder)
}

async function load(source: string, file: string, folder: string): Promise<BenchMessages> {
  const recording = new Recording([file])
  const messages: RecordedMessage[] = []
  for await (const chunk of recording.chunks()) for (const message of chunk) messages.push(message)
  const textFile = join(folder, 'messages.txt')
  await writeText(textFile, messages)
  const first = messages.find((message) => SYMBOL.test(textOf(message)))
  const symbol = first === undefined ? '' : (SYMBOL.exec(textOf(first))?.[1] ?? '')
  return { source, symbol, messages, byteCount: messages.reduce((sum, { bytes }) => sum + bytes.length, 0), textFile }
}

export function textOf(message: RecordedMessage): string {
  return Buffer.from(message.bytes.buffer, message.bytes.byteOffset, message.bytes.length).toString()
}

async function writeText(file: string, messages: readonly RecordedMessage[]): Promise<void> {
  const out = createWriteStream(file)
  for (const message of messages) {
    out.write(`${joinNs(message.receivedHi, message.receivedLo)} `)
    out.write(message.bytes)
    if (!out.write('\n')) await new Promise<void>((resolve) => out.once('drain', () => resolve()))
  }
  out.end()
  await finished(out)
}
