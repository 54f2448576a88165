/**
 * Blocks of the JetStream stream: all rows of the time, in columns, each once. An ordered consumer that leaves no trace on
 * the server; it begins with the newest block and waits for a reader that is slow.
 */
import type { Consumer, ConsumerMessages, JsMsg, NatsConnection } from 'nats'
import { EXIT_USAGE, Fault } from '../../base/fault.ts'
import { decodeBlock, type DecodedBlock, instrumentName, type NamedRow, type TableName } from '../../client/block.ts'
import { matchesGlob, type Pattern } from '../../gateway/live/subject.ts'
import { BLOCK_STREAM } from '../../record/streams.ts'
import { TABLES } from '../../record/schema.ts'
import { getLargeBlock, LARGE_BLOCKS_DEFAULT, readLargeNote } from '../../sinks/large-blocks.ts'
import { anyRows, type ConsumeSink, type ConsumeSource } from './source.ts'

const MESSAGES_AHEAD_MAX = 32

/** Tables by the first word of a pattern: the live type of its rows, or its own name. */
const TYPE_OF = new Map<string, string>(TABLES.map(({ name, liveType }) => [name, liveType ?? name]))

export class Blocks implements ConsumeSource {
  readonly name: string
  readonly #connection: NatsConnection
  readonly #patterns: readonly Pattern[]
  readonly #subjects: readonly string[]
  readonly #running: ConsumerMessages[] = []

  constructor(connection: NatsConnection, patterns: readonly Pattern[]) {
    this.#connection = connection
    this.#patterns = patterns
    this.#subjects = subjectsOf(patterns)
    this.name = `blocks of ${BLOCK_STREAM} at ${connection.getServer()}`
  }

  async run(sink: ConsumeSink): Promise<void> {
    const consumers: Consumer[] = []
    for (const subject of this.#subjects) consumers.push(await this.#consumer(subject))
    sink.onReading()
    await Promise.all(consumers.map((consumer) => this.#read(consumer, sink)))
  }

  async stop(): Promise<void> {
    for (const messages of this.#running) await messages.close()
    await this.#connection.close()
  }

  async #consumer(subject: string): Promise<Consumer> {
    try {
      const options = { filterSubjects: subject, deliver_policy: 'new' } as never // the client's enums are these words
      return await this.#connection.jetstream().consumers.get(BLOCK_STREAM, options)
    } catch (error) {
      throw new Fault(
        'NO_BLOCKS',
        `NATS at ${this.#connection.getServer()} has no stream ${BLOCK_STREAM} (${(error as Error).message}): start an engine that delivers through it`,
      )
    }
  }

  async #read(consumer: Consumer, sink: ConsumeSink): Promise<void> {
    const messages = await consumer.consume({ max_messages: MESSAGES_AHEAD_MAX })
    this.#running.push(messages)
    for await (const message of messages) await this.#take(message, sink)
  }

  async #take(message: JsMsg, sink: ConsumeSink): Promise<void> {
    let block: DecodedBlock
    try {
      block = decodeBlock(await this.#bytesOf(message))
    } catch (error) {
      return sink.onError(`${message.subject}: ${(error as Error).message}`)
    }
    const wanted = new Set(block.instruments.filter((id) => this.#isWanted(block.table, id)))
    if (wanted.size === 0) return
    const bytesARow = message.data.length / block.rowCount
    const type = TYPE_OF.get(block.table) ?? block.table
    for (const [id, { rows, places }] of rowsByInstrument(block, wanted)) {
      const raw = (): unknown => ({ subject: message.subject, seq: message.seq, rows: storedRows(block, places) })
      await sink.onMessage({
        type,
        ...instrumentName(id),
        rows: anyRows(rows),
        bytes: Math.round(bytesARow * rows.length),
        raw,
      })
    }
  }

  /** A block that is longer than a message may be stands in an object store. */
  async #bytesOf({ data, headers }: JsMsg): Promise<Uint8Array> {
    const note = readLargeNote((name) => headers?.get(name) ?? '')
    return note === undefined ? data : await getLargeBlock(this.#connection, LARGE_BLOCKS_DEFAULT, note)
  }

  #isWanted(table: string, id: string): boolean {
    const name = instrumentName(id)
    return this.#patterns.some(
      (pattern) =>
        pattern.matches({ type: table, ...name }) || pattern.matches({ type: TYPE_OF.get(table) ?? table, ...name }),
    )
  }
}

interface InstrumentRows {
  readonly rows: NamedRow<TableName>[]
  /** which rows of the block they are */
  readonly places: number[]
}

function rowsByInstrument(block: DecodedBlock, wanted: ReadonlySet<string>): Map<string, InstrumentRows> {
  const found = new Map<string, InstrumentRows>()
  let place = 0
  for (const row of block.rows()) {
    const id = `${row.exchange}.${row.market}.${row.symbol}`
    let own = found.get(id)
    if (own === undefined && wanted.has(id)) {
      own = { rows: [], places: [] }
      found.set(id, own)
    }
    own?.rows.push(row)
    own?.places.push(place)
    place++
  }
  return found
}

/** As the columns have them. */
function storedRows({ columns }: DecodedBlock, places: readonly number[]): Record<string, unknown>[] {
  return places.map((place) => Object.fromEntries([...columns].map(([name, column]) => [name, column.at(place)])))
}

/**
 * `block.{table}.{exchange}.{producer}`, none of them within another; market and symbol are looked at in the block.
 */
function subjectsOf(patterns: readonly Pattern[]): string[] {
  const tables = new Set(patterns.flatMap(tablesOf))
  const exchanges = new Set(patterns.map(({ text }) => text.split('.')[1] ?? '>'))
  const [only = '*'] = exchanges
  const exchange = exchanges.size > 1 || only === '>' || only.includes('*') ? '*' : only
  const words = tables.size === TABLES.length ? ['*'] : [...tables]
  return words.map((table) => `block.${table}.${exchange}.>`)
}

function tablesOf({ text, typeWord }: Pattern): TableName[] {
  const tables = [...TYPE_OF].filter(
    ([table, type]) => typeWord === '>' || matchesGlob(typeWord, table) || matchesGlob(typeWord, type),
  )
  if (tables.length > 0) return tables.map(([table]) => table as TableName)
  const known = [...TYPE_OF.values()].join(', ')
  throw new Fault('UNKNOWN_TYPE', `${text}: there are no blocks of ${typeWord}; there are ${known}`, EXIT_USAGE)
}
