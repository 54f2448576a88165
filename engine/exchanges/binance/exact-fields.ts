import type { RejectReason } from '../../record/emit.ts'
import { DECIMAL_SCALE } from '../../record/schema-columns.ts'
import { bigDecimal } from '../../scan/big-decimal.ts'
import { type ExactRecord, nsOfMs, textOf } from '../../scan/exact-json.ts'

/**
 * The fields of one object of a rare frame. The first thing that is wrong is kept as `refusal`, so that a frame is read
 * to its end before any row of it is written.
 */
export class ExactFields {
  refusal: '' | RejectReason = ''
  #record: ExactRecord = {}

  begin(record: ExactRecord): void {
    this.refusal = ''
    this.#record = record
  }

  #refuse(reason: RejectReason): void {
    if (this.refusal === '') this.refusal = reason
  }

  /** A number as the venue writes it; null where it says nothing. */
  decimalOrNull(key: string): string | null {
    const value = this.#record[key]
    if (value === undefined || value === null || value === '') return null
    const exact = typeof value === 'string' ? bigDecimal(value, DECIMAL_SCALE) : 'type'
    if (typeof exact === 'string') this.#refuse(exact)
    return textOf(value)
  }

  decimal(key: string): string | null {
    const value = this.decimalOrNull(key)
    if (value === null) this.#refuse('missing_key')
    return value
  }

  /** Milliseconds, as a number or in quotes, in ns. */
  time(key: string): bigint {
    const ns = this.timeOrNone(key)
    if (ns === 0n) this.#refuse(this.#record[key] === undefined ? 'missing_key' : 'type')
    return ns
  }

  /** 0n where there is none. */
  timeOrNone(key: string): bigint {
    return nsOfMs(this.#record[key])
  }

  text(key: string): string {
    const value = this.#record[key]
    const text = textOf(value)
    if (text === null) this.#refuse(value === undefined ? 'missing_key' : 'type')
    return text ?? ''
  }

  boolean(key: string): boolean {
    const value = this.#record[key]
    if (typeof value !== 'boolean') this.#refuse(value === undefined ? 'missing_key' : 'type')
    return value === true
  }

  /** One of the words of a column. */
  word<Words extends Readonly<Record<string, number>>>(key: string, words: Words): keyof Words & string {
    const text = this.text(key)
    if (!Object.hasOwn(words, text)) this.#refuse('type')
    return text
  }

  /** A whole number below 2^53. */
  integer(key: string): number {
    const text = this.text(key)
    const value = /^\d{1,20}$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(value)) this.#refuse('type')
    else if (!Number.isSafeInteger(value)) this.#refuse('overflow')
    return value
  }
}
