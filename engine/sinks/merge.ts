/**
 * Several blocks in one insert, exactly once.
 *
 * An insert costs ClickHouse about 10 ms of CPU and a part whatever it holds, a row 1 µs: blocks of a few hundred rows,
 * a second's worth from many tables and shards, must share inserts. The trouble is the retry. A token makes an insert
 * harmless when it is repeated as it was; but which blocks shared an insert is not known any more after a crash, or to
 * another store that got some of them in the meantime. Waiting until a range is complete does not help: a block that is
 * late or lost would hold back the others, and giving up waiting is a decision that nobody remembers.
 *
 * So the token does not name what is in the insert; it names the place where blocks may be:
 *
 *   chain    all blocks of one producer, boot, table, layout and day whose first row came in the same second. A function
 *            of the block's own bytes: every store, at any time, finds the same chain for it
 *   link     an insert into a chain: token `{chain}/{n}`, n = 0, 1, 2 … The server keeps the first insert under a token and
 *            drops all others, so a link holds what its first insert held, for ever, whoever sends what later
 *
 * What a store does with the blocks of a chain that it has in hand (`flush` in clickhouse.ts):
 *
 *   1. insert them all under link n; when that is acknowledged the link is settled, by us or by an earlier one
 *   2. ask the table which of them are there. Those that are, are stored
 *   3. go on with those that are not: n + 1
 *
 * and a block that comes later, when this store knows links up to n as settled, begins with 2.
 *
 * Why no block is doubled: it is given to link n + 1 only after link n was settled and the table was asked and did not have
 * it. What a settled link holds never changes, so the block is in none of the links 0 … n; and n + 1 takes one insert only.
 * That holds for stores that were killed, that pause for minutes between any two steps, for requests that arrive late, and
 * for any time at which a group is closed: closing may go by time because nothing depends on it.
 * Why none is lost: a block is acknowledged only after the table showed it.
 *
 * What it rests on: one insert is one part, whole or absent (one Native block, one day, far below the server's block size);
 * the server remembers tokens (`dedupeWindowInserts`, proven at each start); it shows what it has acknowledged (one server,
 * not a load balancer over replicas); one identity is one content (a producer runs once, a boot has an epoch of its own).
 * Rows of another block with the same key may replace those of a block before it was asked for: then the block is inserted
 * again and its rows are replaced again.
 *
 * Arithmetic: 300,000 rows/s of trades are 50 blocks/s of 6,000 rows: together 6 inserts/s of 8 MB and 100 ms, not 50 of
 * 19 ms, and a fifth of the merges. Measured (2 cores, others on them): 3 M rows cost ClickHouse 6 CPU s instead of 24.
 */
import type { SealedBlock } from './sink.ts'

export interface MergeOptions {
  /** How long a block waits for company while inserts are free. */
  readonly delayMs: number
  readonly rowsMax: number
  readonly bytesMax: number
}

const SLOT_NS = 1_000_000_000n

/** Where this block may be, by its bytes alone; a renewed block (its rows were deleted) begins chains of its own. */
export function chainOf({ head, messageId }: SealedBlock): string {
  const { producer, epoch, table, version, day, firstReceivedNs } = head
  const renewal = messageId.indexOf('#')
  const chain = `${producer}/${epoch}/${table}.${version}/${day}/${firstReceivedNs / SLOT_NS}`
  return renewal < 0 ? chain : chain + messageId.slice(renewal)
}

export interface Waiting {
  readonly block: SealedBlock
  /** What failed in company is tried alone, so that a block that cannot be read is found. */
  readonly isAlone: boolean
}

interface Chain<W> {
  readonly name: string
  waiting: W[]
  bytes: number
  rows: number
  sinceMs: number
  isBusy: boolean
}

/** Blocks that wait for an insert, by chain. One insert of a chain at a time. */
export class MergeQueue<W extends Waiting> {
  readonly #options: MergeOptions
  readonly #chains = new Map<string, Chain<W>>()
  /** Lowered when the server has no memory for inserts of the usual size. */
  #rowsMax: number
  #isHurried = false

  constructor(options: MergeOptions) {
    this.#options = options
    this.#rowsMax = options.rowsMax
  }

  get rowsMax(): number {
    return this.#rowsMax
  }

  /** The server could not take so many rows at once. @returns false when there was only one block to take. */
  lower(group: readonly W[]): boolean {
    if (group.length < 2) return false
    this.#rowsMax = Math.max(1, Math.floor(group.reduce((sum, { block }) => sum + block.head.rows, 0) / 2))
    return true
  }

  /** Slowly back to the usual size. */
  raise(): void {
    this.#rowsMax = Math.min(this.#options.rowsMax, Math.ceil(this.#rowsMax * 1.25))
  }

  /** From now on nothing waits for company. */
  hurry(): void {
    this.#isHurried = true
  }

  add(one: W, nowMs: number): void {
    const name = chainOf(one.block)
    let chain = this.#chains.get(name)
    if (chain === undefined) {
      chain = { name, waiting: [], bytes: 0, rows: 0, sinceMs: nowMs, isBusy: false }
      this.#chains.set(name, chain)
    }
    if (chain.waiting.length === 0) chain.sinceMs = nowMs
    chain.waiting.push(one)
    chain.bytes += one.block.payload.length
    chain.rows += one.block.head.rows
  }

  /** The group that should go now, its chain busy until `done`; the oldest chain first. */
  take(nowMs: number): { readonly chain: string; readonly group: readonly W[] } | undefined {
    for (const chain of this.#chains.values())
      if (chain.waiting.length > 0 && !chain.isBusy && this.#waitMs(chain, nowMs) <= 0)
        return { chain: chain.name, group: this.#takeFrom(chain) }
    return undefined
  }

  done(name: string): void {
    const chain = this.#chains.get(name)
    if (chain === undefined) return
    chain.isBusy = false
    if (chain.waiting.length === 0) this.#chains.delete(name)
  }

  /** Takes back all that waits. */
  clear(): readonly W[] {
    return [...this.#chains.values()].flatMap((chain) => {
      chain.rows = chain.bytes = 0
      return chain.waiting.splice(0)
    })
  }

  /** How long until `take` gives something without `add` or `done`; undefined when it will not. */
  waitMs(nowMs: number): number | undefined {
    let least: number | undefined
    for (const chain of this.#chains.values())
      if (chain.waiting.length > 0 && !chain.isBusy)
        least = Math.min(least ?? Number.POSITIVE_INFINITY, Math.max(0, this.#waitMs(chain, nowMs)))
    return least
  }

  #waitMs({ rows, bytes, sinceMs }: Chain<W>, nowMs: number): number {
    if (this.#isHurried || rows >= this.#rowsMax || bytes >= this.#options.bytesMax) return 0
    return sinceMs + this.#options.delayMs - nowMs
  }

  #takeFrom(chain: Chain<W>): readonly W[] {
    let rows = 0
    let bytes = 0
    let count = 0
    for (const { block, isAlone } of chain.waiting) {
      const isFull = rows + block.head.rows > this.#rowsMax || bytes + block.payload.length > this.#options.bytesMax
      if (count > 0 && (isFull || isAlone)) break
      rows += block.head.rows
      bytes += block.payload.length
      count++
      if (isAlone) break
    }
    chain.rows -= rows
    chain.bytes -= bytes
    chain.isBusy = true
    return chain.waiting.splice(0, count)
  }
}
