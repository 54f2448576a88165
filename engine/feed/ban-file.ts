import { readJson, replaceFile } from '../base/kept-file.ts'
import type { Log } from '../base/log.ts'

/**
 * Until when venues do not want to hear from this address over REST, remembered over a restart: a venue lengthens the ban
 * of who asks on. One small JSON file, replaced as a whole:
 *
 *   {"binance":{"writtenMs":1793280000000,"untilMs":1793280120000}}
 *
 * A file that cannot be read is no ban. `writtenMs` guards against a wall clock that was set back meanwhile: a ban never
 * lasts longer from now than it was to last when it was written, nor longer than any venue bans.
 */

/** The longest ban of any venue: 3 days (Binance, Spot API: IP Limits). */
const BAN_MS_MAX = 3 * 86_400_000
const FILE_BYTES_MAX = 64 * 1024

interface Entry {
  readonly writtenMs: number
  readonly untilMs: number
}

export class BanFile {
  readonly #path: string
  readonly #log: Log
  readonly #entries: Map<string, Entry>

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#entries = readEntries(path, log)
  }

  /** @returns ms since the epoch; 0 when nothing is known. */
  untilMs(exchange: string, nowMs: number): number {
    const entry = this.#entries.get(exchange)
    if (entry === undefined) return 0
    const plannedMs = Math.min(BAN_MS_MAX, entry.untilMs - entry.writtenMs)
    const untilMs = Math.min(entry.untilMs, nowMs + plannedMs)
    return untilMs > nowMs ? untilMs : 0
  }

  /** Best effort: a disk that is full must not stop the feed. */
  remember(exchange: string, untilMs: number, nowMs: number): void {
    this.#entries.set(exchange, { writtenMs: nowMs, untilMs })
    for (const [name, entry] of this.#entries) if (entry.untilMs <= nowMs) this.#entries.delete(name)
    try {
      replaceFile(this.#path, `${JSON.stringify(Object.fromEntries(this.#entries))}\n`)
    } catch (error) {
      this.#log.warn({ path: this.#path, error: String(error) }, 'a ban could not be written down')
    }
  }
}

function readEntries(path: string, log: Log): Map<string, Entry> {
  const found = readJson(path, FILE_BYTES_MAX, (error) =>
    log.warn({ path, error }, 'the file of bans cannot be read and is ignored'),
  )
  const entries = Object.entries((found ?? {}) as Record<string, unknown>)
  return new Map(entries.filter((pair): pair is [string, Entry] => isEntry(pair[1])))
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== 'object' || value === null) return false
  const { writtenMs, untilMs } = value as Partial<Entry>
  return Number.isFinite(writtenMs) && Number.isFinite(untilMs)
}
