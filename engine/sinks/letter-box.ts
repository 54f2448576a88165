import type { JetStreamManager, NatsConnection } from 'nats'
import { BLOCK_STREAM, DEAD_LETTER_STREAM } from '../record/streams.ts'
import {
  ATTEMPTS_HEADER,
  BLOCK_HEADER,
  DAMAGED,
  ORIGINAL_PREFIX,
  REASON_HEADER,
  SEQ_HEADER,
  STREAM_HEADER,
  SUBJECT_HEADER,
} from './dead-letters.ts'
import { LetterFiles } from './letter-files.ts'
import { type Headers, headersOf, natsHeaders } from './nats.ts'
import { triedName } from './sink.ts'

/** One dead letter, as a person looks at it. */
export interface Letter {
  /** stays while others go */
  readonly number: number
  /** under which name the block was sent; '' when it had none */
  readonly name: string
  readonly reason: string
  readonly attempts: number
  readonly atMs: number
  /** subject it came under; '' for one of a directory */
  readonly subject: string
  readonly headers: Headers
  readonly payload: Uint8Array
}

/** Where dead letters are looked at (dead-letters.ts puts them there). */
export interface LetterBox {
  /** for people */
  readonly place: string
  /** in the order of their numbers, from this one on */
  letters(first?: number): AsyncGenerator<Letter>
  remove(letter: Letter): Promise<void>
}

const NOT_FOUND = 10037
const LOOK_MS = 2000

/** The stream `DLQ`. */
export class StreamLetterBox implements LetterBox {
  readonly place: string
  readonly #manager: JetStreamManager
  readonly #connection: NatsConnection

  constructor(connection: NatsConnection, manager: JetStreamManager) {
    this.place = `stream ${DEAD_LETTER_STREAM} of NATS at ${connection.getServer()}`
    this.#connection = connection
    this.#manager = manager
  }

  async *letters(first = 1): AsyncGenerator<Letter> {
    const { state } = await this.#manager.streams.info(DEAD_LETTER_STREAM, { deleted_details: true })
    const gone = new Set(state.deleted ?? [])
    for (let seq = Math.max(first, state.first_seq); seq <= state.last_seq; seq++) {
      if (gone.has(seq)) continue
      const letter = await this.#letter(seq)
      if (letter !== undefined) yield letter
    }
  }

  async #letter(seq: number): Promise<Letter | undefined> {
    try {
      const { data, header, time } = await this.#manager.streams.getMessage(DEAD_LETTER_STREAM, { seq })
      const headers = headersOf(header)
      const first = (name: string): string => headers[name]?.[0] ?? ''
      return {
        number: seq,
        name: first(BLOCK_HEADER),
        reason: first(REASON_HEADER),
        attempts: Number(first(ATTEMPTS_HEADER)),
        atMs: time.getTime(),
        subject: first(SUBJECT_HEADER),
        headers,
        payload: data,
      }
    } catch (error) {
      if ((error as { api_error?: { err_code: number } }).api_error?.err_code === NOT_FOUND) return undefined // dropped meanwhile
      throw error
    }
  }

  async remove({ number }: Letter): Promise<void> {
    await this.#manager.streams.deleteMessage(DEAD_LETTER_STREAM, number, false)
  }

  /** Sends the block again, as it came, under a new try of its name. Resolves when JetStream has it. */
  async replay(letter: Letter, nowMs: number): Promise<void> {
    const { name, payload, subject } = letter
    await this.#connection.jetstream().publish(subject, payload, {
      headers: natsHeaders(originalHeaders(letter.headers)),
      ...(name === '' ? {} : { msgID: triedName(name, nowMs) }),
      expect: { streamName: BLOCK_STREAM },
    })
  }
}

const OURS = [BLOCK_HEADER, REASON_HEADER, ATTEMPTS_HEADER, SUBJECT_HEADER, STREAM_HEADER, SEQ_HEADER]

/** What the block had before it became a letter, but for what JetStream itself is told. */
function originalHeaders(headers: Headers): Headers {
  return Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => !OURS.includes(name) && !name.startsWith(ORIGINAL_PREFIX) && !/^nats-/i.test(name),
    ),
  )
}

/**
 * Numbers of the blocks of one boot that are dead letters: nobody will store them, and yet they are not lost. Not those
 * whose bytes were damaged on their way: the collector has them whole, and shall send them again.
 */
export async function deadBlocks(connection: NatsConnection, producer: string, epoch: number): Promise<number[]> {
  const filter = `deadletter.*.*.${producer.replace(/[^A-Za-z0-9_-]/g, '_')}`
  const manager = await connection.jetstreamManager()
  const { state } = await manager.streams.info(DEAD_LETTER_STREAM, { subjects_filter: filter })
  let left = Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
  if (left === 0) return []
  const stream = connection.jetstream()
  const consumer = await stream.consumers.get(DEAD_LETTER_STREAM, { filterSubjects: filter, headers_only: true })
  const found: number[] = []
  for await (const message of await consumer.fetch({ max_messages: left, expires: LOOK_MS })) {
    const [, boot, seq] = /^(.+)\/(\d+):/.exec(message.headers?.get(BLOCK_HEADER) ?? '') ?? []
    const isDamaged = message.headers?.get(REASON_HEADER).startsWith(DAMAGED) === true
    if (boot === `${producer}/${epoch}` && !isDamaged) found.push(Number(seq))
    if (--left === 0) break
  }
  return found
}

/** The directory of a collector that delivers without NATS. */
export class DirectoryLetterBox implements LetterBox {
  readonly place: string
  readonly #files: LetterFiles

  constructor(directory: string) {
    this.place = `directory ${directory}`
    this.#files = new LetterFiles(directory)
  }

  async *letters(first = 1): AsyncGenerator<Letter> {
    for (const note of (await this.#files.list()).filter(({ number }) => number >= first))
      yield { ...note, subject: '', headers: {}, payload: await this.#files.read(note.name) }
  }

  async remove({ name }: Letter): Promise<void> {
    await this.#files.remove(name)
  }
}
