/**
 * `marketprism replay FILE… --market M`: recordings through the real ring, worker, scanner, book and encoder. The answer
 * is what the engine made of them: books, counts, sums; and every row, if asked.
 */
import { createWriteStream, type WriteStream } from 'node:fs'
import { once } from 'node:events'
import { SHARD_DEFAULTS } from '../../workers/shard.ts'
import type { InstrumentSummary } from '../../workers/shard-summary.ts'
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import type { ReadRules } from '../exchanges/exchange.ts'
import { feedRules, READ_RULES } from '../exchanges/index.ts'
import { decodeBlock, rowsOf } from '../record/decode.ts'
import { REJECT_REASONS } from '../record/emit.ts'
import type { Format } from '../simulate/line-formats.ts'
import { Recording } from '../simulate/recording.ts'
import { answersOf } from './replay-answers.ts'
import { KindCounts, type Kinds } from './replay-kinds.ts'
import { type ReplayOutcome, replayRecording } from './replay-run.ts'
import { openRowSink } from './replay-sink.ts'
import { type Survey, surveyCapture } from './replay-survey.ts'

export interface ReplayOptions {
  readonly files: readonly string[]
  /** `binance.usdm`; `okx` where the symbols tell the market */
  readonly market: string
  readonly format: Format | 'auto'
  readonly to: 'embedded' | 'nats' | 'none'
  /** file of NDJSON rows, `-` is stdout */
  readonly rows: string | undefined
  readonly json: boolean
}

/** One instrument, as `--json` prints it. */
export interface ReplayInstrument extends Omit<InstrumentSummary, 'kinds' | 'checksums'> {
  /** rows by table */
  readonly kinds: Kinds
  /** events by what the venue's sum of the book said; only of a venue that has sums */
  readonly checksums?: { readonly good: number; readonly bad: number; readonly absent: number }
}

/** What `--json` prints, exactly. */
export interface ReplayAnswer {
  readonly messages: number
  readonly rejected: number
  readonly instruments: Readonly<Record<string, ReplayInstrument>>
}

const PROGRESS_MS = 500
const TOP_LEVELS = 3

export async function runReplay(options: ReplayOptions, run: Run): Promise<ReplayAnswer> {
  checkOptions(options)
  const { rules, market } = placeOf(options.market)
  const { exchange } = rules
  const reading = options.format === 'auto' ? {} : { format: options.format }
  const recording = new Recording(options.files, reading)
  const { batch, snapshots } = run.config
  const settings = {
    ...SHARD_DEFAULTS,
    exchange,
    market,
    instruments: [],
    learnUnknown: true,
    live: false,
    publishes: false,
    producer: 'replay',
    batch: { rowsMax: batch.rowsMax, bytesMax: batch.bytesMax, ageMsMax: batch.ageMs },
    snapshots,
  }
  await recording.requireFiles()
  const survey = (await recording.format()) === 'cryptofeed' ? await surveyOf(options, rules, market) : undefined
  const kinds = new KindCounts()
  const sink = options.to === 'none' ? undefined : await openRowSink(options.to, run)
  const rows = options.rows === undefined ? undefined : new RowFile(options.rows)
  const progress = new Progress()
  try {
    const outcome = await replayRecording({
      recording,
      settings,
      survey,
      stop: run.stop,
      onProgress: (messages) => progress.show(messages),
      onBlock: async (block) => {
        kinds.add(block)
        await rows?.write(block)
        await sink?.take(block)
      },
    })
    await rows?.close()
    progress.clear()
    const place = await sink?.finish()
    const answer = answerOf(recording, outcome, kinds)
    if (options.json) process.stdout.write(`${JSON.stringify(answer)}\n`)
    else if (options.rows !== '-') process.stdout.write(summaryText(answer, outcome, place))
    tellBroken(recording, outcome)
    return answer
  } finally {
    progress.clear()
    await sink?.close()
  }
}

function checkOptions({ rows, json }: ReplayOptions): void {
  if (json && rows === '-')
    throw new Fault('USAGE', '--json and --rows - both want stdout: give --rows a file', EXIT_USAGE)
}

/** What `--market` may say: each market, and each exchange whose symbols tell their market. */
export function replayMarkets(): string[] {
  return [...READ_RULES.values()].flatMap(({ exchange, markets, symbolsTellMarket }) => [
    ...(symbolsTellMarket === true ? [exchange] : []),
    ...markets.map((market) => `${exchange}.${market}`),
  ])
}

function placeOf(name: string): { readonly rules: ReadRules; readonly market: string } {
  const [exchange, market = ''] = name.split('.') as [string, string?]
  const rules = READ_RULES.get(exchange)
  if (rules === undefined || !replayMarkets().includes(name))
    throw new Fault('USAGE', `unknown market '${name}'; allowed are ${replayMarkets().join(', ')}`, EXIT_USAGE)
  return { rules, market }
}

/** Read once before the replay, by a reader of its own: what it counts is not counted twice. */
async function surveyOf({ files }: ReplayOptions, rules: ReadRules, market: string): Promise<Survey> {
  const network = feedRules().get(rules.exchange)
  if (network === undefined) throw new Fault('USAGE', `nothing is known of the REST answers of ${rules.exchange}`)
  return surveyCapture(new Recording(files, { format: 'cryptofeed' }), rules, market, answersOf(network, market))
}

function answerOf(recording: Recording, { summary, counts }: ReplayOutcome, kinds: KindCounts): ReplayAnswer {
  const instruments = Object.entries(summary.instruments).map(([id, one]) => [id, told(id, one, kinds.of(id))])
  return {
    messages: recording.lineCount,
    rejected: counts.rejected + recording.brokenCount,
    instruments: Object.fromEntries(instruments),
  }
}

function told(id: string, { checksums, ...one }: InstrumentSummary, kinds: Kinds): ReplayInstrument {
  const [exchange, market] = id.split('.') as [string, string]
  const hasSums = READ_RULES.get(exchange)?.sync(market).checksumOf !== undefined
  if (!hasSums) return { ...one, kinds }
  const { good, bad } = checksums
  return { ...one, kinds, checksums: { good, bad, absent: one.applied - good - bad } }
}

/** Rows as NDJSON, a block at a time; waits when the reader of the file is slower. */
class RowFile {
  readonly #name: string
  readonly #out: WriteStream | typeof process.stdout
  #failure: Error | undefined

  constructor(name: string) {
    this.#name = name
    this.#out = name === '-' ? process.stdout : createWriteStream(name)
    this.#out.on('error', (error) => {
      this.#failure = error
    })
  }

  async write(block: Uint8Array): Promise<void> {
    let text = ''
    for (const row of rowsOf(decodeBlock(block))) text += `${JSON.stringify(row)}\n`
    this.#check()
    if (!this.#out.write(text)) await this.#drained()
    this.#check()
  }

  /** Room again, or the end of the file; leaves no listener behind. */
  async #drained(): Promise<void> {
    const over = new AbortController()
    const { signal } = over
    await Promise.race([once(this.#out, 'drain', { signal }), once(this.#out, 'close', { signal })]).catch(
      () => undefined,
    )
    over.abort()
  }

  async close(): Promise<void> {
    if (this.#out !== process.stdout) {
      this.#out.end()
      await once(this.#out, 'close').catch(() => undefined)
    }
    this.#check()
  }

  #check(): void {
    if (this.#failure !== undefined)
      throw new Fault('ROWS', `rows cannot be written to ${this.#name}: ${this.#failure.message}`)
  }
}

/** One line on a terminal, nothing elsewhere. */
class Progress {
  #shownMs = performance.now()
  #isShown = false

  show(messageCount: number): void {
    if (!process.stderr.isTTY || performance.now() - this.#shownMs < PROGRESS_MS) return
    this.#shownMs = performance.now()
    this.#isShown = true
    process.stderr.write(`\r${messageCount.toLocaleString('en')} messages`)
  }

  clear(): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K')
    this.#isShown = false
  }
}

function tellBroken(recording: Recording, { counts, summary }: ReplayOutcome): void {
  for (const { file, line, reason } of recording.broken) process.stderr.write(`${file}:${line}: ${reason}\n`)
  for (const reason of REJECT_REASONS) {
    const count = counts[`rejected_${reason}`]
    if (count === 0) continue
    const example = summary.rejectedFrames.find((frame) => frame.reason === reason)
    process.stderr.write(`rejected (${reason}): ${count}, for example ${example?.text.slice(0, 120)}\n`)
  }
}

function summaryText(answer: ReplayAnswer, { counts }: ReplayOutcome, place: string | undefined): string {
  const lines = [
    `${answer.messages} messages, ${answer.rejected} rejected, ${counts.ignored} of other kinds; ${counts.rows} rows in ${counts.blocks} blocks`,
  ]
  for (const [id, one] of Object.entries(answer.instruments)) {
    const { trades } = one
    lines.push('', `${id}  ${one.state}  last sequence ${one.lastSeq}`)
    lines.push(`  depth events   ${one.applied} applied, ${one.stale} stale, ${one.gaps} gaps`)
    lines.push(
      `  trades         ${trades.count}, quantity ${trades.quantity}, notional ${trades.notional}, ids ${trades.firstId} to ${trades.lastId}`,
    )
    lines.push(`  book tickers   ${one.bookTickers.count}`)
    lines.push(`  bids (${one.bids.length})`.padEnd(17) + topText(one.bids))
    lines.push(`  asks (${one.asks.length})`.padEnd(17) + topText(one.asks))
  }
  if (place !== undefined) lines.push('', place)
  return `${lines.join('\n')}\n`
}

function topText(levels: InstrumentSummary['bids']): string {
  const top = levels.slice(0, TOP_LEVELS).map(([price, quantity]) => `${price} × ${quantity}`)
  return levels.length > TOP_LEVELS ? `${top.join(', ')}, …` : top.join(', ')
}
