/**
 * Cursors: where the next page begins. Opaque to users, and bound to their question: a cursor that was changed, or that is
 * used with another question, is refused. They carry no secret and open nothing (their values become bound parameters), so
 * the check is a hash and no signature: every gateway understands those of every other, also after a restart.
 */
import { createHash } from 'node:crypto'
import { HttpFault } from '../http-fault.ts'

const CHECK_BYTES = 9
const VALUES_MAX = 12
const REMEDY = 'give next_cursor of an answer to the same question unchanged, or none to begin anew'

function check(question: string, payload: string): Buffer {
  return createHash('sha256').update(`marketprism cursor 1\n${question}\n${payload}`).digest().subarray(0, CHECK_BYTES)
}

/** @param question all that must be equal on the next page: table, instrument, order, filters. */
export function encodeCursor(question: string, values: readonly string[]): string {
  const payload = JSON.stringify(values)
  return Buffer.concat([check(question, payload), Buffer.from(payload)]).toString('base64url')
}

/** @throws HttpFault */
export function decodeCursor(question: string, cursor: string, count: number): readonly string[] {
  const bytes = Buffer.from(cursor, 'base64url')
  const payload = bytes.subarray(CHECK_BYTES).toString()
  const isOurs =
    bytes.toString('base64url') === cursor && bytes.subarray(0, CHECK_BYTES).equals(check(question, payload))
  const values = isOurs ? (JSON.parse(payload) as string[]) : []
  if (values.length !== count || count > VALUES_MAX)
    throw new HttpFault(400, 'invalid_cursor', `the cursor is not one of this question: ${REMEDY}`, {
      parameter: 'cursor',
    })
  return values
}
