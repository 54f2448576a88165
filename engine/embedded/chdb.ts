import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { Fault } from '../base/fault.ts'
import { isAlive } from './kept-child.ts'

/**
 * The chDB engine in this process: a pool of connections on one data directory.
 *
 * - One connection runs one query at a time; a few more cost 1 ms each. Every operation holds a thread of libuv's pool
 *   (UV_THREADPOOL_SIZE, 8): READS_MAX + WRITES_MAX stay below it, so that slow queries cannot starve inserts or files.
 * - SET sticks to a connection, so idle connections are kept by the settings they were opened with.
 * - Calls with parameters are not isolated between connections: they start one at a time.
 * - The engine makes its own query ids, and of a query with parameters its own text, without comments. So a connection has
 *   a mark as its `log_comment`, by which its query is found to be ended (one that sets a log_comment is not).
 * - Only on the main thread of a process of its own: the engine crashes when a worker thread that loaded it ends.
 */
const READS_MAX = 4
const WRITES_MAX = 3
const IDLE_MAX = 16
/** A query that is about to begin is not found yet. */
const KILL_PAUSE_MS = 50

type Connection = object

/** The part of the addon used here (it has no types of its own). */
interface Addon {
  CreateConnection(directory: string, args?: readonly string[]): Connection
  CloseConnection(connection: Connection): void
  QueryWithConnection(connection: Connection, sql: string, format: string): string
  QueryAsyncConnection(connection: Connection, sql: string, format: string, params?: Params): Promise<RawResult>
  InsertRawAsyncConnection(connection: Connection, sql: string, rows: Buffer, countLines: boolean): Promise<RawResult>
  StreamQuery(connection: Connection, sql: string, format: string, params?: Params): object
  StreamFetch(stream: object): Promise<{ done: boolean; bytes: Uint8Array }>
  StreamCancel(stream: object): void
}

export interface RawResult {
  readonly bytes: Uint8Array
  readonly elapsed: number
  readonly rowsRead?: number
  readonly bytesRead?: number
  readonly rowsWritten?: number
  readonly bytesWritten?: number
}

/** Values in the engine's own escaped form, as they arrive in `param_…`. */
export type Params = Readonly<Record<string, string>>

/** Names and values, in the order of the request. */
export type Settings = readonly (readonly [string, string])[]

export interface Query {
  readonly sql: string
  readonly format: string
  readonly params: Params
  readonly settings: Settings
  readonly database: string | null
  /** Leaves something behind on its connection, which is then not used again. */
  readonly sticky: boolean
  /** Ends it: nobody waits for the answer any more. */
  readonly gone?: AbortSignal
}

function loadAddon(): Addon {
  const require = createRequire(import.meta.url)
  let entry: string
  try {
    entry = require.resolve('chdb')
  } catch {
    throw new Fault(
      'CHDB_MISSING',
      'the embedded ClickHouse needs the optional package chdb, which is not installed: run `npm install --include=optional`, or configure the URL of a ClickHouse server',
    )
  }
  try {
    return (require(path.join(path.dirname(entry), 'dist', 'loader.js')) as { loadNative(): Addon }).loadNative()
  } catch (error) {
    const why = String((error as Error).message).split('\n')[0]
    throw new Fault(
      'CHDB_UNAVAILABLE',
      `the embedded ClickHouse cannot run on ${process.platform}-${process.arch} (${why}): reinstall with \`npm install --include=optional\`, or configure the URL of a ClickHouse server`,
    )
  }
}

class Gate {
  readonly #max: number
  readonly #waiting: (() => void)[] = []
  #inside = 0

  constructor(max: number) {
    this.#max = max
  }

  async enter(): Promise<void> {
    if (this.#inside >= this.#max) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#inside++
  }

  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#inside--
    else next() // its place is handed over, so nobody overtakes the queue
  }
}

export class Chdb {
  readonly version: string
  readonly timezone: string
  readonly #addon: Addon
  readonly #directory: string
  readonly #root: Connection
  readonly #idle = new Map<string, Connection[]>()
  readonly #reads = new Gate(READS_MAX)
  readonly #writes = new Gate(WRITES_MAX)
  #idleCount = 0
  readonly #marks = new Map<Connection, string>()
  #opened = 0
  #paramsTurn: Promise<unknown> = Promise.resolve()

  /** @param configFile server configuration (memory limits), read when the first connection opens the directory. */
  constructor(directory: string, configFile: string) {
    this.#addon = loadAddon()
    this.#directory = directory
    try {
      this.#root = this.#addon.CreateConnection(directory, [`--config-file=${configFile}`])
    } catch {
      // the engine prints why on stderr and throws without a reason; its lock file names the owner
      const owner = ownerOf(directory)
      if (owner !== null) {
        throw new Fault(
          'CLICKHOUSE_DIRECTORY_IN_USE',
          `the ClickHouse data directory ${directory} is in use by process ${owner}: stop that process, or choose another data directory`,
        )
      }
      throw new Fault(
        'CLICKHOUSE_DIRECTORY_UNUSABLE',
        `the ClickHouse data directory ${directory} cannot be opened: check its owner, its free space and the lines above, or choose another data directory`,
      )
    }
    const answer = (sql: string) => this.#addon.QueryWithConnection(this.#root, sql, 'TSVRaw').trim()
    this.version = answer('SELECT version()')
    this.timezone = answer('SELECT timezone()')
  }

  async run(query: Query): Promise<RawResult> {
    return await this.#withConnection(this.#reads, query, (connection) => {
      const { sql, format, params } = query
      if (Object.keys(params).length === 0) return this.#addon.QueryAsyncConnection(connection, sql, format)
      return this.#alone(() => this.#addon.QueryAsyncConnection(connection, sql, format, params))
    })
  }

  /** Hands over the result chunk by chunk; `onChunk` says by its promise when it wants more, false ends the query. */
  async stream(query: Query, onChunk: (bytes: Uint8Array) => Promise<boolean>): Promise<void> {
    await this.#withConnection(this.#reads, query, async (connection) => {
      const { sql, format, params } = query
      const hasParams = Object.keys(params).length > 0
      const stream = hasParams
        ? await this.#alone(async () => this.#addon.StreamQuery(connection, sql, format, params))
        : this.#addon.StreamQuery(connection, sql, format)
      try {
        for (;;) {
          const chunk = await this.#addon.StreamFetch(stream)
          if (chunk.done || !(await onChunk(chunk.bytes))) return
        }
      } finally {
        this.#addon.StreamCancel(stream) // never while a fetch runs: the loop above has awaited it
      }
    })
  }

  /** @param sql `INSERT … FROM INFILE …` with its settings in the text, so that all inserts share connections. */
  async insertFile(sql: string, database: string | null): Promise<RawResult> {
    // the raw-insert call is the one that reports how many rows were written; the line end is its empty inline part
    return await this.#withConnection(this.#writes, { database, settings: [], sticky: false }, (connection) =>
      this.#addon.InsertRawAsyncConnection(connection, sql, Buffer.from('\n'), false),
    )
  }

  /** Ends what runs on this connection, if it still does when `gone` says so. @returns what to wait for at its end */
  #endable(connection: Connection, gone: AbortSignal | undefined): () => Promise<void> {
    let isOver = false
    let ending = Promise.resolve()
    const end = (): void => {
      ending = this.#kill(this.#marks.get(connection) as string, () => isOver)
    }
    if (gone?.aborted) end()
    gone?.addEventListener('abort', end, { once: true })
    return async () => {
      isOver = true
      gone?.removeEventListener('abort', end)
      await ending // or it would end what the connection is used for next
    }
  }

  async #kill(mark: string, isOver: () => boolean): Promise<void> {
    const sql = `KILL QUERY WHERE Settings['log_comment'] = ${quoted(mark)} ASYNC FORMAT Null`
    while (!isOver()) {
      await this.#addon.QueryAsyncConnection(this.#root, sql, 'Null').catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, KILL_PAUSE_MS))
    }
  }

  /** Only when nothing runs: closing under a running query hangs for ever. */
  close(): void {
    for (const connections of this.#idle.values())
      for (const connection of connections) this.#addon.CloseConnection(connection)
    this.#idle.clear()
    this.#addon.CloseConnection(this.#root)
  }

  #alone<T>(start: () => Promise<T>): Promise<T> {
    const mine = this.#paramsTurn.then(start)
    this.#paramsTurn = mine.catch(() => undefined)
    return mine
  }

  async #withConnection<T>(
    gate: Gate,
    { database, settings, sticky, gone }: Pick<Query, 'database' | 'settings' | 'sticky' | 'gone'>,
    use: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    await gate.enter()
    const key = JSON.stringify([database, settings])
    try {
      gone?.throwIfAborted()
      const held = this.#takeIdle(key) ?? this.#open(database, settings)
      const over = this.#endable(held, gone)
      try {
        return await use(held)
      } finally {
        await over()
        const isSpent = sticky || gone?.aborted === true // what was ended stays in memory until the connection is used again
        if (isSpent) this.#close(held)
        else this.#putBack(key, held)
      }
    } finally {
      gate.leave()
    }
  }

  #open(database: string | null, settings: Settings): Connection {
    const connection = this.#addon.CreateConnection(this.#directory)
    const mark = `connection ${++this.#opened}`
    this.#marks.set(connection, mark)
    try {
      this.#addon.QueryWithConnection(connection, `SET log_comment = ${quoted(mark)}`, 'Null')
      if (database !== null) this.#addon.QueryWithConnection(connection, `USE ${quotedName(database)}`, 'Null')
      for (const [name, value] of settings)
        this.#addon.QueryWithConnection(connection, `SET ${name} = ${quoted(value)}`, 'Null')
    } catch (error) {
      this.#close(connection)
      throw error
    }
    return connection
  }

  #close(connection: Connection): void {
    this.#marks.delete(connection)
    this.#addon.CloseConnection(connection)
  }

  #putBack(key: string, connection: Connection): void {
    const list = this.#idle.get(key) ?? []
    list.push(connection)
    this.#idle.delete(key) // to the end of the map: the first key is the one unused for longest
    this.#idle.set(key, list)
    if (++this.#idleCount <= IDLE_MAX) return
    const oldestKey = this.#idle.keys().next().value as string
    this.#close(this.#takeIdle(oldestKey) as Connection)
  }

  #takeIdle(key: string): Connection | undefined {
    const list = this.#idle.get(key)
    const connection = list?.pop()
    if (list?.length === 0) this.#idle.delete(key) // no empty list stays, so every key has a connection to give
    if (connection !== undefined) this.#idleCount--
    return connection
  }
}

/** Pid of the living process that has this directory open, or null. */
function ownerOf(directory: string): number | null {
  let status: string
  try {
    status = readFileSync(path.join(directory, 'status'), 'utf8')
  } catch {
    return null
  }
  const pid = Number(/^PID: (\d+)/m.exec(status)?.[1])
  return isAlive(pid) ? pid : null
}

export function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, (character) => `\\${character}`)}'`
}

export function quotedName(name: string): string {
  return `\`${name.replace(/[\\`]/g, (character) => `\\${character}`)}\``
}
