import { Readable } from 'node:stream'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { classify, type Failure, WAITS } from './clickhouse-failure.ts'
import { encodeMarks, marksToken } from './marks.ts'
import { encodeNative, type NativeBlock } from './native.ts'
import type { Outcome, SealedBlock, Sink } from './sink.ts'

/**
 * ClickHouse, the only module that speaks to `@clickhouse/client`.
 *
 * One block is one insert: one Native block, so the server takes it whole or not at all, with the block's identity as
 * deduplication token, so that sending it again changes nothing. After the rows follows the block's own row in `blocks`,
 * the mark that it is committed; several blocks share one insert of marks. A process that dies between the two sends the
 * block again: the rows are a duplicate, the mark is new.
 */
export interface ClickHouseOptions {
  readonly url: string
  readonly database: string
  readonly username: string
  readonly password: string
  readonly requestTimeoutMs: number
  /** inserts of blocks under way at once */
  readonly insertsMax: number
  /** marks of committed blocks wait at most this long for company */
  readonly markDelayMs: number
}

export const CLICKHOUSE_DEFAULT: ClickHouseOptions = {
  url: 'http://127.0.0.1:8123',
  database: 'marketprism',
  username: 'default',
  password: '',
  requestTimeoutMs: 30_000,
  insertsMax: 4,
  markDelayMs: 100,
}

export interface ClickHouseStats {
  inserts: number
  rows: number
  bytes: number
  marks: number
  retries: number
  poisoned: number
  insertMsMax: number
  insertMsSum: number
}

/** A block that ClickHouse cannot read this often is set aside. */
const SUSPECT_ATTEMPTS_MAX = 5
const MARKS_MAX = 256

export function createClickHouseClient(options: ClickHouseOptions): ClickHouseClient {
  return createClient({
    url: options.url,
    database: options.database,
    username: options.username,
    password: options.password,
    request_timeout: options.requestTimeoutMs,
    max_open_connections: options.insertsMax + 2,
    log: { level: ClickHouseLogLevel.OFF }, // failures are told once, by us
  })
}

/** Asks for one trivial answer. @throws Fault with one line when there is none. */
export async function checkClickHouse(client: ClickHouseClient, options: ClickHouseOptions): Promise<void> {
  try {
    await (await client.query({ query: 'SELECT 1', format: 'TabSeparated' })).text()
  } catch (error) {
    throw new Fault('CLICKHOUSE', classify(error, options).line.replace(WAITS, ''), undefined, { cause: error })
  }
}

export class ClickHouseSink implements Sink {
  readonly name = 'clickhouse'
  readonly stats: ClickHouseStats = {
    inserts: 0,
    rows: 0,
    bytes: 0,
    marks: 0,
    retries: 0,
    poisoned: 0,
    insertMsMax: 0,
    insertMsSum: 0,
  }
  readonly #options: ClickHouseOptions
  readonly #client: ClickHouseClient
  readonly #nowNs: () => bigint
  readonly #log: Log
  readonly #waiting: (() => void)[] = []
  readonly #suspects = new Map<string, number>()
  readonly #marks: Mark[] = []
  #markTimer: NodeJS.Timeout | undefined
  #marking = Promise.resolve()
  #running = 0
  #trouble: string | undefined

  /** @param nowNs wall time of this machine, for `stored_ns` */
  constructor(options: ClickHouseOptions, nowNs: () => bigint, log: Log) {
    this.#options = options
    this.#nowNs = nowNs
    this.#client = createClickHouseClient(options)
    this.#log = log
  }

  trouble(): string | undefined {
    return this.#trouble
  }

  async send(block: SealedBlock): Promise<Outcome> {
    await this.#enter()
    try {
      const native = tryEncode(block)
      if (native instanceof Error) return this.#refused(damagedFailure(block, native), block)
      await this.#insert(block.head.table, native, block.messageId)
      this.stats.inserts++
      this.stats.rows += block.head.rows
      this.stats.bytes += native.bytes.length
    } catch (error) {
      return this.#failed(error, block)
    } finally {
      this.#leave()
    }
    try {
      await this.#mark(block)
    } catch (error) {
      return this.#failed(error, block)
    }
    this.#suspects.delete(block.messageId)
    this.#recovered()
    return 'acknowledged'
  }

  async close(): Promise<void> {
    if (this.#markTimer !== undefined) this.#flushMarks()
    await this.#marking
    await this.#client.close()
  }

  async #insert(table: string, native: NativeBlock, token: string): Promise<void> {
    const startMs = performance.now()
    const columns = native.columnNames.map((name) => `\`${name}\``).join(', ')
    const { stream } = await this.#client.exec({
      query: `INSERT INTO \`${table}\` (${columns}) FORMAT Native`,
      values: Readable.from([native.bytes]),
      // optimize_on_insert would already merge rows of one key inside the insert: what was accepted is stored, row by row
      clickhouse_settings: {
        async_insert: 0,
        optimize_on_insert: 0,
        insert_deduplication_token: token,
        wait_end_of_query: 1,
      },
    })
    for await (const _ of stream); // an answer that is not read keeps the connection busy
    const tookMs = performance.now() - startMs
    this.stats.insertMsSum += tookMs
    this.stats.insertMsMax = Math.max(this.stats.insertMsMax, tookMs)
  }

  #failed(error: unknown, block: SealedBlock): Outcome {
    return this.#refused(classify(error, this.#options, block.head.table), block)
  }

  #refused(failure: Failure, block: SealedBlock): Outcome {
    if (failure.line !== this.#trouble) this.#log.warn({ block: block.messageId, code: failure.code }, failure.line)
    this.#trouble = failure.line
    if (failure.kind === 'suspect') {
      const attempts = (this.#suspects.get(block.messageId) ?? 0) + 1
      this.#suspects.set(block.messageId, attempts)
      if (attempts >= SUSPECT_ATTEMPTS_MAX) {
        this.#suspects.delete(block.messageId)
        this.stats.poisoned++
        return { reason: failure.line, attempts }
      }
    }
    this.stats.retries++
    return 'retry'
  }

  #recovered(): void {
    if (this.#trouble === undefined) return
    this.#trouble = undefined
    this.#log.info(`ClickHouse at ${this.#options.url} takes blocks again`)
  }

  async #enter(): Promise<void> {
    if (this.#running >= this.#options.insertsMax) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running++
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) next()
    else this.#running--
  }

  /** Resolves when the block's row in `blocks` is inserted. */
  #mark(block: SealedBlock): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#marks.push({ block, resolve, reject })
      if (this.#marks.length >= MARKS_MAX) this.#flushMarks()
      else this.#markTimer ??= setTimeout(() => this.#flushMarks(), this.#options.markDelayMs)
    })
  }

  #flushMarks(): void {
    clearTimeout(this.#markTimer)
    this.#markTimer = undefined
    const marks = this.#marks.splice(0)
    if (marks.length === 0) return
    this.#marking = this.#marking.then(() => this.#insertMarks(marks))
  }

  async #insertMarks(marks: readonly Mark[]): Promise<void> {
    const blocks = marks.map((mark) => mark.block)
    try {
      // The table replaces rows of the same block, so that a mark made twice is one row; the token is for the usual case.
      await this.#insert('blocks', encodeMarks(blocks, this.#nowNs()), marksToken(blocks))
      this.stats.marks += marks.length
      for (const mark of marks) mark.resolve()
    } catch (error) {
      for (const mark of marks) mark.reject(error)
    }
  }
}

interface Mark {
  readonly block: SealedBlock
  resolve(): void
  reject(error: unknown): void
}

function tryEncode(block: SealedBlock): NativeBlock | Error {
  try {
    return encodeNative(block)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function damagedFailure({ head }: SealedBlock, error: Error): Failure {
  return { kind: 'suspect', code: '', line: `a block for ${head.table} is damaged: ${error.message}` }
}
