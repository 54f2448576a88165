import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'
import type { FeedTime } from './timer.ts'

/**
 * The weight ledger of one venue and IP: every REST request is paid for here before it is sent.
 *
 * A venue counts weight in wall-clock minutes of its own clock. Ours may be off by up to GUARD_MS, so a request sent
 * that close to the turn of a minute counts in both minutes:
 *
 *      minute 7                      | minute 8
 *   ──────────────────────────[ guard|guard ]──────────────────────►
 *      counts in 7                in 7 and 8       counts in 8
 *
 * Invariants
 *   1. Whatever the venue's clock says within the guard, no minute of it sees more than limit × share from us.
 *   2. Nothing is sent once the venue's own count for this IP (it comes with every answer, and holds what other
 *      programs use) has reached CEILING_SHARE of the limit.
 */

/** What a request is for, most urgent first: a hole in a live book, a book's first snapshot, a comparison at leisure. */
export const PRIORITIES = ['gap', 'start', 'audit'] as const
export type Priority = (typeof PRIORITIES)[number]

export interface WeightOptions {
  readonly exchange: string
  /** weight a minute that the venue allows, by market */
  readonly weightPerMinute: Readonly<Record<string, number>>
  /** what counts, by market (often the host); markets of one pool share one account. Absent: each market counts for itself */
  readonly pools?: Readonly<Record<string, string>>
  /** by market: no part of a minute of this length may see more than its part of the weight. Absent: a minute is one */
  readonly windowMs?: Readonly<Record<string, number>>
  /** the part of it that is ours, 0 < share <= 1; one number, or one a market */
  readonly share: number | Readonly<Record<string, number>>
  /** the part of ours that only gaps may use, so that a start with many books does not make the first hole wait for the next minute */
  readonly gapReserveShare: number
  readonly queueCountMax: number
  /** a ban known from before this process started */
  readonly bannedUntilMs: number
}

export const WEIGHT_DEFAULTS = { share: 0.5, gapReserveShare: 0, queueCountMax: 10_000, bannedUntilMs: 0 } as const

export interface Grant {
  readonly market: string
  readonly weight: number
  readonly grantedMs: number
}

export interface WeightStats {
  readonly budget: number
  readonly used: number
  readonly venueUsed: number
  readonly queued: Readonly<Record<Priority, number>>
  readonly etaMs: number
  readonly bannedUntilMs: number
  readonly granted: number
  readonly grantedWeight: number
}

interface Waiter {
  readonly weight: number
  readonly resolve: (grant: Grant) => void
  readonly reject: (fault: Fault) => void
}

/** The budget (ours), the ceiling (everybody's on this IP) and the queues of one pool. `used` is keyed by minute; only the present and the next are kept. */
interface Account {
  /** of several, the first */
  readonly market: string
  readonly budget: number
  readonly ceiling: number
  readonly used: Map<number, number>
  readonly windowMs: number
  readonly windowBudget: number
  /** grants of the running window */
  readonly recent: { readonly atMs: number; readonly weight: number }[]
  venueMinute: number
  venueUsed: number
  readonly queues: Record<Priority, Waiter[]>
  cancelTimer: (() => void) | undefined
  granted: number
  grantedWeight: number
}

const MINUTE_MS = 60_000
export const GUARD_MS = 1_000
/** The venue's count is known only after an answer; the last 5 % are for what is on its way. */
export const CEILING_SHARE = 0.95

export class WeightLedger {
  readonly options: WeightOptions
  readonly #time: FeedTime
  readonly #accounts: Map<string, Account>
  readonly #onBanned: (untilMs: number) => void
  #bannedUntilMs: number

  /** @param onBanned told of every ban, for whoever writes it down */
  constructor(options: WeightOptions, time: FeedTime, onBanned: (untilMs: number) => void = () => {}) {
    this.options = options
    this.#time = time
    this.#onBanned = onBanned
    this.#bannedUntilMs = options.bannedUntilMs
    this.#accounts = newAccounts(options)
  }

  get bannedUntilMs(): number {
    return this.#bannedUntilMs
  }

  /** @returns when the request may be sent. Rejects with a Fault when it never may, or when the ledger closes. */
  acquire(market: string, weight: number, priority: Priority): Promise<Grant> {
    const account = this.#account(market)
    assert(weight > 0 && Number.isInteger(weight), `weight ${weight}`)
    if (weight > account.budget) {
      const name = `${this.options.exchange}.${market}`
      return Promise.reject(
        new Fault(
          'WEIGHT_OVER_BUDGET',
          `a request of weight ${weight} exceeds the budget of ${account.budget} a minute for ${name}: raise the weight share`,
        ),
      )
    }
    if (this.#queuedCount(account) >= this.options.queueCountMax) {
      return Promise.reject(
        new Fault(
          'WEIGHT_QUEUE_FULL',
          `${this.options.queueCountMax} requests wait for weight of ${this.options.exchange}.${market}`,
        ),
      )
    }
    return new Promise((resolve, reject) => {
      account.queues[priority].push({ weight, resolve, reject })
      this.#pump(account)
    })
  }

  /** The venue's own count, from the header of an answer. */
  observe(grant: Grant, venueUsed: number): void {
    const account = this.#account(grant.market)
    const minute = minuteOf(this.#time.nowMs())
    // an answer that crossed the turn of the minute may tell of the old one
    if (minuteOf(grant.grantedMs) !== minute) return
    if (account.venueMinute !== minute) account.venueUsed = 0
    account.venueMinute = minute
    account.venueUsed = Math.max(account.venueUsed, venueUsed)
  }

  /** 429 or 418: nothing goes to this venue, on any market, for so long. */
  ban(durationMs: number): void {
    const untilMs = this.#time.nowMs() + durationMs
    if (untilMs > this.#bannedUntilMs) {
      this.#bannedUntilMs = untilMs
      this.#onBanned(untilMs)
    }
    for (const account of new Set(this.#accounts.values())) this.#pump(account)
  }

  stats(market: string): WeightStats {
    const account = this.#account(market)
    const nowMs = this.#time.nowMs()
    const { gap, start, audit } = account.queues
    return {
      budget: account.budget,
      used: account.used.get(minuteOf(nowMs)) ?? 0,
      venueUsed: account.venueMinute === minuteOf(nowMs) ? account.venueUsed : 0,
      queued: { gap: gap.length, start: start.length, audit: audit.length },
      etaMs: this.#etaMs(account, nowMs),
      bannedUntilMs: this.#bannedUntilMs,
      granted: account.granted,
      grantedWeight: account.grantedWeight,
    }
  }

  close(): void {
    for (const account of this.#accounts.values()) {
      account.cancelTimer?.()
      account.cancelTimer = undefined
      for (const priority of PRIORITIES) {
        for (const waiter of account.queues[priority].splice(0)) {
          waiter.reject(
            new Fault('WEIGHT_CLOSED', `the REST queue of ${this.options.exchange}.${account.market} was closed`),
          )
        }
      }
    }
  }

  /** Grants in order of priority, then of arrival. A large request at the head is not overtaken by small ones behind it. */
  #pump(account: Account): void {
    account.cancelTimer?.()
    account.cancelTimer = undefined
    for (;;) {
      const priority = PRIORITIES.find((candidate) => account.queues[candidate].length > 0)
      const queue = priority === undefined ? undefined : account.queues[priority]
      const head = queue?.[0]
      if (queue === undefined || head === undefined) return
      const nowMs = this.#time.nowMs()
      const keptBack = priority === 'gap' ? 0 : this.#reserve(account)
      const waitMs = this.#waitMs(account, Math.min(head.weight + keptBack, account.budget), head.weight, nowMs)
      if (waitMs > 0) {
        account.cancelTimer = this.#time.after(waitMs, () => this.#pump(account))
        return
      }
      queue.shift()
      this.#book(account, head.weight, nowMs)
      head.resolve({ market: account.market, weight: head.weight, grantedMs: nowMs })
    }
  }

  /** @returns 0 when `weight` fits now and `head`, the part of it that is to be spent, into the window, else ms until something can have changed. */
  #waitMs(account: Account, weight: number, head: number, nowMs: number): number {
    if (nowMs < this.#bannedUntilMs) return this.#bannedUntilMs - nowMs
    const minutes = minutesOf(nowMs)
    if (minutes.every((minute) => roomIn(account, minute) >= weight)) return windowWaitMs(account, head, nowMs)
    const intoMinuteMs = nowMs - minuteOf(nowMs) * MINUTE_MS
    return Math.ceil(intoMinuteMs < GUARD_MS ? GUARD_MS - intoMinuteMs : MINUTE_MS + GUARD_MS - intoMinuteMs)
  }

  #book(account: Account, weight: number, nowMs: number): void {
    const present = minuteOf(nowMs)
    for (const minute of account.used.keys()) if (minute < present - 1) account.used.delete(minute)
    for (const minute of minutesOf(nowMs)) account.used.set(minute, (account.used.get(minute) ?? 0) + weight)
    // the venue's figure does not hold this request yet
    if (account.venueMinute === present) account.venueUsed += weight
    if (account.windowMs > 0) account.recent.push({ atMs: nowMs, weight })
    account.granted++
    account.grantedWeight += weight
  }

  /** When the last of the queue goes out, if nothing more urgent comes. */
  #etaMs(account: Account, nowMs: number): number {
    const weights = PRIORITIES.flatMap((priority) => account.queues[priority].map((waiter) => waiter.weight))
    if (weights.length === 0) return 0
    let atMs = Math.max(nowMs, this.#bannedUntilMs)
    const keptBack = account.queues.gap.length > 0 ? 0 : this.#reserve(account)
    let left = Math.min(...minutesOf(atMs).map((minute) => roomIn(account, minute))) - keptBack
    for (const weight of weights) {
      if (weight > left) {
        const intoMs = atMs % MINUTE_MS
        atMs += intoMs < GUARD_MS ? GUARD_MS - intoMs : MINUTE_MS + GUARD_MS - intoMs
        left = account.budget - keptBack
      }
      left -= weight
    }
    return Math.ceil(atMs - nowMs)
  }

  #reserve(account: Account): number {
    return Math.floor(account.budget * this.options.gapReserveShare)
  }

  #queuedCount(account: Account): number {
    return PRIORITIES.reduce((sum, priority) => sum + account.queues[priority].length, 0)
  }

  #account(market: string): Account {
    const account = this.#accounts.get(market)
    assert(account !== undefined, `no weight account for ${this.options.exchange}.${market}`)
    return account
  }
}

function shareOf({ share }: WeightOptions, market: string): number {
  const own = typeof share === 'number' ? share : (share[market] ?? 0)
  assert(own > 0 && own <= 1, `weight share ${own} of ${market} is not in (0, 1]`)
  return own
}

function newAccounts(options: WeightOptions): Map<string, Account> {
  const accounts = new Map<string, Account>()
  const byPool = new Map<string, Account>()
  for (const market of Object.keys(options.weightPerMinute)) {
    const pool = options.pools?.[market] ?? market
    const account = byPool.get(pool) ?? newAccount(options, pool)
    byPool.set(pool, account)
    accounts.set(market, account)
  }
  return accounts
}

/** Where markets of one pool say different things, the strictest counts. */
function newAccount(options: WeightOptions, pool: string): Account {
  const markets = Object.keys(options.weightPerMinute).filter((market) => (options.pools?.[market] ?? market) === pool)
  const strictest = (read: (market: string) => number): number => Math.min(...markets.map(read))
  const limit = strictest((market) => options.weightPerMinute[market] as number)
  const share = strictest((market) => shareOf(options, market))
  const windowMs = Math.max(...markets.map((market) => options.windowMs?.[market] ?? 0))
  const market = markets[0] as string
  const budget = Math.floor(limit * Math.min(share, CEILING_SHARE))
  const ceiling = Math.floor(limit * CEILING_SHARE)
  const queues = { gap: [], start: [], audit: [] }
  return {
    market,
    budget,
    ceiling,
    used: new Map(),
    windowMs,
    windowBudget: Math.floor((budget * windowMs) / MINUTE_MS),
    recent: [],
    venueMinute: -1,
    venueUsed: 0,
    queues,
    cancelTimer: undefined,
    granted: 0,
    grantedWeight: 0,
  }
}

function minuteOf(ms: number): number {
  return Math.floor(ms / MINUTE_MS)
}

/** The venue's minutes that a request sent now may fall into. */
function minutesOf(nowMs: number): number[] {
  const first = minuteOf(nowMs - GUARD_MS)
  const last = minuteOf(nowMs + GUARD_MS)
  return first === last ? [first] : [first, last]
}

function roomIn(account: Account, minute: number): number {
  const ours = account.budget - (account.used.get(minute) ?? 0)
  return account.venueMinute === minute ? Math.min(ours, account.ceiling - account.venueUsed) : ours
}

/** @returns 0 when `weight` fits into the window that ends now; what is more than a window goes alone. */
function windowWaitMs(account: Account, weight: number, nowMs: number): number {
  const { recent, windowMs, windowBudget } = account
  while (recent[0] !== undefined && Math.abs(nowMs - recent[0].atMs) >= windowMs) recent.shift()
  let used = recent.reduce((sum, grant) => sum + grant.weight, 0)
  for (const grant of recent) {
    if (used + weight <= windowBudget) return 0
    used -= grant.weight
    if (used + weight <= windowBudget || used === 0) return Math.ceil(grant.atMs + windowMs - nowMs)
  }
  return 0
}
