import { ClickHouseError } from '@clickhouse/client'

/** What an error of ClickHouse or of the way to it means, in one line that a person can act on. */
export interface ClickHouseSite {
  readonly url: string
  readonly database: string
  readonly username: string
}

/**
 * What a failure means for the blocks:
 *
 *   later      the server is away or cannot now; the same again
 *   busy       it asks us to slow down (too many parts, too many queries): the same again, after a rest
 *   split      it has no memory or time for so many rows: the same blocks in smaller inserts
 *   operator   a person must act (rights, schema): the blocks wait, and the line says for what
 *   suspect    a block itself may be bad: it is tried alone, and set aside when that fails too often
 */
export type FailureKind = 'later' | 'busy' | 'split' | 'operator' | 'suspect'

export interface Failure {
  readonly kind: FailureKind
  readonly code: string
  readonly line: string
}

/** What `line` says of the blocks; nobody has any yet who asks at a start. */
export const WAITS = '; blocks wait in the spool'

// UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, ACCESS_DENIED, AUTHENTICATION_FAILED
const AUTH_CODES = ['192', '193', '194', '195', '497', '516']
// NOT_FOUND_COLUMN_IN_BLOCK, THERE_IS_NO_COLUMN, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, TYPE_MISMATCH, UNKNOWN_TABLE,
// UNKNOWN_DATABASE, UNKNOWN_SETTING
const READONLY = '164'
const SHAPE_CODES = ['10', '8', '16', '47', '53', '60', '81', '115', READONLY]
// CANNOT_PARSE_TEXT …, CANNOT_READ_ALL_DATA, ILLEGAL_COLUMN, SIZES_…_DOESNT_MATCH, TOO_LARGE_STRING_SIZE, INCORRECT_DATA,
// ARGUMENT_OUT_OF_BOUND, LOGICAL_ERROR, VIOLATED_CONSTRAINT
const SUSPECT_CODES = ['117', '33', '27', '6', '38', '41', '43', '69', '131', '49', '469']
// MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY, TIMEOUT_EXCEEDED, TOO_SLOW, TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
const SPLIT_CODES = ['241', '173', '159', '160', '158', '307', '396']
// TOO_MANY_PARTS, TOO_MANY_SIMULTANEOUS_QUERIES, QUOTA_EXCEEDED
const BUSY_CODES = ['252', '202', '201']

export function classify(error: unknown, site: ClickHouseSite, table = ''): Failure {
  const at = `ClickHouse at ${site.url}`
  if (!(error instanceof ClickHouseError)) {
    const { code = '', message = String(error) } = error as { code?: string; message?: string }
    return {
      kind: 'later',
      code,
      line: `${at} cannot be reached (${code === '' ? message : code}): start it, or correct clickhouse.url${WAITS}`,
    }
  }
  const { code, type = '' } = error
  const reason = error.message.split('\n', 1)[0]?.slice(0, 200) ?? ''
  const told = `(code ${code} ${type}: ${reason})`
  if (AUTH_CODES.includes(code))
    return {
      kind: 'operator',
      code,
      line: `${at} refuses user ${site.username} (code ${code} ${type}): correct clickhouse.user and clickhouse.password`,
    }
  if (code === READONLY)
    return {
      kind: 'operator',
      code,
      line: `${at} lets user ${site.username} write nothing ${told}: set readonly = 0 in its profile`,
    }
  if (SHAPE_CODES.includes(code))
    return {
      kind: 'operator',
      code,
      line: `${at} has no fitting table ${site.database}.${table} ${told}: start the role store again (collect, with delivery = direct), it makes and changes tables`,
    }
  if (SUSPECT_CODES.includes(code))
    return { kind: 'suspect', code, line: `${at} cannot read a block for ${table} ${told}` }
  if (SPLIT_CODES.includes(code) || isTooManyPartitions(error))
    return { kind: 'split', code, line: `${at} cannot take so many rows of ${table} at once ${told}${WAITS}` }
  if (BUSY_CODES.includes(code))
    return { kind: 'busy', code, line: `${at} asks for fewer inserts into ${table} ${told}${WAITS}` }
  if (code === '243' || /No space left|not enough space/i.test(reason))
    return { kind: 'later', code, line: `${at} has no room on its disk ${told}: free some${WAITS}` }
  return { kind: 'later', code, line: `${at} does not take inserts now ${told}${WAITS}` }
}

/** It shares its code with too many parts. */
function isTooManyPartitions({ code, message }: ClickHouseError): boolean {
  return code === '252' && /partitions for single INSERT/i.test(message)
}

/** Says that the server itself is in trouble, so that other requests would fail, too. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof ClickHouseError)) return true
  return !(
    SHAPE_CODES.includes(error.code) ||
    SUSPECT_CODES.includes(error.code) ||
    SPLIT_CODES.includes(error.code) ||
    isTooManyPartitions(error)
  )
}
