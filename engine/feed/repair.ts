/**
 * Trades that are known to be missing, asked for by number over REST: a run of numbers is cut into pages, one page after
 * the other, with the priority of a hole. One errand a trade stream at a time; others of it wait their turn. Under
 * overload all of them wait (roles/pressure.ts): what is missing can be asked for later, what comes now cannot.
 */
import type { Instrument, RestRequest } from '../exchanges/exchange.ts'
import type { TradeChannel } from '../record/emit.ts'

export interface TradesWant {
  readonly instrument: Instrument
  readonly channel: TradeChannel
  /** both included */
  readonly firstSeq: number
  readonly lastSeq: number
  /** whose stream had the hole; only handed back */
  readonly connection: number
  readonly generation: number
}

export interface RepairOptions {
  /** every venue here answers with at least so many at once */
  readonly tradesPerPage: number
  /** a hole of more pages is not repaired: it would take the weight of many books */
  readonly pagesMax: number
  /** errands that may wait; some kilobytes each. Beyond it a hole stays open */
  readonly errandsMax: number
}

export const REPAIR_DEFAULTS: RepairOptions = { tradesPerPage: 1_000, pagesMax: 20, errandsMax: 10_000 }

export interface RepairSurroundings {
  /** undefined where the venue has no trades by number */
  readonly request: (want: TradesWant) => RestRequest | undefined
  readonly fetch: (instrument: Instrument, request: RestRequest) => Promise<Buffer>
  readonly onTrades: (want: TradesWant, body: Buffer) => void
  readonly onFailed: (want: TradesWant, reason: string) => void
}

export interface RepairStats {
  wanted: number
  pages: number
  failed: number
}

export class Repair {
  readonly stats: RepairStats = { wanted: 0, pages: 0, failed: 0 }
  readonly #options: RepairOptions
  readonly #around: RepairSurroundings
  /** the last errand of each trade stream */
  readonly #errands = new Map<string, Promise<void>>()
  #errandCount = 0
  /** set while nothing may be asked */
  #hold: { readonly over: Promise<void>; release(): void } | undefined
  #isClosed = false

  constructor(options: RepairOptions, around: RepairSurroundings) {
    this.#options = options
    this.#around = around
  }

  get pendingCount(): number {
    return this.#errands.size
  }

  want(want: TradesWant): void {
    this.stats.wanted++
    if (this.#errandCount >= this.#options.errandsMax)
      return this.#fail(want, `${this.#errandCount} holes wait already: too many to repair`)
    this.#errandCount++
    const key = `${want.instrument.id}/${want.channel}`
    const before = this.#errands.get(key) ?? Promise.resolve()
    const errand = before.then(() => this.#fetch(want))
    this.#errands.set(key, errand)
    void errand.then(() => {
      this.#errandCount--
      if (this.#errands.get(key) === errand) this.#errands.delete(key)
    })
  }

  /** Nothing more is asked until `release()`; what is wanted meanwhile waits. */
  hold(): void {
    if (this.#hold !== undefined) return
    let release = (): void => {}
    const over = new Promise<void>((resolve) => {
      release = resolve
    })
    this.#hold = { over, release }
  }

  release(): void {
    this.#hold?.release()
    this.#hold = undefined
  }

  /** What is under way is not delivered any more. */
  close(): void {
    this.#isClosed = true
    this.release()
  }

  async #fetch(want: TradesWant): Promise<void> {
    const { tradesPerPage, pagesMax } = this.#options
    const count = want.lastSeq - want.firstSeq + 1
    if (count > tradesPerPage * pagesMax) return this.#fail(want, `${count} trades are missing, too many to ask for`)
    for (let firstSeq = want.firstSeq; firstSeq <= want.lastSeq && !this.#isClosed; firstSeq += tradesPerPage) {
      const page = { ...want, firstSeq, lastSeq: Math.min(want.lastSeq, firstSeq + tradesPerPage - 1) }
      const request = this.#around.request(page)
      if (request === undefined) return this.#fail(want, 'the venue has no trades by number')
      while (this.#hold !== undefined) await this.#hold.over
      if (this.#isClosed) return
      try {
        const body = await this.#around.fetch(want.instrument, request)
        this.stats.pages++
        if (!this.#isClosed) this.#around.onTrades(page, body)
      } catch (error) {
        return this.#fail(want, (error as Error).message)
      }
    }
  }

  #fail(want: TradesWant, reason: string): void {
    this.stats.failed++
    if (!this.#isClosed) this.#around.onFailed(want, reason)
  }
}
