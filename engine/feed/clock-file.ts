import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Log } from '../base/log.ts'
import type { ClockOffset } from './clock-offset.ts'

/**
 * How far the clocks of the venues were from ours, over the months: one line a measurement, for whoever compares times of
 * venues with ours (`event_ns` with `received_ns`) afterwards. The rows themselves are never corrected by it.
 *
 *   {"exchange":"okx","measuredMs":1793280000123,"offsetMs":-12.5,"errorMs":20}
 *
 * `offsetMs` is the venue's clock minus ours, wrong by at most `errorMs`. Ten minutes apart, four venues write 18 MB a year;
 * a full file becomes `….1.ndjson`, so that the last year is there.
 */

const FILE_BYTES_MAX = 16 * 1024 ** 2

export class ClockFile {
  readonly #path: string
  readonly #log: Log
  readonly #bytesMax: number

  constructor(path: string, log: Log, bytesMax = FILE_BYTES_MAX) {
    this.#path = path
    this.#log = log
    this.#bytesMax = bytesMax
  }

  /** Best effort: a disk that is full must not stop the feed. */
  append(exchange: string, { measuredMs, offsetMs, rttMs }: ClockOffset): void {
    const line = `${JSON.stringify({ exchange, measuredMs, offsetMs, errorMs: rttMs / 2 })}\n`
    try {
      mkdirSync(dirname(this.#path), { recursive: true })
      const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0
      if (size + line.length > this.#bytesMax) renameSync(this.#path, this.#path.replace(/\.ndjson$/, '.1.ndjson'))
      appendFileSync(this.#path, line, { mode: 0o640 })
    } catch (error) {
      this.#log.warn({ path: this.#path, error: String(error) }, 'a clock offset could not be written down')
    }
  }
}
