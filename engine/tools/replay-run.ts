import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { BookWorkerReport, BookWorkerSettings } from '../../workers/book-worker.ts'
import type { BookSeat } from '../../workers/loop.ts'
import { workerUrl } from '../../workers/pool.ts'
import { LEG_COUNT_MAX, SHARD_COUNTERS, type ShardCounter } from '../../workers/shard-counters.ts'
import type { ShardSummary } from '../../workers/shard-summary.ts'
import { Fault } from '../base/fault.ts'
import { Counters } from '../ring/counters.ts'
import { BLOCK, CLOSE, DATA, DRAIN, DRAINED, INSTRUMENT, OPEN, SNAPSHOT, TICK } from '../ring/frame.ts'
import { createHeartbeats } from '../ring/heartbeat.ts'
import { IDLE_DEFAULT } from '../ring/idle.ts'
import { createRing, RingReader, RingWriter } from '../ring/ring.ts'
import { CONNECT, FRAME } from '../simulate/line-formats.ts'
import type { RecordedMessage, Recording } from '../simulate/recording.ts'
import type { Survey } from './replay-survey.ts'

/**
 * A recording through the real thing: frame ring, book worker thread, batch ring. Time comes from the recording alone, so
 * the same recording gives the same blocks byte for byte, however fast the machine is.
 *
 *   recording ─► OPEN, DATA …, TICK by recorded time …, DRAIN ─► ring ─► book worker ─► ring ─► onBlock
 *
 * Without a survey there is one socket whose instruments become known as it speaks of them, and REST depth bodies go as
 * DATA like every line: the worker of a replay takes them for the anchor of the book that waits. One that comes before
 * all frames of sockets is held until the first of them.
 *
 * With a survey (a capture of sockets and REST) the instruments are announced, each socket is opened with what it
 * carries, and REST snapshots go as SNAPSHOT: what production does, at the times of the capture.
 */
export interface ReplayRun {
  readonly recording: Recording
  readonly settings: BookWorkerSettings['shard']
  readonly survey: Survey | undefined
  /** one sealed block, a copy; awaited, so a slow reader holds the replay back */
  readonly onBlock: (block: Uint8Array) => Promise<void> | void
  /** after each chunk of the recording */
  readonly onProgress?: (messageCount: number) => void
  readonly stop?: AbortSignal
}

export interface ReplayOutcome {
  readonly summary: ShardSummary
  readonly counts: Readonly<Record<ShardCounter, number>>
}

/** Half of it is the longest record: room for the longest line of a recording. */
const FRAME_RING_BYTES = 16 << 20
const BATCH_RING_BYTES = 16 << 20
/** Nobody answers what the worker asks for; it counts what finds no room and goes on. */
const REQUEST_RING_BYTES = 64 << 10
const TICK_MS = 50
const HI_MS = 4294967296 / 1e6
const FIRST_GENERATION = 1
const RECONNECTED = 'the socket was opened again'
const BLOCKS_AT_ONCE_MAX = 16
const WAIT_MS = 1
const HELD_MAX = 64
/** The `l` of {"lastUpdateId":… */
const DEPTH_BODY_BYTE = 0x6c
const NOTHING = new Uint8Array(0)

type ReceiveTime = Pick<RecordedMessage, 'receivedHi' | 'receivedLo'>
const NO_TIME: ReceiveTime = { receivedHi: 0, receivedLo: 0 }

/** How many sockets before this one carry something that it carries, too. */
function legOf({ connections }: Survey, connection: number): number {
  const mine = connections.get(connection)
  let leg = 0
  for (const [other, theirs] of connections) {
    if (other >= connection || mine === undefined) continue
    const isShared = [...mine].some(([instrument, channels]) =>
      [...channels].some((channel) => theirs.get(instrument)?.has(channel) === true),
    )
    if (isShared) leg++
  }
  return Math.min(leg, LEG_COUNT_MAX - 1)
}

function encoded(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

export async function replayRecording(run: ReplayRun): Promise<ReplayOutcome> {
  const player = new Player(run)
  try {
    return await player.play()
  } finally {
    await player.end()
  }
}

class Player {
  readonly #run: ReplayRun
  readonly #writer: RingWriter
  readonly #reader: RingReader
  readonly #counters = new Counters(SHARD_COUNTERS)
  readonly #worker: Worker
  readonly #exited: Promise<unknown>
  #report: BookWorkerReport | undefined
  #failure: Error | undefined
  #isDrained = false
  #nextTickMs = 0
  /** Generation of each socket that is open. */
  readonly #generations = new Map<number, number>()
  /** A frame of a socket was seen. */
  #isSpeaking = false
  readonly #held: RecordedMessage[] = []

  constructor(run: ReplayRun) {
    const [frames, batches, requests] = [FRAME_RING_BYTES, BATCH_RING_BYTES, REQUEST_RING_BYTES].map(createRing)
    const seat: BookSeat<BookWorkerSettings> = {
      role: 'book',
      workerIndex: 0,
      anchorNs: 0n,
      idle: IDLE_DEFAULT,
      heartbeats: createHeartbeats(1),
      frames: frames as SharedArrayBuffer,
      batches: batches as SharedArrayBuffer,
      requests: requests as SharedArrayBuffer,
      counters: this.#counters.memory,
      settings: { shard: run.settings, reportOnDrain: true },
    }
    this.#run = run
    this.#writer = new RingWriter(seat.frames)
    this.#reader = new RingReader(seat.batches)
    this.#worker = new Worker(workerUrl('book-worker'), { workerData: seat })
    this.#worker.on('message', (report: BookWorkerReport) => {
      this.#report = report
    })
    this.#worker.on('error', (error) => {
      this.#failure = error
    })
    this.#exited = new Promise((resolve) => this.#worker.once('exit', resolve))
  }

  async play(): Promise<ReplayOutcome> {
    const { recording, onProgress, stop } = this.#run
    let last: RecordedMessage | undefined
    for await (const chunk of recording.chunks()) {
      for (const message of chunk) {
        if (last === undefined) await this.#begin(message)
        last = message
        if (message.kind === FRAME) await this.#frame(message)
        else if (message.kind === CONNECT) await this.#connect(message)
        else await this.#answer(message)
      }
      this.#writer.publish()
      await this.#takeBlocks()
      onProgress?.(recording.lineCount)
      if (stop?.aborted === true) throw new Fault('STOPPED', `stopped after ${recording.lineCount} messages`)
    }
    if (!this.#isSpeaking) await this.#release()
    await this.#write(DRAIN, 0, 0, last ?? NO_TIME, NOTHING)
    this.#writer.publish()
    while (!this.#isDrained || this.#report === undefined) if (!(await this.#takeBlocks())) await this.#pause()
    return { summary: this.#report.summary, counts: this.#counters.snapshot() }
  }

  async end(): Promise<void> {
    this.#reader.stop() // a worker that waits for room gives up
    this.#writer.stop()
    await this.#exited
  }

  async #begin(at: RecordedMessage): Promise<void> {
    for (const [index, instrument] of (this.#run.survey?.instruments ?? []).entries())
      await this.#write(INSTRUMENT, 0, index, at, encoded(instrument))
  }

  async #frame(message: RecordedMessage): Promise<void> {
    if (!this.#generations.has(message.connection)) await this.#open(message)
    if (!this.#isSpeaking && this.#isHeld(message)) return
    while (!this.#tryFrame(message)) await this.#makeRoom()
    if (!this.#isSpeaking) await this.#release()
  }

  async #connect(message: RecordedMessage): Promise<void> {
    const { connection } = message
    if (this.#generations.has(connection))
      await this.#write(CLOSE, connection, 0, message, new TextEncoder().encode(RECONNECTED))
    await this.#open(message)
  }

  /** A socket, with what it will be seen to carry; without a survey that becomes known as it speaks. */
  async #open(message: RecordedMessage): Promise<void> {
    const { connection } = message
    this.#generations.set(connection, this.#generationOf(connection) + 1)
    const { survey } = this.#run
    const carried = survey?.connections.get(connection) ?? []
    const instruments = [...carried].map(([instrument, channels]) => ({ instrument, channels: [...channels] }))
    const leg = survey === undefined ? 0 : legOf(survey, connection)
    await this.#write(OPEN, connection, 0, message, encoded({ connection, leg, instruments, isSubscribed: true }))
  }

  /** Of REST: only books are anchored by it; what lists say of instruments the survey has read. */
  async #answer(message: RecordedMessage): Promise<void> {
    const { survey } = this.#run
    const instrument = survey?.indexOf(message.url)
    if (survey === undefined || instrument === undefined) return
    const isCarrier = ([, carried]: [number, ReadonlyMap<number, ReadonlySet<string>>]): boolean =>
      carried.get(instrument)?.has('book') === true
    const [carrier] = [...survey.connections].find(isCarrier) ?? [message.connection]
    await this.#write(SNAPSHOT, carrier, instrument, message, message.bytes)
  }

  /** A REST body before the first frame of a socket: whose it is will be known when the socket has spoken. */
  #isHeld(message: RecordedMessage): boolean {
    if (message.bytes[2] !== DEPTH_BODY_BYTE || this.#held.length === HELD_MAX) return false
    this.#held.push(message)
    return true
  }

  async #release(): Promise<void> {
    this.#isSpeaking = true
    for (const held of this.#held) await this.#write(DATA, held.connection, 0, held, held.bytes)
    this.#held.length = 0
  }

  /** The message, after the TICK that is due by its time. @returns false when the ring is full: try again. */
  #tryFrame(message: RecordedMessage): boolean {
    const { receivedHi, receivedLo, connection, bytes } = message
    const nowMs = receivedHi * HI_MS + receivedLo / 1e6
    if (nowMs >= this.#nextTickMs) {
      if (!this.#tryWrite(TICK, connection, 0, message, NOTHING)) return false
      this.#nextTickMs = Math.floor(nowMs / TICK_MS + 1) * TICK_MS
    }
    return this.#tryWrite(DATA, connection, 0, message, bytes)
  }

  #generationOf(connection: number): number {
    return this.#generations.get(connection) ?? FIRST_GENERATION - 1
  }

  #tryWrite(kind: number, connection: number, extra: number, at: ReceiveTime, payload: Uint8Array): boolean {
    const generation = Math.max(FIRST_GENERATION, this.#generationOf(connection))
    return this.#writer.tryWrite(kind, connection, generation, extra, at.receivedHi, at.receivedLo, payload)
  }

  async #write(kind: number, connection: number, extra: number, at: ReceiveTime, payload: Uint8Array): Promise<void> {
    while (!this.#tryWrite(kind, connection, extra, at, payload)) await this.#makeRoom()
  }

  async #makeRoom(): Promise<void> {
    this.#writer.publish()
    if (!(await this.#takeBlocks())) await this.#pause()
  }

  /** @returns whether there was any. */
  async #takeBlocks(): Promise<boolean> {
    const blocks: Uint8Array[] = []
    const onRecord = (kind: number, bytes: Uint8Array, offset: number, length: number): void => {
      if (kind === BLOCK) blocks.push(bytes.slice(offset, offset + length))
      else if (kind === DRAINED) this.#isDrained = true
    }
    let isAny = false
    while (this.#reader.drain(onRecord, BLOCKS_AT_ONCE_MAX) > 0) {
      isAny = true
      for (const block of blocks) await this.#run.onBlock(block)
      blocks.length = 0
    }
    return isAny
  }

  async #pause(): Promise<void> {
    if (this.#failure !== undefined)
      throw new Fault('WORKER', `the book worker failed: ${this.#failure.message}`, undefined, { cause: this.#failure })
    await sleep(WAIT_MS)
  }
}
