import type { NatsConnection } from 'nats'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type ClickHouseOptions, ClickHouseSink } from '../sinks/clickhouse.ts'
import { DirectoryLetterBox, type Letter, type LetterBox, StreamLetterBox } from '../sinks/letter-box.ts'
import { type LetterLine, lineOf } from '../sinks/letter-line.ts'
import { connectNats, type NatsOptions } from '../sinks/nats.ts'
import { openBlock } from '../sinks/sink.ts'
import { HttpFault } from './http-fault.ts'

export interface LetterPlaces {
  readonly nats: NatsOptions | undefined
  /** of the collector in this process, where it delivers without NATS */
  readonly directory: string | undefined
  readonly clickhouse: ClickHouseOptions | undefined
}

export interface LetterList {
  readonly place: string
  readonly letters: readonly LetterLine[]
  /** the number to go on from, while there are more */
  readonly next?: number
}

export interface ReplayAnswer {
  readonly replayed: readonly number[]
  readonly failed: readonly { readonly number: number; readonly reason: string }[]
}

interface OpenBox {
  readonly box: LetterBox
  /** @returns '' or why not */
  replay(letter: Letter): Promise<string>
  close(): Promise<void>
}

const RETRY_S = 5

/** Dead letters for the API, opened when somebody asks; what `marketprism dlq` shows. */
export class LetterDesk {
  readonly #places: LetterPlaces
  readonly #clock: Clock
  readonly #log: Log
  #opened: Promise<OpenBox> | undefined

  constructor(places: LetterPlaces, clock: Clock, log: Log) {
    this.#places = places
    this.#clock = clock
    this.#log = log
  }

  async list(first: number, countMax: number): Promise<LetterList> {
    const { box } = await this.#open()
    const letters: LetterLine[] = []
    for await (const letter of box.letters(first)) {
      if (letters.length === countMax) return { place: box.place, letters, next: letter.number }
      letters.push(lineOf(letter))
    }
    return { place: box.place, letters }
  }

  /** Each goes when its block is acknowledged, not before. */
  async replay(numbers: readonly number[]): Promise<ReplayAnswer> {
    const { box, replay } = await this.#open()
    const replayed: number[] = []
    const failed: { number: number; reason: string }[] = []
    for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
      const letter = await find(box, number)
      const reason =
        letter === undefined ? 'there is no such letter' : await replay(letter).catch((error: Error) => error.message)
      if (letter === undefined || reason !== '') failed.push({ number, reason })
      else {
        await box.remove(letter)
        replayed.push(number)
      }
    }
    return { replayed, failed }
  }

  /** @throws HttpFault when it is not there */
  async drop(number: number): Promise<LetterLine> {
    const { box } = await this.#open()
    const letter = await find(box, number)
    if (letter === undefined)
      throw new HttpFault(404, 'letter_unknown', `there is no dead letter ${number}: GET /v1/dlq lists them`)
    await box.remove(letter)
    return lineOf(letter)
  }

  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined)
    await opened?.close()
  }

  /** A box that could not be opened, or whose connection has ended, is opened anew by the next who asks. */
  async #open(): Promise<OpenBox> {
    this.#opened ??= this.#openBox()
    try {
      return await this.#opened
    } catch (error) {
      this.#opened = undefined
      if (error instanceof HttpFault) throw error
      throw new HttpFault(503, 'letters_away', (error as Error).message, {}, RETRY_S)
    }
  }

  #openBox(): Promise<OpenBox> {
    const { nats, directory } = this.#places
    if (nats !== undefined) return this.#openStream(nats)
    if (directory !== undefined) return Promise.resolve(this.#openDirectory(directory))
    throw new HttpFault(404, 'no_letters', 'this gateway has neither NATS nor a collector beside it: set nats.url')
  }

  async #openStream(options: NatsOptions): Promise<OpenBox> {
    const connection: NatsConnection = await connectNats(options, 'marketprism gateway, dead letters')
    void connection.closed().then(() => {
      this.#opened = undefined
    })
    const box = new StreamLetterBox(connection, await connection.jetstreamManager())
    const replay = async (letter: Letter): Promise<string> => {
      if (!letter.subject.startsWith('block.'))
        return 'it did not come from the block stream: marketprism dlq show --out'
      await box.replay(letter, this.#clock.nowMs())
      return ''
    }
    return { box, replay, close: () => connection.close() }
  }

  /** Without NATS a block goes where it was going: into ClickHouse. */
  #openDirectory(directory: string): OpenBox {
    const { clickhouse } = this.#places
    const sink =
      clickhouse === undefined ? undefined : new ClickHouseSink(clickhouse, () => this.#clock.nowNs(), this.#log)
    sink?.hurry() // one letter at a time
    const replay = async ({ payload }: Letter): Promise<string> => {
      if (sink === undefined) return 'there is no ClickHouse here'
      const outcome = await sink.send(openBlock(payload))
      if (outcome === 'acknowledged') return ''
      return outcome === 'retry' ? (sink.trouble() ?? 'ClickHouse does not take it now') : outcome.reason
    }
    return { box: new DirectoryLetterBox(directory), replay, close: async () => sink?.close() }
  }
}

async function find(box: LetterBox, number: number): Promise<Letter | undefined> {
  for await (const letter of box.letters(number)) return letter.number === number ? letter : undefined
  return undefined
}
