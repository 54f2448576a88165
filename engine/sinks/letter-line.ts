import { decodeBlock } from '../record/decode.ts'
import type { Letter } from './letter-box.ts'

/** What a dead letter is, in few words. */
export interface LetterLine {
  readonly number: number
  readonly at: string
  readonly block: string
  readonly table: string
  readonly exchange: string
  readonly producer: string
  readonly rows: number | null
  readonly bytes: number
  readonly attempts: number
  readonly reason: string
}

export function lineOf(letter: Letter): LetterLine {
  const { number, name, reason, attempts, atMs, subject, payload } = letter
  const [, table = '', exchange = '', producer = ''] = subject.split('.')
  const at = new Date(atMs).toISOString()
  const common = { number, at, block: name, bytes: payload.length, attempts, reason }
  try {
    const { head } = decodeBlock(payload)
    return { ...common, table: head.table, exchange: head.exchange, producer: head.producer, rows: head.rows }
  } catch {
    return { ...common, table, exchange, producer, rows: null } // the bytes do not say it any more
  }
}
