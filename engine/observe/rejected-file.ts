/**
 * Messages that could not be read, for a person to look at: one JSON object a line. Bounded: when the file has its size
 * it becomes `rejected.1.ndjson` and a new one begins; what comes faster than the disk takes it is counted, not kept.
 */
import { appendFile, mkdir, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Log } from '../base/log.ts'

export interface RejectedRow {
  /** `binance.usdm` */
  readonly market: string
  readonly connection: number
  readonly generation: number
  readonly receivedNs: string
  readonly reason: string
  /** of the whole message; `text` is its beginning, one character a byte */
  readonly bytes: number
  readonly text: string
}

const FILE_BYTES_MAX = 4 * 1024 ** 2
const TELL_EVERY_MS = 60_000

export class RejectedFile {
  readonly path: string
  readonly #log: Log
  readonly #nowMs: () => number
  #size: number | undefined
  #writing: Promise<void> | undefined
  #toldMs = Number.NEGATIVE_INFINITY

  /** @param nowMs monotonic */
  constructor(directory: string, nowMs: () => number, log: Log) {
    this.path = join(directory, 'rejected.ndjson')
    this.#nowMs = nowMs
    this.#log = log
  }

  /** Rows that come while others are being written are dropped: the counters have them all. */
  write(rows: readonly RejectedRow[]): void {
    if (this.#writing !== undefined || rows.length === 0) return
    this.#tell(rows)
    const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
    this.#writing = this.#append(text)
      .catch((error: NodeJS.ErrnoException) =>
        this.#log.warn(
          `${this.path} cannot be written (${error.code ?? error.message}): messages that could not be read are only counted`,
        ),
      )
      .finally(() => {
        this.#writing = undefined
      })
  }

  async close(): Promise<void> {
    await this.#writing
  }

  async #append(text: string): Promise<void> {
    if (this.#size === undefined) {
      await mkdir(dirname(this.path), { recursive: true })
      this.#size = await stat(this.path).then(
        ({ size }) => size,
        () => 0,
      )
    }
    if (this.#size + text.length > FILE_BYTES_MAX) {
      await rename(this.path, this.path.replace(/\.ndjson$/, '.1.ndjson'))
      this.#size = 0
    }
    await appendFile(this.path, text, { encoding: 'utf8', mode: 0o640 })
    this.#size += Buffer.byteLength(text)
  }

  /** Once a minute: the first of what came since. */
  #tell([first]: readonly RejectedRow[]): void {
    if (this.#nowMs() - this.#toldMs < TELL_EVERY_MS) return
    this.#toldMs = this.#nowMs()
    const { market, connection, reason, bytes } = first as RejectedRow
    this.#log.warn(
      { market, connection, reason, bytes },
      `a message could not be read; it and the like are in ${this.path}`,
    )
  }
}
