import type { ClickHouseClient } from '@clickhouse/client'
import type { ConsumerConfig, ConsumerInfo, JetStreamManager, Msg, NatsConnection, StreamState } from 'nats'
import type { Log } from '../base/log.ts'
import { BLOCK_STREAM, STORE_CONSUMER } from '../record/streams.ts'
import { type ClickHouseOptions, createClickHouseClient } from './clickhouse.ts'
import { deadBlocks } from './letter-box.ts'
import type { NatsLink } from './nats.ts'

/**
 * The store's side of commit feedback: a collector asks which of its blocks are stored, and the table `blocks` answers.
 *
 *   request   marketprism.store.committed   {"producer": "a", "epoch": 1795253359, "firstSeq": 1, "lastSeq": 4096}
 *   answer    {"missing": [[17, 18], [40, 40]], "pending": 0, "floor": 1234, "lastSeq": 1234, "database": "marketprism/…"}
 *             or {"error": "why"}
 *
 * `database` names the very table `blocks` that was asked: stores of two databases behind one NATS must not answer for each
 * other, and a collector listens to one.
 *
 * `pending` counts the messages that the store's consumers have not done yet, `floor` is the stream sequence up to which all
 * are done, `lastSeq` where the stream ends. They are read before the table is: so a block that was in the stream before the
 * question was asked, at or below the floor, and still missing, is lost.
 *
 * A collector that has found blocks lost says that it doubts, and then the stream itself is looked at. What nats-server 2.9.10
 * does after one bit flipped in the file that it appends to (it was killed, so it reads the file anew):
 *   - the stream ends before the bit; sequences are given again, and a consumer that stands beyond the end gets none of them
 *   - new messages go to the damaged file, are acknowledged, and can never be read, not after another start either; a purge
 *     begins a new file
 * So a stream whose newest message cannot be read is purged, and a consumer beyond the end is made anew. Nothing is lost by
 * that: what is not in the table is in the spool of its collector, and is sent again.
 */
export const COMMIT_SUBJECT = 'marketprism.store.committed'
/** One question; its answer is then at most 2,048 ranges of at most 24 bytes. */
export const COMMIT_BLOCKS_MAX = 4096

export interface CommitQuestion {
  readonly producer: string
  readonly epoch: number
  readonly firstSeq: number
  readonly lastSeq: number
  /** the stream lost something not long ago */
  readonly doubts?: boolean
}

export interface CommitAnswer {
  readonly missing: readonly (readonly [number, number])[]
  readonly pending: number
  readonly floor: number
  readonly lastSeq: number
  /** `{name of the database}/{uuid of its table blocks}` */
  readonly database: string
}

export class CommitAnswers {
  readonly stats = { answered: 0, failed: 0, purges: 0, consumersRenewed: 0 }
  readonly #link: NatsLink
  readonly #client: ClickHouseClient
  readonly #log: Log
  #connection: NatsConnection | undefined
  #database: Promise<string> | undefined

  constructor(link: NatsLink, clickhouse: ClickHouseOptions, log: Log) {
    this.#link = link
    this.#client = createClickHouseClient({ ...clickhouse, insertsMax: 0 })
    this.#log = log
  }

  /** Answers on this connection, and on those that replace it. */
  start(): void {
    this.#link.whenUp((connection) => {
      if (connection === this.#connection) return // the client subscribes again by itself
      this.#connection = connection
      connection.subscribe(COMMIT_SUBJECT, {
        queue: 'store',
        callback: (error, message) => void (error === null && this.#answer(connection, message)),
      })
    })
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  async #answer(connection: NatsConnection, message: Msg): Promise<void> {
    let text: string
    try {
      text = JSON.stringify(await this.#find(connection, readQuestion(message.string())))
      this.stats.answered++
    } catch (error) {
      this.stats.failed++
      text = JSON.stringify({ error: (error as Error).message })
    }
    if (!connection.isClosed()) message.respond(new TextEncoder().encode(text))
  }

  async #find(connection: NatsConnection, question: CommitQuestion): Promise<CommitAnswer> {
    const manager = await connection.jetstreamManager()
    if (question.doubts === true) await this.#purgeUnreadable(manager)
    const [progress, database] = [await this.#progress(manager), await this.#databaseName()]
    const done = await this.#storedOf(question)
    // a dead letter is not stored, nor is it lost: sent again it would only be one once more
    if (missingOf(question, done).length > 0)
      for (const seq of await deadBlocks(connection, question.producer, question.epoch)) done.add(seq)
    return { missing: missingOf(question, done), ...progress, database }
  }

  /** Asked once: the table of a store that runs is not made anew. */
  #databaseName(): Promise<string> {
    this.#database ??= this.#askDatabase().catch((error) => {
      this.#database = undefined
      throw error
    })
    return this.#database
  }

  async #askDatabase(): Promise<string> {
    const answer = await this.#client.query({
      query: `SELECT concat(database, '/', toString(uuid)) AS place FROM system.tables WHERE database = currentDatabase() AND name = 'blocks'`,
      format: 'JSONEachRow',
    })
    const [row] = await answer.json<{ place: string }>()
    if (row === undefined) throw new Error('the database of the store has no table blocks')
    return row.place
  }

  async #progress(manager: JetStreamManager): Promise<Omit<CommitAnswer, 'missing' | 'database'>> {
    const { state } = await manager.streams.info(BLOCK_STREAM)
    let pending = 0
    let floor = state.last_seq
    for await (const consumer of manager.consumers.list(BLOCK_STREAM)) {
      if (!consumer.name.startsWith(STORE_CONSUMER)) continue // another reader's
      if (consumer.delivered.stream_seq > state.last_seq && (await this.#isBeyondEnd(manager, consumer))) {
        await this.#renew(manager, consumer, state.last_seq)
        pending++ // what it is given now is not known yet
      }
      const own = consumer.num_pending + consumer.num_ack_pending
      pending += own
      if (own > 0) floor = Math.min(floor, consumer.ack_floor.stream_seq)
    }
    return { pending, floor, lastSeq: state.last_seq }
  }

  /** Messages may have come and been delivered since the stream was asked where it ends. */
  async #isBeyondEnd(manager: JetStreamManager, { delivered }: ConsumerInfo): Promise<boolean> {
    const { state } = await manager.streams.info(BLOCK_STREAM)
    return delivered.stream_seq > state.last_seq
  }

  async #purgeUnreadable(manager: JetStreamManager): Promise<void> {
    const { state } = await manager.streams.info(BLOCK_STREAM, { deleted_details: true })
    if (state.messages === 0 || (await isReadable(manager, state))) return
    const { purged } = await manager.streams.purge(BLOCK_STREAM)
    this.stats.purges++
    this.#log.error(
      { lastSeq: state.last_seq, purged },
      `stream ${BLOCK_STREAM} acknowledges messages that cannot be read: it is purged; collectors send again what is not stored. Check the disk of NATS`,
    )
  }

  async #renew(manager: JetStreamManager, { name, config, ack_floor, delivered }: ConsumerInfo, lastSeq: number) {
    const startSeq = Math.min(ack_floor.stream_seq, lastSeq) + 1
    this.#log.error(
      { consumer: name, delivered: delivered.stream_seq, lastSeq, startSeq },
      `stream ${BLOCK_STREAM} has lost its end: the consumer is made anew; collectors send again what is not stored`,
    )
    await manager.consumers.delete(BLOCK_STREAM, name)
    const start = { deliver_policy: 'by_start_sequence', opt_start_seq: startSeq } as Partial<ConsumerConfig>
    await manager.consumers.add(BLOCK_STREAM, { ...config, ...start })
    this.stats.consumersRenewed++
  }

  async #storedOf({ producer, epoch, firstSeq, lastSeq }: CommitQuestion): Promise<Set<number>> {
    const answer = await this.#client.query({
      query:
        'SELECT DISTINCT block_seq FROM blocks WHERE producer = {producer:String} AND epoch = {epoch:UInt64} AND block_seq BETWEEN {firstSeq:UInt64} AND {lastSeq:UInt64}',
      query_params: { producer, epoch, firstSeq, lastSeq },
      format: 'JSONCompactEachRow',
      clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
    })
    return new Set((await answer.json<[number]>()).map(([seq]) => Number(seq)))
  }
}

/** Whether the newest message can be read, or was deleted by somebody. */
async function isReadable(manager: JetStreamManager, { last_seq: seq, deleted }: StreamState): Promise<boolean> {
  if (deleted?.includes(seq) === true) return true
  try {
    await manager.streams.getMessage(BLOCK_STREAM, { seq })
    return true
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === '404') return false
    throw error
  }
}

function missingOf({ firstSeq, lastSeq }: CommitQuestion, stored: ReadonlySet<number>): [number, number][] {
  const missing: [number, number][] = []
  for (let seq = firstSeq; seq <= lastSeq; seq++) {
    if (stored.has(seq)) continue
    const last = missing.at(-1)
    if (last?.[1] === seq - 1) last[1] = seq
    else missing.push([seq, seq])
  }
  return missing
}

/** @throws Error that says what is wrong with the question. */
function readQuestion(text: string): CommitQuestion {
  const { producer, epoch, firstSeq, lastSeq, doubts } = JSON.parse(text) as Record<string, unknown>
  const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (typeof producer === 'string' && isNumber(epoch) && isNumber(firstSeq) && isNumber(lastSeq)) {
    if (firstSeq <= lastSeq && lastSeq - firstSeq < COMMIT_BLOCKS_MAX)
      return { producer, epoch, firstSeq, lastSeq, doubts: doubts === true }
  }
  throw new Error(`the question ${text.slice(0, 200)} asks for no range of at most ${COMMIT_BLOCKS_MAX} blocks`)
}
