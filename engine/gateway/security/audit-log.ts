import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Log } from '../../base/log.ts'

/** Who tried to change or look at what, from where, and what came of it. */
export interface AuditEntry {
  readonly at: string
  readonly who: string
  readonly from: string
  readonly what: string
  /** parameters and body as they were taken; '' where it did not come that far */
  readonly with: unknown
  readonly status: number
}

/** At this size the file becomes `….1`, and what was that is gone: a bound of twice this. */
const BYTES_MAX = 16 * 1024 * 1024

/** Admin calls as lines of JSON in the data directory, and in the log. */
export class AuditLog {
  readonly #file: string
  readonly #bytesMax: number
  readonly #log: Log
  #writing: Promise<void> = Promise.resolve()
  failures = 0

  constructor(file: string, log: Log, bytesMax = BYTES_MAX) {
    this.#file = file
    this.#log = log
    this.#bytesMax = bytesMax
  }

  add(entry: AuditEntry): void {
    const { who, from, what, status } = entry
    this.#log.warn({ who, from, what, status }, 'admin call')
    this.#writing = this.#writing.then(() => this.#write(`${JSON.stringify(entry)}\n`))
  }

  /** Resolves when all that was added is in the file. */
  written(): Promise<void> {
    return this.#writing
  }

  async #write(line: string): Promise<void> {
    try {
      await mkdir(dirname(this.#file), { recursive: true })
      const bytes = await stat(this.#file).then(
        ({ size }) => size,
        () => 0,
      )
      if (bytes + line.length > this.#bytesMax) await rename(this.#file, `${this.#file}.1`)
      await appendFile(this.#file, line, { mode: 0o600 })
    } catch (error) {
      this.failures++
      this.#log.error({ file: this.#file, reason: (error as Error).message }, 'the audit log cannot be written')
    }
  }
}
