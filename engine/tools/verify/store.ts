/**
 * ClickHouse: is it there, may this user do what the engine does, are the tables as the schema wants them, does the server
 * keep what exactly-once rests on? Only the last question writes: into a table of its own, which is dropped again.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { ClickHouseClient } from '@clickhouse/client'
import type { Run } from '../../base/run.ts'
import { dataDirectory, storageOptions } from '../../roles/settings.ts'
import { createClickHouseClient } from '../../sinks/clickhouse.ts'
import { provesDeduplication, readDrift } from '../../sinks/provision.ts'
import { reachClickHouse } from '../reach.ts'
import type { Findings } from './findings.ts'
import { checkRights } from './rights.ts'

/** The oldest that has all that the schema asks for. */
const SERVER_MIN = [24, 3] as const
const DIFFERENCES_SHOWN = 5
/** Its code; nothing of the engine looks at disks but this check. */
const ACCESS_DENIED = '497'
const GIB = 2 ** 30

export async function checkClickHouse(findings: Findings, run: Run): Promise<void> {
  const { clickhouse } = run.config
  if (clickhouse.url === '' && !clickhouse.embedded)
    return findings.bad(
      'ClickHouse',
      'clickhouse.url is empty and clickhouse.embedded is false: rows have nowhere to go',
      'set one of them',
    )
  if (clickhouse.url === '' && !existsSync(dataDirectory(run.config, 'clickhouse'))) return checkPackage(findings)
  await findings.guard('ClickHouse', async () => {
    const { client, options, stop, isOwn } = await reachClickHouse(run)
    const plain = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there
    try {
      await checkServer(findings, plain, options.url, isOwn)
      await findings.guard('ClickHouse disk', () => checkDisk(findings, plain, run))
      await findings.guard('ClickHouse rights', () =>
        checkRights(findings, plain, storageOptions(run.config), options.username),
      )
      await findings.guard('ClickHouse schema', () => checkSchema(findings, client, plain, run))
    } finally {
      await plain.close()
      await stop()
    }
  })
}

/** Nothing has run here yet: the engine would start one of its own. */
function checkPackage(findings: Findings): void {
  try {
    createRequire(import.meta.url).resolve('chdb')
    findings.good('ClickHouse', 'the embedded engine would be started')
  } catch {
    findings.bad(
      'ClickHouse',
      'the package chdb is not installed',
      'run npm ci (without --omit=optional), or set clickhouse.url',
    )
  }
}

async function checkServer(findings: Findings, client: ClickHouseClient, url: string, isOwn: boolean): Promise<void> {
  const [{ version = '0' } = {}] = await rowsOf<{ version: string }>(client, 'SELECT version() AS version')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const detail = `${isOwn ? 'embedded, started for these checks' : url}, version ${version}`
  const [majorMin, minorMin] = SERVER_MIN
  if (major > majorMin || (major === majorMin && minor >= minorMin)) findings.good('ClickHouse', detail)
  else findings.bad('ClickHouse', detail, `install ClickHouse ${majorMin}.${minorMin} or newer`)
}

async function checkDisk(findings: Findings, client: ClickHouseClient, { config }: Run): Promise<void> {
  const what = 'ClickHouse disk'
  const disks = await rowsOf<{ name: string; free: string; total: string }>(
    client,
    `SELECT name, toString(free_space) AS free, toString(total_space) AS total FROM system.disks WHERE total_space > 0 AND type = 'Local'`,
  ).catch((error: { code?: string }) => {
    if (error.code !== ACCESS_DENIED) throw error
    return undefined
  })
  if (disks === undefined) return findings.skipped(what, 'this user may not read system.disks')
  const detail = disks.map(({ name, free }) => `${name}: ${(Number(free) / GIB).toFixed(1)} GiB free`).join(', ')
  if (disks.length === 0) findings.skipped(what, 'no local disk')
  else if (disks.every(({ free }) => Number(free) >= config.spool.freeBytesMin)) findings.good(what, detail)
  else
    findings.bad(
      what,
      `${detail}; less than spool.freeBytesMin = ${(config.spool.freeBytesMin / GIB).toFixed(1)} GiB`,
      'free some space, or set clickhouse.ttlDays',
    )
}

async function checkSchema(
  findings: Findings,
  client: ClickHouseClient,
  plain: ClickHouseClient,
  run: Run,
): Promise<void> {
  const what = 'ClickHouse schema'
  const storage = storageOptions(run.config)
  const { database } = storage
  const databases = await rowsOf<{ name: string }>(plain, 'SELECT name FROM system.databases')
  if (!databases.some(({ name }) => name === database)) {
    findings.skipped(what, `database ${database} is not there yet: the engine makes it at its start`)
    return findings.skipped('ClickHouse deduplication', 'is asked when the database is there')
  }
  const { missing, missingViews, differences } = await readDrift(client, storage)
  const refused = differences.filter(({ verdict }) => verdict === 'refuse').map(({ text }) => text)
  const mendable = [
    ...[...missing, ...missingViews].map(({ name }) => `${database}.${name} is missing or of another definition`),
    ...differences.filter(({ statement }) => statement !== null).map(({ text }) => text),
  ]
  const notes = differences.filter(({ verdict }) => verdict === 'note').map(({ text }) => text)
  if (refused.length > 0)
    findings.bad(
      what,
      inWords([...refused, ...mendable]),
      `rename the table away (RENAME TABLE … TO …_old) and start again, or use another database than ${database}`,
    )
  else if (mendable.length > 0)
    findings.bad(what, inWords(mendable), 'start the engine: it makes and changes them without touching rows')
  else findings.good(what, notes.length === 0 ? 'as the schema wants it' : inWords(notes))
  await findings.guard('ClickHouse deduplication', () => checkDeduplication(findings, client, database))
}

async function checkDeduplication(findings: Findings, client: ClickHouseClient, database: string): Promise<void> {
  const what = 'ClickHouse deduplication'
  if (await provesDeduplication(client, database))
    findings.good(what, 'a block sent twice is stored once (tried in a table of its own, which is dropped again)')
  else
    findings.bad(
      what,
      'this server stores a block that is sent twice twice',
      'use a server whose MergeTree has non_replicated_deduplication_window, or one without a proxy that drops settings',
    )
}

function inWords(lines: readonly string[]): string {
  const more = lines.length - DIFFERENCES_SHOWN
  return [...lines.slice(0, DIFFERENCES_SHOWN), ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}

async function rowsOf<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>()
}
