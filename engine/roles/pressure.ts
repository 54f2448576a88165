/**
 * Overload: what is given up, in which order, and when it is taken up again. Trades and books never are.
 *
 *   level 1  backfill   missed trades are not asked for now, nor what only REST has (feed/repair.ts, feed/weight.ts)
 *         2  gateway    questions about the past are refused
 *         3  candles    bars are not computed
 *
 * A level is reached through those below it, one step a look, so that the order holds whatever comes: half a second of
 * trouble costs backfill, a lasting one all three. It falls one step after each calm of `holdMs`, in the order backwards.
 *
 * The signs are those of the way of a row, read at each look; the highest counts:
 *
 *   main thread late     its median delay
 *   frame rings          a share of the fullest; the router pauses sockets at half, and a paused socket is level 3 at once
 *   batch rings          a share of the fullest; the book worker waits when one is full
 *   spool                what is not delivered, of spool.maxBytes; 3 when it takes nothing more
 *
 * Arithmetic: 4 looks a second at some 200 words of shared memory.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Log } from '../base/log.ts'
import { type PressureStatus, SHED_ORDER, type Sheddable } from '../gateway/engine-link.ts'
import { RingReader } from '../ring/ring.ts'

/** What a look sees. Shares are 0 … 1. */
export interface PressureSigns {
  readonly framesShare: number
  readonly batchesShare: number
  readonly spoolShare: number
  /** the spool takes nothing more */
  readonly isSpoolShort: boolean
  readonly pausedSockets: number
  /** median since the last look */
  readonly loopDelayMs: number
}

/** From which value on a sign asks for level 1, 2, 3. */
type Marks = readonly [number, number, number]

export interface PressureOptions {
  readonly lookMs: number
  readonly holdMs: number
  readonly framesMarks: Marks
  readonly batchesMarks: Marks
  readonly spoolMarks: Marks
  readonly loopDelayMarks: Marks
}

export const PRESSURE_DEFAULT: PressureOptions = {
  lookMs: 250,
  /** longer than a minute's turn of REST weight would be idle, shorter and a wave of load is told each time */
  holdMs: 5_000,
  framesMarks: [0.2, 0.35, 0.5],
  batchesMarks: [0.25, 0.5, 0.75],
  spoolMarks: [0.5, 0.7, 0.85],
  loopDelayMarks: [50, 150, 500],
}

export class Pressure {
  /** the level, for other threads */
  readonly memory = new SharedArrayBuffer(4)
  /** how often each was given up */
  readonly shed: Record<Sheddable, number> = { backfill: 0, gateway: 0, candles: 0 }
  readonly #options: PressureOptions
  readonly #read: () => PressureSigns
  readonly #onLevel: (level: number) => void
  readonly #nowMs: () => number
  readonly #log: Pick<Log, 'warn'>
  #reasons: readonly string[] = []
  #calmSinceMs: number | undefined
  #looking: NodeJS.Timeout | undefined

  /** @param onLevel told of each change. @param nowMs monotonic */
  constructor(
    options: PressureOptions,
    read: () => PressureSigns,
    onLevel: (level: number) => void,
    nowMs: () => number,
    log: Pick<Log, 'warn'>,
  ) {
    this.#options = options
    this.#read = read
    this.#onLevel = onLevel
    this.#nowMs = nowMs
    this.#log = log
  }

  start(): void {
    this.#looking ??= setInterval(() => this.look(), this.#options.lookMs).unref()
  }

  stop(): void {
    clearInterval(this.#looking)
  }

  get level(): number {
    return Atomics.load(new Int32Array(this.memory), 0)
  }

  status(): PressureStatus {
    return { level: this.level, reasons: this.#reasons }
  }

  look(): void {
    const { level, reasons } = askedLevel(this.#read(), this.#options)
    const before = this.level
    if (level >= before) this.#calmSinceMs = undefined
    else this.#calmSinceMs ??= this.#nowMs()
    if (level > before) return this.#set(before + 1, reasons)
    if (level === before) {
      this.#reasons = reasons
      return
    }
    if (this.#nowMs() - (this.#calmSinceMs as number) < this.#options.holdMs) return
    this.#calmSinceMs = undefined // each step has its own calm
    this.#set(before - 1, reasons)
  }

  #set(level: number, reasons: readonly string[]): void {
    const before = this.level
    this.#reasons = reasons
    Atomics.store(new Int32Array(this.memory), 0, level)
    const what = SHED_ORDER[Math.max(level, before) - 1] as Sheddable
    if (level > before) {
      this.shed[what]++
      this.#log.warn({ level, reasons }, `overload: ${WORDS[what]} until it is over`)
    } else this.#log.warn({ level }, `overload: ${what} goes on again`)
    this.#onLevel(level)
  }
}

const WORDS: Readonly<Record<Sheddable, string>> = {
  backfill: 'backfill waits (missed trades, polls)',
  gateway: 'the gateway refuses history',
  candles: 'candles are not computed',
}

/** The highest level that a sign asks for, and a word on each that asks for any. */
function askedLevel(signs: PressureSigns, options: PressureOptions): { level: number; reasons: string[] } {
  const percent = (share: number): string => `${Math.round(share * 100)} %`
  const { framesShare, batchesShare, spoolShare, isSpoolShort, pausedSockets, loopDelayMs } = signs
  const asked: readonly (readonly [number, string])[] = [
    [
      stepOf(framesShare, options.framesMarks),
      `a book worker is behind: its frame ring is ${percent(framesShare)} full`,
    ],
    [
      stepOf(batchesShare, options.batchesMarks),
      `the sink worker is behind: a batch ring is ${percent(batchesShare)} full`,
    ],
    [stepOf(spoolShare, options.spoolMarks), `${percent(spoolShare)} of the spool is not delivered`],
    [isSpoolShort ? SHED_ORDER.length : 0, 'the spool takes nothing more'],
    [pausedSockets > 0 ? SHED_ORDER.length : 0, `${pausedSockets} sockets are paused`],
    [stepOf(loopDelayMs, options.loopDelayMarks), `the main thread is ${Math.round(loopDelayMs)} ms late`],
  ]
  return {
    level: Math.max(...asked.map(([level]) => level)),
    reasons: asked.filter(([level]) => level > 0).map(([, reason]) => reason),
  }
}

function stepOf(value: number, marks: Marks): number {
  return marks.filter((mark) => value >= mark).length
}

/** What the signs are read from. */
export interface PressureSources {
  readonly frameRings: readonly SharedArrayBuffer[]
  readonly batchRings: readonly SharedArrayBuffer[]
  readonly spoolBytesMax: number
  /** bytes of the spool that are not delivered */
  readonly spoolHeldBytes: () => number
  readonly isSpoolShort: () => boolean
  readonly pausedSockets: () => number
}

/** The delay of a timer of so many ms is the sample. */
const DELAY_RESOLUTION_MS = 10

/** The signs of this process, each since the last time they were read. */
export function pressureSigns(sources: PressureSources): () => PressureSigns {
  const readers = (rings: readonly SharedArrayBuffer[]) => rings.map((memory) => new RingReader(memory))
  const fullest = (rings: readonly RingReader[]) =>
    Math.max(0, ...rings.map((reader) => reader.fillBytes() / reader.capacityBytes))
  const [frames, batches] = [readers(sources.frameRings), readers(sources.batchRings)]
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delay.enable()
  return () => {
    const loopDelayMs = Math.max(0, delay.percentile(50) / 1e6 - DELAY_RESOLUTION_MS)
    delay.reset()
    return {
      framesShare: fullest(frames),
      batchesShare: fullest(batches),
      spoolShare: sources.spoolHeldBytes() / sources.spoolBytesMax,
      isSpoolShort: sources.isSpoolShort(),
      pausedSockets: sources.pausedSockets(),
      loopDelayMs,
    }
  }
}
