import { ClickHouseError } from '@clickhouse/client'

/** What an error of ClickHouse or of the way to it means, in one line that a person can act on. */
export interface ClickHouseSite {
  readonly url: string
  readonly database: string
  readonly username: string
}

/** What a failure means for the block. `operator`: a person must act, the block waits. `suspect`: this block itself may be bad. */
export type FailureKind = 'later' | 'operator' | 'suspect'

export interface Failure {
  readonly kind: FailureKind
  readonly code: string
  readonly line: string
}

/** What `line` says of the blocks; nobody has any yet who asks at a start. */
export const WAITS = '; blocks wait in the spool'

const AUTH_CODES = ['516', '192', '193', '194', '497']
const SHAPE_CODES = ['60', '81', '16', '10', '47', '53', '115', '8']
const SUSPECT_CODES = ['117', '33', '27', '6', '38', '41', '43', '69', '131', '49', '469']

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
  if (AUTH_CODES.includes(code))
    return {
      kind: 'operator',
      code,
      line: `${at} refuses user ${site.username} (code ${code} ${type}): correct clickhouse.user and clickhouse.password`,
    }
  if (SHAPE_CODES.includes(code))
    return {
      kind: 'operator',
      code,
      line: `${at} has no fitting table ${site.database}.${table} (code ${code} ${type}: ${reason}): create or migrate the tables`,
    }
  if (SUSPECT_CODES.includes(code))
    return { kind: 'suspect', code, line: `${at} cannot read a block for ${table} (code ${code} ${type}: ${reason})` }
  return {
    kind: 'later',
    code,
    line: `${at} does not take inserts now (code ${code} ${type}: ${reason})${WAITS}`,
  }
}
