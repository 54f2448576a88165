/**
 * Live messages in, frames for many clients out.
 *
 *   source ─► hub ─► topic ─► outbox of each client ─┐
 *              │       ▲                             ├─ write turns: one write a client every some ms
 *              ├─► books (verified) ─► views         │
 *              └─► resume log ─► replays ────────────┘
 *
 * Arithmetic: 10,000 messages/s. Each is copied into the log (60 ns); one that somebody wants becomes JSON straight from its
 * bytes (3 µs; by way of objects, as for msgpack, 7) and is put into 20 queues (3 µs): 6 % of a core. The writes are the
 * rest: write-turns.ts.
 */
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { Paced } from '../../base/paced.ts'
import type { Random } from '../../base/random.ts'
import { LiveReader } from '../../record/live-reader.ts'
import { BOOK_SNAPSHOT, BOOK_STATE, HEARTBEAT } from '../../record/streams.ts'
import type { GatewayCounts } from '../counts.ts'
import type { EngineLink, InstrumentName } from '../engine-link.ts'
import type { LiveSource } from '../live-source.ts'
import { BookReader } from './book-row.ts'
import type { BookContent } from './book-change.ts'
import { BookTopics } from './book-topics.ts'
import { contentOf } from './book-view.ts'
import { type BookLine, Books, type Heartbeat } from './books.ts'
import type { FollowedBook, Standing } from './followed-book.ts'
import { decoded, decodedBook, type LiveMessage, LiveRowsBody } from './live-message.ts'
import type { Numbers } from './numbers.ts'
import type { Outbox } from './outbox.ts'
import { Registry } from './registry.ts'
import { ResumeLog } from './resume-log.ts'
import { type Pattern, parseSubject } from './subject.ts'
import { BOOK_TYPE, Outgoing, type Receiver, STREAM_TYPES, type Topic } from './topic.ts'
import { WriteTurns } from './write-turns.ts'

export interface LiveOptions {
  /** live messages that are kept for clients that come back */
  readonly resumeBytes: number
}

/** Something that is looked at every so often: a client. */
export interface Watched {
  readonly queuedBytes: number
  look(nowMs: number): void
  /** more of what it asked for, if it may have more now; false when it has all */
  pump?(): boolean
}

export interface HubParts {
  readonly clock: Clock
  readonly log: Log
  readonly random: Random
  readonly engine: Pick<EngineLink, 'wantBook'>
  readonly counts: GatewayCounts
}

const SWEEP_MS = 100
const WHOLE_SWEEPS = 10
const FORGET_SWEEPS = 600
/** The engine answers within some ms; who asks over REST waits so long. */
const BOOK_WAIT_MS = 2_000
const BOOT_CHARS = 6
/** A gateway that is too slow loses some every moment: the log is told now and then. */
const TOLD_MS = 10_000

const SNAPSHOT_PREFIX = `${BOOK_SNAPSHOT}.`

export class LiveHub {
  /** names this life of the gateway: its sequence numbers are of no use to another */
  readonly boot: string
  readonly registry: Registry
  readonly counts: GatewayCounts
  readonly resume: ResumeLog
  /** An outbox has something to write. */
  readonly onWaiting: (outbox: Outbox) => void
  readonly #parts: HubParts
  readonly #source: LiveSource | undefined
  readonly #books: Books
  readonly #bookTopics: BookTopics
  readonly #topicList: Topic[] = []
  readonly #topicNumbers = new Map<Topic, number>()
  readonly #deltas = new BookReader()
  readonly #heads = new LiveReader()
  readonly #wholes = new BookReader()
  readonly #watched = new Set<Watched>()
  readonly #pumping = new Set<Watched>()
  readonly #bookWaiters = new Map<FollowedBook, (() => void)[]>()
  readonly #turns: WriteTurns
  #sweepTimer: NodeJS.Timeout | undefined
  #sweeps = 0
  #number = 0
  #sourceLost = 0
  readonly #breaks = new Paced(TOLD_MS)
  readonly #unreadable = new Paced(TOLD_MS)

  constructor(parts: HubParts, source: LiveSource | undefined, { resumeBytes }: LiveOptions) {
    this.#parts = parts
    this.#source = source
    this.counts = parts.counts
    this.boot = Math.floor(parts.random() * 36 ** BOOT_CHARS)
      .toString(36)
      .padStart(BOOT_CHARS, '0')
    this.resume = new ResumeLog(resumeBytes)
    this.#bookTopics = new BookTopics(() => this.seq)
    this.#turns = new WriteTurns(
      () => this.#nowMs(),
      () => this.#sendChanges(),
    )
    this.onWaiting = this.#turns.add
    this.#books = new Books({
      onKnown: ({ name }) => this.registry.addBook({ type: BOOK_TYPE, ...name }),
      onGone: ({ id }) => this.registry.removeBook(id),
      onSnapshot: (followed, live) => {
        this.#bookTopics.anchor(this.registry.bookTopics(followed.id), live)
        this.#wakeWaiters(followed)
      },
      onCaughtUp: (followed, live, late) => {
        this.#bookTopics.catchUp(this.registry.bookTopics(followed.id), live, late)
        this.#wakeWaiters(followed)
        this.#turns.wantMade()
      },
      onChange: (followed, live, row) => {
        this.#bookTopics.change(this.registry.bookTopics(followed.id), live, row)
        if (this.#bookTopics.hasChanged) this.#turns.wantMade()
      },
      onReset: (followed, told) => {
        this.#bookTopics.reset(this.registry.bookTopics(followed.id), told)
        this.#wakeWaiters(followed)
      },
      onProof: (followed) => this.#wakeWaiters(followed),
      wantBook: (name) => parts.engine.wantBook(name),
    })
    this.registry = new Registry({
      onJoin: (topic, receiver) => this.#joinBook(topic, receiver),
      onLeave: (topic) => this.#leaveBook(topic),
    })
  }

  start(): void {
    this.#source?.start(
      (subject, bytes) => this.#take(subject, bytes),
      (reason) => this.onBreak(reason),
    )
    this.#sweepTimer = setInterval(() => this.sweep(), SWEEP_MS)
  }

  stop(): void {
    clearInterval(this.#sweepTimer)
    this.#turns.stop()
  }

  /** Of the newest message; what comes next is newer. */
  get seq(): string {
    return `${this.boot}-${this.#number}`
  }

  /** Everybody may publish at NATS: what cannot be read is left out. */
  #take(subject: string, bytes: Uint8Array): void {
    try {
      this.onMessage(subject, bytes)
    } catch (error) {
      const times = this.#unreadable.happened(this.#nowMs())
      if (times === undefined) return
      this.#parts.log.warn(
        { subject, times, error: String((error as Error)?.message ?? error) },
        'a live message cannot be read and is left out: who publishes under its subject?',
      )
    }
  }

  onMessage(subject: string, bytes: Uint8Array): void {
    this.counts.liveMessages++
    if (subject.startsWith(HEARTBEAT)) return this.#books.onHeartbeat(decoded<Heartbeat>(bytes), this.#nowMs())
    if (subject.startsWith(SNAPSHOT_PREFIX)) return this.#onSnapshot(subject, bytes)
    const topic = this.registry.topics.get(subject) ?? this.#newTopic(subject)
    if (topic === undefined) return
    this.#number++
    this.resume.append(this.#topicNumbers.get(topic) as number, bytes)
    const { type } = topic.subject
    const followed = type === 'book_delta' ? this.#books.active(topic.id) : undefined
    if (followed === undefined && topic.receivers.length === 0 && type !== BOOK_STATE) return
    // Leaving LIVE is the first effect.
    if (type === BOOK_STATE)
      this.#books.onState(topic.subject, decoded<LiveMessage>(bytes), this.#nowMs(), this.#nowNs())
    else if (followed !== undefined)
      this.#books.onDelta(followed, this.#deltas.read(bytes) ?? decodedBook(bytes), this.#nowMs(), this.#nowNs())
    if (topic.receivers.length === 0) return
    const lost = this.lostBefore(topic, topic.numbers, bytes, this.#number)
    if (lost !== undefined) topic.send(lost)
    topic.send(outgoing(topic, this.seq, bytes))
  }

  /** Whole books come for those who keep them, not for readers: those get `book`. */
  #onSnapshot(text: string, bytes: Uint8Array): void {
    const subject = parseSubject(text)
    if (subject === undefined || this.#books.active(text.slice(SNAPSHOT_PREFIX.length)) === undefined) return
    this.#books.onSnapshot(subject, this.#wholes.read(bytes) ?? decodedBook(bytes), this.#nowMs(), this.#nowNs())
  }

  /** What to say before this message, when others before it did not come. It has the number of the message before. */
  lostBefore(topic: Topic, numbers: Numbers, bytes: Uint8Array, number: number): Outgoing | undefined {
    if (!this.#heads.open(bytes)) return undefined
    const messages = numbers.missedBefore(this.#heads.run, this.#heads.number)
    if (messages === 0) return undefined
    return new Outgoing(topic, `${this.boot}-${number - 1}`, { kind: 'lost', messages })
  }

  /** A message of the log as it was sent. */
  replayed(number: number): Outgoing {
    return outgoing(this.topicOf(number), `${this.boot}-${number}`, this.resume.bytesOf(number).slice())
  }

  topicOf(number: number): Topic {
    return this.#topicList[this.resume.topicOf(number)] as Topic
  }

  onBreak(reason: string): void {
    this.#books.onBreak()
    const times = this.#breaks.happened(this.#nowMs())
    if (times === undefined) return
    this.#parts.log.warn({ reason, times }, 'live messages may be missing: books in use are proven anew')
  }

  #newTopic(text: string): Topic | undefined {
    const subject = parseSubject(text)
    if (subject === undefined || !(STREAM_TYPES.includes(subject.type) || subject.type === BOOK_SNAPSHOT))
      return undefined
    const topic = this.registry.addTopic(text, subject)
    this.#topicNumbers.set(topic, this.#topicList.push(topic) - 1)
    return topic
  }

  // --- clients

  subscribe(receiver: Receiver, pattern: Pattern, depth: number): readonly Topic[] {
    return this.registry.subscribe(receiver, pattern, depth)
  }

  /** @returns what it gets no more. */
  unsubscribe(receiver: Receiver, pattern: Pattern, depth: number): readonly Topic[] {
    return this.registry.unsubscribe(receiver, pattern, depth)
  }

  watch(client: Watched): void {
    this.#watched.add(client)
  }

  unwatch(client: Watched): void {
    this.#watched.delete(client)
    this.#pumping.delete(client)
  }

  /** It has more to get than its outbox should hold. */
  pumpFor(client: Watched): void {
    this.#pumping.add(client)
    this.#turns.wantMade()
  }

  /** @returns whether there is more to come. */
  #sendChanges(): boolean {
    this.#bookTopics.sendChanges()
    for (const client of this.#pumping) if (client.pump?.() === false) this.#pumping.delete(client)
    return this.#pumping.size > 0
  }

  sweep(): void {
    const [nowMs, nowNs] = [this.#nowMs(), this.#nowNs()]
    this.#books.sweep(nowMs, nowNs)
    this.#sweeps++
    if (this.#sweeps % WHOLE_SWEEPS === 0) this.#bookTopics.forgetWholes()
    if (this.#sweeps % FORGET_SWEEPS === 0) this.#books.forgetGone(nowMs)
    let queuedBytes = 0
    for (const client of this.#watched) {
      client.look(nowMs)
      queuedBytes += client.queuedBytes
    }
    this.counts.queuedBytes = queuedBytes
    const { lost = 0 } = this.#source ?? {}
    this.counts.liveLost += lost - this.#sourceLost
    this.#sourceLost = lost
  }

  // --- books

  #joinBook(topic: Topic, receiver: Receiver): void {
    const followed = this.#books.all.get(topic.id)
    if (followed === undefined) return
    const nowMs = this.#nowMs()
    this.#bookTopics.give(topic, () => followed.held(this.#nowMs()))
    this.#books.addUser(followed, nowMs, this.#nowNs())
    const told = followed.told(nowMs)
    if (followed.held(nowMs) !== undefined) this.#bookTopics.greet(topic, receiver)
    else if (followed.standing.state !== 'LIVE' || told.state === 'STALE')
      receiver.push(this.#bookTopics.resetOf(topic, told))
  }

  #leaveBook(topic: Topic): void {
    const followed = this.#books.all.get(topic.id)
    if (followed !== undefined) this.#books.removeUser(followed, this.#nowMs())
    if (topic.receivers.length === 0) this.#bookTopics.forget(topic)
  }

  bookLines(): BookLine[] {
    return this.#books.lines(this.#nowMs())
  }

  /** Another number when the list of books or the state of one is another. */
  get bookChanges(): number {
    return this.#books.changes
  }

  get booksHeld(): number {
    return this.#books.heldCount
  }

  /**
   * The book as it is now. One that nobody used so far is asked of the engine, which takes some ms.
   * @returns the state that it is in when it is not LIVE; undefined when there is no such instrument.
   */
  async bookNow(id: string, depth: number): Promise<BookContent | Standing | undefined> {
    const followed = this.#books.all.get(id)
    if (followed === undefined) return undefined
    const deadlineMs = this.#nowMs() + BOOK_WAIT_MS
    for (;;) {
      const nowMs = this.#nowMs()
      this.#books.touch(followed, nowMs, this.#nowNs())
      const live = followed.proven(nowMs)
      if (live !== undefined) return contentOf(live, depth)
      const told = followed.told(nowMs)
      if ((told.state !== 'RESYNC' && !followed.isDoubted) || nowMs >= deadlineMs)
        return followed.isDoubted ? { ...told, state: 'RESYNC', reason: 'messages may be missing' } : told
      await this.#untilChanged(followed, deadlineMs - nowMs)
    }
  }

  #untilChanged(followed: FollowedBook, waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs)
      const waiters = this.#bookWaiters.get(followed) ?? []
      waiters.push(() => {
        clearTimeout(timer)
        resolve()
      })
      this.#bookWaiters.set(followed, waiters)
    })
  }

  #wakeWaiters(followed: FollowedBook): void {
    const waiters = this.#bookWaiters.get(followed)
    if (waiters === undefined) return
    this.#bookWaiters.delete(followed)
    for (const wake of waiters) wake()
  }

  nameOf(id: string): InstrumentName | undefined {
    return this.#books.all.get(id)?.name
  }

  #nowMs(): number {
    return this.#parts.clock.monotonicMs()
  }

  #nowNs(): string {
    return String(this.#parts.clock.nowNs())
  }
}

function outgoing(topic: Topic, seq: string, message: Uint8Array): Outgoing {
  return new Outgoing(topic, seq, new LiveRowsBody(message, topic.columns))
}
