import type { RejectReason } from '../../record/emit.ts'
import { type ExactJson, type ExactRecord, nsOfMs, recordOf } from '../../scan/exact-json.ts'
import { isNumber } from './numbers.ts'

/**
 * The values of one frame by key, for the general way. The first thing that is wrong is kept as `refusal`; everything
 * read after it is of no use. Nothing is emitted before the refusal was looked at.
 */
const INTEGER = /^\d{1,16}$/

export class FrameValues {
  refusal: RejectReason | '' = ''

  begin(): void {
    this.refusal = ''
  }

  refuse(reason: RejectReason): void {
    if (this.refusal === '') this.refusal = reason
  }

  /** An object that must be there. */
  record(value: ExactJson | undefined): ExactRecord {
    const record = recordOf(value)
    if (record === undefined) this.refuse(value === undefined ? 'missing_key' : 'type')
    return record ?? {}
  }

  list(value: ExactJson | undefined): readonly ExactJson[] {
    if (Array.isArray(value)) return value as readonly ExactJson[]
    this.refuse(value === undefined ? 'missing_key' : 'type')
    return []
  }

  /** A text that must be there. */
  text(record: ExactRecord, key: string): string {
    const value = record[key]
    if (typeof value === 'string' && value !== '') return value
    this.refuse(value === undefined ? 'missing_key' : 'type')
    return ''
  }

  /** A number that must be there, as text. */
  number(value: ExactJson | undefined): string {
    if (typeof value !== 'string') this.refuse(value === undefined ? 'missing_key' : 'type')
    else if (isNumber(value)) return value
    else this.refuse('number')
    return '0'
  }

  /** A number, or null where the venue says nothing: absent is not zero. */
  decimal(record: ExactRecord, key: string): string | null {
    const value = record[key]
    return value === undefined || value === null ? null : this.number(value)
  }

  /** A whole number that a double holds and that must be there. */
  integer(record: ExactRecord, key: string): number {
    const value = record[key]
    if (typeof value !== 'string' || !INTEGER.test(value)) {
      this.refuse(value === undefined ? 'missing_key' : 'type')
      return 0
    }
    const integer = Number(value)
    if (!Number.isSafeInteger(integer)) this.refuse('overflow')
    return integer
  }

  /** Milliseconds that must be there → ns. */
  timeNs(record: ExactRecord, key: string): bigint {
    this.integer(record, key)
    return nsOfMs(record[key])
  }
}
