import { backoffMs } from '../base/backoff.ts'
import type { Fault } from '../base/fault.ts'
import type { Random } from '../base/random.ts'
import type { Instrument } from '../exchanges/exchange.ts'
import type { FeedTime } from './timer.ts'
import type { Priority } from './weight.ts'

/** A book asks for a snapshot that is younger than the opening of `generation`. */
export interface SnapshotWant {
  readonly instrument: Instrument
  readonly connection: number
  readonly generation: number
}

export interface SnapshotOptions {
  readonly attemptsMax: number
  readonly backoffFloorMs: number
  readonly backoffCapMs: number
}

export const SNAPSHOT_DEFAULTS: SnapshotOptions = { attemptsMax: 5, backoffFloorMs: 500, backoffCapMs: 15_000 }

export interface SnapshotSurroundings {
  /** asks the venue through the ledger; calls `onSent` when a request leaves */
  readonly fetch: (instrument: Instrument, priority: Priority, onSent: () => void) => Promise<Buffer>
  readonly time: FeedTime
  readonly random: Random
  readonly onSnapshot: (want: SnapshotWant, body: Buffer) => void
  readonly onFailed: (want: SnapshotWant, reason: string) => void
}

export interface SnapshotStats {
  wanted: number
  /** wants that an earlier one, still on its way, already serves */
  joined: number
  delivered: number
  /** answers thrown away because a newer generation asked while they were under way */
  outdated: number
  retried: number
  failed: number
}

/** What is under way for one instrument. `want` moves on with newer generations and other legs; the request sent may be older. */
interface Errand {
  want: SnapshotWant
  sentWant: SnapshotWant | undefined
  attempt: number
  isCancelled: boolean
  cancelTimer: () => void
}

/** One errand an instrument, however often it is asked for. */
export class Snapshots {
  readonly stats: SnapshotStats = { wanted: 0, joined: 0, delivered: 0, outdated: 0, retried: 0, failed: 0 }
  readonly #options: SnapshotOptions
  readonly #around: SnapshotSurroundings
  readonly #errands: Map<string, Errand> = new Map()
  readonly #served: Set<string> = new Set()

  constructor(options: SnapshotOptions, around: SnapshotSurroundings) {
    this.#options = options
    this.#around = around
  }

  get pendingCount(): number {
    return this.#errands.size
  }

  want(want: SnapshotWant): void {
    this.stats.wanted++
    const errand = this.#errands.get(want.instrument.id)
    if (errand !== undefined) {
      this.stats.joined++
      const isNewer = want.generation > errand.want.generation || want.connection !== errand.want.connection
      if (isNewer) errand.want = want
      return
    }
    const fresh: Errand = { want, sentWant: undefined, attempt: 0, isCancelled: false, cancelTimer: () => {} }
    this.#errands.set(want.instrument.id, fresh)
    void this.#fetch(fresh)
  }

  /** Nothing carries this book any more: what is still under way for it will not be delivered. */
  cancel(instrument: Instrument): void {
    const errand = this.#errands.get(instrument.id)
    if (errand === undefined) return
    errand.isCancelled = true
    errand.cancelTimer()
    this.#errands.delete(instrument.id)
  }

  close(): void {
    for (const { want } of [...this.#errands.values()]) this.cancel(want.instrument)
  }

  async #fetch(errand: Errand): Promise<void> {
    const { instrument } = errand.want
    const priority: Priority = this.#served.has(instrument.id) ? 'gap' : 'start'
    try {
      const body = await this.#around.fetch(instrument, priority, () => {
        errand.sentWant = errand.want
      })
      if (!errand.isCancelled) this.#deliver(errand, body)
    } catch (error) {
      if (!errand.isCancelled) this.#retry(errand, error as Fault)
    }
  }

  #deliver(errand: Errand, body: Buffer): void {
    const { want } = errand
    if (errand.sentWant !== want) {
      this.stats.outdated++
      void this.#fetch(errand)
      return
    }
    this.#errands.delete(want.instrument.id)
    this.#served.add(want.instrument.id)
    this.stats.delivered++
    this.#around.onSnapshot(want, body)
  }

  #retry(errand: Errand, fault: Fault): void {
    const { attemptsMax, backoffFloorMs, backoffCapMs } = this.#options
    errand.attempt++
    if (errand.attempt >= attemptsMax) {
      this.#errands.delete(errand.want.instrument.id)
      this.stats.failed++
      this.#around.onFailed(errand.want, `${fault.code ?? 'ERROR'} ${fault.message}`)
      return
    }
    this.stats.retried++
    const delayMs = backoffMs(errand.attempt, backoffFloorMs, backoffCapMs, this.#around.random)
    errand.cancelTimer = this.#around.time.after(delayMs, () => void this.#fetch(errand))
  }
}
