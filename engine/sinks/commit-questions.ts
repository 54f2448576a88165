import { setTimeout as sleep } from 'node:timers/promises'
import type { NatsConnection } from 'nats'
import type { Log } from '../base/log.ts'
import { BLOCK_STREAM } from '../record/streams.ts'
import type { BlockRange, Spool } from '../spool/spool.ts'
import { COMMIT_BLOCKS_MAX, COMMIT_SUBJECT, type CommitAnswer, type CommitQuestion } from './commit-answers.ts'
import type { NatsLink, NatsSink } from './nats.ts'

/**
 * The collector's side of commit feedback: JetStream acknowledges before it syncs, drops what it cannot read without a word,
 * and an operator may purge it; so an acknowledged block stays in the spool until the store says that its rows are in.
 *
 *   acknowledged ──asked──► stored                     committed: the spool may forget it
 *                   │
 *                   └─────► missing, and the store is done with all that was in the stream when we asked
 *                                                      lost: it goes out again, under a name that the duplicate window of
 *                                                      JetStream does not know (it remembers names of what it lost)
 *
 * "Done" is known from the answer: nothing is pending, or the store's floor has passed the newest message that we had
 * acknowledged when we first heard that the block is missing. Blocks that are missing after several times are poison (a dead
 * letter is never stored): they are told, counted, and let go.
 *
 * Answers of one database count, and of another only when the first has not answered for a time: it was restored (its tables
 * are new ones then) or replaced. When the first answers after the other there are two of them, which is wrong.
 *
 * A stream that ends before what it had acknowledged was rolled back: everything that is not known to be stored goes out again
 * at once. Sending too much is harmless, for the store knows each block by its identity.
 *
 * Arithmetic: 40 blocks/s, a question a second of one span: one row of 8 bytes a block.
 */
export interface CommitQuestionOptions {
  /** whose blocks those of a boot are: a collector may have got another name since */
  readonly producerOf: (epoch: number) => string
  readonly askMs: number
  readonly answerMsMax: number
  /** a store that answers and whose floor stands still this long has stumbled over something that is not there any more */
  readonly stuckMs: number
}

/** `stuckMs` is three times the store's ack_wait. */
export const COMMIT_QUESTIONS_DEFAULT = { askMs: 1_000, answerMsMax: 5_000, stuckMs: 180_000 } as const

/** Spans asked for at once: 32,768 blocks a second are more than any collector makes. */
const SPANS_MAX = 8
const RESENDS_MAX = 5
/** before a block goes out a second time; doubled each time */
const RESEND_MS = 5_000
/** A database that has not answered for so long may have been replaced by another. */
const DATABASE_MS = 30_000

/** A block that was found lost: how often, and when last. */
interface Resend {
  readonly count: number
  readonly ms: number
}

export class CommitQuestions {
  readonly stats = { asked: 0, unanswered: 0, rollbacks: 0, givenUp: 0 }
  readonly #link: NatsLink
  readonly #sink: NatsSink
  readonly #spool: Spool
  readonly #options: CommitQuestionOptions
  readonly #nowMs: () => number
  readonly #log: Log
  readonly #stop = new AbortController()
  /** blocks that were missing, and how far the stream went when they were missing first */
  #suspects = new Map<string, number>()
  readonly #resends = new Map<string, Resend>()
  #floor = -1
  #floorMs = 0
  #silence = ''
  /** whose answers count, and when it answered last */
  #database = ''
  #heardMs = 0
  /** another database that answered since */
  #stranger = ''
  #areBothTold = false
  #doubts = false
  #asking: Promise<void> | undefined

  /** @param nowMs monotonic time */
  constructor(
    link: NatsLink,
    sink: NatsSink,
    spool: Spool,
    options: CommitQuestionOptions,
    nowMs: () => number,
    log: Log,
  ) {
    this.#link = link
    this.#sink = sink
    this.#spool = spool
    this.#options = options
    this.#nowMs = nowMs
    this.#log = log
  }

  start(): void {
    this.#link.whenUp((connection) => void this.#reconcile(connection))
    this.#asking ??= this.#ask()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#asking
  }

  async #ask(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await sleep(this.#options.askMs, undefined, { signal }).catch(() => undefined)
      await this.look()
    }
  }

  /** Asks for what is not known to be stored, once. */
  async look(): Promise<void> {
    const connection = this.#link.up()
    if (connection === undefined) return
    const suspects = new Map<string, number>()
    let lost = 0
    for (const span of this.#spool.uncommitted(COMMIT_BLOCKS_MAX, SPANS_MAX)) {
      if (this.#stop.signal.aborted) return
      const upToSeq = this.#sink.lastSeq
      const answer = await this.#answerTo(connection, span)
      if (answer === undefined) return
      if (answer.lastSeq < upToSeq) this.#rolledBack(answer.lastSeq, upToSeq)
      this.#commit(span, answer)
      lost += this.#judge(span, answer, suspects)
    }
    this.#suspects = suspects
    if (lost > 0) this.#log.error({ blocks: lost }, 'JetStream has lost what it had acknowledged: it is sent again')
    if (lost > 0) this.#doubts = true
    else if (this.#spool.stats.uncommitted === 0) this.#settled()
  }

  #settled(): void {
    this.#doubts = false
    this.#resends.clear()
  }

  async #answerTo(connection: NatsConnection, span: BlockRange): Promise<CommitAnswer | undefined> {
    const question: CommitQuestion = { producer: this.#options.producerOf(span.epoch), ...span, doubts: this.#doubts }
    this.stats.asked++
    try {
      const timeout = this.#options.answerMsMax
      const reply = await connection.request(COMMIT_SUBJECT, new TextEncoder().encode(JSON.stringify(question)), {
        timeout,
      })
      const answer = reply.json<CommitAnswer & { error?: string }>()
      if (answer.error !== undefined) throw new Error(answer.error)
      if (this.#silence !== '') this.#log.info('the store says again which blocks are stored')
      this.#silence = ''
      return this.#isOurs(answer.database) ? answer : undefined
    } catch (error) {
      this.stats.unanswered++
      this.#floor = -1
      const { code, message } = error as { code?: string; message: string }
      const silence = code === '503' ? 'no store role is connected' : (code ?? message)
      if (silence !== this.#silence && !this.#stop.signal.aborted)
        this.#log.warn(
          `the store does not say which blocks are stored (${silence}): the spool keeps them; start the store role`,
        )
      this.#silence = silence
      return undefined
    }
  }

  #isOurs(database: string): boolean {
    const now = this.#nowMs()
    if (this.#database !== '' && database !== this.#database) {
      if (now - this.#heardMs < DATABASE_MS) {
        this.#tellStranger(database)
        return false
      }
      this.#log.warn(`another database says which blocks are stored: ${database}, before it ${this.#database}`)
      this.#stranger = ''
    }
    if (this.#stranger !== '') this.#tellBoth()
    this.#database = database
    this.#heardMs = now
    return true
  }

  /** Restored, replaced, or a second one: only time tells. */
  #tellStranger(database: string): void {
    if (database === this.#stranger) return
    this.#stranger = database
    this.#areBothTold = false
    this.#log.warn(
      `another database answers than before, ${database} instead of ${this.#database}: if it was restored or replaced, its answers count when the other has been silent for ${DATABASE_MS / 1000} s; if it was not, stores of two databases answer at one NATS: give each a NATS of its own`,
    )
  }

  #tellBoth(): void {
    if (this.#areBothTold) return
    this.#areBothTold = true
    this.#log.error(
      `stores of two databases answer at one NATS, ${this.#database} and ${this.#stranger}: only what the first has counts as stored; give each a NATS of its own`,
    )
  }

  #commit({ epoch, firstSeq, lastSeq }: BlockRange, { missing }: CommitAnswer): void {
    let storedFrom = firstSeq
    for (const [first, last] of missing) {
      if (first > storedFrom) this.#spool.commit({ epoch, firstSeq: storedFrom, lastSeq: first - 1 })
      storedFrom = last + 1
    }
    if (storedFrom <= lastSeq) this.#spool.commit({ epoch, firstSeq: storedFrom, lastSeq })
  }

  /**
   * @returns how many blocks are lost
   */
  #judge({ epoch }: BlockRange, answer: CommitAnswer, suspects: Map<string, number>): number {
    let lost = 0
    const now = this.#nowMs()
    if (answer.floor !== this.#floor) [this.#floor, this.#floorMs] = [answer.floor, now]
    const isStuck = now - this.#floorMs > this.#options.stuckMs
    for (const [firstSeq, lastSeq] of answer.missing) {
      for (const seq of this.#spool.delivered({ epoch, firstSeq, lastSeq })) {
        const key = `${epoch}/${seq}`
        const doneAtSeq = this.#suspects.get(key)
        const isDone = doneAtSeq !== undefined && (answer.pending === 0 || answer.floor >= doneAtSeq || isStuck)
        if (isDone && this.#lost({ epoch, firstSeq: seq, lastSeq: seq }, key, now)) lost++
        else suspects.set(key, doneAtSeq ?? this.#sink.lastSeq) // as of now: it may have gone out since we asked
      }
    }
    return lost
  }

  /** @returns false when it is too early to send it once more. */
  #lost(block: BlockRange, key: string, now: number): boolean {
    const { count, ms } = this.#resends.get(key) ?? { count: 0, ms: Number.NEGATIVE_INFINITY }
    if (now - ms < RESEND_MS * 2 ** (count - 1)) return false
    if (count >= RESENDS_MAX) {
      this.stats.givenUp++
      this.#log.error(
        { block: key },
        `a block is not stored though it was sent ${count + 1} times: look into the dead letters`,
      )
      this.#spool.commit(block)
      this.#resends.delete(key)
      return true
    }
    this.#resends.set(key, { count: count + 1, ms: now })
    this.#spool.again(block)
    return true
  }

  /** Before the first publish of a connection is believed: does the stream still hold what it acknowledged? */
  async #reconcile(connection: NatsConnection): Promise<void> {
    try {
      const acknowledged = this.#sink.lastSeq
      const { state } = await (await connection.jetstreamManager()).streams.info(BLOCK_STREAM)
      if (state.last_seq < acknowledged) this.#rolledBack(state.last_seq, acknowledged)
      this.#sink.lastSeq = Math.max(this.#sink.lastSeq, state.last_seq)
    } catch (error) {
      const { message } = error as Error
      this.#log.warn(
        { error: message },
        `stream ${BLOCK_STREAM} cannot be looked at; the store's answers will tell what it has lost`,
      )
    }
  }

  #rolledBack(lastSeq: number, acknowledgedSeq: number): void {
    this.stats.rollbacks++
    this.#doubts = true
    this.#sink.lastSeq = lastSeq
    let count = 0
    for (const range of this.#spool.uncommitted(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY))
      count += this.#spool.again(range)
    this.#log.error(
      { lastSeq, acknowledgedSeq, blocks: count },
      `stream ${BLOCK_STREAM} ends before what it had acknowledged: all blocks that are not known to be stored are sent again`,
    )
  }
}
