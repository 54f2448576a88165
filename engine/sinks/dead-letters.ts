import { DEAD_LETTER_STREAM, deadLetterSubject } from '../record/streams.ts'
import { LetterFiles } from './letter-files.ts'
import { type Headers, type NatsLink, natsHeaders } from './nats.ts'
import type { Poison, SealedBlock } from './sink.ts'

/**
 * Blocks that no sink will ever take. Without this one bad block would hold back all behind it; with it the block is
 * kept, bytes and headers as they came, with the reason, until a person has looked (`marketprism dlq`).
 *
 * With NATS they are messages of the stream `DLQ`, one subject a table, exchange and producer; without, files of a
 * directory. A letter that was put twice (we died before the original was acknowledged) is there once.
 */
export interface DeadLetters {
  /**
   * Resolves when the letter is kept for good. Rejects with one line when it is not: then the original must not be
   * acknowledged.
   * @param block undefined when the bytes are no block, or not those of their name
   */
  put(block: SealedBlock | undefined, payload: Uint8Array, note: LetterNote): Promise<void>
}

export interface LetterNote extends Poison {
  /** how the letter is called where the bytes do not say what they are */
  readonly name: string
  /** the message that it was; a block of the spool was none */
  readonly origin?: Origin
}

export interface Origin {
  readonly subject: string
  readonly stream: string
  readonly seq: number
  readonly headers: Headers
}

export const REASON_HEADER = 'Marketprism-Reason'
export const ATTEMPTS_HEADER = 'Marketprism-Attempts'
/** the Nats-Msg-Id of the original */
export const BLOCK_HEADER = 'Marketprism-Block'
export const SUBJECT_HEADER = 'Marketprism-Subject'
export const STREAM_HEADER = 'Marketprism-Stream'
export const SEQ_HEADER = 'Marketprism-Stream-Sequence'
/** Before a header of the original that begins with `Nats-`: under its own name it would be an order to the server. */
export const ORIGINAL_PREFIX = 'Marketprism-Original-'
const REASON_CHARS_MAX = 1000
/** A reason that begins so: these are not the bytes that were sent. */
export const DAMAGED = 'damaged: '

/** Letters as messages of the stream `DLQ`. */
export class StreamLetters implements DeadLetters {
  readonly #link: NatsLink

  constructor(link: NatsLink) {
    this.#link = link
  }

  async put(block: SealedBlock | undefined, payload: Uint8Array, note: LetterNote): Promise<void> {
    const connection = this.#link.up()
    const at = `NATS at ${this.#link.options.url}`
    if (connection === undefined) throw new Error(`${at} is away: it cannot take the dead letter`)
    const subject = subjectOfLetter(block, note)
    try {
      await connection.jetstream().publish(subject, payload, {
        msgID: letterId(block, note),
        headers: natsHeaders(letterHeaders(block, note)),
        timeout: this.#link.options.ackTimeoutMs,
        expect: { streamName: DEAD_LETTER_STREAM },
      })
    } catch (error) {
      const { code = '', message, api_error: api } = error as NatsFailure
      throw new Error(
        `${at} does not take the dead letter ${subject} (${api?.description ?? (code || message)}): look into its stream ${DEAD_LETTER_STREAM} (marketprism dlq list), empty or enlarge it`,
        { cause: error },
      )
    }
  }
}

interface NatsFailure extends Error {
  readonly code?: string
  readonly api_error?: { readonly description: string }
}

/** Letters as files, for a collector that has no NATS. */
export class DirectoryLetters implements DeadLetters {
  readonly #files: LetterFiles
  readonly #nowMs: () => number

  constructor(directory: string, nowMs: () => number) {
    this.#files = new LetterFiles(directory)
    this.#nowMs = nowMs
  }

  async put(block: SealedBlock | undefined, payload: Uint8Array, note: LetterNote): Promise<void> {
    const { reason, attempts, name } = note
    try {
      await this.#files.write(payload, { name: block?.messageId ?? name, reason, attempts, atMs: this.#nowMs() })
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new Error(
        `the dead letter cannot be written to ${this.#files.directory} (${code ?? message}): free some space or correct its owner`,
        { cause: error },
      )
    }
  }
}

/** `deadletter.{table}.{exchange}.{producer}`, of the subject it came under even when the bytes are damaged. */
function subjectOfLetter(block: SealedBlock | undefined, { origin }: LetterNote): string {
  const [kind, table, exchange, producer] = origin?.subject.split('.') ?? []
  if (kind === 'block') return deadLetterSubject(table, exchange, producer)
  return deadLetterSubject(block?.head.table, block?.head.exchange, block?.head.producer)
}

/** The same when we die and it becomes a letter again; another one when a replay of it fails again. */
function letterId(block: SealedBlock | undefined, { origin, name }: LetterNote): string {
  return origin === undefined
    ? `deadletter:${block?.messageId ?? name}`
    : `deadletter:${origin.stream}:${origin.seq}:${block?.messageId ?? ''}`
}

function letterHeaders(block: SealedBlock | undefined, { reason, attempts, origin }: LetterNote): Headers {
  const headers: Record<string, readonly string[]> = {}
  for (const [name, values] of Object.entries(origin?.headers ?? {})) {
    if (/^nats-msg-id$/i.test(name)) headers[BLOCK_HEADER] = values
    else headers[/^nats-/i.test(name) ? `${ORIGINAL_PREFIX}${name}` : name] = values
  }
  if (block !== undefined) headers[BLOCK_HEADER] ??= [block.messageId]
  headers[REASON_HEADER] = [reason.replace(/\s+/g, ' ').slice(0, REASON_CHARS_MAX)]
  headers[ATTEMPTS_HEADER] = [String(attempts)]
  if (origin === undefined) return headers
  return {
    ...headers,
    [SUBJECT_HEADER]: [origin.subject],
    [STREAM_HEADER]: [origin.stream],
    [SEQ_HEADER]: [String(origin.seq)],
  }
}
