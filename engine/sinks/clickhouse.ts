import { Readable } from 'node:stream'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { Breaker, BREAKER_DEFAULT, type BreakerOptions, type BreakerState, isRest } from './breaker.ts'
import { classify, type Failure, isOutage, WAITS } from './clickhouse-failure.ts'
import { type GateMemories, isOpen } from './gate.ts'
import { NO_HOPS } from './hops.ts'
import { encodeMarks, marksToken } from './marks.ts'
import { MergeQueue, type MergeOptions, type Waiting } from './merge.ts'
import { assertEncodable, encodeNative, type NativeBlock } from './native.ts'
import type { Outcome, SealedBlock, Sink } from './sink.ts'
import { markedBlocks, shownBlocks } from './stored.ts'

/**
 * ClickHouse, the only module that speaks to `@clickhouse/client`.
 *
 * Blocks wait a moment for company, go in together as one Native block, so the server takes them whole or not at all, and
 * the table is asked for them: merge.ts says why nothing is doubled by that, whatever dies in between. After the rows
 * follows each block's own row in `blocks`, the mark that it is committed; several share one insert of marks. A process that
 * dies between the two gets the blocks again, finds their rows and makes the marks.
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
  readonly merge: MergeOptions
  readonly breaker: BreakerOptions
}

export const CLICKHOUSE_DEFAULT: ClickHouseOptions = {
  url: 'http://127.0.0.1:8123',
  database: 'marketprism',
  username: 'default',
  password: '',
  requestTimeoutMs: 30_000,
  insertsMax: 4,
  markDelayMs: 100,
  merge: { delayMs: 1_000, rowsMax: 131_072, bytesMax: 8 * 1024 * 1024 },
  breaker: BREAKER_DEFAULT,
}

export interface ClickHouseStats {
  /** inserts of rows; several blocks may share one */
  inserts: number
  blocks: number
  rows: number
  bytes: number
  marks: number
  retries: number
  poisoned: number
  /** blocks that were there already */
  found: number
  insertMsMax: number
  insertMsSum: number
}

/** Never reached: what runs at once is bounded by inserts. */
const CONNECTIONS_MAX = 64
/** A block that ClickHouse cannot read this often is set aside. */
const SUSPECT_ATTEMPTS_MAX = 5
const MARKS_MAX = 256
/** Blocks older than this may have come before: their marks are looked at first. */
const OLD_NS = 60_000_000_000n
/** Links of a chain that a group is given to in one go; more only after a pause. */
const LINKS_A_TURN = 16
/** Chains whose settled links are remembered; a forgotten one begins at 0 and finds them again. */
const CHAINS_MAX = 4096
/** How long a server that asks for fewer inserts gets none. */
const BUSY_MS = 1_000

export function createClickHouseClient(options: ClickHouseOptions): ClickHouseClient {
  return createClient({
    url: options.url,
    database: options.database,
    username: options.username,
    password: options.password,
    request_timeout: options.requestTimeoutMs,
    max_open_connections: CONNECTIONS_MAX,
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

interface Entry extends Waiting {
  resolve(outcome: Outcome): void
}

export class ClickHouseSink implements Sink {
  readonly name = 'clickhouse'
  /** inserts under way at once; may change at any time */
  insertsMax: number
  /** told of each block whose mark is made */
  onStored: (block: SealedBlock, storedNs: bigint) => void = () => {}
  readonly stats: ClickHouseStats = {
    inserts: 0,
    blocks: 0,
    rows: 0,
    bytes: 0,
    marks: 0,
    retries: 0,
    poisoned: 0,
    found: 0,
    insertMsMax: 0,
    insertMsSum: 0,
  }
  readonly #options: ClickHouseOptions
  readonly #gates: GateMemories
  readonly #client: ClickHouseClient
  readonly #breaker: Breaker
  readonly #nowNs: () => bigint
  readonly #log: Log
  readonly #queue: MergeQueue<Entry>
  readonly #settledLinks = new Map<string, number>()
  /** Blocks that failed in an insert: they are tried alone. */
  readonly #suspects = new Map<string, number>()
  readonly #marks: Mark[] = []
  #markTimer: NodeJS.Timeout | undefined
  #marking = Promise.resolve()
  #pumpTimer: NodeJS.Timeout | undefined
  #busyUntilMs = 0
  #running = 0
  #isClosed = false
  #trouble: string | undefined

  /** @param nowNs wall time of this machine, for `stored_ns`. @param gates nothing is sent before these are open */
  constructor(options: ClickHouseOptions, nowNs: () => bigint, log: Log, gates: GateMemories = []) {
    this.#options = options
    this.#gates = gates
    this.#nowNs = nowNs
    this.#client = createClickHouseClient(options)
    this.#breaker = new Breaker(`ClickHouse at ${options.url}`, options.breaker, isOutage, log)
    this.#log = log
    this.#queue = new MergeQueue(options.merge)
    this.insertsMax = options.insertsMax
  }

  trouble(): string | undefined {
    return isOpen(this.#gates) ? this.#trouble : `ClickHouse at ${this.#options.url} is not there yet`
  }

  get breaker(): { readonly state: BreakerState; readonly opened: number } {
    return this.#breaker
  }

  send(block: SealedBlock, againMs = 0): Promise<Outcome> {
    if (againMs !== 0) block.isDoubted = true
    if (this.#isClosed || !isOpen(this.#gates)) return Promise.resolve('retry')
    try {
      assertEncodable(block)
    } catch (error) {
      return Promise.resolve(this.#refused(unstorable(block, error as Error), block))
    }
    block.hops ??= { ...NO_HOPS }
    if (block.hops.takenNs === 0n) block.hops.takenNs = this.#nowNs()
    return new Promise((resolve) => {
      this.#queue.add({ block, isAlone: this.#suspects.has(block.messageId), resolve }, performance.now())
      this.#pump()
    })
  }

  /** Nothing waits for company any more: the process ends, or each block is sent when the one before is stored. */
  hurry(): void {
    this.#queue.hurry()
    this.#pump()
  }

  /** What waits for an insert comes back as not stored. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#pumpTimer)
    for (const { resolve } of this.#queue.clear()) resolve('retry')
    if (this.#markTimer !== undefined) this.#flushMarks()
    await this.#marking
    await this.#client.close()
  }

  /** Gives groups to free inserts, and comes back when the next one has waited long enough. */
  #pump(): void {
    if (this.#isClosed) return
    const nowMs = performance.now()
    if (nowMs >= this.#busyUntilMs) {
      while (this.#running < this.insertsMax) {
        const taken = this.#queue.take(nowMs)
        if (taken === undefined) break
        this.#running++
        void this.#flush(taken.chain, taken.group).finally(() => {
          this.#running--
          this.#queue.done(taken.chain)
          this.#pump()
        })
      }
    }
    clearTimeout(this.#pumpTimer)
    const waitMs = this.#queue.waitMs(nowMs)
    if (waitMs === undefined || this.#running >= this.insertsMax) return
    this.#pumpTimer = setTimeout(() => this.#pump(), Math.max(1, waitMs, this.#busyUntilMs - nowMs))
  }

  /** The steps of merge.ts, then the marks, which hold no place of an insert. */
  async #flush(chain: string, group: readonly Entry[]): Promise<void> {
    try {
      await this.#store(chain, eachOnce(group))
    } catch (error) {
      this.#failed(error, group)
      return
    }
    this.#queue.raise()
    for (const { block, resolve } of group)
      void this.#mark(block).then(
        () => {
          this.#suspects.delete(block.messageId)
          this.#recovered()
          resolve('acknowledged')
        },
        (error: unknown) => resolve(this.#refused(this.#failureOf(error, block), block)),
      )
  }

  async #store(chain: string, blocks: readonly SealedBlock[]): Promise<void> {
    let link = this.#settledLinks.get(chain) ?? 0
    let rest = await this.#unmarked(blocks)
    if (link > 0 || chain.includes('#') || rest.some(({ isDoubted }) => isDoubted)) rest = await this.#unshown(rest)
    for (const end = link + LINKS_A_TURN; rest.length > 0 && link < end; ) {
      const native = encodeNative(rest)
      await this.#insert(blocksTable(rest), native, `${chain}/${link}`)
      this.#settled(chain, ++link)
      this.stats.inserts++
      const left = await this.#unshown(rest)
      const stored = rest.filter((block) => !left.includes(block))
      this.stats.blocks += stored.length
      this.stats.rows += stored.reduce((sum, { head }) => sum + head.rows, 0)
      if (left.length === 0) this.stats.bytes += native.bytes.length
      rest = left
    }
    if (rest.length === 0) return
    const where = `ClickHouse at ${this.#options.url} acknowledges blocks for ${blocksTable(rest)} and does not show them`
    throw new Fault('NOT_SHOWN', `${where}: clickhouse.url must be one server, without row policies for this user`)
  }

  /** Those that are not committed already. */
  async #unmarked(blocks: readonly SealedBlock[]): Promise<readonly SealedBlock[]> {
    const isRenewed = blocks[0]?.messageId.includes('#') === true // its mark is of the rows that were deleted
    const oldNs = this.#nowNs() - OLD_NS
    const isOld = ({ head, isDoubted }: SealedBlock) => head.lastReceivedNs < oldNs && isDoubted !== true
    const old = isRenewed ? [] : blocks.filter(isOld)
    if (old.length === 0) return blocks
    return this.#without(blocks, await this.#breaker.run(() => markedBlocks(this.#client, old)))
  }

  async #unshown(blocks: readonly SealedBlock[]): Promise<readonly SealedBlock[]> {
    if (blocks.length === 0) return blocks
    const shown = await this.#breaker.run(() => shownBlocks(this.#client, blocks))
    return shown.size === blocks.length ? [] : blocks.filter((block) => !shown.has(block))
  }

  #without(blocks: readonly SealedBlock[], found: ReadonlySet<SealedBlock>): readonly SealedBlock[] {
    this.stats.found += found.size
    return blocks.filter((block) => !found.has(block))
  }

  #settled(chain: string, links: number): void {
    this.#settledLinks.delete(chain) // to the end: the first is the one unused for longest
    this.#settledLinks.set(chain, links)
    if (this.#settledLinks.size > CHAINS_MAX)
      this.#settledLinks.delete(this.#settledLinks.keys().next().value as string)
  }

  async #insert(table: string, native: NativeBlock, token: string): Promise<void> {
    await this.#breaker.run(() => this.#tryInsert(table, native, token))
  }

  async #tryInsert(table: string, native: NativeBlock, token: string): Promise<void> {
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

  #failed(error: unknown, group: readonly Entry[]): void {
    const failure = this.#failureOf(error, group[0]?.block)
    if (failure.kind === 'busy') this.#busyUntilMs = performance.now() + BUSY_MS
    const isShared = group.length > 1
    if (failure.kind === 'split' && this.#queue.lower(group))
      this.#log.info({ rowsMax: this.#queue.rowsMax }, 'inserts are made smaller')
    for (const { block, resolve } of group) {
      if (failure.kind === 'suspect' && isShared) {
        this.#suspects.set(block.messageId, this.#suspects.get(block.messageId) ?? 0)
        this.stats.retries++
        resolve('retry')
      } else resolve(this.#refused(failure, block))
    }
  }

  #failureOf(error: unknown, block: SealedBlock | undefined): Failure {
    // while the breaker rests the line is that of the failure that opened it
    if (isRest(error))
      return { kind: 'later', code: '', line: this.#trouble ?? `ClickHouse at ${this.#options.url} rests` }
    if (error instanceof Fault) return { kind: 'operator', code: error.code, line: error.message }
    return classify(error, this.#options, block?.head.table)
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
      const storedNs = this.#nowNs()
      await this.#insert('blocks', encodeMarks(blocks, storedNs), marksToken(blocks))
      this.stats.marks += marks.length
      for (const block of blocks) this.onStored(block, storedNs)
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

/** A block may be given twice: sent again while the first is still under way. Who doubts it is right. */
function eachOnce(group: readonly Waiting[]): readonly SealedBlock[] {
  const once = new Map<string, SealedBlock>()
  for (const { block } of group)
    if (block.isDoubted === true || !once.has(block.messageId)) once.set(block.messageId, block)
  return [...once.values()]
}

function blocksTable(blocks: readonly SealedBlock[]): string {
  return (blocks[0] as SealedBlock).head.table
}

function unstorable({ head }: SealedBlock, error: Error): Failure {
  return { kind: 'suspect', code: '', line: `a block for ${head.table} cannot be stored: ${error.message}` }
}
