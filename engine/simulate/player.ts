/**
 * Serves recordings in place of the seeded market: streams in their order and pacing, REST depth answers not before
 * their place in the recording. Files are merged by their local times, so a second file may be another instrument or a
 * continuation.
 *
 * A snapshot is part of the history: at its place the player waits a moment for the client to ask (its request is held
 * until then), for a live venue would have answered the request at this very point between two events.
 */
import { EXIT_USAGE, Fault } from '../base/fault.ts'
import type { RestSource } from './rest-source.ts'
import type { RecordedLine } from './recorded-line.ts'
import { namedSymbol, readRecordedLines } from './recorded-line.ts'
import { Score } from './score.ts'
import { surveyRecording } from './survey.ts'
import type { StreamsOptions } from './streams.ts'
import { Stream } from './streams.ts'
import type { Truth } from './truth.ts'
import type { MarketName } from './venue.ts'
import { BINANCE, parseStream } from './binance/index.ts'

export interface RecordingFile {
  readonly path: string
  /** null: told from the file */
  readonly market: MarketName | null
}

export interface PlayerOptions extends StreamsOptions {
  readonly files: readonly RecordingFile[]
  /** times faster than recorded; null: as fast as the clients take it */
  readonly speed: number | null
  readonly truth: Truth
}

interface Reel {
  readonly market: MarketName
  /** the only symbol of the file: what a depth body without a symbol belongs to */
  readonly onlySymbol: string | null
  readonly chunks: AsyncGenerator<{ lines: RecordedLine[] }>
  lines: RecordedLine[]
  at: number
  isFilling: boolean
  isDone: boolean
}

interface Snapshots {
  readonly depthStreams: Stream[]
  body: string | null
  isAnswered: boolean
  readonly waiting: ((body: string) => void)[]
}

const LINES_AHEAD = 20_000
const LINES_PER_TICK_MAX = 1000
/** playing starts when all streams are heard, or when nothing more was subscribed for so long */
const QUIET_MS = 5000
const SNAPSHOT_WAIT_MS = 3000

export class Player {
  readonly streams = new Map<string, Stream>()
  isOver = false
  brokenLines = 0
  readonly #options: PlayerOptions
  readonly #reels: Reel[] = []
  readonly #score: Score
  readonly #snapshots = new Map<string, Snapshots>()
  #heardCount = 0
  #heardChangedMs = 0
  #isPlaying = false
  #startMs = 0
  #firstLocalMs = 0
  #heldSinceMs: number | null = null
  readonly #payload = Buffer.alloc(1 << 20)

  constructor(options: PlayerOptions) {
    this.#options = options
    this.#score = new Score(options.truth)
  }

  /** First pass over the files: markets, instruments, streams, digits. */
  async prepare(): Promise<void> {
    const snapshots: (readonly [MarketName, string])[] = []
    for (const { path, market } of this.#options.files) {
      const survey = await surveyRecording(path, market)
      this.brokenLines += survey.brokenLines
      for (const listing of survey.listings) this.#score.list(listing)
      for (const name of survey.streams) this.#addStream(survey.market, name)
      snapshots.push(...survey.snapshotSymbols.map((symbol) => [survey.market, symbol] as const))
      const onlySymbol = survey.listings.length === 1 ? (survey.listings[0]?.symbol ?? null) : null
      const chunks = readRecordedLines(path)
      const reel: Reel = {
        market: survey.market,
        onlySymbol,
        chunks,
        lines: [],
        at: 0,
        isFilling: false,
        isDone: false,
      }
      this.#reels.push(reel)
      await this.#fill(reel)
    }
    for (const [market, symbol] of snapshots) this.#addSnapshots(market, symbol) // their streams may be in another file
    if (this.streams.size === 0)
      throw new Fault(
        'RECORDING_EMPTY',
        'the recording has no stream of trades, tickers or depth; give combined streams of Binance, as lines "<time> <json>" (hftbacktest), "<json>" (raw) or as cryptofeed writes them',
        EXIT_USAGE,
      )
    this.#score.open()
    this.#firstLocalMs = Math.min(...this.#reels.map((reel) => reel.lines[0]?.localMs ?? Number.POSITIVE_INFINITY))
  }

  markets(): MarketName[] {
    return [...new Set(this.#reels.map(({ market }) => market))]
  }

  stream(market: MarketName, name: string): Stream | null {
    return this.streams.get(`${market}/${name}`) ?? null
  }

  symbols(market: MarketName): string[] {
    return this.#score.listings(market).map(({ symbol }) => symbol)
  }

  rest(market: MarketName): RestSource {
    return {
      listings: () =>
        this.#score.listings(market).map((listing) => ({ listing, state: 'trading' as const, finerDigits: 0 })),
      desk: () => undefined,
      depth: (symbol) => this.#depth(`${market}/${symbol}`),
      // no trades but what the streams say
      trades: (symbol) => (this.symbols(market).includes(symbol) ? [] : undefined),
      orders: (symbol) => (this.symbols(market).includes(symbol) ? [] : undefined),
    }
  }

  settle(): void {
    for (const stream of this.streams.values()) stream.settle()
  }

  isReady(nowMs: number): boolean {
    if (this.#isPlaying) return true
    let heard = 0
    let needed = 0
    for (const stream of this.streams.values()) {
      if (stream.kind === 'other') continue
      needed++
      if (stream.subscribers.length > 0) heard++
    }
    if (heard !== this.#heardCount) this.#heardChangedMs = nowMs
    this.#heardCount = heard
    if (heard < needed && nowMs - this.#heardChangedMs < QUIET_MS) return false
    this.#isPlaying = true
    this.#startMs = nowMs
    return true
  }

  /** Plays what is due. @returns how late the last line was, in ms of the recording's own pace. */
  play(nowMs: number): number {
    const { speed } = this.#options
    let lateMs = 0
    for (let played = 0; played < LINES_PER_TICK_MAX; played++) {
      const reel = this.#nextReel()
      if (reel === null) break
      const line = reel.lines[reel.at] as RecordedLine
      const dueMs =
        speed === null || speed === Number.POSITIVE_INFINITY
          ? nowMs
          : this.#startMs + (line.localMs - this.#firstLocalMs) / speed
      if (dueMs > nowMs) break
      if (line.stream === null && this.#mustHold(reel, line, nowMs)) break
      lateMs = nowMs - dueMs
      this.#playLine(reel, line)
      reel.at++
    }
    return lateMs
  }

  /** The reel with the earliest line; null while one of them is still being read, or at the end. */
  #nextReel(): Reel | null {
    let next: Reel | null = null
    let isWaiting = false
    let areDone = true
    for (const reel of this.#reels) {
      if (reel.lines.length - reel.at < LINES_AHEAD / 2 && !reel.isDone) this.#fillAhead(reel)
      const line = reel.lines[reel.at]
      if (!reel.isDone || line !== undefined) areDone = false
      if (line === undefined) {
        if (!reel.isDone) isWaiting = true
      } else if (next === null || line.localMs < (next.lines[next.at] as RecordedLine).localMs) next = reel
    }
    this.isOver = areDone
    return isWaiting ? null : next
  }

  /** A file that can be read no further ends there, and the truth says so. */
  #fillAhead(reel: Reel): void {
    this.#fill(reel).catch((error: Error) => {
      reel.isDone = true
      this.#options.truth.note({ recording: 'unreadable', reason: error.message })
    })
  }

  async #fill(reel: Reel): Promise<void> {
    if (reel.isFilling) return
    reel.isFilling = true
    let fresh: RecordedLine[] = []
    while (fresh.length < LINES_AHEAD) {
      const { value, done } = await reel.chunks.next()
      if (done === true) {
        reel.isDone = true
        break
      }
      fresh = fresh.length === 0 ? value.lines : fresh.concat(value.lines)
    }
    reel.lines = reel.lines.slice(reel.at).concat(fresh)
    reel.at = 0
    reel.isFilling = false
  }

  #playLine(reel: Reel, line: RecordedLine): void {
    if (line.stream === null) {
      this.#reachSnapshot(reel, line)
      return
    }
    const stream = this.streams.get(`${reel.market}/${line.stream}`)
    if (stream === undefined) return
    const length = this.#payload.write(line.text, 'latin1')
    const event = this.#score.read(reel.market, stream, line.text)
    if (stream.deliver(this.#payload, length, event)) this.#score.count(stream)
  }

  #reachSnapshot(reel: Reel, line: RecordedLine): void {
    const symbol = symbolOf(reel, line)
    const place = this.#snapshots.get(`${reel.market}/${symbol}`)
    if (symbol === null || place === undefined) return
    this.#score.snapshot(reel.market, symbol, line.text)
    place.body = line.text
    for (const give of place.waiting.splice(0)) {
      place.isAnswered = true
      give(line.text)
    }
  }

  /** Holds the play at a snapshot that nobody has asked for yet, though its depth stream is heard. */
  #mustHold(reel: Reel, line: RecordedLine, nowMs: number): boolean {
    const place = this.#snapshots.get(`${reel.market}/${symbolOf(reel, line)}`)
    const isAwaited =
      place !== undefined &&
      !place.isAnswered &&
      place.waiting.length === 0 &&
      place.depthStreams.some(({ subscribers }) => subscribers.length > 0)
    if (isAwaited) {
      this.#heldSinceMs ??= nowMs
      if (nowMs - this.#heldSinceMs < SNAPSHOT_WAIT_MS) return true
    }
    if (this.#heldSinceMs !== null) this.#startMs += nowMs - this.#heldSinceMs
    this.#heldSinceMs = null
    return false
  }

  #depth(key: string): string | Promise<string> | undefined {
    const place = this.#snapshots.get(key)
    if (place === undefined) return undefined
    if (place.body === null) return new Promise((give) => place.waiting.push(give))
    place.isAnswered = true
    return place.body
  }

  #addStream(market: MarketName, name: string): void {
    const key = `${market}/${name}`
    if (this.streams.has(key)) return
    const parsed = parseStream(name, market)
    const symbol = (parsed?.symbol ?? name.split('@')[0] ?? name).toUpperCase()
    const isEvent = parsed !== null && parsed.kind !== 'timed'
    const spec = isEvent ? parsed : { market, symbol, kind: 'other' as const, channel: '', word: '' }
    this.streams.set(key, new Stream(spec, name, this.#options, BINANCE.prefix(name)))
  }

  #addSnapshots(market: MarketName, symbol: string): void {
    const key = `${market}/${symbol}`
    const depthStreams = [...this.streams.values()].filter(
      (stream) => stream.market === market && stream.symbol === symbol && stream.kind === 'depth',
    )
    const known = this.#snapshots.get(key)
    if (known === undefined) this.#snapshots.set(key, { depthStreams, body: null, isAnswered: false, waiting: [] })
    else for (const stream of depthStreams) if (!known.depthStreams.includes(stream)) known.depthStreams.push(stream)
  }
}

function symbolOf(reel: Reel, line: RecordedLine): string | null {
  return namedSymbol(line) ?? reel.onlySymbol
}
