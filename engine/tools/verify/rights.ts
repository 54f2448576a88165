/**
 * May this user do what the engine does there? Each right is asked for alone, so that the line names what is missing. The
 * statements that need them: sinks/provision.ts (CREATE OR REPLACE VIEW asks for DROP VIEW, too, whether one is there or
 * not), sinks/clickhouse.ts, gateway/history.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { quotedName, storedTables, type StorageOptions } from '../../record/tables.ts'
import type { Findings } from './findings.ts'

const OF_THE_DATABASE = [
  ...['SELECT', 'INSERT', 'CREATE DATABASE', 'CREATE TABLE', 'CREATE VIEW'],
  ...['DROP VIEW', 'ALTER TABLE', 'DROP TABLE'],
]
/** Those that a server may want a grant for; `tables`, `columns` and `databases` everybody may read. */
const OF_SYSTEM_TABLES = ['data_skipping_indices', 'parts']
const WHAT = 'ClickHouse rights'

interface Right {
  readonly name: string
  /** as it is written in GRANT … ON */
  readonly on: string
  /** older servers do not know it, and ask for none then */
  readonly isNew?: boolean
}

export async function checkRights(
  findings: Findings,
  client: ClickHouseClient,
  storage: StorageOptions,
  username: string,
): Promise<void> {
  const level = await readOnlyLevel(client)
  if (level !== '0')
    return findings.bad(
      WHAT,
      `the profile of user ${username} has readonly = ${level}: it may not write, whatever is granted`,
      'set readonly = 0 in its profile',
    )
  const missing: Right[] = []
  for (const right of rightsFor(storage)) {
    const isGranted = await isTrue(client, `CHECK GRANT ${right.name} ON ${right.on}`)
    if (isGranted === undefined && right.isNew !== true)
      return findings.skipped(WHAT, 'this server does not answer CHECK GRANT')
    if (isGranted === false) missing.push(right)
  }
  const system = OF_SYSTEM_TABLES.map((table) => `system.${table}`).join(', ')
  if (missing.length === 0)
    return findings.good(WHAT, `user ${username} has ${OF_THE_DATABASE.join(', ')}; SELECT on ${system}`)
  findings.bad(
    WHAT,
    `user ${username} lacks ${byPlace(missing, ' on ').join('; ')}`,
    `${byPlace(missing, ' ON ')
      .map((grant) => `GRANT ${grant} TO ${username}`)
      .join('; ')}`,
  )
}

function rightsFor(storage: StorageOptions): readonly Right[] {
  const { database } = storage
  const engines = new Set(storedTables(storage).map(({ engine }) => engine.split('(')[0] ?? ''))
  engines.add('MergeTree') // of the table in which deduplication is tried
  return [
    ...OF_THE_DATABASE.map((name) => ({ name, on: `${quotedName(database)}.*` })),
    ...OF_SYSTEM_TABLES.map((table) => ({ name: 'SELECT', on: `system.${table}` })),
    ...[...engines].map((engine) => ({ name: 'TABLE ENGINE', on: engine, isNew: true })),
  ]
}

/** `INSERT, DROP VIEW on marketprism.*`, a text a place. */
function byPlace(rights: readonly Right[], word: string): string[] {
  const places = [...new Set(rights.map(({ on }) => on))]
  return places.map((place) => {
    const names = rights.filter(({ on }) => on === place).map(({ name }) => name)
    return `${names.join(', ')}${word}${place}`
  })
}

async function readOnlyLevel(client: ClickHouseClient): Promise<string> {
  const answer = await client.query({ query: `SELECT toString(getSetting('readonly'))`, format: 'TabSeparated' })
  return (await answer.text()).trim()
}

/** CHECK GRANT takes no FORMAT, so the answer is read as it comes. @returns undefined where the server does not know the word */
async function isTrue(client: ClickHouseClient, query: string): Promise<boolean | undefined> {
  try {
    const { stream } = await client.exec({ query })
    let text = ''
    for await (const piece of stream) text += String(piece)
    return text.trim() === '1'
  } catch (error) {
    if ((error as { code?: string }).code === '62') return undefined // a syntax that it does not know
    throw error
  }
}
