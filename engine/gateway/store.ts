/**
 * Questions to ClickHouse, bounded on every side. SQL is written by us alone: values of users are bound parameters
 * (`{name:Type}`), names of tables and columns come from the schema.
 *
 *   a turn      4 questions and 2 exports run at once (the embedded engine reads with 4 connections); 64 wait for 5 s at
 *               most, whoever comes then gets 503 and comes again
 *   a budget    seconds, rows read, rows and bytes of the result, memory, threads: the engine keeps it, not we
 *   read only   whatever a question says, it can change nothing
 *   no waiting  a client that goes away ends its question
 *
 * Every question has one of two sets of settings, because the embedded engine keeps a connection for each set; none has a
 * setting of its own in its SQL, which `readonly` forbids.
 */
import type { Readable } from 'node:stream'
import { type ClickHouseClient, ClickHouseError, type ClickHouseSettings } from '@clickhouse/client'
import type { Log } from '../base/log.ts'
import { type ClickHouseOptions, createClickHouseClient } from '../sinks/clickhouse.ts'
import type { GatewayCounts } from './counts.ts'
import { HttpFault } from './http-fault.ts'

export type Params = Readonly<Record<string, string | number | bigint | readonly (string | number)[]>>

/** What a question may cost. */
export interface Budget {
  readonly seconds: number
  readonly rowsRead: number
  readonly rowsResult: number
  readonly bytesResult: number
  readonly memoryBytes: number
}

const MIB = 1024 * 1024
/** Beyond this a person would not wait for an answer; a day of the busiest instrument is some 10^7 rows. */
export const QUESTION_BUDGET: Budget = {
  seconds: 10,
  rowsRead: 500_000_000,
  rowsResult: 200_000,
  bytesResult: 128 * MIB,
  memoryBytes: 768 * MIB,
}
/** Streamed, so that its result needs no bound of bytes; its time is that of the client's network. */
export const EXPORT_BUDGET: Budget = {
  seconds: 3600,
  rowsRead: 2_000_000_000,
  rowsResult: 0,
  bytesResult: 0,
  memoryBytes: 768 * MIB,
}
const THREADS = 2
const QUESTIONS_MAX = 4
const EXPORTS_MAX = 2
const WAITING_MAX = 64
const WAIT_MS_MAX = 5_000
const RETRY_S = 2
const PING_MS_MAX = 2_000
/** ClickHouse ends a question itself; this is for one that does not answer at all. */
const ANSWER_SLACK_MS = 5_000

export interface Asking {
  /** ends the question when the one who asked is gone */
  readonly signal?: AbortSignal | undefined
}

export class Store {
  readonly #client: ClickHouseClient
  readonly #site: string
  readonly #log: Log
  readonly #counts: GatewayCounts
  readonly #questions = new Turns(QUESTIONS_MAX, WAITING_MAX)
  readonly #exports = new Turns(EXPORTS_MAX, EXPORTS_MAX)

  constructor(options: ClickHouseOptions, log: Log, counts: GatewayCounts) {
    this.#client = createClickHouseClient({ ...options, requestTimeoutMs: EXPORT_BUDGET.seconds * 1000 })
    this.#counts = counts
    this.#site = `ClickHouse at ${options.url}`
    this.#log = log
  }

  /** All rows of the answer. @param sql without FORMAT and SETTINGS. @throws HttpFault */
  async rows<Row>(sql: string, params: Params = {}, { signal }: Asking = {}): Promise<Row[]> {
    const deadline = AbortSignal.timeout(WAIT_MS_MAX + QUESTION_BUDGET.seconds * 1000 + ANSWER_SLACK_MS)
    const ended = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
    const leave = await this.#turn(this.#questions, ended)
    try {
      ended.throwIfAborted() // the client of ClickHouse hears only what happens from now on
      const answer = await this.#client.query({
        query: sql,
        query_params: bound(params),
        format: 'JSONEachRow',
        clickhouse_settings: QUESTION_SETTINGS,
        abort_signal: ended,
      })
      return linesOf<Row>(await answer.text())
    } catch (error) {
      throw this.#faultOf(error, ended)
    } finally {
      leave()
    }
  }

  /**
   * The answer as bytes of a format of ClickHouse, as fast as they are taken. The turn is held until the stream ends or is
   * destroyed. @throws HttpFault before the first byte; later the stream breaks.
   */
  async stream(sql: string, params: Params, format: string, { signal }: Asking = {}): Promise<Readable> {
    const ended = signal ?? new AbortController().signal
    const leave = await this.#turn(this.#exports, ended)
    try {
      ended.throwIfAborted()
      const { stream } = await this.#client.exec({
        query: `${sql}\nFORMAT ${format}`,
        query_params: bound(params),
        clickhouse_settings: EXPORT_SETTINGS,
        abort_signal: ended,
      })
      const stop = (): void => void stream.destroy() // from its first byte on the client of ClickHouse hears no signal
      ended.addEventListener('abort', stop, { once: true })
      stream.once('close', () => {
        ended.removeEventListener('abort', stop)
        leave()
      })
      return stream
    } catch (error) {
      leave()
      throw this.#faultOf(error, ended)
    }
  }

  /** Whether the server answers at all; needs no turn. */
  async isUp(): Promise<boolean> {
    return (await this.#client.ping({ abort_signal: AbortSignal.timeout(PING_MS_MAX), select: false })).success
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  async #turn(turns: Turns, signal: AbortSignal): Promise<() => void> {
    this.#counts.questions++
    const leave = await turns.enter(WAIT_MS_MAX, signal)
    this.#counts.questionsInFlight = this.#questions.inside + this.#exports.inside
    if (leave !== undefined)
      return () => {
        leave()
        this.#counts.questionsInFlight = this.#questions.inside + this.#exports.inside
      }
    if (signal.aborted) throw this.#faultOf(signal.reason, signal) // it went while it waited
    this.#counts.questionsFailed++
    throw new HttpFault(503, 'store_busy', 'too many questions to the store at once: ask again', {}, RETRY_S)
  }

  #faultOf(error: unknown, signal: AbortSignal): Error {
    if (signal.aborted && (signal.reason as Error | undefined)?.name !== 'TimeoutError')
      return new HttpFault(499, 'gone', 'nobody waits for the answer any more')
    this.#counts.questionsFailed++
    const fault = faultOf(error, this.#site)
    if (fault.status >= 500) this.#log.warn({ code: fault.code, reason: reasonOf(error) }, 'a question failed')
    return fault
  }
}

/** How many do something at once; the others stand in line, but not for ever. */
class Turns {
  readonly #max: number
  readonly #waitingMax: number
  readonly #waiting: (() => void)[] = []
  #inside = 0

  constructor(max: number, waitingMax: number) {
    this.#max = max
    this.#waitingMax = waitingMax
  }

  get inside(): number {
    return this.#inside
  }

  /** @returns what to call at the end (twice does no harm), or undefined when it is not one's turn in time. */
  async enter(waitMs: number, signal: AbortSignal): Promise<(() => void) | undefined> {
    if (this.#inside < this.#max) this.#inside++
    else if (!(await this.#wait(waitMs, signal))) return undefined // else a place was handed over
    let isLeft = false
    return () => {
      if (isLeft) return
      isLeft = true
      this.#leave()
    }
  }

  #wait(waitMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#waiting.length >= this.#waitingMax || signal.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      const settle = (isTurn: boolean): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', giveUp)
        const at = this.#waiting.indexOf(take)
        if (at >= 0) this.#waiting.splice(at, 1)
        resolve(isTurn)
      }
      const take = (): void => settle(true)
      const giveUp = (): void => settle(false)
      const timer = setTimeout(giveUp, waitMs)
      signal.addEventListener('abort', giveUp, { once: true })
      this.#waiting.push(take)
    })
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#inside--
    else next() // its place is handed over
  }
}

function settingsOf(budget: Budget): ClickHouseSettings {
  return {
    max_execution_time: budget.seconds,
    max_rows_to_read: String(budget.rowsRead),
    read_overflow_mode: 'throw',
    max_result_rows: String(budget.rowsResult),
    max_result_bytes: String(budget.bytesResult),
    result_overflow_mode: 'throw',
    max_memory_usage: String(budget.memoryBytes),
    max_threads: THREADS,
    output_format_json_quote_64bit_integers: 0, // they are ids below 2^53
    output_format_json_quote_decimals: 1,
    output_format_json_escape_forward_slashes: 0,
    output_format_decimal_trailing_zeros: 0,
    output_format_arrow_compression_method: 'none', // what every reader takes
    output_format_arrow_string_as_string: 1,
    output_format_parquet_compression_method: 'snappy',
    output_format_parquet_string_as_string: 1,
    cancel_http_readonly_queries_on_client_close: 1,
    allow_introspection_functions: 0,
    readonly: '1', // the last one: after it no setting can be changed
  }
}

// an answer that is whole or an error: what goes wrong after the first row must not look like the end
const QUESTION_SETTINGS: ClickHouseSettings = {
  wait_end_of_query: 1,
  date_time_output_format: 'unix_timestamp', // of what is asked for as it is (select.ts, plain)
  ...settingsOf(QUESTION_BUDGET),
}
const EXPORT_SETTINGS: ClickHouseSettings = settingsOf(EXPORT_BUDGET)

/** The client writes numbers and lists in ClickHouse's own form; a bigint would be refused by JSON. */
function bound(params: Params): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, typeof value === 'bigint' ? String(value) : value]),
  )
}

function linesOf<Row>(text: string): Row[] {
  const rows: Row[] = []
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf('\n', start)
    const line = text.slice(start, end < 0 ? text.length : end)
    if (line !== '') rows.push(JSON.parse(line) as Row)
    start = end < 0 ? text.length : end + 1
  }
  return rows
}

const reasonOf = (error: unknown): string => (error as Error).message.split('\n', 1)[0]?.slice(0, 300) ?? ''

// TIMEOUT_EXCEEDED, TOO_SLOW, TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
const COSTLY_CODES = ['159', '160', '158', '307', '396']
const MEMORY_CODES = ['241', '173']
// UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER
const MISSING_CODES = ['60', '81', '16', '47']
// READONLY, ACCESS_DENIED, UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED, SETTING_CONSTRAINT_VIOLATION
const RIGHTS_CODES = ['164', '497', '192', '193', '194', '516', '452']

/** What an error of the engine is to the one who asked. */
function faultOf(error: unknown, site: string): HttpFault {
  if ((error as Error)?.name === 'TimeoutError')
    return new HttpFault(503, 'store_silent', 'the store does not answer: ask again later', {}, RETRY_S)
  if (!(error instanceof ClickHouseError))
    return new HttpFault(503, 'store_unreachable', 'the store cannot be reached: ask again later', {}, RETRY_S)
  const { code } = error
  if (COSTLY_CODES.includes(code))
    return new HttpFault(422, 'too_costly', 'the question reads too much: ask for a shorter time or for fewer rows')
  if (MEMORY_CODES.includes(code)) {
    if (/\(total\)/.test(error.message))
      return new HttpFault(503, 'store_busy', 'the store has no memory for this now: ask again', {}, RETRY_S)
    return new HttpFault(422, 'too_costly', 'the question needs too much memory: ask for a shorter time')
  }
  if (code === '202' || code === '201' || code === '252')
    return new HttpFault(503, 'store_busy', 'the store has too much to do: ask again', {}, RETRY_S)
  if (MISSING_CODES.includes(code))
    return new HttpFault(
      503,
      'store_empty',
      `${site} has no tables of this version yet: the role store makes them when it starts`,
    )
  if (RIGHTS_CODES.includes(code))
    return new HttpFault(
      503,
      'store_refuses',
      `${site} refuses the gateway's user: give it SELECT, and readonly 0 or 2`,
    )
  return new HttpFault(503, 'store_failed', 'the store could not answer: the log of the gateway says why', {}, RETRY_S)
}
